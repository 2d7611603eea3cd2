//! `lift-transpose`: models that go position by position, all sequences each, go sequence by sequence.
//!
//! An exchange of the first two axes moves behind what computes or moves each row alone: products with weights,
//! operations with a vector or a number, cuts and regroupings of columns. There it meets the exchange back.

use packwright_ir::diag::Diagnostics;
use packwright_ir::order::topological;
use packwright_ir::{Graph, NodeId, Op, Value};

use super::matching::add;

/// Moves exchanges towards the results.
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

/// What a value exchanges the first two axes of.
fn exchanged(graph: &Graph, value: Value) -> Option<Value> {
    let Op::Transpose { perm } = graph.op(value.node) else {
        return None;
    };
    let others = perm.iter().enumerate().skip(2).all(|(i, &p)| i == p);
    (perm.len() > 2 && perm[..2] == [1, 0] && others)
        .then(|| graph.operand(value.node, 0))
        .flatten()
}

/// Carries a node out in front of the exchange of its operand.
fn lifted(graph: &mut Graph, node: NodeId) -> Result<bool, Diagnostics> {
    let mut operands = graph.operands(node);
    let place = operands
        .iter()
        .enumerate()
        .find_map(|(at, &value)| exchanged(graph, value).map(|x| (at, x)));
    let Some((at, x)) = place else {
        return Ok(false);
    };
    let Some(op) = by_rows(graph, node, at) else {
        return Ok(false);
    };
    operands[at] = x;
    let origin = graph.origin_of(node);
    let inner = add(graph, op, &operands, origin)?;
    let perm = [1, 0]
        .into_iter()
        .chain(2..graph.ty(inner).rank())
        .collect();
    let outer = add(graph, Op::Transpose { perm }, &[inner], origin)?;
    graph.replace_uses(node.into(), outer);
    Ok(true)
}

/// The operator that does to rows in the other order what a node does, if rows matter to it one by one.
fn by_rows(graph: &Graph, node: NodeId, at: usize) -> Option<Op> {
    let operands = graph.operands(node);
    let rank = graph.ty(operands[at]).rank();
    let vector = |value: Value| graph.as_const(value).is_some() && graph.ty(value).rank() <= 1;
    match graph.op(node) {
        op @ Op::Matmul(attrs) => {
            let weights =
                graph.as_const(operands[1]).is_some() && graph.ty(operands[1]).rank() == 2;
            (at == 0 && weights && !attrs.residual).then(|| op.clone())
        }
        op @ Op::Binary(_) => vector(operands[1 - at]).then(|| op.clone()),
        op @ Op::Unary(_) => Some(op.clone()),
        Op::Slice { start, count, step } => {
            let shape = &graph.ty(operands[at]).shape;
            let rows = (0..2).all(|i| start[i] == 0 && step[i] == 1 && count[i] == shape[i]);
            let mut count = count.clone();
            count.swap(0, 1);
            rows.then(|| Op::Slice {
                start: start.clone(),
                count,
                step: step.clone(),
            })
        }
        Op::Reshape { shape } if rank > 2 && shape.len() > 2 => {
            let mut shape = shape.clone();
            let kept = shape[..2] == graph.ty(operands[at]).shape[..2];
            shape.swap(0, 1);
            kept.then_some(Op::Reshape { shape })
        }
        _ => None,
    }
}
