//! `fold-scale`: a number that multiplies the operand or the result of a product becomes its factor.

use packwright_ir::diag::Diagnostics;
use packwright_ir::op::Matmul;
use packwright_ir::order::topological;
use packwright_ir::{Graph, NodeId, Op, Value};

use super::matching::{add, only_user, scaled};

/// Takes numbers into products with constant weights.
///
/// # Errors
/// Shape rules that a result breaks.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    for node in topological(graph) {
        count += usize::from(before(graph, node)? || behind(graph, node)?);
    }
    Ok(count)
}

/// A product with constant weights that a factor can still be put into.
fn product(graph: &Graph, node: NodeId) -> Option<Matmul> {
    let Op::Matmul(attrs) = graph.op(node) else {
        return None;
    };
    let weights = graph.operand(node, 1)?;
    graph.as_const(weights).map(|_| attrs.clone())
}

/// `matmul(x · c, w)`, where the factor stands in front of the bias as well.
fn before(graph: &mut Graph, node: NodeId) -> Result<bool, Diagnostics> {
    let Some(mut attrs) = product(graph, node) else {
        return Ok(false);
    };
    let mut operands = graph.operands(node);
    let Some((x, factor)) = scaled(graph, operands[0]) else {
        return Ok(false);
    };
    let alone = only_user(graph, operands[0]).is_some();
    if !alone || graph.ty(x) != graph.ty(operands[0]) {
        return Ok(false);
    }
    attrs.alpha *= factor as f32;
    operands[0] = x;
    let origin = graph.origin_of(node);
    let whole = add(graph, Op::Matmul(attrs), &operands, origin)?;
    graph.replace_uses(node.into(), whole);
    Ok(true)
}

/// `matmul(x, w) · c`, before anything else was done to the product.
fn behind(graph: &mut Graph, node: NodeId) -> Result<bool, Diagnostics> {
    let value = Value::from(node);
    let Some((inner, factor)) = scaled(graph, value) else {
        return Ok(false);
    };
    let Some(mut attrs) = product(graph, inner.node) else {
        return Ok(false);
    };
    let plain = !attrs.bias && !attrs.residual && attrs.activation.is_none();
    let alone = only_user(graph, inner).is_some();
    if !plain || !alone || graph.ty(inner) != graph.ty(value) {
        return Ok(false);
    }
    attrs.alpha *= factor as f32;
    let operands = graph.operands(inner.node);
    let origin = graph.origin_of(inner.node);
    let whole = add(graph, Op::Matmul(attrs), &operands, origin)?;
    graph.replace_uses(value, whole);
    Ok(true)
}
