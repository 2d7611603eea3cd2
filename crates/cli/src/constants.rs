//! Inputs that are constants: what the user may say of them, and the values that array files hold.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use packwright_ir::Elem;
use packwright_ir::tensor::Tensor;
use packwright_ir::ty::Type;
use packwright_onnx::bind::bind;
use packwright_onnx::{Binding, Given, Model};
use packwright_packet::operand;

use crate::arrays;
use crate::errors::{Failure, Problem};

/// What the user says of an input that is a constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Numbers that follow from a word.
    Given(Given),
    /// The array of the input's name in an `.npz`.
    File(PathBuf),
}

/// An input and the array file that holds it.
pub type InputFile = (String, PathBuf);

/// The values of inputs that array files hold.
///
/// # Errors
/// Every name that is no input, every value that does not fit.
pub fn fixed(
    model: &Model,
    binding: &Binding,
    choices: &[InputFile],
) -> Result<IndexMap<String, Tensor>, Failure> {
    let mut fixed = IndexMap::new();
    if choices.is_empty() {
        return Ok(fixed);
    }
    let bound = bind(model, binding)?;
    let ports = model.inputs();
    let mut problems = Vec::new();
    for (name, value) in choices {
        let Some(place) = ports.iter().position(|port| port.name == *name) else {
            let known: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
            problems.push(
                Problem::error("const-unknown", format!("the model has no input `{name}`"))
                    .help(format!("its inputs are {}", known.join(", "))),
            );
            continue;
        };
        let ty = ports[place]
            .elem
            .map(|elem| Type::new(elem, bound.shapes[place].clone()));
        match ty.map(|ty| tensor(name, value, &ty)) {
            Some(Ok(tensor)) => {
                fixed.insert(name.clone(), tensor);
            }
            Some(Err(failure)) => problems.extend(failure.0),
            None => problems.push(unfit(name, "has an element type that is not known")),
        }
    }
    if problems.is_empty() {
        Ok(fixed)
    } else {
        Err(Failure(problems))
    }
}

fn tensor(name: &str, path: &Path, ty: &Type) -> Result<Tensor, Failure> {
    let bytes = from_file(name, path, ty)?;
    Tensor::from_le_bytes(ty, &bytes)
        .ok_or_else(|| unfit(name, &format!("is {ty}, and the values are not")).into())
}

fn from_file(name: &str, path: &Path, ty: &Type) -> Result<Vec<u8>, Failure> {
    let arrays = arrays::read(path)?;
    let array = arrays
        .get(name)
        .ok_or_else(|| unfit(name, &format!("has no array in {}", path.display())))?;
    if array.shape() != ty.shape {
        let found = array.shape();
        return Err(unfit(name, &format!("is {ty}, its array has the shape {found:?}")).into());
    }
    let elem = match ty.elem {
        Elem::I8 => Some(operand::Elem::I8),
        Elem::I32 => Some(operand::Elem::I32),
        Elem::I64 => Some(operand::Elem::I64),
        Elem::F16 => Some(operand::Elem::F16),
        Elem::F32 => Some(operand::Elem::F32),
        Elem::Bool | Elem::I4 | Elem::U8 | Elem::F64 => None,
    };
    let found = array.type_name();
    elem.and_then(|elem| array.to_bytes(elem))
        .ok_or_else(|| unfit(name, &format!("is {ty}, its array holds {found}")).into())
}

fn unfit(name: &str, problem: &str) -> Problem {
    Problem::error("const-value", format!("input `{name}` {problem}"))
}
