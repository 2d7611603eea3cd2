//! Attention over heads that lie side by side in rows.
//!
//! In i8 the probabilities take the scales of the rows of v and are quantised, a row with one scale,
//! before the second product; so both products have exact sums. Where keys come in blocks, this is done for each
//! block, and the results are joined by the logarithms of the blocks' sums.

use packwright_numerics::activation::Activation;
use packwright_numerics::elementary::tanh;
use packwright_numerics::matmul::{ColumnScale, Epilogue, dot_i8};
use packwright_numerics::reduce::logsumexp_row;
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
    let masks: Vec<Mask> = [attrs.mask_operand(), attrs.row_mask_operand()]
        .into_iter()
        .flatten()
        .map(|position| Mask::of(x[position]))
        .collect();
    let heads: Vec<(usize, usize)> = (0..shape.batch)
        .flat_map(|b| (0..shape.heads).map(move |h| (b, h)))
        .collect();
    let relative = attrs.relative_operand().map(|at| lanes::floats(x[at]));
    let quantized = matches!(q.data, Data::I8(_));
    let parts: Vec<Vec<f32>> = heads
        .par_iter()
        .map(|&(b, h)| {
            let scene = Scene {
                attrs,
                shape: &shape,
                masks: &masks,
                relative: relative.as_deref(),
                head: (b, h),
            };
            if quantized {
                integers(&scene, x)
            } else {
                Ok(floats(&scene, x))
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
    if let Some(rows) = attrs.replaced_operand().map(|position| x[position]) {
        let (values, columns) = (lanes::floats(rows), shape.heads * width);
        let replaced = (0..shape.batch).flat_map(|b| attrs.replaced.iter().map(move |i| (b, i)));
        for (source, (b, i)) in values.chunks_exact(columns.max(1)).zip(replaced) {
            y[(b * shape.s + i) * columns..][..columns].copy_from_slice(source);
        }
    }
    Ok(lanes::store(attrs.out, &ty.shape, Lanes::F32(y)))
}

/// One head at work.
struct Scene<'a> {
    attrs: &'a Attention,
    shape: &'a Shape,
    masks: &'a [Mask],
    /// Numbers by distance, a row for each head.
    relative: Option<&'a [f32]>,
    /// Batch element and head.
    head: (usize, usize),
}

/// Numbers that are added to scores, broadcast to `[b, heads, s, t]`.
struct Mask {
    values: Vec<f32>,
    strides: [usize; 4],
}

impl Mask {
    fn of(mask: &Tensor) -> Self {
        let mut strides = [0; 4];
        let mut next = 1;
        for (stride, &n) in strides.iter_mut().rev().zip(mask.shape().iter().rev()) {
            *stride = if n == 1 { 0 } else { next };
            next *= n;
        }
        Self {
            values: lanes::floats(mask),
            strides,
        }
    }

    fn at(&self, place: [usize; 4]) -> f32 {
        let offset: usize = place.iter().zip(self.strides).map(|(i, s)| i * s).sum();
        self.values[offset]
    }
}

impl Scene<'_> {
    /// A row of scores: those of the global columns, padded with hidden ones, then those of all
    /// columns, where the global ones are hidden. `raw` holds the products of all columns.
    fn scores(&self, i: usize, raw: &[f32], scores: &mut [f32]) {
        scores.fill(f32::NEG_INFINITY);
        let (b, h) = self.head;
        let masked = |j: usize| {
            let place = [b, h, i, j];
            self.masks.iter().fold(raw[j], |s, mask| s + mask.at(place))
        };
        let (global, others) = scores.split_at_mut(self.attrs.prefix());
        for (score, &j) in global.iter_mut().zip(&self.attrs.global) {
            *score = masked(j);
        }
        for j in self.attrs.columns(i, [self.shape.s, self.shape.t]) {
            if self.attrs.global.binary_search(&j).is_err() {
                others[j] = masked(j);
            }
        }
    }

    /// Puts the numbers of global columns where these stand among all columns; returns those.
    fn spread<'p, T: Copy>(&self, row: &'p mut [T]) -> &'p [T] {
        let (global, others) = row.split_at_mut(self.attrs.prefix());
        for (&p, &j) in global.iter().zip(&self.attrs.global) {
            others[j] = p;
        }
        others
    }

    /// Adds what depends on the distance of a column to the scores of row i.
    fn add_relative(&self, i: usize, raw: &mut [f32]) {
        let Some(bias) = self.relative else {
            return;
        };
        let (s, t) = (self.shape.s, self.shape.t);
        let row = &bias[self.head.1 * (s + t - 1)..][s - 1 - i..];
        for (score, bias) in raw.iter_mut().zip(row) {
            *score += bias;
        }
    }

    /// A score between the two numbers that cap it, if there are any.
    fn capped(&self, score: f32) -> f32 {
        self.attrs.softcap.map_or(score, |cap| tanh(score) * cap)
    }

    /// Whether row i sees column j.
    fn sees(&self, i: usize, j: usize) -> bool {
        let columns = self.attrs.columns(i, [self.shape.s, self.shape.t]);
        columns.contains(&j) || self.attrs.global.binary_search(&j).is_ok()
    }
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

/// One head in floats: `[s, value_width]`.
fn floats(scene: &Scene<'_>, x: &[&Tensor]) -> Vec<f32> {
    let (shape, (b, h)) = (scene.shape, scene.head);
    let kv = shape.kv_head(h);
    let q = head_floats(x[0], b, h, shape.width);
    let k = head_floats(x[1], b, kv, shape.width);
    let v = head_floats(x[2], b, kv, shape.value_width);
    let mut y = vec![0.0; shape.s * shape.value_width];
    let mut raw = vec![0.0; shape.t];
    let mut scores = vec![0.0; scene.attrs.prefix() + shape.t];
    for i in 0..shape.s {
        let q = &q[i * shape.width..(i + 1) * shape.width];
        for (j, (score, k)) in raw
            .iter_mut()
            .zip(k.chunks_exact(shape.width.max(1)))
            .enumerate()
        {
            if scene.sees(i, j) {
                *score = scene.capped(dot(q, k) * scene.attrs.product_scale());
            }
        }
        scene.add_relative(i, &mut raw);
        scene.scores(i, &raw, &mut scores);
        softmax_row(&mut scores);
        let p = scene.spread(&mut scores);
        let y = &mut y[i * shape.value_width..(i + 1) * shape.value_width];
        for (&p, v) in p.iter().zip(v.chunks_exact(shape.value_width.max(1))) {
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
fn integers(scene: &Scene<'_>, x: &[&Tensor]) -> Result<Vec<f32>, EvalError> {
    let (shape, (b, h)) = (scene.shape, scene.head);
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
    let prefix = scene.attrs.prefix();
    let mut steps = vec![0.0; prefix + t];
    for (step, &j) in steps.iter_mut().zip(&scene.attrs.global) {
        *step = v.scales[j];
    }
    steps[prefix..].copy_from_slice(&v.scales);
    let mut y = vec![0.0; shape.s * width];
    let mut raw = vec![0.0; t];
    let mut scores = vec![0.0; prefix + t];
    let mut p = vec![0i8; prefix + t];
    let mut step = [0.0f32];
    for i in 0..shape.s {
        let row = &q.q[i * shape.width..(i + 1) * shape.width];
        for (j, (score, k)) in raw
            .iter_mut()
            .zip(k.q.chunks_exact(shape.width.max(1)))
            .enumerate()
        {
            if scene.sees(i, j) {
                *score = dot_i8(row, k) as f32 * q.scales[i];
            }
        }
        let epilogue = Epilogue {
            scale: ColumnScale::Each(&k.scales),
            alpha: scene.attrs.product_scale(),
            activation: match scene.attrs.softcap {
                Some(_) => Activation::Tanh,
                None => Activation::None,
            },
            ..Epilogue::IDENTITY
        };
        epilogue.finish_row(&mut raw, None);
        if let Some(cap) = scene.attrs.softcap {
            raw.iter_mut().for_each(|score| *score *= cap);
        }
        scene.add_relative(i, &mut raw);
        scene.scores(i, &raw, &mut scores);
        let y = &mut y[i * width..(i + 1) * width];
        if let Some(block) = scene.attrs.block {
            let seen = scene.attrs.columns(i, [shape.s, t]).end;
            by_blocks(block, &mut scores[..seen], &steps, &columns, y);
            continue;
        }
        softmax_scale_quantize_row(&mut scores, Some(&steps), prefix + t, &mut p, &mut step);
        let p = scene.spread(&mut p);
        for (y, column) in y.iter_mut().zip(columns.chunks_exact(t.max(1))) {
            *y = dot_i8(p, column) as f32 * step[0];
        }
    }
    Ok(y)
}

/// A row of one head whose keys come in blocks; `columns` are those of v, as long as all scales of its rows.
fn by_blocks(block: usize, scores: &mut [f32], steps: &[f32], columns: &[i8], y: &mut [f32]) {
    let t = steps.len();
    let mut sums = Vec::new();
    let mut results = Vec::new();
    for (index, scores) in scores.chunks_mut(block).enumerate() {
        let keys = index * block..index * block + scores.len();
        let mut p = vec![0i8; scores.len()];
        let mut step = [0.0f32];
        sums.push(logsumexp_row(scores));
        let steps = &steps[keys.clone()];
        softmax_scale_quantize_row(scores, Some(steps), keys.len(), &mut p, &mut step);
        let values = columns.chunks_exact(t.max(1));
        results.push(
            values
                .map(|column| dot_i8(&p, &column[keys.clone()]) as f32 * step[0])
                .collect::<Vec<f32>>(),
        );
    }
    if let [only] = &results[..] {
        y.copy_from_slice(only);
        return;
    }
    softmax_row(&mut sums);
    for (index, (weight, result)) in sums.iter().zip(&results).enumerate() {
        for (y, x) in y.iter_mut().zip(result) {
            let term = x * weight;
            *y = if index == 0 { term } else { *y + term };
        }
    }
}
