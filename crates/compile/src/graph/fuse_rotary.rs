//! `fuse-rotary`: rotary position embedding from its pieces.
//!
//! Pairs are the halves of each head (NeoX, Llama) or neighbours (GPT-J), and all of a head turns or its
//! first elements only. Two spellings of each are known: `x·cos + turned(x)·sin`, where the angles stand
//! twice in a row, and both elements of the pairs computed apart and joined. In the first the angles are
//! traced up to where they were doubled; what cannot be shown to stand twice is no rotation and stays.
//!
//! Read in this order: [`pieces`], [`angles`].

mod angles;
mod pieces;

use packwright_ir::diag::Diagnostics;
use packwright_ir::order::topological;
use packwright_ir::{Graph, NodeId, Op, OriginId, Value};

use self::pieces::{Found, find};
use super::matching::add;

/// Recognises rotary embeddings.
///
/// # Errors
/// Shape rules that a result breaks.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    for node in topological(graph) {
        let Some(found) = find(graph, node) else {
            continue;
        };
        if let Some(rotated) = rewrite(graph, &found)? {
            graph.replace_uses(found.result, rotated);
            count += 1;
        }
    }
    Ok(count)
}

/// Which axis of `[b, ·, ·, width]` holds the rows.
fn row_axis(x: &[usize], angles: &[usize]) -> Option<usize> {
    let &[batch, second, third, _] = x else {
        return None;
    };
    let mut shape = vec![1; 4usize.checked_sub(angles.len())?];
    shape.extend(angles);
    let &[angle_batch, along_second, along_third, _] = &shape[..] else {
        return None;
    };
    if angle_batch != 1 && angle_batch != batch {
        return None;
    }
    if along_second == 1 && along_third == third {
        Some(2)
    } else if along_third == 1 && along_second == second {
        Some(1)
    } else {
        None
    }
}

fn rewrite(graph: &mut Graph, found: &Found) -> Result<Option<Value>, Diagnostics> {
    let origin = graph.origin_of(found.result.node);
    let shape = graph.ty(found.x).shape.clone();
    let (cos, sin) = (graph.ty(found.cos), graph.ty(found.sin));
    let Some(rows) = row_axis(&shape, &cos.shape).filter(|_| cos.shape == sin.shape) else {
        return Ok(None);
    };
    let [batch, .., width] = shape[..] else {
        return Ok(None);
    };
    let (length, heads) = (shape[rows], shape[3 - rows]);
    let each = cos.elements() / cos.columns().max(1);
    if graph.ty(found.result).shape != shape || each % length.max(1) != 0 {
        return Ok(None);
    }
    let (mut cos, mut sin) = (found.cos, found.sin);
    if found.doubled {
        for angles in [&mut cos, &mut sin] {
            let Some(once) = angles::single(graph, *angles, found.interleaved, origin)? else {
                return Ok(None);
            };
            *angles = once;
        }
    }
    if 2 * graph.ty(cos).columns() > width {
        return Ok(None);
    }
    // Angles of each batch element make the batch a part of the rows.
    let (batch, length) = match each / length.max(1) {
        1 => (batch, length),
        _ => (1, batch * length),
    };
    let flat = vec![length, graph.ty(cos).columns()];
    let cos = reshape(graph, cos, flat.clone(), origin)?;
    let sin = reshape(graph, sin, flat, origin)?;
    let exchange = Op::Transpose {
        perm: vec![0, 2, 1, 3],
    };
    let mut x = found.x;
    if rows == 2 {
        x = add(graph, exchange.clone(), &[x], origin)?;
    }
    let side_by_side = graph.ty(x).shape.clone();
    let x = reshape(graph, x, vec![batch, length, heads * width], origin)?;
    let rotary = Op::Rotary {
        heads,
        interleaved: found.interleaved,
    };
    let rotated = add(graph, rotary, &[x, cos, sin], origin)?;
    let mut rotated = reshape(graph, rotated, side_by_side, origin)?;
    if rows == 2 {
        rotated = add(graph, exchange, &[rotated], origin)?;
    }
    Ok(Some(rotated))
}

fn reshape(
    graph: &mut Graph,
    value: Value,
    shape: Vec<usize>,
    origin: OriginId,
) -> Result<Value, Diagnostics> {
    if graph.ty(value).shape == shape {
        return Ok(value);
    }
    Ok(add(graph, Op::Reshape { shape }, &[value], origin)?)
}

/// The two parts of a join along the last axis.
fn joined(graph: &Graph, value: Value) -> Option<[Value; 2]> {
    match graph.op(value.node) {
        Op::Concat { axis } if axis + 1 == graph.ty(value).rank() => {
            graph.operands(value.node).try_into().ok()
        }
        _ => None,
    }
}

/// A value without a reshape that gave it a last axis of length 1, or took that away.
fn without_unit(graph: &Graph, value: Value) -> Value {
    let Op::Reshape { shape } = graph.op(value.node) else {
        return value;
    };
    let Some(x) = graph.operand(value.node, 0) else {
        return value;
    };
    let trimmed = |shape: &[usize]| match shape.split_last() {
        Some((1, rest)) => rest.to_vec(),
        _ => shape.to_vec(),
    };
    let from = &graph.ty(x).shape;
    match trimmed(shape) == trimmed(from) {
        true => x,
        false => value,
    }
}

/// Whether a node reads the value and nobody else does.
fn only_reader(graph: &Graph, value: Value) -> Option<NodeId> {
    super::matching::only_user(graph, value).map(|(user, _)| user)
}
