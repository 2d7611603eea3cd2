//! `fuse-relative-bias`: a bias that depends on the distance of row and column alone.
//!
//! What it does: a table of numbers for buckets of distances, looked up for every row and column and added to the
//! scores of all heads, becomes an operand of the attention: one number for each head and distance.
//!
//! Why: looked up for all pairs it is as large as all scores, `heads·s·t`, and has to stay for all layers.
//!
//! Of a single row, whose diagonals say nothing, buckets tell: they count up from the row's own column, the last.
//! Then the bias holds for fewer columns too, and a decoder's caches can grow.
//!
//! Requires: constant buckets that are the same along each diagonal. Leaves masks as they are.

use packwright_ir::diag::Diagnostics;
use packwright_ir::konst::{Const, Source};
use packwright_ir::op::Binary;
use packwright_ir::order::topological;
use packwright_ir::tensor::Data;
use packwright_ir::{Elem, Graph, NodeId, Op, Type, Value};

use super::matching::{add, either};

/// Takes biases by distance into attentions.
///
/// # Errors
/// Shape rules that a result breaks.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    for node in topological(graph) {
        if let Some(found) = find(graph, node) {
            rewrite(graph, node, &found)?;
            count += 1;
        }
    }
    Ok(count)
}

struct Found {
    table: Value,
    /// The bucket of each distance, from the last row's first column on.
    buckets: Vec<i64>,
    /// What is left of the mask.
    mask: Option<Value>,
}

fn find(graph: &Graph, node: NodeId) -> Option<Found> {
    let Op::Attention(attrs) = graph.op(node) else {
        return None;
    };
    let free = !attrs.relative && attrs.softcap.is_none() && attrs.replaced.is_empty();
    let mask = graph.operand(node, attrs.mask_operand()?)?;
    let operands = graph.operands(node);
    let (s, t) = (
        graph.ty(operands[0]).shape[1],
        graph.ty(operands[1]).shape[1],
    );
    if !free {
        return None;
    }
    if let Some((table, buckets)) = by_distance(graph, mask, [attrs.heads, s, t]) {
        return Some(Found {
            table,
            buckets,
            mask: None,
        });
    }
    either(graph, mask, Binary::Add)
        .into_iter()
        .find_map(|(bias, rest)| {
            let (table, buckets) = by_distance(graph, bias, [attrs.heads, s, t])?;
            let mask = Some(rest);
            Some(Found {
                table,
                buckets,
                mask,
            })
        })
}

/// The table that a value of all heads, rows and columns is looked up in, with the bucket of each distance.
fn by_distance(
    graph: &Graph,
    value: Value,
    [heads, s, t]: [usize; 3],
) -> Option<(Value, Vec<i64>)> {
    let shape = &graph.ty(value).shape;
    let all = shape.ends_with(&[heads, s, t]) && shape.iter().product::<usize>() == heads * s * t;
    let mut looked_up = value;
    let mut turned = false;
    // A transposition of the three axes, and axes of one.
    loop {
        let source = graph.operand(looked_up.node, 0);
        match graph.op(looked_up.node) {
            Op::Reshape { .. } if real(graph, looked_up) == real(graph, source?) => {}
            Op::Transpose { .. } if !turned => {
                let from = real(graph, source?);
                turned =
                    real(graph, looked_up) == long(&[heads, s, t]) && from == long(&[s, t, heads]);
                // Axes of equal length do not tell what is turned.
                if !turned || !brings_last_first(graph, looked_up)? {
                    return None;
                }
            }
            _ => break,
        }
        looked_up = source?;
    }
    let operands = graph.operands(looked_up.node);
    let (table, ids) = match (graph.op(looked_up.node), &operands[..]) {
        (Op::Embedding { tables: 1 }, &[ids, table]) => (table, ids),
        (Op::Gather { axis: 0 }, &[table, ids]) => (table, ids),
        _ => return None,
    };
    if !all || !turned || graph.ty(ids).shape.iter().product::<usize>() != s * t {
        return None;
    }
    let ids = packwright_ir::eval::konst::value(graph, graph.as_const(ids)?).ok()?;
    let ids: Vec<i64> = match &ids.data {
        Data::I64(ids) => ids.iter().copied().collect(),
        Data::I32(ids) => ids.iter().map(|&id| i64::from(id)).collect(),
        _ => return None,
    };
    let at = |distance: usize| match distance.checked_sub(s - 1) {
        Some(column) => ids[column],
        None => ids[(s - 1 - distance) * t],
    };
    let buckets: Vec<i64> = (0..s + t - 1).map(at).collect();
    let mut pairs = (0..s).flat_map(|i| (0..t).map(move |j| (i, j)));
    let diagonals = pairs.all(|(i, j)| ids[i * t + j] == buckets[s - 1 + j - i]);
    let distances = diagonals && (s > 1 || counts_up(&buckets));
    distances.then_some((table, buckets))
}

/// Whether buckets of a row count from its last column: 0 there, 1 before it, and never a bucket left out.
fn counts_up(buckets: &[i64]) -> bool {
    let mut pairs = buckets.windows(2);
    buckets.last() == Some(&0)
        && pairs.all(|pair| (pair[1]..=pair[1] + 1).contains(&pair[0]))
        && buckets
            .iter()
            .rev()
            .nth(1)
            .is_none_or(|&second| second == 1)
}

/// Axes of a value that are longer than one.
fn real(graph: &Graph, value: Value) -> Vec<usize> {
    long(&graph.ty(value).shape)
}

fn long(axes: &[usize]) -> Vec<usize> {
    axes.iter().copied().filter(|&n| n != 1).collect()
}

/// Whether a transposition brings the last axis to the front and keeps the others in order.
fn brings_last_first(graph: &Graph, value: Value) -> Option<bool> {
    let Op::Transpose { perm } = graph.op(value.node) else {
        return None;
    };
    let source = &graph.ty(graph.operand(value.node, 0)?).shape;
    let moved: Vec<usize> = perm
        .iter()
        .copied()
        .filter(|&axis| source[axis] != 1)
        .collect();
    let mut turned: Vec<usize> = (0..source.len())
        .filter(|&axis| source[axis] != 1)
        .collect();
    turned.rotate_right(1);
    Some(moved == turned)
}

fn rewrite(graph: &mut Graph, node: NodeId, found: &Found) -> Result<(), Diagnostics> {
    let origin = graph.origin_of(node);
    let Op::Attention(mut attrs) = graph.op(node).clone() else {
        return Ok(());
    };
    let distances = found.buckets.len();
    let bytes: Vec<u8> = found
        .buckets
        .iter()
        .flat_map(|id| id.to_le_bytes())
        .collect();
    let id = graph.add_const(Const {
        name: "distances".to_owned(),
        ty: Type::new(Elem::I64, [distances]),
        source: Source::Bytes(bytes.into()),
    });
    let ids = graph.const_value(id);
    let rows = add(
        graph,
        Op::Embedding { tables: 1 },
        &[ids, found.table],
        origin,
    )?;
    let perm = vec![1, 0];
    let bias = add(graph, Op::Transpose { perm }, &[rows], origin)?;
    let mut operands = graph.operands(node);
    if let Some(at) = attrs.mask_operand() {
        match found.mask {
            Some(mask) => operands[at] = mask,
            None => {
                operands.remove(at);
                attrs.mask = false;
            }
        }
    }
    attrs.relative = true;
    operands.push(bias);
    let fused = add(graph, Op::Attention(attrs), &operands, origin)?;
    graph.replace_uses(node.into(), fused);
    graph.remove(node);
    Ok(())
}
