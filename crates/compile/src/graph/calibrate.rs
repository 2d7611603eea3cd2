//! Ranges of activations: measured on samples, or made up from a seed where there are no values.

use indexmap::IndexMap;
use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_ir::eval::konst::has_values;
use packwright_ir::eval::{self, EvalError, fill::Stream};
use packwright_ir::konst::FillKind;
use packwright_ir::tensor::{Data, Tensor};
use packwright_ir::{Graph, Op, Value};

/// Least and largest magnitude that a seeded range covers: what normalised activations of language
/// models lie in.
const SEEDED: FillKind = FillKind::Uniform {
    low: 4.0,
    high: 16.0,
};

/// What ranges come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    /// Inputs by name, sample after sample. Without any, or without weights, ranges are made up.
    pub samples: Vec<Vec<(String, Tensor)>>,
    /// For ranges that are made up.
    pub seed: u64,
}

impl Calibration {
    /// The ranges of a graph that still computes floats.
    ///
    /// # Errors
    /// When a sample does not fit the graph.
    pub fn ranges(&self, graph: &Graph) -> Result<Ranges, Diagnostics> {
        let read = graph
            .node_ids()
            .into_iter()
            .filter_map(|node| match graph.op(node) {
                Op::Const(id) => Some(*id),
                _ => None,
            });
        let known = read.into_iter().all(|id| has_values(graph, id));
        if self.samples.is_empty() || !known {
            return Ok(Ranges::seeded(graph, self.seed));
        }
        Ranges::measured(graph, &self.samples).map_err(|error| {
            Diagnostic::error(
                "calibration-failed",
                format!("a sample cannot be evaluated: {error}"),
            )
            .help("each sample needs an array for each input, in its shape")
            .into()
        })
    }
}

/// The largest magnitude of each value that a product reads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranges(IndexMap<Value, f32>);

impl Ranges {
    /// Ranges of the activations in front of products, over all samples.
    ///
    /// # Errors
    /// When a sample cannot be evaluated.
    fn measured(graph: &Graph, samples: &[Vec<(String, Tensor)>]) -> Result<Self, EvalError> {
        let mut ranges: IndexMap<Value, f32> = values(graph)
            .into_iter()
            .map(|value| (value, 0.0))
            .collect();
        for sample in samples {
            eval::run_with(graph, sample, &mut |value, tensor| {
                if let (Some(range), Data::F32(a) | Data::F16(a)) =
                    (ranges.get_mut(&value), &tensor.data)
                {
                    let most = a.iter().fold(0.0f32, |most, x| most.max(x.abs()));
                    *range = range.max(most);
                }
            })?;
        }
        Ok(Self(ranges))
    }

    /// Ranges that depend on seed and place in the graph only, for graphs without values. They keep
    /// the form of the program; what it computes means nothing.
    fn seeded(graph: &Graph, seed: u64) -> Self {
        let values = values(graph);
        let draw = Stream::new("activation ranges", seed, SEEDED, &[values.len()]);
        let ranges = values.into_iter().enumerate();
        Self(ranges.map(|(i, value)| (value, draw.float(i))).collect())
    }

    /// The scale of a value.
    ///
    /// # Errors
    /// When the value was not calibrated.
    pub fn scale(&self, value: Value) -> Result<f32, Diagnostics> {
        match self.0.get(&value) {
            Some(&most) => Ok(most.max(f32::MIN_POSITIVE * 254.0) / 127.0),
            None => Err(
                Diagnostic::error("calibration-missing", "a value was not calibrated")
                    .at(value.to_string())
                    .help("calibrate the graph that is quantised")
                    .into(),
            ),
        }
    }
}

/// What products with constant weights read, in order of ids.
fn values(graph: &Graph) -> Vec<Value> {
    let mut values: Vec<Value> = Vec::new();
    for node in graph.node_ids() {
        if !matches!(graph.op(node), Op::Matmul(_)) {
            continue;
        }
        let operands = graph.operands(node);
        if graph.as_const(operands[1]).is_some() && !values.contains(&operands[0]) {
            values.push(operands[0]);
        }
    }
    values
}
