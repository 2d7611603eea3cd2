//! Shape rules of operators that move elements without computing.
//!
//! Quantised values pass where the elements that share a scale stay together.

use super::{check_axis, check_plain, common_elem};
use crate::diag::Diagnostic;
use crate::ty::{Quant, Type};

/// Same number of elements; row groups need the last axis kept.
pub(super) fn reshape(x: &Type, shape: &[usize]) -> Result<Type, Diagnostic> {
    let result = Type {
        elem: x.elem,
        shape: shape.to_vec(),
        quant: x.quant,
    };
    super::within_limit(&result)?;
    if result.elements() != x.elements() {
        return Err(Diagnostic::error(
            "element-count-kept",
            format!(
                "{x} has {} elements, {shape:?} has {}",
                x.elements(),
                result.elements()
            ),
        ));
    }
    match x.quant {
        None | Some(Quant::Tensor { .. } | Quant::Affine { .. }) => Ok(result),
        Some(Quant::Row { .. }) if result.columns() == x.columns() && !shape.is_empty() => {
            Ok(result)
        }
        Some(Quant::Channel { .. }) if result.shape == x.shape => Ok(result),
        Some(Quant::Block { .. }) if result.shape == x.shape => Ok(result),
        Some(
            Quant::Row { .. } | Quant::Channel { .. } | Quant::Shifted { .. } | Quant::Block { .. },
        ) => Err(split(x, "the last axis must stay")),
    }
}

/// A permutation of the axes; row groups need the last axis to stay last.
pub(super) fn transpose(x: &Type, perm: &[usize]) -> Result<Type, Diagnostic> {
    let mut seen = vec![false; x.rank()];
    for &axis in perm {
        if axis < seen.len() {
            seen[axis] = true;
        }
    }
    if perm.len() != x.rank() || seen.contains(&false) {
        return Err(Diagnostic::error(
            "perm-is-permutation",
            format!("{perm:?} is not a permutation of the axes of {x}"),
        ));
    }
    let quant = match x.quant {
        None | Some(Quant::Tensor { .. } | Quant::Affine { .. }) => x.quant,
        Some(Quant::Row { .. }) if perm.last() == Some(&(x.rank() - 1)) => x.quant,
        Some(Quant::Row { .. }) => return Err(split(x, "the last axis must stay last")),
        Some(Quant::Channel { axis }) => perm
            .iter()
            .position(|&a| a == axis)
            .map(|axis| Quant::Channel { axis }),
        Some(Quant::Shifted { .. } | Quant::Block { .. }) => {
            return Err(split(x, "channels and blocks must stay"));
        }
    };
    Ok(Type {
        elem: x.elem,
        shape: perm.iter().map(|&a| x.shape[a]).collect(),
        quant,
    })
}

/// Axes of length 1 repeat, new axes come first; an axis with scales of its own cannot repeat.
pub(super) fn expand(x: &Type, shape: &[usize]) -> Result<Type, Diagnostic> {
    if super::broadcast(&x.shape, shape).as_deref() != Some(shape) {
        return Err(Diagnostic::error(
            "shapes-broadcast",
            format!("{x} does not expand to {shape:?}"),
        ));
    }
    let added = shape.len() - x.rank();
    let quant = match x.quant {
        None | Some(Quant::Tensor { .. } | Quant::Affine { .. }) => x.quant,
        Some(Quant::Row { .. }) if shape.last() == x.shape.last() => x.quant,
        Some(Quant::Row { .. }) => return Err(split(x, "the last axis must stay")),
        Some(Quant::Channel { axis }) if shape[axis + added] == x.shape[axis] => {
            Some(Quant::Channel { axis: axis + added })
        }
        Some(Quant::Channel { .. } | Quant::Shifted { .. } | Quant::Block { .. }) => {
            return Err(split(x, "its axis must stay"));
        }
    };
    Ok(Type {
        elem: x.elem,
        shape: shape.to_vec(),
        quant,
    })
}

/// What is held and what is new are rows of the same width.
pub(super) fn cache(x: &[&Type]) -> Result<Type, Diagnostic> {
    if x.len() > 2 {
        let message = format!("takes one or two operands and has {}", x.len());
        return Err(Diagnostic::error("operand-count", message));
    }
    if let Some(ty) = x.iter().find(|ty| ty.rank() != 3) {
        let message = format!("needs [batch, rows, width], found {ty}");
        return Err(Diagnostic::error("cache-shape", message));
    }
    concat(x, 1)
}

/// All axes but one agree; quantised parts agree in their quantisation.
pub(super) fn concat(parts: &[&Type], axis: usize) -> Result<Type, Diagnostic> {
    let first = parts[0];
    check_axis(first, axis)?;
    let mut result = first.clone();
    for part in &parts[1..] {
        let others_agree = part.rank() == first.rank()
            && (0..first.rank()).all(|i| i == axis || part.shape[i] == first.shape[i]);
        if !others_agree {
            return Err(Diagnostic::error(
                "shapes-agree",
                format!("{first} and {part} differ in more than axis {axis}"),
            ));
        }
        if part.quant != first.quant {
            return Err(Diagnostic::error(
                "quants-agree",
                format!("{first} and {part} are not quantised alike"),
            ));
        }
        result.elem = common_elem(&result, part)?;
        result.shape[axis] = result.shape[axis].saturating_add(part.shape[axis]);
    }
    match first.quant {
        // Each index has one scale, which the parts do not share.
        Some(Quant::Channel { axis: scaled }) if scaled != axis && parts.len() > 1 => {
            Err(split(first, "only its own axis can be joined"))
        }
        Some(Quant::Shifted { .. } | Quant::Block { .. }) => Err(split(
            first,
            "channels with zero points, or blocks, cannot be joined",
        )),
        None
        | Some(
            Quant::Tensor { .. } | Quant::Affine { .. } | Quant::Row { .. } | Quant::Channel { .. },
        ) => Ok(result),
    }
}

/// Every element taken exists; row groups are taken whole.
pub(super) fn slice(
    x: &Type,
    start: &[usize],
    count: &[usize],
    step: &[isize],
) -> Result<Type, Diagnostic> {
    if [start.len(), count.len(), step.len()] != [x.rank(); 3] {
        return Err(Diagnostic::error(
            "one-entry-an-axis",
            format!("needs start, count and step for each axis of {x}"),
        ));
    }
    for axis in 0..x.rank() {
        let inside = step[axis] != 0
            && (count[axis] == 0
                || (start[axis] < x.shape[axis]
                    && last_taken(start[axis], count[axis], step[axis])
                        .is_some_and(|last| last < x.shape[axis])));
        if !inside {
            return Err(Diagnostic::error(
                "slice-in-range",
                format!(
                    "{} elements from {} in steps of {} leave axis {axis} of {x}",
                    count[axis], start[axis], step[axis]
                ),
            ));
        }
    }
    if let Some(Quant::Block { .. }) = x.quant {
        return Err(split(x, "blocks cannot be cut"));
    }
    if let Some(Quant::Row { group }) = x.quant {
        let last = x.rank() - 1;
        let whole = start[last].is_multiple_of(group) && count[last].is_multiple_of(group);
        if !whole || step[last] != 1 {
            return Err(split(x, "the last axis can only be cut between groups"));
        }
    }
    Ok(Type {
        elem: x.elem,
        shape: count.to_vec(),
        quant: x.quant,
    })
}

/// Adds elements at every axis.
pub(super) fn pad(x: &Type, before: &[usize], after: &[usize]) -> Result<Type, Diagnostic> {
    check_plain(x)?;
    if [before.len(), after.len()] != [x.rank(); 2] {
        return Err(Diagnostic::error(
            "one-entry-an-axis",
            format!("needs before and after for each axis of {x}"),
        ));
    }
    let shape: Vec<usize> = x
        .shape
        .iter()
        .zip(before.iter().zip(after))
        .map(|(&n, (&b, &a))| n.saturating_add(b).saturating_add(a))
        .collect();
    Ok(Type::new(x.elem, shape))
}

/// The index of the last element of a slice, if it can be said.
fn last_taken(start: usize, count: usize, step: isize) -> Option<usize> {
    let steps = isize::try_from(count - 1).ok()?;
    start.checked_add_signed(step.checked_mul(steps)?)
}

fn split(x: &Type, rule: &str) -> Diagnostic {
    Diagnostic::error(
        "groups-stay-whole",
        format!("{x} has scales for parts of it: {rule}"),
    )
}
