//! Lengths for the axes that have names instead.

use indexmap::IndexMap;
use packwright_ir::Type;
use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_ir::tensor::Tensor;

use crate::axis::{Axis, Dim, Role, role_of_place};
use crate::codes;
use crate::load::{Model, Port};
use crate::values;

/// What the user says about inputs, and about numbers that a model draws by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// Lengths by the model's own names.
    pub names: IndexMap<String, u64>,
    /// Every axis of batches, whatever its name; 1 where nobody says.
    pub batch: Option<u64>,
    /// Every axis of positions that are computed in this pass.
    pub seq: Option<u64>,
    /// Every axis of positions already in the cache.
    pub past: Option<u64>,
    /// Every axis of encoder positions that a decoder looks at.
    pub encoder: Option<u64>,
    /// Inputs that are constants, by name.
    pub consts: IndexMap<String, Given>,
    /// What becomes of operators that draw random numbers.
    pub random: Random,
}

/// What becomes of operators that draw random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Random {
    /// The numbers follow from this seed and the operator's place in the model.
    Seed(u64),
    /// They stand in the way.
    Refuse,
}

impl Default for Random {
    fn default() -> Self {
        Self::Seed(0)
    }
}

/// The values of an input that is a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// One number everywhere; flags are 0 or 1.
    All(i64),
    /// 1 at the first place of each row, 0 elsewhere.
    First,
}

impl Given {
    /// The values in a type.
    pub(crate) fn tensor(self, ty: &Type) -> Tensor {
        match self {
            Given::All(number) => values::filled(ty.elem, &ty.shape, number as f64),
            Given::First => {
                let columns = ty.columns().max(1);
                let first = |i: usize| i64::from(i.is_multiple_of(columns));
                let numbers = Tensor::i64(&ty.shape, (0..ty.elements()).map(first).collect());
                values::converted(&numbers, ty.elem)
            }
        }
    }
}

/// The lengths of all axes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Lengths by name, in the order of the model.
    pub axes: IndexMap<String, u64>,
    /// The shape of each input.
    pub shapes: Vec<Vec<usize>>,
}

/// Gives every named axis of the inputs a length.
///
/// # Errors
/// Unknown names, zero lengths, contradictions, and one complaint with all axes left open.
pub fn bind(model: &Model, binding: &Binding) -> Result<Bound, Diagnostics> {
    let inputs = model.inputs();
    let axes = model.axes();
    let mut errors = Vec::new();
    let mut bound = by_name(&axes, binding, &mut errors);
    by_role(&inputs, &axes, binding, &mut bound, &mut errors);
    totals(&axes, &mut bound);

    let open: Vec<&Axis> = axes
        .iter()
        .filter(|a| !bound.contains_key(&a.name))
        .collect();
    if errors.is_empty() && !open.is_empty() {
        errors.push(codes::axis_unbound(&open));
    }
    if !errors.is_empty() {
        return Err(Diagnostics(errors));
    }
    let mut shapes = Vec::with_capacity(inputs.len());
    for port in &inputs {
        match shape(port, &bound) {
            Ok(shape) => shapes.push(shape),
            Err(e) => errors.push(e),
        }
    }
    if !errors.is_empty() {
        return Err(Diagnostics(errors));
    }
    let axes = axes
        .iter()
        .filter_map(|a| Some((a.name.clone(), *bound.get(&a.name)?)))
        .collect();
    Ok(Bound { axes, shapes })
}

fn by_name(
    axes: &[Axis],
    binding: &Binding,
    errors: &mut Vec<Diagnostic>,
) -> IndexMap<String, u64> {
    let mut bound = IndexMap::new();
    for (name, &length) in &binding.names {
        let axis = axes.iter().find(|a| a.name == *name);
        // Nothing may be cached yet; any other length begins at 1.
        let may_be_empty = axis.is_some_and(|axis| axis.role == Role::Past);
        if axis.is_none() {
            errors.push(codes::axis_unknown(name, axes));
        } else if length == 0 && !may_be_empty {
            errors.push(codes::axis_zero(name, axes));
        } else {
            bound.insert(name.clone(), length);
        }
    }
    bound
}

fn by_role(
    inputs: &[Port],
    axes: &[Axis],
    binding: &Binding,
    bound: &mut IndexMap<String, u64>,
    errors: &mut Vec<Diagnostic>,
) {
    let roles = [
        (Role::Batch, "batch", binding.batch),
        (Role::Sequence, "seq", binding.seq),
        (Role::Past, "past", binding.past),
        (Role::Encoder, "encoder", binding.encoder),
    ];
    for (role, option, wanted) in roles {
        let named: Vec<&Axis> = axes.iter().filter(|a| a.role == role).collect();
        let Some(length) = wanted else {
            if role == Role::Batch {
                for axis in named {
                    bound.entry(axis.name.clone()).or_insert(1);
                }
            }
            continue;
        };
        if length == 0 && role != Role::Past {
            errors.push(codes::axis_zero(option, axes));
            continue;
        }
        let fixed = fixed_lengths(inputs, role);
        if named.is_empty() && fixed.is_empty() {
            errors.push(codes::axis_unknown(option, axes));
        }
        for (place, fixed) in fixed {
            if fixed != length {
                errors.push(codes::axis_fixed(option, length, &place, fixed, axes));
            }
        }
        for axis in named {
            match bound.insert(axis.name.clone(), length) {
                Some(other) if other != length => {
                    let name = &axis.name;
                    errors.push(codes::axis_conflict(name, other, option, length, axes));
                }
                _ => {}
            }
        }
    }
}

/// Fixed lengths of the axes that have the role by their place.
fn fixed_lengths(inputs: &[Port], role: Role) -> Vec<(String, u64)> {
    let cached = inputs.iter().any(|p| p.name.starts_with("past"));
    let mut fixed = Vec::new();
    for port in inputs {
        for (at, dim) in port.dims.iter().flatten().enumerate() {
            if let Dim::Fixed(n) = dim
                && role_of_place(&port.name, at, cached) == role
            {
                fixed.push((format!("axis {at} of {}", port.name), *n));
            }
        }
    }
    fixed
}

/// A whole length that is no expression is cached and new positions together.
fn totals(axes: &[Axis], bound: &mut IndexMap<String, u64>) {
    let length = |bound: &IndexMap<String, u64>, role: Role| {
        axes.iter()
            .find(|a| a.role == role)
            .and_then(|a| bound.get(&a.name).copied())
    };
    for axis in axes.iter().filter(|a| a.role == Role::Total) {
        if !bound.contains_key(&axis.name)
            && let (Some(past), Some(new)) =
                (length(bound, Role::Past), length(bound, Role::Sequence))
            && let Some(total) = past.checked_add(new)
        {
            bound.insert(axis.name.clone(), total);
        }
    }
}

fn shape(port: &Port, bound: &IndexMap<String, u64>) -> Result<Vec<usize>, Diagnostic> {
    let dims = port
        .dims
        .as_ref()
        .ok_or_else(|| codes::input_without_shape(&port.name))?;
    let mut shape = Vec::with_capacity(dims.len());
    for dim in dims {
        let length = match dim {
            Dim::Fixed(n) => Some(*n),
            Dim::Named(name) => bound.get(name).copied(),
            Dim::Sum(sum) => sum.solve(|name| bound.get(name).copied()),
        };
        let length = length
            .and_then(|n| i64::try_from(n).ok())
            .ok_or_else(|| codes::axis_unsolved(&port.name, &dim.to_string()))?;
        shape.push(length);
    }
    crate::values::need_shape(&shape, &port.name)
}
