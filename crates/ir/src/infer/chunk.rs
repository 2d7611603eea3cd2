//! Shape rules of the order of rows by hash and of attention among chunks.

use super::product::{check_head_quant, check_result_elem, head_shape};
use super::{check_float, check_index, check_number, check_shape};
use crate::diag::Diagnostic;
use crate::op::{ChunkAttention, HashSort};
use crate::ty::{Elem, Quant, Type};

/// i32 `[b, heads, rounds·s]`.
pub(super) fn hash_sort(attrs: &HashSort, operands: &[&Type]) -> Result<Type, Diagnostic> {
    let [x, rotations, rest @ ..] = operands else {
        return Err(Diagnostic::error(
            "operand-count",
            "takes x and rotations, and the rest of these where they are i8",
        ));
    };
    check_float(x)?;
    let (batch, rows, width) = head_shape(x, attrs.heads)?;
    let even = attrs.factors.iter().all(|&m| m >= 2 && m.is_multiple_of(2));
    // Buckets are compared as f32, which holds integers up to here exactly.
    if !even || attrs.factors.is_empty() || attrs.rounds == 0 || attrs.buckets() > 1 << 24 {
        return Err(Diagnostic::error(
            "attribute-range",
            format!(
                "{} rounds of buckets {:?}: factors are even and their product is at most 2^24",
                attrs.rounds, attrs.factors
            ),
        ));
    }
    let lines = attrs
        .heads
        .saturating_mul(attrs.rounds)
        .saturating_mul(attrs.coordinates());
    check_shape("rotations", rotations, &[lines, width])?;
    match rest {
        [] => check_float(rotations)?,
        [rest] => {
            check_shape("the rest", rest, &[lines, width])?;
            for part in [rotations, rest] {
                if part.quant != Some(Quant::Channel { axis: 0 }) {
                    return Err(Diagnostic::error(
                        "factors-fit",
                        format!("{part} has no scale for each rotation"),
                    ));
                }
            }
        }
        _ => {
            return Err(Diagnostic::error(
                "operand-count",
                format!("takes at most 3 operands and has {}", operands.len()),
            ));
        }
    }
    let places = attrs.rounds.saturating_mul(rows);
    Ok(Type::new(Elem::I32, [batch, attrs.heads, places]))
}

/// `[b, s, heads·width of v]`.
pub(super) fn chunk_attention(
    attrs: &ChunkAttention,
    operands: &[&Type],
) -> Result<Type, Diagnostic> {
    let at = attrs.operands();
    let (q, k, v) = (
        operands[0],
        operands[if attrs.shared.is_some() { 0 } else { at.k }],
        operands[at.v],
    );
    let (batch, rows, width) = head_shape(q, attrs.heads)?;
    let (_, _, value_width) = head_shape(v, attrs.heads)?;
    check_shape("k", k, &q.shape)?;
    check_shape("v", v, &[batch, rows, attrs.heads * value_width])?;
    for (part, width) in [(q, width), (k, width), (v, value_width)] {
        match q.elem.is_float() {
            true => check_float(part)?,
            false => check_head_quant(part, width)?,
        }
    }
    check_result_elem(attrs.out)?;
    check_chunks(attrs, rows)?;
    if let (Some(order), Some(rounds)) = (at.order, attrs.rounds) {
        check_index(operands[order])?;
        check_shape(
            "order",
            operands[order],
            &[batch, attrs.heads, rounds * rows],
        )?;
    }
    if let Some(seen) = at.seen {
        if operands[seen].elem != Elem::Bool {
            check_number(operands[seen])?;
        }
        check_shape("seen", operands[seen], &[batch, rows])?;
    }
    Ok(Type::new(
        attrs.out,
        [batch, rows, attrs.heads * value_width],
    ))
}

/// Chunks divide the rows of a round, and none sees another twice.
fn check_chunks(attrs: &ChunkAttention, rows: usize) -> Result<(), Diagnostic> {
    let finite = attrs.scale.is_finite()
        && attrs.hidden.is_finite()
        && attrs.own.is_none_or(f32::is_finite)
        && attrs.shared.is_none_or(|eps| eps.is_finite() && eps >= 0.0);
    let whole = attrs.chunk > 0 && rows > 0 && rows.is_multiple_of(attrs.chunk);
    let rounds = attrs.rounds.unwrap_or(1);
    let fits = whole
        && rounds > 0
        && attrs.before.max(attrs.after) < 1 << 16
        && attrs.span() <= rounds.saturating_mul(rows) / attrs.chunk;
    if fits && finite {
        return Ok(());
    }
    Err(Diagnostic::error(
        "attribute-range",
        format!(
            "{rounds} rounds of {rows} rows cannot be cut into chunks of {} of which {} are seen at once",
            attrs.chunk,
            attrs.span()
        ),
    ))
}
