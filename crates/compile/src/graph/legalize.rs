//! `legalize`: what machines have no command for becomes what they have.
//!
//! A product over a single element becomes a multiplication; a gather with evenly spaced constant
//! indices becomes a slice.

use packwright_ir::diag::Diagnostics;
use packwright_ir::eval::konst;
use packwright_ir::op::Binary;
use packwright_ir::order::topological;
use packwright_ir::tensor::Data;
use packwright_ir::{ConstId, Graph, NodeId, Op, Value, infer};

/// Longest list of indices that is looked at.
const LONGEST_LIST: usize = 1 << 16;

/// Rewrites; returns how many nodes changed.
///
/// # Errors
/// Shape rules that a result breaks.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    for node in topological(graph) {
        let new = match graph.op(node).clone() {
            Op::Matmul(_) => outer_product(graph, node)?,
            Op::Gather { axis } => even_gather(graph, node, axis)?,
            _ => None,
        };
        if let Some(new) = new {
            graph.replace_uses(node.into(), new);
            graph.remove(node);
            count += 1;
        }
    }
    Ok(count)
}

/// `[…, m, 1] · [1, n]`, without an epilogue.
fn outer_product(graph: &mut Graph, node: NodeId) -> Result<Option<Value>, Diagnostics> {
    let Op::Matmul(attrs) = graph.op(node) else {
        return Ok(None);
    };
    let plain = !attrs.bias && !attrs.residual && attrs.activation.is_none() && attrs.alpha == 1.0;
    let transposed = attrs.transpose_b;
    let operands = graph.operands(node);
    let [a, b] = operands[..] else {
        return Ok(None);
    };
    if !plain || graph.ty(a).columns() != 1 || !graph.ty(a).elem.is_float() {
        return Ok(None);
    }
    let origin = graph.origin_of(node);
    let mut row = b;
    if transposed {
        let mut shape = graph.ty(b).shape.clone();
        let rank = shape.len();
        shape.swap(rank - 1, rank - 2);
        row = infer::add(graph, Op::Reshape { shape }, &[b], origin)?.into();
    }
    Ok(Some(
        infer::add(graph, Op::Binary(Binary::Mul), &[a, row], origin)?.into(),
    ))
}

/// A gather whose constant indices are evenly spaced, on a value that is computed.
fn even_gather(graph: &mut Graph, node: NodeId, axis: usize) -> Result<Option<Value>, Diagnostics> {
    let operands = graph.operands(node);
    let [x, indices] = operands[..] else {
        return Ok(None);
    };
    let ty = graph.ty(x).clone();
    let Some(list) = graph.as_const(indices) else {
        return Ok(None);
    };
    if graph.as_const(x).is_some() {
        return Ok(None);
    }
    let Some((first, step, length)) = progression(graph, list, ty.shape[axis]) else {
        return Ok(None);
    };
    let (mut start, mut count) = (vec![0; ty.rank()], ty.shape.clone());
    let mut steps = vec![1; ty.rank()];
    (start[axis], count[axis], steps[axis]) = (first, length, step);
    let origin = graph.origin_of(node);
    let slice = Op::Slice {
        start,
        count,
        step: steps,
    };
    let slice = infer::add(graph, slice, &[x], origin)?;
    let shape = graph.types(node)[0].shape.clone();
    Ok(Some(
        infer::add(graph, Op::Reshape { shape }, &[slice.into()], origin)?.into(),
    ))
}

/// First index, step and count of a constant list of indices into an axis.
fn progression(graph: &Graph, list: ConstId, axis: usize) -> Option<(usize, isize, usize)> {
    if graph.konst(list).ty.elements() > LONGEST_LIST {
        return None;
    }
    let list: Vec<i64> = match konst::value(graph, list).ok()?.data {
        Data::I64(a) => a.iter().copied().collect(),
        Data::I32(a) => a.iter().map(|&i| i64::from(i)).collect(),
        _ => return None,
    };
    let places: Vec<usize> = list
        .iter()
        .map(|&i| usize::try_from(if i < 0 { i + axis as i64 } else { i }).ok())
        .collect::<Option<_>>()?;
    let first = *places.first()?;
    let step = places
        .get(1)
        .map_or(1, |&second| second as isize - first as isize);
    let even = places
        .windows(2)
        .all(|w| w[1] as isize - w[0] as isize == step);
    let inside = places.iter().all(|&i| i < axis);
    (even && inside && step != 0).then_some((first, step, places.len()))
}
