//! Samples of an `.npz` file, read one after the other: every array is unpacked as far as the sample goes, so
//! that memory holds one sample however many there are.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use ndarray::ArrayD;
use ndarray_npy::{ReadNpyExt, ReadableElement};
use packwright_compile::graph::samples::{Sample, Samples};
use packwright_ir::Graph;
use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_ir::tensor::Data;
use py_literal::Value;
use zip::ZipArchive;

use crate::arrays::{self, Array};
use crate::errors::{Failure, Problem};
use crate::{feed, file};

/// The samples for a graph that a file holds, after a look at all of them.
///
/// # Errors
/// Every array that is missing, unknown, or has another shape or type than its input; infinities and NaN.
pub fn open(graph: &Graph, path: &Path) -> Result<Samples, Failure> {
    let at = |failure: Failure| failure.at(&file::shown(path));
    file::check(path)?;
    let count = count(path).map_err(at)?;
    let inputs = graph.clone();
    let place = PathBuf::from(path);
    let samples = Samples::new(count, move |visit| {
        read(&place, count, &mut |arrays| {
            let sample = feed::tensors(&inputs, &arrays).map_err(diagnostics)?;
            sample.into_iter().try_for_each(&mut *visit)
        })
    });
    let mut problems = Vec::new();
    samples
        .each(&mut |number, sample| {
            problems.extend(broken(number, sample));
            Ok(())
        })
        .map_err(|problems| at(problems.into()))?;
    match problems.is_empty() {
        true => Ok(samples),
        false => Err(at(Failure(problems))),
    }
}

/// Inputs that hold infinities or NaN.
fn broken(number: usize, sample: &Sample) -> Vec<Problem> {
    let broken = sample.iter().filter_map(|(name, tensor)| {
        let (Data::F32(values) | Data::F16(values)) = &tensor.data else {
            return None;
        };
        let count = values.iter().filter(|x| !x.is_finite()).count();
        let message = format!("`{name}` of sample {number} holds {count} infinities or NaN");
        let help = "leave the sample out, or repair the array";
        (count > 0).then(|| Problem::error("calibration-not-finite", message).help(help))
    });
    broken.collect()
}

/// How many samples the arrays of a file hold.
fn count(path: &Path) -> Result<usize, Failure> {
    let mut archive = archive(path)?;
    let mut counts = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(unreadable)?;
        let name = array_name(entry.name()).to_owned();
        let header = Header::read(&mut entry).map_err(unreadable)?;
        counts.push((name, header.shape.first().copied().unwrap_or(0)));
    }
    feed::sample_count(&counts)
}

/// Shows the arrays of each sample, with a leading axis of one.
fn read(
    path: &Path,
    count: usize,
    show: &mut dyn FnMut(IndexMap<String, Array>) -> Result<(), Diagnostics>,
) -> Result<(), Diagnostics> {
    let names: Vec<String> = archive(path)
        .map_err(diagnostics)?
        .file_names()
        .map(str::to_owned)
        .collect();
    // Each array is unpacked by a reader of its own.
    let mut archives = Vec::new();
    for _ in &names {
        archives.push(archive(path).map_err(diagnostics)?);
    }
    let mut columns = Vec::new();
    for (archive, name) in archives.iter_mut().zip(&names) {
        let mut entry = archive
            .by_name(name)
            .map_err(|error| diagnostics(unreadable(error)))?;
        let header = Header::read(&mut entry).map_err(|error| diagnostics(unreadable(error)))?;
        columns.push((array_name(name), header, entry));
    }
    for _ in 0..count {
        let mut arrays = IndexMap::new();
        for (name, header, entry) in &mut columns {
            let array = header.next(name, entry).map_err(diagnostics)?;
            arrays.insert((*name).to_owned(), array);
        }
        show(arrays)?;
    }
    // The checksum of an array is compared at its end.
    for (_, _, entry) in &mut columns {
        io::copy(entry, &mut io::sink()).map_err(|error| diagnostics(unreadable(error)))?;
    }
    Ok(())
}

fn archive(path: &Path) -> Result<ZipArchive<BufReader<File>>, Failure> {
    let file = File::open(path).map_err(unreadable)?;
    ZipArchive::new(BufReader::new(file)).map_err(unreadable)
}

fn array_name(entry: &str) -> &str {
    entry.strip_suffix(".npy").unwrap_or(entry)
}

fn unreadable(error: impl std::fmt::Display) -> Failure {
    arrays::unreadable(&error).into()
}

fn diagnostics(failure: impl Into<Failure>) -> Diagnostics {
    let problems = failure.into().0.into_iter();
    let diagnostic = |problem: Problem| Diagnostic {
        code: problem.code,
        severity: problem.severity,
        message: problem.message,
        place: problem.place,
        help: problem.help,
    };
    Diagnostics(problems.map(diagnostic).collect())
}

/// What stands before the elements of an array.
struct Header {
    /// The element type, as numpy writes it.
    kind: String,
    shape: Vec<usize>,
}

/// The first bytes of an array.
const MAGIC: &[u8; 6] = b"\x93NUMPY";

impl Header {
    /// Reads as far as the first element.
    fn read(entry: &mut impl Read) -> io::Result<Self> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut start = [0; 8];
        entry.read_exact(&mut start)?;
        if start[..6] != MAGIC[..] {
            return Err(wrong("an entry is no array"));
        }
        let mut length = [0; 4];
        let wide = start[6] > 1;
        entry.read_exact(&mut length[..if wide { 4 } else { 2 }])?;
        let mut text = String::new();
        let length = u64::from(u32::from_le_bytes(length));
        entry.take(length).read_to_string(&mut text)?;
        let facts: Value = text
            .trim()
            .parse()
            .map_err(|_| wrong("the header of an array cannot be read"))?;
        let fact = |name: &str| {
            let pairs = facts.as_dict()?.iter();
            let mut found = pairs.filter(|(key, _)| key.as_string().is_some_and(|k| k == name));
            found.next().map(|(_, value)| value)
        };
        if fact("fortran_order").and_then(Value::as_boolean) == Some(true) {
            return Err(wrong(
                "an array lies in Fortran order, not sample by sample",
            ));
        }
        let kind = fact("descr").and_then(Value::as_string).cloned();
        let extent = |value: &Value| value.as_integer().and_then(|n| usize::try_from(n).ok());
        let shape = fact("shape")
            .and_then(Value::as_tuple)
            .map(|shape| shape.iter().map(extent));
        match (kind, shape.and_then(Iterator::collect)) {
            (Some(kind), Some(shape)) => Ok(Self { kind, shape }),
            _ => Err(wrong("the header of an array cannot be read")),
        }
    }

    /// The next sample.
    fn next(&self, name: &str, entry: &mut impl Read) -> Result<Array, Problem> {
        Ok(match self.kind.as_str() {
            "|b1" => Array::Bool(self.elements(entry)?),
            "|i1" => Array::I8(self.elements(entry)?),
            "<i4" => Array::I32(self.elements(entry)?),
            "<i8" => Array::I64(self.elements(entry)?),
            "<f4" => Array::F32(self.elements(entry)?),
            "<f8" => Array::F64(self.elements(entry)?),
            _ => return Err(arrays::unknown_type(name)),
        })
    }

    /// The elements of a sample, behind a leading axis of one.
    fn elements<T: ReadableElement>(&self, entry: &mut impl Read) -> Result<ArrayD<T>, Problem> {
        let each: Vec<String> = self.shape[1..].iter().map(usize::to_string).collect();
        let text = format!(
            "{{'descr': '{}', 'fortran_order': False, 'shape': (1, {}), }}\n",
            self.kind,
            each.join(", ")
        );
        let mut head = MAGIC.to_vec();
        head.extend([2, 0]);
        head.extend((text.len() as u32).to_le_bytes());
        head.extend(text.as_bytes());
        let mut extents = self.shape[1..].iter();
        let size = extents.try_fold(size_of::<T>(), |size, &extent| size.checked_mul(extent));
        let Some(size) = size else {
            return Err(arrays::unreadable(&"an array is larger than memory can be"));
        };
        ArrayD::read_npy(head.chain(entry.take(size as u64)))
            .map_err(|error| arrays::unreadable(&error))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{IxDyn, ShapeBuilder};
    use ndarray_npy::NpzWriter;
    use packwright_ir::text;

    use super::*;

    const MODEL: &str = "graph g
  %0 : i64[1,4] = input \"ids\"
  %1 : f32[1,4,3] = input \"x\"
  %2 : f32[1,4,3] = relu %1
  output %0 \"same\"
  output %2 \"y\"
";

    fn ids(count: usize) -> ArrayD<i64> {
        let values = (0..count * 4).map(|i| i as i64 - 3);
        ArrayD::from_shape_vec(IxDyn(&[count, 4]), values.collect()).expect("fills the shape")
    }

    fn floats(count: usize) -> ArrayD<f32> {
        let values = (0..count * 12).map(|i| i as f32 / 8.0);
        ArrayD::from_shape_vec(IxDyn(&[count, 1, 4, 3]), values.collect()).expect("fills the shape")
    }

    fn write(path: &Path, ids: &ArrayD<i64>, x: &ArrayD<f32>, compressed: bool) {
        let file = File::create(path).expect("creates");
        let mut npz = match compressed {
            true => NpzWriter::new_compressed(file),
            false => NpzWriter::new(file),
        };
        npz.add_array("ids", ids).expect("adds");
        npz.add_array("x", x).expect("adds");
        npz.finish().expect("writes");
    }

    fn codes(graph: &Graph, path: &Path) -> Vec<&'static str> {
        let failure = open(graph, path).expect_err("does not fit");
        failure.0.iter().map(|problem| problem.code).collect()
    }

    #[test]
    fn samples_in_turn_are_those_of_the_whole_file() {
        let graph = text::parse(MODEL).expect("is a graph");
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("data.npz");
        for compressed in [false, true] {
            write(&path, &ids(5), &floats(5), compressed);
            let whole = arrays::read(&path).expect("reads");
            let whole = feed::tensors(&graph, &whole).expect("fits");
            let samples = open(&graph, &path).expect("fits");
            assert_eq!(samples.len(), 5);
            // As often as they are needed.
            for _ in 0..2 {
                let mut seen = Vec::new();
                let mut visit = |number: usize, sample: &Sample| {
                    assert_eq!(number, seen.len());
                    seen.push(sample.clone());
                    Ok(())
                };
                samples.each(&mut visit).expect("reads");
                assert_eq!(seen, whole);
            }
        }
    }

    #[test]
    fn files_that_hold_no_samples_are_refused() {
        let graph = text::parse(MODEL).expect("is a graph");
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("data.npz");
        assert_eq!(codes(&graph, &path), ["file-missing"]);
        write(&path, &ids(5), &floats(4), true);
        assert_eq!(codes(&graph, &path), ["samples-differ"]);
        write(&path, &ids(0), &floats(0), true);
        assert_eq!(codes(&graph, &path), ["samples-differ"]);
        let mut turned = ArrayD::zeros(IxDyn(&[5, 4]).f());
        turned.assign(&ids(5));
        write(&path, &turned, &floats(5), true);
        assert_eq!(codes(&graph, &path), ["npz-unreadable"]);
        // A byte of the elements that is not what was written.
        write(&path, &ids(5), &floats(5), false);
        let mut bytes = std::fs::read(&path).expect("reads");
        bytes[200] ^= 1;
        std::fs::write(&path, bytes).expect("writes");
        assert_eq!(codes(&graph, &path), ["npz-unreadable"]);
    }
}
