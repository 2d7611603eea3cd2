//! From real numbers to i8 and back.

use half::f16;
use packwright_numerics::int4;
use packwright_numerics::quant::{
    Scale, dequantize, dequantize_affine, quantize as quantize_one, quantize_affine_row,
    quantize_dynamic_row, quantize_parts_row, quantize_row,
};
use packwright_numerics::reduce::amax;

use super::lanes::{self, Lanes};
use super::normalize::around;
use crate::tensor::{Data, Tensor, array};
use crate::ty::{Elem, Quant};

/// Quantises with a given scale, or with scales found in the values.
pub(super) fn quantize(x: &Tensor, quant: Quant) -> Tensor {
    let values = lanes::floats(x);
    let mut q = vec![0i8; values.len()];
    let mut scales = Vec::new();
    match quant {
        Quant::Tensor { scale } => quantize_row(&values, Scale::fixed(scale).inverse, &mut q),
        Quant::Affine { scale, zero } => {
            quantize_affine_row(&values, scale, zero, &mut q);
        }
        Quant::Row { group } => {
            // Groups do not cross rows, so the tensor is one long row of groups.
            scales = vec![0.0; values.len() / group];
            quantize_dynamic_row(&values, group, &mut q, &mut scales);
        }
        Quant::Channel { axis } | Quant::Shifted { axis } => {
            let (outer, length, inner) = around(x.shape(), axis);
            for channel in 0..length {
                let mut line = Vec::with_capacity(outer * inner);
                for o in 0..outer {
                    let at = (o * length + channel) * inner;
                    line.extend_from_slice(&values[at..at + inner]);
                }
                let scale = Scale::from_amax(amax(&line));
                scales.push(scale.step);
                if matches!(quant, Quant::Shifted { .. }) {
                    // Zero points are brought, not found.
                    scales.push(0.0);
                }
                for o in 0..outer {
                    let at = (o * length + channel) * inner;
                    for (q, &x) in q[at..at + inner].iter_mut().zip(&values[at..at + inner]) {
                        *q = quantize_one(x, scale.inverse);
                    }
                }
            }
        }
        Quant::Block { axis, group } => {
            let (rows, columns) = (x.shape()[0], x.shape()[1]);
            let mut steps = vec![f16::ZERO; values.len() / group];
            let line = channels_first(&values, [rows, columns], axis);
            int4::quantize_row(&line, group, &mut q, &mut steps);
            let q = channels_first(
                &q,
                if axis == 0 {
                    [rows, columns]
                } else {
                    [columns, rows]
                },
                axis,
            );
            return Tensor {
                data: Data::I4(array(x.shape(), q)),
                quant: Some(quant),
                scales: steps.into_iter().map(f16::to_f32).collect(),
            };
        }
    }
    Tensor {
        data: Data::I8(array(x.shape(), q)),
        quant: Some(quant),
        scales,
    }
}

/// Quantises in two parts side by side.
pub(super) fn quantize_parts(x: &Tensor, group: usize, scale: Option<f32>) -> Tensor {
    let values = lanes::floats(x);
    let k = x.shape().last().copied().unwrap_or(1);
    let rows = values.len() / k.max(1);
    let groups = 2 * k / group.max(1);
    let (mut q, mut scales) = (vec![0i8; 2 * values.len()], vec![0.0; rows * groups]);
    let mut lost = vec![0.0; k];
    let parts = q
        .chunks_exact_mut((2 * k).max(1))
        .zip(scales.chunks_exact_mut(groups.max(1)));
    for (row, (q, steps)) in values.chunks_exact(k.max(1)).zip(parts) {
        quantize_parts_row(row, scale, &mut lost, q, steps);
    }
    let mut shape = x.shape().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = 2 * k;
    }
    Tensor {
        data: Data::I8(array(&shape, q)),
        quant: Some(Quant::Row { group }),
        scales,
    }
}

/// The real numbers that i8 values stand for.
pub(super) fn dequantize_all(x: &Tensor) -> Vec<f32> {
    let (Data::I4(q) | Data::I8(q)) = &x.data else {
        return lanes::floats(x);
    };
    let shape = x.shape();
    let q = q.iter().copied();
    match x.quant {
        None => q.map(f32::from).collect(),
        Some(Quant::Tensor { scale }) => q.map(|q| dequantize(q, scale)).collect(),
        Some(Quant::Affine { scale, zero }) => {
            q.map(|q| dequantize_affine(q, scale, zero)).collect()
        }
        Some(Quant::Row { group }) => q
            .enumerate()
            .map(|(i, q)| dequantize(q, x.scales[i / group]))
            .collect(),
        Some(Quant::Channel { axis }) => {
            let (_, length, inner) = around(x.shape(), axis);
            q.enumerate()
                .map(|(i, q)| dequantize(q, x.scales[(i / inner) % length]))
                .collect()
        }
        Some(Quant::Shifted { axis }) => {
            let (_, length, inner) = around(x.shape(), axis);
            let pairs = x.scales.as_chunks::<2>().0;
            q.enumerate()
                .map(|(i, q)| {
                    let [scale, zero] = pairs[(i / inner) % length];
                    dequantize_affine(q, scale, zero as i8)
                })
                .collect()
        }
        Some(Quant::Block { axis, group }) => {
            let (columns, blocks) = (shape[1], shape[1 - axis] / group);
            let step = |i: usize| {
                let at = [i / columns, i % columns];
                x.scales[at[axis] * blocks + at[1 - axis] / group]
            };
            q.enumerate().map(|(i, q)| dequantize(q, step(i))).collect()
        }
    }
}

/// A matrix of `[rows, columns]` channel by channel, the channels lying along the axis.
fn channels_first<T: Copy>(values: &[T], [rows, columns]: [usize; 2], axis: usize) -> Vec<T> {
    if axis == 0 {
        return values.to_vec();
    }
    let column = |c: usize| (0..rows).map(move |r| values[r * columns + c]);
    (0..columns).flat_map(column).collect()
}

/// Floats of the element type.
pub(super) fn to_floats(x: &Tensor, to: Elem) -> Tensor {
    lanes::store(to, x.shape(), Lanes::F32(dequantize_all(x)))
}
