//! `fuse-replaced-rows`: rows of an attention's result that another value takes the place of.
//!
//! What it does: a join of rows of an attention with rows of another value, each row where it was, becomes an
//! attention that takes the other rows as an operand.
//!
//! Why: rows that see everything are computed apart and written over those of a window. As an operand they
//! are put in place while the attention makes its rows; a join would move all of them.
//!
//! Requires: nobody else reads the attention. Leaves joins in which rows move.

use indexmap::IndexSet;
use packwright_ir::diag::Diagnostics;
use packwright_ir::order::topological;
use packwright_ir::{Graph, NodeId, Op, Value};

use super::fuse_window_attention::trace::{Mark, Tracer, sources};
use super::matching::add;

/// Takes replaced rows into attentions.
///
/// # Errors
/// Shape rules that a result breaks.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    for node in topological(graph) {
        let is_join = matches!(graph.op(node), Op::Concat { .. });
        if is_join && let Some(found) = find(graph, node) {
            rewrite(graph, node, &found)?;
            count += 1;
        }
    }
    Ok(count)
}

struct Found {
    attention: NodeId,
    /// The rows that are replaced, and the value whose rows take their places.
    replaced: Vec<usize>,
    rows: Value,
}

fn find(graph: &Graph, join: NodeId) -> Option<Found> {
    let attention = attention_before(graph, join)?;
    let ty = graph.ty(attention.into());
    let (rows, columns) = (ty.rows(), ty.columns());
    if graph.types(join)[0].elements() != ty.elements() || ty.shape.first() != Some(&1) {
        return None;
    }
    let mut tracer = Tracer::new(graph);
    let trace = tracer.trace(join.into())?;
    let own = tracer.leaves.get_index_of(&Value::from(attention))?;
    let mut other = None;
    let mut replaced = Vec::new();
    for row in 0..rows {
        let first = row * columns;
        let Mark::Element { leaf, index } = trace.at(first) else {
            return None;
        };
        let whole = (0..columns).all(|column| {
            let index = index + column;
            trace.at(first + column) == Mark::Element { leaf, index }
        });
        let fits = if leaf == own {
            index == first
        } else {
            let next = replaced.len() * columns;
            replaced.push(row);
            *other.get_or_insert(leaf) == leaf && index == next
        };
        if !whole || !fits {
            return None;
        }
    }
    let value = tracer.leaves[other?];
    let complete = graph.ty(value).elements() == replaced.len() * columns;
    complete.then_some(Found {
        attention,
        replaced,
        rows: value,
    })
}

/// The attention that a join takes rows of through moves, where it is the only reader and other operands of
/// the join come from elsewhere.
fn attention_before(graph: &Graph, join: NodeId) -> Option<NodeId> {
    let mut seen: IndexSet<Value> = sources(graph, join)?.into_iter().collect();
    let mut next = 0;
    while let Some(&value) = seen.get_index(next) {
        next += 1;
        if let Op::Attention(attrs) = graph.op(value.node) {
            let free = attrs.replaced.is_empty() && !graph.is_output(value);
            if free && attrs.window.is_some() && only_reader(graph, value, join) {
                return Some(value.node);
            }
            continue;
        }
        seen.extend(sources(graph, value.node).unwrap_or_default());
    }
    None
}

/// Whether all that is read of a value goes into a node, through moves.
fn only_reader(graph: &Graph, value: Value, reader: NodeId) -> bool {
    let mut seen = IndexSet::from([value]);
    let mut next = 0;
    while let Some(&value) = seen.get_index(next) {
        next += 1;
        for (user, _) in graph.users(value) {
            if user == reader {
                continue;
            }
            if graph.is_output(user.into()) || sources(graph, user).is_none() {
                return false;
            }
            seen.insert(user.into());
        }
    }
    true
}

fn rewrite(graph: &mut Graph, join: NodeId, found: &Found) -> Result<(), Diagnostics> {
    let origin = graph.origin_of(found.attention);
    let Op::Attention(mut attrs) = graph.op(found.attention).clone() else {
        return Ok(());
    };
    let columns = graph.types(found.attention)[0].columns();
    let shape = vec![1, found.replaced.len(), columns];
    let rows = add(graph, Op::Reshape { shape }, &[found.rows], origin)?;
    attrs.replaced.clone_from(&found.replaced);
    let mut operands = graph.operands(found.attention);
    operands.push(rows);
    let fused = add(graph, Op::Attention(attrs), &operands, origin)?;
    let shape = graph.types(join)[0].shape.clone();
    let value = add(graph, Op::Reshape { shape }, &[fused], origin)?;
    graph.replace_uses(join.into(), value);
    Ok(())
}
