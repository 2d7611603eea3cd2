//! Shape rules of reductions and normalisations.

use super::{check_axis, check_float, check_number, check_rank, check_shape};
use crate::diag::Diagnostic;
use crate::op::Reduce;
use crate::ty::Type;

/// The axes vanish or stay with length 1.
pub(super) fn reduce(
    x: &Type,
    kind: Reduce,
    axes: &[usize],
    keep: bool,
) -> Result<Type, Diagnostic> {
    match kind {
        Reduce::Sum | Reduce::Max | Reduce::Min | Reduce::Prod | Reduce::SumSquare => {
            check_number(x)?;
        }
        Reduce::Mean | Reduce::LogSumExp => check_float(x)?,
    }
    let mut gone = vec![false; x.rank()];
    for &axis in axes {
        check_axis(x, axis)?;
        if gone[axis] {
            return Err(Diagnostic::error(
                "axes-differ",
                format!("axis {axis} is named twice"),
            ));
        }
        gone[axis] = true;
    }
    let mut shape = Vec::with_capacity(x.rank());
    for (&n, &gone) in x.shape.iter().zip(&gone) {
        match (gone, keep) {
            (false, _) => shape.push(n),
            (true, true) => shape.push(1),
            (true, false) => {}
        }
    }
    Ok(Type::new(x.elem, shape))
}

/// The operand's type.
pub(super) fn softmax(x: &Type, axis: usize) -> Result<Type, Diagnostic> {
    check_float(x)?;
    check_axis(x, axis)?;
    Ok(x.clone())
}

/// The operand's type; gamma and beta are one row.
pub(super) fn norm(x: &Type, affine: &[&Type], eps: f32) -> Result<Type, Diagnostic> {
    check_float(x)?;
    check_rank(x, 1)?;
    for (part, what) in affine.iter().zip(["gamma", "beta"]) {
        check_float(part)?;
        check_shape(what, part, &[x.columns()])?;
    }
    if !eps.is_finite() || eps < 0.0 {
        return Err(Diagnostic::error(
            "attribute-range",
            format!("eps is {eps:?}"),
        ));
    }
    Ok(x.clone())
}
