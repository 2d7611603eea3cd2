//! Heads of attention: side by side in rows, or on an axis of their own; and caches of them.

use packwright_ir::diag::Diagnostic;

use crate::builder::{Arg, Builder};
use crate::codes;

/// Batch, rows and columns of a value `[b, s, heads·width]`.
pub(crate) fn row_shape(b: &Builder, x: &Arg) -> Result<[usize; 3], Diagnostic> {
    let shape = b.shape(x)?;
    <[usize; 3]>::try_from(shape.as_slice())
        .map_err(|_| codes::form(format!("{shape:?} is not [batch, rows, heads · width]")))
}

/// Elements of each of the heads that lie side by side.
pub(crate) fn width(b: &Builder, x: &Arg, heads: usize) -> Result<usize, Diagnostic> {
    let [_, _, columns] = row_shape(b, x)?;
    if heads > 0 && columns.is_multiple_of(heads) {
        return Ok(columns / heads);
    }
    Err(codes::form(format!(
        "{columns} columns are not {heads} heads"
    )))
}

/// `[b, s, heads·width]` as `[b, heads, s, width]`.
pub(crate) fn to_heads(b: &mut Builder, x: &Arg, heads: usize) -> Result<Arg, Diagnostic> {
    let [batch, rows, _] = row_shape(b, x)?;
    let width = width(b, x, heads)?;
    let x = b.reshape(x, &[batch, rows, heads, width])?;
    b.transpose(&x, &[0, 2, 1, 3])
}

/// `[b, heads, s, width]` as `[b, s, heads·width]`.
pub(crate) fn to_rows(b: &mut Builder, x: &Arg) -> Result<Arg, Diagnostic> {
    let shape = b.shape(x)?;
    let [batch, heads, rows, width] = shape[..] else {
        return Err(codes::form(format!(
            "{shape:?} is not [batch, heads, rows, width]"
        )));
    };
    let x = b.transpose(x, &[0, 2, 1, 3])?;
    let columns = heads
        .checked_mul(width)
        .ok_or_else(|| codes::form("the heads are too large"))?;
    b.reshape(&x, &[batch, rows, columns])
}

/// Keys or values of all positions.
#[derive(Clone, Debug)]
pub(crate) struct Cached {
    /// `[b, past + s, heads·width]`.
    pub(crate) rows: Arg,
    /// `[b, heads, past + s, width]`: what the next step gets as its past.
    pub(crate) present: Arg,
}

/// New rows behind those of the past, which is `[b, heads, past, width]`.
pub(crate) fn append(
    b: &mut Builder,
    past: Option<&Arg>,
    new: &Arg,
    heads: usize,
) -> Result<Cached, Diagnostic> {
    let turned = to_heads(b, new, heads)?;
    let Some(past) = past else {
        return Ok(Cached {
            rows: new.clone(),
            present: turned,
        });
    };
    let present = b.concat(&[past, &turned], 2)?;
    let rows = to_rows(b, &present)?;
    Ok(Cached { rows, present })
}

/// Positions in a cache; none where there is no cache.
pub(crate) fn past_length(b: &Builder, past: Option<&Arg>) -> Result<usize, Diagnostic> {
    match past {
        None => Ok(0),
        Some(past) => {
            let shape = b.shape(past)?;
            match shape[..] {
                [_, _, length, _] => Ok(length),
                _ => Err(codes::form(format!(
                    "the past {shape:?} is not [batch, heads, positions, width]"
                ))),
            }
        }
    }
}
