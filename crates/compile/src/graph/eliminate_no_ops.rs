//! `eliminate-no-ops`: nodes that change nothing go; chains that move elements become one node.

use packwright_ir::diag::Diagnostics;
use packwright_ir::eval::konst;
use packwright_ir::op::{Binary, Unary};
use packwright_ir::order::topological;
use packwright_ir::tensor::Data;
use packwright_ir::{Elem, Graph, NodeId, Op, Value};

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
        // Nothing is written.
        Op::ScatterNd if graph.ty(graph.operand(node, 2)?).elements() == 0 => Some(x),
        Op::Where => {
            let chosen = match uniform(graph, x)? {
                false => graph.operand(node, 2)?,
                true => graph.operand(node, 1)?,
            };
            (graph.ty(chosen) == ty).then_some(chosen)
        }
        _ => None,
    }
}

/// The truth value that all elements of a constant have.
fn uniform(graph: &Graph, condition: Value) -> Option<bool> {
    if let Some(number) = scalar(graph, condition) {
        return Some(number != 0.0);
    }
    let id = graph.as_const(condition)?;
    if graph.konst(id).ty.elem != Elem::Bool || !konst::has_values(graph, id) {
        return None;
    }
    let Data::Bool(values) = konst::value(graph, id).ok()?.data else {
        return None;
    };
    let first = *values.first()?;
    values.iter().all(|&value| value == first).then_some(first)
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
        (Op::Slice { .. }, Op::Concat { .. }) => return part_of(graph, node, inner),
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
        (Op::Transpose { perm: outer }, Op::Reshape { .. }) => {
            return around_units(graph, node, x, outer.clone());
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

/// Two transpositions with a reshape between them that adds and drops axes of length 1 only: one
/// transposition and one reshape.
fn around_units(
    graph: &mut Graph,
    node: NodeId,
    turned: Value,
    outer: Vec<usize>,
) -> Result<Option<Value>, Diagnostics> {
    let Op::Transpose { perm: inner } = graph.op(turned.node).clone() else {
        return Ok(None);
    };
    let Some(x) = graph.operand(turned.node, 0) else {
        return Ok(None);
    };
    let long = |shape: &[usize]| -> Vec<usize> {
        (0..shape.len()).filter(|&axis| shape[axis] != 1).collect()
    };
    let (before, between) = (
        graph.ty(turned).shape.clone(),
        graph.ty(graph.operands(node)[0]).shape.clone(),
    );
    let (first, second) = (long(&before), long(&between));
    let lengths = |shape: &[usize], axes: &[usize]| -> Vec<usize> {
        axes.iter().map(|&axis| shape[axis]).collect()
    };
    if lengths(&before, &first) != lengths(&between, &second) {
        return Ok(None);
    }
    // The long axes of the result, as axes of x; those of length 1 stand in front.
    let from = |axis: &usize| {
        let place = second.iter().position(|long| long == axis)?;
        Some(inner[first[place]])
    };
    let order: Vec<usize> = outer.iter().filter_map(from).collect();
    let mut perm: Vec<usize> = (0..inner.len())
        .filter(|axis| !order.contains(axis))
        .collect();
    perm.extend(order);
    let origin = graph.origin_of(node);
    let shape = graph.types(node)[0].shape.clone();
    let whole = add(graph, Op::Transpose { perm }, &[x], origin)?;
    Ok(Some(add(graph, Op::Reshape { shape }, &[whole], origin)?))
}

/// A slice that lies in one of the values that were joined is a slice of that value.
fn part_of(graph: &mut Graph, node: NodeId, joined: Value) -> Result<Option<Value>, Diagnostics> {
    let (Op::Slice { start, count, step }, &Op::Concat { axis }) =
        (graph.op(node), graph.op(joined.node))
    else {
        return Ok(None);
    };
    if step[axis] != 1 && count[axis] > 1 {
        return Ok(None);
    }
    let (mut start, count, step) = (start.clone(), count.clone(), step.clone());
    let mut first = 0;
    for part in graph.operands(joined.node) {
        let length = graph.ty(part).shape[axis];
        let inside = start[axis] >= first && start[axis] + count[axis] <= first + length;
        if inside && graph.ty(part).elem == graph.types(node)[0].elem {
            start[axis] -= first;
            let origin = graph.origin_of(node);
            let slice = Op::Slice { start, count, step };
            return Ok(Some(add(graph, slice, &[part], origin)?));
        }
        first += length;
    }
    Ok(None)
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
