//! Attention over heads that lie side by side in rows.
//!
//! In i8 the probabilities take the scales of the rows of v and are quantised, a row with one scale,
//! before the second product; so both products have exact sums.

use packwright_numerics::matmul::{ColumnScale, Epilogue, dot_i8};
use packwright_numerics::softmax::{softmax_row, softmax_scale_quantize_row};
use rayon::prelude::*;

use super::EvalError;
use super::lanes::{self, Lanes};
use super::matmul::dot;
use crate::op::Attention;
use crate::tensor::{Data, Tensor};
use crate::ty::{Quant, Type};

/// Softmax attention.
pub(super) fn attention(attrs: &Attention, x: &[&Tensor], ty: &Type) -> Result<Tensor, EvalError> {
    let (q, k, v) = (x[0], x[1], x[2]);
    let shape = Shape::of(attrs, q, k, v);
    let mask = x.get(3).map(|mask| {
        let full = [shape.batch, shape.heads, shape.s, shape.t];
        lanes::of(mask).broadcast(mask.shape(), &full)
    });
    let mask = mask.map(lanes::to_f32);
    let heads: Vec<(usize, usize)> = (0..shape.batch)
        .flat_map(|b| (0..shape.heads).map(move |h| (b, h)))
        .collect();
    let quantized = matches!(q.data, Data::I8(_));
    let parts: Vec<Vec<f32>> = heads
        .par_iter()
        .map(|&(b, h)| {
            let size = shape.s * shape.t;
            let mask = mask
                .as_ref()
                .map(|m| &m[(b * shape.heads + h) * size..][..size]);
            if quantized {
                integers(attrs, &shape, x, (b, h), mask)
            } else {
                Ok(floats(attrs, &shape, x, (b, h), mask))
            }
        })
        .collect::<Result<_, EvalError>>()?;
    let width = shape.value_width;
    let mut y = vec![0.0f32; ty.elements()];
    for (&(b, h), part) in heads.iter().zip(&parts) {
        for (i, row) in part.chunks_exact(width.max(1)).enumerate() {
            let at = (b * shape.s + i) * shape.heads * width + h * width;
            y[at..at + width].copy_from_slice(row);
        }
    }
    Ok(lanes::store(attrs.out, &ty.shape, Lanes::F32(y)))
}

struct Shape {
    batch: usize,
    heads: usize,
    kv_heads: usize,
    s: usize,
    t: usize,
    width: usize,
    value_width: usize,
}

impl Shape {
    fn of(attrs: &Attention, q: &Tensor, k: &Tensor, v: &Tensor) -> Self {
        Self {
            batch: q.shape()[0],
            heads: attrs.heads,
            kv_heads: attrs.kv_heads,
            s: q.shape()[1],
            t: k.shape()[1],
            width: q.shape()[2] / attrs.heads,
            value_width: v.shape()[2] / attrs.kv_heads,
        }
    }

    fn kv_head(&self, head: usize) -> usize {
        head / (self.heads / self.kv_heads)
    }
}

/// Adds the mask to a row of scores and takes out the columns that the row does not see.
fn hide(attrs: &Attention, shape: &Shape, i: usize, mask: Option<&[f32]>, scores: &mut [f32]) {
    if let Some(mask) = mask {
        for (score, &m) in scores.iter_mut().zip(&mask[i * shape.t..]) {
            *score += m;
        }
    }
    let own = i as isize + shape.t as isize - shape.s as isize;
    for (j, score) in scores.iter_mut().enumerate() {
        let distance = own - j as isize;
        let behind = attrs.causal && distance < 0;
        let far = attrs
            .window
            .is_some_and(|window| distance.unsigned_abs() > window);
        if behind || far {
            *score = f32::NEG_INFINITY;
        }
    }
}

/// One head in floats: `[s, value_width]`.
fn floats(
    attrs: &Attention,
    shape: &Shape,
    x: &[&Tensor],
    (b, h): (usize, usize),
    mask: Option<&[f32]>,
) -> Vec<f32> {
    let kv = shape.kv_head(h);
    let q = head_floats(x[0], b, h, shape.width);
    let k = head_floats(x[1], b, kv, shape.width);
    let v = head_floats(x[2], b, kv, shape.value_width);
    let mut y = vec![0.0; shape.s * shape.value_width];
    let mut scores = vec![0.0; shape.t];
    for i in 0..shape.s {
        let q = &q[i * shape.width..(i + 1) * shape.width];
        for (score, k) in scores.iter_mut().zip(k.chunks_exact(shape.width.max(1))) {
            *score = dot(q, k) * attrs.scale;
        }
        hide(attrs, shape, i, mask, &mut scores);
        softmax_row(&mut scores);
        let y = &mut y[i * shape.value_width..(i + 1) * shape.value_width];
        for (&p, v) in scores.iter().zip(v.chunks_exact(shape.value_width.max(1))) {
            for (y, &v) in y.iter_mut().zip(v) {
                *y += p * v;
            }
        }
    }
    y
}

pub(super) fn head_floats(x: &Tensor, b: usize, head: usize, width: usize) -> Vec<f32> {
    let (Data::F16(a) | Data::F32(a)) = &x.data else {
        return Vec::new();
    };
    head_rows(
        a.as_slice().expect("tensors are row-major"),
        x.shape(),
        b,
        head,
        width,
    )
}

fn head_rows<T: Copy>(
    values: &[T],
    shape: &[usize],
    b: usize,
    head: usize,
    width: usize,
) -> Vec<T> {
    let (rows, columns) = (shape[1], shape[2]);
    let row = |r: usize| &values[(b * rows + r) * columns + head * width..][..width];
    (0..rows).flat_map(|r| row(r).iter().copied()).collect()
}

/// A head of q, k or v in i8 with a scale a row.
pub(super) struct Head {
    pub(super) q: Vec<i8>,
    pub(super) scales: Vec<f32>,
}

pub(super) fn head_integers(
    x: &Tensor,
    b: usize,
    head: usize,
    width: usize,
) -> Result<Head, EvalError> {
    let Data::I8(a) = &x.data else {
        return Err(EvalError::Unsupported("q, k and v are not all i8"));
    };
    let q = head_rows(
        a.as_slice().expect("tensors are row-major"),
        x.shape(),
        b,
        head,
        width,
    );
    let rows = x.shape()[1];
    let scales = match x.quant {
        Some(Quant::Tensor { scale }) => vec![scale; rows],
        Some(Quant::Row { group }) if group == width => {
            let groups = x.shape()[2] / group;
            let scale = |r: usize| x.scales.get((b * rows + r) * groups + head).copied();
            (0..rows)
                .map(scale)
                .collect::<Option<_>>()
                .ok_or(EvalError::Unsupported("an operand has no scales"))?
        }
        _ => {
            return Err(EvalError::Unsupported(
                "a head of q, k or v has several scales a row",
            ));
        }
    };
    Ok(Head { q, scales })
}

/// One head in i8: `[s, value_width]`.
fn integers(
    attrs: &Attention,
    shape: &Shape,
    x: &[&Tensor],
    (b, h): (usize, usize),
    mask: Option<&[f32]>,
) -> Result<Vec<f32>, EvalError> {
    let kv = shape.kv_head(h);
    let q = head_integers(x[0], b, h, shape.width)?;
    let k = head_integers(x[1], b, kv, shape.width)?;
    let v = head_integers(x[2], b, kv, shape.value_width)?;
    // Columns of v, so that the second product runs along t.
    let (t, width) = (shape.t, shape.value_width);
    let columns: Vec<i8> = (0..width)
        .flat_map(|c| (0..t).map(move |j| j * width + c))
        .map(|i| v.q[i])
        .collect();
    let mut y = vec![0.0; shape.s * width];
    let mut scores = vec![0.0; t];
    let mut p = vec![0i8; t];
    let mut step = [0.0f32];
    for i in 0..shape.s {
        let row = &q.q[i * shape.width..(i + 1) * shape.width];
        for (score, k) in scores.iter_mut().zip(k.q.chunks_exact(shape.width.max(1))) {
            *score = dot_i8(row, k) as f32 * q.scales[i];
        }
        let epilogue = Epilogue {
            scale: ColumnScale::Each(&k.scales),
            alpha: attrs.scale,
            ..Epilogue::IDENTITY
        };
        epilogue.finish_row(&mut scores, None);
        hide(attrs, shape, i, mask, &mut scores);
        softmax_scale_quantize_row(&mut scores, Some(&v.scales), t, &mut p, &mut step);
        let y = &mut y[i * width..(i + 1) * width];
        for (y, column) in y.iter_mut().zip(columns.chunks_exact(t.max(1))) {
            *y = dot_i8(&p, column) as f32 * step[0];
        }
    }
    Ok(y)
}
