//! Shape rules of products, attention and what surrounds them.

use packwright_numerics::reduce::LANES;

use super::{check_float, check_index, check_rank, check_shape, common_shape};
use crate::diag::Diagnostic;
use crate::op::{Attention, Matmul};
use crate::ty::{Elem, Quant, Type};

/// `[…, m, n]`, the leading axes of both factors broadcast.
pub(super) fn matmul(attrs: &Matmul, operands: &[&Type]) -> Result<Type, Diagnostic> {
    let (a, b) = (operands[0], operands[1]);
    check_rank(a, 2)?;
    check_rank(b, 2)?;
    let (batch_a, tail_a) = a.shape.split_at(a.rank() - 2);
    let (batch_b, tail_b) = b.shape.split_at(b.rank() - 2);
    let (k, n) = if attrs.transpose_b {
        (tail_b[1], tail_b[0])
    } else {
        (tail_b[0], tail_b[1])
    };
    if attrs.parts == 0 || (attrs.parts > 1 && !matches!(a.quant, Some(Quant::Row { .. }))) {
        let message = format!(
            "{} parts of {a}: only rows with scales come in parts",
            attrs.parts
        );
        return Err(Diagnostic::error("attribute-range", message));
    }
    if Some(tail_a[1]) != k.checked_mul(attrs.parts) {
        let parts = match attrs.parts {
            1 => String::new(),
            parts => format!(" in {parts} parts"),
        };
        return Err(Diagnostic::error(
            "inner-dims-agree",
            format!(
                "{a} has {} columns{parts}, {b} has {k} rows to meet them",
                tail_a[1]
            ),
        ));
    }
    check_factors(attrs, a, b, k)?;
    check_result_elem(attrs.out)?;
    if !attrs.alpha.is_finite() {
        return Err(Diagnostic::error(
            "attribute-range",
            format!("alpha is {:?}", attrs.alpha),
        ));
    }
    let mut shape = super::broadcast(batch_a, batch_b).ok_or_else(|| {
        Diagnostic::error("shapes-broadcast", format!("{a} and {b} do not broadcast"))
    })?;
    shape.extend([tail_a[0], n]);
    let mut rest = operands[2..].iter();
    if attrs.bias
        && let Some(bias) = rest.next()
    {
        check_float(bias)?;
        check_shape("the bias", bias, &[n])?;
    }
    if attrs.residual
        && let Some(residual) = rest.next()
    {
        check_float(residual)?;
        check_shape("the residual", residual, &shape)?;
    }
    Ok(Type::new(attrs.out, shape))
}

/// `[b, s, heads·width of v]`.
pub(super) fn attention(attrs: &Attention, operands: &[&Type]) -> Result<Type, Diagnostic> {
    let (q, k, v) = (operands[0], operands[1], operands[2]);
    let &Attention {
        heads, kv_heads, ..
    } = attrs;
    if heads == 0 || kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
        return Err(Diagnostic::error(
            "heads-divide",
            format!("{heads} heads cannot share {kv_heads} key/value heads"),
        ));
    }
    let (batch, rows, width) = head_shape(q, heads)?;
    let (batch_k, columns, width_k) = head_shape(k, kv_heads)?;
    let (batch_v, columns_v, width_v) = head_shape(v, kv_heads)?;
    if [batch_k, batch_v] != [batch; 2] || columns != columns_v || width != width_k {
        return Err(Diagnostic::error(
            "shapes-agree",
            format!("{q}, {k} and {v} do not fit as q, k and v of {heads} and {kv_heads} heads"),
        ));
    }
    check_result_elem(attrs.out)?;
    if q.elem.is_float() {
        for part in [q, k, v] {
            check_float(part)?;
        }
    } else {
        for (part, width) in [(q, width), (k, width), (v, width_v)] {
            check_head_quant(part, width)?;
        }
    }
    if !attrs.scale.is_finite() {
        return Err(Diagnostic::error(
            "attribute-range",
            format!("scale is {:?}", attrs.scale),
        ));
    }
    if let Some(cap) = attrs.softcap.filter(|cap| !cap.is_finite() || *cap <= 0.0) {
        return Err(Diagnostic::error(
            "attribute-range",
            format!("softcap is {cap:?}"),
        ));
    }
    if let Some(block) = attrs.block {
        let apart = attrs.window.is_none() && attrs.global.is_empty() && attrs.replaced.is_empty();
        if block == 0 || !block.is_multiple_of(LANES) || !apart {
            return Err(Diagnostic::error(
                "attribute-range",
                format!(
                    "block is {block}: it is a multiple of {LANES}, without a window, global columns or replaced rows"
                ),
            ));
        }
    }
    for (what, list, end) in [
        ("global columns", &attrs.global, columns),
        ("replaced rows", &attrs.replaced, rows),
    ] {
        let ascending = list.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || list.last().is_some_and(|&last| last >= end) {
            return Err(Diagnostic::error(
                "attribute-range",
                format!("{what} {list:?} are not ascending numbers below {end}"),
            ));
        }
    }
    let masks = [
        (attrs.mask_operand(), columns),
        (attrs.row_mask_operand(), 1),
    ];
    for (position, columns) in masks {
        let Some(mask) = position.and_then(|position| operands.get(position)) else {
            continue;
        };
        check_float(mask)?;
        let scores = [batch, heads, rows, columns];
        if super::broadcast(&mask.shape, &scores).as_deref() != Some(&scores) {
            return Err(Diagnostic::error(
                "shapes-broadcast",
                format!("the mask {mask} does not broadcast to {scores:?}"),
            ));
        }
    }
    if let Some(bias) = attrs.relative_operand().and_then(|at| operands.get(at)) {
        check_float(bias)?;
        check_shape(
            "the bias by distance",
            bias,
            &[heads, (rows + columns).saturating_sub(1)],
        )?;
        if attrs.softcap.is_some() {
            return Err(Diagnostic::error(
                "attribute-range",
                "scores that are capped have no bias by distance",
            ));
        }
    }
    let out_width = heads.saturating_mul(width_v);
    if let Some(rows) = attrs.replaced_operand().and_then(|at| operands.get(at)) {
        check_float(rows)?;
        check_shape(
            "the replaced rows",
            rows,
            &[batch, attrs.replaced.len(), out_width],
        )?;
    }
    Ok(Type::new(attrs.out, [batch, rows, out_width]))
}

/// The broadcast shape of all indices, and a row of the tables; f32 unless a pass says otherwise.
pub(super) fn embedding(operands: &[&Type]) -> Result<Type, Diagnostic> {
    let width = operands[1].columns();
    let mut ids = operands[0].clone();
    for pair in operands.chunks_exact(2) {
        let (index, table) = (pair[0], pair[1]);
        check_index(index)?;
        let by_row = table.elem == Elem::I8 && table.quant == Some(Quant::Channel { axis: 0 });
        if !by_row {
            check_float(table)?;
        }
        if table.rank() != 2 || table.columns() != width {
            return Err(Diagnostic::error(
                "shapes-agree",
                format!("{table} is not a table of rows of {width}"),
            ));
        }
        ids.shape = common_shape(&ids, index)?;
    }
    ids.shape.push(width);
    Ok(Type::new(Elem::F32, ids.shape))
}

/// The operand's type.
pub(super) fn rotary(x: &Type, cos: &Type, sin: &Type, heads: usize) -> Result<Type, Diagnostic> {
    check_float(x)?;
    let (_, rows, width) = head_shape(x, heads)?;
    let pairs = cos.columns();
    if pairs == 0 || pairs.checked_mul(2).is_none_or(|turned| turned > width) {
        return Err(Diagnostic::error(
            "heads-divide",
            format!("heads of {width} elements have no {pairs} pairs to rotate"),
        ));
    }
    for (part, what) in [(cos, "cos"), (sin, "sin")] {
        check_float(part)?;
        check_shape(what, part, &[rows, pairs])?;
    }
    Ok(x.clone())
}

/// The longest sum of i8 products that i32 holds exactly.
const LONGEST_SUM: usize = 1 << 17;

/// Both factors are floats, or both are i8 with scales that can be taken out of the sum: those of
/// `a` follow its rows and groups of `k`, those of `b` the columns of the result. Where `b` is i4, its steps
/// follow columns and blocks of `k`, and of group and block one divides the other.
fn check_factors(attrs: &Matmul, a: &Type, b: &Type, k: usize) -> Result<(), Diagnostic> {
    if a.quant.is_none() && b.quant.is_none() && a.elem.is_float() && b.elem.is_float() {
        return Ok(());
    }
    let n_axis = if attrs.transpose_b {
        b.rank() - 2
    } else {
        b.rank() - 1
    };
    let a_fits = match a.quant {
        Some(Quant::Tensor { .. } | Quant::Affine { .. }) => true,
        Some(Quant::Row { group }) => k.is_multiple_of(group.max(1)),
        Some(Quant::Channel { .. } | Quant::Shifted { .. } | Quant::Block { .. }) | None => false,
    };
    let b_fits = match b.quant {
        Some(Quant::Tensor { .. }) => true,
        Some(Quant::Row { group }) => attrs.transpose_b && group == k,
        Some(Quant::Channel { axis }) => axis == n_axis,
        Some(Quant::Shifted { axis }) => axis == n_axis && b.rank() == 2,
        Some(Quant::Block { axis, group: block }) => {
            let group = match a.quant {
                Some(Quant::Row { group }) => group,
                _ => k,
            };
            let nested = group.is_multiple_of(block) || block.is_multiple_of(group.max(1));
            let whole = !matches!(a.quant, Some(Quant::Affine { .. }));
            whole && axis == n_axis && b.rank() == 2 && group.is_multiple_of(2) && nested
        }
        Some(Quant::Affine { .. }) | None => false,
    };
    if !a_fits || !b_fits {
        return Err(
            Diagnostic::error("factors-fit", format!("cannot multiply {a} with {b}")).help(
                "both are floats, or both are i8: the first with one scale or scales by row, the \
             second with one scale or a scale for each column of the result, or i4 in blocks that \
             groups of the first divide or are made of",
            ),
        );
    }
    // Less a zero point, an element takes a bit more.
    let mut longest = LONGEST_SUM;
    if matches!(a.quant, Some(Quant::Affine { .. })) {
        longest /= 2;
    }
    if matches!(b.quant, Some(Quant::Shifted { .. })) {
        longest /= 2;
    }
    if k > longest {
        return Err(Diagnostic::unsupported(
            "inner-dim-limit",
            format!("sums of {k} products of i8 may leave i32; {longest} is the most"),
        ));
    }
    Ok(())
}

/// `[b, s, heads·width]` taken apart.
pub(super) fn head_shape(ty: &Type, heads: usize) -> Result<(usize, usize, usize), Diagnostic> {
    match ty.shape[..] {
        [batch, rows, columns] if heads > 0 && columns.is_multiple_of(heads) => {
            Ok((batch, rows, columns / heads))
        }
        _ => Err(Diagnostic::error(
            "heads-divide",
            format!("{ty} is not [batch, rows, width of {heads} heads side by side]"),
        )),
    }
}

/// A quantised factor of attention: no group of elements with one scale lies in two heads.
pub(super) fn check_head_quant(ty: &Type, width: usize) -> Result<(), Diagnostic> {
    match ty.quant {
        Some(Quant::Tensor { .. }) => Ok(()),
        Some(Quant::Row { group }) if width.is_multiple_of(group) => Ok(()),
        Some(Quant::Row { .. }) => Err(Diagnostic::error(
            "groups-stay-whole",
            format!("the groups of {ty} do not divide heads of {width}"),
        )),
        None
        | Some(
            Quant::Channel { .. }
            | Quant::Shifted { .. }
            | Quant::Affine { .. }
            | Quant::Block { .. },
        ) => Err(
            Diagnostic::error("factors-fit", format!("attention cannot work on {ty}"))
                .help("q, k and v are all floats, or all i8 with one scale or a scale a row"),
        ),
    }
}

pub(super) fn check_result_elem(out: Elem) -> Result<(), Diagnostic> {
    if out.is_float() {
        return Ok(());
    }
    Err(Diagnostic::error(
        "result-is-float",
        format!("the result cannot be {out}"),
    ))
}
