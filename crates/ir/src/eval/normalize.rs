//! Reductions, softmax, norms and rotations: work on rows or along an axis.

use packwright_numerics::norm::{layer_norm_row, rms_norm_row};
use packwright_numerics::reduce::{
    logsumexp_row, max_row, mean_row, min_row, sum_lanes, sum_squares,
};
use packwright_numerics::rotary::{rotate_half_row, rotate_interleaved_row};
use packwright_numerics::softmax::softmax_row;

use super::lanes::{self, Lanes};
use super::movement::transpose;
use crate::op::Reduce;
use crate::tensor::Tensor;
use crate::ty::Type;

/// Elements before, along and behind an axis.
pub(super) fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (
        shape[..axis].iter().product(),
        shape[axis],
        shape[axis + 1..].iter().product(),
    )
}

/// Reduces over axes: they move to the end and become rows.
pub(super) fn reduce(x: &Tensor, kind: Reduce, axes: &[usize], ty: &Type) -> Tensor {
    let rank = x.shape().len();
    let mut perm: Vec<usize> = (0..rank).filter(|axis| !axes.contains(axis)).collect();
    let mut gone = axes.to_vec();
    gone.sort_unstable();
    let length: usize = gone.iter().map(|&axis| x.shape()[axis]).product();
    perm.extend(gone);
    let rows = lanes::of(&transpose(x, &perm));
    let result = match rows {
        Lanes::Int(v) => Lanes::Int(by_row(&v, length, ty, |row| match kind {
            Reduce::Sum | Reduce::Mean | Reduce::LogSumExp => {
                row.iter().fold(0i64, |sum, &x| sum.wrapping_add(x))
            }
            Reduce::SumSquare => row
                .iter()
                .fold(0i64, |sum, &x| sum.wrapping_add(x.wrapping_mul(x))),
            Reduce::Prod => row.iter().fold(1i64, |product, &x| product.wrapping_mul(x)),
            Reduce::Max => row.iter().copied().max().unwrap_or(i64::MIN),
            Reduce::Min => row.iter().copied().min().unwrap_or(i64::MAX),
        })),
        Lanes::F64(v) => Lanes::F64(by_row(&v, length, ty, |row| match kind {
            Reduce::Sum => row.iter().sum(),
            Reduce::Mean => row.iter().sum::<f64>() / row.len() as f64,
            Reduce::SumSquare => row.iter().map(|x| x * x).sum(),
            Reduce::Prod => row.iter().product(),
            Reduce::Max => row.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Reduce::Min => row.iter().copied().fold(f64::INFINITY, f64::min),
            Reduce::LogSumExp => {
                let narrow: Vec<f32> = row.iter().map(|&x| x as f32).collect();
                f64::from(logsumexp_row(&narrow))
            }
        })),
        other => Lanes::F32(by_row(
            &lanes::to_f32(other),
            length,
            ty,
            |row| match kind {
                Reduce::Sum => sum_lanes(row),
                Reduce::Mean => mean_row(row),
                Reduce::SumSquare => sum_squares(row),
                Reduce::Prod => row.iter().product(),
                Reduce::Max => max_row(row),
                Reduce::Min => min_row(row),
                Reduce::LogSumExp => logsumexp_row(row),
            },
        )),
    };
    lanes::store(ty.elem, &ty.shape, result)
}

fn by_row<T>(values: &[T], length: usize, ty: &Type, f: impl Fn(&[T]) -> T) -> Vec<T> {
    if length == 0 {
        return (0..ty.elements()).map(|_| f(&[])).collect();
    }
    values.chunks_exact(length).map(f).collect()
}

/// Softmax along an axis.
pub(super) fn softmax(x: &Tensor, axis: usize) -> Tensor {
    let (outer, length, inner) = around(x.shape(), axis);
    let mut values = lanes::floats(x);
    let mut line = vec![0.0; length];
    for o in 0..outer {
        for i in 0..inner {
            let at = |j: usize| (o * length + j) * inner + i;
            for (j, x) in line.iter_mut().enumerate() {
                *x = values[at(j)];
            }
            softmax_row(&mut line);
            for (j, &p) in line.iter().enumerate() {
                values[at(j)] = p;
            }
        }
    }
    lanes::store(x.elem(), x.shape(), Lanes::F32(values))
}

/// Running sums along an axis.
pub(super) fn cum_sum(x: &Tensor, axis: usize) -> Tensor {
    fn run<T: Copy>(
        values: &mut [T],
        (outer, length, inner): (usize, usize, usize),
        add: impl Fn(T, T) -> T,
    ) {
        for o in 0..outer {
            for j in 1..length {
                for i in 0..inner {
                    let at = (o * length + j) * inner + i;
                    values[at] = add(values[at - inner], values[at]);
                }
            }
        }
    }
    let around = around(x.shape(), axis);
    let mut sums = lanes::of(x);
    match &mut sums {
        Lanes::Int(v) => run(v, around, i64::wrapping_add),
        Lanes::F32(v) => run(v, around, |a, b| a + b),
        Lanes::F64(v) => run(v, around, |a, b| a + b),
        Lanes::Bool(_) => {}
    }
    lanes::store(x.elem(), x.shape(), sums)
}

/// Replaces each row by what `f` makes of it.
fn rows(x: &Tensor, f: impl Fn(&[f32], &mut [f32])) -> Tensor {
    let values = lanes::floats(x);
    let width = x.shape().last().copied().unwrap_or(1).max(1);
    let mut result = vec![0.0; values.len()];
    for (row, y) in values
        .chunks_exact(width)
        .zip(result.chunks_exact_mut(width))
    {
        f(row, y);
    }
    lanes::store(x.elem(), x.shape(), Lanes::F32(result))
}

/// LayerNorm of each row; operands gamma and beta, or none.
pub(super) fn layer_norm(x: &Tensor, affine: &[&Tensor], eps: f32) -> Tensor {
    let affine: Vec<Vec<f32>> = affine.iter().map(|t| lanes::floats(t)).collect();
    let part = |i: usize| affine.get(i).map(Vec::as_slice);
    rows(x, |row, y| layer_norm_row(row, part(0), part(1), eps, y))
}

/// RMSNorm of each row.
pub(super) fn rms_norm(x: &Tensor, gamma: Option<&Tensor>, eps: f32) -> Tensor {
    let gamma = gamma.map(lanes::floats);
    rows(x, |row, y| rms_norm_row(row, gamma.as_deref(), eps, y))
}

/// Rotates pairs of each head by the angles of its position; elements without a pair stay.
pub(super) fn rotary(
    x: &Tensor,
    cos: &Tensor,
    sin: &Tensor,
    heads: usize,
    interleaved: bool,
) -> Tensor {
    let [_, positions, columns] = *x.shape() else {
        unreachable!("the rule asks for three axes")
    };
    let width = columns / heads;
    let pairs = cos.shape()[1];
    let (cos, sin) = (lanes::floats(cos), lanes::floats(sin));
    let mut values = lanes::floats(x);
    for (row, y) in values.chunks_exact_mut(columns.max(1)).enumerate() {
        let at = (row % positions) * pairs;
        let (cos, sin) = (&cos[at..at + pairs], &sin[at..at + pairs]);
        for head in y.chunks_exact_mut(width) {
            if interleaved {
                rotate_interleaved_row(head, cos, sin);
            } else {
                rotate_half_row(head, cos, sin);
            }
        }
    }
    lanes::store(x.elem(), x.shape(), Lanes::F32(values))
}
