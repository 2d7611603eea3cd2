//! Imported graphs compute what ONNX Runtime computes, before and after every graph pass.

use std::panic::{AssertUnwindSafe, catch_unwind};

use packwright_compile::compile::compile;
use packwright_compile::graph::eliminate_dead;
use packwright_compile::options::CompileOptions;
use packwright_compile::{pass, pipeline};
use packwright_ir::Graph;
use packwright_ir::eval::{self, compare};
use packwright_packet::check::check;
use packwright_target::Target;
use packwright_tests::reference::{self, Reference};
use packwright_tests::way::{both_for, target};
use rayon::prelude::*;

/// Largest difference, relative to the largest magnitude of a result.
const TOLERANCE: f64 = 1e-4;

/// What is wrong with the results of a graph.
fn complaint(graph: &Graph, case: &Reference) -> Option<String> {
    let results = match eval::run(graph, &case.inputs_of(graph)) {
        Ok(results) => results,
        Err(error) => return Some(error.to_string()),
    };
    for (name, expected) in &case.outputs {
        let Some((_, found)) = results.iter().find(|(n, _)| n == name) else {
            return Some(format!("{name} is missing"));
        };
        let expected = &reference::as_rows(expected, found.shape().len());
        if found.ty() != expected.ty() {
            return Some(format!("{name} is {}, not {}", found.ty(), expected.ty()));
        }
        let apart = compare::max_rel(found, expected);
        // Not a number is no agreement.
        if apart.is_nan() || apart > TOLERANCE {
            return Some(format!("{name} is {apart:e} away"));
        }
    }
    None
}

fn report(complaints: Vec<String>) {
    assert!(
        complaints.is_empty(),
        "{} cases:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
}

#[test]
fn operators_at_every_operator_set() {
    let cases = reference::operators();
    assert!(cases.len() > 300);
    let complaints = cases.par_iter().filter_map(|case| {
        let imported = packwright_onnx::import(&case.model, &case.options());
        let found = match imported {
            Ok(imported) => complaint(&imported.graph, case),
            Err(problems) => Some(problems.to_string()),
        };
        Some(format!("{}: {}", case.name, found?))
    });
    report(complaints.collect());
}

#[test]
fn models_before_and_after_every_pass() {
    let names = reference::names();
    assert!(names.len() > 30);
    let complaints = names
        .par_iter()
        .flat_map_iter(|name| through_passes(&reference::load(name)));
    report(complaints.collect());
}

#[test]
fn packets_compute_what_the_quantised_graph_means() {
    let e1 = target("e1", &[]);
    let complaints = reference::names().into_par_iter().filter_map(|name| {
        let case = reference::load(&name);
        let found = catch_unwind(AssertUnwindSafe(|| through_packets(&case, &e1)))
            .unwrap_or_else(|_| Some("it panics".to_owned()));
        Some(format!("{name}: {}", found?))
    });
    report(complaints.collect());
}

/// What is wrong with the packets of a model: the code of what stands in the way, or an output.
fn through_packets(case: &Reference, target: &Target) -> Option<String> {
    let graph = case.import().graph;
    let mut compiled = match compile(graph, target, &CompileOptions::default()) {
        Ok(compiled) => compiled,
        Err(problems) => return Some(problems.to_string()),
    };
    let unsound = check(&compiled.program, target);
    if let Some(problem) = unsound.first() {
        return Some(format!("{problem:?} [{}]", problem.slug));
    }
    let inputs = case.inputs_of(&compiled.graph);
    let results = both_for(&mut compiled, target, &inputs);
    let differs = results
        .into_iter()
        .find(|(_, expected, found)| expected != found);
    differs.map(|(name, ..)| format!("{name} differs"))
}

/// Runs the passes up to the first that rounds, one at a time.
fn through_passes(case: &Reference) -> Vec<String> {
    let imported = packwright_onnx::import(&case.model, &case.options());
    let mut graph = match imported {
        Ok(imported) => imported.graph,
        Err(problems) => return vec![format!("{}: {problems}", case.name)],
    };
    let mut complaints = Vec::new();
    let mut check = |graph: &Graph, pass: &str| {
        complaints
            .extend(complaint(graph, case).map(|c| format!("{} after {pass}: {c}", case.name)));
    };
    check(&graph, "the import");
    for pass in pass::PASSES
        .iter()
        .filter(|p| p.name != "quantize" && p.name != "legalize")
    {
        if let Err(problems) = pipeline::run_pass(pass.name, &mut graph) {
            check(&graph, &format!("{}: {problems}", pass.name));
            break;
        }
        check(&graph, pass.name);
    }
    let mut fused = case.import().graph;
    if let Err(problems) = pipeline::fuse(&mut fused).and_then(|_| eliminate_dead::run(&mut fused))
    {
        complaints.push(format!("{}: {problems}", case.name));
        return complaints;
    }
    complaints.extend(complaint(&fused, case).map(|c| format!("{} after all: {c}", case.name)));
    complaints
}
