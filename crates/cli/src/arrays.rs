//! Arrays in `.npz` files: read by name, fitted to ports, written back.

use std::io::Cursor;
use std::path::Path;

use indexmap::IndexMap;
use ndarray::{ArrayD, IxDyn, OwnedRepr};
use ndarray_npy::{NpzReader, NpzWriter, ReadNpyError, ReadNpzError, ReadableElement};
use packwright_packet::operand::Elem;
use packwright_sim::func::Output;

use crate::errors::{Failure, Problem};
use crate::file;

/// An array of one of the types that models take.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    Bool(ArrayD<bool>),
    I8(ArrayD<i8>),
    I32(ArrayD<i32>),
    I64(ArrayD<i64>),
    F32(ArrayD<f32>),
    F64(ArrayD<f64>),
}

impl Array {
    /// Extents.
    pub fn shape(&self) -> &[usize] {
        match self {
            Array::Bool(a) => a.shape(),
            Array::I8(a) => a.shape(),
            Array::I32(a) => a.shape(),
            Array::I64(a) => a.shape(),
            Array::F32(a) => a.shape(),
            Array::F64(a) => a.shape(),
        }
    }

    /// Name of the element type, as numpy has it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Array::Bool(_) => "bool",
            Array::I8(_) => "int8",
            Array::I32(_) => "int32",
            Array::I64(_) => "int64",
            Array::F32(_) => "float32",
            Array::F64(_) => "float64",
        }
    }

    /// The elements as little-endian bytes of a port's type, row-major. `None` where a value would
    /// change: a number out of range, or a fraction where whole numbers belong.
    pub fn to_bytes(&self, elem: Elem) -> Option<Vec<u8>> {
        match self {
            Array::Bool(a) => integers(a.iter().map(|&v| i64::from(v)), elem),
            Array::I8(a) => integers(a.iter().map(|&v| i64::from(v)), elem),
            Array::I32(a) => integers(a.iter().map(|&v| i64::from(v)), elem),
            Array::I64(a) => integers(a.iter().copied(), elem),
            Array::F32(a) => floats(a.iter().copied(), elem),
            Array::F64(a) => floats(a.iter().map(|&v| v as f32), elem),
        }
    }
}

/// The error of an `.npz` that cannot be read.
pub(crate) fn unreadable(error: &dyn std::fmt::Display) -> Problem {
    Problem::error(
        "npz-unreadable",
        format!("the file is no readable .npz: {error}"),
    )
    .help("write it with numpy.savez")
}

/// The error of an array of elements that no input takes.
pub(crate) fn unknown_type(name: &str) -> Problem {
    let message = format!("array `{name}` has an element type that no input takes");
    Problem::error("npz-type", message).help("store bool, int8, int32, int64, float32 or float64")
}

fn integers(values: impl Iterator<Item = i64>, elem: Elem) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for value in values {
        match elem {
            Elem::I8 => bytes.extend(i8::try_from(value).ok()?.to_le_bytes()),
            Elem::I32 => bytes.extend(i32::try_from(value).ok()?.to_le_bytes()),
            Elem::I64 => bytes.extend(value.to_le_bytes()),
            // Masks are small whole numbers, which every float holds.
            Elem::F16 if value.abs() <= 2048 => {
                bytes.extend(half::f16::from_f32(value as f32).to_le_bytes());
            }
            Elem::F32 if value.abs() <= 1 << 24 => bytes.extend((value as f32).to_le_bytes()),
            Elem::F16 | Elem::F32 => return None,
        }
    }
    Some(bytes)
}

fn floats(values: impl Iterator<Item = f32>, elem: Elem) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for value in values {
        match elem {
            Elem::F32 => bytes.extend(value.to_le_bytes()),
            Elem::F16 => bytes.extend(half::f16::from_f32(value).to_le_bytes()),
            Elem::I8 | Elem::I32 | Elem::I64 => return None,
        }
    }
    Some(bytes)
}

/// All arrays of an `.npz` file by name, in the order of the file.
///
/// # Errors
/// When the file cannot be read, is no `.npz`, or holds arrays of other types.
pub fn read(path: &Path) -> Result<IndexMap<String, Array>, Failure> {
    let place = file::shown(path);
    let bytes = file::read(path)?;
    let unreadable = |error: &ReadNpzError| Failure::from(unreadable(error).at(place.clone()));
    let mut reader = NpzReader::new(Cursor::new(bytes)).map_err(|error| unreadable(&error))?;
    let names = reader.names().map_err(|error| unreadable(&error))?;
    let mut arrays = IndexMap::new();
    let mut problems = Vec::new();
    for name in names {
        match read_array(&mut reader, &name) {
            Ok(Some(array)) => {
                arrays.insert(name.strip_suffix(".npy").unwrap_or(&name).to_owned(), array);
            }
            Ok(None) => problems.push(unknown_type(&name).at(place.clone())),
            Err(error) => problems.extend(unreadable(&error).0),
        }
    }
    if problems.is_empty() {
        Ok(arrays)
    } else {
        Err(Failure(problems))
    }
}

type Reader = NpzReader<Cursor<bytes::Bytes>>;

/// The array of a name, whatever its type; `None` where the type is none of ours.
fn read_array(reader: &mut Reader, name: &str) -> Result<Option<Array>, ReadNpzError> {
    fn typed<T: ReadableElement>(
        reader: &mut Reader,
        name: &str,
    ) -> Result<Option<ArrayD<T>>, ReadNpzError> {
        match reader.by_name::<OwnedRepr<T>, IxDyn>(name) {
            Ok(array) => Ok(Some(array)),
            Err(ReadNpzError::Npy(ReadNpyError::WrongDescriptor(_))) => Ok(None),
            Err(error) => Err(error),
        }
    }
    let name = name.strip_suffix(".npy").unwrap_or(name);
    Ok(match typed::<i64>(reader, name)? {
        Some(array) => Some(Array::I64(array)),
        None => match typed::<f32>(reader, name)? {
            Some(array) => Some(Array::F32(array)),
            None => match typed::<i32>(reader, name)? {
                Some(array) => Some(Array::I32(array)),
                None => match typed::<f64>(reader, name)? {
                    Some(array) => Some(Array::F64(array)),
                    None => match typed::<bool>(reader, name)? {
                        Some(array) => Some(Array::Bool(array)),
                        None => typed::<i8>(reader, name)?.map(Array::I8),
                    },
                },
            },
        },
    })
}

/// The bytes of an `.npz` file with outputs by name; each is `shape` of elements.
///
/// # Errors
/// When an output does not fill its shape.
pub fn write(outputs: &[Output]) -> Result<Vec<u8>, Failure> {
    let failed = |what: &str| Failure::from(Problem::error("npz-unwritable", what.to_owned()));
    let mut writer = NpzWriter::new_compressed(Cursor::new(Vec::new()));
    for output in outputs {
        let shape: Option<Vec<usize>> = output
            .shape
            .iter()
            .map(|&extent| usize::try_from(extent).ok())
            .collect();
        let shape = IxDyn(&shape.ok_or_else(|| failed("an output is too large"))?);
        let bytes = &output.bytes;
        let added =
            match output.elem {
                Elem::I8 => array(shape, bytes, i8::from_le_bytes)
                    .map(|a| writer.add_array(&*output.name, &a)),
                Elem::I32 => array(shape, bytes, i32::from_le_bytes)
                    .map(|a| writer.add_array(&*output.name, &a)),
                Elem::I64 => array(shape, bytes, i64::from_le_bytes)
                    .map(|a| writer.add_array(&*output.name, &a)),
                Elem::F32 => array(shape, bytes, f32::from_le_bytes)
                    .map(|a| writer.add_array(&*output.name, &a)),
                Elem::F16 => array(shape, bytes, |b| half::f16::from_le_bytes(b).to_f32())
                    .map(|a| writer.add_array(&*output.name, &a)),
            };
        match added {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(failed(&format!("output `{}`: {error}", output.name))),
            None => {
                return Err(failed(&format!(
                    "output `{}` does not fill its shape",
                    output.name
                )));
            }
        }
    }
    let cursor = writer
        .finish()
        .map_err(|error| failed(&error.to_string()))?;
    Ok(cursor.into_inner())
}

fn array<T, const N: usize>(
    shape: IxDyn,
    bytes: &[u8],
    of: impl Fn([u8; N]) -> T,
) -> Option<ArrayD<T>> {
    let values = bytes.chunks_exact(N).map(|chunk| {
        let mut element = [0; N];
        element.copy_from_slice(chunk);
        of(element)
    });
    ArrayD::from_shape_vec(shape, values.collect()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_can_be_read_back() {
        let output = Output {
            name: "y".into(),
            elem: Elem::F32,
            shape: vec![1, 2],
            bytes: [1.5f32, -2.0]
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect(),
        };
        let bytes = write(&[output]).expect("writes");
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("out.npz");
        std::fs::write(&path, bytes).expect("writes");
        let arrays = read(&path).expect("reads");
        let Array::F32(array) = &arrays["y"] else {
            panic!("another type: {arrays:?}")
        };
        assert_eq!(array.shape(), [1, 2]);
        assert_eq!(array[[0, 1]], -2.0);
    }

    #[test]
    fn values_never_change_silently() {
        let ids = Array::I64(ArrayD::from_elem(IxDyn(&[1]), 1 << 40));
        assert_eq!(ids.to_bytes(Elem::I32), None);
        let ids = Array::I64(ArrayD::from_elem(IxDyn(&[1]), 7));
        assert_eq!(ids.to_bytes(Elem::I32), Some(vec![7, 0, 0, 0]));
        let fraction = Array::F32(ArrayD::from_elem(IxDyn(&[1]), 0.5));
        assert_eq!(fraction.to_bytes(Elem::I64), None);
    }
}
