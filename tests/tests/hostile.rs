//! The front end over damaged files: every embedded export, cut at a hundred places and changed at
//! random, in its bytes and in its meaning. A message or a graph, never a panic.

use std::panic::catch_unwind;

use bytes::Bytes;
use packwright_onnx::proto::{GraphProto, ModelProto, NodeProto, TensorProto};
use packwright_onnx::{ImportOptions, Model};
use packwright_zoo::{ModelFile, Zoo};
use prost::Message;
use rayon::prelude::*;

const CUTS: usize = 100;
const CHANGES: usize = 100;
/// Larger files are changed less often, in proportion: an import of one takes most of a second.
const SMALL_FILE: usize = 400_000;

fn files() -> Vec<&'static ModelFile> {
    Zoo::all().iter().flat_map(|slm| slm.files).collect()
}

fn packed(file: &ModelFile) -> Bytes {
    file.bytes().unwrap_or_else(|error| panic!("{error}"))
}

/// Imports at the default lengths of the file; whether a graph came out.
fn import(file: &ModelFile, bytes: Bytes) -> bool {
    let Ok(model) = Model::from_bytes(bytes, None) else {
        return false;
    };
    let options: ImportOptions = file.options(&model, &file.cases[0]);
    packwright_onnx::import(&model, &options).is_ok()
}

#[test]
fn files_that_end_early_are_refused() {
    files().par_iter().for_each(|file| {
        let bytes = packed(file);
        for i in 0..CUTS {
            let cut = bytes.slice(..bytes.len() * i / CUTS);
            assert!(!import(file, cut), "{} cut at {i} %", file.file);
        }
    });
}

#[test]
fn changed_files_never_panic() {
    let files = files();
    let jobs: Vec<(&ModelFile, Bytes)> = files.iter().map(|f| (*f, packed(f))).collect();
    let tries: Vec<(usize, u64)> = (jobs.iter().enumerate())
        .flat_map(|(at, (_, bytes))| {
            let count = (CHANGES * SMALL_FILE / bytes.len().max(1)).clamp(4, CHANGES);
            (0..count as u64).map(move |seed| (at, seed))
        })
        .collect();
    let outcomes: Vec<Result<bool, String>> = (tries.par_iter())
        .map(|&(at, seed)| {
            let (file, bytes) = &jobs[at];
            let changed = change(bytes, seed);
            catch_unwind(|| import(file, changed)).map_err(|_| format!("{} {seed}", file.file))
        })
        .collect();
    let panics: Vec<&String> = outcomes.iter().filter_map(|o| o.as_ref().err()).collect();
    assert!(panics.is_empty(), "file and seed: {panics:?}");
    assert!(outcomes.contains(&Ok(true)), "some changes do no harm");
    assert!(outcomes.contains(&Ok(false)), "some changes do");
}

/// A generator of numbers from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// A number that programs stumble over.
    fn nasty(&mut self) -> i64 {
        const NUMBERS: [i64; 14] = [
            0,
            1,
            -1,
            2,
            -2,
            7,
            100,
            1 << 20,
            1 << 31,
            1 << 40,
            i64::MAX,
            i64::MIN,
            -100,
            3,
        ];
        NUMBERS[self.below(NUMBERS.len())]
    }
}

fn change(bytes: &Bytes, seed: u64) -> Bytes {
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (seed + 1).wrapping_mul(0xff51_afd7_ed55_8ccd));
    if seed.is_multiple_of(2) {
        return change_bytes(bytes, &mut random);
    }
    let mut model = ModelProto::decode(bytes.clone()).expect("embedded files decode");
    if let Some(graph) = &mut model.graph {
        for _ in 0..1 + random.below(3) {
            change_graph(graph, &mut random);
        }
    }
    Bytes::from(model.encode_to_vec())
}

fn change_bytes(bytes: &Bytes, random: &mut Random) -> Bytes {
    let mut changed = bytes.to_vec();
    for _ in 0..1 + random.below(4) {
        let at = random.below(changed.len());
        match random.below(4) {
            0 => changed[at] = random.next() as u8,
            1 => changed[at] ^= 1 << random.below(8),
            2 => changed[at] = changed[at].wrapping_add(1),
            _ => {
                let end = (at + 1 + random.below(8)).min(changed.len());
                changed.drain(at..end);
            }
        }
    }
    Bytes::from(changed)
}

/// Changes what the graph means: operators, operands, attributes, shapes, stored numbers.
fn change_graph(graph: &mut GraphProto, random: &mut Random) {
    let other = graph.node[random.below(graph.node.len())].clone();
    let at = random.below(graph.node.len());
    match random.below(8) {
        0 => {
            if !graph.initializer.is_empty() {
                let at = random.below(graph.initializer.len());
                change_tensor(&mut graph.initializer[at], random);
            }
        }
        1 => {
            graph.node.remove(at);
        }
        2 => graph.node[at].op_type = other.op_type,
        _ => change_node(&mut graph.node[at], &other, random),
    }
}

fn change_node(node: &mut NodeProto, other: &NodeProto, random: &mut Random) {
    match random.below(6) {
        0 => {
            node.input.pop();
        }
        1 => node.input.extend(other.input.first().cloned()),
        2 => {
            if let (Some(mine), Some(theirs)) = (node.input.first_mut(), other.input.first()) {
                mine.clone_from(theirs);
            }
        }
        3 => node.input.reverse(),
        4 => node.attribute.clear(),
        _ => {
            for attribute in &mut node.attribute {
                if attribute.i.is_some() {
                    attribute.i = Some(random.nasty());
                }
                for n in &mut attribute.ints {
                    *n = random.nasty();
                }
                if let Some(tensor) = &mut attribute.t {
                    change_tensor(tensor, random);
                }
            }
        }
    }
}

fn change_tensor(tensor: &mut TensorProto, random: &mut Random) {
    match random.below(4) {
        0 => tensor.data_type = Some(random.below(20) as i32),
        1 => tensor.dims.push(random.nasty()),
        2 => {
            if let Some(dim) = tensor.dims.first_mut() {
                *dim = random.nasty();
            }
        }
        _ => {
            if let Some(raw) = &tensor.raw_data {
                let number = random.nasty().to_le_bytes();
                let changed: Vec<u8> = raw
                    .iter()
                    .zip(number.iter().cycle())
                    .map(|(_, b)| *b)
                    .collect();
                tensor.raw_data = Some(changed.into());
            }
        }
    }
}
