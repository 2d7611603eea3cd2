//! The pieces of a rotation.

use packwright_ir::op::{Binary, Unary};
use packwright_ir::{Graph, NodeId, Op, Value};

use super::{joined, only_reader, without_unit};
use crate::graph::matching::{binary, either, unary, with_scalar};

/// A rotation in pieces.
pub(super) struct Found {
    /// What is rotated, with four axes, width last.
    pub x: Value,
    pub cos: Value,
    pub sin: Value,
    /// Whether each angle stands twice in a row of `cos` and `sin`.
    pub doubled: bool,
    /// Whether pairs are neighbours.
    pub interleaved: bool,
    /// What the rotation makes.
    pub result: Value,
}

/// Which of the elements of each pair a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    second: bool,
    interleaved: bool,
}

/// The rotation that ends at a node, with the elements that do not turn where these are joined to it.
pub(super) fn find(graph: &Graph, node: NodeId) -> Option<Found> {
    let found = whole(graph, node).or_else(|| apart(graph, node.into()))?;
    Some(partial(graph, &found).unwrap_or(found))
}

/// A rotation of the first elements of heads, whose others are put behind them again.
fn partial(graph: &Graph, found: &Found) -> Option<Found> {
    let (x, 0, turned) = cut(graph, found.x)? else {
        return None;
    };
    let join = only_reader(graph, found.result)?;
    let [first, rest] = joined(graph, join.into())?;
    let (y, start, length) = cut(graph, rest)?;
    let fits = first == found.result && y == x && start == turned;
    (fits && start + length == graph.ty(x).columns()).then(|| Found {
        x,
        result: join.into(),
        ..*found
    })
}

/// What a value is a range of along the last axis: the whole, first element and length.
fn cut(graph: &Graph, value: Value) -> Option<(Value, usize, usize)> {
    let (x, first, length, step) = columns(graph, value)?;
    (step == 1).then_some((x, first, length))
}

/// What a value takes some elements of along the last axis: the whole, first element, count and step.
fn columns(graph: &Graph, value: Value) -> Option<(Value, usize, usize, isize)> {
    let Op::Slice { start, count, step } = graph.op(value.node) else {
        return None;
    };
    let x = graph.operand(value.node, 0)?;
    let (_, outer) = graph.ty(x).shape.split_last()?;
    let outer_steps = step.split_last()?.1;
    let whole_rows = count[..outer.len()] == *outer && outer_steps.iter().all(|&step| step == 1);
    whole_rows.then_some((x, *start.last()?, *count.last()?, *step.last()?))
}

/// `x·cos + turned(x)·sin`.
fn whole(graph: &Graph, node: NodeId) -> Option<Found> {
    for (straight, turned) in either(graph, node.into(), Binary::Add) {
        for (quarter_turn, sin) in either(graph, turned, Binary::Mul) {
            let Some((x, interleaved)) = quarter_turned(graph, quarter_turn) else {
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
                    interleaved,
                    result: node.into(),
                });
            }
        }
    }
    None
}

/// `x` where a value joins `−x₂` and `x₁`, and whether these are neighbours.
fn quarter_turned(graph: &Graph, value: Value) -> Option<(Value, bool)> {
    let ([first, second], interleaved) = pairs(graph, value)?;
    let negated = unary(graph, first, Unary::Neg).or_else(|| {
        with_scalar(graph, first, Binary::Mul)
            .filter(|&(_, factor)| factor == -1.0)
            .map(|(x, _)| x)
    })?;
    let (x, upper) = part(graph, negated)?;
    let (y, lower) = part(graph, second)?;
    let alike = upper.interleaved == interleaved && lower.interleaved == interleaved;
    (x == y && upper.second && !lower.second && alike).then_some((x, interleaved))
}

/// `(x₁·cos − x₂·sin, x₂·cos + x₁·sin)`, joined.
fn apart(graph: &Graph, result: Value) -> Option<Found> {
    let ([first, second], interleaved) = pairs(graph, result)?;
    let (plus, minus) = binary(graph, first, Binary::Sub)?;
    for (x1, cos) in either(graph, plus, Binary::Mul) {
        for (x2, sin) in either(graph, minus, Binary::Mul) {
            let (Some((x, lower)), Some((y, upper))) = (part(graph, x1), part(graph, x2)) else {
                continue;
            };
            let is_product = |value: Value, a: Value, b: Value| {
                either(graph, value, Binary::Mul).contains(&(a, b))
            };
            let fits = either(graph, second, Binary::Add)
                .into_iter()
                .any(|(a, b)| is_product(a, x2, cos) && is_product(b, x1, sin));
            let alike = lower.interleaved == interleaved && upper.interleaved == interleaved;
            if x == y && !lower.second && upper.second && alike && fits {
                return Some(Found {
                    x,
                    cos,
                    sin,
                    doubled: false,
                    interleaved,
                    result,
                });
            }
        }
    }
    None
}

/// Both elements of all pairs, and whether a value has them as neighbours: halves are joined along the
/// last axis, neighbours along an axis of their own that is then taken away.
fn pairs(graph: &Graph, value: Value) -> Option<([Value; 2], bool)> {
    if let Some([first, second]) = joined(graph, value)
        && graph.ty(first).columns() > 1
    {
        return Some(([first, second], false));
    }
    let Op::Reshape { shape } = graph.op(value.node) else {
        return None;
    };
    let join = graph.operand(value.node, 0)?;
    let parts = joined(graph, join)?;
    let (width, rows) = shape.split_last()?;
    let apart: Vec<usize> = rows.iter().copied().chain([width / 2, 2]).collect();
    (graph.ty(join).shape == apart).then(|| (parts.map(|part| without_unit(graph, part)), true))
}

/// What a value is one element of each pair of, and which.
fn part(graph: &Graph, value: Value) -> Option<(Value, Part)> {
    let value = without_unit(graph, value);
    let (x, first, length, step) = columns(graph, value)?;
    let width = graph.ty(x).columns();
    let half = 2 * length == width;
    if half && step == 1 && (first == 0 || first == length) && length > 1 {
        let part = Part {
            second: first == length,
            interleaved: false,
        };
        return Some((x, part));
    }
    if half && step == 2 && first < 2 {
        let part = Part {
            second: first == 1,
            interleaved: true,
        };
        return Some((x, part));
    }
    // Pairs on an axis of their own.
    if let Op::Reshape { shape } = graph.op(x.node)
        && let [outer @ .., pairs, 2] = &shape[..]
        && length == 1
    {
        let whole = graph.operand(x.node, 0)?;
        let from = &graph.ty(whole).shape;
        let fits = from.split_last() == Some((&(2 * pairs), outer));
        let part = Part {
            second: first == 1,
            interleaved: true,
        };
        return fits.then_some((whole, part));
    }
    None
}
