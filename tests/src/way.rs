//! The whole way of an embedded model, step by step.

use packwright_compile::compile::{Compiled, compile, with_constants};
use packwright_compile::options::CompileOptions;
use packwright_ir::Graph;
use packwright_ir::eval;
use packwright_ir::tensor::Tensor;
use packwright_sim::func;
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

/// Results that the packets and the quantised graph in `eval` give for the same inputs, as bytes.
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
    let bytes: Vec<(String, Vec<u8>)> = inputs
        .iter()
        .map(|(n, t)| (n.clone(), t.to_le_bytes()))
        .collect();
    let ports: Vec<(&str, &[u8])> = bytes
        .iter()
        .map(|(n, b)| (n.as_str(), b.as_slice()))
        .collect();
    let entry = &compiled.program.entries[0];
    let found = func::run(&compiled.program, entry, target, &ports, &[])
        .unwrap_or_else(|error| panic!("{error}"));
    expected
        .iter()
        .zip(found)
        .map(|((name, tensor), output)| (name.clone(), tensor.to_le_bytes(), output.bytes))
        .collect()
}
