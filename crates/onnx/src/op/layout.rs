//! Operators that move elements without computing. What would move nothing leaves no node.

use packwright_ir::Op;
use packwright_ir::diag::Diagnostic;

use crate::builder::{Arg, Builder};
use crate::node::{self, Node};
use crate::{codes, values};

/// `Identity`.
pub(crate) fn identity(_: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    Ok(vec![node.arg(0)?.clone()])
}

/// `Dropout` when nothing is dropped.
pub(crate) fn dropout(_: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let training = node.opt(2).is_some_and(|arg| match arg.tensor() {
        Some(flag) => values::floats(flag).iter().any(|v| *v != 0.0),
        None => true,
    });
    if training {
        return Err(codes::form("training is not supported"));
    }
    Ok(vec![node.arg(0)?.clone()])
}

/// `Cast`.
pub(crate) fn cast(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let to = i32::try_from(node.attrs.int("to", 0)?).unwrap_or(0);
    let to = values::need_elem(to, &b.label)?;
    Ok(vec![b.cast(node.arg(0)?, to)?])
}

/// `CastLike`.
pub(crate) fn cast_like(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let to = b.ty(node.arg(1)?)?.elem;
    Ok(vec![b.cast(node.arg(0)?, to)?])
}

/// `Reshape`: 0 copies a length, -1 is what remains.
pub(crate) fn reshape(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = node.arg(0)?;
    let ty = b.ty(x)?;
    let wanted = node.need_ints(1, "the shape")?;
    let copy = !node.attrs.flag("allowzero", false)?;
    let mismatch = || codes::form(format!("{ty} does not reshape to {wanted:?}"));
    let mut lengths = Vec::with_capacity(wanted.len());
    for (at, &n) in wanted.iter().enumerate() {
        lengths.push(match n {
            0 if copy => *ty.shape.get(at).ok_or_else(mismatch)? as i64,
            n => n,
        });
    }
    if let Some(open) = lengths.iter().position(|&n| n == -1) {
        lengths[open] = 1;
        let known = values::need_shape(&lengths, &b.label)?
            .iter()
            .product::<usize>();
        // With no elements at all, what remains cannot be told.
        let rest = ty
            .elements()
            .checked_div(known)
            .filter(|r| r * known == ty.elements());
        lengths[open] = rest.ok_or_else(mismatch)? as i64;
    }
    let shape = values::need_shape(&lengths, &b.label)?;
    Ok(vec![b.reshape(x, &shape)?])
}

/// `Flatten` to two axes.
pub(crate) fn flatten(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = node.arg(0)?;
    let shape = b.shape(x)?;
    let at = match node.attrs.int("axis", 1)? {
        end if end == shape.len() as i64 => shape.len(),
        axis => node::axis(axis, shape.len())?,
    };
    let (outer, inner) = shape.split_at(at);
    Ok(vec![b.reshape(
        x,
        &[outer.iter().product(), inner.iter().product()],
    )?])
}

/// `Squeeze`.
pub(crate) fn squeeze(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = node.arg(0)?;
    let shape = b.shape(x)?;
    let gone = match node.ints("axes", 1)? {
        Some(axes) => node::axes(&axes, shape.len())?,
        None => (0..shape.len()).filter(|&i| shape[i] == 1).collect(),
    };
    let kept = (0..shape.len())
        .filter(|i| !gone.contains(i))
        .map(|i| shape[i]);
    let kept: Vec<usize> = kept.collect();
    Ok(vec![b.reshape(x, &kept)?])
}

/// `Unsqueeze`.
pub(crate) fn unsqueeze(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = node.arg(0)?;
    let mut left = b.shape(x)?.into_iter();
    let axes = node
        .ints("axes", 1)?
        .ok_or_else(|| codes::operand_missing(1))?;
    let rank = left.len() + axes.len();
    let added = node::axes(&axes, rank)?;
    let shape: Vec<usize> = (0..rank)
        .map(|i| {
            if added.contains(&i) {
                1
            } else {
                left.next().unwrap_or(1)
            }
        })
        .collect();
    Ok(vec![b.reshape(x, &shape)?])
}

/// `Transpose`.
pub(crate) fn transpose(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = node.arg(0)?;
    let rank = b.shape(x)?.len();
    let perm = match node.attrs.ints("perm")? {
        Some(perm) => node::axes(perm, rank)?,
        None => (0..rank).rev().collect(),
    };
    Ok(vec![b.transpose(x, &perm)?])
}

/// `Expand`: either side may repeat.
pub(crate) fn expand(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = node.arg(0)?;
    let wanted = values::need_shape(&node.need_ints(1, "the shape")?, &b.label)?;
    let shape = b.shape(x)?;
    let shape = packwright_ir::infer::broadcast(&shape, &wanted)
        .ok_or_else(|| codes::form(format!("{shape:?} does not expand to {wanted:?}")))?;
    Ok(vec![b.expand(x, &shape)?])
}

/// `Tile`: every axis a number of times.
pub(crate) fn tile(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = node.arg(0)?;
    let shape = b.shape(x)?;
    let repeats = values::need_shape(&node.need_ints(1, "the repeats")?, &b.label)?;
    if repeats.len() != shape.len() {
        return Err(codes::form(format!(
            "{repeats:?} are not repeats of {shape:?}"
        )));
    }
    let mut split = Vec::with_capacity(2 * shape.len());
    let mut repeated = Vec::with_capacity(2 * shape.len());
    let mut joined = Vec::with_capacity(shape.len());
    for (&n, &times) in shape.iter().zip(&repeats) {
        // An axis of its own for the copies, except where nothing is copied.
        if times != 1 {
            split.push(1);
            repeated.push(times);
        }
        split.push(n);
        repeated.push(n);
        joined.push(
            n.checked_mul(times)
                .ok_or_else(|| codes::form("the result is too large"))?,
        );
    }
    let x = b.reshape(x, &split)?;
    let x = b.expand(&x, &repeated)?;
    Ok(vec![b.reshape(&x, &joined)?])
}

/// `Concat`.
pub(crate) fn concat(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let parts = node.all()?;
    let rank = b.shape(parts[0])?.len();
    let axis = node
        .attrs
        .opt_int("axis")?
        .ok_or_else(|| codes::attribute("axis", "is missing"))?;
    Ok(vec![b.concat(&parts, node::axis(axis, rank)?)?])
}

/// `Split`.
pub(crate) fn split(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = node.arg(0)?;
    let shape = b.shape(x)?;
    let axis = node::axis(node.attrs.int("axis", 0)?, shape.len())?;
    let length = shape[axis];
    let sizes: Vec<usize> = match node.ints("split", 1)? {
        Some(sizes) => values::need_shape(&sizes, &b.label)?,
        None => {
            let parts = node.results.max(1);
            let size = length.div_ceil(parts);
            (0..parts)
                .map(|i| size.min(length.saturating_sub(i * size)))
                .collect()
        }
    };
    if sizes.iter().try_fold(0usize, |sum, &n| sum.checked_add(n)) != Some(length) {
        return Err(codes::form(format!(
            "parts of {sizes:?} do not fill {length}"
        )));
    }
    let mut start = 0;
    let mut parts = Vec::with_capacity(sizes.len());
    for size in sizes {
        parts.push(b.cut(x, axis, start, size)?);
        start += size;
    }
    Ok(parts)
}

/// `Slice`.
pub(crate) fn slice(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = node.arg(0)?;
    let shape = b.shape(x)?;
    let starts = node.need_ints(1, "where the slice starts")?;
    let ends = node.need_ints(2, "where the slice ends")?;
    let axes = match node.opt(3) {
        Some(_) => node::axes(&node.need_ints(3, "the axes")?, shape.len())?,
        None => (0..starts.len()).collect(),
    };
    let steps = match node.opt(4) {
        Some(_) => node.need_ints(4, "the steps")?,
        None => vec![1; starts.len()],
    };
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] || axes.len() > shape.len() {
        return Err(codes::form("starts, ends, axes and steps differ in number"));
    }
    let mut start = vec![0; shape.len()];
    let mut count = shape.clone();
    let mut step = vec![1isize; shape.len()];
    for (i, &axis) in axes.iter().enumerate() {
        let (first, n) = span(shape[axis], starts[i], ends[i], steps[i])?;
        start[axis] = first;
        count[axis] = n;
        // More than one element apart means that the step is smaller than the axis.
        step[axis] = if n > 1 { steps[i] as isize } else { 1 };
    }
    Ok(vec![b.slice(x, start, count, step)?])
}

/// First element and number of elements of a slice of one axis.
fn span(length: usize, start: i64, end: i64, step: i64) -> Result<(usize, usize), Diagnostic> {
    let n = length as i128;
    let from_end = |i: i64| {
        if i < 0 {
            i128::from(i) + n
        } else {
            i128::from(i)
        }
    };
    let step = i128::from(step);
    let (first, span) = match step {
        0 => return Err(codes::form("the step is 0")),
        1.. => {
            let first = from_end(start).clamp(0, n);
            (first, from_end(end).clamp(0, n) - first)
        }
        _ => {
            let first = from_end(start).clamp(-1, n - 1);
            (first, first - from_end(end).clamp(-1, n - 1))
        }
    };
    let count = (span.max(0) + step.abs() - 1) / step.abs();
    Ok(if count == 0 {
        (0, 0)
    } else {
        (first as usize, count as usize)
    })
}

/// `Pad` with one value; negative amounts cut.
pub(crate) fn pad(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let mode = node.attrs.text("mode")?.unwrap_or("constant");
    if mode != "constant" {
        return Err(codes::form(format!("mode {mode:?} is not supported")));
    }
    let x = node.arg(0)?;
    let shape = b.shape(x)?;
    let axes = match node.opt(3) {
        Some(_) => node::axes(&node.need_ints(3, "the axes")?, shape.len())?,
        None => (0..shape.len()).collect(),
    };
    let pads = node.need_ints(1, "the number of added elements")?;
    if pads.len() != 2 * axes.len() {
        return Err(codes::form("there are not two amounts for each axis"));
    }
    let value = match node.opt(2) {
        None => 0.0,
        Some(arg) => match arg.tensor().map(values::floats).as_deref() {
            Some([value]) => *value,
            _ => return Err(codes::form("the added value is not known")),
        },
    };
    if f64::from(value as f32) != value && value.is_finite() {
        return Err(codes::form(format!(
            "the added value {value} is not exact in f32"
        )));
    }
    let (mut before, mut after) = (vec![0; shape.len()], vec![0; shape.len()]);
    let (mut start, mut count) = (vec![0; shape.len()], shape.clone());
    let most = 1u64 << 48;
    for (i, &axis) in axes.iter().enumerate() {
        let (front, back) = (pads[i], pads[i + axes.len()]);
        if front.unsigned_abs() > most || back.unsigned_abs() > most {
            return Err(codes::form("the result is too large"));
        }
        before[axis] = front.max(0) as usize;
        after[axis] = back.max(0) as usize;
        start[axis] = (-front).max(0) as usize;
        let gone = start[axis] + (-back).max(0) as usize;
        count[axis] = shape[axis]
            .checked_sub(gone)
            .ok_or_else(|| codes::form("cuts more than there is"))?;
    }
    let x = b.slice(x, start, count, vec![1; shape.len()])?;
    if before.iter().chain(&after).all(|&n| n == 0) {
        return Ok(vec![x]);
    }
    Ok(vec![b.emit(
        Op::Pad {
            before,
            after,
            value: value as f32,
        },
        &[&x],
    )?])
}
