//! What quantisation costs in accuracy, layer by layer, on samples.
//!
//! [`distance`] compares a quantised graph with the floats that it came from, at every product and at the
//! results. [`own_errors`] says what rounding the input of one product alone does to its result, and
//! [`raise`] gives the worst layers sixteen bits.

use indexmap::IndexMap;
use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_ir::eval::{self, konst as values};
use packwright_ir::tensor::{Data, Tensor};
use packwright_ir::{Graph, Op, Value};
use packwright_numerics::quant::{
    Scale, dequantize, dequantize_dynamic_row, quantize, quantize_dynamic_row, quantize_parts_row,
};
use rayon::prelude::*;

use super::quantize::row_group;
use super::recipe::{self, Activations, Layer, Recipe};
use super::samples::{Sample, Samples};

/// Sums over the elements of a tensor, sample after sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Error {
    /// Square of what was meant, of the difference, of what was found, and the product of both.
    signal: f64,
    noise: f64,
    found: f64,
    product: f64,
    /// The largest difference.
    pub largest: f64,
}

impl Error {
    /// Compares two tensors, element by element; those of rows that are not attended to are left out.
    pub fn add(&mut self, meant: &[f32], found: &[f32]) {
        for (&a, &b) in meant.iter().zip(found) {
            let (a, b) = (f64::from(a), f64::from(b));
            self.signal += a * a;
            self.found += b * b;
            self.product += a * b;
            self.noise += (a - b) * (a - b);
            self.largest = self.largest.max((a - b).abs());
        }
    }

    /// Signal over noise, in decibels; infinite where there is no noise.
    pub fn decibels(&self) -> f64 {
        10.0 * (self.signal / self.noise).log10()
    }

    /// Noise over signal.
    pub fn relative(&self) -> f64 {
        self.noise / self.signal.max(f64::MIN_POSITIVE)
    }

    /// Cosine of the angle between what was meant and what was found.
    pub fn cosine(&self) -> f64 {
        if self.signal == 0.0 && self.found == 0.0 {
            return 1.0;
        }
        self.product / (self.signal * self.found).sqrt()
    }
}

/// How far a quantised graph is from floats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distance {
    /// By the name of the weights: the results of products, with all that earlier layers have lost.
    pub layers: IndexMap<String, Error>,
    /// The first result, for each sample.
    pub results: Vec<Error>,
}

impl Distance {
    /// Mean of the samples' cosines.
    pub fn mean_cosine(&self) -> f64 {
        let sum: f64 = self.results.iter().map(Error::cosine).sum();
        sum / self.results.len().max(1) as f64
    }

    /// The worst sample's cosine.
    pub fn worst_cosine(&self) -> f64 {
        self.results
            .iter()
            .map(Error::cosine)
            .fold(f64::INFINITY, f64::min)
    }
}

/// What a graph computes, by name.
pub type Results = [(String, Tensor)];

/// Compares a quantised graph with the one that it came from; `each` sees the results of every sample, floats
/// first.
///
/// # Errors
/// When a sample cannot be evaluated.
pub fn distance(
    meant: &Graph,
    quantized: &Graph,
    samples: &Samples,
    each: &mut dyn FnMut(&Sample, &Results, &Results),
) -> Result<Distance, Diagnostics> {
    let mut distance = Distance::default();
    let (of_meant, of_found) = (names(meant), names(quantized));
    samples.each(&mut |number, sample| {
        let failed = |error: eval::EvalError| failed(number, &error);
        let seen = attended(sample);
        let rows = |tensor: &Tensor| attended_rows(tensor, seen.as_deref());
        let mut before: IndexMap<&str, Vec<f32>> = IndexMap::new();
        let results = eval::run_with(meant, sample, &mut |value, tensor| {
            if let Some(name) = of_meant.get(&value) {
                before.insert(name.as_str(), rows(tensor));
            }
        })
        .map_err(failed)?;
        let layers = &mut distance.layers;
        let found = eval::run_with(quantized, sample, &mut |value, tensor| {
            if let Some(name) = of_found.get(&value)
                && let Some(meant) = before.get(name.as_str())
            {
                layers
                    .entry(name.clone())
                    .or_default()
                    .add(meant, &rows(tensor));
            }
        })
        .map_err(failed)?;
        let mut error = Error::default();
        if let (Some((_, meant)), Some((_, found))) = (results.first(), found.first()) {
            error.add(&rows(meant), &rows(found));
        }
        distance.results.push(error);
        each(sample, &results, &found);
        Ok(())
    })?;
    Ok(distance)
}

/// The results of products, by the name of their weights.
fn names(graph: &Graph) -> IndexMap<Value, String> {
    let layers = recipe::layers(graph).into_iter();
    layers
        .map(|layer| (layer.node.into(), layer.name))
        .collect()
}

/// What rounding the input of each product, and nothing else, does to its result.
///
/// # Errors
/// When a sample cannot be evaluated.
pub fn own_errors(
    graph: &Graph,
    recipe: &Recipe,
    samples: &Samples,
) -> Result<IndexMap<String, Error>, Diagnostics> {
    let layers = recipe::layers(graph);
    let mut errors: IndexMap<String, Error> = IndexMap::new();
    samples.each(&mut |number, sample| {
        let seen = attended(sample);
        eval::run_with(graph, sample, &mut |value, tensor| {
            for layer in layers.iter().filter(|layer| layer.input == value) {
                let Some(weights) = weights(graph, layer) else {
                    continue;
                };
                let x = attended_rows(tensor, seen.as_deref());
                let rounded = rounded(&x, layer, recipe);
                let error = errors.entry(layer.name.clone()).or_default();
                let meant = product(&x, &weights, layer.columns);
                let found = product(&rounded, &weights, layer.columns);
                error.add(&meant, &found);
            }
        })
        .map_err(|error| failed(number, &error))?;
        Ok(())
    })?;
    Ok(errors)
}

/// The weights of a layer, output channel by output channel.
fn weights(graph: &Graph, layer: &recipe::Layer) -> Option<Vec<f32>> {
    let Op::Matmul(attributes) = graph.op(layer.node) else {
        return None;
    };
    let id = graph.as_const(graph.operand(layer.node, 1)?)?;
    let tensor = values::value(graph, id).ok()?;
    let (Data::F32(w) | Data::F16(w)) = &tensor.data else {
        return None;
    };
    let w: Vec<f32> = w.iter().copied().collect();
    if attributes.transpose_b {
        return Some(w);
    }
    let channels = w.len() / layer.columns;
    let channel = |c: usize| (0..layer.columns).map(move |i| i * channels + c);
    Some((0..channels).flat_map(channel).map(|at| w[at]).collect())
}

fn product(x: &[f32], channels: &[f32], k: usize) -> Vec<f32> {
    x.par_chunks_exact(k)
        .flat_map_iter(|row| {
            channels.chunks_exact(k).map(move |channel| {
                let mut lanes = [0.0f32; 16];
                let rest = k - k % 16;
                let blocks = row
                    .as_chunks::<16>()
                    .0
                    .iter()
                    .zip(channel.as_chunks::<16>().0);
                for (a, b) in blocks {
                    for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
                        *lane += a * b;
                    }
                }
                let tail = row[rest..].iter().zip(&channel[rest..]);
                lanes.iter().sum::<f32>() + tail.map(|(a, b)| a * b).sum::<f32>()
            })
        })
        .collect()
}

/// Rows as they come back from int8.
fn rounded(x: &[f32], layer: &Layer, recipe: &Recipe) -> Vec<f32> {
    let scale = recipe.scales.get(&layer.name).copied();
    let wide = |scale: Option<f32>| two_parts(x, layer.columns, scale);
    match recipe.of(layer) {
        Activations::Row { group } => one_part(x, row_group(layer.columns, group)),
        Activations::Static => match scale {
            Some(step) => x
                .iter()
                .map(|&x| dequantize(quantize(x, Scale::fixed(step).inverse), step))
                .collect(),
            None => one_part(x, x.len().max(1)),
        },
        Activations::WideRow => wide(None),
        Activations::WideStatic => wide(scale),
    }
}

fn one_part(x: &[f32], group: usize) -> Vec<f32> {
    let mut q = vec![0i8; x.len()];
    let mut steps = vec![0.0; x.len() / group.max(1)];
    let mut back = vec![0.0; x.len()];
    quantize_dynamic_row(x, group, &mut q, &mut steps);
    dequantize_dynamic_row(&q, group, &steps, &mut back);
    back
}

fn two_parts(x: &[f32], columns: usize, scale: Option<f32>) -> Vec<f32> {
    let (mut q, mut steps) = (vec![0i8; 2 * columns], [0.0; 2]);
    let mut lost = vec![0.0; columns];
    let mut back = Vec::with_capacity(x.len());
    for row in x.chunks_exact(columns.max(1)) {
        quantize_parts_row(row, scale, &mut lost, &mut q, &mut steps);
        let (main, rest) = q.split_at(columns);
        let parts = main.iter().zip(rest);
        back.extend(parts.map(|(&m, &r)| dequantize(m, steps[0]) + dequantize(r, steps[1])));
    }
    back
}

/// Gives the layers with the largest errors sixteen bits: a quarter of those that can have them, at least
/// one. Returns how many were raised.
pub fn raise(graph: &Graph, recipe: &mut Recipe, errors: &IndexMap<String, Error>) -> usize {
    let layers = recipe::layers(graph).into_iter();
    let mut candidates: Vec<(f64, String, Activations)> = layers
        .filter_map(|layer| {
            let error = errors.get(&layer.name)?.relative();
            let wider = recipe.of(&layer).wider()?;
            Some((error, layer.name, wider))
        })
        .collect();
    candidates.sort_by(|a, b| b.0.total_cmp(&a.0));
    candidates.dedup_by(|a, b| a.1 == b.1);
    let count = candidates.len().div_ceil(4);
    for (_, name, wider) in candidates.into_iter().take(count) {
        recipe.layers.insert(name, wider);
    }
    count
}

fn failed(number: usize, error: &eval::EvalError) -> Diagnostics {
    let message = format!("sample {number} cannot be evaluated: {error}");
    Diagnostic::error("calibration-failed", message)
        .help("each sample needs an array for each input, in its shape")
        .into()
}

/// Which positions a sample attends to, where it has a mask that says so.
pub(super) fn attended(sample: &Sample) -> Option<Vec<bool>> {
    let (_, mask) = sample
        .iter()
        .find(|(name, _)| name.ends_with("attention_mask"))?;
    match &mask.data {
        Data::I64(mask) => Some(mask.iter().map(|&m| m != 0).collect()),
        Data::I32(mask) => Some(mask.iter().map(|&m| m != 0).collect()),
        _ => None,
    }
}

/// The elements of the rows that are attended to.
pub(super) fn attended_rows(tensor: &Tensor, seen: Option<&[bool]>) -> Vec<f32> {
    let (Data::F32(a) | Data::F16(a)) = &tensor.data else {
        return Vec::new();
    };
    let columns = tensor.shape().last().copied().unwrap_or(1).max(1);
    let seen = seen.filter(|seen| seen.len() == a.len() / columns);
    a.iter()
        .enumerate()
        .filter(|(at, _)| seen.is_none_or(|seen| seen[at / columns]))
        .map(|(_, &x)| x)
        .collect()
}
