//! The whole way of an embedded model, step by step.

use packwright_compile::compile::{Compiled, compile, with_constants};
use packwright_compile::graph::fuse_cache::state_name;
use packwright_compile::options::CompileOptions;
use packwright_compile::plan::cache::{Cache, caches};
use packwright_ir::Graph;
use packwright_ir::eval;
use packwright_ir::tensor::Tensor;
use packwright_packet::program::Program;
use packwright_sim::func::Machine;
use packwright_target::Target;
use packwright_zoo::{ModelFile, Zoo};

/// An embedded file.
///
/// # Panics
/// When there is none of that name.
pub fn file(name: &str) -> &'static ModelFile {
    Zoo::file(name).unwrap_or_else(|| panic!("{name} is embedded"))
}

/// The graph of a file at its default lengths, or at another sequence length; weights are absent, or
/// synthetic from a seed.
///
/// # Panics
/// When it does not import.
pub fn graph(name: &str, seq: Option<u64>, weights: Option<u64>) -> Graph {
    let file = file(name);
    let mut case = file.cases[0];
    case.lengths.seq = seq.or(case.lengths.seq);
    file.import(&case, weights)
        .unwrap_or_else(|problems| panic!("{name}: {problems}"))
        .graph
}

/// A preset with some numbers changed.
///
/// # Panics
/// When there is no such preset or field.
pub fn target(preset: &str, settings: &[&str]) -> Target {
    let mut target = Target::preset(preset).unwrap_or_else(|error| panic!("{error}"));
    for setting in settings {
        target
            .set(setting)
            .unwrap_or_else(|error| panic!("{error}"));
    }
    target
}

/// Compiles with default options.
///
/// # Panics
/// When something stands in the way.
pub fn compiled(graph: Graph, target: &Target) -> Compiled {
    compile(graph, target, &CompileOptions::default())
        .unwrap_or_else(|problems| panic!("{problems}"))
}

/// Results that the packets and the quantised graph in `eval` give for the same inputs, as bytes. Caches
/// are full, and compared as results.
///
/// # Panics
/// When either does not run.
pub fn both(
    compiled: &mut Compiled,
    target: &Target,
    seed: u64,
) -> Vec<(String, Vec<u8>, Vec<u8>)> {
    let inputs = eval::random_inputs(&compiled.graph, seed);
    both_for(compiled, target, &inputs)
}

/// The same for inputs by name.
///
/// # Panics
/// When either does not run.
pub fn both_for(
    compiled: &mut Compiled,
    target: &Target,
    inputs: &[(String, Tensor)],
) -> Vec<(String, Vec<u8>, Vec<u8>)> {
    let present = with_constants(compiled).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(present, "the weights have values");
    let expected = eval::run(&compiled.graph, inputs).unwrap_or_else(|error| panic!("{error}"));
    let entry = &compiled.program.entries[0];
    let maxima: Vec<u64> = entry.registers.iter().map(|r| r.max).collect();
    let found = on_machine(&compiled.graph, &compiled.program, target, inputs, &maxima);
    let pairs = expected.iter().map(|(name, tensor)| {
        let output = found.iter().find(|(n, _)| n == name);
        let (_, bytes) = output.unwrap_or_else(|| panic!("{name} is not computed"));
        let expected = match cache_of(&compiled.graph, name) {
            Some(cache) => planes(&cache, tensor, cache.rows()),
            None => tensor.to_le_bytes(),
        };
        (name.clone(), expected, bytes.clone())
    });
    pairs.collect()
}

/// What the first entry computes from tensors, caches among them.
///
/// # Panics
/// When it does not run.
pub fn on_machine(
    graph: &Graph,
    program: &Program,
    target: &Target,
    inputs: &[(String, Tensor)],
    registers: &[u64],
) -> Vec<(String, Vec<u8>)> {
    let entry = &program.entries[0];
    let mut machine = Machine::new(program, target).unwrap_or_else(|error| panic!("{error}"));
    let (mut bytes, all) = (Vec::new(), caches(graph));
    for (name, tensor) in inputs {
        let state = all.iter().find(|c| c.name == state_name(name));
        let Some(cache) = state else {
            bytes.push((name.as_str(), tensor.to_le_bytes()));
            continue;
        };
        let region = entry
            .regions
            .iter()
            .find(|region| region.name == cache.name);
        let region = region.unwrap_or_else(|| panic!("{} has no region", cache.name));
        machine
            .set_state(region, &planes(cache, tensor, cache.rows()))
            .unwrap_or_else(|error| panic!("{error}"));
    }
    let ports: Vec<(&str, &[u8])> = bytes.iter().map(|(n, b)| (*n, b.as_slice())).collect();
    let found = machine
        .run(entry, &ports, registers)
        .unwrap_or_else(|error| panic!("{error}"));
    let mut results: Vec<(String, Vec<u8>)> =
        found.into_iter().map(|o| (o.name, o.bytes)).collect();
    for output in graph.outputs() {
        if let Some(cache) = cache_of(graph, &output.name) {
            let state = machine.state().get(&cache.name);
            results.push((output.name.clone(), state.unwrap_or_default().to_vec()));
        }
    }
    results
}

/// The cache behind a result.
fn cache_of(graph: &Graph, output: &str) -> Option<Cache> {
    let output = graph.outputs().iter().find(|o| o.name == output)?;
    Cache::of(graph, output.value)
}

/// Rows of a cache as its planes in DRAM, with room for `capacity` rows.
pub fn planes(cache: &Cache, tensor: &Tensor, capacity: usize) -> Vec<u8> {
    let heads = cache.heads;
    let [bytes_of_row, scale] = cache.row_parts().map(|bytes| bytes as usize);
    let elements = tensor.to_le_bytes();
    let rows = tensor.shape()[1];
    let mut bytes = Vec::new();
    for plane in 0..cache.planes() {
        let (batch, head) = (plane / heads, plane % heads);
        let row = |r: usize| (batch * rows + r) * heads + head;
        let start = bytes.len();
        for r in 0..rows {
            bytes.extend(&elements[row(r) * bytes_of_row..][..bytes_of_row]);
        }
        bytes.resize(start + cache.data_bytes(capacity) as usize, 0);
        for r in (0..rows).filter(|_| scale > 0) {
            bytes.extend(tensor.scales[row(r)].to_le_bytes());
        }
        bytes.resize(start + cache.plane_bytes(capacity) as usize, 0);
    }
    bytes
}
