//! What replaces scores in chunked attention: rows behind, padding, a row itself.

use packwright_ir::infer::broadcast;
use packwright_ir::op::{Binary, Unary};
use packwright_ir::{Elem, Graph, Op, Value};

use super::order::{Order, Slots, same};
use super::{Scores, Sizes};
use crate::graph::fuse_hash_sort::values;
use crate::graph::matching::{binary, scalar, unary};
use crate::graph::trace::{Unit, trace};

/// All masks of an attention.
#[derive(Default)]
pub(super) struct Masks {
    pub causal: bool,
    pub own: Option<f32>,
    pub hidden: Option<f32>,
    /// `[b, s]`: rows that are seen.
    pub seen: Option<Value>,
}

/// The scores that a node replaces some of: the condition, whether they are replaced where it holds,
/// and the number.
pub(super) fn fill(graph: &Graph, x: Value) -> Option<(Value, (Value, bool, f64))> {
    let Op::Where = graph.op(x.node) else {
        return None;
    };
    let operands = graph.operands(x.node);
    let [condition, yes, no] = operands[..] else {
        return None;
    };
    match (scalar(graph, yes), scalar(graph, no)) {
        (Some(number), None) => Some((no, (condition, true, number))),
        (None, Some(number)) => Some((yes, (condition, false, number))),
        _ => None,
    }
}

/// What a condition keeps scores for.
enum Kept {
    /// Keys at the place of the query, or before it.
    Causal,
    /// Keys at other places than the query's.
    Others,
    /// Keys of rows that are not zero.
    Seen(Value),
}

/// Understands all replaced scores.
pub(super) fn masks(
    graph: &Graph,
    scores: &Scores,
    sizes: &Sizes,
    slots: &Slots,
    order: Option<&Order>,
) -> Option<Masks> {
    let mut masks = Masks::default();
    for &(condition, replaced, number) in &scores.fills {
        let mut parts = Vec::new();
        conjuncts(graph, condition, !replaced, &mut parts);
        let kept: Vec<Kept> = parts
            .into_iter()
            .map(|(part, holds)| kept(graph, part, holds, (sizes, slots, order)))
            .collect::<Option<_>>()?;
        if let [Kept::Others] = kept[..] {
            // A row's own score is replaced behind all others.
            if masks.own.is_some() || masks.hidden.is_some() {
                return None;
            }
            masks.own = Some(number as f32);
            continue;
        }
        if masks.hidden.is_some_and(|hidden| hidden != number as f32) {
            return None;
        }
        masks.hidden = Some(number as f32);
        for kept in kept {
            match kept {
                Kept::Causal => masks.causal = true,
                Kept::Seen(rows) if masks.seen.is_none_or(|seen| seen == rows) => {
                    masks.seen = Some(rows);
                }
                Kept::Seen(_) | Kept::Others => return None,
            }
        }
    }
    Some(masks)
}

/// The conditions that all have to hold (or not to hold) where a condition does.
fn conjuncts(graph: &Graph, condition: Value, holds: bool, parts: &mut Vec<(Value, bool)>) {
    if let Some(x) = unary(graph, condition, Unary::Not) {
        return conjuncts(graph, x, !holds, parts);
    }
    let both = if holds { Binary::And } else { Binary::Or };
    match binary(graph, condition, both) {
        Some((a, b)) => {
            conjuncts(graph, a, holds, parts);
            conjuncts(graph, b, holds, parts);
        }
        None => parts.push((condition, holds)),
    }
}

type Scene<'a> = (&'a Sizes, &'a Slots, Option<&'a Order>);

fn kept(graph: &Graph, part: Value, holds: bool, scene: Scene<'_>) -> Option<Kept> {
    if graph.as_const(part).is_some() {
        return constant(graph, part, holds, scene).then_some(Kept::Causal);
    }
    if let Op::Binary(f) = *graph.op(part.node)
        && let Some((a, b)) = binary(graph, part, f)
    {
        let causal = |query, key| are_places(graph, query, key, scene).then_some(Kept::Causal);
        match (f, holds) {
            (Binary::GreaterOrEqual, true) | (Binary::Less, false) => return causal(a, b),
            (Binary::LessOrEqual, true) | (Binary::Greater, false) => return causal(b, a),
            (Binary::Equal, false) => {
                let places = are_places(graph, a, b, scene) || are_places(graph, b, a, scene);
                return places.then_some(Kept::Others);
            }
            _ => {}
        }
    }
    if !holds {
        return None;
    }
    seen(graph, part, scene).map(Kept::Seen)
}

/// Whether a constant condition is that of causal attention in place.
fn constant(graph: &Graph, part: Value, holds: bool, (sizes, slots, order): Scene<'_>) -> bool {
    let shape = [
        sizes.batch,
        sizes.heads,
        sizes.chunks(),
        sizes.chunk,
        sizes.window,
    ];
    let Some(values) = values(graph, part, &shape).filter(|_| order.is_none()) else {
        return false;
    };
    values.iter().enumerate().all(|(i, &value)| {
        let (query, j) = (i / sizes.window, i % sizes.window);
        let key = slots.keys[query / sizes.chunk * sizes.window + j];
        ((value != 0) == holds) == (query >= key)
    })
}

/// Whether two values are the places of queries and of keys, as `[…, chunk, 1]` and `[…, 1, window]`.
fn are_places(graph: &Graph, query: Value, key: Value, (sizes, slots, order): Scene<'_>) -> bool {
    let Some(order) = order else { return false };
    let is = |value: Value, last: [usize; 2], slots: &mut dyn Iterator<Item = usize>| {
        let shape = [sizes.batch, sizes.heads, sizes.chunks(), last[0], last[1]];
        graph.ty(value).shape == shape
            && trace(graph, value, Unit::Elements).is_some_and(|found| {
                same(graph, found.source, order.places) && found.index.into_iter().eq(slots)
            })
    };
    is(query, [sizes.chunk, 1], &mut (0..slots.queries))
        && is(key, [1, sizes.window], &mut slots.keys.iter().copied())
}

/// The rows `[b, s]` that a condition on keys, `[…, 1, window]`, comes from.
fn seen(graph: &Graph, part: Value, (sizes, slots, order): Scene<'_>) -> Option<Value> {
    let full = [sizes.batch, sizes.heads, sizes.chunks(), 1, sizes.window];
    let shape = &graph.ty(part).shape;
    if broadcast(shape, &full).as_deref() != Some(&full[..]) {
        return None;
    }
    let found = trace(graph, part, Unit::Elements)?;
    let rows = match (order, graph.op(found.source.node)) {
        (Some(order), &Op::GatherElements { axis }) => {
            let operands = graph.operands(found.source.node);
            let [table, index] = operands[..] else {
                return None;
            };
            let keys = trace(graph, index, Unit::Elements)?;
            let right = found.in_order(graph, Unit::Elements)
                && *shape == full
                && axis + 1 == graph.ty(table).rank()
                && same(graph, keys.source, order.places)
                && keys.index == slots.keys;
            let table = trace(graph, table, Unit::Elements).filter(|_| right)?;
            let per_batch = table.index.len() / sizes.batch;
            let whole = table
                .index
                .iter()
                .enumerate()
                .all(|(i, &at)| at == i / per_batch * sizes.rows + i % sizes.rows);
            whole.then_some(table.source)?
        }
        (None, _) => {
            let narrow: Vec<usize> = [shape[0], shape[1]].to_vec();
            let windows = sizes.chunks() * sizes.window;
            let whole = found.index.iter().enumerate().all(|(i, &at)| {
                let b = if narrow[0] == 1 {
                    0
                } else {
                    i / windows / narrow[1]
                };
                at == b * sizes.rows + slots.keys[i % windows]
            });
            whole.then_some(found.source)?
        }
        (Some(_), _) => return None,
    };
    let ty = graph.ty(rows);
    let flags = ty.elem == Elem::Bool && ty.shape == [sizes.batch, sizes.rows];
    flags.then_some(rows)
}
