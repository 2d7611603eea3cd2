//! Operators that move elements and leave them as they are, with their scales.

use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn, Slice};

use super::lanes;
use crate::tensor::{Data, Tensor, array};
use crate::ty::{Quant, Type};

/// Applies an expression to the array inside, whatever its elements.
macro_rules! each {
    ($data:expr, $a:ident => $body:expr) => {
        match $data {
            Data::Bool($a) => Data::Bool($body),
            Data::I4($a) => Data::I4($body),
            Data::I8($a) => Data::I8($body),
            Data::U8($a) => Data::U8($body),
            Data::I32($a) => Data::I32($body),
            Data::I64($a) => Data::I64($body),
            Data::F16($a) => Data::F16($body),
            Data::F32($a) => Data::F32($body),
            Data::F64($a) => Data::F64($body),
        }
    };
}

/// The scales of rows as a tensor whose last axis counts groups.
pub(super) fn row_scales(x: &Tensor) -> Option<ArrayD<f32>> {
    let Some(Quant::Row { group }) = x.quant else {
        return None;
    };
    let mut shape = x.shape().to_vec();
    if let Some(last) = shape.last_mut() {
        *last /= group;
    }
    Some(array(&shape, x.scales.clone()))
}

/// A tensor like `x` with other data and row scales.
fn like(x: &Tensor, data: Data, scales: Option<ArrayD<f32>>) -> Tensor {
    let scales = match scales {
        Some(scales) => scales.iter().copied().collect(),
        None => x.scales.clone(),
    };
    Tensor {
        data,
        quant: x.quant,
        scales,
    }
}

fn standard<T: Clone>(view: ArrayViewD<'_, T>) -> ArrayD<T> {
    view.as_standard_layout().into_owned()
}

/// The same elements in another shape.
pub(super) fn reshape(x: &Tensor, shape: &[usize]) -> Tensor {
    let data = each!(&x.data, a => array(shape, a.iter().copied().collect()));
    // Rows stay rows, so the scales stay in order.
    like(x, data, None)
}

/// Axis i of the result is axis `perm[i]`.
pub(super) fn transpose(x: &Tensor, perm: &[usize]) -> Tensor {
    let data = each!(&x.data, a => standard(a.view().permuted_axes(perm)));
    let scales = row_scales(x).map(|a| standard(a.view().permuted_axes(perm)));
    let mut result = like(x, data, scales);
    if let Some(Quant::Channel { axis }) = x.quant {
        let axis = perm
            .iter()
            .position(|&p| p == axis)
            .expect("perm is a permutation");
        result.quant = Some(Quant::Channel { axis });
    }
    result
}

/// Repeats along axes of length 1 and new leading axes.
pub(super) fn expand(x: &Tensor, shape: &[usize]) -> Tensor {
    let data = each!(&x.data, a => {
        standard(a.broadcast(IxDyn(shape)).expect("the rule checked the shapes"))
    });
    let scales = row_scales(x).map(|a| {
        let mut to = shape.to_vec();
        if let (Some(to), Some(from)) = (to.last_mut(), a.shape().last()) {
            *to = *from;
        }
        standard(
            a.broadcast(IxDyn(&to))
                .expect("the rule checked the shapes"),
        )
    });
    let mut result = like(x, data, scales);
    if let Some(Quant::Channel { axis }) = x.quant {
        result.quant = Some(Quant::Channel {
            axis: axis + shape.len() - x.shape().len(),
        });
    }
    result
}

/// Joins along an axis.
pub(super) fn concat(parts: &[&Tensor], axis: usize, ty: &Type) -> Tensor {
    fn join<T: Clone>(parts: &[ArrayD<T>], axis: usize) -> ArrayD<T> {
        let views: Vec<_> = parts.iter().map(|a| a.view()).collect();
        let joined = ndarray::concatenate(Axis(axis), &views).expect("the rule checked the shapes");
        standard(joined.view())
    }
    let parts: Vec<Tensor> = parts
        .iter()
        .map(|part| {
            if part.quant.is_some() {
                (*part).clone()
            } else {
                lanes::cast(part, ty.elem)
            }
        })
        .collect();
    macro_rules! joined {
        ($($variant:ident)*) => {
            match &parts[0].data {
                $(Data::$variant(_) => {
                    let arrays: Vec<_> = parts.iter().filter_map(|part| match &part.data {
                        Data::$variant(a) => Some(a.clone()),
                        _ => None,
                    }).collect();
                    Data::$variant(join(&arrays, axis))
                })*
            }
        };
    }
    let data = joined!(Bool I4 I8 U8 I32 I64 F16 F32 F64);
    let scales = match parts[0].quant {
        Some(Quant::Row { .. }) => {
            let scales: Vec<_> = parts.iter().filter_map(row_scales).collect();
            join(&scales, axis).iter().copied().collect()
        }
        Some(Quant::Channel { .. }) => parts.iter().flat_map(|p| p.scales.clone()).collect(),
        // The rule refuses to join blocks, and channels with zero points.
        Some(
            Quant::Tensor { .. }
            | Quant::Affine { .. }
            | Quant::Shifted { .. }
            | Quant::Block { .. },
        )
        | None => Vec::new(),
    };
    Tensor {
        data,
        quant: parts[0].quant,
        scales,
    }
}

/// `count` elements from `start` in steps, on each axis.
pub(super) fn slice(x: &Tensor, start: &[usize], count: &[usize], step: &[isize]) -> Tensor {
    let data = each!(&x.data, a => cut(a, start, count, step));
    let scales = row_scales(x).map(|a| {
        let Some(Quant::Row { group }) = x.quant else {
            unreachable!("has row scales")
        };
        let (mut start, mut count) = (start.to_vec(), count.to_vec());
        let last = start.len() - 1;
        start[last] /= group;
        count[last] /= group;
        cut(&a, &start, &count, step)
    });
    let mut result = like(x, data, scales);
    if let Some(Quant::Channel { axis }) = x.quant {
        let kept = (0..count[axis] as isize).map(|i| start[axis] as isize + i * step[axis]);
        result.scales = kept.map(|i| x.scales[i as usize]).collect();
    }
    result
}

fn cut<T: Clone>(a: &ArrayD<T>, start: &[usize], count: &[usize], step: &[isize]) -> ArrayD<T> {
    let view = a.slice_each_axis(|axis| {
        let i = axis.axis.index();
        if count[i] == 0 {
            return Slice::new(0, Some(0), 1);
        }
        let first = start[i] as isize;
        let last = first + (count[i] as isize - 1) * step[i];
        // A negative step walks the range from its end.
        Slice::new(first.min(last), Some(first.max(last) + 1), step[i])
    });
    standard(view)
}

/// Adds elements of a value around.
pub(super) fn pad(x: &Tensor, before: &[usize], value: f32, ty: &Type) -> Tensor {
    let fill = lanes::store(ty.elem, &[], lanes::Lanes::F32(vec![value]));
    let mut result = expand(&fill, &ty.shape);
    macro_rules! place {
        ($($variant:ident)*) => {
            match (&mut result.data, &x.data) {
                $((Data::$variant(to), Data::$variant(from)) => {
                    let mut inner = to.slice_each_axis_mut(|axis| {
                        let i = axis.axis.index();
                        let start = before[i] as isize;
                        Slice::new(start, Some(start + from.shape()[i] as isize), 1)
                    });
                    inner.assign(from);
                })*
                _ => unreachable!("padding has the operand's elements"),
            }
        };
    }
    place!(Bool I4 I8 U8 I32 I64 F16 F32 F64);
    result
}

/// Elements by row-major index, in a shape; a tensor without scales of its own.
pub(super) fn take(x: &Tensor, shape: &[usize], index: &[usize]) -> Tensor {
    let data = each!(&x.data, a => {
        let values = a.as_slice().expect("tensors are row-major");
        array(shape, index.iter().map(|&i| values[i]).collect())
    });
    Tensor {
        data,
        quant: x.quant,
        scales: x.scales.clone(),
    }
}

/// Replaces elements by row-major index.
pub(super) fn put(x: &mut Tensor, index: &[usize], updates: &Tensor) {
    macro_rules! put {
        ($($variant:ident)*) => {
            match (&mut x.data, &updates.data) {
                $((Data::$variant(to), Data::$variant(from)) => {
                    let to = to.as_slice_mut().expect("tensors are row-major");
                    for (&i, &value) in index.iter().zip(from) {
                        to[i] = value;
                    }
                })*
                _ => unreachable!("the rule checked the elements"),
            }
        };
    }
    put!(Bool I4 I8 U8 I32 I64 F16 F32 F64);
}
