//! The bytes of the constants section, made channel by channel from the graph's constants.

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

/// Makes a constants section of `bytes` bytes from stored constants and the graphs that they come from.
///
/// # Errors
/// Lists constants that have no values, or values that cannot be quantised.
pub fn section(rows: &[(&Graph, &Stored)], bytes: u64) -> Result<Vec<u8>, Diagnostics> {
    let mut section = vec![0u8; bytes as usize];
    let mut rest = section.as_mut_slice();
    let mut taken = 0u64;
    let mut slots: Vec<(&Graph, &Stored, &mut [u8])> = Vec::new();
    let mut stored = rows.to_vec();
    stored.sort_by_key(|(_, stored)| stored.offset);
    for (graph, item) in stored {
        let (_, from) = rest.split_at_mut((item.offset - taken) as usize);
        let (slot, behind) = from.split_at_mut(item.bytes as usize);
        taken = item.offset + item.bytes;
        rest = behind;
        slots.push((graph, item, slot));
    }
    let problems: Vec<Diagnostic> = slots
        .into_par_iter()
        .filter_map(|(graph, item, slot)| fill(graph, item, slot).err())
        .collect();
    if problems.is_empty() {
        Ok(section)
    } else {
        Err(Diagnostics(problems))
    }
}

fn fill(graph: &Graph, stored: &Stored, slot: &mut [u8]) -> Result<(), Diagnostic> {
    match &stored.form {
        Form::Channels {
            matrix,
            bias,
            channels,
            k,
            block,
        } => {
            let bias = bias.map(|bias| floats(graph, bias)).transpose()?;
            let record = stored.record() as usize;
            let packed = block.is_some();
            let scale_at = stored.scale_offset() as usize;
            let bias_at = stored.bias_offset() as usize;
            slot.par_chunks_mut(record * CHANNELS_AT_ONCE)
                .enumerate()
                .try_for_each(|(block, bytes)| {
                    let start = block * CHANNELS_AT_ONCE;
                    let range = start..(start + CHANNELS_AT_ONCE).min(*channels);
                    let (q, scales) = values::quantized_channels(graph, *matrix, range.clone())
                        .map_err(|error| problem(graph, *matrix, &error))?;
                    let each = scales.len() / range.len().max(1);
                    for (i, record) in bytes.chunks_exact_mut(record).enumerate() {
                        let (q, scales) = (&q[i * k..][..*k], &scales[i * each..][..each]);
                        let (values, behind) = record.split_at_mut(scale_at);
                        if packed {
                            int4::pack(q, &mut values[..k.div_ceil(2)]);
                            for (to, &step) in behind.as_chunks_mut::<2>().0.iter_mut().zip(scales)
                            {
                                *to = narrow_f16(step).to_le_bytes();
                            }
                        } else {
                            for (to, &from) in values.iter_mut().zip(q) {
                                *to = from as u8;
                            }
                            behind[..4].copy_from_slice(&scales[0].to_le_bytes());
                        }
                        if let Some(bias) = &bias {
                            record[bias_at..bias_at + 4]
                                .copy_from_slice(&bias[range.start + i].to_le_bytes());
                        }
                    }
                    Ok(())
                })
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
