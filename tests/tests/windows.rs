//! Attention with windows, global columns and replaced rows: from export to packets.

use std::io::Read;

use bytes::Bytes;
use packwright_compile::compile::compile;
use packwright_compile::options::{CompileOptions, PlanOptions};
use packwright_compile::pipeline;
use packwright_ir::tensor::{Data, Tensor, array};
use packwright_ir::{Graph, Op, eval, text};
use packwright_onnx::{ImportOptions, Model};
use packwright_packet::check::check;
use packwright_sim::{Options, Report, simulate};
use packwright_target::Target;
use packwright_tests::way::{both, compiled, target};
use ruzstd::decoding::StreamingDecoder;

/// Attention over inputs: `s` queries, `t` keys, two heads of 16.
fn attention(s: usize, t: usize, attributes: &str, more: &[(&str, &str)]) -> Graph {
    let mut source = format!(
        "graph g\n  %0 : f32[1,{s},32] = input \"q\"\n  %1 : f32[1,{t},32] = input \"k\"\n  \
         %2 : f32[1,{t},32] = input \"v\"\n"
    );
    let mut operands = "%0, %1, %2".to_owned();
    let mut next = 3;
    for (name, shape) in more {
        source += &format!("  %{next} : f32[{shape}] = input \"{name}\"\n");
        operands += &format!(", %{next}");
        next += 1;
    }
    source += &format!(
        "  %{next} : f32[1,{s},32] = attention {operands} heads=2 kv_heads=2 scale=0.25 {attributes}\n  \
         output %{next} \"y\"\n"
    );
    text::parse(&source).unwrap_or_else(|problems| panic!("{source}\n{problems:?}"))
}

fn simulated(graph: Graph, target: &Target, score_rows: Option<usize>) -> Report {
    let options = CompileOptions {
        plan: PlanOptions {
            score_rows,
            ..PlanOptions::default()
        },
        ..CompileOptions::default()
    };
    let program = compile(graph, target, &options)
        .unwrap_or_else(|problems| panic!("{problems}"))
        .program;
    simulate(&program, &program.entries[0], target, &Options::default())
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn packets_see_what_the_graph_sees() {
    let e2 = target("e2", &[]);
    let mask = ("mask", "1,1,1,61");
    let rows = ("rows", "1,1,61,1");
    for (s, t, attributes, more) in [
        (61, 61, "window=7", vec![]),
        (61, 61, "window=20 causal", vec![]),
        (61, 61, "causal", vec![]),
        (20, 61, "window=9 causal", vec![]),
        (61, 61, "mask window=7", vec![mask]),
        (61, 61, "mask row_mask window=7", vec![mask, rows]),
        (61, 61, "window=7 global=[0]", vec![]),
        (61, 61, "mask window=7 global=[0,1,30,60]", vec![mask]),
        (
            61,
            61,
            "window=7 global=[0,5] replaced=[0,5]",
            vec![("new", "1,2,32")],
        ),
        (61, 61, "block=16", vec![]),
        (61, 61, "causal block=16", vec![]),
        (20, 61, "mask causal block=32", vec![mask]),
        (
            61,
            61,
            "softcap=0.5 mask row_mask block=48",
            vec![mask, rows],
        ),
        (61, 61, "relative", vec![("bias", "2,121")]),
        (20, 61, "relative causal", vec![("bias", "2,80")]),
        (
            61,
            61,
            "relative mask causal block=16",
            vec![mask, ("bias", "2,121")],
        ),
        (61, 61, "row_mask", vec![rows]),
        (61, 61, "softcap=0.5 mask", vec![mask]),
        (20, 61, "softcap=2.0 window=9 causal", vec![]),
        (
            4,
            61,
            "global=[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]",
            vec![],
        ),
    ] {
        for score_rows in [None, Some(5)] {
            let options = CompileOptions {
                plan: PlanOptions {
                    score_rows,
                    ..PlanOptions::default()
                },
                ..CompileOptions::default()
            };
            let graph = attention(s, t, attributes, &more);
            let mut compiled = compile(graph, &e2, &options)
                .unwrap_or_else(|problems| panic!("{attributes}: {problems}"));
            let problems = check(&compiled.program, &e2);
            assert!(problems.is_empty(), "{attributes}: {problems:?}");
            for (_, expected, found) in both(&mut compiled, &e2, 3) {
                assert!(expected == found, "{attributes}, {score_rows:?} rows");
            }
        }
    }
}

#[test]
fn windows_mean_what_masks_mean() {
    let (s, window) = (40, 6);
    for global in [vec![], vec![0, 17]] {
        let attributes = match global.is_empty() {
            true => format!("window={window}"),
            false => format!("window={window} global=[0,17]"),
        };
        let graph = attention(s, s, &attributes, &[]);
        let mut inputs = eval::random_inputs(&graph, 1);
        let windowed = eval::run(&graph, &inputs).expect("runs");
        let sees = |i: usize, j: usize| i.abs_diff(j) <= window || global.contains(&j);
        let pairs = (0..s).flat_map(|i| (0..s).map(move |j| (i, j)));
        let mask = pairs.map(|(i, j)| if sees(i, j) { 0.0 } else { f32::NEG_INFINITY });
        let tensor = Tensor::f32(&[s, s], mask.collect());
        inputs.push(("mask".into(), tensor));
        let masked = attention(s, s, "mask", &[("mask", "40,40")]);
        let masked = eval::run(&masked, &inputs).expect("runs");
        assert!(furthest(&windowed[0].1, &floats(&masked[0].1)) < 1e-6);
    }
}

#[test]
fn a_window_costs_what_a_window_costs() {
    let e2 = target("e2", &[]);
    let cost = |s: usize| {
        let report = simulated(attention(s, s, "window=32 global=[0]", &[]), &e2, Some(32));
        (report.macs as f64, report.cycles as f64)
    };
    let (short, long) = (cost(512), cost(2048));
    for (what, ratio) in [("MACs", long.0 / short.0), ("cycles", long.1 / short.1)] {
        assert!((3.5..4.5).contains(&ratio), "{what} grow {ratio} times");
    }
    // Not more than half of what is computed lies outside of the windows.
    let visible = 2048.0 * 66.0 * 2.0 * 32.0;
    assert!(long.0 / visible < 2.0, "{}", long.0 / visible);
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    match &tensor.data {
        Data::F32(values) => values.iter().copied().collect(),
        _ => Vec::new(),
    }
}

fn furthest(found: &Tensor, expected: &[f32]) -> f32 {
    let found = floats(found);
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Rows of the shrunken Longformers.
const ROWS: usize = 48;

/// A shrunken Longformer with its inputs and the result that its framework gives.
fn longformer(name: &str, output: &str) -> (Graph, Vec<(String, Tensor)>, Vec<f32>) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/files/longformer");
    let read = |file: String| std::fs::read(format!("{folder}/{file}")).expect("is there");
    let packed = read(format!("{name}.onnx.zst"));
    let mut bytes = Vec::new();
    StreamingDecoder::new(&packed[..])
        .expect("is compressed")
        .read_to_end(&mut bytes)
        .expect("decompresses");
    let model = Model::from_bytes(Bytes::from(bytes), None).expect("is a model");
    let global = name == "global";
    let padded = if global { 0 } else { 3 };
    let integers = |f: &dyn Fn(usize) -> i64| {
        Tensor::plain(Data::I64(array(&[1, ROWS], (0..ROWS).map(f).collect())))
    };
    let shown = |i: usize| i < ROWS - padded;
    let ids = integers(&|i| if shown(i) { (i as i64 * 7) % 61 + 3 } else { 1 });
    let mask = integers(&|i| i64::from(shown(i)));
    let mut options = ImportOptions::default();
    let mut inputs = vec![("input_ids".to_owned(), ids)];
    if global {
        options.fixed.insert("attention_mask".into(), mask);
        let first = integers(&|i| i64::from(i == 0));
        options.fixed.insert("global_attention_mask".into(), first);
    } else {
        inputs.push(("attention_mask".into(), mask));
    }
    let graph = packwright_onnx::import(&model, &options)
        .unwrap_or_else(|problems| panic!("{problems}"))
        .graph;
    let expected = read(format!("{name}.f32"));
    let expected = expected
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&b| f32::from_le_bytes(b));
    assert!(graph.outputs().iter().any(|o| o.name == output));
    (graph, inputs, expected.collect())
}

#[test]
fn longformers_become_attention_and_compute_what_they_did() {
    for (name, output, attentions) in [("window", "logits", 2), ("global", "last_hidden_state", 4)]
    {
        let (mut graph, inputs, expected) = longformer(name, output);
        let scale = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let before = eval::run(&graph, &inputs).expect("runs");
        assert!(furthest(&before[0].1, &expected) <= 1e-4 * scale, "{name}");
        pipeline::fuse(&mut graph).unwrap_or_else(|problems| panic!("{problems}"));
        let after = eval::run(&graph, &inputs).expect("runs");
        assert!(
            furthest(&after[0].1, &expected) <= 1e-4 * scale,
            "{name}, fused"
        );
        let found: Vec<_> = graph
            .node_ids()
            .into_iter()
            .filter_map(|node| match graph.op(node) {
                Op::Attention(attrs) => Some(attrs.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(found.len(), attentions, "{name}");
        let windows = found.iter().filter(|attrs| attrs.window == Some(8));
        assert_eq!(windows.count(), 2, "{name}");
        let computed = graph.node_ids().into_iter();
        let computed = computed.filter(|&node| !matches!(graph.op(node), Op::Const(_)));
        let count = computed.count();
        assert!(count < 80, "{name}: {count} nodes");
        if name == "global" {
            let rows = found
                .iter()
                .filter(|attrs| attrs.replaced == [0] && attrs.global == [0]);
            assert_eq!(rows.count(), 2);
        }
        let e2 = target("e2", &[]);
        let mut compiled = compiled(graph, &e2);
        let problems = check(&compiled.program, &e2);
        assert!(problems.is_empty(), "{name}: {problems:?}");
        for (_, expected, found) in both(&mut compiled, &e2, 5) {
            assert!(expected == found, "{name}: packets differ from the graph");
        }
    }
}
