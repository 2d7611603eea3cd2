//! Which models there are, which files each has, and what is expected of them.

use std::io::Read;

use bytes::Bytes;
use packwright_ir::diag::{CodeDoc, Diagnostic, Diagnostics};
use packwright_ir::tensor::{Data, Tensor, array};
use packwright_onnx::axis::Dim;
use packwright_onnx::{Binding, ImportOptions, Imported, Model};
use ruzstd::decoding::StreamingDecoder;

use crate::table::SLMS;

/// What `explain` says about the codes of this crate.
pub const CODES: &[CodeDoc] = &[CodeDoc {
    code: "zoo-damaged",
    title: "An embedded model does not decompress.",
    text: "The program file itself is damaged: install it again.",
}];

/// The embedded models.
#[derive(Clone, Copy, Debug)]
pub struct Zoo;

/// A small language model.
#[derive(Clone, Copy, Debug)]
pub struct Slm {
    /// The name in tables, e.g. `T5-Small`.
    pub name: &'static str,
    /// Its files: those of the main job first, in the order in which they run.
    pub files: &'static [ModelFile],
}

/// One exported file.
#[derive(Clone, Copy)]
pub struct ModelFile {
    /// `model.phase.exporter.shape.onnx`.
    pub file: &'static str,
    /// The published model whose structure it has.
    pub stands_for: &'static str,
    pub phase: Phase,
    /// Whether it is part of the main job; the others are further sizes, heads and exporters.
    pub main: bool,
    /// Elements of all weights, tied ones counted once.
    pub parameters: u64,
    /// Inputs that have to be constant for shapes to be known.
    pub fixed: &'static [(&'static str, Fixed)],
    /// Lengths to estimate at; the first is the default.
    pub cases: &'static [Case],
    pub(crate) bytes: &'static [u8],
}

/// What part of a model's work a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Encoder,
    /// An encoder with a head that gives classes.
    Classifier,
    /// An encoder with a head that gives a token for each position.
    MaskedLm,
    /// All positions of a prompt; fills the cache where there is one.
    Prefill,
    /// One position with a cache.
    Decode,
    /// First step of a decoder behind an encoder.
    Decoder,
    /// Further steps of it, with caches.
    DecoderPast,
}

/// Lengths of the axes, and the work that they make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// E.g. `seq128`, `past127`.
    pub name: &'static str,
    pub lengths: Lengths,
    /// Multiply-adds of all products, at batch 1.
    pub macs: u64,
}

/// Lengths by role; `None` where the file has no such axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    pub seq: Option<u64>,
    pub past: Option<u64>,
    pub encoder: Option<u64>,
}

/// Values of an input that is constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixed {
    /// 1 everywhere.
    Ones,
    /// 1 at the first position, 0 at all others.
    FirstOne,
}

/// An embedded file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ZooError {
    #[error("there is no embedded model file {0:?}")]
    Unknown(String),
    #[error("the embedded file {file:?} does not decompress: {reason}")]
    Damaged { file: String, reason: String },
}

impl std::fmt::Debug for ModelFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelFile")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Zoo {
    /// Every model, in the order of the tables.
    pub fn all() -> &'static [Slm] {
        SLMS
    }

    /// A model by its name, whatever the case of its letters.
    pub fn get(name: &str) -> Option<&'static Slm> {
        SLMS.iter().find(|s| s.name.eq_ignore_ascii_case(name))
    }

    /// A file by its name, with or without `.onnx`.
    pub fn file(name: &str) -> Option<&'static ModelFile> {
        let name = name.strip_suffix(".onnx").unwrap_or(name);
        SLMS.iter()
            .flat_map(|s| s.files)
            .find(|f| f.file.strip_suffix(".onnx") == Some(name))
    }
}

impl Slm {
    /// The files of the main job, in the order in which they run.
    pub fn main_files(&self) -> impl Iterator<Item = &'static ModelFile> {
        self.files.iter().filter(|f| f.main)
    }
}

impl ModelFile {
    /// The model file, decompressed.
    ///
    /// # Errors
    /// When the embedded data is damaged.
    pub fn bytes(&self) -> Result<Bytes, ZooError> {
        let damaged = |reason: String| ZooError::Damaged {
            file: self.file.to_owned(),
            reason,
        };
        let mut decoder = StreamingDecoder::new(self.bytes).map_err(|e| damaged(e.to_string()))?;
        let mut bytes = Vec::new();
        decoder
            .read_to_end(&mut bytes)
            .map_err(|e| damaged(e.to_string()))?;
        Ok(Bytes::from(bytes))
    }

    /// The decoded model.
    ///
    /// # Errors
    /// When the embedded data is damaged.
    pub fn model(&self) -> Result<Model, Diagnostics> {
        let bytes = self
            .bytes()
            .map_err(|e| Diagnostics::from(Diagnostic::error("zoo-damaged", e.to_string())))?;
        Model::from_bytes(bytes, None)
    }

    /// How to import it at the lengths of a case.
    pub fn options(&self, model: &Model, case: &Case) -> ImportOptions {
        let Lengths { seq, past, encoder } = case.lengths;
        let mut options = ImportOptions {
            binding: Binding {
                seq,
                past,
                encoder,
                ..Binding::default()
            },
            ..ImportOptions::default()
        };
        for (name, fixed) in self.fixed {
            let port = model.inputs().into_iter().find(|p| p.name == *name);
            if let Some(shape) = port.and_then(|p| fixed_shape(&p.dims.unwrap_or_default())) {
                options
                    .fixed
                    .insert((*name).to_owned(), fixed.tensor(&shape));
            }
        }
        options
    }

    /// The graph at the lengths of a case; weights are absent, or synthetic where there is a seed.
    ///
    /// # Errors
    /// What stands in the way of an import.
    pub fn import(&self, case: &Case, synthetic: Option<u64>) -> Result<Imported, Diagnostics> {
        let model = self.model()?;
        let options = ImportOptions {
            synthetic,
            ..self.options(&model, case)
        };
        packwright_onnx::import(&model, &options)
    }
}

impl Fixed {
    fn tensor(self, shape: &[usize]) -> Tensor {
        let n: usize = shape.iter().product();
        let columns = shape.last().copied().unwrap_or(1).max(1);
        let values = match self {
            Fixed::Ones => vec![1; n],
            Fixed::FirstOne => (0..n).map(|i| i64::from(i % columns == 0)).collect(),
        };
        Tensor::plain(Data::I64(array(shape, values)))
    }
}

fn fixed_shape(dims: &[Dim]) -> Option<Vec<usize>> {
    let length = |d: &Dim| match d {
        Dim::Fixed(n) => usize::try_from(*n).ok(),
        Dim::Named(_) | Dim::Sum(_) => None,
    };
    dims.iter().map(length).collect()
}

/// An embedded model file by its name, decompressed.
///
/// # Errors
/// When there is no such file.
pub fn model_bytes(file: &str) -> Result<Bytes, ZooError> {
    Zoo::file(file)
        .ok_or_else(|| ZooError::Unknown(file.to_owned()))?
        .bytes()
}
