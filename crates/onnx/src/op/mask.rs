//! Masks of attention, as numbers that are added to the scores.

use packwright_ir::diag::Diagnostic;
use packwright_ir::op::Binary;
use packwright_ir::tensor::Tensor;
use packwright_ir::{Elem, Op};

use crate::builder::{Arg, Builder};
use crate::codes;

/// Batch, rows and columns of the scores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scores {
    pub(crate) batch: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

/// Nothing where the condition holds, a number elsewhere.
pub(crate) fn unless(
    b: &mut Builder,
    condition: &Arg,
    elem: Elem,
    number: f64,
) -> Result<Arg, Diagnostic> {
    let (zero, number) = (b.scalar(elem, 0.0), b.scalar(elem, number));
    b.emit(Op::Where, &[condition, &zero, &number])
}

/// Row i sees the columns up to `i + offset`, and of those only the last `window + 1`: `[s, t]`.
pub(crate) fn triangle(
    b: &mut Builder,
    scores: Scores,
    offset: usize,
    window: Option<usize>,
    elem: Elem,
) -> Result<Arg, Diagnostic> {
    let row = positions(b, scores.rows, offset, &[scores.rows, 1]);
    let column = positions(b, scores.columns, 0, &[1, scores.columns]);
    let mut seen = b.emit(Op::Binary(Binary::LessOrEqual), &[&column, &row])?;
    if let Some(window) = window {
        let reach = b.scalar(Elem::I64, window as f64);
        let end = b.emit(Op::Binary(Binary::Add), &[&column, &reach])?;
        let near = b.emit(Op::Binary(Binary::GreaterOrEqual), &[&end, &row])?;
        seen = b.emit(Op::Binary(Binary::And), &[&seen, &near])?;
    }
    unless(b, &seen, elem, f64::NEG_INFINITY)
}

/// first, first + 1, … in a shape.
fn positions(b: &Builder, count: usize, first: usize, shape: &[usize]) -> Arg {
    let numbers = (0..count).map(|i| (first + i) as i64).collect();
    b.known(Tensor::i64(shape, numbers))
}

/// The mask of keys that ONNX Runtime's operators take: which of the columns are padding. Lengths
/// `[b]`, ends and starts `[2·b]`, flags `[b, t]` or `[b, s, t]`, or flags for any length `[b, 1, m, m]`.
pub(crate) fn of_keys(
    b: &mut Builder,
    mask: &Arg,
    scores: Scores,
    elem: Elem,
    filter: f64,
) -> Result<Arg, Diagnostic> {
    let Scores {
        batch,
        rows,
        columns,
    } = scores;
    let shape = b.shape(mask)?;
    let flags = match shape[..] {
        [n] if n == batch => return of_lengths(b, mask, None, scores, elem, filter),
        [n] if batch.checked_mul(2) == Some(n) => {
            let ends = b.cut(mask, 0, 0, batch)?;
            let starts = b.cut(mask, 0, batch, batch)?;
            return of_lengths(b, &ends, Some(&starts), scores, elem, filter);
        }
        [n, t] if n == batch && t == columns => b.reshape(mask, &[batch, 1, 1, columns])?,
        [n, s, t] if n == batch && s == rows && t == columns => {
            b.reshape(mask, &[batch, 1, rows, columns])?
        }
        [n, 1, m, most] if n == batch && m == most && m >= columns => {
            let mask = b.cut(mask, 2, columns - rows, rows)?;
            b.cut(&mask, 3, 0, columns)?
        }
        _ => {
            return Err(codes::form(format!(
                "a mask {shape:?} over {columns} keys of {batch} sequences is not supported"
            )));
        }
    };
    let seen = if b.ty(&flags)?.elem == Elem::Bool {
        flags
    } else {
        let zero = b.scalar(b.ty(&flags)?.elem, 0.0);
        b.emit(Op::Binary(Binary::Greater), &[&flags, &zero])?
    };
    unless(b, &seen, elem, filter)
}

/// Columns from a start, or the front, up to an end, for each sequence of the batch.
fn of_lengths(
    b: &mut Builder,
    ends: &Arg,
    starts: Option<&Arg>,
    scores: Scores,
    elem: Elem,
    filter: f64,
) -> Result<Arg, Diagnostic> {
    let column = positions(b, scores.columns, 0, &[1, 1, 1, scores.columns]);
    let column = b.cast(&column, Elem::F32)?;
    let each = [scores.batch, 1, 1, 1];
    let ends = as_float(b, ends)?;
    let ends = b.reshape(&ends, &each)?;
    let mut seen = b.emit(Op::Binary(Binary::Less), &[&column, &ends])?;
    if let Some(starts) = starts {
        let starts = as_float(b, starts)?;
        let starts = b.reshape(&starts, &each)?;
        let begun = b.emit(Op::Binary(Binary::GreaterOrEqual), &[&column, &starts])?;
        seen = b.emit(Op::Binary(Binary::And), &[&seen, &begun])?;
    }
    unless(b, &seen, elem, filter)
}

/// Lengths as floats; those that were floats before are taken from there.
fn as_float(b: &mut Builder, lengths: &Arg) -> Result<Arg, Diagnostic> {
    if let Arg::Graph(value) = lengths
        && let Op::Cast { to: Elem::I32 } = b.graph.op(value.node)
        && let Some(source) = b.graph.operand(value.node, 0)
        && b.graph.ty(source).elem == Elem::F32
    {
        return Ok(Arg::Graph(source));
    }
    b.cast(lengths, Elem::F32)
}

/// The sum of the masks that there are.
pub(crate) fn sum(b: &mut Builder, masks: &[Option<Arg>]) -> Result<Option<Arg>, Diagnostic> {
    let mut all: Option<Arg> = None;
    for mask in masks.iter().flatten() {
        all = Some(match all {
            None => mask.clone(),
            Some(sum) => b.emit(Op::Binary(Binary::Add), &[&sum, mask])?,
        });
    }
    Ok(all)
}
