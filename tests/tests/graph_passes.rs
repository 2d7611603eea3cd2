//! Each pass on its cases, and all of them on the embedded models.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use packwright_compile::pass::PASSES;
use packwright_compile::pipeline;
use packwright_ir::order::topological;
use packwright_ir::{Graph, Op, text};
use packwright_tests::case::{difference, graph_cases};
use packwright_tests::way;

/// Largest difference that other orders of adding floats may make.
const ROUNDING: f64 = 1e-5;
/// Largest difference that int8 may make on the small graphs of the cases.
const INT8: f64 = 0.05;

#[test]
fn every_pass_does_what_its_cases_show() {
    for case in graph_cases() {
        let (mut before, after) = (case.before(), case.after());
        before.compact();
        insta::with_settings!({
            snapshot_path => case.path.parent().expect("cases lie in folders"),
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            assert_snapshot!(case.name.clone(), text::print(&after));
        });
        if case.name.starts_with("miss") {
            assert_eq!(
                text::print(&before),
                text::print(&after),
                "{}",
                case.path.display()
            );
        }
        let allowed = match case.pass.as_str() {
            "quantize" | "fold-quantization" | "block-attention" => INT8,
            _ => ROUNDING,
        };
        let difference = difference(&before, &after);
        assert!(
            difference <= allowed,
            "{}: {difference:e}",
            case.path.display()
        );
    }
}

#[test]
fn every_pass_has_a_hit_a_miss_and_a_boundary() {
    let cases = graph_cases();
    for pass in PASSES {
        for kind in ["hit", "miss", "boundary"] {
            let found = cases
                .iter()
                .any(|case| case.pass == pass.name && case.name == kind);
            assert!(found, "{} has no {kind}", pass.name);
        }
    }
    for case in &cases {
        assert!(
            PASSES.iter().any(|pass| pass.name == case.pass),
            "{}",
            case.path.display()
        );
    }
}

/// The encoders of the families that are compiled to the end, in every spelling.
const ENCODERS: [&str; 9] = [
    "minilm-l6.encoder.ts14.dyn.onnx",
    "minilm-l6.encoder.ts17.1x128.onnx",
    "minilm-l6.encoder.dynamo18.dyn.onnx",
    "tinybert-4l-312.encoder.ts14.dyn.onnx",
    "distilbert-base-uncased.encoder.ts14.dyn.onnx",
    "distilbert-base-uncased.encoder.ts17.1x128.onnx",
    "distilbert-base-uncased.classifier.ts14.dyn.onnx",
    "albert-base-v2.encoder.ts14.dyn.onnx",
    "t5-small.encoder.ts14.dyn.onnx",
];

fn histogram(graph: &Graph) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for node in topological(graph) {
        *counts.entry(graph.op(node).name()).or_default() += 1;
    }
    counts
        .iter()
        .map(|(name, count)| format!(" {name}:{count}"))
        .collect()
}

#[test]
fn exports_fuse_to_a_handful_of_operators() {
    let mut table = String::new();
    for name in ENCODERS {
        let mut graph = way::graph(name, None, None);
        let nodes = topological(&graph).len();
        pipeline::fuse(&mut graph).unwrap_or_else(|problems| panic!("{name}: {problems}"));
        table.push_str(&format!(
            "{name}: {nodes} nodes become{}\n",
            histogram(&graph)
        ));
    }
    assert_snapshot!(table);
}

#[test]
fn fused_exports_mean_what_they_meant() {
    for name in [
        "minilm-l6.encoder.ts14.dyn.onnx",
        "minilm-l6.encoder.dynamo18.dyn.onnx",
        "tinybert-4l-312.encoder.ts14.dyn.onnx",
        "distilbert-base-uncased.classifier.ts14.dyn.onnx",
    ] {
        let before = way::graph(name, Some(8), Some(1));
        let mut after = before.clone();
        pipeline::fuse(&mut after).unwrap_or_else(|problems| panic!("{name}: {problems}"));
        let loose = topological(&after)
            .into_iter()
            .filter(|&node| matches!(after.op(node), Op::Softmax { .. } | Op::Transpose { .. }))
            .count();
        assert_eq!(loose, 0, "{name} has loose pieces");
        let difference = difference(&before, &after);
        assert!(difference <= ROUNDING, "{name}: {difference:e}");
    }
}
