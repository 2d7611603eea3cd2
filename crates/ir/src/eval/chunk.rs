//! The order of rows by hash, and attention among chunks of rows.
//!
//! In i8 a row is hashed in two parts: its quantised form and the quantised form of what that lost,
//! likewise its rotations. Three products with exact sums make a coordinate; that of the two rests is
//! left out. Keys that are shared with queries keep the integers of these; only their scales differ.

use packwright_numerics::elementary::rsqrt;
use packwright_numerics::matmul::{ColumnScale, Epilogue, dot_i8};
use packwright_numerics::norm::rms_norm_row;
use packwright_numerics::quant::{dequantize, quantize_dynamic_row};
use packwright_numerics::reduce::{argmax_row, logsumexp_row, sum_squares};
use packwright_numerics::softmax::{softmax_row, softmax_scale_quantize_row};
use rayon::prelude::*;

use super::EvalError;
use super::attention::{head_floats, head_integers};
use super::lanes::{self, Lanes};
use super::matmul::dot;
use crate::op::{ChunkAttention, HashSort};
use crate::tensor::{Data, Tensor};
use crate::ty::{Elem, Type};

/// Places of rows in the order of their buckets.
pub(super) fn hash_sort(attrs: &HashSort, x: &[&Tensor], ty: &Type) -> Result<Tensor, EvalError> {
    let (batch, rows) = (x[0].shape()[0], x[0].shape()[1]);
    let width = x[0].shape()[2] / attrs.heads;
    let rotations = Rotations::of(x)?;
    let heads: Vec<(usize, usize)> = (0..batch)
        .flat_map(|b| (0..attrs.heads).map(move |h| (b, h)))
        .collect();
    let places = heads
        .par_iter()
        .map(|&(b, h)| {
            let values = head(x[0], b, h, width)?;
            let mut places = Vec::with_capacity(attrs.rounds * rows);
            for round in 0..attrs.rounds {
                let first = (h * attrs.rounds + round) * attrs.coordinates();
                let buckets: Vec<usize> = values
                    .chunks_exact(width.max(1))
                    .map(|row| {
                        bucket(
                            attrs,
                            &rotations.coordinates(row, first, attrs.coordinates()),
                        )
                    })
                    .collect();
                let mut order: Vec<usize> = (0..rows).collect();
                order.sort_by_key(|&row| buckets[row]);
                places.extend(order.into_iter().map(|row| row as i64));
            }
            Ok(places)
        })
        .collect::<Result<Vec<Vec<i64>>, EvalError>>()?;
    Ok(lanes::store(
        Elem::I32,
        &ty.shape,
        Lanes::Int(places.concat()),
    ))
}

/// The rows of a head.
fn head(x: &Tensor, b: usize, head: usize, width: usize) -> Result<Vec<f32>, EvalError> {
    match x.data {
        Data::F16(_) | Data::F32(_) => Ok(head_floats(x, b, head, width)),
        _ => Err(EvalError::Unsupported("rows are neither f16 nor f32")),
    }
}

/// The bucket of a row with these coordinates.
fn bucket(attrs: &HashSort, coordinates: &[f32]) -> usize {
    let (mut bucket, mut place, mut rest) = (0, 1, coordinates);
    for &factor in &attrs.factors {
        let (own, behind) = rest.split_at(factor / 2);
        let both: Vec<f32> = own.iter().copied().chain(own.iter().map(|x| -x)).collect();
        bucket += place * argmax_row(&both).unwrap_or(0);
        place *= factor;
        rest = behind;
    }
    bucket
}

/// Rotations, a line each.
enum Rotations<'a> {
    Float(Vec<f32>),
    /// In two parts, each with a scale a line.
    Int {
        parts: [&'a [i8]; 2],
        scales: [&'a [f32]; 2],
    },
}

impl<'a> Rotations<'a> {
    fn of(x: &[&'a Tensor]) -> Result<Self, EvalError> {
        let [_, main, rest] = x else {
            return Ok(Rotations::Float(lanes::floats(x[1])));
        };
        let part = |t: &'a Tensor| match &t.data {
            Data::I8(a) => a.as_slice(),
            _ => None,
        };
        let wrong = EvalError::Unsupported("rotations in two parts are i8");
        match (part(main), part(rest)) {
            (Some(a), Some(b)) => Ok(Rotations::Int {
                parts: [a, b],
                scales: [&main.scales, &rest.scales],
            }),
            _ => Err(wrong),
        }
    }

    /// Products of a row with `count` rotations from `first` on.
    fn coordinates(&self, row: &[f32], first: usize, count: usize) -> Vec<f32> {
        let width = row.len();
        match self {
            Rotations::Float(lines) => lines[first * width..(first + count) * width]
                .chunks_exact(width)
                .map(|line| dot(row, line))
                .collect(),
            Rotations::Int { parts, scales } => {
                let (main, main_step) = quantized(row);
                let lost: Vec<f32> = row
                    .iter()
                    .zip(&main)
                    .map(|(&x, &q)| x - dequantize(q, main_step))
                    .collect();
                let (rest, rest_step) = quantized(&lost);
                let products = [
                    (&main, main_step, 0),
                    (&main, main_step, 1),
                    (&rest, rest_step, 0),
                ];
                let mut sum: Option<Vec<f32>> = None;
                for (row, step, part) in products {
                    let lines = &parts[part][first * width..(first + count) * width];
                    let mut y: Vec<f32> = lines
                        .chunks_exact(width)
                        .map(|line| dot_i8(row, line) as f32 * step)
                        .collect();
                    let epilogue = Epilogue {
                        scale: ColumnScale::Each(&scales[part][first..first + count]),
                        ..Epilogue::IDENTITY
                    };
                    epilogue.finish_row(&mut y, sum.as_deref());
                    sum = Some(y);
                }
                sum.unwrap_or_default()
            }
        }
    }
}

/// A row in i8, with its scale.
fn quantized(row: &[f32]) -> (Vec<i8>, f32) {
    let (mut q, mut step) = (vec![0i8; row.len()], [0.0f32]);
    quantize_dynamic_row(row, row.len(), &mut q, &mut step);
    (q, step[0])
}

/// Attention among chunks.
pub(super) fn chunk_attention(
    attrs: &ChunkAttention,
    x: &[&Tensor],
    ty: &Type,
) -> Result<Tensor, EvalError> {
    let (batch, s) = (x[0].shape()[0], x[0].shape()[1]);
    let at = attrs.operands();
    let order = at.order.map(|index| lanes::integers(x[index]));
    let seen = at.seen.map(|index| lanes::floats(x[index]));
    let heads: Vec<(usize, usize)> = (0..batch)
        .flat_map(|b| (0..attrs.heads).map(move |h| (b, h)))
        .collect();
    let rows = attrs.ordered(s);
    let parts: Vec<Vec<f32>> = heads
        .par_iter()
        .map(|&(b, h)| {
            let places: Vec<usize> = match &order {
                Some(order) => order[(b * attrs.heads + h) * rows..][..rows]
                    .iter()
                    .map(|&place| place_of(place, s))
                    .collect(),
                None => (0..s).collect(),
            };
            let scene = Scene {
                attrs,
                s,
                places,
                seen: seen.as_ref().map(|seen| &seen[b * s..(b + 1) * s]),
            };
            let head = Head::of(attrs, x, (b, h))?;
            Ok(scene.head(&head))
        })
        .collect::<Result<_, EvalError>>()?;
    let width = ty.columns() / attrs.heads;
    let mut y = vec![0.0f32; ty.elements()];
    for (&(b, h), part) in heads.iter().zip(&parts) {
        for (i, row) in part.chunks_exact(width.max(1)).enumerate() {
            let at = (b * s + i) * attrs.heads * width + h * width;
            y[at..at + width].copy_from_slice(row);
        }
    }
    Ok(lanes::store(attrs.out, &ty.shape, Lanes::F32(y)))
}

/// A row by its index: negative ones count from the end, those outside are the last row.
fn place_of(index: i64, s: usize) -> usize {
    let from_start = if index < 0 { index + s as i64 } else { index };
    usize::try_from(from_start).map_or(s - 1, |place| place.min(s - 1))
}

/// The rows of one head.
enum Head {
    Float {
        q: Vec<f32>,
        k: Vec<f32>,
        v: Vec<f32>,
        width: usize,
        value_width: usize,
    },
    Int {
        q: Vec<i8>,
        q_scale: Vec<f32>,
        k: Vec<i8>,
        k_scale: Vec<f32>,
        v: Vec<i8>,
        v_scale: Vec<f32>,
        width: usize,
        value_width: usize,
    },
}

impl Head {
    fn of(
        attrs: &ChunkAttention,
        x: &[&Tensor],
        (b, h): (usize, usize),
    ) -> Result<Self, EvalError> {
        let at = attrs.operands();
        let (width, value_width) = (
            x[0].shape()[2] / attrs.heads,
            x[at.v].shape()[2] / attrs.heads,
        );
        if x[0].elem().is_float() {
            let q = head(x[0], b, h, width)?;
            let k = match attrs.shared {
                Some(eps) => q
                    .chunks_exact(width.max(1))
                    .flat_map(|row| {
                        let mut key = vec![0.0; width];
                        rms_norm_row(row, None, eps, &mut key);
                        key
                    })
                    .collect(),
                None => head(x[at.k], b, h, width)?,
            };
            let v = head(x[at.v], b, h, value_width)?;
            return Ok(Head::Float {
                q,
                k,
                v,
                width,
                value_width,
            });
        }
        let q = head_integers(x[0], b, h, width)?;
        let v = head_integers(x[at.v], b, h, value_width)?;
        let (k, k_scale) = match attrs.shared {
            Some(eps) => {
                let rows = q.q.chunks_exact(width.max(1)).zip(&q.scales);
                let scales = rows.map(|(row, &step)| shared_scale(row, step, eps));
                let scales = scales.collect();
                (q.q.clone(), scales)
            }
            None => {
                let k = head_integers(x[at.k], b, h, width)?;
                (k.q, k.scales)
            }
        };
        Ok(Head::Int {
            q: q.q,
            q_scale: q.scales,
            k,
            k_scale,
            v: v.q,
            v_scale: v.scales,
            width,
            value_width,
        })
    }

    fn value_width(&self) -> usize {
        match self {
            Head::Float { value_width, .. } | Head::Int { value_width, .. } => *value_width,
        }
    }
}

/// The scale of a key that has the integers of its query: `step / √(step²·mean of squares + eps)`.
fn shared_scale(row: &[i8], step: f32, eps: f32) -> f32 {
    let integers: Vec<f32> = row.iter().map(|&q| f32::from(q)).collect();
    let mean = (sum_squares(&integers) * step) * step / row.len() as f32;
    rsqrt(mean + eps) * step
}

/// What all rows of a head have in common.
struct Scene<'a> {
    attrs: &'a ChunkAttention,
    s: usize,
    /// Rows in order.
    places: Vec<usize>,
    seen: Option<&'a [f32]>,
}

impl Scene<'_> {
    /// The results of all rows, `[s, value_width]`.
    fn head(&self, head: &Head) -> Vec<f32> {
        let width = head.value_width();
        let rounds = self.attrs.rounds.unwrap_or(1);
        let mut results = vec![0.0f32; rounds * self.s * width];
        let mut sums = vec![0.0f32; rounds * self.s];
        let chunk = self.attrs.chunk;
        for c in 0..self.places.len() / chunk {
            let keys: Vec<usize> = self
                .attrs
                .seen_by(c, self.s)
                .into_iter()
                .flatten()
                .map(|at| self.places[at])
                .collect();
            for at in c * chunk..(c + 1) * chunk {
                let to = at / self.s * self.s + self.places[at];
                let y = &mut results[to * width..(to + 1) * width];
                sums[to] = self.row(head, self.places[at], &keys, y);
                if rounds > 1 && self.attrs.out == Elem::F16 {
                    y.iter_mut().for_each(|y| *y = lanes::through_f16(*y));
                }
            }
        }
        if rounds == 1 {
            return results;
        }
        (0..self.s)
            .flat_map(|row| self.join(row, width, &results, &sums))
            .collect()
    }

    /// The result of a query row among the keys; returns the logarithm of the sum of its exponentials.
    fn row(&self, head: &Head, i: usize, keys: &[usize], y: &mut [f32]) -> f32 {
        match head {
            Head::Float {
                q,
                k,
                v,
                width,
                value_width,
            } => {
                let row = &q[i * width..(i + 1) * width];
                let mut scores: Vec<f32> = keys
                    .iter()
                    .map(|&j| dot(row, &k[j * width..(j + 1) * width]) * self.attrs.scale)
                    .collect();
                self.hide(i, keys, &mut scores);
                let sum = logsumexp_row(&scores);
                softmax_row(&mut scores);
                y.fill(0.0);
                for (&p, &j) in scores.iter().zip(keys) {
                    let v = &v[j * value_width..(j + 1) * value_width];
                    y.iter_mut().zip(v).for_each(|(y, &v)| *y += p * v);
                }
                sum
            }
            Head::Int {
                q,
                q_scale,
                k,
                k_scale,
                v,
                v_scale,
                width,
                value_width,
            } => {
                let row = &q[i * width..(i + 1) * width];
                let mut scores: Vec<f32> = keys
                    .iter()
                    .map(|&j| dot_i8(row, &k[j * width..(j + 1) * width]) as f32 * q_scale[i])
                    .collect();
                let scales: Vec<f32> = keys.iter().map(|&j| k_scale[j]).collect();
                let epilogue = Epilogue {
                    scale: ColumnScale::Each(&scales),
                    alpha: self.attrs.scale,
                    ..Epilogue::IDENTITY
                };
                epilogue.finish_row(&mut scores, None);
                self.hide(i, keys, &mut scores);
                let sum = logsumexp_row(&scores);
                let scales: Vec<f32> = keys.iter().map(|&j| v_scale[j]).collect();
                let (mut p, mut step) = (vec![0i8; keys.len()], [0.0f32]);
                softmax_scale_quantize_row(
                    &mut scores,
                    Some(&scales),
                    keys.len(),
                    &mut p,
                    &mut step,
                );
                for (column, y) in y.iter_mut().enumerate() {
                    let products = p.iter().zip(keys);
                    let sum = products.fold(0i32, |sum, (&p, &j)| {
                        sum + i32::from(p) * i32::from(v[j * value_width + column])
                    });
                    *y = sum as f32 * step[0];
                }
                sum
            }
        }
    }

    /// Replaces the scores of keys that a row does not see, and its own.
    fn hide(&self, i: usize, keys: &[usize], scores: &mut [f32]) {
        for (score, &j) in scores.iter_mut().zip(keys) {
            let later = self.attrs.causal && j > i;
            let unseen = self.seen.is_some_and(|seen| seen[j] == 0.0);
            if later || unseen {
                *score = self.attrs.hidden;
            }
            if let Some(own) = self.attrs.own.filter(|_| i == j) {
                *score = own;
            }
        }
    }

    /// The average of a row's results in all rounds.
    fn join(&self, row: usize, width: usize, results: &[f32], sums: &[f32]) -> Vec<f32> {
        let rounds = self.attrs.rounds.unwrap_or(1);
        let mut weights: Vec<f32> = (0..rounds).map(|r| sums[r * self.s + row]).collect();
        softmax_row(&mut weights);
        let of = |round: usize| {
            let weight = weights[round];
            let at = (round * self.s + row) * width;
            results[at..at + width].iter().map(move |x| x * weight)
        };
        let mut sum: Vec<f32> = of(0).collect();
        for round in 1..rounds {
            sum.iter_mut().zip(of(round)).for_each(|(sum, x)| *sum += x);
        }
        sum
    }
}
