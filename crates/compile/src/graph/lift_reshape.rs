//! `lift-reshape`: reshapes that only join rows in front of a product move behind it, and on behind the
//! function of its result.

use packwright_ir::diag::Diagnostics;
use packwright_ir::order::topological;
use packwright_ir::{Graph, NodeId, Op};

use super::matching::{add, only_user};

/// Moves reshapes behind products.
///
/// # Errors
/// Shape rules that a result breaks.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    for node in topological(graph) {
        count += usize::from(lifted(graph, node)? || behind_function(graph, node)?);
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

/// A function of a product that is read in another shape.
fn behind_function(graph: &mut Graph, node: NodeId) -> Result<bool, Diagnostics> {
    let Op::Unary(function) = *graph.op(node) else {
        return Ok(false);
    };
    let reshaped = graph.operand(node, 0);
    let Some(reshaped) = reshaped.filter(|v| matches!(graph.op(v.node), Op::Reshape { .. })) else {
        return Ok(false);
    };
    let Some(product) = graph.operand(reshaped.node, 0) else {
        return Ok(false);
    };
    let alone = only_user(graph, reshaped).is_some() && only_user(graph, product).is_some();
    let same_rows = graph.ty(product).columns() == graph.ty(reshaped).columns();
    if !alone || !same_rows || !matches!(graph.op(product.node), Op::Matmul(_)) {
        return Ok(false);
    }
    let origin = graph.origin_of(node);
    let shape = graph.types(node)[0].shape.clone();
    let inner = add(graph, Op::Unary(function), &[product], origin)?;
    let outer = add(graph, Op::Reshape { shape }, &[inner], origin)?;
    graph.replace_uses(node.into(), outer);
    Ok(true)
}
