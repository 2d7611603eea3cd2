//! Large constants that are written down small.
//!
//! Exporters spell a slice assignment as a table with one index tuple for each element, and a strided
//! view as a table of flat positions. Computing such tables would cost more than the network, and
//! storing them more than its weights, so they stay formulas: an operator that understands the formula
//! uses it, any other gets the values.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use packwright_ir::diag::Diagnostic;
use packwright_ir::op::Binary;
use packwright_ir::tensor::{Data, Tensor};
use packwright_ir::{Elem, Op, Type, Value};

use crate::builder::{Arg, Builder, FOLD_LIMIT, Known};

/// Formulas of formulas; deeper ones become nodes.
const DEEPEST: usize = 32;
/// Tensors with fewer elements are simply computed.
const LARGE: usize = 4096;

/// A constant in place of whose values stands how they are made.
#[derive(Debug)]
pub(crate) struct Lazy {
    pub(crate) ty: Type,
    pub(crate) form: Form,
    /// Formulas within formulas.
    depth: usize,
    /// Name of the value that it first was.
    name: String,
    values: OnceCell<Option<Known>>,
    /// The node that makes the values at run time, once there is one.
    pub(crate) node: Cell<Option<Value>>,
}

/// How the values are made.
#[derive(Debug)]
pub(crate) enum Form {
    /// A smaller constant repeated to the shape.
    Spread(Rc<Known>),
    /// Constants side by side: each is one element of the last axis.
    Columns(Vec<Arg>),
    /// The sum of two constants, which is `base + Σ stride · index`.
    Affine {
        terms: [Arg; 2],
        base: i64,
        strides: Vec<i64>,
    },
}

impl Lazy {
    /// A formula as a value, unless it is too deep.
    fn arg(builder: &Builder, ty: Type, form: Form) -> Option<Arg> {
        let parts: &[Arg] = match &form {
            Form::Spread(_) => &[],
            Form::Columns(parts) => parts,
            Form::Affine { terms, .. } => terms,
        };
        let inner = parts.iter().map(|part| match part {
            Arg::Lazy(lazy) => lazy.depth,
            Arg::Known(_) | Arg::Graph(_) | Arg::List(_) | Arg::Lost => 0,
        });
        let depth = 1 + inner.max().unwrap_or(0);
        let (values, node) = (OnceCell::new(), Cell::new(None));
        let lazy = Self {
            ty,
            form,
            depth,
            name: builder.label.clone(),
            values,
            node,
        };
        (depth <= DEEPEST).then(|| Arg::Lazy(Rc::new(lazy)))
    }

    /// The values, where they are few enough to be computed.
    pub(crate) fn known(&self) -> Option<&Known> {
        let compute = || {
            Some(Known {
                tensor: self.compute()?,
                name: self.name.clone(),
            })
        };
        self.values.get_or_init(compute).as_ref()
    }

    fn compute(&self) -> Option<Tensor> {
        if self.ty.elements() > FOLD_LIMIT {
            return None;
        }
        match &self.form {
            Form::Spread(of) => repeat(&of.tensor, &self.ty.shape),
            Form::Columns(parts) => {
                let columns: Option<Vec<Vec<i64>>> = parts.iter().map(Arg::ints).collect();
                let columns = columns?;
                let rows = self.ty.rows();
                let value = |i: usize| columns[i % parts.len()].get(i / parts.len()).copied();
                let values: Option<Vec<i64>> = (0..rows * parts.len()).map(value).collect();
                Some(Tensor::i64(&self.ty.shape, values?))
            }
            Form::Affine { base, strides, .. } => {
                let value = |mut flat: usize| {
                    let mut sum = *base;
                    for (&n, stride) in self.ty.shape.iter().zip(strides).rev() {
                        sum = sum.wrapping_add(stride.wrapping_mul((flat % n) as i64));
                        flat /= n;
                    }
                    sum
                };
                let values = (0..self.ty.elements()).map(value).collect();
                Some(Tensor::i64(&self.ty.shape, values))
            }
        }
    }
}

/// A constant repeated to a shape, as a formula where it gets large.
pub(crate) fn spread(builder: &Builder, x: &Arg, shape: &[usize]) -> Option<Arg> {
    let of = small(x)?;
    let ty = Type::new(of.tensor.elem(), shape);
    (ty.elements() > LARGE.max(of.tensor.ty().elements()))
        .then(|| Lazy::arg(builder, ty, Form::Spread(of)))
        .flatten()
}

/// Constant columns side by side, as a formula where they get large.
pub(crate) fn columns(builder: &Builder, parts: &[&Arg], ty: &Type) -> Option<Arg> {
    let all = parts.iter().all(|p| {
        matches!(p, Arg::Known(_) | Arg::Lazy(_)) && builder.ty(p).is_ok_and(|t| t.columns() == 1)
    });
    if !all || ty.elem != Elem::I64 || ty.rank() < 2 || ty.elements() <= LARGE {
        return None;
    }
    let parts = parts.iter().map(|p| (*p).clone()).collect();
    Lazy::arg(builder, ty.clone(), Form::Columns(parts))
}

/// Applies an operator to formulas, where the result is one again.
pub(crate) fn apply(
    builder: &mut Builder,
    op: &Op,
    args: &[&Arg],
    result: &Type,
) -> Result<Option<Arg>, Diagnostic> {
    if result.elements() <= LARGE {
        return Ok(None);
    }
    match op {
        Op::Binary(Binary::Add) if result.elem == Elem::I64 => {
            if let Some(sum) = affine_sum(builder, args, result) {
                return Ok(Some(sum));
            }
        }
        _ => {}
    }
    let lazy = args.iter().any(|a| matches!(a, Arg::Lazy(_)));
    let Some(parts) = args.iter().map(|a| small(a)).collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    if !lazy {
        return Ok(None);
    }
    let small_op = match op {
        Op::Unary(_) | Op::Binary(_) | Op::Where | Op::Cast { .. } => op.clone(),
        Op::Reshape { shape } => match unit_axes_moved(&builder.ty(args[0])?, &parts[0], shape) {
            Some(shape) => Op::Reshape { shape },
            None => return Ok(None),
        },
        Op::Slice { start, count, step } => {
            return slice_spread(builder, &parts[0], result, [start, count], step).map(Some);
        }
        _ => return Ok(None),
    };
    let parts: Vec<Arg> = parts.into_iter().map(Arg::Known).collect();
    let of = builder.emit(small_op, &parts.iter().collect::<Vec<_>>())?;
    if !matches!(of, Arg::Known(_)) {
        return Ok(None);
    }
    builder.expand(&of, &result.shape).map(Some)
}

/// The constant that is repeated, or the constant itself.
fn small(arg: &Arg) -> Option<Rc<Known>> {
    match arg {
        Arg::Known(known) => Some(Rc::clone(known)),
        Arg::Lazy(lazy) => match &lazy.form {
            Form::Spread(of) => Some(Rc::clone(of)),
            Form::Columns(_) | Form::Affine { .. } => None,
        },
        Arg::Graph(_) | Arg::List(_) | Arg::Lost => None,
    }
}

/// The shape of the repeated constant after axes of length 1 came or went; `None` for other reshapes.
fn unit_axes_moved(from: &Type, of: &Known, to: &[usize]) -> Option<Vec<usize>> {
    let own = padded(of.tensor.shape(), from.rank());
    let mut long = from.shape.iter().zip(&own).filter(|(n, _)| **n != 1);
    let shape: Option<Vec<usize>> = to
        .iter()
        .map(|&n| match n {
            1 => Some(1),
            n => long.next().filter(|(m, _)| **m == n).map(|(_, own)| *own),
        })
        .collect();
    if long.next().is_some() { None } else { shape }
}

fn slice_spread(
    builder: &mut Builder,
    of: &Rc<Known>,
    result: &Type,
    [start, count]: [&Vec<usize>; 2],
    step: &[isize],
) -> Result<Arg, Diagnostic> {
    let own = padded(of.tensor.shape(), result.rank());
    let of = builder.reshape(&Arg::Known(Rc::clone(of)), &own)?;
    let whole = |i: usize| own[i] == 1;
    let start = (0..own.len())
        .map(|i| if whole(i) { 0 } else { start[i] })
        .collect();
    let counts = (0..own.len())
        .map(|i| if whole(i) { 1 } else { count[i] })
        .collect();
    let step = (0..own.len())
        .map(|i| if whole(i) { 1 } else { step[i] })
        .collect();
    let of = builder.slice(&of, start, counts, step)?;
    builder.expand(&of, &result.shape)
}

fn affine_sum(builder: &Builder, args: &[&Arg], result: &Type) -> Option<Arg> {
    let (a, b) = (affine(args[0], result)?, affine(args[1], result)?);
    let strides =
        a.1.iter()
            .zip(&b.1)
            .map(|(x, y)| x.checked_add(*y))
            .collect::<Option<_>>()?;
    let terms = [args[0].clone(), args[1].clone()];
    let form = Form::Affine {
        terms,
        base: a.0.checked_add(b.0)?,
        strides,
    };
    Lazy::arg(builder, result.clone(), form)
}

/// Base and strides of an index table seen in a shape that it repeats to.
fn affine(arg: &Arg, seen: &Type) -> Option<(i64, Vec<i64>)> {
    let (own, base, mut strides) = match arg {
        Arg::Lazy(lazy) => match &lazy.form {
            Form::Affine { base, strides, .. } => (lazy.ty.shape.clone(), *base, strides.clone()),
            Form::Spread(of) => {
                let (base, strides) = strides_of(&of.tensor)?;
                (of.tensor.shape().to_vec(), base, strides)
            }
            Form::Columns(_) => return None,
        },
        Arg::Known(known) => {
            let (base, strides) = strides_of(&known.tensor)?;
            (known.tensor.shape().to_vec(), base, strides)
        }
        Arg::Graph(_) | Arg::List(_) | Arg::Lost => return None,
    };
    for (stride, &n) in strides.iter_mut().zip(&own) {
        if n == 1 {
            *stride = 0;
        }
    }
    let mut padded = vec![0; seen.rank() - own.len()];
    padded.extend(strides);
    Some((base, padded))
}

/// Base and strides of a table of integers, where every element obeys them.
fn strides_of(tensor: &Tensor) -> Option<(i64, Vec<i64>)> {
    let Data::I64(table) = &tensor.data else {
        return None;
    };
    let shape = table.shape();
    let values: Vec<i64> = table.iter().copied().collect();
    let base = *values.first()?;
    let mut strides = vec![0i64; shape.len()];
    let mut apart = 1;
    for (axis, &n) in shape.iter().enumerate().rev() {
        if n > 1 {
            strides[axis] = values.get(apart)?.checked_sub(base)?;
        }
        apart *= n;
    }
    let obeys = values.iter().enumerate().all(|(at, &value)| {
        let mut flat = at;
        let mut sum = base;
        for (&n, stride) in shape.iter().zip(&strides).rev() {
            sum = sum.wrapping_add(stride.wrapping_mul((flat % n) as i64));
            flat /= n;
        }
        sum == value
    });
    obeys.then_some((base, strides))
}

/// First index and number of indices on each leading axis, where index tuples fill a box in order.
/// The lengths of the box are those of the table, apart from axes of length 1.
pub(crate) fn index_box(arg: &Arg) -> Option<Vec<(usize, usize)>> {
    if let Arg::Lazy(lazy) = arg
        && let Form::Columns(parts) = &lazy.form
        && let Some(found) = box_of_columns(&lazy.ty.shape[..lazy.ty.rank() - 1], parts)
    {
        return Some(found);
    }
    let shape = arg.tensor()?.shape().to_vec();
    let (&columns, _) = shape.split_last()?;
    let values = arg.ints()?;
    if columns == 0 || values.is_empty() {
        return None;
    }
    let (first, last) = (&values[..columns], &values[values.len() - columns..]);
    let mut sides = Vec::with_capacity(columns);
    for (&a, &b) in first.iter().zip(last) {
        let start = usize::try_from(a).ok()?;
        sides.push((
            start,
            usize::try_from(b.checked_sub(a)?.checked_add(1)?).ok()?,
        ));
    }
    let rows = sides
        .iter()
        .try_fold(1usize, |p, (_, n)| p.checked_mul(*n))?;
    let inside = rows == values.len() / columns
        && values
            .chunks_exact(columns)
            .enumerate()
            .all(|(row, tuple)| {
                let mut rest = row;
                tuple.iter().zip(&sides).rev().all(|(&index, &(start, n))| {
                    let wanted = start + rest % n;
                    rest /= n;
                    usize::try_from(index) == Ok(wanted)
                })
            });
    inside.then_some(sides)
}

/// Index columns counted from the front, where the lengths of the indexed axes are given in order.
pub(crate) fn columns_from_front(
    builder: &mut Builder,
    arg: &Arg,
    length: &dyn Fn(usize) -> usize,
) -> Result<Option<Arg>, Diagnostic> {
    let Arg::Lazy(lazy) = arg else {
        return Ok(None);
    };
    let Form::Columns(parts) = &lazy.form else {
        return Ok(None);
    };
    let mut moved = Vec::with_capacity(parts.len());
    for (at, part) in parts.iter().enumerate() {
        let Some(of) = small(part) else {
            return Ok(None);
        };
        let Data::I64(table) = &of.tensor.data else {
            return Ok(None);
        };
        let forward = |i: i64| {
            if i < 0 {
                i.saturating_add(length(at) as i64)
            } else {
                i
            }
        };
        let table = Tensor::plain(Data::I64(table.mapv(forward)));
        let shape = builder.shape(part)?;
        let known = builder.known(table);
        moved.push(builder.expand(&known, &shape)?);
    }
    let form = Form::Columns(moved);
    Ok(Lazy::arg(builder, lazy.ty.clone(), form))
}

fn box_of_columns(table: &[usize], parts: &[Arg]) -> Option<Vec<(usize, usize)>> {
    let mut sides = Vec::with_capacity(parts.len());
    // Each axis of the table counts along one axis of the box, in order.
    let mut next = 0;
    for part in parts {
        let of = small(part)?;
        let (base, strides) = strides_of(&of.tensor)?;
        let start = usize::try_from(base).ok()?;
        // The column axis is the last one of a part.
        let own = padded(of.tensor.shape(), table.len() + 1);
        let strides: Vec<i64> = vec![0; own.len() - strides.len()]
            .into_iter()
            .chain(strides)
            .collect();
        let long: Vec<usize> = (0..table.len()).filter(|&i| own[i] > 1).collect();
        match long[..] {
            [] => sides.push((start, 1)),
            [axis] if strides[axis] == 1 && axis >= next => {
                if table[next..axis].iter().any(|&n| n != 1) {
                    return None;
                }
                next = axis + 1;
                sides.push((start, own[axis]));
            }
            _ => return None,
        }
    }
    table[next..].iter().all(|&n| n == 1).then_some(sides)
}

/// Base and strides, where a constant is such a table.
pub(crate) fn affine_index(arg: &Arg) -> Option<(i64, Vec<i64>)> {
    match arg {
        Arg::Lazy(lazy) => match &lazy.form {
            Form::Affine { base, strides, .. } => Some((*base, strides.clone())),
            Form::Spread(_) | Form::Columns(_) => None,
        },
        Arg::Known(known) => strides_of(&known.tensor),
        Arg::Graph(_) | Arg::List(_) | Arg::Lost => None,
    }
}

fn padded(shape: &[usize], rank: usize) -> Vec<usize> {
    let mut padded = vec![1; rank.saturating_sub(shape.len())];
    padded.extend(shape);
    padded
}

fn repeat(tensor: &Tensor, shape: &[usize]) -> Option<Tensor> {
    let shape = shape.to_vec();
    let data = match &tensor.data {
        Data::Bool(a) => Data::Bool(a.broadcast(shape)?.to_owned()),
        Data::I4(a) => Data::I4(a.broadcast(shape)?.to_owned()),
        Data::I8(a) => Data::I8(a.broadcast(shape)?.to_owned()),
        Data::U8(a) => Data::U8(a.broadcast(shape)?.to_owned()),
        Data::I32(a) => Data::I32(a.broadcast(shape)?.to_owned()),
        Data::I64(a) => Data::I64(a.broadcast(shape)?.to_owned()),
        Data::F16(a) => Data::F16(a.broadcast(shape)?.to_owned()),
        Data::F32(a) => Data::F32(a.broadcast(shape)?.to_owned()),
        Data::F64(a) => Data::F64(a.broadcast(shape)?.to_owned()),
    };
    Some(Tensor::plain(data))
}
