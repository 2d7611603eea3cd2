//! Products: of floats, and of i8 with exact sums.

use packwright_numerics::activation::Activation as Function;
use packwright_numerics::matmul::{ColumnScale, Epilogue, dot_i8};
use rayon::prelude::*;

use super::EvalError;
use super::lanes::{self, Lanes};
use crate::op::{Activation, Matmul};
use crate::tensor::{Data, Tensor};
use crate::ty::{Quant, Type};

/// The machine's function for an activation.
pub(super) fn function(activation: Option<Activation>) -> Function {
    match activation {
        None => Function::None,
        Some(Activation::Relu) => Function::Relu,
        Some(Activation::GeluErf) => Function::GeluErf,
        Some(Activation::GeluTanh) => Function::GeluTanh,
        Some(Activation::Silu) => Function::Silu,
        Some(Activation::Sigmoid) => Function::Sigmoid,
        Some(Activation::Tanh) => Function::Tanh,
    }
}

/// `act(Σ a·b · alpha + bias) + residual` for each matrix of the broadcast batch.
pub(super) fn matmul(attrs: &Matmul, x: &[&Tensor], ty: &Type) -> Result<Tensor, EvalError> {
    let (a, b) = (x[0], x[1]);
    let (m, n) = (ty.shape[ty.rank() - 2], ty.shape[ty.rank() - 1]);
    let k = a.shape()[a.shape().len() - 1] / attrs.parts.max(1);
    let batch = &ty.shape[..ty.rank() - 2];
    let matrices: usize = batch.iter().product();
    let index = |t: &Tensor| {
        let shape = &t.shape()[..t.shape().len() - 2];
        lanes::broadcast_index(shape, batch).unwrap_or_else(|| (0..matrices).collect())
    };
    let (of_a, of_b) = (index(a), index(b));
    let mut rest = x[2..].iter();
    let bias = if attrs.bias {
        rest.next().map(|t| lanes::floats(t))
    } else {
        None
    };
    let residual = if attrs.residual {
        rest.next().map(|t| lanes::floats(t))
    } else {
        None
    };
    let product = Product::of(attrs, a, b, k, n)?;

    let mut y = vec![0.0f32; matrices * m * n];
    y.par_chunks_exact_mut(n.max(1))
        .enumerate()
        .for_each(|(row, y)| {
            let (matrix, i) = (row / m, row % m);
            product.row(of_a[matrix] * m + i, of_b[matrix], y);
            let epilogue = Epilogue {
                scale: product.column_scale(of_b[matrix]),
                alpha: attrs.alpha,
                bias: bias.as_deref(),
                activation: function(attrs.activation),
            };
            epilogue.finish_row(y, residual.as_ref().map(|r| &r[row * n..(row + 1) * n]));
        });
    Ok(lanes::store(attrs.out, &ty.shape, Lanes::F32(y)))
}

/// Factors, b as `[matrix, n, k]`.
enum Product<'a> {
    Float {
        a: Vec<f32>,
        b: Vec<f32>,
        k: usize,
        n: usize,
    },
    Int {
        a: Vec<i8>,
        b: Vec<i8>,
        k: usize,
        n: usize,
        /// Parts of `k` elements in a row of `a`.
        parts: usize,
        /// What the zero point of `a` adds to the sum with each column of `b`; empty where it is 0.
        excess: Vec<i32>,
        /// Zero points of the columns of `b`; empty where it has none.
        zeros: Vec<i32>,
        steps: Steps<'a>,
        columns: Columns<'a>,
        blocks: Option<Blocks<'a>>,
    },
}

/// Steps of the second factor within sums, `[column][block]`.
struct Blocks<'a> {
    steps: &'a [f32],
    /// Elements of a block.
    length: usize,
}

/// Scales of the rows of a factor.
pub(super) enum Steps<'a> {
    All(f32),
    /// `groups` of them a row.
    Each {
        scales: &'a [f32],
        groups: usize,
    },
}

enum Columns<'a> {
    All(f32),
    /// The same for each matrix.
    Shared(Vec<f32>),
    /// `n` of them for each matrix.
    Each(&'a [f32]),
}

impl<'a> Product<'a> {
    fn of(
        attrs: &Matmul,
        a: &'a Tensor,
        b: &'a Tensor,
        k: usize,
        n: usize,
    ) -> Result<Self, EvalError> {
        let (Data::I8(qa), Data::I4(qb) | Data::I8(qb)) = (&a.data, &b.data) else {
            let b = columns_first(lanes::floats(b), attrs.transpose_b, k, n);
            return Ok(Product::Float {
                a: lanes::floats(a),
                b,
                k,
                n,
            });
        };
        let columns = match b.quant {
            Some(Quant::Tensor { scale }) => Columns::All(scale),
            Some(Quant::Channel { .. }) => Columns::Shared(b.scales.clone()),
            Some(Quant::Shifted { .. }) => {
                let pairs = b.scales.as_chunks::<2>().0;
                Columns::Shared(pairs.iter().map(|&[scale, _]| scale).collect())
            }
            Some(Quant::Row { group }) if group == k => Columns::Each(&b.scales),
            Some(Quant::Block { .. }) => Columns::All(1.0),
            Some(Quant::Affine { .. } | Quant::Row { .. }) | None => {
                return Err(EvalError::Unsupported(
                    "the second factor has scales within a sum",
                ));
            }
        };
        let qb = columns_first(qb.iter().copied().collect(), attrs.transpose_b, k, n);
        let zeros: Vec<i32> = match b.quant {
            Some(Quant::Shifted { .. }) => {
                let pairs = b.scales.as_chunks::<2>().0;
                pairs.iter().map(|&[_, zero]| zero as i32).collect()
            }
            _ => Vec::new(),
        };
        let excess = match a.quant {
            Some(Quant::Affine { zero, .. }) if zero != 0 => qb
                .chunks_exact(k.max(1))
                .enumerate()
                .map(|(column, line)| {
                    let taken = zeros.get(column).copied().unwrap_or(0);
                    let sum: i32 = line.iter().map(|&b| i32::from(b) - taken).sum();
                    i32::from(zero) * sum
                })
                .collect(),
            _ => Vec::new(),
        };
        Ok(Product::Int {
            a: qa.iter().copied().collect(),
            b: qb,
            k,
            n,
            parts: attrs.parts,
            excess,
            zeros,
            steps: steps(a)?,
            columns,
            blocks: match b.quant {
                Some(Quant::Block { group: length, .. }) => Some(Blocks {
                    steps: &b.scales,
                    length,
                }),
                _ => None,
            },
        })
    }

    /// Sums of one row of `a` with all columns of a matrix of `b`, with the row's scales.
    fn row(&self, row: usize, matrix: usize, y: &mut [f32]) {
        match self {
            Product::Float { a, b, k, n } => {
                let a = &a[row * k..(row + 1) * k];
                for (y, b) in y
                    .iter_mut()
                    .zip(b[matrix * n * k..].chunks_exact((*k).max(1)))
                {
                    *y = dot(a, b);
                }
            }
            Product::Int {
                a,
                b,
                k,
                n,
                parts,
                excess,
                zeros,
                steps,
                blocks,
                ..
            } => {
                let width = k * parts;
                let a = &a[row * width..(row + 1) * width];
                let columns = b[matrix * n * k..].chunks_exact((*k).max(1));
                for (column, (y, b)) in y.iter_mut().zip(columns).enumerate() {
                    let excess = excess.get(matrix * n + column);
                    let zero = zeros.get(column).copied().unwrap_or(0);
                    *y = match (blocks, excess, steps) {
                        (Some(blocks), _, _) => steps.sum_in_blocks(row, a, b, blocks, column),
                        (None, Some(excess), Steps::All(step)) => {
                            dot_shifted(a, b, zero).wrapping_sub(*excess) as f32 * step
                        }
                        (None, _, _) => steps.sum(row, a, b, zero),
                    };
                }
            }
        }
    }

    fn column_scale(&self, matrix: usize) -> ColumnScale<'_> {
        match self {
            Product::Float { .. } => ColumnScale::All(1.0),
            Product::Int { columns, n, .. } => match columns {
                Columns::All(scale) => ColumnScale::All(*scale),
                Columns::Shared(scales) => ColumnScale::Each(scales),
                Columns::Each(scales) => ColumnScale::Each(&scales[matrix * n..(matrix + 1) * n]),
            },
        }
    }
}

impl Steps<'_> {
    /// `Σ_g f32(Σ a·(b - zero) in g) · step[g]`, in the order of the groups.
    fn sum(&self, row: usize, a: &[i8], b: &[i8], zero: i32) -> f32 {
        match self {
            Steps::All(step) => dot_shifted(a, b, zero) as f32 * step,
            Steps::Each { scales, groups } => {
                let group = a.len() / groups;
                let steps = &scales[row * groups..(row + 1) * groups];
                // Every part of a row meets all of `b`.
                let b = b.chunks_exact(group).cycle();
                let mut parts = a.chunks_exact(group).zip(b).zip(steps);
                let mut product = || {
                    parts
                        .next()
                        .map(|((a, b), step)| dot_shifted(a, b, zero) as f32 * step)
                };
                let mut sum = product().unwrap_or(0.0);
                while let Some(next) = product() {
                    sum += next;
                }
                sum
            }
        }
    }
}

impl Steps<'_> {
    /// `Σ_p (f32(Σ a·b in p) · a_step) · b_step` over parts that lie in one group and one block, in order.
    fn sum_in_blocks(
        &self,
        row: usize,
        a: &[i8],
        b: &[i8],
        blocks: &Blocks<'_>,
        column: usize,
    ) -> f32 {
        let (group, a_steps) = match self {
            Steps::All(step) => (a.len(), std::slice::from_ref(step)),
            Steps::Each { scales, groups } => {
                (a.len() / groups, &scales[row * groups..(row + 1) * groups])
            }
        };
        let (k, block) = (b.len().max(1), blocks.length);
        let b_steps = &blocks.steps[column * (b.len() / block)..];
        let part = group.min(block).max(1);
        // Where the first factor comes in parts, each meets the same column.
        let mut products = a.chunks_exact(part).enumerate().map(|(p, a)| {
            let (at, inner) = (p * part, p * part % k);
            dot_i8(a, &b[inner..inner + part]) as f32 * a_steps[at / group] * b_steps[inner / block]
        });
        let first = products.next().unwrap_or(0.0);
        products.fold(first, |sum, product| sum + product)
    }
}

/// `Σ a·(b - zero)`; as in the machine, sums of 32 bits wrap where a zero point is absurd.
fn dot_shifted(a: &[i8], b: &[i8], zero: i32) -> i32 {
    let sum = dot_i8(a, b);
    if zero == 0 {
        return sum;
    }
    let all: i32 = a.iter().map(|&a| i32::from(a)).sum();
    sum.wrapping_sub(zero.wrapping_mul(all))
}

/// The scales of a first factor.
pub(super) fn steps(a: &Tensor) -> Result<Steps<'_>, EvalError> {
    match a.quant {
        Some(Quant::Tensor { scale } | Quant::Affine { scale, .. }) => Ok(Steps::All(scale)),
        Some(Quant::Row { group }) => {
            let columns = a.shape().last().copied().unwrap_or(1);
            Ok(Steps::Each {
                scales: &a.scales,
                groups: columns / group,
            })
        }
        Some(Quant::Channel { .. } | Quant::Shifted { .. } | Quant::Block { .. }) | None => Err(
            EvalError::Unsupported("the first factor has no scales by row"),
        ),
    }
}

/// `[…, k, n]` as `[…, n, k]`.
fn columns_first<T: Copy>(values: Vec<T>, already: bool, k: usize, n: usize) -> Vec<T> {
    if already || k == 0 || n == 0 {
        return values;
    }
    let mut result = Vec::with_capacity(values.len());
    for matrix in values.chunks_exact(k * n) {
        for column in 0..n {
            result.extend((0..k).map(|row| matrix[row * n + column]));
        }
    }
    result
}

/// A sum of products of floats in eight lanes; its order is no part of the machine's arithmetic.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (a_blocks, a_rest) = a.as_chunks::<8>();
    let (b_blocks, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}
