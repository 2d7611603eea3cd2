//! Shape rules of functions of single elements.

use super::{check_float, check_number, check_plain, common_elem, common_shape};
use crate::diag::Diagnostic;
use crate::op::{Binary, Unary};
use crate::ty::{Elem, Type};

/// The operand's shape; a predicate gives bool, everything else the operand's elements.
pub(super) fn unary(f: Unary, x: &Type) -> Result<Type, Diagnostic> {
    match f {
        Unary::Not => {
            check_bool(x)?;
            Ok(x.clone())
        }
        Unary::IsNan => {
            check_float(x)?;
            Ok(Type::new(Elem::Bool, x.shape.clone()))
        }
        Unary::Neg | Unary::Abs | Unary::Relu => {
            check_number(x)?;
            Ok(x.clone())
        }
        Unary::Sqrt
        | Unary::Rsqrt
        | Unary::Reciprocal
        | Unary::Exp
        | Unary::Log
        | Unary::Erf
        | Unary::Tanh
        | Unary::Sigmoid
        | Unary::GeluErf
        | Unary::GeluTanh
        | Unary::Silu
        | Unary::Sin
        | Unary::Cos
        | Unary::Floor
        | Unary::Ceil
        | Unary::Round => {
            check_float(x)?;
            Ok(x.clone())
        }
    }
}

/// The broadcast shape; a comparison gives bool, arithmetic the common elements.
pub(super) fn binary(f: Binary, a: &Type, b: &Type) -> Result<Type, Diagnostic> {
    let elem = match f {
        Binary::Add
        | Binary::Sub
        | Binary::Mul
        | Binary::Div
        | Binary::Mod
        | Binary::Pow
        | Binary::Min
        | Binary::Max => {
            check_number(a)?;
            check_number(b)?;
            common_elem(a, b)?
        }
        Binary::Less | Binary::LessOrEqual | Binary::Greater | Binary::GreaterOrEqual => {
            check_number(a)?;
            check_number(b)?;
            common_elem(a, b)?;
            Elem::Bool
        }
        Binary::Equal => {
            check_plain(a)?;
            check_plain(b)?;
            common_elem(a, b)?;
            Elem::Bool
        }
        Binary::And | Binary::Or | Binary::Xor => {
            check_bool(a)?;
            check_bool(b)?;
            Elem::Bool
        }
    };
    Ok(Type::new(elem, common_shape(a, b)?))
}

/// The broadcast shape of all three; the common elements of the branches.
pub(super) fn select(cond: &Type, a: &Type, b: &Type) -> Result<Type, Diagnostic> {
    check_bool(cond)?;
    check_plain(a)?;
    check_plain(b)?;
    let branches = Type::new(common_elem(a, b)?, common_shape(a, b)?);
    let shape = common_shape(cond, &branches)?;
    Ok(Type::new(branches.elem, shape))
}

/// The operand's shape with other elements.
pub(super) fn cast(x: &Type, to: Elem) -> Result<Type, Diagnostic> {
    check_plain(x)?;
    Ok(Type::new(to, x.shape.clone()))
}

fn check_bool(ty: &Type) -> Result<(), Diagnostic> {
    if ty.elem == Elem::Bool {
        return Ok(());
    }
    Err(Diagnostic::error(
        "operand-is-bool",
        format!("needs bool, found {ty}"),
    ))
}
