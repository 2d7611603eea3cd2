//! Laws of the stages: what can no longer occur.

use super::Stage;
use crate::diag::Diagnostic;
use crate::graph::Graph;
use crate::id::{NodeId, Value};
use crate::op::Op;
use crate::ty::Elem;

/// Elements from which on a constant is large: its bytes are traffic that counts.
pub(super) const LARGE: usize = 4096;

/// A law: what a node breaks of it.
type Law = fn(&Graph, NodeId) -> Option<Diagnostic>;

/// Laws and the stage from which on they hold.
const LAWS: [(Stage, Law); 5] = [
    (Stage::Fused, dead),
    (Stage::Quantized, wide_weights),
    (Stage::Legal, unknown_to_machines),
    (Stage::Legal, wide_elements),
    (Stage::Legal, gathers_parts),
];

/// What a node breaks of the laws of a stage, the ones before it included.
pub(super) fn check(graph: &Graph, node: NodeId, stage: Stage) -> impl Iterator<Item = Diagnostic> {
    let laws = LAWS.into_iter().filter(move |(since, _)| *since <= stage);
    laws.filter_map(move |(_, law)| law(graph, node))
}

/// Fused: a node computes what somebody reads; inputs are the caller's and stay.
fn dead(graph: &Graph, node: NodeId) -> Option<Diagnostic> {
    let kept = matches!(graph.op(node), Op::Input { .. } | Op::Const(_));
    let read =
        (0..graph.types(node).len() as u32).any(|slot| graph.use_count(Value { node, slot }) > 0);
    (!kept && !read).then(|| Diagnostic::error("no-dead-nodes", "nobody reads it"))
}

/// Quantized: a product reads a large constant as i8.
fn wide_weights(graph: &Graph, node: NodeId) -> Option<Diagnostic> {
    let factors = match graph.op(node) {
        Op::Matmul(_) => 2,
        Op::Attention(_) => 3,
        Op::HashSort(_) => 2,
        _ => return None,
    };
    let operands = graph.operands(node);
    let wide = operands.into_iter().take(factors).find(|&v| {
        let ty = graph.ty(v);
        graph.as_const(v).is_some() && ty.quant.is_none() && ty.elements() >= LARGE
    })?;
    let message = format!("reads the constant {} as floats", graph.ty(wide));
    Some(Diagnostic::error("weights-quantized", message))
}

/// Legal: the operator is one that machines have.
fn unknown_to_machines(graph: &Graph, node: NodeId) -> Option<Diagnostic> {
    let op = graph.op(node);
    (!lowerable(op)).then(|| {
        Diagnostic::unsupported(
            "operator-legal",
            format!("no machine command does {}", op.name()),
        )
    })
}

/// Legal: nothing is computed in f64.
fn wide_elements(graph: &Graph, node: NodeId) -> Option<Diagnostic> {
    let wide = graph.types(node).iter().find(|ty| ty.elem == Elem::F64)?;
    Some(Diagnostic::unsupported(
        "element-legal",
        format!("no machine command works on {wide}"),
    ))
}

/// Legal: gathering takes whole rows of a table.
fn gathers_parts(graph: &Graph, node: NodeId) -> Option<Diagnostic> {
    match graph.op(node) {
        Op::Gather { axis: 0 } => None,
        Op::Gather { axis } => Some(Diagnostic::unsupported(
            "gather-legal",
            format!("only rows of a table can be gathered, not along axis {axis}"),
        )),
        _ => None,
    }
}

/// Whether the back end can lower the operator.
fn lowerable(op: &Op) -> bool {
    match op {
        Op::Input { .. }
        | Op::Const(_)
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Where
        | Op::Cast { .. }
        | Op::Reshape { .. }
        | Op::Slice { .. }
        | Op::Transpose { .. }
        | Op::Concat { .. }
        | Op::Expand { .. }
        | Op::Gather { .. }
        | Op::Embedding { .. }
        | Op::LayerNorm { .. }
        | Op::RmsNorm { .. }
        | Op::Softmax { .. }
        | Op::Matmul(_)
        | Op::Attention(_)
        | Op::HashSort(_)
        | Op::ChunkAttention(_)
        | Op::Cache
        | Op::Rotary { .. }
        | Op::Quantize { .. }
        | Op::QuantizeParts { .. }
        | Op::Dequantize { .. }
        | Op::CumSum { .. }
        | Op::Reduce { .. } => true,
        Op::Pad { .. }
        | Op::GatherElements { .. }
        | Op::ScatterElements { .. }
        | Op::ScatterNd
        | Op::TopK { .. }
        | Op::ArgMax { .. }
        | Op::Trilu { .. }
        | Op::RandomNormal { .. } => false,
    }
}
