//! `fuse-residual`: a tensor added to a product's result becomes its last operand.

use packwright_ir::diag::Diagnostics;
use packwright_ir::op::Binary;
use packwright_ir::order::topological;
use packwright_ir::{Graph, NodeId, Op, Value};

use super::matching::{add, either, only_user};

/// Takes additions into products.
///
/// # Errors
/// Shape rules that a result breaks.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let order = topological(graph);
    let mut count = 0;
    for (place, &node) in order.iter().enumerate() {
        count += usize::from(fused(graph, node, &order[..place])?);
    }
    Ok(count)
}

fn fused(graph: &mut Graph, node: NodeId, before: &[NodeId]) -> Result<bool, Diagnostics> {
    let value = Value::from(node);
    let mut candidates = either(graph, value, Binary::Add);
    candidates.retain(|&(product, other)| {
        let Op::Matmul(attrs) = graph.op(product.node) else {
            return false;
        };
        !attrs.residual
            && graph.ty(other) == graph.ty(value)
            && graph.ty(product) == graph.ty(value)
            && graph.as_const(other).is_none()
            && only_user(graph, product).is_some()
    });
    // Of two products the later one waits for the other.
    let place = |value: Value| before.iter().rposition(|&n| n == value.node);
    candidates.sort_by_key(|&(product, _)| std::cmp::Reverse(place(product)));
    let Some(&(product, other)) = candidates.first() else {
        return Ok(false);
    };
    let Op::Matmul(attrs) = graph.op(product.node) else {
        return Ok(false);
    };
    let mut attrs = attrs.clone();
    attrs.residual = true;
    let origin = graph.origin_of(product.node);
    let mut operands = graph.operands(product.node);
    operands.push(other);
    let whole = add(graph, Op::Matmul(attrs), &operands, origin)?;
    graph.replace_uses(value, whole);
    Ok(true)
}
