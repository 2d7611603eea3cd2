//! Tensors with values: what constants hold and what `eval` computes.

use half::f16;
use ndarray::{ArrayD, IxDyn};
use packwright_numerics::int4;

use crate::ty::{Elem, Quant, Type};

/// The elements of a tensor, row-major. f16 is held as f32 whose values are all representable in f16.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    Bool(ArrayD<bool>),
    I4(ArrayD<i8>),
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
    /// Scales of a tensor with [`Quant::Row`] (`[rows, columns / group]`, row-major),
    /// [`Quant::Channel`] (one for each index of the axis), [`Quant::Shifted`] (a scale and its zero point for
    /// each index in turn) or [`Quant::Block`] (`[channels, k / group]`,
    /// row-major); empty otherwise.
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

    /// A tensor from little-endian elements, row-major; truth values are bytes that are not 0. `None` where
    /// the bytes do not fill the shape. It has no scales of its own.
    pub fn from_le_bytes(ty: &Type, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != ty.bytes() {
            return None;
        }
        let shape = ty.shape.as_slice();
        let data = match ty.elem {
            Elem::Bool => Data::Bool(array(shape, bytes.iter().map(|&b| b != 0).collect())),
            Elem::I4 => {
                let mut values = vec![0; ty.elements()];
                int4::unpack(bytes, &mut values);
                Data::I4(array(shape, values))
            }
            Elem::I8 => Data::I8(array(shape, bytes.iter().map(|&b| b as i8).collect())),
            Elem::U8 => Data::U8(array(shape, bytes.to_vec())),
            Elem::I32 => Data::I32(array(shape, words(bytes, i32::from_le_bytes))),
            Elem::I64 => Data::I64(array(shape, words(bytes, i64::from_le_bytes))),
            Elem::F16 => {
                let half = |word| f16::from_le_bytes(word).to_f32();
                Data::F16(array(shape, words(bytes, half)))
            }
            Elem::F32 => Data::F32(array(shape, words(bytes, f32::from_le_bytes))),
            Elem::F64 => Data::F64(array(shape, words(bytes, f64::from_le_bytes))),
        };
        Some(Self {
            data,
            quant: ty.quant,
            scales: Vec::new(),
        })
    }

    /// The little-endian elements, row-major, without scales.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        match &self.data {
            Data::Bool(a) => a.iter().map(|&x| u8::from(x)).collect(),
            Data::I4(a) => {
                let values: Vec<i8> = a.iter().copied().collect();
                let mut bytes = vec![0; values.len().div_ceil(2)];
                int4::pack(&values, &mut bytes);
                bytes
            }
            Data::I8(a) => a.iter().map(|&x| x as u8).collect(),
            Data::U8(a) => a.iter().copied().collect(),
            Data::I32(a) => a.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::I64(a) => a.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::F16(a) => a
                .iter()
                .flat_map(|&x| f16::from_f32(x).to_le_bytes())
                .collect(),
            Data::F32(a) => a.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::F64(a) => a.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }

    /// Element type.
    pub fn elem(&self) -> Elem {
        match &self.data {
            Data::Bool(_) => Elem::Bool,
            Data::I4(_) => Elem::I4,
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
            Data::I4(a) | Data::I8(a) => a.shape(),
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

fn words<const N: usize, T>(bytes: &[u8], decode: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes
        .as_chunks::<N>()
        .0
        .iter()
        .map(|&word| decode(word))
        .collect()
}
