//! `eliminate-no-ops`: nodes that change nothing go; chains that move elements become one node.

use packwright_ir::diag::Diagnostics;
use packwright_ir::eval::konst;
use packwright_ir::op::{Binary, Unary};
use packwright_ir::order::topological;
use packwright_ir::tensor::Data;
use packwright_ir::{Graph, NodeId, Op, Value};

use super::matching::{add, is_known, scalar};

/// Removes nodes without effect.
///
/// # Errors
/// Shape rules that a result breaks.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    for node in topological(graph) {
        let replacement = match without(graph, node) {
            Some(value) => Some(value),
            None => joined(graph, node)?,
        };
        if let Some(value) = replacement {
            graph.replace_uses(node.into(), value);
            count += 1;
        }
    }
    Ok(count)
}

/// The operand that a node passes on unchanged.
fn without(graph: &Graph, node: NodeId) -> Option<Value> {
    let x = graph.operand(node, 0)?;
    let ty = &graph.types(node)[0];
    let same = graph.ty(x) == ty;
    match graph.op(node) {
        Op::Cast { .. } | Op::Reshape { .. } | Op::Expand { .. } if same => Some(x),
        Op::Transpose { perm } if perm.iter().enumerate().all(|(i, &p)| i == p) => Some(x),
        Op::Slice { step, .. } if same && step.iter().all(|&step| step == 1) => Some(x),
        Op::Concat { .. } if graph.operands(node).len() == 1 => Some(x),
        Op::Pad { before, after, .. } if before.iter().chain(after).all(|&n| n == 0) => Some(x),
        Op::Binary(f) => {
            let y = graph.operand(node, 1)?;
            let keeps = |kept: Value, other: Value, neutral: f64| {
                (graph.ty(kept) == ty && scalar(graph, other) == Some(neutral)).then_some(kept)
            };
            match f {
                Binary::Add => keeps(x, y, 0.0).or_else(|| keeps(y, x, 0.0)),
                Binary::Mul => keeps(x, y, 1.0).or_else(|| keeps(y, x, 1.0)),
                Binary::And => keeps(x, y, 1.0).or_else(|| keeps(y, x, 1.0)),
                Binary::Or => keeps(x, y, 0.0).or_else(|| keeps(y, x, 0.0)),
                Binary::Sub => keeps(x, y, 0.0),
                Binary::Div | Binary::Pow => keeps(x, y, 1.0),
                _ => None,
            }
        }
        Op::Unary(Unary::Not | Unary::Neg) => {
            let before = graph.operand(x.node, 0)?;
            (graph.op(x.node) == graph.op(node)).then_some(before)
        }
        Op::Where => {
            let chosen = match scalar(graph, x)? {
                0.0 => graph.operand(node, 2)?,
                _ => graph.operand(node, 1)?,
            };
            (graph.ty(chosen) == ty).then_some(chosen)
        }
        _ => None,
    }
}

/// A join without its empty parts, if it has any: a cache may hold no rows yet.
fn filled(graph: &mut Graph, node: NodeId) -> Result<Option<Value>, Diagnostics> {
    let Op::Concat { axis } = *graph.op(node) else {
        return Ok(None);
    };
    let parts = graph.operands(node);
    let is_filled = |v: &Value| graph.ty(*v).shape[axis] > 0;
    let kept: Vec<Value> = parts.iter().copied().filter(is_filled).collect();
    Ok(match kept[..] {
        [] => None,
        [x] => Some(x),
        _ if kept.len() == parts.len() => None,
        _ => {
            let origin = graph.origin_of(node);
            Some(add(graph, Op::Concat { axis }, &kept, origin)?)
        }
    })
}

/// Two nodes that move elements, one after the other, as one.
fn joined(graph: &mut Graph, node: NodeId) -> Result<Option<Value>, Diagnostics> {
    let Some(inner) = graph.operand(node, 0) else {
        return Ok(None);
    };
    if let Op::Concat { .. } = graph.op(node) {
        return filled(graph, node);
    }
    let Some(x) = graph.operand(inner.node, 0) else {
        return Ok(None);
    };
    let op = match (graph.op(node), graph.op(inner.node)) {
        (Op::Reshape { shape }, Op::Reshape { .. }) => Op::Reshape {
            shape: shape.clone(),
        },
        (Op::Transpose { perm: outer }, Op::Transpose { perm: first }) => Op::Transpose {
            perm: outer.iter().map(|&p| first[p]).collect(),
        },
        (Op::Expand { shape }, Op::Expand { .. }) => Op::Expand {
            shape: shape.clone(),
        },
        // Picking everything in order is a reshape.
        (Op::Gather { axis }, _) if picks_all(graph, node, *axis) => {
            let shape = graph.types(node)[0].shape.clone();
            let origin = graph.origin_of(node);
            return Ok(Some(add(graph, Op::Reshape { shape }, &[inner], origin)?));
        }
        // A transposition that moves axes of length 1 only is a reshape.
        (Op::Transpose { perm }, _) if moves_nothing(&graph.ty(inner).shape, perm) => {
            let shape = graph.types(node)[0].shape.clone();
            let origin = graph.origin_of(node);
            return Ok(Some(add(graph, Op::Reshape { shape }, &[inner], origin)?));
        }
        _ => return Ok(None),
    };
    let nothing = match &op {
        Op::Transpose { perm } => perm.is_sorted(),
        _ => graph.ty(x) == &graph.types(node)[0],
    };
    if nothing {
        return Ok(Some(x));
    }
    let origin = graph.origin_of(node);
    Ok(Some(add(graph, op, &[x], origin)?))
}

/// Whether the indices of a gather are 0, 1, 2, … up to the end of the axis.
fn picks_all(graph: &Graph, node: NodeId, axis: usize) -> bool {
    let operands = graph.operands(node);
    let [x, indices] = operands[..] else {
        return false;
    };
    let ty = graph.ty(x);
    if ty.shape[axis] != graph.ty(indices).elements() || ty.quant.is_some() {
        return false;
    }
    let Some(list) = graph.as_const(indices).filter(|&id| is_known(graph, id)) else {
        return false;
    };
    match konst::value(graph, list).map(|tensor| tensor.data) {
        Ok(Data::I64(a)) => a.iter().enumerate().all(|(i, &index)| index == i as i64),
        Ok(Data::I32(a)) => a.iter().enumerate().all(|(i, &index)| index == i as i32),
        _ => false,
    }
}

/// Whether axes longer than 1 keep their order.
fn moves_nothing(shape: &[usize], perm: &[usize]) -> bool {
    let long: Vec<usize> = perm
        .iter()
        .copied()
        .filter(|&axis| shape[axis] != 1)
        .collect();
    long.is_sorted()
}
