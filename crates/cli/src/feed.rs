//! Arrays fed to the inputs of a program, one sample or many, and its outputs.

use indexmap::IndexMap;
use ndarray::Axis;
use packwright_ir::tensor::Tensor;
use packwright_ir::{Graph, NodeId, Op};
use packwright_packet::operand::{Elem, RegionId};
use packwright_packet::program::{Entry, Port, Program};
use packwright_sim::func::{self, Output};
use packwright_target::Target;
use rayon::prelude::*;

use crate::arrays::Array;
use crate::errors::{Failure, Problem};

/// How arrays are fed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedOptions {
    /// The first axis of every array counts samples.
    pub each: bool,
    /// Inputs that are left out and have an obvious value get it.
    pub default_inputs: bool,
}

/// The bytes of every input of an entry, in the order of its ports.
pub type Sample = Vec<Vec<u8>>;

/// Arrays cut into samples and fitted to the inputs of an entry.
///
/// # Errors
/// Every array that is missing, unknown, or has another shape or type than its input.
pub fn samples(
    ports: &[Port],
    arrays: &IndexMap<String, Array>,
    options: &FeedOptions,
) -> Result<Vec<Sample>, Failure> {
    let mut problems: Vec<Problem> = unknown(ports, arrays);
    let count = match options.each {
        true => sample_count(&first_axes(arrays)).unwrap_or_else(|failure| {
            problems.extend(failure.0);
            0
        }),
        false => 1,
    };
    let mut columns = Vec::new();
    for port in ports {
        let column = match arrays.get(&port.name) {
            Some(array) if options.each => each(port, array),
            Some(array) => whole(port, array).map(|bytes| vec![bytes]),
            None => default(port, options).map(|bytes| vec![bytes; count]),
        };
        match column {
            Ok(column) => columns.push(column),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(Failure(problems));
    }
    let sample = |at: usize| {
        columns
            .iter()
            .filter_map(|column| column.get(at).cloned())
            .collect()
    };
    Ok((0..count).map(sample).collect())
}

/// Arrays with a leading axis of samples as inputs of a graph; those with an obvious value may be left
/// out.
///
/// # Errors
/// Every array that is missing, unknown, or has another shape or type than its input.
pub fn tensors(
    graph: &Graph,
    arrays: &IndexMap<String, Array>,
) -> Result<Vec<Vec<(String, Tensor)>>, Failure> {
    let ports = graph
        .inputs()
        .iter()
        .map(|&node| port(graph, node))
        .collect::<Result<Vec<_>, _>>()?;
    let options = FeedOptions {
        each: true,
        default_inputs: true,
    };
    let samples = samples(&ports, arrays, &options)?;
    let tensors = |sample: &Sample| {
        let types = graph.inputs().iter().map(|&node| &graph.types(node)[0]);
        ports
            .iter()
            .zip(types)
            .zip(sample)
            .map(|((port, ty), bytes)| {
                let tensor = Tensor::from_le_bytes(ty, bytes);
                (port.name.clone(), tensor.expect("samples fill their ports"))
            })
            .collect()
    };
    Ok(samples.iter().map(tensors).collect())
}

/// An input of a graph as a port.
fn port(graph: &Graph, node: NodeId) -> Result<Port, Failure> {
    let ty = &graph.types(node)[0];
    let Op::Input { name } = graph.op(node) else {
        return Err(Problem::error("input-unknown", "a node is no input").into());
    };
    let elem = match ty.elem {
        packwright_ir::Elem::I64 => Elem::I64,
        packwright_ir::Elem::I32 => Elem::I32,
        packwright_ir::Elem::F32 => Elem::F32,
        other => {
            let message = format!("input `{name}` is {other}, which cannot be fed");
            return Err(Problem::unsupported("input-type", message).into());
        }
    };
    let shape = ty.shape.iter().map(|&n| n as u64).collect();
    Ok(Port {
        name: name.clone(),
        elem,
        shape,
        region: RegionId(0),
    })
}

/// Runs an entry on every sample. With `each`, outputs get a leading axis of samples, in place of
/// a leading axis of 1 where there is one.
///
/// # Errors
/// What stops a run.
pub fn run(
    program: &Program,
    entry: &Entry,
    target: &Target,
    samples: &[Sample],
    registers: &[u64],
    each: bool,
    done: &(dyn Fn() + Sync),
) -> Result<Vec<Output>, Failure> {
    let one = |sample: &Sample| {
        let names = entry.inputs.iter().map(|port| port.name.as_str());
        let inputs: Vec<_> = names.zip(sample.iter().map(Vec::as_slice)).collect();
        let outputs = func::run(program, entry, target, &inputs, registers);
        done();
        outputs
    };
    let runs = samples.par_iter().map(one).collect::<Result<Vec<_>, _>>()?;
    let count = runs.len() as u64;
    let mut runs = runs.into_iter();
    let mut outputs = runs.next().unwrap_or_default();
    for run in runs {
        for (all, more) in outputs.iter_mut().zip(run) {
            all.bytes.extend(more.bytes);
        }
    }
    if each {
        for output in &mut outputs {
            match output.shape.first_mut() {
                Some(first) if *first == 1 => *first = count,
                _ => output.shape.insert(0, count),
            }
        }
    }
    Ok(outputs)
}

fn unknown(ports: &[Port], arrays: &IndexMap<String, Array>) -> Vec<Problem> {
    let known = |name: &str| ports.iter().any(|port| port.name == name);
    let unknown = arrays.keys().filter(|name| !known(name));
    let ports: Vec<_> = ports.iter().map(|port| port.name.as_str()).collect();
    let problem = |name: &String| {
        let message = format!("array `{name}` belongs to no input");
        Problem::error("input-unknown", message).help(format!("inputs are {}", ports.join(", ")))
    };
    unknown.map(problem).collect()
}

/// The length of the first axis of each array.
fn first_axes(arrays: &IndexMap<String, Array>) -> Vec<(String, usize)> {
    let first = |array: &Array| array.shape().first().copied().unwrap_or(0);
    let arrays = arrays.iter();
    arrays
        .map(|(name, array)| (name.clone(), first(array)))
        .collect()
}

/// How many samples arrays hold, from the length of the first axis of each by name.
///
/// # Errors
/// When they differ, or there is none.
pub(crate) fn sample_count(counts: &[(String, usize)]) -> Result<usize, Failure> {
    let first = counts.first().map_or(0, |&(_, count)| count);
    if counts.iter().any(|&(_, count)| count != first) {
        let list: Vec<_> = counts
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        let message = format!(
            "arrays have different numbers of samples: {}",
            list.join(", ")
        );
        return Err(Problem::error("samples-differ", message).into());
    }
    if first == 0 {
        return Err(Problem::error("samples-differ", "the arrays hold no sample").into());
    }
    Ok(first)
}

fn extents(shape: &[usize]) -> String {
    let extents: Vec<_> = shape.iter().map(usize::to_string).collect();
    format!("[{}]", extents.join(","))
}

fn port_shape(port: &Port) -> Vec<usize> {
    port.shape
        .iter()
        .map(|&extent| usize::try_from(extent).unwrap_or(usize::MAX))
        .collect()
}

fn shape_problem(port: &Port, array: &Array, help: String) -> Problem {
    let (has, takes) = (extents(array.shape()), extents(&port_shape(port)));
    let message = format!(
        "array `{}` has shape {has}, its input takes {takes}",
        port.name
    );
    Problem::error("input-shape", message).help(help)
}

fn type_problem(port: &Port, array: &Array) -> Problem {
    let message = format!(
        "array `{}` is {}, its input takes {}, and not every value survives the conversion",
        port.name,
        array.type_name(),
        port.elem
    );
    Problem::error("input-type", message).help("convert the array before it is saved")
}

/// The bytes of an array that is one sample.
fn whole(port: &Port, array: &Array) -> Result<Vec<u8>, Problem> {
    let shape = port_shape(port);
    if array.shape() != shape {
        let help = match array.shape().split_first() {
            Some((_, rest)) if fits(rest, &shape) => {
                "the array has a leading axis of samples: give --each".to_owned()
            }
            _ => "pad the array, or compile the model for its shape".to_owned(),
        };
        return Err(shape_problem(port, array, help));
    }
    array
        .to_bytes(port.elem)
        .ok_or_else(|| type_problem(port, array))
}

/// Whether a sample fills an input, with its leading axis of 1 or without.
fn fits(sample: &[usize], shape: &[usize]) -> bool {
    sample == shape
        || shape
            .split_first()
            .is_some_and(|(&first, rest)| first == 1 && sample == rest)
}

/// The bytes of every sample of an array.
fn each(port: &Port, array: &Array) -> Result<Vec<Vec<u8>>, Problem> {
    let shape = port_shape(port);
    match array.shape().split_first() {
        Some((_, rest)) if fits(rest, &shape) => {}
        _ => {
            let help = "each sample must have the shape of the input, or that less its leading 1";
            return Err(shape_problem(port, array, help.to_owned()));
        }
    }
    let samples = cut(array).into_iter();
    let bytes = samples
        .map(|sample| sample.to_bytes(port.elem))
        .collect::<Option<_>>();
    bytes.ok_or_else(|| type_problem(port, array))
}

/// The samples of an array along its first axis.
fn cut(array: &Array) -> Vec<Array> {
    macro_rules! cut {
        ($($kind:ident),*) => {
            match array {
                $(Array::$kind(a) => {
                    a.axis_iter(Axis(0)).map(|sample| Array::$kind(sample.to_owned())).collect()
                })*
            }
        };
    }
    cut!(Bool, I8, I32, I64, F32, F64)
}

/// The obvious value of an input that is left out.
fn default(port: &Port, options: &FeedOptions) -> Result<Vec<u8>, Problem> {
    let shape = port_shape(port);
    let count: usize = shape.iter().product();
    let columns = shape.last().copied().unwrap_or(1).max(1);
    let name = port.name.as_str();
    let value: Option<Box<dyn Fn(usize) -> i64>> = if name.ends_with("attention_mask") {
        Some(Box::new(|_| 1))
    } else if name.ends_with("token_type_ids") || name.ends_with("segment_ids") {
        Some(Box::new(|_| 0))
    } else if name.ends_with("position_ids") {
        Some(Box::new(move |at| (at % columns) as i64))
    } else {
        None
    };
    match value {
        Some(value) if options.default_inputs => Ok((0..count)
            .flat_map(|at| number(value(at), port.elem))
            .collect()),
        obvious => {
            let message = format!("input `{name}` has no array");
            let help = match obvious.is_some() {
                true => "add it, or let it have its usual value with --default-inputs",
                false => "add an array of that name to the .npz file",
            };
            Err(Problem::error("input-missing", message).help(help))
        }
    }
}

/// A small whole number as bytes of a type.
fn number(value: i64, elem: Elem) -> Vec<u8> {
    match elem {
        Elem::I8 => vec![value as u8],
        Elem::I32 => (value as i32).to_le_bytes().to_vec(),
        Elem::I64 => value.to_le_bytes().to_vec(),
        Elem::F16 => half::f16::from_f32(value as f32).to_le_bytes().to_vec(),
        Elem::F32 => (value as f32).to_le_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, IxDyn};
    use packwright_packet::operand::RegionId;

    use super::*;

    fn entry(names: &[&str]) -> Entry {
        let port = |name: &&str| Port {
            name: (*name).into(),
            elem: Elem::I64,
            shape: vec![1, 4],
            region: RegionId(0),
        };
        Entry {
            name: "main".into(),
            binding: Vec::new(),
            registers: Vec::new(),
            regions: Vec::new(),
            inputs: names.iter().map(port).collect(),
            outputs: Vec::new(),
            packets: Vec::new(),
            facts: Default::default(),
            bound: Default::default(),
        }
    }

    fn ids(shape: &[usize]) -> Array {
        Array::I64(ArrayD::from_elem(IxDyn(shape), 7))
    }

    fn codes(result: Result<Vec<Sample>, Failure>) -> Vec<&'static str> {
        result
            .expect_err("does not fit")
            .0
            .iter()
            .map(|problem| problem.code)
            .collect()
    }

    #[test]
    fn all_that_does_not_fit_is_named() {
        let entry = entry(&["input_ids", "attention_mask"]);
        let arrays = IndexMap::from([
            ("input_ids".to_owned(), ids(&[3, 4])),
            ("x".to_owned(), ids(&[1])),
        ]);
        let result = samples(&entry.inputs, &arrays, &FeedOptions::default());
        assert_eq!(
            codes(result),
            ["input-unknown", "input-shape", "input-missing"]
        );
    }

    #[test]
    fn masks_have_an_obvious_value() {
        let entry = entry(&["input_ids", "attention_mask"]);
        let arrays = IndexMap::from([("input_ids".to_owned(), ids(&[1, 4]))]);
        let options = FeedOptions {
            default_inputs: true,
            ..Default::default()
        };
        let samples = samples(&entry.inputs, &arrays, &options).expect("fits");
        assert_eq!(samples.len(), 1);
        assert_eq!(samples[0][1][..9], [1, 0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn samples_are_cut_along_the_first_axis() {
        let entry = entry(&["input_ids"]);
        let options = FeedOptions {
            each: true,
            ..Default::default()
        };
        for shape in [&[3, 4][..], &[3, 1, 4]] {
            let arrays = IndexMap::from([("input_ids".to_owned(), ids(shape))]);
            assert_eq!(
                samples(&entry.inputs, &arrays, &options)
                    .expect("fits")
                    .len(),
                3
            );
        }
        let arrays = IndexMap::from([("input_ids".to_owned(), ids(&[3, 5]))]);
        assert_eq!(
            codes(samples(&entry.inputs, &arrays, &options)),
            ["input-shape"]
        );
    }
}
