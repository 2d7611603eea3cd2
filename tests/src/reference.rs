//! Models with the results that ONNX Runtime gives for them; `tests/scripts` made both.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use packwright_ir::eval;
use packwright_ir::tensor::{Data, Tensor};
use packwright_ir::{Elem, Graph, Type};
use packwright_onnx::axis::Dim;
use packwright_onnx::proto::{GraphProto, TensorProto};
use packwright_onnx::{Binding, ImportOptions, Imported, Model, values};
use prost::Message;
use ruzstd::decoding::StreamingDecoder;

/// A model, what goes in and what has to come out.
#[derive(Clone, Debug)]
pub struct Reference {
    pub name: String,
    pub model: Model,
    pub inputs: Vec<(String, Tensor)>,
    pub outputs: Vec<(String, Tensor)>,
}

/// Models as exporters and optimizers write them.
const PLAIN: &str = "onnx";
/// Models as quantisers write them.
const QUANTIZED: &str = "quantized";

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("files")
        .join(name)
}

/// The names of all stored models, in order.
///
/// # Panics
/// When the folder cannot be read.
pub fn names() -> Vec<String> {
    names_in(PLAIN)
}

/// The names of all stored models that are quantised, in order.
///
/// # Panics
/// When the folder cannot be read.
pub fn quantized_names() -> Vec<String> {
    names_in(QUANTIZED)
}

fn names_in(place: &str) -> Vec<String> {
    let entries = fs::read_dir(folder(place)).unwrap_or_else(|error| panic!("{error}"));
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|e| {
            Some(
                e.file_name()
                    .to_str()?
                    .strip_suffix(".onnx.zst")?
                    .to_owned(),
            )
        })
        .collect();
    names.sort();
    names
}

/// The bytes of a stored model.
///
/// # Panics
/// When it cannot be read.
pub fn bytes(name: &str) -> Bytes {
    unpack(PLAIN, &format!("{name}.onnx.zst"))
}

/// A stored model by its name.
///
/// # Panics
/// When it or its arrays cannot be read.
pub fn load(name: &str) -> Reference {
    load_from(PLAIN, name)
}

/// A stored model that is quantised, by its name.
///
/// # Panics
/// When it or its arrays cannot be read.
pub fn load_quantized(name: &str) -> Reference {
    load_from(QUANTIZED, name)
}

fn load_from(place: &str, name: &str) -> Reference {
    let model = unpack(place, &format!("{name}.onnx.zst"));
    let model = Model::from_bytes(model, None).unwrap_or_else(|e| panic!("{name}: {e}"));
    let arrays = arrays(place, &format!("{name}.arrays.zst"));
    let named = |prefix: &str| {
        let of = |t: &TensorProto| Some((t.name().strip_prefix(prefix)?.to_owned(), tensor(t)));
        arrays.iter().filter_map(of).collect()
    };
    Reference {
        name: name.to_owned(),
        model,
        inputs: named("in."),
        outputs: named("out."),
    }
}

/// Models of one node each, in order.
///
/// # Panics
/// When the file cannot be read.
pub fn operators() -> Vec<Reference> {
    let mut cases: Vec<Reference> = Vec::new();
    for array in arrays(PLAIN, "operators.zst") {
        let (name, rest) = array.name().split_once('.').expect("CASE.what");
        if rest == "model" {
            let bytes = array.raw_data.clone().expect("holds the bytes");
            let model = Model::from_bytes(bytes, None).unwrap_or_else(|e| panic!("{name}: {e}"));
            cases.push(Reference {
                name: name.to_owned(),
                model,
                inputs: Vec::new(),
                outputs: Vec::new(),
            });
            continue;
        }
        let case = cases.last_mut().expect("the model comes first");
        match rest.split_once('.').expect("in.NAME or out.NAME") {
            ("in", input) => case.inputs.push((input.to_owned(), tensor(&array))),
            (_, output) => case.outputs.push((output.to_owned(), tensor(&array))),
        }
    }
    cases
}

impl Reference {
    /// How to import it at the lengths of its inputs.
    pub fn options(&self) -> ImportOptions {
        let mut binding = Binding::default();
        for port in self.model.inputs() {
            let Some((_, given)) = self.inputs.iter().find(|(name, _)| *name == port.name) else {
                continue;
            };
            for (dim, &length) in port.dims.iter().flatten().zip(given.shape()) {
                if let Dim::Named(name) = dim {
                    binding.names.insert(name.clone(), length as u64);
                }
            }
        }
        // Flags choose branches: they are known when a model is imported.
        let flags = self
            .inputs
            .iter()
            .filter(|(_, t)| t.elem() == Elem::Bool && t.shape() == [1]);
        ImportOptions {
            binding,
            fixed: flags.cloned().collect(),
            ..ImportOptions::default()
        }
    }

    /// The inputs that a graph of the model has. What a cache holds lies with its heads side by side; where
    /// it is quantised or empty the values are random.
    pub fn inputs_of(&self, graph: &Graph) -> Vec<(String, Tensor)> {
        let random = eval::random_inputs(graph, 1);
        let fitting = |(name, made): (String, Tensor)| {
            let given = self.inputs.iter().find(|(own, _)| *own == name);
            let tensor = match given {
                Some((_, tensor)) if made.quant.is_none() => as_rows(tensor, made.shape().len()),
                _ => made,
            };
            (name, tensor)
        };
        random.into_iter().map(fitting).collect()
    }

    /// The graph at the lengths of the inputs.
    ///
    /// # Panics
    /// When something stands in the way.
    pub fn import(&self) -> Imported {
        packwright_onnx::import(&self.model, &self.options())
            .unwrap_or_else(|e| panic!("{}:\n{e}", self.name))
    }
}

/// A tensor `[b, heads, rows, width]` with its heads side by side where three axes are asked for.
///
/// # Panics
/// When it holds no f32.
pub fn as_rows(tensor: &Tensor, rank: usize) -> Tensor {
    if tensor.shape().len() != 4 || rank != 3 {
        return tensor.clone();
    }
    let Data::F32(values) = &tensor.data else {
        panic!("a cache holds {:?}", tensor.ty());
    };
    let [b, heads, rows, width] = [0, 1, 2, 3].map(|axis| tensor.shape()[axis]);
    let turned = values.view().permuted_axes(vec![0, 2, 1, 3]);
    Tensor::f32(&[b, rows, heads * width], turned.iter().copied().collect())
}

fn arrays(place: &str, file: &str) -> Vec<TensorProto> {
    let graph = GraphProto::decode(unpack(place, file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    graph.initializer
}

fn unpack(place: &str, file: &str) -> Bytes {
    let packed = fs::read(folder(place).join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    let mut bytes = Vec::new();
    StreamingDecoder::new(packed.as_slice())
        .unwrap_or_else(|e| panic!("{file}: {e}"))
        .read_to_end(&mut bytes)
        .unwrap_or_else(|e| panic!("{file}: {e}"));
    bytes.into()
}

fn tensor(stored: &TensorProto) -> Tensor {
    let elem = values::elem(stored.data_type()).expect("an element type of graphs");
    let shape: Vec<usize> = stored.dims.iter().map(|&n| n as usize).collect();
    let bytes = stored.raw_data.clone().unwrap_or_default();
    Tensor::from_le_bytes(&Type::new(elem, shape), &bytes)
        .unwrap_or_else(|| panic!("{}: the bytes fill the shape", stored.name()))
}
