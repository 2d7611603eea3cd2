//! Rounding of weights for the inputs that they meet: scales of least square error, compensation
//! ([`super::feedback`]), and biases that make good what is lost on average.
//!
//! A scale of least square error clips the largest weights of a channel where that rounds the others better; each
//! weight counts as the mean square of its input. Nothing but values changes: packets and time do not.

use std::ops::Range;

use bytes::Bytes;
use indexmap::IndexMap;
use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_ir::eval::{self, konst as values};
use packwright_ir::konst::{Const, Derivation, Source};
use packwright_ir::tensor::{Data, Tensor};
use packwright_ir::{ConstId, Elem, Graph, NodeId, Op, Quant, Type, Value};
use packwright_numerics::quant::{Scale, dequantize_affine, quantize};
use packwright_numerics::reduce::amax;
use rayon::prelude::*;

use super::calibrate;
use super::feedback::Feedback;
use super::recipe;
use super::samples::Samples;
use super::sensitivity::attended;
use crate::pipeline::GraphOptions;

/// Most bytes of sums of products that are gathered in one pass over the samples.
const BUDGET: usize = 1 << 30;

/// How weights become integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rounding {
    /// How the scale of a channel is chosen.
    pub clip: Clip,
    /// Whether each weight is rounded to its nearest value, whatever samples say.
    pub nearest: bool,
    /// Whether biases take up what rounded weights lose on average over the samples.
    pub correct_bias: bool,
}

/// How the scale of a channel of weights is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clip {
    /// By the largest magnitude: nothing is clipped.
    #[default]
    Largest,
    /// For the least square error.
    Mse,
}

/// Rounds the weights of a quantised graph as the options of its passes say.
///
/// # Errors
/// When a sample cannot be evaluated, or weights have no values.
pub fn run_with(graph: &mut Graph, options: &GraphOptions) -> Result<usize, Diagnostics> {
    let calibration = options.calibration.as_ref();
    let samples = calibration.map(|calibration| calibration.samples.clone());
    run(graph, &options.rounding, &samples.unwrap_or_default())
}

/// Rounds the weights of a quantised graph anew, for inputs like the samples where there are some. Returns how
/// many matrices were rounded.
///
/// # Errors
/// When a sample cannot be evaluated, or weights have no values.
pub fn run(
    graph: &mut Graph,
    rounding: &Rounding,
    samples: &Samples,
) -> Result<usize, Diagnostics> {
    let measured = !samples.is_empty();
    let as_they_are = rounding.nearest && !rounding.correct_bias;
    if rounding.clip == Clip::Largest && (as_they_are || !measured) {
        return Ok(0);
    }
    let targets = targets(graph);
    let mut rest = &targets[..];
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |target: &&Target| {
            bytes += target.k * target.k * size_of::<f32>();
            bytes <= BUDGET
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (now, later) = rest.split_at(count);
        rest = later;
        let moments = match measured {
            true => gather(graph, now, samples)?.into_iter().map(Some).collect(),
            false => vec![None; now.len()],
        };
        let rounded: Vec<_> = now
            .par_iter()
            .zip(moments)
            .map(|(target, moments)| round(graph, target, moments, rounding))
            .collect::<Result<_, _>>()?;
        for (target, rounded) in now.iter().zip(rounded) {
            if rounding.correct_bias {
                correct(graph, target, &rounded)?;
            }
            store(graph, target, rounded);
        }
    }
    Ok(targets.len())
}

/// A matrix that is rounded anew.
struct Target {
    id: ConstId,
    /// The floats that it is made from.
    of: ConstId,
    /// The axis of channels.
    axis: usize,
    k: usize,
    /// What its products read.
    inputs: Vec<Value>,
    /// The bias of its only product, which nobody else reads.
    bias: Option<ConstId>,
}

/// What the inputs of a matrix were like.
#[derive(Clone)]
struct Moments {
    /// `Σ xᵀx`, the upper triangle.
    products: Vec<f32>,
    /// `Σ x`, and the number of rows.
    sums: Vec<f64>,
    rows: usize,
}

/// The matrices that int8 products read and no table lookup does.
fn targets(graph: &Graph) -> Vec<Target> {
    let mut found: IndexMap<ConstId, Target> = IndexMap::new();
    for layer in recipe::layers(graph) {
        let operands = graph.operands(layer.node);
        let Some(id) = graph.as_const(operands[1]) else {
            continue;
        };
        let konst = graph.konst(id);
        let (Source::Derived(Derivation::Quantize { of }), Some(Quant::Channel { axis })) =
            (&konst.source, konst.ty.quant)
        else {
            continue;
        };
        let looked_up = graph
            .users(operands[1])
            .iter()
            .any(|(user, _)| matches!(graph.op(*user), Op::Embedding { .. }));
        if looked_up || graph.ty(operands[0]).quant.is_none() {
            continue;
        }
        let target = found.entry(id).or_insert_with(|| Target {
            id,
            of: *of,
            axis,
            k: layer.columns,
            inputs: Vec::new(),
            bias: own_bias(graph, layer.node),
        });
        if !target.inputs.is_empty() {
            target.bias = None;
        }
        target.inputs.push(operands[0]);
    }
    found.into_values().collect()
}

/// The bias of a product, where it is a constant that nobody else reads and that plainly holds its values.
fn own_bias(graph: &Graph, node: NodeId) -> Option<ConstId> {
    let Op::Matmul(attrs) = graph.op(node) else {
        return None;
    };
    let bias = graph.operand(node, 2).filter(|_| attrs.bias)?;
    let id = graph.as_const(bias)?;
    let derived = |konst: &Const| konst.derived_from().contains(&id);
    let alone = graph.users(bias).len() == 1 && !graph.consts().iter().any(derived);
    let ty = &graph.konst(id).ty;
    (alone && ty.elem == Elem::F32 && ty.quant.is_none()).then_some(id)
}

/// What the inputs of each target are like.
fn gather(
    graph: &Graph,
    targets: &[Target],
    samples: &Samples,
) -> Result<Vec<Moments>, Diagnostics> {
    let empty = |target: &Target| Moments {
        products: vec![0.0; target.k * target.k],
        sums: vec![0.0; target.k],
        rows: 0,
    };
    let mut moments: Vec<Moments> = targets.iter().map(empty).collect();
    samples.each(&mut |number, sample| {
        let seen = attended(sample);
        eval::run_with(graph, sample, &mut |value, tensor| {
            for (target, moments) in targets.iter().zip(&mut moments) {
                if target.inputs.contains(&value) {
                    moments.add(&rows(tensor, target.k, seen.as_deref()), target.k);
                }
            }
        })
        .map_err(|error| calibrate::failed(number, &error))?;
        Ok(())
    })?;
    Ok(moments)
}

impl Moments {
    fn add(&mut self, rows: &[f32], k: usize) {
        add_products(rows, k, &mut self.products);
        for row in rows.chunks_exact(k.max(1)) {
            self.rows += 1;
            for (sum, &x) in self.sums.iter_mut().zip(row) {
                *sum += f64::from(x);
            }
        }
    }
}

/// The real numbers of the rows of `k` that are attended to, one row after the other; parts of a row are
/// added.
fn rows(tensor: &Tensor, k: usize, seen: Option<&[bool]>) -> Vec<f32> {
    let Data::I8(q) = &tensor.data else {
        return Vec::new();
    };
    let columns = tensor.shape().last().copied().unwrap_or(1).max(1);
    let count = q.len() / columns;
    let q: Vec<i8> = q.iter().copied().collect();
    let number = |at: usize| match tensor.quant {
        Some(Quant::Tensor { scale }) => f32::from(q[at]) * scale,
        Some(Quant::Affine { scale, zero }) => dequantize_affine(q[at], scale, zero),
        Some(Quant::Row { group }) => f32::from(q[at]) * tensor.scales[at / group],
        Some(Quant::Channel { .. } | Quant::Shifted { .. } | Quant::Block { .. }) | None => {
            f32::from(q[at])
        }
    };
    let seen = seen.filter(|seen| seen.len() == count);
    let mut rows = Vec::with_capacity(count * k);
    for row in (0..count).filter(|&row| seen.is_none_or(|seen| seen[row])) {
        let parts = |i: usize| (i..columns).step_by(k.max(1));
        rows.extend((0..k).map(|i| parts(i).map(|at| number(row * columns + at)).sum::<f32>()));
    }
    rows
}

/// Adds the products of all pairs of columns.
fn add_products(rows: &[f32], k: usize, sums: &mut [f32]) {
    sums.par_chunks_exact_mut(k)
        .enumerate()
        .for_each(|(i, sums)| {
            for row in rows.chunks_exact(k) {
                let x = row[i];
                if x != 0.0 {
                    for (sum, y) in sums[i..].iter_mut().zip(&row[i..]) {
                        *sum += x * y;
                    }
                }
            }
        });
}

/// Values and scales, channel by channel.
struct Rounded {
    q: Vec<i8>,
    scales: Vec<f32>,
    /// What the result of each channel loses on average; empty where nobody has measured it.
    lost: Vec<f64>,
}

fn round(
    graph: &Graph,
    target: &Target,
    moments: Option<Moments>,
    rounding: &Rounding,
) -> Result<Rounded, Diagnostics> {
    let k = target.k;
    let tensor = values::value(graph, target.of).map_err(|error| {
        Diagnostic::error("weights-absent", error.to_string())
            .at(graph.konst(target.of).name.clone())
    })?;
    let (Data::F32(weights) | Data::F16(weights)) = &tensor.data else {
        let message = "weights that are rounded are not float";
        return Err(Diagnostic::error("calibration-failed", message).into());
    };
    let weights: Vec<f32> = weights.iter().copied().collect();
    if weights.iter().any(|w| !w.is_finite()) {
        let name = graph.konst(target.of).name.clone();
        let error = eval::EvalError::NotFinite(name.clone());
        return Err(Diagnostic::error(error.code(), error.to_string())
            .at(name)
            .into());
    }
    let channels = weights.len() / k.max(1);
    let channel = |c: usize| -> Vec<f32> {
        (0..k)
            .map(|i| match target.axis {
                0 => weights[c * k + i],
                _ => weights[i * channels + c],
            })
            .collect()
    };
    let strengths: Vec<f32> = match &moments {
        Some(moments) => (0..k).map(|i| moments.products[i * k + i]).collect(),
        None => vec![1.0; k],
    };
    let mean = |moments: &Moments| -> Vec<f64> {
        let rows = moments.rows.max(1) as f64;
        moments.sums.iter().map(|sum| sum / rows).collect()
    };
    let means = moments.as_ref().map(mean);
    let feedback = moments
        .filter(|_| !rounding.nearest)
        .map(|moments| Feedback::of(&moments.products, k));
    let mut q = vec![0i8; channels * k];
    let mut scales = vec![0.0; channels];
    q.par_chunks_exact_mut(k)
        .zip(&mut scales)
        .enumerate()
        .for_each(|(c, (q, step))| {
            let row = channel(c);
            let scale = match rounding.clip {
                Clip::Largest => Scale::from_amax(amax(&row)),
                Clip::Mse => least_error(&row, &strengths),
            };
            *step = scale.step;
            match &feedback {
                Some(feedback) => feedback.round(&row, scale, q),
                None => {
                    for (q, &w) in q.iter_mut().zip(&row) {
                        *q = quantize(w, scale.inverse);
                    }
                }
            }
        });
    let lost = means.map_or_else(Vec::new, |means| {
        let lost = |c: usize| -> f64 {
            let pairs = channel(c).into_iter().zip(&q[c * k..(c + 1) * k]);
            let errors = pairs.map(|(w, &q)| f64::from(w - f32::from(q) * scales[c]));
            errors.zip(&means).map(|(error, mean)| error * mean).sum()
        };
        (0..channels).map(lost).collect()
    });
    Ok(Rounded { q, scales, lost })
}

/// Shares of the largest magnitude that a clip may keep, in 64ths.
const CLIPS: Range<u32> = 48..65;

/// The scale with the least square error, each weight counted as strongly as its input; the largest of equals.
fn least_error(weights: &[f32], strengths: &[f32]) -> Scale {
    let largest = amax(weights);
    let error = |scale: &Scale| -> f64 {
        let lost = |(&w, &strength): (&f32, &f32)| {
            let error = w - f32::from(quantize(w, scale.inverse)) * scale.step;
            f64::from(error) * f64::from(error) * f64::from(strength)
        };
        weights.iter().zip(strengths).map(lost).sum()
    };
    let scales = CLIPS
        .rev()
        .map(|part| Scale::from_amax(largest * part as f32 / 64.0));
    let errors = scales.map(|scale| (error(&scale), scale));
    let best = errors.reduce(|best, next| if next.0 < best.0 { next } else { best });
    best.map_or_else(|| Scale::from_amax(largest), |(_, scale)| scale)
}

/// Adds what the channels lose on average to the bias of the product.
fn correct(graph: &mut Graph, target: &Target, rounded: &Rounded) -> Result<(), Diagnostics> {
    let Some(id) = target.bias.filter(|_| !rounded.lost.is_empty()) else {
        return Ok(());
    };
    let alpha = graph
        .node_ids()
        .into_iter()
        .find_map(|node| match graph.op(node) {
            Op::Matmul(attrs)
                if graph.operand(node, 2).and_then(|b| graph.as_const(b)) == Some(id) =>
            {
                Some(attrs.alpha)
            }
            _ => None,
        });
    let tensor = values::value(graph, id).map_err(|error| {
        Diagnostic::error(error.code(), error.to_string()).at(graph.konst(id).name.clone())
    })?;
    let (Data::F32(bias), Some(alpha)) = (&tensor.data, alpha) else {
        return Ok(());
    };
    let corrected = bias.iter().zip(&rounded.lost);
    let corrected = corrected.map(|(&b, &lost)| (f64::from(b) + f64::from(alpha) * lost) as f32);
    let bytes: Vec<u8> = corrected.flat_map(f32::to_le_bytes).collect();
    graph.set_source(id, Source::Bytes(Bytes::from(bytes)));
    Ok(())
}

/// Makes a constant what it was rounded to.
fn store(graph: &mut Graph, target: &Target, rounded: Rounded) {
    let konst = graph.konst(target.id);
    let (name, shape) = (konst.name.clone(), konst.ty.shape.clone());
    let channels = rounded.scales.len();
    let element = |at: usize| match target.axis {
        0 => rounded.q[at],
        _ => rounded.q[(at % channels) * target.k + at / channels],
    };
    let q: Vec<u8> = (0..rounded.q.len()).map(|at| element(at) as u8).collect();
    let scales: Vec<u8> = rounded
        .scales
        .iter()
        .flat_map(|scale| scale.to_le_bytes())
        .collect();
    let mut add = |suffix: &str, ty: Type, bytes: Vec<u8>| {
        graph.add_const(Const {
            name: format!("{name}.{suffix}"),
            ty,
            source: Source::Bytes(Bytes::from(bytes)),
        })
    };
    let values = add("values", Type::new(Elem::I8, shape), q);
    let scales = add("scales", Type::new(Elem::F32, [channels]), scales);
    let of = [values, scales];
    graph.set_source(target.id, Source::Derived(Derivation::Scaled { of }));
}

#[cfg(test)]
mod tests {
    use packwright_ir::text;

    use super::super::samples::Sample;
    use super::*;

    const SOURCE: &str = r#"graph case
  @0 : f32[48,24] "w" = synthetic normal(std=0.3, seed=1)
  @1 : f32[24] "b" = synthetic normal(std=0.3, seed=2)
  %0 : f32[1,40,48] = input "x"
  %1 : f32[1,40,24] = matmul %0, @0, @1 bias
  output %1 "y"
"#;

    /// Inputs whose columns go together.
    fn sample(seed: usize) -> Sample {
        let wave = |i: usize| ((i * 37 + seed * 11) % 101) as f32 / 50.0 - 1.0;
        let x = (0..40 * 48).map(|at| {
            let (row, column) = (at / 48, at % 48);
            wave(row) + 0.3 * wave(row * 7 + column / 8) + 0.02 * wave(at)
        });
        vec![("x".to_owned(), Tensor::f32(&[1, 40, 48], x.collect()))]
    }

    fn error(graph: &Graph, meant: &Graph, sample: &Sample) -> f64 {
        let result = |graph: &Graph| match &eval::run(graph, sample).expect("has a value")[0].1.data
        {
            Data::F32(y) => y.iter().copied().collect::<Vec<_>>(),
            _ => panic!("the result is f32"),
        };
        let square = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
        result(graph).iter().zip(&result(meant)).map(square).sum()
    }

    /// The error on a fresh sample, of weights rounded to the nearest value and as is said.
    fn errors(rounding: Rounding, samples: &Samples, fresh: &Sample) -> (f64, f64) {
        let meant = text::parse(SOURCE).expect("is a graph");
        let mut nearest = meant.clone();
        crate::graph::quantize::run(&mut nearest).expect("quantises");
        let mut rounded = nearest.clone();
        assert_eq!(run(&mut rounded, &rounding, samples).expect("rounds"), 1);
        let after = error(&rounded, &meant, fresh);
        // The text form holds what was rounded.
        let again = text::parse(&text::print_full(&rounded)).expect("is a graph");
        assert_eq!(error(&again, &meant, fresh), after);
        (error(&nearest, &meant, fresh), after)
    }

    fn some() -> Samples {
        (0..4).map(sample).collect::<Vec<_>>().into()
    }

    #[test]
    fn inputs_like_the_samples_lose_less() {
        let (before, after) = errors(Rounding::default(), &some(), &sample(9));
        assert!(after < 0.7 * before, "{after} is not below {before}");
    }

    #[test]
    fn corrected_biases_make_good_the_mean() {
        let rounding = Rounding {
            nearest: true,
            correct_bias: true,
            ..Rounding::default()
        };
        // Inputs that are not zero on average: each channel's errors add up.
        let shifted = |seed: usize| {
            let [(name, mut x)] = <[_; 1]>::try_from(sample(seed)).expect("is one input");
            if let Data::F32(x) = &mut x.data {
                x.mapv_inplace(|x| x + 1.5);
            }
            vec![(name, x)]
        };
        let samples = (0..4).map(shifted).collect::<Vec<_>>().into();
        let (before, after) = errors(rounding, &samples, &shifted(9));
        assert!(after < 0.9 * before, "{after} is not below {before}");
    }

    #[test]
    fn clips_of_least_error_are_those_of_an_exhaustive_search() {
        let wave = |i: usize| ((i * 37) % 101) as f32 / 100.0 - 0.5;
        let mut row: Vec<f32> = (0..64).map(wave).collect();
        let error = |scale: Scale, strengths: &[f32]| -> f64 {
            let pairs = row.iter().zip(strengths);
            let lost = pairs.map(|(&w, &s)| {
                let error = w - f32::from(quantize(w, scale.inverse)) * scale.step;
                f64::from(s) * f64::from(error).powi(2)
            });
            lost.sum()
        };
        let even = vec![1.0; 64];
        let largest = Scale::from_amax(amax(&row));
        let chosen = least_error(&row, &even);
        assert!(error(chosen, &even) <= error(largest, &even));
        for part in CLIPS {
            let other = Scale::from_amax(amax(&row) * part as f32 / 64.0);
            assert!(error(chosen, &even) <= error(other, &even), "{part}");
        }
        // An outlier whose input is always zero is clipped as far as it can be.
        row[5] = 0.6;
        let mut strengths = even.clone();
        strengths[5] = 0.0;
        assert!(least_error(&row, &strengths).step < Scale::from_amax(0.6).step);
    }

    #[test]
    fn scales_of_least_error_need_no_samples() {
        let rounding = Rounding {
            clip: Clip::Mse,
            ..Rounding::default()
        };
        let (before, after) = errors(rounding, &Samples::default(), &sample(9));
        assert!(after < 1.2 * before, "{after} is far above {before}");
    }

    #[test]
    fn nothing_is_rounded_anew_where_nothing_says_how() {
        let mut graph = text::parse(SOURCE).expect("is a graph");
        crate::graph::quantize::run(&mut graph).expect("quantises");
        let before = text::print_full(&graph);
        let none = run(&mut graph, &Rounding::default(), &Samples::default());
        assert_eq!(none.expect("needs nothing"), 0);
        assert_eq!(text::print_full(&graph), before);
    }
}
