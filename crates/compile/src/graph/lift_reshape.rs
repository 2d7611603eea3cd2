//! `lift-reshape`: reshapes that only join or split the rows in front of a product move behind it.

use packwright_ir::diag::Diagnostics;
use packwright_ir::order::topological;
use packwright_ir::{Graph, NodeId, Op};

use super::matching::add;

/// Moves reshapes behind products.
///
/// # Errors
/// Shape rules that a result breaks.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    for node in topological(graph) {
        count += usize::from(lifted(graph, node)?);
    }
    Ok(count)
}

fn lifted(graph: &mut Graph, node: NodeId) -> Result<bool, Diagnostics> {
    let Op::Matmul(attrs) = graph.op(node) else {
        return Ok(false);
    };
    if attrs.residual {
        return Ok(false);
    }
    let mut operands = graph.operands(node);
    let (a, b) = (operands[0], operands[1]);
    let Op::Reshape { .. } = graph.op(a.node) else {
        return Ok(false);
    };
    let Some(x) = graph.operand(a.node, 0) else {
        return Ok(false);
    };
    let (from, to) = (graph.ty(x), graph.ty(a));
    let rows_only = from.rank() >= 2 && from.columns() == to.columns() && from.rank() > to.rank();
    if !rows_only || graph.as_const(b).is_none() || graph.ty(b).rank() != 2 {
        return Ok(false);
    }
    operands[0] = x;
    let origin = graph.origin_of(node);
    let shape = graph.types(node)[0].shape.clone();
    let product = add(graph, graph.op(node).clone(), &operands, origin)?;
    let reshaped = add(graph, Op::Reshape { shape }, &[product], origin)?;
    graph.replace_uses(node.into(), reshaped);
    Ok(true)
}
