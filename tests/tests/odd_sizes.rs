//! Sizes that fill no tile: heads of 26, vocabularies of 30522 and 50257, sequences of 1, 77 and 511.

use packwright_ir::{Graph, text};
use packwright_sim::{Options, Report, simulate};
use packwright_target::Target;
use packwright_tests::way::{both, compiled, graph, target};

/// A decoder layer with two heads of 26 and a tied vocabulary of 50257, over a prompt.
fn shrunken(seq: usize) -> Graph {
    let source = format!(
        r#"
graph shrunken
  @0 : f32[50257,52] "table" = synthetic normal(std=0.1, seed=1)
  @1 : f32[52] "gain" = synthetic normal(std=0.1, seed=2)
  @2 : f32[52] "shift" = synthetic normal(std=0.1, seed=3)
  @3 : f32[52,156] "qkv" = synthetic normal(std=0.1, seed=4)
  @4 : f32[156] "bias" = synthetic normal(std=0.1, seed=5)
  @5 : f32[52,52] "out" = synthetic normal(std=0.1, seed=6)
  @6 : f32[52,50257] "head" = transpose @0 perm=[1,0]
  %0 : i64[1,{seq}] = input "input_ids"
  %1 : f32[1,{seq},52] = embedding %0, @0 tables=1
  %2 : f32[1,{seq},52] = layer_norm %1, @1, @2 eps=1e-5 affine
  %3 : f32[1,{seq},156] = matmul %2, @3, @4 bias
  %4 : f32[1,{seq},52] = slice %3 start=[0,0,0] count=[1,{seq},52]
  %5 : f32[1,{seq},52] = slice %3 start=[0,0,52] count=[1,{seq},52]
  %6 : f32[1,{seq},52] = slice %3 start=[0,0,104] count=[1,{seq},52]
  %7 : f32[1,{seq},52] = attention %4, %5, %6 heads=2 kv_heads=2 scale=0.196 causal
  %8 : f32[1,{seq},52] = matmul %7, @5, %1 residual
  %9 : f32[1,1,52] = slice %8 start=[0,{last},0] count=[1,1,52]
  %10 : f32[1,1,50257] = matmul %9, @6
  output %10 "logits"
"#,
        last = seq - 1,
    );
    text::parse(&source).unwrap_or_else(|errors| panic!("{}", text::annotate(&source, &errors)))
}

/// Costs, after what packets compute was found to be what the quantised graph means.
fn exact(graph: Graph, target: &Target, name: &str) -> Report {
    let mut compiled = compiled(graph, target);
    for (output, expected, found) in both(&mut compiled, target, 5) {
        assert!(expected == found, "{name}: {output} differs");
    }
    let entry = &compiled.program.entries[0];
    simulate(&compiled.program, entry, target, &Options::default())
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn heads_of_26_and_odd_vocabularies_are_exact_and_their_padding_is_reported() {
    let e2 = target("e2", &[]);
    let mut padding = Vec::new();
    for seq in [1, 77, 511] {
        let report = exact(shrunken(seq), &e2, "shrunken");
        assert!(report.padding.macs > 0, "{seq}");
        padding.push(report.padding);
    }
    // Scores and values of more rows leave more of the array unfilled.
    assert!(padding.is_sorted_by_key(|padding| padding.macs));
}

#[test]
fn tinybert_is_exact_at_odd_lengths() {
    let e2 = target("e2", &[]);
    for seq in [1, 77] {
        let graph = graph("tinybert-4l-312.encoder.ts14.dyn.onnx", Some(seq), Some(1));
        let report = exact(graph, &e2, "TinyBERT");
        assert!(report.padding.macs > 0 && report.padding.dram_bytes > 0);
    }
}

#[test]
fn full_tiles_have_no_padding_in_the_array() {
    // 128 positions and products of 384 and 1536 fill the array of e2.
    let e2 = target("e2", &[]);
    let compiled = compiled(graph("minilm-l6.encoder.ts14.dyn.onnx", None, None), &e2);
    let entry = &compiled.program.entries[0];
    let report = simulate(&compiled.program, entry, &e2, &Options::default());
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    // Only the products of attention, with heads of 32, leave some of the array unfilled.
    let attention = 12 * 6 * 2 * 128 * 128 * 32;
    assert!(report.padding.macs <= attention, "{}", report.padding.macs);
}

#[test]
fn the_layer_of_albert_is_stored_once() {
    let target = target("e8", &[]);
    let compiled = compiled(
        graph("albert-base-v2.encoder.ts14.dyn.onnx", None, None),
        &target,
    );
    let layout = &compiled.plan.layout;
    // One layer with the projection of the embeddings; tables come on top.
    assert!(layout.weight_bytes < 7_300_000, "{}", layout.weight_bytes);
    assert!(layout.bytes() < 11_400_000, "{}", layout.bytes());
    assert_eq!(compiled.program.constants.len(), layout.bytes());
    let entry = &compiled.program.entries[0];
    let report = simulate(&compiled.program, entry, &target, &Options::default());
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    assert!(report.dram.bytes.weights <= layout.weight_bytes);
}
