//! Shape rules of quantisation.

use super::check_float;
use crate::diag::Diagnostic;
use crate::ty::{Elem, Quant, Type};

/// i8 in the operand's shape, or i4 in blocks.
pub(super) fn quantize(x: &Type, quant: Quant) -> Result<Type, Diagnostic> {
    check_float(x)?;
    if matches!(quant, Quant::Shifted { .. }) {
        let message = "zero points of channels are not found, models bring them";
        return Err(Diagnostic::error("quant-fits", message));
    }
    let result = Type::quantized(x.shape.clone(), quant);
    fits(&result)?;
    Ok(result)
}

/// i8 in twice the columns of the operand.
pub(super) fn quantize_parts(
    x: &Type,
    group: usize,
    scale: Option<f32>,
) -> Result<Type, Diagnostic> {
    check_float(x)?;
    let mut shape = x.shape.clone();
    match shape.last_mut() {
        Some(last) => *last = last.saturating_mul(2),
        None => return Err(Diagnostic::error("quant-fits", format!("{x} has no rows"))),
    }
    let whole = scale.is_none() || group == x.columns();
    let positive = scale.is_none_or(|scale| scale.is_finite() && scale > 0.0);
    if group == 0 || !x.columns().is_multiple_of(group) || !whole || !positive {
        let message =
            format!("{x} in groups of {group}: a fixed scale is positive, for whole rows");
        return Err(Diagnostic::error("quant-fits", message));
    }
    let result = Type::quantized(shape, Quant::Row { group });
    super::within_limit(&result)?;
    Ok(result)
}

/// Floats in the operand's shape.
pub(super) fn dequantize(x: &Type, to: Elem) -> Result<Type, Diagnostic> {
    if x.quant.is_none() {
        return Err(Diagnostic::error(
            "operand-quantized",
            format!("{x} is not quantised"),
        ));
    }
    if !to.is_float() {
        return Err(Diagnostic::error(
            "result-is-float",
            format!("the result cannot be {to}"),
        ));
    }
    Ok(Type::new(to, x.shape.clone()))
}

/// Whether a type's quantisation fits its elements and shape.
///
/// # Errors
/// `quant-fits` where it does not.
pub fn fits(ty: &Type) -> Result<(), Diagnostic> {
    let problem = match ty.quant {
        None => return Ok(()),
        Some(Quant::Block { .. }) if ty.elem != Elem::I4 => "only i4 has steps in blocks",
        Some(Quant::Block { axis, group }) => match ty.shape[..] {
            [rows, columns] if axis < 2 => {
                let k = [columns, rows][axis];
                if group > 0 && group.is_multiple_of(2) && k.is_multiple_of(group) {
                    return Ok(());
                }
                "the blocks must be even and divide the axis that has no channels"
            }
            _ => "only matrices have blocks",
        },
        Some(_) if ty.elem != Elem::I8 => "only i8 can be quantised",
        Some(Quant::Tensor { scale } | Quant::Affine { scale, .. })
            if !(scale.is_finite() && scale > 0.0) =>
        {
            "the scale must be positive and finite"
        }
        Some(Quant::Row { .. }) if ty.rank() == 0 => "a scalar has no rows",
        Some(Quant::Row { group }) if group == 0 || !ty.columns().is_multiple_of(group) => {
            "the group must divide the last axis"
        }
        Some(Quant::Channel { axis } | Quant::Shifted { axis }) if axis >= ty.rank() => {
            "there is no such axis"
        }
        Some(
            Quant::Tensor { .. }
            | Quant::Affine { .. }
            | Quant::Row { .. }
            | Quant::Channel { .. }
            | Quant::Shifted { .. },
        ) => return Ok(()),
    };
    Err(Diagnostic::error("quant-fits", format!("{ty}: {problem}")))
}
