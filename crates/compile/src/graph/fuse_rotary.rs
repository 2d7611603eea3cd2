//! `fuse-rotary`: rotary position embedding from its pieces, in the half-split order.
//!
//! Two spellings are known: `x·cos + concat(−x₂, x₁)·sin`, where x₁ and x₂ are the halves of each head
//! and the angles stand twice in a row, and the halves computed apart and joined,
//! `concat(x₁·cos − x₂·sin, x₂·cos + x₁·sin)`. In the first the angles are traced up to where they
//! were doubled; what cannot be shown to stand twice is no rotation and stays.

use packwright_ir::diag::Diagnostics;
use packwright_ir::op::{Binary, Unary};
use packwright_ir::order::topological;
use packwright_ir::{Graph, NodeId, Op, OriginId, Value};

use super::matching::{add, binary, either, scalar, unary, with_scalar};

/// Recognises rotary embeddings.
///
/// # Errors
/// Shape rules that a result breaks.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    for node in topological(graph) {
        let Some(found) = whole(graph, node).or_else(|| apart(graph, node)) else {
            continue;
        };
        if let Some(rotated) = rewrite(graph, node, &found)? {
            graph.replace_uses(node.into(), rotated);
            count += 1;
        }
    }
    Ok(count)
}

/// A rotation in pieces.
struct Found {
    /// What is rotated, with four axes, width last.
    x: Value,
    cos: Value,
    sin: Value,
    /// Whether each angle stands twice in a row of `cos` and `sin`.
    doubled: bool,
}

/// `x·cos + concat(−x₂, x₁)·sin`.
fn whole(graph: &Graph, node: NodeId) -> Option<Found> {
    for (straight, turned) in either(graph, node.into(), Binary::Add) {
        for (half_turn, sin) in either(graph, turned, Binary::Mul) {
            let Some(x) = half_turned(graph, half_turn) else {
                continue;
            };
            let cos = either(graph, straight, Binary::Mul)
                .into_iter()
                .find(|&(y, _)| y == x)
                .map(|(_, cos)| cos);
            if let Some(cos) = cos {
                return Some(Found {
                    x,
                    cos,
                    sin,
                    doubled: true,
                });
            }
        }
    }
    None
}

/// `x` in `concat(−x₂, x₁)`.
fn half_turned(graph: &Graph, value: Value) -> Option<Value> {
    let [first, second] = joined(graph, value)?;
    let negated = unary(graph, first, Unary::Neg).or_else(|| {
        with_scalar(graph, first, Binary::Mul)
            .filter(|&(_, factor)| factor == -1.0)
            .map(|(x, _)| x)
    })?;
    let (x, upper) = half(graph, negated)?;
    let (y, lower) = half(graph, second)?;
    (x == y && upper && !lower).then_some(x)
}

/// `concat(x₁·cos − x₂·sin, x₂·cos + x₁·sin)`.
fn apart(graph: &Graph, node: NodeId) -> Option<Found> {
    let [first, second] = joined(graph, node.into())?;
    let (plus, minus) = binary(graph, first, Binary::Sub)?;
    for (x1, cos) in either(graph, plus, Binary::Mul) {
        for (x2, sin) in either(graph, minus, Binary::Mul) {
            let (Some((x, false)), Some((y, true))) = (half(graph, x1), half(graph, x2)) else {
                continue;
            };
            let is_product = |value: Value, a: Value, b: Value| {
                either(graph, value, Binary::Mul).contains(&(a, b))
            };
            let fits = either(graph, second, Binary::Add)
                .into_iter()
                .any(|(a, b)| is_product(a, x2, cos) && is_product(b, x1, sin));
            if x == y && fits {
                return Some(Found {
                    x,
                    cos,
                    sin,
                    doubled: false,
                });
            }
        }
    }
    None
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

/// What a value is half of along the last axis, and whether it is the upper half.
fn half(graph: &Graph, value: Value) -> Option<(Value, bool)> {
    let Op::Slice { start, count, step } = graph.op(value.node) else {
        return None;
    };
    let x = graph.operand(value.node, 0)?;
    let (width, outer) = graph.ty(x).shape.split_last()?;
    let (first, length) = (start.last()?, count.last()?);
    let whole_rows = count[..outer.len()] == *outer && step.iter().all(|&step| step == 1);
    (whole_rows && 2 * length == *width && (*first == 0 || first == length))
        .then_some((x, first == length))
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

fn rewrite(graph: &mut Graph, node: NodeId, found: &Found) -> Result<Option<Value>, Diagnostics> {
    let origin = graph.origin_of(node);
    let shape = graph.ty(found.x).shape.clone();
    let (cos, sin) = (graph.ty(found.cos), graph.ty(found.sin));
    let Some(rows) = row_axis(&shape, &cos.shape).filter(|_| cos.shape == sin.shape) else {
        return Ok(None);
    };
    let [batch, .., width] = shape[..] else {
        return Ok(None);
    };
    let (length, heads) = (shape[rows], shape[3 - rows]);
    let each = cos.elements() / cos.columns();
    if graph.types(node)[0].shape != shape || width % 2 != 0 || each % length.max(1) != 0 {
        return Ok(None);
    }
    let angles = [found.cos, found.sin].map(|value| match found.doubled {
        true => single(graph, value, origin),
        false => Ok(Some(value)),
    });
    let [cos, sin] = angles;
    let (Some(cos), Some(sin)) = (cos?, sin?) else {
        return Ok(None);
    };
    // Angles of each batch element make the batch a part of the rows.
    let (batch, length) = match each / length.max(1) {
        1 => (batch, length),
        _ => (1, batch * length),
    };
    let flat = vec![length, width / 2];
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
        interleaved: false,
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

/// Angles once a row instead of twice: what was computed from `concat(f, f)` is computed from `f`.
fn single(graph: &mut Graph, value: Value, origin: OriginId) -> Result<Option<Value>, Diagnostics> {
    if let Some([first, second]) = joined(graph, value) {
        return Ok((first == second).then_some(first));
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
    let (x, op) = match graph.op(value.node) {
        op @ (Op::Unary(_) | Op::Cast { .. }) => (x, op.clone()),
        Op::Reshape { shape } if shape.last() == Some(&columns) => {
            let shape = halved(shape);
            (x, Op::Reshape { shape })
        }
        Op::Expand { shape } if shape.last() == Some(&columns) => {
            let shape = halved(shape);
            (x, Op::Expand { shape })
        }
        Op::Binary(Binary::Mul) => {
            let Some((x, number)) = either(graph, value, Binary::Mul)
                .into_iter()
                .find(|&(_, number)| scalar(graph, number).is_some())
            else {
                return Ok(None);
            };
            let Some(x) = single(graph, x, origin)? else {
                return Ok(None);
            };
            return Ok(Some(add(
                graph,
                Op::Binary(Binary::Mul),
                &[x, number],
                origin,
            )?));
        }
        _ => return Ok(None),
    };
    match single(graph, x, origin)? {
        Some(x) => Ok(Some(add(graph, op, &[x], origin)?)),
        None => Ok(None),
    }
}
