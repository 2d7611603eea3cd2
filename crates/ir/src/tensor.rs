//! Tensors with values: what constants hold and what `eval` computes.

use ndarray::{ArrayD, IxDyn};

use crate::ty::{Elem, Quant, Type};

/// The elements of a tensor, row-major. f16 is held as f32 whose values are all representable in f16.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    Bool(ArrayD<bool>),
    I8(ArrayD<i8>),
    U8(ArrayD<u8>),
    I32(ArrayD<i32>),
    I64(ArrayD<i64>),
    F16(ArrayD<f32>),
    F32(ArrayD<f32>),
    F64(ArrayD<f64>),
}

/// A tensor with values.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub data: Data,
    pub quant: Option<Quant>,
    /// Scales of a tensor with [`Quant::Row`] (`[rows, columns / group]`, row-major) or
    /// [`Quant::Channel`] (one for each index of the axis); empty otherwise.
    pub scales: Vec<f32>,
}

impl Tensor {
    /// A tensor of f32 from row-major values.
    ///
    /// # Panics
    /// When the number of values is not the product of the shape.
    pub fn f32(shape: &[usize], values: Vec<f32>) -> Self {
        Self::plain(Data::F32(array(shape, values)))
    }

    /// A tensor of i64 from row-major values.
    ///
    /// # Panics
    /// When the number of values is not the product of the shape.
    pub fn i64(shape: &[usize], values: Vec<i64>) -> Self {
        Self::plain(Data::I64(array(shape, values)))
    }

    /// A tensor that is not quantised.
    pub fn plain(data: Data) -> Self {
        Self {
            data,
            quant: None,
            scales: Vec::new(),
        }
    }

    /// Element type.
    pub fn elem(&self) -> Elem {
        match &self.data {
            Data::Bool(_) => Elem::Bool,
            Data::I8(_) => Elem::I8,
            Data::U8(_) => Elem::U8,
            Data::I32(_) => Elem::I32,
            Data::I64(_) => Elem::I64,
            Data::F16(_) => Elem::F16,
            Data::F32(_) => Elem::F32,
            Data::F64(_) => Elem::F64,
        }
    }

    /// Shape.
    pub fn shape(&self) -> &[usize] {
        match &self.data {
            Data::Bool(a) => a.shape(),
            Data::I8(a) => a.shape(),
            Data::U8(a) => a.shape(),
            Data::I32(a) => a.shape(),
            Data::I64(a) => a.shape(),
            Data::F16(a) | Data::F32(a) => a.shape(),
            Data::F64(a) => a.shape(),
        }
    }

    /// Type.
    pub fn ty(&self) -> Type {
        Type {
            elem: self.elem(),
            shape: self.shape().to_vec(),
            quant: self.quant,
        }
    }
}

/// An array from row-major values.
///
/// # Panics
/// When the number of values is not the product of the shape.
pub fn array<T>(shape: &[usize], values: Vec<T>) -> ArrayD<T> {
    ArrayD::from_shape_vec(IxDyn(shape), values).expect("values fill the shape")
}
