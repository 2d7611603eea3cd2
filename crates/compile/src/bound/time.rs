//! The least time beside that of the DRAM: matrix work, vector work, the path of dependencies.

use indexmap::IndexMap;
use packwright_ir::op::Unary;
use packwright_ir::{Graph, NodeId, Op, Quant};
use packwright_target::Target;

use crate::plan::demand::{AttentionShape, SOFTMAX_OPERATIONS};

/// Seconds that no schedule can do with less of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Least {
    matrix: f64,
    vector: f64,
    path: f64,
}

impl Least {
    /// The longest of them, by name.
    pub(super) fn longest(&self) -> (&'static str, f64) {
        [
            ("matrix work", self.matrix),
            ("vector work", self.vector),
            ("dependencies", self.path),
        ]
        .into_iter()
        .fold(("matrix work", 0.0), |best, term| {
            if term.1 > best.1 { term } else { best }
        })
    }
}

/// Adds up the work of a graph, and finds the longest path through it.
pub(super) fn least(graph: &Graph, target: &Target, order: &[NodeId]) -> Least {
    let macs: u64 = order
        .iter()
        .map(|&node| super::least_macs(graph, node))
        .sum();
    let operations: u64 = order.iter().map(|&node| lane_operations(graph, node)).sum();
    let lanes = lanes_per_second(target);
    let peak = target.peak_macs_per_second();
    let mut paths: IndexMap<NodeId, f64> = IndexMap::new();
    let mut longest: f64 = 0.0;
    for &node in order {
        let before = graph
            .operands(node)
            .iter()
            .filter_map(|value| paths.get(&value.node))
            .fold(0.0, |a: f64, &b| a.max(b));
        let (macs, operations) = row_work(graph, node);
        let path = before + macs as f64 / peak + operations as f64 / lanes;
        longest = longest.max(path);
        paths.insert(node, path);
    }
    Least {
        matrix: macs as f64 / peak,
        vector: operations as f64 / lanes,
        path: longest,
    }
}

/// Lane operations a second of all cores.
pub fn lanes_per_second(target: &Target) -> f64 {
    f64::from(target.cores) * f64::from(target.vector.lanes) * target.clock_hz as f64
}

/// Least time of the softmax of some scores.
pub(super) fn softmax_seconds(target: &Target, scores: u64) -> f64 {
    (SOFTMAX_OPERATIONS * scores) as f64 / lanes_per_second(target)
}

/// Operations of a score whose probability is a float: maximum; difference, exponential (four), sum; product.
const FLOAT_OPERATIONS: u64 = 8;

/// Work on one row of a node that can only start when the last elements of its operand are there:
/// multiply-adds and lane operations.
fn row_work(graph: &Graph, node: NodeId) -> (u64, u64) {
    let Some(ty) = graph.types(node).first() else {
        return (0, 0);
    };
    let columns = ty.columns() as u64;
    match graph.op(node) {
        Op::Matmul(_) => {
            let operand = graph.operand(node, 0).map(|value| graph.ty(value));
            let last = match operand.map(|ty| (ty.quant, ty.columns())) {
                // Products with earlier groups of the row may be done already.
                Some((Some(Quant::Row { group }), _)) => group,
                Some((Some(_) | None, _)) | None => 1,
            };
            (last as u64 * columns, 0)
        }
        Op::LayerNorm { .. } | Op::RmsNorm { .. } => (0, columns),
        _ => (0, 0),
    }
}

/// Operations that the lanes cannot be spared: those of norms, softmax and quantisation with scales found at
/// run time, and one for each element of other functions of the stream.
pub fn lane_operations(graph: &Graph, node: NodeId) -> u64 {
    let Some(ty) = graph.types(node).first() else {
        return 0;
    };
    let elements = ty.elements() as u64;
    match graph.op(node) {
        Op::LayerNorm { .. } | Op::RmsNorm { .. } => 5 * elements,
        Op::Quantize {
            quant: Quant::Row { .. },
        } => 3 * elements,
        Op::Attention(_) => {
            let values = graph
                .operand(node, 2)
                .and_then(|value| graph.ty(value).quant);
            let operations = match values {
                Some(Quant::Row { .. }) => SOFTMAX_OPERATIONS,
                _ => FLOAT_OPERATIONS,
            };
            operations * least_scores(graph, node)
        }
        Op::Unary(Unary::Silu | Unary::GeluErf | Unary::GeluTanh) => 5 * elements,
        _ => 0,
    }
}

/// Scores that an attention cannot be spared: those of the pairs that see each other.
fn least_scores(graph: &Graph, node: NodeId) -> u64 {
    let Op::Attention(attention) = graph.op(node) else {
        return 0;
    };
    let shape = AttentionShape::of(graph, node);
    (shape.batch * shape.heads) as u64 * attention.pairs([shape.s, shape.t])
}
