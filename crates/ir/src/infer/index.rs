//! Shape rules of operators that pick, write and order elements by index.

use super::{
    check_axis, check_float, check_index, check_number, check_plain, check_rank, check_shape,
};
use crate::diag::Diagnostic;
use crate::ty::{Elem, Quant, Type};

/// The axis gives way to the shape of the indices. Rows of a table with a scale a row come out as
/// real numbers.
pub(super) fn gather(table: &Type, indices: &Type, axis: usize) -> Result<Type, Diagnostic> {
    check_axis(table, axis)?;
    check_index(indices)?;
    let mut shape = table.shape[..axis].to_vec();
    shape.extend(&indices.shape);
    shape.extend(&table.shape[axis + 1..]);
    match table.quant {
        None | Some(Quant::Tensor { .. } | Quant::Affine { .. }) => Ok(Type {
            elem: table.elem,
            shape,
            quant: table.quant,
        }),
        Some(Quant::Row { .. }) if axis + 1 < table.rank() => Ok(Type {
            elem: table.elem,
            shape,
            quant: table.quant,
        }),
        Some(Quant::Channel { axis: 0 }) if axis == 0 => Ok(Type::new(Elem::F32, shape)),
        Some(
            Quant::Row { .. } | Quant::Channel { .. } | Quant::Shifted { .. } | Quant::Block { .. },
        ) => Err(Diagnostic::error(
            "groups-stay-whole",
            format!("{table} has scales for parts of it: only whole rows can be gathered"),
        )),
    }
}

/// The shape of the indices; they may not be longer than the operand on other axes.
pub(super) fn gather_elements(x: &Type, indices: &Type, axis: usize) -> Result<Type, Diagnostic> {
    check_plain(x)?;
    check_index_box(x, indices, axis)?;
    Ok(Type::new(x.elem, indices.shape.clone()))
}

/// The operand's type.
pub(super) fn scatter_elements(
    x: &Type,
    indices: &Type,
    updates: &Type,
    axis: usize,
) -> Result<Type, Diagnostic> {
    check_plain(x)?;
    check_index_box(x, indices, axis)?;
    check_updates(x, updates, &indices.shape)?;
    Ok(x.clone())
}

/// The operand's type; the last axis of the indices names leading axes of the operand.
pub(super) fn scatter_nd(x: &Type, indices: &Type, updates: &Type) -> Result<Type, Diagnostic> {
    check_plain(x)?;
    check_index(indices)?;
    check_rank(indices, 1)?;
    let named = indices.columns();
    if named > x.rank() {
        return Err(Diagnostic::error(
            "axis-in-range",
            format!("{indices} names {named} axes, {x} has {}", x.rank()),
        ));
    }
    let mut shape = indices.shape[..indices.rank() - 1].to_vec();
    shape.extend(&x.shape[named..]);
    check_updates(x, updates, &shape)?;
    Ok(x.clone())
}

/// Values and their indices.
pub(super) fn top_k(x: &Type, axis: usize, count: usize) -> Result<Vec<Type>, Diagnostic> {
    check_number(x)?;
    check_axis(x, axis)?;
    if count > x.shape[axis] {
        return Err(Diagnostic::error(
            "count-in-range",
            format!("{count} elements are more than axis {axis} of {x} has"),
        ));
    }
    let mut shape = x.shape.clone();
    shape[axis] = count;
    Ok(vec![
        Type::new(x.elem, shape.clone()),
        Type::new(Elem::I64, shape),
    ])
}

/// Indices along the axis.
pub(super) fn arg_max(x: &Type, axis: usize, keep: bool) -> Result<Type, Diagnostic> {
    check_number(x)?;
    check_axis(x, axis)?;
    if x.shape[axis] == 0 {
        return Err(Diagnostic::error(
            "count-in-range",
            format!("axis {axis} of {x} is empty"),
        ));
    }
    let mut shape = x.shape.clone();
    if keep {
        shape[axis] = 1;
    } else {
        shape.remove(axis);
    }
    Ok(Type::new(Elem::I64, shape))
}

/// The operand's type.
pub(super) fn cum_sum(x: &Type, axis: usize) -> Result<Type, Diagnostic> {
    check_number(x)?;
    check_axis(x, axis)?;
    Ok(x.clone())
}

/// The operand's type; the triangle lies in the last two axes.
pub(super) fn trilu(x: &Type) -> Result<Type, Diagnostic> {
    check_plain(x)?;
    check_rank(x, 2)?;
    Ok(x.clone())
}

/// The operand's type; the operand gives the shape only.
pub(super) fn random_normal(x: &Type) -> Result<Type, Diagnostic> {
    check_float(x)?;
    Ok(x.clone())
}

fn check_index_box(x: &Type, indices: &Type, axis: usize) -> Result<(), Diagnostic> {
    check_axis(x, axis)?;
    check_index(indices)?;
    let inside = indices.rank() == x.rank()
        && (0..x.rank()).all(|i| i == axis || indices.shape[i] <= x.shape[i]);
    if inside {
        return Ok(());
    }
    Err(Diagnostic::error(
        "shapes-agree",
        format!("{indices} does not lie inside {x} on the axes other than {axis}"),
    ))
}

fn check_updates(x: &Type, updates: &Type, shape: &[usize]) -> Result<(), Diagnostic> {
    check_shape("the updates", updates, shape)?;
    if updates.elem == x.elem && updates.quant.is_none() {
        return Ok(());
    }
    Err(Diagnostic::error(
        "elements-agree",
        format!("{updates} cannot be written to {x}"),
    ))
}
