//! Values in model files: element types, shapes, bytes.

use bytes::Bytes;
use half::f16;
use packwright_ir::diag::Diagnostic;
use packwright_ir::tensor::{Data, Tensor, array};
use packwright_ir::{Elem, Type};

use crate::codes;
use crate::proto::TensorProto;
use crate::proto::tensor_proto::DataType;

/// Bytes of the largest tensor that is accepted, at eight bytes an element.
const LARGEST: usize = 1 << 41;

/// The element type behind an ONNX data type, where the graph has one.
pub fn elem(data_type: i32) -> Option<Elem> {
    match DataType::try_from(data_type).ok()? {
        DataType::Float => Some(Elem::F32),
        DataType::Double => Some(Elem::F64),
        DataType::Float16 => Some(Elem::F16),
        DataType::Int64 => Some(Elem::I64),
        DataType::Int32 => Some(Elem::I32),
        DataType::Int8 => Some(Elem::I8),
        DataType::Uint8 => Some(Elem::U8),
        DataType::Bool => Some(Elem::Bool),
        _ => None,
    }
}

/// The name of an ONNX data type.
pub fn type_name(data_type: i32) -> &'static str {
    DataType::try_from(data_type).map_or("unknown", |t| t.as_str_name())
}

/// The element type, or what to say where the graph has none.
pub(crate) fn need_elem(data_type: i32, what: &str) -> Result<Elem, Diagnostic> {
    elem(data_type).ok_or_else(|| codes::element_type(what, type_name(data_type)))
}

/// A shape whose size in bytes can be computed without overflow.
pub(crate) fn need_shape(dims: &[i64], what: &str) -> Result<Vec<usize>, Diagnostic> {
    let mut shape = Vec::with_capacity(dims.len());
    let mut bytes = 8usize;
    for &dim in dims {
        let n = usize::try_from(dim).map_err(|_| codes::shape(what, dims))?;
        bytes = bytes
            .checked_mul(n.max(1))
            .filter(|&b| b <= LARGEST)
            .ok_or_else(|| codes::shape(what, dims))?;
        shape.push(n);
    }
    Ok(shape)
}

/// Type of a stored tensor.
pub(crate) fn stored_type(tensor: &TensorProto, what: &str) -> Result<Type, Diagnostic> {
    let elem = need_elem(tensor.data_type(), what)?;
    Ok(Type::new(elem, need_shape(&tensor.dims, what)?))
}

/// The little-endian bytes of a tensor that is stored in the model file itself: a view where the file
/// has them in that form.
pub(crate) fn inline_bytes(
    tensor: &TensorProto,
    ty: &Type,
    what: &str,
) -> Result<Bytes, Diagnostic> {
    let bytes = match &tensor.raw_data {
        Some(raw) => raw.clone(),
        None => typed_bytes(tensor, ty.elem),
    };
    if bytes.len() != ty.bytes() {
        return Err(codes::tensor_size(what, ty, bytes.len()));
    }
    Ok(bytes)
}

fn typed_bytes(tensor: &TensorProto, elem: Elem) -> Bytes {
    let ints = &tensor.int32_data;
    let bytes: Vec<u8> = match elem {
        Elem::F32 => tensor
            .float_data
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect(),
        Elem::F64 => tensor
            .double_data
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect(),
        Elem::I64 => tensor
            .int64_data
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect(),
        Elem::I32 => ints.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Elem::F16 => ints
            .iter()
            .flat_map(|v| (*v as u16).to_le_bytes())
            .collect(),
        // Packed elements are stored a byte an entry as well.
        Elem::I4 | Elem::I8 | Elem::U8 => ints.iter().map(|v| *v as u8).collect(),
        Elem::Bool => ints.iter().map(|v| u8::from(*v != 0)).collect(),
    };
    Bytes::from(bytes)
}

/// A tensor of one repeated value.
pub(crate) fn filled(elem: Elem, shape: &[usize], value: f64) -> Tensor {
    let n = shape.iter().product();
    let data = match elem {
        Elem::Bool => Data::Bool(array(shape, vec![value != 0.0; n])),
        Elem::U8 => Data::U8(array(shape, vec![value as u8; n])),
        Elem::I4 => Data::I4(array(shape, vec![value.clamp(-8.0, 7.0) as i8; n])),
        Elem::I8 => Data::I8(array(shape, vec![value as i8; n])),
        Elem::I32 => Data::I32(array(shape, vec![value as i32; n])),
        Elem::I64 => Data::I64(array(shape, vec![value as i64; n])),
        Elem::F16 => Data::F16(array(shape, vec![f16::from_f64(value).to_f32(); n])),
        Elem::F32 => Data::F32(array(shape, vec![value as f32; n])),
        Elem::F64 => Data::F64(array(shape, vec![value; n])),
    };
    Tensor::plain(data)
}

/// The elements in another type; numbers that it does not have are cut to what it has.
pub(crate) fn converted(tensor: &Tensor, elem: Elem) -> Tensor {
    let (shape, v) = (tensor.shape(), floats(tensor));
    let data = match elem {
        Elem::Bool => Data::Bool(array(shape, v.iter().map(|x| *x != 0.0).collect())),
        Elem::U8 => Data::U8(array(shape, v.iter().map(|x| *x as u8).collect())),
        Elem::I4 => {
            let low = v.iter().map(|x| x.clamp(-8.0, 7.0) as i8).collect();
            Data::I4(array(shape, low))
        }
        Elem::I8 => Data::I8(array(shape, v.iter().map(|x| *x as i8).collect())),
        Elem::I32 => Data::I32(array(shape, v.iter().map(|x| *x as i32).collect())),
        Elem::I64 => Data::I64(array(shape, v.iter().map(|x| *x as i64).collect())),
        Elem::F16 => Data::F16(array(shape, v.iter().map(|x| *x as f32).collect())),
        Elem::F32 => Data::F32(array(shape, v.iter().map(|x| *x as f32).collect())),
        Elem::F64 => Data::F64(array(shape, v)),
    };
    Tensor::plain(data)
}

/// The elements as integers, where they are integers.
pub fn integers(tensor: &Tensor) -> Option<Vec<i64>> {
    match &tensor.data {
        Data::I64(a) => Some(a.iter().copied().collect()),
        Data::I32(a) => Some(a.iter().map(|v| i64::from(*v)).collect()),
        Data::U8(a) => Some(a.iter().map(|v| i64::from(*v)).collect()),
        Data::I4(a) | Data::I8(a) => Some(a.iter().map(|v| i64::from(*v)).collect()),
        Data::Bool(_) | Data::F16(_) | Data::F32(_) | Data::F64(_) => None,
    }
}

/// The elements as floating-point numbers, whatever they are.
pub fn floats(tensor: &Tensor) -> Vec<f64> {
    match &tensor.data {
        Data::Bool(a) => a.iter().map(|v| f64::from(u8::from(*v))).collect(),
        Data::U8(a) => a.iter().map(|v| f64::from(*v)).collect(),
        Data::I4(a) | Data::I8(a) => a.iter().map(|v| f64::from(*v)).collect(),
        Data::I32(a) => a.iter().map(|v| f64::from(*v)).collect(),
        Data::I64(a) => a.iter().map(|v| *v as f64).collect(),
        Data::F16(a) | Data::F32(a) => a.iter().map(|v| f64::from(*v)).collect(),
        Data::F64(a) => a.iter().copied().collect(),
    }
}

/// A tensor that holds few different numbers.
pub(crate) enum Few {
    /// One number everywhere.
    One(Tensor),
    /// A condition, the number where it holds, and the number where it does not.
    Two(Box<[Tensor; 3]>),
}

/// Bytes from which on a table of floats is looked through for equal numbers.
const LARGE_TABLE: usize = 1 << 10;

/// The numbers of a large matrix of floats that holds only one or two, such as a mask. Vectors are
/// left alone: they may be weights.
pub(crate) fn few_numbers(tensor: &Tensor) -> Option<Few> {
    let ty = tensor.ty();
    let Data::F32(values) = &tensor.data else {
        return None;
    };
    if ty.rank() < 2 || ty.bytes() <= LARGE_TABLE {
        return None;
    }
    let first = *values.first()?;
    let is_first = |x: &f32| x.to_bits() == first.to_bits();
    let number = |x: f32| Tensor::f32(&[], vec![x]);
    let Some(&second) = values.iter().find(|x| !is_first(x)) else {
        return Some(Few::One(number(first)));
    };
    let mut others = values.iter().filter(|x| !is_first(x));
    if others.any(|x| x.to_bits() != second.to_bits()) {
        return None;
    }
    let condition = values.iter().map(is_first).collect();
    let condition = Tensor::plain(Data::Bool(array(&ty.shape, condition)));
    Some(Few::Two(Box::new([
        condition,
        number(first),
        number(second),
    ])))
}
