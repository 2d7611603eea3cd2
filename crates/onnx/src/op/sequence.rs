//! Lists of tensors, resolved during the walk.

use std::rc::Rc;

use packwright_ir::diag::Diagnostic;

use crate::builder::{Arg, Builder};
use crate::codes;
use crate::node::{self, Node};

/// `SequenceConstruct`.
pub(crate) fn construct(_: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    Ok(vec![list(node.all()?.into_iter().cloned().collect())])
}

/// `SplitToSequence`.
pub(crate) fn split(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = node.arg(0)?;
    let shape = b.shape(x)?;
    let axis = node::axis(node.attrs.int("axis", 0)?, shape.len())?;
    let length = shape[axis];
    let (sizes, keep) = match node.opt(1) {
        None => (vec![1; length], node.attrs.flag("keepdims", true)?),
        Some(arg) => {
            let parts = arg
                .ints()
                .ok_or_else(|| node.data_dependent(1, "the sizes of the parts"))?;
            let scalar = b.shape(arg)?.is_empty();
            (part_sizes(&parts, scalar, length)?, true)
        }
    };
    let mut parts = Vec::with_capacity(sizes.len());
    let mut start = 0;
    for size in sizes {
        let mut part = b.cut(x, axis, start, size)?;
        if !keep {
            let mut squeezed = b.shape(&part)?;
            squeezed.remove(axis);
            part = b.reshape(&part, &squeezed)?;
        }
        parts.push(part);
        start += size;
    }
    Ok(vec![list(parts)])
}

/// Sizes as given, or equal ones and the rest where one number stands for all.
fn part_sizes(parts: &[i64], scalar: bool, length: usize) -> Result<Vec<usize>, Diagnostic> {
    let mismatch = || codes::form(format!("parts of {parts:?} do not fill {length}"));
    let sizes: Vec<usize> = (parts.iter())
        .map(|&n| usize::try_from(n).map_err(|_| mismatch()))
        .collect::<Result<_, _>>()?;
    if let ([size], true) = (&sizes[..], scalar) {
        if *size == 0 {
            return Err(mismatch());
        }
        let whole = length / size;
        let rest = length % size;
        return Ok([
            vec![*size; whole],
            if rest > 0 { vec![rest] } else { Vec::new() },
        ]
        .concat());
    }
    let total = sizes.iter().try_fold(0usize, |sum, &n| sum.checked_add(n));
    if total == Some(length) {
        Ok(sizes)
    } else {
        Err(mismatch())
    }
}

/// `SequenceAt`.
pub(crate) fn at(_: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let list = items(node.arg(0)?)?;
    let at = node::axis(node.need_int(1, "the position")?, list.len())?;
    Ok(vec![list[at].clone()])
}

/// `ConcatFromSequence`.
pub(crate) fn concat(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let list = items(node.arg(0)?)?;
    let first = list
        .first()
        .ok_or_else(|| codes::form("the sequence is empty"))?;
    let stack = node.attrs.flag("new_axis", false)?;
    let rank = b.shape(first)?.len() + usize::from(stack);
    let axis = node::axis(node.attrs.int("axis", 0)?, rank)?;
    let mut parts = Vec::with_capacity(list.len());
    for part in list {
        let mut shape = b.shape(part)?;
        if stack && axis <= shape.len() {
            shape.insert(axis, 1);
        }
        parts.push(b.reshape(part, &shape)?);
    }
    Ok(vec![b.concat(&parts.iter().collect::<Vec<_>>(), axis)?])
}

fn list(items: Vec<Arg>) -> Arg {
    Arg::List(Rc::new(items))
}

fn items(arg: &Arg) -> Result<&[Arg], Diagnostic> {
    match arg {
        Arg::List(items) => Ok(items),
        Arg::Known(_) | Arg::Lazy(_) | Arg::Graph(_) | Arg::Lost => {
            Err(codes::form("the operand is no sequence"))
        }
    }
}
