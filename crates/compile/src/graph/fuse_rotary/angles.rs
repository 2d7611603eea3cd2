//! Angles that stand twice in a row, once.
//!
//! Where they are computed, that they stand twice shows in how they are joined. Where they are rows of a table
//! that the model holds, the table is cut in half: if it has values of its own they must agree, and a table
//! without them is taken to be what tables for rotations are.

use packwright_ir::diag::Diagnostics;
use packwright_ir::eval::konst;
use packwright_ir::konst::{Const, Derivation, Source};
use packwright_ir::op::Binary;
use packwright_ir::tensor::Data;
use packwright_ir::{ConstId, Graph, Op, OriginId, Type, Value};

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
    if let Some(id) = graph.as_const(value) {
        return Ok(half_table(graph, id, interleaved));
    }
    let operands = graph.operands(value.node);
    if let (Op::Embedding { tables: 1 }, &[ids, table]) = (graph.op(value.node), &operands[..]) {
        let op = graph.op(value.node).clone();
        let half = graph
            .as_const(table)
            .and_then(|id| half_table(graph, id, interleaved));
        let rows = |half| add(graph, op, &[ids, half], origin);
        return Ok(half.map(rows).transpose()?);
    }
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

/// Half of the columns of a table in which each angle stands twice.
fn half_table(graph: &mut Graph, id: ConstId, interleaved: bool) -> Option<Value> {
    let Const { name, ty, .. } = graph.konst(id).clone();
    let columns = ty.columns();
    let fits = ty.elem.is_float() && ty.quant.is_none() && columns.is_multiple_of(2);
    if !fits || ty.rank() == 0 || (has_own_values(graph, id) && !agrees(graph, id, interleaved)) {
        return None;
    }
    let last = ty.rank() - 1;
    let (mut count, mut step) = (ty.shape.clone(), vec![1; ty.rank()]);
    count[last] = columns / 2;
    if interleaved {
        step[last] = 2;
    }
    let half = graph.add_const(Const {
        name,
        ty: Type::new(ty.elem, count.clone()),
        source: Source::Derived(Derivation::Slice {
            of: id,
            start: vec![0; ty.rank()],
            count,
            step,
        }),
    });
    Some(graph.const_value(half))
}

/// Whether values of a constant are those of the model, not made by a rule.
fn has_own_values(graph: &Graph, id: ConstId) -> bool {
    match &graph.konst(id).source {
        Source::Bytes(_) => true,
        Source::Synthetic(_) | Source::Absent => false,
        Source::Derived(derivation) => {
            let sources = derivation.sources();
            sources.iter().all(|&id| has_own_values(graph, id))
        }
    }
}

/// Whether each value of a row stands twice.
fn agrees(graph: &Graph, id: ConstId, interleaved: bool) -> bool {
    let Ok(tensor) = konst::value(graph, id) else {
        return false;
    };
    let (Data::F32(values) | Data::F16(values)) = &tensor.data else {
        return false;
    };
    let columns = graph.konst(id).ty.columns();
    let values: Vec<f32> = values.iter().copied().collect();
    values
        .chunks_exact(columns.max(1))
        .all(|row| match interleaved {
            true => row.chunks_exact(2).all(|pair| pair[0] == pair[1]),
            false => row[..columns / 2] == row[columns / 2..],
        })
}

/// What stands twice in each row of a value.
fn doubled(
    graph: &mut Graph,
    value: Value,
    interleaved: bool,
    origin: OriginId,
) -> Result<Option<Value>, Diagnostics> {
    if let Op::Transpose { perm } = graph.op(value.node).clone()
        && !interleaved
        && let (Some(x), Some(&axis)) = (graph.operand(value.node, 0), perm.last())
        && let Some(once) = joined_along(graph, x, axis)
    {
        return Ok(Some(add(graph, Op::Transpose { perm }, &[once], origin)?));
    }
    let once = match interleaved {
        true => repeated(graph, value),
        false => joined_twice(graph, value),
    };
    let Some(once) = once else {
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

/// What stands twice along an axis.
fn joined_along(graph: &Graph, value: Value, along: usize) -> Option<Value> {
    match (graph.op(value.node), &graph.operands(value.node)[..]) {
        (Op::Concat { axis }, &[first, second]) if *axis == along && first == second => Some(first),
        _ => None,
    }
}

/// What stands twice in each row of a value, whatever axes of length 1 are behind.
fn joined_twice(graph: &Graph, value: Value) -> Option<Value> {
    let mut twice = value;
    while let Op::Reshape { .. } = graph.op(twice.node) {
        twice = graph.operand(twice.node, 0)?;
    }
    let shape = &graph.ty(twice).shape;
    let last = shape.iter().rposition(|&n| n != 1)?;
    let rows = shape[last] == graph.ty(value).columns();
    joined_along(graph, twice, last).filter(|_| rows)
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
