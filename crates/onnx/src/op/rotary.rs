//! Rotary position embedding, in the spelling of ONNX 23 and that of ONNX Runtime.

use packwright_ir::Op;
use packwright_ir::diag::Diagnostic;
use packwright_ir::op::Binary;
use packwright_ir::tensor::Tensor;

use crate::builder::{Arg, Builder};
use crate::codes;
use crate::node::Node;
use crate::op::heads::{row_shape, to_heads, to_rows, width};

/// `RotaryEmbedding`: the tables are rows for the positions, or are read at the positions given.
pub(crate) fn rotary(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let (cos, sin) = (node.arg(1)?, node.arg(2)?);
    let mut tables = [cos.clone(), sin.clone()];
    if let Some(positions) = node.opt(3) {
        for table in &mut tables {
            *table = b.emit(Op::Gather { axis: 0 }, &[table, positions])?;
        }
    }
    apply(b, node, tables)
}

/// `com.microsoft.RotaryEmbedding`: positions are given for each row, or one for the first.
pub(crate) fn rotary_with_offset(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    if node.attrs.float("scale", 1.0)? != 1.0 {
        return Err(codes::form("a scale is not supported"));
    }
    if node.attrs.flag("is_packed_batching", false)? {
        return Err(codes::form("packed batches are not supported"));
    }
    let rows = match b.shape(node.arg(0)?)?[..] {
        [_, rows, _] | [_, _, rows, _] => rows,
        _ => 0,
    };
    let positions = node.arg(1)?;
    let cos = rows_of_table(b, node.arg(2)?, Some(positions), 0, rows)?;
    let sin = rows_of_table(b, node.arg(3)?, Some(positions), 0, rows)?;
    apply(b, node, [cos, sin])
}

fn apply(b: &mut Builder, node: &Node<'_>, [cos, sin]: [Arg; 2]) -> Result<Vec<Arg>, Diagnostic> {
    let x = node.arg(0)?;
    let interleaved = node.attrs.flag("interleaved", false)?;
    let part = node.attrs.int("rotary_embedding_dim", 0)?;
    let rotated = 2 * b.ty(&cos)?.columns();
    if part != 0 && usize::try_from(part) != Ok(rotated) {
        return Err(codes::form(format!(
            "{part} elements are rotated by tables for {rotated}"
        )));
    }
    if let [_, heads, _, _] = b.shape(x)?[..] {
        let rows = to_rows(b, x)?;
        let y = rotate(b, &rows, heads, [&cos, &sin], interleaved)?;
        return Ok(vec![to_heads(b, &y, heads)?]);
    }
    let [_, _, columns] = row_shape(b, x)?;
    let heads = match node.attrs.int("num_heads", 0)? {
        // Heads as wide as the tables are for.
        0 => columns.checked_div(rotated).unwrap_or(0),
        n => usize::try_from(n).unwrap_or(0),
    };
    Ok(vec![rotate(b, x, heads, [&cos, &sin], interleaved)?])
}

/// Rows of a table for positions from an offset on: `[s, n]`, or `[b, s, n]` where each sequence of the
/// batch has its own. Positions are given for each row, or one for the first, or none at all.
pub(crate) fn rows_of_table(
    b: &mut Builder,
    table: &Arg,
    positions: Option<&Arg>,
    offset: usize,
    rows: usize,
) -> Result<Arg, Diagnostic> {
    let shape = b.shape(table)?;
    let Some(positions) = positions else {
        return match shape[..] {
            [most, _] if offset.checked_add(rows).is_some_and(|end| end <= most) => {
                b.cut(table, 0, offset, rows)
            }
            _ => Err(codes::form(format!(
                "a table {shape:?} has no rows for {rows} positions from {offset} on"
            ))),
        };
    };
    let mut at = positions.clone();
    if b.ty(&at)?.elements() == 1 && rows != 1 {
        let first = b.reshape(&at, &[1])?;
        let steps = (0..rows).map(|i| i as i64).collect();
        let steps = b.known(Tensor::i64(&[rows], steps));
        let steps = b.cast(&steps, b.ty(&first)?.elem)?;
        at = b.emit(Op::Binary(Binary::Add), &[&first, &steps])?;
    }
    b.emit(Op::Gather { axis: 0 }, &[table, &at])
}

/// Rotates the heads of rows `[b, s, heads·width]`. The tables are `[s, n]` or `[b, s, n]`: the first
/// 2·n elements of each head turn, the others stay.
pub(crate) fn rotate(
    b: &mut Builder,
    x: &Arg,
    heads: usize,
    tables: [&Arg; 2],
    interleaved: bool,
) -> Result<Arg, Diagnostic> {
    let [batch, rows, columns] = row_shape(b, x)?;
    let width = width(b, x, heads)?;
    let half = b.ty(tables[0])?.columns();
    if half == 0 || half.checked_mul(2).is_none_or(|turned| turned > width) {
        return Err(codes::form(format!(
            "heads of {width} are rotated by tables for {half} pairs"
        )));
    }
    // Sequences with tables of their own become one long sequence.
    let each = b.ty(tables[0])?.rows();
    let op = Op::Rotary { heads, interleaved };
    let long = batch
        .checked_mul(rows)
        .ok_or_else(|| codes::form("the batch is too long"))?;
    let joined = each == long && each != rows;
    let (x, count) = if joined {
        (b.reshape(x, &[1, long, columns])?, long)
    } else {
        (x.clone(), rows)
    };
    let cos = b.reshape(tables[0], &[count, half])?;
    let sin = b.reshape(tables[1], &[count, half])?;
    let y = b.emit(op, &[&x, &cos, &sin])?;
    b.reshape(&y, &[batch, rows, columns])
}
