//! Operators that pick, write and order elements by index.

use packwright_ir::Op;
use packwright_ir::diag::Diagnostic;
use packwright_ir::op::{Binary, Unary};
use packwright_ir::tensor::Tensor;

use crate::builder::{Arg, Builder, FOLD_LIMIT};
use crate::lazy::{affine_index, columns_from_front, index_box};
use crate::node::{self, Node};
use crate::{codes, values};

/// Slices that a strided view is made of at most.
const MAX_WINDOWS: usize = 256;

/// Counts known indices from the front; those known only at run time are taken to be so already.
fn from_front(
    b: &mut Builder,
    indices: &Arg,
    length: impl Fn(usize) -> usize,
) -> Result<Arg, Diagnostic> {
    let shape = b.shape(indices)?;
    let last = shape.last().copied().unwrap_or(1).max(1);
    // Formulas that say so themselves need not be computed.
    let rising = affine_index(indices)
        .is_some_and(|(base, strides)| base >= 0 && strides.iter().all(|s| *s >= 0));
    if rising || index_box(indices).is_some() {
        return Ok(indices.clone());
    }
    if let Some(moved) = columns_from_front(b, indices, &length)? {
        return Ok(moved);
    }
    let Some(numbers) = indices.ints().filter(|n| n.iter().any(|i| *i < 0)) else {
        return Ok(indices.clone());
    };
    let shift = |(at, i): (usize, i64)| {
        if i < 0 {
            i.saturating_add(length(at % last) as i64)
        } else {
            i
        }
    };
    let numbers = numbers.into_iter().enumerate().map(shift).collect();
    Ok(b.known(Tensor::i64(&shape, numbers)))
}

/// `Gather`.
pub(crate) fn gather(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = node.arg(0)?;
    let shape = b.shape(x)?;
    let axis = node::axis(node.attrs.int("axis", 0)?, shape.len())?;
    let indices = from_front(b, node.arg(1)?, |_| shape[axis])?;
    let wanted = b.shape(&indices)?;
    if let ([length], Some((base, strides))) = (&shape[..], affine_index(&indices))
        && wanted.len() > 1
        && let Some(view) = strided_view(b, x, *length, base, &strides, &wanted)?
    {
        return Ok(vec![b.reshape(&view, &wanted)?]);
    }
    Ok(vec![b.emit(Op::Gather { axis }, &[x, &indices])?])
}

/// A strided view of a vector as slices of it, where it is one: exporters write views with overlap
/// as a table of flat positions.
fn strided_view(
    b: &mut Builder,
    x: &Arg,
    length: usize,
    base: i64,
    strides: &[i64],
    counts: &[usize],
) -> Result<Option<Arg>, Diagnostic> {
    let mut axes: Vec<(usize, usize)> = Vec::with_capacity(counts.len());
    for (&stride, &n) in strides.iter().zip(counts).filter(|(_, n)| **n != 1) {
        match usize::try_from(stride) {
            // Axes whose steps follow on one another are one axis.
            Ok(stride) => match axes.last_mut() {
                Some((last, m)) if *last == stride.saturating_mul(n) => {
                    (*last, *m) = (stride, m.saturating_mul(n));
                }
                _ => axes.push((stride, n)),
            },
            Err(_) => return Ok(None),
        }
    }
    let windows: usize = axes.iter().rev().skip(1).map(|(_, n)| *n).product();
    let contiguous = axes.last().is_some_and(|(stride, _)| *stride == 1);
    let span = axes.iter().try_fold(1usize, |sum, (stride, n)| {
        sum.checked_add(stride.checked_mul(n.checked_sub(1)?)?)
    });
    let fits = span
        .zip(usize::try_from(base).ok())
        .and_then(|(s, base)| s.checked_add(base));
    if !contiguous || windows > MAX_WINDOWS || fits.is_none_or(|end| end > length) {
        return Ok(None);
    }
    let (_, inner) = axes.pop().unwrap_or((1, 1));
    let mut starts = vec![base as usize];
    for (stride, n) in axes {
        starts = starts
            .iter()
            .flat_map(|s| (0..n).map(move |i| s + i * stride))
            .collect();
    }
    let mut parts = Vec::with_capacity(starts.len());
    for start in starts {
        parts.push(b.cut(x, 0, start, inner)?);
    }
    Ok(Some(b.concat(&parts.iter().collect::<Vec<_>>(), 0)?))
}

/// `GatherND`: rows of the tensor whose leading axes are joined, by flat positions.
pub(crate) fn gather_nd(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    if node.attrs.int("batch_dims", 0)? != 0 {
        return Err(codes::form("batch axes are not supported"));
    }
    let x = node.arg(0)?;
    let shape = b.shape(x)?;
    let indices = from_front(b, node.arg(1)?, |at| shape.get(at).copied().unwrap_or(0))?;
    let tuples = b.shape(&indices)?;
    let Some((&named, outer)) = tuples.split_last() else {
        return Err(codes::form("the indices are a single number"));
    };
    if named == 0 || named > shape.len() {
        return Err(codes::form(format!("{named} axes of {shape:?} are named")));
    }
    let elem = b.ty(&indices)?.elem;
    let mut flat: Option<Arg> = None;
    for (axis, &length) in shape.iter().enumerate().take(named) {
        let part = b.cut(&indices, outer.len(), axis, 1)?;
        let part = b.reshape(&part, outer)?;
        flat = Some(match flat {
            None => part,
            Some(sum) => {
                let length = b.scalar(elem, length as f64);
                let sum = b.emit(Op::Binary(Binary::Mul), &[&sum, &length])?;
                b.emit(Op::Binary(Binary::Add), &[&sum, &part])?
            }
        });
    }
    let mut joined = vec![shape[..named].iter().product()];
    joined.extend(&shape[named..]);
    let x = b.reshape(x, &joined)?;
    let flat = flat.ok_or_else(|| codes::operand_missing(1))?;
    Ok(vec![b.emit(Op::Gather { axis: 0 }, &[&x, &flat])?])
}

/// `OneHot`: one of two values where the index is that of the new axis.
pub(crate) fn one_hot(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let depth = match node.arg(1)?.tensor().map(values::floats).as_deref() {
        Some([n]) if *n >= 1.0 && *n <= FOLD_LIMIT as f64 => *n as usize,
        Some(_) => return Err(codes::form("the depth is no length")),
        None => return Err(node.data_dependent(1, "the depth")),
    };
    let indices = node.arg(0)?;
    let ty = b.ty(indices)?;
    if !matches!(ty.elem, packwright_ir::Elem::I64 | packwright_ir::Elem::I32) {
        return Err(codes::form("the indices are not integers"));
    }
    let axis = node::axis(node.attrs.int("axis", -1)?, ty.rank() + 1)?;
    let mut place = ty.shape.clone();
    place.insert(axis, 1);
    let mut numbers = vec![1; ty.rank() + 1];
    numbers[axis] = depth;
    let classes = b.known(Tensor::i64(&numbers, (0..depth as i64).collect()));
    let classes = b.cast(&classes, ty.elem)?;
    let indices = b.reshape(indices, &place)?;
    let front = b.emit(Op::Binary(Binary::Equal), &[&indices, &classes])?;
    // Negative indices count from the end.
    let length = b.scalar(ty.elem, depth as f64);
    let classes = b.emit(Op::Binary(Binary::Sub), &[&classes, &length])?;
    let back = b.emit(Op::Binary(Binary::Equal), &[&indices, &classes])?;
    let same = b.emit(Op::Binary(Binary::Or), &[&front, &back])?;
    let pair = node.arg(2)?;
    if b.shape(pair)? != [2] {
        return Err(codes::form("there are not two values"));
    }
    let off = b.cut(pair, 0, 0, 1)?;
    let on = b.cut(pair, 0, 1, 1)?;
    let (on, off) = (b.reshape(&on, &[])?, b.reshape(&off, &[])?);
    Ok(vec![b.emit(Op::Where, &[&same, &on, &off])?])
}

/// `GatherElements`.
pub(crate) fn gather_elements(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = node.arg(0)?;
    let shape = b.shape(x)?;
    let axis = node::axis(node.attrs.int("axis", 0)?, shape.len())?;
    let indices = from_front(b, node.arg(1)?, |_| shape[axis])?;
    Ok(vec![b.emit(Op::GatherElements { axis }, &[x, &indices])?])
}

/// `ScatterElements`.
pub(crate) fn scatter_elements(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    no_reduction(node)?;
    let x = node.arg(0)?;
    let shape = b.shape(x)?;
    let axis = node::axis(node.attrs.int("axis", 0)?, shape.len())?;
    let indices = from_front(b, node.arg(1)?, |_| shape[axis])?;
    Ok(vec![b.emit(
        Op::ScatterElements { axis },
        &[x, &indices, node.arg(2)?],
    )?])
}

/// `ScatterND`.
pub(crate) fn scatter_nd(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    no_reduction(node)?;
    let x = node.arg(0)?;
    let shape = b.shape(x)?;
    let updates = node.arg(2)?;
    let named = |at: usize| shape.get(at).copied().unwrap_or(0);
    let indices = from_front(b, node.arg(1)?, named)?;
    let types = [b.ty(x)?, b.ty(&indices)?, b.ty(updates)?];
    packwright_ir::infer::infer(&Op::ScatterNd, &[&types[0], &types[1], &types[2]])?;
    // Exporters write slice assignments this way: a box of the tensor gets other values.
    if let Some(sides) = index_box(&indices).filter(|s| inside(s, &shape)) {
        let counts = sides
            .iter()
            .map(|(_, n)| *n)
            .chain(shape[sides.len()..].iter().copied());
        let part = b.reshape(updates, &counts.collect::<Vec<_>>())?;
        let start: Vec<usize> = sides.iter().map(|(start, _)| *start).collect();
        return Ok(vec![b.insert(x, &part, &start)?]);
    }
    Ok(vec![b.emit(Op::ScatterNd, &[x, &indices, updates])?])
}

fn inside(sides: &[(usize, usize)], shape: &[usize]) -> bool {
    sides.len() <= shape.len()
        && sides.iter().zip(shape).all(|(&(start, n), &length)| {
            n > 0 && start.checked_add(n).is_some_and(|end| end <= length)
        })
}

fn no_reduction(node: &Node<'_>) -> Result<(), Diagnostic> {
    match node.attrs.text("reduction")? {
        None | Some("none") => Ok(()),
        Some(other) => Err(codes::form(format!("reduction {other:?} is not supported"))),
    }
}

/// `TopK`.
pub(crate) fn top_k(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = node.arg(0)?;
    let rank = b.shape(x)?.len();
    let axis = node::axis(node.attrs.int("axis", -1)?, rank)?;
    let largest = node.attrs.flag("largest", true)?;
    let count = usize::try_from(node.need_int(1, "the count")?)
        .map_err(|_| codes::form("the count is negative"))?;
    b.emit_all(
        Op::TopK {
            axis,
            count,
            largest,
        },
        &[x],
    )
}

/// `ArgMax`.
pub(crate) fn arg_max(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = node.arg(0)?.clone();
    first_largest(b, node, &x)
}

/// `ArgMin`: where the negated numbers are largest.
pub(crate) fn arg_min(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    if b.ty(node.arg(0)?)?.elem == packwright_ir::Elem::U8 {
        return Err(codes::form("unsigned numbers are not supported"));
    }
    let x = b.emit(Op::Unary(Unary::Neg), &[node.arg(0)?])?;
    first_largest(b, node, &x)
}

fn first_largest(b: &mut Builder, node: &Node<'_>, x: &Arg) -> Result<Vec<Arg>, Diagnostic> {
    if node.attrs.flag("select_last_index", false)? {
        return Err(codes::form(
            "the last of several is not supported, only the first",
        ));
    }
    let rank = b.shape(x)?.len();
    let axis = node::axis(node.attrs.int("axis", 0)?, rank)?;
    let keep = node.attrs.flag("keepdims", true)?;
    Ok(vec![b.emit(Op::ArgMax { axis, keep }, &[x])?])
}

/// `CumSum`, from either end, with or without the element itself.
pub(crate) fn cum_sum(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = node.arg(0)?.clone();
    let rank = b.shape(&x)?.len();
    let axis = node::axis(node.need_int(1, "the axis")?, rank)?;
    let reverse = node.attrs.flag("reverse", false)?;
    let x = if reverse { b.reverse(&x, axis)? } else { x };
    let mut sum = b.emit(Op::CumSum { axis }, &[&x])?;
    if node.attrs.flag("exclusive", false)? {
        sum = b.emit(Op::Binary(Binary::Sub), &[&sum, &x])?;
    }
    Ok(vec![if reverse { b.reverse(&sum, axis)? } else { sum }])
}

/// `Trilu`.
pub(crate) fn trilu(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let k = match node.opt(1) {
        Some(arg) => match arg.tensor().and_then(values::integers).as_deref() {
            Some([k]) => *k,
            _ => return Err(node.data_dependent(1, "the diagonal")),
        },
        None => 0,
    };
    let k = isize::try_from(k).map_err(|_| codes::form("the diagonal is too far away"))?;
    let upper = node.attrs.flag("upper", true)?;
    Ok(vec![b.emit(Op::Trilu { upper, k }, &[node.arg(0)?])?])
}
