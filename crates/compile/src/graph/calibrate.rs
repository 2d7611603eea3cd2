//! Calibration: samples are evaluated one after the other, observers watch what products read, and the
//! scales of static layers follow. Memory does not grow with the number of samples.

use indexmap::IndexMap;
use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_ir::eval::konst::has_values;
use packwright_ir::eval::{self, EvalError, fill::Stream};
use packwright_ir::konst::FillKind;
use packwright_ir::tensor::Data;
use packwright_ir::{Graph, Op, Value};

use super::observe::{Histogram, Observer};
use super::recipe::{self, Recipe};
use super::samples::Samples;

/// Least and largest magnitude that a seeded range covers: what normalised activations of language
/// models lie in.
const SEEDED: FillKind = FillKind::Uniform {
    low: 4.0,
    high: 16.0,
};
/// Least magnitude that a scale covers.
const SMALLEST: f32 = f32::MIN_POSITIVE * 254.0;

/// Samples, and what is made of them.
#[derive(Clone, Debug, Default)]
pub struct Calibration {
    pub samples: Samples,
    /// How static scales are chosen.
    pub observer: Observer,
}

/// What calibration has found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Scales by the name of the weights that a product reads.
    pub scales: IndexMap<String, f32>,
    pub warnings: Vec<Diagnostic>,
}

/// Measures the static layers of a graph that still computes floats.
///
/// # Errors
/// When a sample cannot be evaluated, or an activation is no number.
pub fn measure(
    graph: &Graph,
    recipe: &Recipe,
    observer: Observer,
    samples: &Samples,
) -> Result<Measured, Diagnostics> {
    let open = |layer: &recipe::Layer| {
        recipe.of(layer).is_fixed() && !recipe.scales.contains_key(&layer.name)
    };
    let layers: Vec<_> = recipe::layers(graph).into_iter().filter(open).collect();
    if layers.is_empty() {
        return Ok(Measured::default());
    }
    let mut seen: IndexMap<Value, Histogram> = layers
        .iter()
        .map(|layer| (layer.input, Histogram::default()))
        .collect();
    samples.each(&mut |number, sample| {
        eval::run_with(graph, sample, &mut |value, tensor| {
            if let (Some(histogram), Data::F32(a) | Data::F16(a)) =
                (seen.get_mut(&value), &tensor.data)
                && let Some(values) = a.as_slice()
            {
                histogram.add(values);
            }
        })
        .map_err(|error| failed(number, &error))?;
        Ok(())
    })?;
    let mut measured = Measured::default();
    let mut problems = Vec::new();
    for layer in layers {
        let histogram = &seen[&layer.input];
        if histogram.broken > 0 {
            let message = format!(
                "the input of this product holds {} values that are no finite numbers",
                histogram.broken
            );
            problems.push(
                Diagnostic::error("calibration-not-finite", message)
                    .at(layer.name)
                    .help("look for infinities or NaN in the samples and the weights"),
            );
            continue;
        }
        if histogram.is_constant_zero() {
            let message = "the input of this product is zero in all samples: its scale is made up";
            measured.warnings.push(
                Diagnostic::warning("calibration-constant", message)
                    .at(layer.name.clone())
                    .help("add samples that reach it, or give the scale in the recipe"),
            );
            measured.scales.insert(layer.name, 1.0 / 127.0);
            continue;
        }
        let limit = histogram.limit(observer).max(SMALLEST);
        measured.scales.insert(layer.name, limit / 127.0);
    }
    if problems.is_empty() {
        Ok(measured)
    } else {
        Err(Diagnostics(problems))
    }
}

/// Scales for static layers that have none: made up from the seed and the place in the graph. They keep the
/// form of the program; what it computes means nothing.
pub fn complete(graph: &Graph, recipe: &mut Recipe) {
    let layers = recipe::layers(graph);
    let draw = Stream::new("activation ranges", recipe.seed, SEEDED, &[layers.len()]);
    for (i, layer) in layers.iter().enumerate() {
        if recipe.of(layer).is_fixed() {
            let scale = draw.float(i) / 127.0;
            let layer = layer.clone();
            recipe.scales.entry(layer.name).or_insert(scale);
        }
    }
}

/// Whether a graph has the values of all constants that it reads.
pub fn has_weights(graph: &Graph) -> bool {
    let mut nodes = graph.node_ids().into_iter();
    nodes.all(|node| match graph.op(node) {
        Op::Const(id) => has_values(graph, *id),
        _ => true,
    })
}

/// A sample that the graph cannot be evaluated on.
pub(super) fn failed(number: usize, error: &EvalError) -> Diagnostic {
    let message = format!("sample {number} cannot be evaluated: {error}");
    Diagnostic::error("calibration-failed", message)
        .help("each sample needs an array for each input, in its shape")
}
