//! Compensated rounding: the error of each weight is made good by those that are rounded after it.
//!
//! The weights of a channel are rounded one after the other; what earlier ones have lost is added to later
//! ones, in the proportion in which inputs go together: with `H = Σ xᵀx = U D Uᵀ` over the samples (U unit
//! upper triangular), weight k becomes `round(w[k] + Σ_{i<k} (w[i] - q[i]) · U[i][k])`. Weights of strong
//! inputs come first. Scales stay as they are, so nothing but values changes: packets and time do not.

use bytes::Bytes;
use indexmap::IndexMap;
use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_ir::eval::{self, konst as values};
use packwright_ir::konst::{Const, Derivation, Source};
use packwright_ir::tensor::{Data, Tensor};
use packwright_ir::{ConstId, Elem, Graph, Op, Quant, Type, Value};
use packwright_numerics::quant::{Scale, dequantize_affine, quantize};
use packwright_numerics::reduce::amax;
use rayon::prelude::*;

use super::recipe;
use super::samples::Samples;
use super::sensitivity::attended;

/// Added to the diagonal, as a share of its mean, so that inputs that hardly occur do no harm.
const DAMPING: f64 = 0.01;
/// Most bytes of sums of products that are gathered in one pass over the samples.
const BUDGET: usize = 1 << 30;

/// Rounds the weights of a quantised graph anew, for inputs like the samples. Returns how many matrices were
/// rounded.
///
/// # Errors
/// When a sample cannot be evaluated, or weights have no values.
pub fn run(graph: &mut Graph, samples: &Samples) -> Result<usize, Diagnostics> {
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
        let moments = gather(graph, now, samples)?;
        let rounded: Vec<_> = now
            .par_iter()
            .zip(moments)
            .map(|(target, moments)| round(graph, target, moments))
            .collect::<Result<_, _>>()?;
        for (target, rounded) in now.iter().zip(rounded) {
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
        });
        target.inputs.push(operands[0]);
    }
    found.into_values().collect()
}

/// `Σ xᵀx` of the inputs of each target, upper triangles.
fn gather(
    graph: &Graph,
    targets: &[Target],
    samples: &Samples,
) -> Result<Vec<Vec<f32>>, Diagnostics> {
    let mut sums: Vec<Vec<f32>> = targets.iter().map(|t| vec![0.0; t.k * t.k]).collect();
    samples.each(&mut |number, sample| {
        let seen = attended(sample);
        eval::run_with(graph, sample, &mut |value, tensor| {
            for (target, sums) in targets.iter().zip(&mut sums) {
                if target.inputs.contains(&value) {
                    add_products(&rows(tensor, target.k, seen.as_deref()), target.k, sums);
                }
            }
        })
        .map_err(|error| {
            let message = format!("sample {number} cannot be evaluated: {error}");
            Diagnostic::error("calibration-failed", message)
                .help("each sample needs an array for each input, in its shape")
        })?;
        Ok(())
    })?;
    Ok(sums)
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
        Some(Quant::Channel { .. } | Quant::Block { .. }) | None => f32::from(q[at]),
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
}

fn round(graph: &Graph, target: &Target, moments: Vec<f32>) -> Result<Rounded, Diagnostics> {
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
    let feedback = Feedback::of(&moments, k);
    drop(moments);
    let mut q = vec![0i8; channels * k];
    let mut scales = vec![0.0; channels];
    q.par_chunks_exact_mut(k)
        .zip(&mut scales)
        .enumerate()
        .for_each(|(c, (q, step))| {
            let row = channel(c);
            let scale = Scale::from_amax(amax(&row));
            *step = scale.step;
            feedback.round(&row, scale, q);
        });
    Ok(Rounded { q, scales })
}

/// What the errors of earlier weights add to later ones.
struct Feedback {
    /// The order in which weights are rounded.
    order: Vec<usize>,
    /// Row k holds `U[0..k][k]`, by place in the order; rows lie one after the other.
    factors: Vec<f32>,
}

impl Feedback {
    /// From the upper triangle of `Σ xᵀx`.
    fn of(moments: &[f32], k: usize) -> Self {
        let at = |i: usize, j: usize| f64::from(moments[i.min(j) * k + i.max(j)]);
        let mut order: Vec<usize> = (0..k).collect();
        order.sort_by(|&i, &j| at(j, j).total_cmp(&at(i, i)).then(i.cmp(&j)));
        let mean = (0..k).map(|i| at(i, i)).sum::<f64>() / k.max(1) as f64;
        // In reverse, because U is upper triangular: the last weight is factored first.
        let mut lower: Vec<Vec<f64>> = Vec::with_capacity(k);
        for a in 0..k {
            let mut row: Vec<f64> = Vec::with_capacity(a + 1);
            let i = order[k - 1 - a];
            for b in 0..a {
                let before = &lower[b];
                let rest = at(i, order[k - 1 - b]) - dot(&row, &before[..b]);
                row.push(rest / before[b]);
            }
            let rest = at(i, i) + DAMPING * mean - dot(&row, &row);
            row.push(rest.max(f64::MIN_POSITIVE + 1e-9 * mean).sqrt());
            lower.push(row);
        }
        let mut factors = Vec::with_capacity(k * k.saturating_sub(1) / 2);
        for place in 0..k {
            let column = k - 1 - place;
            let own = lower[column][column];
            factors.extend((0..place).map(|i| (lower[k - 1 - i][column] / own) as f32));
        }
        Self { order, factors }
    }

    /// Rounds the weights of a channel.
    fn round(&self, weights: &[f32], scale: Scale, q: &mut [i8]) {
        let mut errors: Vec<f32> = Vec::with_capacity(weights.len());
        let mut rest = &self.factors[..];
        for &i in &self.order {
            let (factors, behind) = rest.split_at(errors.len());
            rest = behind;
            let wanted = weights[i] + dot_f32(&errors, factors);
            q[i] = quantize(wanted, scale.inverse);
            errors.push(weights[i] - f32::from(q[i]) * scale.step);
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0f64; 8];
    let (a_blocks, a_rest) = a.as_chunks::<8>();
    let (b_blocks, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f64>() + rest
}

fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    let (a_blocks, a_rest) = a.as_chunks::<16>();
    let (b_blocks, b_rest) = b.as_chunks::<16>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
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
  %0 : f32[1,40,48] = input "x"
  %1 : f32[1,40,24] = matmul %0, @0
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

    #[test]
    fn inputs_like_the_samples_lose_less() {
        let meant = text::parse(SOURCE).expect("is a graph");
        let mut nearest = meant.clone();
        crate::graph::quantize::run(&mut nearest).expect("quantises");
        let mut compensated = nearest.clone();
        let samples: Samples = (0..4).map(sample).collect::<Vec<_>>().into();
        assert_eq!(run(&mut compensated, &samples).expect("rounds"), 1);
        let fresh = sample(9);
        let (before, after) = (
            error(&nearest, &meant, &fresh),
            error(&compensated, &meant, &fresh),
        );
        assert!(after < 0.7 * before, "{after} is not below {before}");
        // The text form holds what was rounded.
        let again = text::parse(&text::print_full(&compensated)).expect("is a graph");
        assert_eq!(error(&again, &meant, &fresh), after);
    }
}
