//! The values of constants, whole or some channels at a time.

use std::ops::Range;

use bytes::Bytes;
use half::f16;
use packwright_numerics::int4;
use packwright_numerics::quant::quantize_rows;

use super::lanes::{self, Lanes};
use super::{EvalError, fill, movement, quantize};
use crate::graph::Graph;
use crate::id::ConstId;
use crate::konst::{Const, Derivation, Source};
use crate::tensor::{Data, Tensor};
use crate::ty::{Elem, Quant, Type};

/// The value of a constant.
///
/// # Errors
/// When it, or one that it is derived from, has no values.
pub fn value(graph: &Graph, id: ConstId) -> Result<Tensor, EvalError> {
    let konst = graph.konst(id);
    match &konst.source {
        Source::Bytes(bytes) => decode(konst, bytes),
        Source::Synthetic(fill) => Ok(fill::generate(&fill.name, fill.seed, fill.kind, &konst.ty)),
        Source::Absent => Err(EvalError::AbsentConstant(konst.name.clone())),
        Source::Derived(derivation) => derive(graph, &konst.ty, derivation),
    }
}

fn derive(graph: &Graph, ty: &Type, derivation: &Derivation) -> Result<Tensor, EvalError> {
    Ok(match derivation {
        Derivation::Transpose { of, perm } => movement::transpose(&value(graph, *of)?, perm),
        Derivation::Reshape { of } => movement::reshape(&value(graph, *of)?, &ty.shape),
        Derivation::Expand { of } => movement::expand(&value(graph, *of)?, &ty.shape),
        Derivation::Slice {
            of,
            start,
            count,
            step,
        } => movement::slice(&value(graph, *of)?, start, count, step),
        Derivation::Rest { of, axis } => {
            let whole = value(graph, *of)?;
            let quantized = quantize::quantize(&whole, Quant::Channel { axis: *axis });
            let kept = quantize::dequantize_all(&quantized);
            let lost = lanes::floats(&whole).into_iter().zip(kept);
            let lost = lost.map(|(x, kept)| x - kept).collect();
            lanes::store(ty.elem, &ty.shape, Lanes::F32(lost))
        }
        Derivation::Concat { of, axis } => {
            let parts = of
                .iter()
                .map(|&id| value(graph, id))
                .collect::<Result<Vec<_>, _>>()?;
            movement::concat(&parts.iter().collect::<Vec<_>>(), *axis, ty)
        }
        Derivation::Quantize { of } => {
            let quant = ty.quant.ok_or(EvalError::Unsupported(
                "a constant is derived by quantising and is not quantised",
            ))?;
            quantize::quantize(&value(graph, *of)?, quant)
        }
        Derivation::Dequantize { of } => quantize::to_floats(&value(graph, *of)?, ty.elem),
        Derivation::Scaled {
            of: [values, scales],
        } => Tensor {
            quant: ty.quant,
            scales: lanes::floats(&value(graph, *scales)?),
            ..value(graph, *values)?
        },
        Derivation::ScaleEach {
            of: [of, factors],
            axis,
        } => {
            let mut values = lanes::floats(&value(graph, *of)?);
            let inner = ty.shape[axis + 1..].iter().product();
            scale_each(&mut values, &factors_of(graph, *factors)?, inner);
            lanes::store(ty.elem, &ty.shape, Lanes::F32(values))
        }
        Derivation::Scale { of, factor } => {
            let values = lanes::floats(&value(graph, *of)?);
            let scaled = values.into_iter().map(|x| x * factor).collect();
            lanes::store(ty.elem, &ty.shape, Lanes::F32(scaled))
        }
    })
}

fn factors_of(graph: &Graph, id: ConstId) -> Result<Vec<f32>, EvalError> {
    Ok(lanes::floats(&value(graph, id)?))
}

/// Multiplies runs of `inner` values by the factors in turn.
fn scale_each(values: &mut [f32], factors: &[f32], inner: usize) {
    let runs = values.chunks_exact_mut(inner.max(1));
    for (run, factor) in runs.zip(factors.iter().cycle()) {
        run.iter_mut().for_each(|x| *x *= factor);
    }
}

fn decode(konst: &Const, bytes: &Bytes) -> Result<Tensor, EvalError> {
    let ty = &konst.ty;
    if matches!(
        ty.quant,
        Some(
            Quant::Row { .. } | Quant::Channel { .. } | Quant::Shifted { .. } | Quant::Block { .. }
        )
    ) {
        return Err(EvalError::Unsupported(
            "a constant is stored quantised, without its scales",
        ));
    }
    Tensor::from_le_bytes(ty, bytes).ok_or_else(|| EvalError::ConstantSize {
        name: konst.name.clone(),
        expected: ty.bytes(),
        found: bytes.len(),
    })
}

/// Whether a constant, and all that it is derived from, has values.
pub fn has_values(graph: &Graph, id: ConstId) -> bool {
    match &graph.konst(id).source {
        Source::Bytes(_) | Source::Synthetic(_) => true,
        Source::Absent => false,
        Source::Derived(derivation) => derivation.sources().iter().all(|&id| has_values(graph, id)),
    }
}

/// The f32 of a half.
fn half(bytes: [u8; 2]) -> f32 {
    half::f16::from_le_bytes(bytes).to_f32()
}

/// Some channels of a matrix that is quantised by channel or in blocks, with their scales: `[channel][k]`
/// and `[channel][block]`, whichever axis the channels lie on; a channel with a zero point has it behind its
/// scale. Only these channels are read.
///
/// # Errors
/// When the constant is no such matrix, or has no values.
pub fn quantized_channels(
    graph: &Graph,
    id: ConstId,
    range: Range<usize>,
) -> Result<(Vec<i8>, Vec<f32>), EvalError> {
    let konst = graph.konst(id);
    let unsupported = EvalError::Unsupported("a constant is no matrix quantised by channel");
    let (
        Source::Derived(derivation),
        Some(
            quant @ (Quant::Channel { axis } | Quant::Shifted { axis } | Quant::Block { axis, .. }),
        ),
        2,
    ) = (&konst.source, konst.ty.quant, konst.ty.rank())
    else {
        return Err(unsupported);
    };
    let of = match derivation {
        Derivation::Quantize { of } => of,
        Derivation::Scaled {
            of: [values, scales],
        } => return scaled_channels(graph, *values, *scales, axis, range),
        Derivation::Transpose { .. }
        | Derivation::Reshape { .. }
        | Derivation::Expand { .. }
        | Derivation::Slice { .. }
        | Derivation::Dequantize { .. }
        | Derivation::Rest { .. }
        | Derivation::Concat { .. }
        | Derivation::ScaleEach { .. }
        | Derivation::Scale { .. } => return Err(unsupported),
    };
    let k = konst.ty.shape[1 - axis];
    let mut floats = vec![0.0; range.len() * k];
    channels(graph, *of, axis, range.clone(), &mut floats)?;
    if floats.iter().any(|x| !x.is_finite()) {
        return Err(EvalError::NotFinite(graph.konst(*of).name.clone()));
    }
    let mut q = vec![0i8; floats.len()];
    if let Quant::Block { group, .. } = quant {
        let mut steps = vec![f16::ZERO; floats.len() / group];
        int4::quantize_row(&floats, group, &mut q, &mut steps);
        return Ok((q, steps.into_iter().map(f16::to_f32).collect()));
    }
    let mut scales = vec![0.0; range.len()];
    quantize_rows(&floats, range.len(), &mut q, &mut scales);
    Ok((q, scales))
}

/// Some channels of stored values, with their stored scales.
fn scaled_channels(
    graph: &Graph,
    values: ConstId,
    scales: ConstId,
    axis: usize,
    range: Range<usize>,
) -> Result<(Vec<i8>, Vec<f32>), EvalError> {
    let channels = graph.konst(values).ty.shape.get(axis).copied().unwrap_or(0);
    let scales = lanes::floats(&value(graph, scales)?);
    let each = scales.len() / channels.max(1);
    let scales = scales[range.start * each..range.end * each].to_vec();
    let k = graph.konst(values).ty.shape.get(1 - axis).copied();
    let mut q = vec![0i8; range.len() * k.unwrap_or(0)];
    stored_lines(graph, values, axis, range, &mut q)?;
    Ok((q, scales))
}

/// Some lines of stored integers along an axis: `[line][element]`.
fn stored_lines(
    graph: &Graph,
    id: ConstId,
    axis: usize,
    range: Range<usize>,
    q: &mut [i8],
) -> Result<(), EvalError> {
    let of = graph.konst(id);
    let [rows, columns] = of.ty.shape[..] else {
        return Err(EvalError::Unsupported("a constant is no matrix"));
    };
    match &of.source {
        Source::Derived(Derivation::Concat {
            of: parts,
            axis: joined,
        }) if *joined == axis => {
            parts_of(graph, parts, axis, range, q, &mut |part, range, q| {
                stored_lines(graph, part, axis, range, q)
            })?;
        }
        Source::Bytes(bytes) if bytes.len() == of.ty.bytes() => {
            lines(rows, columns, axis, &range, q, |at| match of.ty.elem {
                Elem::I4 => int4::unpacked(bytes[at / 2])[at % 2],
                _ => bytes[at] as i8,
            });
        }
        _ => {
            let tensor = value(graph, id)?;
            let (Data::I4(all) | Data::I8(all)) = &tensor.data else {
                return Err(EvalError::Unsupported(
                    "stored values are neither i4 nor i8",
                ));
            };
            let all: Vec<i8> = all.iter().copied().collect();
            lines(rows, columns, axis, &range, q, |at| all[at]);
        }
    }
    Ok(())
}

/// Some lines of a matrix along an axis: `[line][element]`.
fn channels(
    graph: &Graph,
    id: ConstId,
    axis: usize,
    range: Range<usize>,
    out: &mut [f32],
) -> Result<(), EvalError> {
    let konst = graph.konst(id);
    let [rows, columns] = konst.ty.shape[..] else {
        return Err(EvalError::Unsupported("a constant is no matrix"));
    };
    match &konst.source {
        Source::Bytes(bytes) if matches!(konst.ty.elem, Elem::F16 | Elem::F32) => {
            if bytes.len() != konst.ty.bytes() {
                return decode(konst, bytes).map(|_| ());
            }
            let (halves, words) = (bytes.as_chunks::<2>().0, bytes.as_chunks::<4>().0);
            match konst.ty.elem {
                Elem::F16 => lines(rows, columns, axis, &range, out, |at| half(halves[at])),
                _ => lines(rows, columns, axis, &range, out, |at| {
                    f32::from_le_bytes(words[at])
                }),
            }
            Ok(())
        }
        Source::Synthetic(fill) => {
            let stream = fill::stream(fill, &konst.ty);
            lines(rows, columns, axis, &range, out, |at| stream.float(at));
            Ok(())
        }
        Source::Derived(Derivation::Transpose { of, perm }) if perm[..] == [1, 0] => {
            channels(graph, *of, 1 - axis, range, out)
        }
        Source::Derived(Derivation::Concat { of, axis: joined }) => {
            join(graph, of, (axis, *joined), range, out)
        }
        Source::Derived(Derivation::ScaleEach {
            of: [of, factors],
            axis: along,
        }) => {
            channels(graph, *of, axis, range.clone(), out)?;
            let factors = factors_of(graph, *factors)?;
            let length = out.len() / range.len().max(1);
            match *along == axis {
                true => scale_each(out, &factors[range], length),
                false => scale_each(out, &factors, 1),
            }
            Ok(())
        }
        Source::Derived(Derivation::Scale { of, factor }) => {
            channels(graph, *of, axis, range, out)?;
            out.iter_mut().for_each(|x| *x *= factor);
            Ok(())
        }
        _ => {
            let values = lanes::floats(&value(graph, id)?);
            lines(rows, columns, axis, &range, out, |at| values[at]);
            Ok(())
        }
    }
}

/// Reads lines of a row-major matrix.
fn lines<T>(
    rows: usize,
    columns: usize,
    axis: usize,
    range: &Range<usize>,
    out: &mut [T],
    read: impl Fn(usize) -> T,
) {
    if axis == 0 {
        for (x, at) in out
            .iter_mut()
            .zip(range.start * columns..range.end * columns)
        {
            *x = read(at);
        }
        return;
    }
    // Some rows at a time down the matrix: pieces of them are read, and pieces of lines written, from the cache.
    for top in (0..rows).step_by(ROWS_AT_ONCE) {
        let block = top..(top + ROWS_AT_ONCE).min(rows);
        for (line, column) in out.chunks_exact_mut(rows).zip(range.clone()) {
            for (x, row) in line[block.clone()].iter_mut().zip(block.clone()) {
                *x = read(row * columns + column);
            }
        }
    }
}

/// Rows of a matrix that its columns are read from at once.
const ROWS_AT_ONCE: usize = 16;

/// Lines of a matrix that is joined from parts.
fn join(
    graph: &Graph,
    parts: &[ConstId],
    (axis, joined): (usize, usize),
    range: Range<usize>,
    out: &mut [f32],
) -> Result<(), EvalError> {
    if axis == joined {
        return parts_of(graph, parts, axis, range, out, &mut |part, range, own| {
            channels(graph, part, axis, range, own)
        });
    }
    let width = |part: &ConstId| graph.konst(*part).ty.shape[1 - axis];
    let total: usize = parts.iter().map(width).sum();
    let mut start = 0;
    for part in parts {
        let width = width(part);
        let mut own = vec![0.0; range.len() * width];
        channels(graph, *part, axis, range.clone(), &mut own)?;
        for (line, own) in out.chunks_exact_mut(total).zip(own.chunks_exact(width)) {
            line[start..start + width].copy_from_slice(own);
        }
        start += width;
    }
    Ok(())
}

/// Reads some lines of a part.
type ReadPart<'a, T> = dyn FnMut(ConstId, Range<usize>, &mut [T]) -> Result<(), EvalError> + 'a;

/// Lines of a matrix whose parts follow one another along the axis, read part by part.
fn parts_of<T>(
    graph: &Graph,
    parts: &[ConstId],
    axis: usize,
    range: Range<usize>,
    out: &mut [T],
    read: &mut ReadPart<'_, T>,
) -> Result<(), EvalError> {
    let (mut start, mut rest) = (0, out);
    for &part in parts {
        let shape = &graph.konst(part).ty.shape;
        let (length, width) = (shape[axis], shape[1 - axis]);
        let from = range.start.clamp(start, start + length) - start;
        let to = range.end.clamp(start, start + length) - start;
        let (own, behind) = rest.split_at_mut((to - from) * width);
        if from < to {
            read(part, from..to, own)?;
        }
        rest = behind;
        start += length;
    }
    Ok(())
}
