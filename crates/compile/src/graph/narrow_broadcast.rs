//! `narrow-broadcast`: element-wise work is done before elements are repeated.
//!
//! An expansion moves behind the node that reads it, and vanishes where the reader broadcasts anyway. Indices that
//! are repeated for each element of a row of a table name rows.

use packwright_ir::diag::Diagnostics;
use packwright_ir::infer::broadcast;
use packwright_ir::order::topological;
use packwright_ir::{Graph, NodeId, Op, Value};

use super::matching::add;

/// Moves expansions towards the results.
///
/// # Errors
/// Shape rules that a result breaks.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    for node in topological(graph) {
        let rewritten = match graph.op(node) {
            Op::Unary(_) | Op::Binary(_) | Op::Where | Op::Cast { .. } => narrowed(graph, node)?,
            Op::Slice { .. } => sliced(graph, node)?,
            Op::GatherElements { axis: 1 } => rows_gathered(graph, node)?,
            Op::Attention(attrs) => {
                let masks = [attrs.mask_operand(), attrs.row_mask_operand()];
                let mut any = false;
                for position in masks.into_iter().flatten() {
                    any |= unmasked(graph, node, position);
                }
                any
            }
            _ => false,
        };
        count += usize::from(rewritten);
    }
    Ok(count)
}

/// What a value repeats.
fn source(graph: &Graph, value: Value) -> Option<Value> {
    match graph.op(value.node) {
        Op::Expand { .. } => graph.operand(value.node, 0),
        _ => None,
    }
}

fn narrowed(graph: &mut Graph, node: NodeId) -> Result<bool, Diagnostics> {
    let operands = graph.operands(node);
    let narrow: Vec<Value> = operands
        .iter()
        .map(|&v| source(graph, v).unwrap_or(v))
        .collect();
    if narrow == operands {
        return Ok(false);
    }
    let origin = graph.origin_of(node);
    let shape = graph.types(node)[0].shape.clone();
    let inner = add(graph, graph.op(node).clone(), &narrow, origin)?;
    let replacement = if graph.ty(inner).shape == shape {
        inner
    } else {
        add(graph, Op::Expand { shape }, &[inner], origin)?
    };
    graph.replace_uses(node.into(), replacement);
    Ok(true)
}

/// Elements are cut out before they are repeated.
fn sliced(graph: &mut Graph, node: NodeId) -> Result<bool, Diagnostics> {
    let (Op::Slice { start, count, step }, Some(x)) =
        (graph.op(node).clone(), graph.operand(node, 0))
    else {
        return Ok(false);
    };
    let Some(narrow) = source(graph, x) else {
        return Ok(false);
    };
    let added = start.len() - graph.ty(narrow).rank();
    let (mut start, mut kept) = (start[added..].to_vec(), count[added..].to_vec());
    let mut step = step[added..].to_vec();
    for (axis, &length) in graph.ty(narrow).shape.iter().enumerate() {
        if length == 1 {
            (start[axis], kept[axis], step[axis]) = (0, 1, 1);
        }
    }
    let origin = graph.origin_of(node);
    let slice = Op::Slice {
        start,
        count: kept,
        step,
    };
    let cut = add(graph, slice, &[narrow], origin)?;
    let repeated = add(graph, Op::Expand { shape: count }, &[cut], origin)?;
    graph.replace_uses(node.into(), repeated);
    Ok(true)
}

/// Rows of a table `[1, n, columns]` by an index each, instead of one for each element.
fn rows_gathered(graph: &mut Graph, node: NodeId) -> Result<bool, Diagnostics> {
    let operands = graph.operands(node);
    let [table, indices] = operands[..] else {
        return Ok(false);
    };
    let (&[1, rows, columns], &[1, count, wide]) =
        (&graph.ty(table).shape[..], &graph.ty(indices).shape[..])
    else {
        return Ok(false);
    };
    if graph.as_const(table).is_none() || wide != columns || columns == 1 {
        return Ok(false);
    }
    let Some(ids) = one_a_row(graph, indices, count, columns) else {
        return Ok(false);
    };
    let origin = graph.origin_of(node);
    let shaped =
        |graph: &mut Graph, value, shape| add(graph, Op::Reshape { shape }, &[value], origin);
    let ids = shaped(graph, ids, vec![1, count])?;
    let table = shaped(graph, table, vec![rows, columns])?;
    let gathered = add(graph, Op::Gather { axis: 0 }, &[table, ids], origin)?;
    graph.replace_uses(node.into(), gathered);
    Ok(true)
}

/// `count` numbers that a value repeats for each of its columns, other axes of length 1 left aside.
fn one_a_row(graph: &Graph, value: Value, count: usize, columns: usize) -> Option<Value> {
    let mut wide = value;
    while let Op::Reshape { .. } = graph.op(wide.node) {
        wide = graph.operand(wide.node, 0)?;
    }
    let narrow = source(graph, wide)?;
    let lengths = |value: Value| {
        let shape = graph.ty(value).shape.iter().copied();
        shape.filter(|&n| n != 1).collect::<Vec<_>>()
    };
    let mut repeated = lengths(narrow);
    repeated.push(columns);
    (lengths(wide) == repeated && graph.ty(narrow).elements() == count).then_some(narrow)
}

/// A mask may be as small as it likes: attention broadcasts it.
fn unmasked(graph: &mut Graph, node: NodeId, position: usize) -> bool {
    let mut operands = graph.operands(node);
    let Some(mask) = source(graph, operands[position]) else {
        return false;
    };
    let wide = graph.ty(operands[position]).shape.clone();
    if broadcast(&graph.ty(mask).shape, &wide).as_ref() != Some(&wide) {
        return false;
    }
    operands[position] = mask;
    graph.set_operands(node, &operands);
    true
}
