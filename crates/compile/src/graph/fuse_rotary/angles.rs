//! Angles that stand twice in a row, once.

use packwright_ir::diag::Diagnostics;
use packwright_ir::op::Binary;
use packwright_ir::{Graph, Op, OriginId, Value};

use super::joined;
use crate::graph::matching::{add, either, scalar};

/// Angles once a row instead of twice: what was computed from `concat(f, f)`, or from each of `f` repeated, is
/// computed from `f`.
pub(super) fn single(
    graph: &mut Graph,
    value: Value,
    interleaved: bool,
    origin: OriginId,
) -> Result<Option<Value>, Diagnostics> {
    if let Some(found) = doubled(graph, value, interleaved, origin)? {
        return Ok(Some(found));
    }
    let operands = graph.operands(value.node);
    let Some(&x) = operands.first() else {
        return Ok(None);
    };
    let columns = graph.ty(x).columns();
    let halved = |shape: &[usize]| {
        let mut shape = shape.to_vec();
        if let Some(last) = shape.last_mut() {
            *last /= 2;
        }
        shape
    };
    let rank = graph.ty(x).rank();
    let op = match graph.op(value.node) {
        op @ (Op::Unary(_) | Op::Cast { .. }) => op.clone(),
        Op::Reshape { shape } if shape.last() == Some(&columns) => Op::Reshape {
            shape: halved(shape),
        },
        Op::Expand { shape } if shape.last() == Some(&columns) => Op::Expand {
            shape: halved(shape),
        },
        op @ Op::Gather { axis } if axis + 1 < rank => op.clone(),
        op @ Op::Transpose { perm } if perm.last() == Some(&(rank - 1)) => op.clone(),
        Op::Slice { start, count, step } if count.last() == Some(&columns) => Op::Slice {
            start: start.clone(),
            count: halved(count),
            step: step.clone(),
        },
        Op::Binary(Binary::Mul) => {
            let Some((x, number)) = either(graph, value, Binary::Mul)
                .into_iter()
                .find(|&(_, number)| scalar(graph, number).is_some())
            else {
                return Ok(None);
            };
            let x = single(graph, x, interleaved, origin)?;
            let product = |x| add(graph, Op::Binary(Binary::Mul), &[x, number], origin);
            return Ok(x.map(product).transpose()?);
        }
        _ => return Ok(None),
    };
    match single(graph, x, interleaved, origin)? {
        Some(x) => {
            let operands: Vec<Value> = [x]
                .into_iter()
                .chain(operands.into_iter().skip(1))
                .collect();
            Ok(Some(add(graph, op, &operands, origin)?))
        }
        None => Ok(None),
    }
}

/// What stands twice in each row of a value.
fn doubled(
    graph: &mut Graph,
    value: Value,
    interleaved: bool,
    origin: OriginId,
) -> Result<Option<Value>, Diagnostics> {
    if !interleaved {
        return Ok(joined(graph, value)
            .filter(|[first, second]| first == second)
            .map(|[first, _]| first));
    }
    let Some(once) = repeated(graph, value) else {
        return Ok(None);
    };
    let mut shape = graph.ty(value).shape.clone();
    if let Some(last) = shape.last_mut() {
        *last /= 2;
    }
    if graph.ty(once).shape == shape {
        return Ok(Some(once));
    }
    Ok(Some(add(graph, Op::Reshape { shape }, &[once], origin)?))
}

/// The elements each of which stands twice in a value, one behind the other.
fn repeated(graph: &Graph, value: Value) -> Option<Value> {
    let mut twice = value;
    while let Op::Reshape { .. } = graph.op(twice.node) {
        twice = graph.operand(twice.node, 0)?;
    }
    let once = match graph.op(twice.node) {
        Op::Expand { .. } => graph.operand(twice.node, 0)?,
        _ => {
            let [first, second] = joined(graph, twice)?;
            (first == second).then_some(first)?
        }
    };
    // Behind the axis of two there is nothing.
    let lengths = |value: Value| {
        let shape = graph.ty(value).shape.iter().copied();
        shape.filter(|&n| n != 1).collect::<Vec<_>>()
    };
    let (own, whole) = (lengths(once), lengths(twice));
    let pairs = whole.split_last() == Some((&2, own.as_slice()));
    (pairs && graph.ty(value).columns().is_multiple_of(2)).then_some(once)
}
