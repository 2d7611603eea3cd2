//! From real numbers to i8 and back.

use packwright_numerics::quant::{
    Scale, dequantize, quantize as quantize_one, quantize_dynamic_row, quantize_row,
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
        Quant::Row { group } => {
            // Groups do not cross rows, so the tensor is one long row of groups.
            scales = vec![0.0; values.len() / group];
            quantize_dynamic_row(&values, group, &mut q, &mut scales);
        }
        Quant::Channel { axis } => {
            let (outer, length, inner) = around(x.shape(), axis);
            for channel in 0..length {
                let mut line = Vec::with_capacity(outer * inner);
                for o in 0..outer {
                    let at = (o * length + channel) * inner;
                    line.extend_from_slice(&values[at..at + inner]);
                }
                let scale = Scale::from_amax(amax(&line));
                scales.push(scale.step);
                for o in 0..outer {
                    let at = (o * length + channel) * inner;
                    for (q, &x) in q[at..at + inner].iter_mut().zip(&values[at..at + inner]) {
                        *q = quantize_one(x, scale.inverse);
                    }
                }
            }
        }
    }
    Tensor {
        data: Data::I8(array(x.shape(), q)),
        quant: Some(quant),
        scales,
    }
}

/// The real numbers that i8 values stand for.
pub(super) fn dequantize_all(x: &Tensor) -> Vec<f32> {
    let Data::I8(q) = &x.data else {
        return lanes::floats(x);
    };
    let q = q.iter().copied();
    match x.quant {
        None => q.map(f32::from).collect(),
        Some(Quant::Tensor { scale }) => q.map(|q| dequantize(q, scale)).collect(),
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
    }
}

/// Floats of the element type.
pub(super) fn to_floats(x: &Tensor, to: Elem) -> Tensor {
    lanes::store(to, x.shape(), Lanes::F32(dequantize_all(x)))
}
