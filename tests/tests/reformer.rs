//! Reformers: sorting by hash and attention among chunks, from export to packets.

use insta::assert_snapshot;
use packwright_compile::compile::compile;
use packwright_compile::options::CompileOptions;
use packwright_compile::{pass, pipeline};
use packwright_ir::eval::{self, compare};
use packwright_ir::order::topological;
use packwright_ir::{Graph, Op};
use packwright_packet::check::check;
use packwright_target::Target;
use packwright_tests::reference::{self, Reference};
use packwright_tests::way::{both_for, compiled, graph, target};

const SMALL: [&str; 2] = ["reformer-factors.ts14", "reformer-rounds.ts14"];

/// Largest difference to ONNX Runtime, relative to the largest magnitude of a result.
const TOLERANCE: f64 = 1e-4;

fn apart(graph: &Graph, case: &Reference) -> f64 {
    let results = eval::run(graph, &case.inputs_of(graph)).unwrap_or_else(|e| panic!("{e}"));
    let pairs = results.iter().zip(&case.outputs);
    pairs
        .map(|((_, found), (_, expected))| compare::max_rel(found, expected))
        .fold(0.0, f64::max)
}

#[test]
fn floats_agree_with_onnx_runtime_before_and_behind_every_pass() {
    for name in SMALL {
        let case = reference::load(name);
        let mut graph = case.import().graph;
        assert!(apart(&graph, &case) <= TOLERANCE, "{name}");
        for _ in 0..2 {
            for pass in pass::PASSES {
                if pass.name == "quantize" || pass.name == "legalize" {
                    continue;
                }
                pipeline::run_pass(pass.name, &mut graph).unwrap_or_else(|e| panic!("{e}"));
                let apart = apart(&graph, &case);
                assert!(apart <= TOLERANCE, "{name} behind {}: {apart:e}", pass.name);
            }
        }
        assert_fused(&graph, name);
    }
}

/// Nothing is left of sorts, gathers and softmaxes in pieces.
fn assert_fused(graph: &Graph, name: &str) {
    let (mut sorts, mut attentions) = (0, 0);
    for node in topological(graph) {
        match graph.op(node) {
            Op::HashSort(_) => sorts += 1,
            Op::ChunkAttention(_) => attentions += 1,
            op => assert!(
                !matches!(
                    op,
                    Op::TopK { .. }
                        | Op::ArgMax { .. }
                        | Op::GatherElements { .. }
                        | Op::ScatterElements { .. }
                        | Op::Reduce { .. }
                        | Op::Transpose { .. }
                ),
                "{name} keeps {op:?}"
            ),
        }
    }
    assert_eq!((sorts, attentions), (1, 2), "{name}");
}

fn assert_packets(case: &Reference, target: &Target) {
    let mut compiled = compile(case.import().graph, target, &CompileOptions::default())
        .unwrap_or_else(|problems| panic!("{}: {problems}", case.name));
    let unsound = check(&compiled.program, target);
    assert!(unsound.is_empty(), "{}: {:?}", case.name, unsound.first());
    let inputs = case.inputs_of(&compiled.graph);
    for (output, expected, found) in both_for(&mut compiled, target, &inputs) {
        assert_eq!(expected, found, "{} {output} on {}", case.name, target.name);
    }
}

#[test]
fn packets_compute_what_the_quantised_graph_means() {
    for name in SMALL {
        let case = reference::load(name);
        assert_packets(&case, &target("e1", &[]));
        // Pieces of a few rows, and tiles of a few channels.
        assert_packets(&case, &target("tiny", &[]));
    }
}

#[test]
fn eight_bits_keep_the_results_and_most_buckets() {
    let mut table = String::new();
    for name in SMALL {
        let case = reference::load(name);
        let mut fused = case.import().graph;
        pipeline::fuse(&mut fused).unwrap_or_else(|e| panic!("{e}"));
        let quantised = compiled(case.import().graph, &target("e1", &[])).graph;
        let (floats, integers) = (orders(&fused, &case), orders(&quantised, &case));
        let moved = floats.iter().zip(&integers).filter(|(a, b)| a != b).count();
        let results =
            eval::run(&quantised, &case.inputs_of(&quantised)).unwrap_or_else(|e| panic!("{e}"));
        let similar = compare::cosine(&results[0].1, &case.outputs[0].1);
        table.push_str(&format!(
            "{name}: {moved} of {} sorted places differ, cosine {similar:.4}\n",
            floats.len()
        ));
    }
    // A row in another bucket moves the rows between.
    assert_snapshot!(table);
}

/// The sorted places of all hash sorts.
fn orders(graph: &Graph, case: &Reference) -> Vec<u8> {
    let mut places = Vec::new();
    eval::run_with(graph, &case.inputs_of(graph), &mut |value, tensor| {
        if matches!(graph.op(value.node), Op::HashSort(_)) {
            places.extend(tensor.to_le_bytes().chunks_exact(4).map(|c| c[0]));
        }
    })
    .unwrap_or_else(|e| panic!("{e}"));
    places
}

#[test]
fn the_published_size_becomes_packets() {
    let name = "reformer-crime.prefill.ts14.1x512.onnx";
    let e6 = target("e6", &[]);
    let program = compiled(graph(name, None, None), &e6).program;
    assert_eq!(check(&program, &e6), [], "{name}");
}
