//! Inputs that are constants: by a word, or from an array file.

use std::path::Path;

use indexmap::IndexMap;
use packwright_ir::Elem;
use packwright_ir::tensor::Tensor;
use packwright_ir::ty::Type;
use packwright_onnx::bind::bind;
use packwright_onnx::{Binding, Model};
use packwright_packet::operand;

use crate::arrays;
use crate::errors::{Failure, Problem};

/// An input and what it is: `ones`, `zeros`, `first` (1 at the first position of each row) or an `.npz`.
pub type Choice = (String, String);

/// The values of inputs that are constants.
///
/// # Errors
/// Every name that is no input, every value that does not fit.
pub fn fixed(
    model: &Model,
    binding: &Binding,
    choices: &[Choice],
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

fn tensor(name: &str, value: &str, ty: &Type) -> Result<Tensor, Failure> {
    let columns = ty.columns().max(1);
    let number: Option<fn(usize) -> bool> = match value {
        "ones" => Some(|_| true),
        "zeros" => Some(|_| false),
        "first" => Some(|place| place == 0),
        _ => None,
    };
    let bytes = match number {
        Some(number) => {
            let values = (0..ty.elements()).map(|i| number(i % columns));
            values.flat_map(|one| one_bytes(ty.elem, one)).collect()
        }
        None => from_file(name, value, ty)?,
    };
    Tensor::from_le_bytes(ty, &bytes)
        .ok_or_else(|| unfit(name, &format!("is {ty}, and the values are not")).into())
}

/// 1 or 0 as an element.
fn one_bytes(elem: Elem, one: bool) -> Vec<u8> {
    let one = u8::from(one);
    match elem {
        Elem::Bool | Elem::U8 | Elem::I8 => vec![one],
        Elem::I32 => i32::from(one).to_le_bytes().to_vec(),
        Elem::I64 => i64::from(one).to_le_bytes().to_vec(),
        Elem::F16 => half::f16::from_f32(f32::from(one)).to_le_bytes().to_vec(),
        Elem::F32 => f32::from(one).to_le_bytes().to_vec(),
        Elem::F64 => f64::from(one).to_le_bytes().to_vec(),
    }
}

fn from_file(name: &str, path: &str, ty: &Type) -> Result<Vec<u8>, Failure> {
    if !Path::new(path).extension().is_some_and(|e| e == "npz") {
        let help = "an input is fixed as NAME=ones, zeros, first or FILE.npz";
        return Err(unfit(name, &format!("cannot be fixed to `{path}`"))
            .help(help)
            .into());
    }
    let arrays = arrays::read(Path::new(path))?;
    let array = arrays
        .get(name)
        .ok_or_else(|| unfit(name, &format!("has no array in {path}")))?;
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
        Elem::Bool | Elem::U8 | Elem::F64 => None,
    };
    let found = array.type_name();
    elem.and_then(|elem| array.to_bytes(elem))
        .ok_or_else(|| unfit(name, &format!("is {ty}, its array holds {found}")).into())
}

fn unfit(name: &str, problem: &str) -> Problem {
    Problem::error("const-value", format!("input `{name}` {problem}"))
}
