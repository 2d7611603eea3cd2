//! The order of rows in chunked attention: which rows stand where, and the way back.

use packwright_ir::op::{Binary, ChunkAttention, Reduce, Unary};
use packwright_ir::{Graph, NodeId, Op, Value};

use super::Sizes;
use crate::graph::fuse_hash_sort::values;
use crate::graph::matching::{binary, either, scalar, unary};
use crate::graph::trace::{Unit, converted, head_rows, trace};

/// Sorted rows.
#[derive(Clone, Debug)]
pub(super) struct Order {
    /// `[b, heads, rounds·s]`: the place of each row in order.
    pub places: Value,
    pub rounds: usize,
}

/// The way from results in their own order up to the product of probabilities and values.
pub(super) struct Way {
    pub product: NodeId,
    pub order: Option<Order>,
    /// The logarithms of sums that weigh the rounds.
    pub sum: Option<Value>,
}

/// Goes up from `[b, s, heads, width]`.
pub(super) fn way_back(
    graph: &Graph,
    split: Value,
    [batch, rows, heads]: [usize; 3],
) -> Option<Way> {
    let found = trace(graph, split, Unit::Rows)?;
    let side_by_side = (0..batch * rows * heads).all(|unit| {
        let (b, row, head) = (unit / heads / rows, unit / heads % rows, unit % heads);
        found.index.get(unit) == Some(&((b * heads + head) * rows + row))
    });
    if !side_by_side || !found.only_moved() {
        return None;
    }
    let source = found.source;
    match graph.op(source.node) {
        Op::Matmul(_) => Some(Way {
            product: source.node,
            order: None,
            sum: None,
        }),
        Op::GatherElements { .. } => {
            let (product, order, _) = unsorted(graph, source, rows)?;
            (order.rounds == 1).then_some(Way {
                product,
                order: Some(order),
                sum: None,
            })
        }
        Op::Reduce {
            kind: Reduce::Sum,
            axes,
            ..
        } if axes[..] == [2] => joined(graph, graph.operand(source.node, 0)?, rows),
        _ => None,
    }
}

/// Rows in their own order again: the product that they come from, the order, and the index.
fn unsorted(graph: &Graph, gathered: Value, rows: usize) -> Option<(NodeId, Order, Value)> {
    let (table, undo) = row_gather(graph, gathered)?;
    let sorted = inverted(graph, undo)?;
    let found = trace(graph, table, Unit::Rows)?;
    let straight = found.in_order(graph, Unit::Rows) && found.only_moved();
    let length = *graph.ty(sorted).shape.last()?;
    if !straight || !length.is_multiple_of(rows) {
        return None;
    }
    let order = Order {
        places: places(graph, sorted, rows)?,
        rounds: length / rows,
    };
    Some((found.source.node, order, undo))
}

/// Results of several rounds, `[b, heads, rounds, s, width]`, times their weights.
fn joined(graph: &Graph, weighted: Value, rows: usize) -> Option<Way> {
    either(graph, weighted, Binary::Mul)
        .into_iter()
        .find_map(|(results, weights)| {
            let found = trace(graph, results, Unit::Rows)?;
            if !found.in_order(graph, Unit::Rows) || !found.only_moved() {
                return None;
            }
            let (product, order, undo) = unsorted(graph, found.source, rows)?;
            let sums = round_sums(graph, weights)?;
            let found = trace(graph, sums, Unit::Elements)?;
            let Op::GatherElements { axis: 2 } = graph.op(found.source.node) else {
                return None;
            };
            let operands = graph.operands(found.source.node);
            let [sums, index] = operands[..] else {
                return None;
            };
            let straight =
                found.in_order(graph, Unit::Elements) && source_of(graph, index)? == undo;
            straight.then_some(Way {
                product,
                order: Some(order),
                sum: Some(source_of(graph, sums)?),
            })
        })
}

/// The logarithms whose softmax over rounds the weights are.
fn round_sums(graph: &Graph, weights: Value) -> Option<Value> {
    if let Op::Softmax { axis: 2 } = graph.op(weights.node) {
        return graph.operand(weights.node, 0);
    }
    let (x, sum) = binary(graph, unary(graph, weights, Unary::Exp)?, Binary::Sub)?;
    match graph.op(sum.node) {
        Op::Reduce {
            kind: Reduce::LogSumExp,
            axes,
            keep: true,
        } if axes[..] == [2] && graph.operand(sum.node, 0) == Some(x) => Some(x),
        _ => None,
    }
}

/// Table and index, `[b, heads, rows]`, of a gather that takes whole rows of `[b, heads, rows, width]`.
fn row_gather(graph: &Graph, gathered: Value) -> Option<(Value, Value)> {
    let Op::GatherElements { axis: 2 } = graph.op(gathered.node) else {
        return None;
    };
    let operands = graph.operands(gathered.node);
    let [table, index] = operands[..] else {
        return None;
    };
    let Op::Expand { .. } = graph.op(index.node) else {
        return None;
    };
    let narrow = graph.operand(index.node, 0)?;
    let (from, to) = (&graph.ty(narrow).shape, &graph.ty(index).shape);
    let rows_only = from.len() == 4 && to.len() == 4 && from[..3] == to[..3] && from[3] == 1;
    rows_only.then_some((table, source_of(graph, narrow)?))
}

/// The value that a value is, in another shape.
fn source_of(graph: &Graph, value: Value) -> Option<Value> {
    let found = trace(graph, value, Unit::Elements)?;
    found
        .in_order(graph, Unit::Elements)
        .then_some(found.source)
}

/// The permutation whose inverse an index is: counting numbers scattered by it, or its own sort.
fn inverted(graph: &Graph, undo: Value) -> Option<Value> {
    let operands = graph.operands(undo.node);
    match (graph.op(undo.node), &operands[..]) {
        (&Op::ScatterElements { axis: 2 }, &[_, index, updates]) => {
            let shape = &graph.ty(index).shape;
            let length = *shape.last()?;
            let counts = values(graph, updates, shape)?
                .iter()
                .enumerate()
                .all(|(i, &x)| x == (i % length) as i64);
            (counts && graph.ty(undo).shape == *shape).then_some(index)
        }
        (
            &Op::TopK {
                axis: 2,
                count,
                largest: false,
            },
            &[index],
        ) if undo.slot == 1 => (graph.ty(index).shape.last() == Some(&count)).then_some(index),
        _ => None,
    }
}

/// The places that a sorted index names, without the round.
fn places(graph: &Graph, sorted: Value, rows: usize) -> Option<Value> {
    let shape = graph.ty(sorted).shape.clone();
    let length = *shape.last()?;
    if length == rows {
        return Some(sorted);
    }
    let starts = either(graph, sorted, Binary::Add)
        .into_iter()
        .find(|&(_, starts)| {
            values(graph, starts, &shape).is_some_and(|starts| {
                let mut starts = starts.iter().enumerate();
                starts.all(|(i, &x)| x == (i % length / rows * rows) as i64)
            })
        });
    if let Some((places, _)) = starts {
        return Some(places);
    }
    graph
        .users(sorted)
        .into_iter()
        .map(|(user, _)| Value::from(user))
        .find(|&user| {
            binary(graph, user, Binary::Mod)
                .is_some_and(|(x, n)| x == sorted && scalar(graph, n) == Some(rows as f64))
        })
}

/// Rows of heads, with the places in order that they stand at.
pub(super) struct Rows {
    /// `[b, s, heads·width]`.
    pub rows: Value,
    /// For each row of the value, `(batch · heads + head) · ordered + place in order`.
    pub slots: Vec<usize>,
    pub scale: f64,
    pub norm: Option<f32>,
}

/// Follows a factor up to the rows that it was cut from.
pub(super) fn rows(
    graph: &Graph,
    value: Value,
    sizes: &Sizes,
    order: Option<&Order>,
) -> Option<Rows> {
    let Some(order) = order else {
        let found = head_rows(graph, value, sizes.heads)?;
        let slots = found.index.iter().map(|&at| {
            let (row, head) = (at / sizes.heads, at % sizes.heads);
            (row / sizes.rows * sizes.heads + head) * sizes.rows + row % sizes.rows
        });
        return Some(Rows {
            rows: found.rows,
            slots: slots.collect(),
            scale: found.scale,
            norm: found.norm,
        });
    };
    let sorted = trace(graph, value, Unit::Rows)?;
    let (table, index) = row_gather(graph, sorted.source)?;
    if !same(graph, index, order.places) {
        return None;
    }
    let found = head_rows(graph, table, sizes.heads)?;
    let length = graph.ty(table).shape[2];
    let own = length.is_multiple_of(sizes.rows)
        && found.index.iter().enumerate().all(|(unit, &at)| {
            let (head, row) = (unit / length, unit % length % sizes.rows);
            let (b, head) = (head / sizes.heads, head % sizes.heads);
            at == (b * sizes.rows + row) * sizes.heads + head
        });
    // A factor above the normalisation would have no effect.
    let one_norm = found.norm.is_none() && (sorted.norm.is_none() || found.scale == 1.0);
    (own && one_norm).then_some(Rows {
        rows: found.rows,
        slots: sorted.index,
        scale: sorted.scale * found.scale,
        norm: sorted.norm,
    })
}

/// Whether two indices are the same, whatever integers they are kept in.
pub(super) fn same(graph: &Graph, a: Value, b: Value) -> bool {
    converted(graph, a) == converted(graph, b)
}

/// How many chunks before and behind its own a chunk looks at.
pub(super) fn looks(sizes: &Sizes, keys: &[usize]) -> Option<(usize, usize)> {
    let span = sizes.window / sizes.chunk;
    let first = keys.get(..sizes.window)?;
    let before = (0..span).find(|step| first[step * sizes.chunk] == 0)?;
    (span * sizes.chunk == sizes.window && span <= sizes.chunks())
        .then_some((before, span - 1 - before))
}

/// Where queries and keys stand in order when attention looks around as its attributes say.
pub(super) struct Slots {
    /// Queries count up to here.
    pub queries: usize,
    /// `[batch, heads, chunks, window]`.
    pub keys: Vec<usize>,
}

impl Slots {
    pub(super) fn of(sizes: &Sizes, attrs: &ChunkAttention) -> Self {
        let heads = sizes.batch * sizes.heads;
        let windows: Vec<usize> = (0..sizes.chunks())
            .flat_map(|chunk| attrs.seen_by(chunk, sizes.rows))
            .flatten()
            .collect();
        Self {
            queries: heads * sizes.ordered,
            keys: (0..heads)
                .flat_map(|head| windows.iter().map(move |&at| head * sizes.ordered + at))
                .collect(),
        }
    }
}
