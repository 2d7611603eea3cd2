//! The bytes of the constants section, made channel by channel from the graph's constants.

use std::io::{self, Read, Write};
use std::ops::Range;

use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_ir::eval::{EvalError, konst as values};
use packwright_ir::tensor::Data;
use packwright_ir::{ConstId, Graph};
use packwright_numerics::half_float::narrow_f16;
use packwright_numerics::int4;
use rayon::prelude::*;

use crate::plan::constants::{Form, Layout, Stored};

/// Channels that are quantised at once: bounds the memory for float values.
const CHANNELS_AT_ONCE: usize = 256;

/// Whether every constant that the layout stores has values.
pub fn available(graph: &Graph, layout: &Layout) -> bool {
    layout.stored.iter().all(|stored| match &stored.form {
        Form::Channels { matrix, bias, .. } => {
            values::has_values(graph, *matrix)
                && bias.is_none_or(|bias| values::has_values(graph, bias))
        }
        Form::Vectors { parts, .. } => parts.iter().all(|&part| values::has_values(graph, part)),
        Form::Plain { konst } => values::has_values(graph, *konst),
        Form::Cache(_) => true,
    })
}

/// Why a constants section could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SectionError {
    /// Constants whose values cannot be used.
    #[error("constants have values that cannot be used")]
    Unusable(Diagnostics),
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// A constants section that has not been made yet.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    /// Stored constants and the graphs that they come from.
    pub(crate) rows: Vec<(&'a Graph, &'a Stored)>,
    pub(crate) bytes: u64,
}

impl Section<'_> {
    /// The bytes.
    ///
    /// # Errors
    /// Lists constants that have no values, or values that cannot be quantised.
    pub fn whole(&self) -> Result<Vec<u8>, Diagnostics> {
        let mut section = Vec::with_capacity(self.bytes as usize);
        self.write(|| {}, &mut section)
            .map_err(|error| match error {
                SectionError::Unusable(problems) => problems,
                SectionError::Output(error) => {
                    Diagnostic::error("emit-constant", error.to_string()).into()
                }
            })?;
        Ok(section)
    }

    /// Writes the bytes, a window at a time: memory is bounded by the window, or by the largest constant that
    /// has no channels. `between` is called behind each window.
    ///
    /// # Errors
    /// Lists constants that have no values, or values that cannot be quantised; what stops the output.
    pub fn write(&self, between: fn(), out: &mut dyn Write) -> Result<(), SectionError> {
        let mut stored = self.rows.clone();
        stored.sort_by_key(|(_, stored)| stored.offset);
        let pieces: Vec<Piece<'_>> = stored
            .iter()
            .flat_map(|&(graph, stored)| Piece::of(graph, stored))
            .collect();
        let mut problems = Vec::new();
        let mut buffer = Vec::new();
        let (mut rest, mut at) = (&pieces[..], 0);
        while !rest.is_empty() {
            let fits = |piece: &&Piece<'_>| piece.end - at <= WINDOW;
            let count = rest.iter().take_while(fits).count().max(1);
            let (window, later) = rest.split_at(count);
            let end = later.first().map_or(self.bytes, |piece| piece.start);
            buffer.clear();
            buffer.resize((end - at) as usize, 0);
            problems.extend(fill_window(window, at, &mut buffer));
            // What cannot be used is listed whole; nothing more is written then.
            if problems.is_empty() {
                out.write_all(&buffer)?;
            }
            between();
            (rest, at) = (later, end);
        }
        if problems.is_empty() {
            io::copy(&mut io::repeat(0).take(self.bytes - at), out)?;
            return Ok(());
        }
        problems.dedup();
        Err(SectionError::Unusable(Diagnostics(problems)))
    }
}

/// Most bytes of the section that are made before they are written.
const WINDOW: u64 = 16 << 20;

/// A part of a stored constant that is made at once.
struct Piece<'a> {
    graph: &'a Graph,
    stored: &'a Stored,
    /// Bytes of the section.
    start: u64,
    end: u64,
    /// The channels that are meant, of constants that have some.
    channels: Range<usize>,
}

impl<'a> Piece<'a> {
    fn of(graph: &'a Graph, stored: &'a Stored) -> Vec<Self> {
        let piece = |start, end, channels| Piece {
            graph,
            stored,
            start: stored.offset + start,
            end: stored.offset + end,
            channels,
        };
        let Form::Channels { channels, .. } = stored.form else {
            return vec![piece(0, stored.bytes, 0..0)];
        };
        let record = stored.record();
        let many = CHANNELS_AT_ONCE;
        let starts = (0..channels).step_by(many);
        starts
            .map(|start| {
                let range = start..(start + many).min(channels);
                piece(
                    range.start as u64 * record,
                    range.end as u64 * record,
                    range,
                )
            })
            .collect()
    }
}

/// Fills the bytes from `at` on with some pieces, and returns what cannot be used.
fn fill_window(pieces: &[Piece<'_>], mut at: u64, bytes: &mut [u8]) -> Vec<Diagnostic> {
    let mut rest = bytes;
    let mut slots: Vec<(&Piece<'_>, &mut [u8])> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let (_, from) = rest.split_at_mut((piece.start - at) as usize);
        let (slot, behind) = from.split_at_mut((piece.end - piece.start) as usize);
        (rest, at) = (behind, piece.end);
        slots.push((piece, slot));
    }
    slots
        .into_par_iter()
        .filter_map(|(piece, slot)| fill(piece, slot).err())
        .collect()
}

fn fill(piece: &Piece<'_>, slot: &mut [u8]) -> Result<(), Diagnostic> {
    let (graph, stored) = (piece.graph, piece.stored);
    match &stored.form {
        &Form::Channels {
            matrix,
            bias,
            channels: _,
            k,
            block,
            zeros,
        } => {
            let bias = bias.map(|bias| floats(graph, bias)).transpose()?;
            let record = stored.record() as usize;
            let scale_at = stored.scale_offset() as usize;
            let [zero_at, bias_at] =
                [stored.zero_offset(), stored.bias_offset()].map(|offset| offset as usize);
            let range = piece.channels.clone();
            let (q, scales) = values::quantized_channels(graph, matrix, range.clone())
                .map_err(|error| problem(graph, matrix, &error))?;
            let each = scales.len() / range.len().max(1);
            for (i, record) in slot.chunks_exact_mut(record).enumerate() {
                let (q, scales) = (&q[i * k..][..k], &scales[i * each..][..each]);
                let (values, behind) = record.split_at_mut(scale_at);
                if block.is_some() {
                    int4::pack(q, &mut values[..k.div_ceil(2)]);
                    for (to, &step) in behind.as_chunks_mut::<2>().0.iter_mut().zip(scales) {
                        *to = narrow_f16(step).to_le_bytes();
                    }
                } else {
                    for (to, &from) in values.iter_mut().zip(q) {
                        *to = from as u8;
                    }
                    behind[..4].copy_from_slice(&scales[0].to_le_bytes());
                }
                if zeros {
                    let zero = scales[1] as i32;
                    record[zero_at..zero_at + 4].copy_from_slice(&zero.to_le_bytes());
                }
                if let Some(bias) = &bias {
                    record[bias_at..bias_at + 4]
                        .copy_from_slice(&bias[range.start + i].to_le_bytes());
                }
            }
            Ok(())
        }
        Form::Vectors { parts, length } => {
            for (part, bytes) in parts.iter().zip(slot.chunks_exact_mut(length * 4)) {
                for (value, to) in floats(graph, *part)?.iter().zip(bytes.chunks_exact_mut(4)) {
                    to.copy_from_slice(&value.to_le_bytes());
                }
            }
            Ok(())
        }
        Form::Plain { konst } => plain(graph, *konst, slot),
        Form::Cache(_) => Ok(()),
    }
}

fn floats(graph: &Graph, konst: ConstId) -> Result<Vec<f32>, Diagnostic> {
    let tensor = values::value(graph, konst).map_err(|error| problem(graph, konst, &error))?;
    match tensor.data {
        Data::F32(a) | Data::F16(a) if a.iter().any(|x| !x.is_finite()) => {
            let name = graph.konst(konst).name.clone();
            Err(problem(graph, konst, &EvalError::NotFinite(name)))
        }
        Data::F32(a) | Data::F16(a) => Ok(a.iter().copied().collect()),
        _ => Err(
            Diagnostic::unsupported("emit-constant", "a vector of the network is not float")
                .at(konst.to_string()),
        ),
    }
}

fn plain(graph: &Graph, konst: ConstId, slot: &mut [u8]) -> Result<(), Diagnostic> {
    let tensor = values::value(graph, konst).map_err(|error| problem(graph, konst, &error))?;
    let bytes = match &tensor.data {
        // Truth values are kept as 0 and 1.
        Data::Bool(a) => a
            .iter()
            .flat_map(|&b| f32::from(u8::from(b)).to_le_bytes())
            .collect(),
        _ => tensor.to_le_bytes(),
    };
    slot.copy_from_slice(&bytes);
    Ok(())
}

fn problem(graph: &Graph, konst: ConstId, error: &EvalError) -> Diagnostic {
    Diagnostic::error(error.code(), error.to_string()).at(graph.konst(konst).name.clone())
}
