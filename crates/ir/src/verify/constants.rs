//! Laws of constants: types, byte counts, derivations.

use crate::diag::Diagnostic;
use crate::graph::Graph;
use crate::id::ConstId;
use crate::infer;
use crate::konst::{Const, Derivation, FillKind, Source};
use crate::op::Op;
use crate::ty::{Elem, Quant, Type};

/// All complaints about the constants of a graph.
pub(super) fn check_all(graph: &Graph) -> Vec<Diagnostic> {
    let consts = graph.consts();
    let mut found: Vec<Diagnostic> = (0..consts.len())
        .filter_map(|index| {
            let place = ConstId(index as u32).to_string();
            check(consts, index).err().map(|problem| problem.at(place))
        })
        .collect();
    found.extend(check_acyclic(consts));
    found
}

/// Checks one constant among all.
///
/// # Errors
/// The first law that it breaks.
pub(crate) fn check(consts: &[Const], index: usize) -> Result<(), Diagnostic> {
    let Const { ty, source, .. } = &consts[index];
    infer::well_formed(ty)?;
    match source {
        Source::Absent => Ok(()),
        Source::Bytes(bytes) => check_bytes(ty, bytes.len()),
        Source::Synthetic(fill) => check_fill(fill.kind),
        Source::Derived(derivation) => {
            let expected = derived(consts, ty, derivation)?;
            if expected == *ty {
                return Ok(());
            }
            Err(Diagnostic::error(
                "type-mismatch",
                format!("the constant is declared {ty}, its derivation gives {expected}"),
            ))
        }
    }
}

fn check_bytes(ty: &Type, found: usize) -> Result<(), Diagnostic> {
    if found != ty.bytes() {
        return Err(Diagnostic::error(
            "const-bytes",
            format!("{ty} takes {} bytes and has {found}", ty.bytes()),
        ));
    }
    match ty.quant {
        None | Some(Quant::Tensor { .. } | Quant::Affine { .. }) => Ok(()),
        Some(
            Quant::Row { .. } | Quant::Channel { .. } | Quant::Shifted { .. } | Quant::Block { .. },
        ) => Err(
            Diagnostic::error("const-scales", format!("nothing says the scales of {ty}"))
                .help("store the real numbers and derive the constant from them"),
        ),
    }
}

fn check_fill(kind: FillKind) -> Result<(), Diagnostic> {
    let sound = match kind {
        FillKind::Normal { std } => std.is_finite() && std >= 0.0,
        FillKind::Uniform { low, high } => low.is_finite() && high.is_finite() && low <= high,
        FillKind::UniformInt { low, high } => low <= high,
        FillKind::Constant { .. } | FillKind::Arange | FillKind::Tril => true,
    };
    if sound {
        return Ok(());
    }
    Err(Diagnostic::error(
        "attribute-range",
        format!("no values can be made by {kind:?}"),
    ))
}

/// The type that a derivation gives.
fn derived(consts: &[Const], ty: &Type, derivation: &Derivation) -> Result<Type, Diagnostic> {
    let source = |id: &ConstId| match consts.get(id.index()) {
        Some(konst) => Ok(&konst.ty),
        None => Err(Diagnostic::error(
            "unknown-operand",
            format!("there is no constant {id}"),
        )),
    };
    let (op, operands) = match derivation {
        Derivation::Transpose { of, perm } => {
            (Op::Transpose { perm: perm.clone() }, vec![source(of)?])
        }
        Derivation::Reshape { of } => (
            Op::Reshape {
                shape: ty.shape.clone(),
            },
            vec![source(of)?],
        ),
        Derivation::Expand { of } => (
            Op::Expand {
                shape: ty.shape.clone(),
            },
            vec![source(of)?],
        ),
        Derivation::Slice {
            of,
            start,
            count,
            step,
        } => (
            Op::Slice {
                start: start.clone(),
                count: count.clone(),
                step: step.clone(),
            },
            vec![source(of)?],
        ),
        Derivation::Rest { of, axis } => {
            let of = source(of)?;
            let quant = Quant::Channel { axis: *axis };
            infer::infer(&Op::Quantize { quant }, &[of])?;
            return Ok(of.clone());
        }
        Derivation::Concat { of, axis } => (
            Op::Concat { axis: *axis },
            of.iter().map(source).collect::<Result<_, _>>()?,
        ),
        Derivation::Quantize { of } => match ty.quant {
            Some(quant @ (Quant::Channel { .. } | Quant::Block { .. })) => {
                (Op::Quantize { quant }, vec![source(of)?])
            }
            None
            | Some(
                Quant::Tensor { .. }
                | Quant::Affine { .. }
                | Quant::Row { .. }
                | Quant::Shifted { .. },
            ) => {
                return Err(Diagnostic::error(
                    "quant-fits",
                    format!("{ty} is not quantised with a scale for each index of an axis"),
                ));
            }
        },
        Derivation::Dequantize { of } => (Op::Dequantize { to: ty.elem }, vec![source(of)?]),
        Derivation::Scaled {
            of: [values, scales],
        } => return scaled(ty, source(values)?, source(scales)?),
        Derivation::ScaleEach {
            of: [of, factors],
            axis,
        } => {
            let (of, factors) = (scalable(source(of)?)?, source(factors)?);
            let wanted = of.shape.get(*axis).map(|&n| Type::new(Elem::F32, [n]));
            if wanted.as_ref() != Some(factors) {
                let message = format!("axis {axis} of {of} cannot be scaled by {factors}");
                return Err(Diagnostic::error("axes-differ", message));
            }
            return Ok(of.clone());
        }
        Derivation::Scale { of, factor } => {
            let of = scalable(source(of)?)?;
            if !factor.is_finite() {
                let message = format!("factor is {factor:?}");
                return Err(Diagnostic::error("attribute-range", message));
            }
            return Ok(of.clone());
        }
    };
    let mut types = infer::infer(&op, &operands)?;
    Ok(types.swap_remove(0))
}

/// The type of a constant that can be multiplied.
fn scalable(of: &Type) -> Result<&Type, Diagnostic> {
    if of.quant.is_some() || !of.elem.is_float() {
        let message = format!("cannot scale {of}");
        return Err(Diagnostic::error("operand-is-float", message));
    }
    Ok(of)
}

/// The type of i8 values with a scale, or a scale and a zero point, for each channel, or of i4 values with a step for each block.
fn scaled(ty: &Type, values: &Type, scales: &Type) -> Result<Type, Diagnostic> {
    let wanted = match (ty.quant, &ty.shape[..]) {
        (Some(Quant::Channel { axis }), shape) => shape
            .get(axis)
            .map(|&n| (Elem::I8, Type::new(Elem::F32, [n]))),
        (Some(Quant::Shifted { axis }), shape) => shape
            .get(axis)
            .map(|&n| (Elem::I8, Type::new(Elem::F32, [n, 2]))),
        (
            Some(Quant::Block {
                axis: axis @ (0 | 1),
                group,
            }),
            shape @ [_, _],
        ) => {
            let blocks = shape[1 - axis].checked_div(group);
            blocks.map(|blocks| (Elem::I4, Type::new(Elem::F16, [shape[axis], blocks])))
        }
        (None | Some(_), _) => None,
    };
    let plain = values.quant.is_none();
    if plain && wanted == Some((values.elem, scales.clone())) {
        return Ok(Type {
            quant: ty.quant,
            ..values.clone()
        });
    }
    Err(Diagnostic::error(
        "quant-fits",
        format!("{values} with the scales {scales} is no {ty}"),
    ))
}

/// No constant is derived from itself.
fn check_acyclic(consts: &[Const]) -> Option<Diagnostic> {
    let mut readers = vec![Vec::new(); consts.len()];
    let mut waiting = vec![0usize; consts.len()];
    for (index, konst) in consts.iter().enumerate() {
        for of in konst.derived_from() {
            if let Some(readers) = readers.get_mut(of.index()) {
                readers.push(index);
                waiting[index] += 1;
            }
        }
    }
    let mut ready: Vec<usize> = (0..consts.len()).filter(|&i| waiting[i] == 0).collect();
    while let Some(index) = ready.pop() {
        for &reader in &readers[index] {
            waiting[reader] -= 1;
            if waiting[reader] == 0 {
                ready.push(reader);
            }
        }
    }
    let first = waiting.iter().position(|&left| left > 0)?;
    let message = "is derived from itself".to_owned();
    Some(Diagnostic::error("cycle", message).at(ConstId(first as u32).to_string()))
}
