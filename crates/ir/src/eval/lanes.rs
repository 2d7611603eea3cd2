//! Numbers of any element type in four kinds: f32, f64, integers, truth values.

use half::f16;
use ndarray::ArrayD;
use packwright_numerics::round::canonical;

use crate::tensor::{Data, Tensor, array};
use crate::ty::Elem;

/// The elements of a tensor, row-major, in the type that they are computed in.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Lanes {
    F32(Vec<f32>),
    F64(Vec<f64>),
    Int(Vec<i64>),
    Bool(Vec<bool>),
}

/// The elements, to compute with.
pub(super) fn of(tensor: &Tensor) -> Lanes {
    fn list<T: Copy, U>(a: &ArrayD<T>, f: impl Fn(T) -> U) -> Vec<U> {
        a.iter().map(|&x| f(x)).collect()
    }
    match &tensor.data {
        Data::Bool(a) => Lanes::Bool(list(a, |x| x)),
        Data::I4(a) | Data::I8(a) => Lanes::Int(list(a, i64::from)),
        Data::U8(a) => Lanes::Int(list(a, i64::from)),
        Data::I32(a) => Lanes::Int(list(a, i64::from)),
        Data::I64(a) => Lanes::Int(list(a, |x| x)),
        Data::F16(a) | Data::F32(a) => Lanes::F32(list(a, |x| x)),
        Data::F64(a) => Lanes::F64(list(a, |x| x)),
    }
}

/// The elements as f32; integers are rounded to the nearest.
pub(super) fn floats(tensor: &Tensor) -> Vec<f32> {
    to_f32(of(tensor))
}

/// The elements as integers; floats are truncated.
pub(super) fn integers(tensor: &Tensor) -> Vec<i64> {
    match of(tensor) {
        Lanes::Int(v) => v,
        Lanes::F32(v) => v.into_iter().map(|x| x as i64).collect(),
        Lanes::F64(v) => v.into_iter().map(|x| x as i64).collect(),
        Lanes::Bool(v) => v.into_iter().map(i64::from).collect(),
    }
}

/// The elements as f32.
pub(super) fn to_f32(lanes: Lanes) -> Vec<f32> {
    match lanes {
        Lanes::F32(v) => v,
        Lanes::F64(v) => v.into_iter().map(|x| x as f32).collect(),
        Lanes::Int(v) => v.into_iter().map(|x| x as f32).collect(),
        Lanes::Bool(v) => v.into_iter().map(|x| f32::from(u8::from(x))).collect(),
    }
}

/// A tensor of the element type; numbers that do not fit an integer type saturate, NaN becomes 0.
pub(super) fn store(elem: Elem, shape: &[usize], lanes: Lanes) -> Tensor {
    Tensor::plain(match elem {
        Elem::F32 => Data::F32(array(
            shape,
            to_f32(lanes).into_iter().map(canonical).collect(),
        )),
        Elem::F16 => Data::F16(array(
            shape,
            to_f32(lanes).into_iter().map(through_f16).collect(),
        )),
        Elem::F64 => Data::F64(array(
            shape,
            match lanes {
                Lanes::F64(v) => v,
                Lanes::F32(v) => v.into_iter().map(f64::from).collect(),
                Lanes::Int(v) => v.into_iter().map(|x| x as f64).collect(),
                Lanes::Bool(v) => v.into_iter().map(|x| f64::from(u8::from(x))).collect(),
            },
        )),
        Elem::Bool => Data::Bool(array(
            shape,
            match lanes {
                Lanes::Bool(v) => v,
                Lanes::F32(v) => v.into_iter().map(|x| x != 0.0).collect(),
                Lanes::F64(v) => v.into_iter().map(|x| x != 0.0).collect(),
                Lanes::Int(v) => v.into_iter().map(|x| x != 0).collect(),
            },
        )),
        Elem::I64 => Data::I64(array(shape, to_int(lanes))),
        Elem::I32 => Data::I32(array(
            shape,
            saturate(lanes, i64::from(i32::MIN), i64::from(i32::MAX))
                .map(|x| x as i32)
                .collect(),
        )),
        Elem::I4 => Data::I4(array(
            shape,
            saturate(lanes, -8, 7).map(|x| x as i8).collect(),
        )),
        Elem::I8 => Data::I8(array(
            shape,
            saturate(lanes, -128, 127).map(|x| x as i8).collect(),
        )),
        Elem::U8 => Data::U8(array(
            shape,
            saturate(lanes, 0, 255).map(|x| x as u8).collect(),
        )),
    })
}

/// The tensor with other elements.
pub(super) fn cast(tensor: &Tensor, to: Elem) -> Tensor {
    if tensor.elem() == to {
        return tensor.clone();
    }
    store(to, tensor.shape(), of(tensor))
}

/// The f32 nearest to what half precision keeps of a number.
pub(super) fn through_f16(x: f32) -> f32 {
    canonical(f16::from_f32(x).to_f32())
}

fn to_int(lanes: Lanes) -> Vec<i64> {
    match lanes {
        Lanes::Int(v) => v,
        Lanes::F32(v) => v.into_iter().map(|x| x as i64).collect(),
        Lanes::F64(v) => v.into_iter().map(|x| x as i64).collect(),
        Lanes::Bool(v) => v.into_iter().map(i64::from).collect(),
    }
}

fn saturate(lanes: Lanes, low: i64, high: i64) -> impl Iterator<Item = i64> {
    to_int(lanes).into_iter().map(move |x| x.clamp(low, high))
}

/// For each element of a tensor of `shape`, the index of the element of an operand of shape `of`
/// that broadcasts to it; `None` where the shapes are the same.
pub(super) fn broadcast_index(of: &[usize], shape: &[usize]) -> Option<Vec<usize>> {
    if of == shape {
        return None;
    }
    let added = shape.len() - of.len();
    let mut strides = vec![0; shape.len()];
    let mut next = 1;
    for (axis, &n) in of.iter().enumerate().rev() {
        strides[added + axis] = if n == 1 { 0 } else { next };
        next *= n;
    }
    let mut indices = vec![0usize];
    if shape.contains(&0) {
        return Some(Vec::new());
    }
    for (&n, &stride) in shape.iter().zip(&strides) {
        let mut longer = Vec::with_capacity(indices.len() * n);
        for &base in &indices {
            longer.extend((0..n).map(|i| base + i * stride));
        }
        indices = longer;
    }
    Some(indices)
}

/// Picks elements by index; all of them where there is none.
pub(super) fn pick<T: Copy>(values: Vec<T>, index: Option<&[usize]>) -> Vec<T> {
    match index {
        None => values,
        Some(index) => index.iter().map(|&i| values[i]).collect(),
    }
}

impl Lanes {
    /// The lanes repeated along broadcast axes.
    pub(super) fn broadcast(self, of: &[usize], shape: &[usize]) -> Lanes {
        let index = broadcast_index(of, shape);
        let index = index.as_deref();
        match self {
            Lanes::F32(v) => Lanes::F32(pick(v, index)),
            Lanes::F64(v) => Lanes::F64(pick(v, index)),
            Lanes::Int(v) => Lanes::Int(pick(v, index)),
            Lanes::Bool(v) => Lanes::Bool(pick(v, index)),
        }
    }
}
