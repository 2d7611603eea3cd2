//! Plans: whatever is cut, spilled or streamed, results stay the same bits and no bound is broken.

use std::collections::BTreeMap;

use packwright_compile::compile::{Compiled, compile};
use packwright_compile::graph::calibrate::Calibration;
use packwright_compile::graph::recipe::{Activations, Recipe};
use packwright_compile::options::{CompileOptions, PlanMode, PlanOptions};
use packwright_compile::pipeline::GraphOptions;
use packwright_compile::plan::stage::Stage;
use packwright_compile::plan::{
    Alternates, Fragment, Home, Part, Pieces, Scores, Segment, again, demand, text,
};
use packwright_ir::Op;
use packwright_packet::check::check;
use packwright_sim::{Options, Report, simulate};
use packwright_target::Target;
use packwright_tests::way::{both, graph, target};

fn planned(
    name: &str,
    seq: u64,
    target: &Target,
    mode: PlanMode,
    weights: Option<u64>,
) -> Option<Compiled> {
    let options = CompileOptions {
        plan: PlanOptions {
            mode,
            ..PlanOptions::default()
        },
        ..CompileOptions::default()
    };
    let found = compile(graph(name, Some(seq), weights), target, &options);
    match found {
        Ok(compiled) => {
            let problems = check(&compiled.program, target);
            assert!(problems.is_empty(), "{name}: {problems:#?}");
            Some(compiled)
        }
        Err(problems) => {
            assert!(problems.to_string().contains("sram"), "{name}: {problems}");
            None
        }
    }
}

/// A simulation compares itself with the bound, so one that ends has kept to it.
fn simulated(compiled: &Compiled, target: &Target) -> Report {
    let entry = &compiled.program.entries[0];
    simulate(&compiled.program, entry, target, &Options::default())
        .unwrap_or_else(|error| panic!("{error}"))
}

/// A graph in its text form on e1 with so much SRAM: it passes the check and simulates.
fn within(text: &str, kib: u64) -> (Compiled, Target) {
    let graph = packwright_ir::text::parse(text).unwrap_or_else(|e| panic!("{e:?}"));
    let e1 = target("e1", &[&format!("sram.bytes={kib}KiB")]);
    let compiled = compile(graph, &e1, &CompileOptions::default())
        .unwrap_or_else(|problems| panic!("{kib} KiB: {problems}"));
    let problems = check(&compiled.program, &e1);
    assert!(problems.is_empty(), "{kib} KiB: {problems:#?}");
    simulated(&compiled, &e1);
    (compiled, e1)
}

/// What a plan does, for a look at which families a test has met.
fn families(compiled: &Compiled) -> BTreeMap<&'static str, bool> {
    let segments = &compiled.plan.segments;
    let any = |is: &dyn Fn(&Segment) -> bool| segments.iter().any(is);
    let alone = |s: &Segment| matches!(s.stages[..], [Stage::Attention { .. }]);
    let together = |stage: &Stage| match *stage {
        Stage::Attention {
            node,
            quantize: Some(own),
        } => demand::heads_together(&compiled.graph, node, own) > 1,
        _ => false,
    };
    BTreeMap::from([
        ("passes", any(&|s| s.passes.count > 1)),
        ("row blocks", any(&|s| s.block_count() > 1 && !s.resident)),
        (
            "constants that stay",
            any(&|s| s.block_count() > 1 && s.resident),
        ),
        ("row blocks before passes", any(&Segment::blocks_first)),
        ("an attention apart", any(&alone)),
        (
            "scores by rows of the array",
            any(&|s| matches!(s.portions.scores, Scores::Rows(_))),
        ),
        (
            "products in pieces",
            any(&|s| s.portions.pieces == Pieces::Turns),
        ),
        (
            "products in halves",
            any(&|s| s.portions.pieces == Pieces::Halves),
        ),
        ("spills", compiled.plan.spill_bytes > 0),
        (
            "heads quantised together",
            any(&|s| s.stages.iter().any(&together)),
        ),
        (
            "norms made again",
            any(&|s| {
                s.stages
                    .iter()
                    .any(|stage| again::is_again(&compiled.graph, stage))
            }),
        ),
    ])
}

#[test]
fn every_family_of_plans_computes_the_same_bits() {
    let mut met: BTreeMap<&str, bool> = BTreeMap::new();
    let (tiny, mini) = (
        "tinybert-4l-312.encoder.ts14.dyn.onnx",
        "minilm-l6.encoder.ts14.dyn.onnx",
    );
    for (name, seq, mode, sizes) in [
        (tiny, 40, PlanMode::Best, &[40, 48, 52, 64, 96, 160][..]),
        (tiny, 40, PlanMode::Least, &[64]),
        (mini, 48, PlanMode::Best, &[56, 72, 96, 128, 192]),
    ] {
        for size in sizes {
            let target = target("e1", &[&format!("sram.bytes={size}KiB")]);
            let mut compiled = planned(name, seq, &target, mode, Some(1))
                .unwrap_or_else(|| panic!("{name} fits into {size} KiB"));
            for (family, now) in families(&compiled) {
                *met.entry(family).or_default() |= now;
            }
            for (output, expected, found) in both(&mut compiled, &target, 3) {
                assert!(expected == found, "{name} in {size} KiB: {output} differs");
            }
        }
    }
    assert!(met.values().all(|&met| met), "{met:?}");
}

/// An attention of two layers whose queries and keys are rotated, by angles that are computed.
const ROTATED: &str = r#"
graph "rotated"
  @0 : f32[1,16,1] "frequencies" = synthetic normal(std=0.3, seed=1)
  @1 : f32[64,512] "qkv" = synthetic normal(std=0.4, seed=2)
  @2 : f32[256,64] "o" = synthetic normal(std=0.2, seed=3)
  @3 : f32[64,512] "qkv2" = synthetic normal(std=0.4, seed=4)
  @4 : f32[256,64] "o2" = synthetic normal(std=0.2, seed=5)
  @5 : f32[64] "norm" = synthetic normal(std=1.0, seed=6)
  %0 : f32[1,160,64] = input "x"
  %1 : i64[1,160] = input "positions"
  %2 : i64[1,1,160] = reshape %1
  %3 : f32[1,1,160] = cast %2 to=f32
  %4 : f32[1,16,160] = mul @0, %3
  %5 : f32[1,160,16] = transpose %4 perm=[0,2,1]
  %6 : f32[1,160,16] = cos %5
  %7 : f32[1,160,16] = sin %5
  %8 : f32[160,16] = reshape %6
  %9 : f32[160,16] = reshape %7
  %10 : f32[1,160,512] = matmul %0, @1
  %11 : f32[1,160,256] = slice %10 start=[0,0,0] count=[1,160,256]
  %12 : f32[1,160,128] = slice %10 start=[0,0,256] count=[1,160,128]
  %13 : f32[1,160,128] = slice %10 start=[0,0,384] count=[1,160,128]
  %14 : f32[1,160,256] = rotary %11, %8, %9 heads=8
  %15 : f32[1,160,128] = rotary %12, %8, %9 heads=4
  %16 : f32[1,160,256] = attention %14, %15, %13 heads=8 kv_heads=4 scale=0.18 causal
  %17 : f32[1,160,64] = matmul %16, @2
  %18 : f32[1,160,64] = add %0, %17
  %19 : f32[1,160,64] = rms_norm %18, @5 eps=1e-5 affine
  %20 : f32[1,160,512] = matmul %19, @3
  %21 : f32[1,160,256] = slice %20 start=[0,0,0] count=[1,160,256]
  %22 : f32[1,160,128] = slice %20 start=[0,0,256] count=[1,160,128]
  %23 : f32[1,160,128] = slice %20 start=[0,0,384] count=[1,160,128]
  %24 : f32[1,160,256] = rotary %21, %8, %9 heads=8
  %25 : f32[1,160,128] = rotary %22, %8, %9 heads=4
  %26 : f32[1,160,256] = attention %24, %25, %23 heads=8 kv_heads=4 scale=0.18 causal
  %27 : f32[1,160,64] = matmul %26, @4
  %28 : f32[1,160,64] = add %18, %27
  output %28 "y"
"#;

/// What is rotated comes by heads and by rows, in one segment with the attention or apart from it, with angles that stay
/// or come back.
#[test]
fn rotation_travels_with_the_heads() {
    let mut met: BTreeMap<&str, bool> = BTreeMap::new();
    for kib in [512, 256, 160, 128, 112, 96, 80] {
        let (mut compiled, e1) = within(ROTATED, kib);
        let (graph, plan) = (&compiled.graph, &compiled.plan);
        let rotates = |stage: &Stage| match stage {
            Stage::Rows { nodes } => matches!(graph.op(nodes[0]), Op::Rotary { .. }),
            _ => false,
        };
        let angles = |root| matches!(graph.op(plan.storage.root(root).value.node), Op::Unary(_));
        *met.entry("angles come back").or_default() |= plan.spilled().into_iter().any(angles);
        for segment in plan
            .segments
            .iter()
            .filter(|s| s.stages.iter().any(rotates))
        {
            let leads = matches!(segment.stages.last(), Some(Stage::Attention { .. }));
            let (passes, blocks) = (segment.passes.count > 1, segment.block_count() > 1);
            *met.entry("with its attention, by heads").or_default() |= leads && passes;
            *met.entry("apart, by rows").or_default() |= !leads && blocks;
        }
        for (output, expected, found) in both(&mut compiled, &e1, 3) {
            assert!(expected == found, "{kib} KiB: {output} differs");
        }
    }
    assert!(met.values().all(|&met| met), "{met:?}");
}

/// What a plan says that it moves is what its packets move.
#[test]
fn plans_say_what_they_move() {
    for (name, seq, kib) in [
        ("gpt2.prefill.ts14.dyn.onnx", Some(40), 2048),
        ("gpt2.prefill.ts14.dyn.onnx", Some(100), 128),
        ("smollm2-135m.prefill.ts14.dyn.onnx", Some(70), 192),
        ("minilm-l6.encoder.ts14.dyn.onnx", Some(64), 96),
    ] {
        let e2 = target("e2", &[&format!("sram.bytes={kib}KiB")]);
        let options = CompileOptions::default();
        let compiled = compile(graph(name, seq, None), &e2, &options)
            .unwrap_or_else(|problems| panic!("{name}: {problems}"));
        let said = text::traffic(&compiled.graph, &compiled.plan).total();
        let moved = simulated(&compiled, &e2).dram.bytes.without_packets();
        // Some bursts are not full.
        let padding = moved.checked_sub(said).expect("no plan says too much");
        assert!(
            padding * 100_000 <= moved,
            "{name} in {kib} KiB: {said}, {moved}"
        );
    }
}

/// Where nothing fits, what the error asks for is enough, and a little less is not.
#[test]
fn the_error_says_what_the_smallest_plan_needs() {
    for (name, seq) in [
        ("minilm-l6.encoder.ts14.dyn.onnx", 512),
        ("tinybert-4l-312.encoder.ts14.dyn.onnx", 128),
        ("t5-small.encoder.ts14.dyn.onnx", 300),
    ] {
        let within = |bytes: u64| {
            let e2 = target("e2", &[&format!("sram.bytes={bytes}")]);
            compile(
                graph(name, Some(seq), None),
                &e2,
                &CompileOptions::default(),
            )
        };
        let need = |bytes: u64| {
            let Err(problems) = within(bytes) else {
                panic!("{name} fits into {bytes} bytes");
            };
            let problems = problems.to_string();
            let (_, behind) = problems.split_once("needs ").expect("it says how much");
            let number = behind.split_once(" bytes").map(|(number, _)| number);
            let number = number.and_then(|number| number.parse::<u64>().ok());
            number.unwrap_or_else(|| panic!("{problems}"))
        };
        let least = need(8 << 10);
        assert!(within(least).is_ok(), "{name}: {least} bytes");
        // It is found in steps of a 64th.
        let again = need(least - least / 16);
        assert!(
            again <= least + least / 64 + 1,
            "{name}: {again}, not {least}"
        );
    }
}

/// Two attentions with a feed-forward layer between them, whose hidden rows take more SRAM than the stream.
const WIDE: &str = r#"
graph "wide"
  @0 : f32[64,192] "qkv" = synthetic normal(std=0.2, seed=1)
  @1 : f32[64,64] "o" = synthetic normal(std=0.2, seed=2)
  @2 : f32[64] "norm" = synthetic normal(std=1.0, seed=3)
  @3 : f32[64,768] "up" = synthetic normal(std=0.1, seed=4)
  @4 : f32[768,64] "down" = synthetic normal(std=0.1, seed=5)
  @5 : f32[64,192] "qkv2" = synthetic normal(std=0.2, seed=6)
  @6 : f32[64,64] "o2" = synthetic normal(std=0.2, seed=7)
  %0 : f32[1,256,64] = input "x"
  %1 : f32[1,256,192] = matmul %0, @0
  %2 : f32[1,256,64] = slice %1 start=[0,0,0] count=[1,256,64]
  %3 : f32[1,256,64] = slice %1 start=[0,0,64] count=[1,256,64]
  %4 : f32[1,256,64] = slice %1 start=[0,0,128] count=[1,256,64]
  %5 : f32[1,256,64] = attention %2, %3, %4 heads=2 kv_heads=2 scale=0.18
  %6 : f32[1,256,64] = matmul %5, @1, %0 residual
  %7 : f32[1,256,64] = rms_norm %6, @2 eps=1e-5 affine
  %8 : f32[1,256,768] = matmul %7, @3 activation=gelu_erf
  %9 : f32[1,256,64] = matmul %8, @4, %7 residual
  %10 : f32[1,256,64] = rms_norm %9, @2 eps=1e-5 affine
  %11 : f32[1,256,192] = matmul %10, @5
  %12 : f32[1,256,64] = slice %11 start=[0,0,0] count=[1,256,64]
  %13 : f32[1,256,64] = slice %11 start=[0,0,64] count=[1,256,64]
  %14 : f32[1,256,64] = slice %11 start=[0,0,128] count=[1,256,64]
  %15 : f32[1,256,64] = attention %12, %13, %14 heads=2 kv_heads=2 scale=0.18
  %16 : f32[1,256,64] = matmul %15, @6, %10 residual
  output %16 "y"
"#;

/// Hidden rows live in SRAM only, a block at a time; what a block makes lies where it has read.
#[test]
fn feed_forward_layers_travel_in_blocks() {
    let (mut fused, mut in_place) = (false, false);
    for kib in [128, 144, 160, 192] {
        let (mut compiled, e1) = within(WIDE, kib);
        let plan = &compiled.plan;
        let products = |segment: &Segment| {
            let stages = segment.stages.iter();
            stages
                .filter(|stage| matches!(stage, Stage::Matmul { .. }))
                .count()
        };
        let now = plan
            .segments
            .iter()
            .any(|s| s.block_count() > 1 && products(s) == 2);
        let placed = plan.buffers.iter().any(|over| {
            let under = over.over.map(|under| &plan.buffers[under]);
            under.is_some_and(|under| over.life.start + 1 < under.life.end)
        });
        (fused, in_place) = (fused || now, in_place || placed);
        for (output, expected, found) in both(&mut compiled, &e1, 3) {
            assert!(expected == found, "{kib} KiB: {output} differs");
        }
    }
    assert!(fused && in_place, "{fused}, {in_place}");
}

/// A gated feed-forward layer: its hidden rows are much wider than the stream.
const GATED: &str = r#"
graph "gated"
  @0 : f32[128] "norm" = synthetic normal(std=1.0, seed=1)
  @1 : f32[128,1024] "gate" = synthetic normal(std=0.1, seed=2)
  @2 : f32[128,1024] "up" = synthetic normal(std=0.1, seed=3)
  @3 : f32[1024,128] "down" = synthetic normal(std=0.1, seed=4)
  %0 : f32[1,48,128] = input "x"
  %1 : f32[1,48,128] = rms_norm %0, @0 eps=1e-5 affine
  %2 : f32[1,48,1024] = matmul %1, @1
  %3 : f32[1,48,1024] = silu %2
  %4 : f32[1,48,1024] = matmul %1, @2
  %5 : f32[1,48,1024] = mul %3, %4
  %6 : f32[1,48,128] = matmul %5, @3
  %7 : f32[1,48,128] = add %0, %6
  output %7 "y"
"#;

#[test]
fn gated_layers_travel_by_columns() {
    let mut by_columns = false;
    let mut before = u64::MAX;
    for kib in [32, 40, 48, 64, 96, 256] {
        let graph = packwright_ir::text::parse(GATED).unwrap_or_else(|e| panic!("{e:?}"));
        let target = target("e1", &[&format!("sram.bytes={kib}KiB")]);
        let mut compiled = compile(graph, &target, &CompileOptions::default())
            .unwrap_or_else(|problems| panic!("{kib} KiB: {problems}"));
        let problems = check(&compiled.program, &target);
        assert!(problems.is_empty(), "{kib} KiB: {problems:#?}");
        by_columns |= compiled.plan.segments.iter().any(|segment| {
            let last = segment.stages.last();
            segment.passes.count > 1 && matches!(last, Some(Stage::Rows { .. }))
        });
        let bytes = simulated(&compiled, &target).dram.bytes.without_packets();
        assert!(bytes <= before, "{bytes} in {kib} KiB, {before} in less");
        before = bytes;
        for (output, expected, found) in both(&mut compiled, &target, 3) {
            assert!(expected == found, "{kib} KiB: {output} differs");
        }
    }
    assert!(by_columns, "no size makes a plan by columns");
}

/// A feed-forward layer whose second product has a long contraction.
const LONG: &str = r#"
graph "long"
  @0 : f32[64,4096] "up" = synthetic normal(std=0.1, seed=2)
  @1 : f32[4096] "bias" = synthetic normal(std=0.1, seed=3)
  @2 : f32[4096,64] "down" = synthetic normal(std=0.1, seed=4)
  @3 : f32[64] "last" = synthetic normal(std=0.1, seed=5)
  %0 : f32[1,24,64] = input "x"
  %1 : f32[1,24,4096] = matmul %0, @0, @1 bias activation=gelu_erf
  %2 : f32[1,24,64] = matmul %1, @2, @3, %0 bias residual
  output %2 "y"
"#;

#[test]
fn long_contractions_come_in_parts() {
    // Sums of groups in floats, and one integer sum a row.
    for default in [Activations::default(), Activations::Static] {
        let options = CompileOptions {
            graph: GraphOptions {
                calibration: (default == Activations::Static).then(Calibration::default),
                recipe: Recipe {
                    default,
                    ..Recipe::default()
                },
                ..GraphOptions::default()
            },
            ..CompileOptions::default()
        };
        let mut parts = Vec::new();
        for kib in [160, 256, 2048] {
            let graph = packwright_ir::text::parse(LONG).unwrap_or_else(|e| panic!("{e:?}"));
            let target = target("e1", &[&format!("sram.bytes={kib}KiB")]);
            let mut compiled = compile(graph, &target, &options)
                .unwrap_or_else(|problems| panic!("{kib} KiB: {problems}"));
            let problems = check(&compiled.program, &target);
            assert!(problems.is_empty(), "{kib} KiB: {problems:#?}");
            simulated(&compiled, &target);
            for (output, expected, found) in both(&mut compiled, &target, 3) {
                assert!(expected == found, "{kib} KiB: {output} differs");
            }
            let mut tiles = compiled.plan.tiles.iter();
            parts.push(tiles.any(|tile| tile.runs > 1));
        }
        assert_eq!(parts, [true, true, false]);
    }
}

#[test]
fn biases_of_a_head_are_copied_once_for_all_row_blocks() {
    let e1 = target("e1", &["sram.bytes=64KiB"]);
    let name = "t5-small.encoder.ts14.dyn.onnx";
    let mut compiled = planned(name, 100, &e1, PlanMode::Best, Some(7)).expect("there is a plan");
    let attends = |s: &&Segment| matches!(s.stages[..], [Stage::Attention { .. }]);
    let alone = compiled.plan.segments.iter().filter(attends);
    let alone: Vec<&Segment> = alone.collect();
    assert_eq!(alone.len(), 6, "an attention is not alone in its segment");
    assert!(
        alone.iter().all(|s| s.block_count() > 1),
        "rows come at once"
    );
    let is_bias = |fragment: &&Fragment| {
        matches!(
            fragment,
            Fragment::Work {
                part: Part::Bias { .. },
                ..
            }
        )
    };
    assert_eq!(
        compiled.plan.fragments.iter().filter(is_bias).count(),
        6 * 8
    );
    for (output, expected, found) in both(&mut compiled, &e1, 3) {
        assert!(expected == found, "{output} differs");
    }
}

#[test]
fn several_cores_are_at_work_on_scores() {
    // Biases by distance have a place of their own.
    let name = "t5-small.encoder.ts14.dyn.onnx";
    let mut cycles = Vec::new();
    for cores in [1, 2, 4] {
        let machine = [format!("cores={cores}"), "sram.bytes=1MiB".into()];
        let e1 = target("e1", &machine.each_ref().map(String::as_str));
        let mut compiled =
            planned(name, 128, &e1, PlanMode::Best, Some(7)).expect("there is a plan");
        let copies = compiled.plan.segments.iter().map(|s| s.portions.copies);
        assert_eq!(copies.max(), Some(2 * cores), "{cores} cores");
        cycles.push(simulated(&compiled, &e1).cycles);
        for (output, expected, found) in both(&mut compiled, &e1, 3) {
            assert!(expected == found, "{cores} cores: {output} differs");
        }
    }
    // DRAM is the limit with four.
    assert!(cycles[1] * 3 < cycles[0] * 2, "two cores: {cycles:?}");
    assert!(cycles[2] * 8 < cycles[1] * 7, "four cores: {cycles:?}");
}

#[test]
fn what_sram_has_left_is_given_away() {
    let name = "minilm-l6.encoder.ts14.dyn.onnx";
    let mut met = [false; 4];
    for (seq, size) in [
        (48, "512KiB"),
        (48, "96KiB"),
        (64, "160KiB"),
        (64, "224KiB"),
    ] {
        let target = target("e1", &[&format!("sram.bytes={size}")]);
        let mut compiled = planned(name, seq, &target, PlanMode::Best, Some(1))
            .unwrap_or_else(|| panic!("{name} fits into {size}"));
        for segment in &compiled.plan.segments {
            met[0] |= segment.runs_ahead();
            met[1] |= segment.alternates == Alternates::Spilled;
            met[2] |= segment.alternates == Alternates::All;
            met[3] |= segment.wave > 0;
        }
        for (output, expected, found) in both(&mut compiled, &target, 3) {
            assert!(expected == found, "{seq} in {size}: {output} differs");
        }
    }
    assert_eq!(
        met, [true; 4],
        "passes ahead, places for spills, for all, waves"
    );
}

#[test]
fn baselines_compute_the_same_and_move_more() {
    let name = "tinybert-4l-312.encoder.ts14.dyn.onnx";
    let target = target("e2", &[]);
    let mut bytes = Vec::new();
    for mode in [PlanMode::Best, PlanMode::FusedOps, PlanMode::LayerWise] {
        let mut compiled = planned(name, 16, &target, mode, Some(1)).expect("it fits");
        bytes.push(simulated(&compiled, &target).dram.bytes.without_packets());
        for (output, expected, found) in both(&mut compiled, &target, 3) {
            assert!(expected == found, "{mode:?}: {output} differs");
        }
    }
    assert!(bytes[0] < bytes[1] && bytes[1] < bytes[2], "{bytes:?}");
}

#[test]
fn traffic_never_grows_with_memory() {
    let models = [
        ("tinybert-4l-312.encoder.ts14.dyn.onnx", 64),
        ("minilm-l6.encoder.ts14.dyn.onnx", 128),
    ];
    let modes = [PlanMode::Best, PlanMode::Least];
    for (mode, (name, seq)) in modes
        .into_iter()
        .flat_map(|mode| models.map(|case| (mode, case)))
    {
        let mut before = u64::MAX;
        for kib in [128, 192, 256, 512, 1024, 2048] {
            let target = target("e2", &[&format!("sram.bytes={kib}KiB")]);
            let Some(compiled) = planned(name, seq, &target, mode, None) else {
                continue;
            };
            let bytes = simulated(&compiled, &target).dram.bytes.without_packets();
            assert!(
                bytes <= before,
                "{name}: {bytes} in {kib} KiB, {before} in less"
            );
            before = bytes;
        }
        assert!(before < u64::MAX, "{name} fits somewhere");
    }
}

/// Two layers of causal attention whose keys and values are results, and too large for small memories.
const PREFILL: &str = r#"
graph "prefill"
  @0 : f32[16,192] "qkv.0" = synthetic normal(std=0.4, seed=1)
  @1 : f32[128,16] "o.0" = synthetic normal(std=0.2, seed=2)
  @2 : f32[16,192] "qkv.1" = synthetic normal(std=0.4, seed=3)
  @3 : f32[128,16] "o.1" = synthetic normal(std=0.2, seed=4)
  @4 : f32[16,64] "k.0" = synthetic normal(std=0.4, seed=5)
  @5 : f32[192] "norm" = synthetic normal(std=1.0, seed=6)
  @6 : f32[64] "k_norm" = synthetic normal(std=1.0, seed=7)
  %0 : f32[1,700,16] = input "x"
  %1 : f32[1,700,192] = matmul %0, @0
  %2 : f32[1,700,192] = rms_norm %1, @5 eps=1e-5 affine
  %3 : f32[1,700,128] = slice %2 start=[0,0,0] count=[1,700,128]
  %4 : f32[1,700,64] = slice %2 start=[0,0,128] count=[1,700,64]
  %5 : f32[1,700,64] = matmul %0, @4
  %6 : f32[1,700,64] = rms_norm %5, @6 eps=1e-5 affine
  %7 : f32[1,700,128] = attention %3, %6, %4 heads=4 kv_heads=2 scale=0.18 causal
  %8 : f32[1,700,16] = matmul %7, @1, %0 residual
  %9 : f32[1,700,192] = matmul %8, @2
  %10 : f32[1,700,128] = slice %9 start=[0,0,0] count=[1,700,128]
  %11 : f32[1,700,64] = slice %9 start=[0,0,128] count=[1,700,64]
  %12 : f32[1,700,128] = attention %10, %11, %11 heads=4 kv_heads=2 scale=0.18
  %13 : f32[1,700,16] = matmul %12, @3, %8 residual
  output %6 "keys"
  output %13 "y"
"#;

/// An attention of many heads whose keys and values take more room than they have together.
const MANY_HEADS: &str = r#"
graph "many heads"
  @0 : f32[16,768] "qkv" = synthetic normal(std=0.4, seed=1)
  @1 : f32[768] "norm" = synthetic normal(std=1.0, seed=2)
  @2 : f32[256,16] "o" = synthetic normal(std=0.2, seed=3)
  %0 : f32[1,700,16] = input "x"
  %1 : f32[1,700,768] = matmul %0, @0
  %2 : f32[1,700,768] = rms_norm %1, @1 eps=1e-5 affine
  %3 : f32[1,700,256] = slice %2 start=[0,0,0] count=[1,700,256]
  %4 : f32[1,700,256] = slice %2 start=[0,0,256] count=[1,700,256]
  %5 : f32[1,700,256] = slice %2 start=[0,0,512] count=[1,700,256]
  %6 : f32[1,700,256] = attention %3, %4, %5 heads=8 kv_heads=8 scale=0.18 causal
  %7 : f32[1,700,16] = matmul %6, @2
  output %7 "y"
"#;

/// The plan of one layer in little memory, as `packwright plan` prints it.
#[test]
fn plans_can_be_read() {
    for kib in [1024, 256] {
        let e2 = target("e2", &[&format!("sram.bytes={kib}KiB")]);
        let graph = packwright_ir::text::parse(PREFILL).expect("the graph is sound");
        let compiled = compile(graph, &e2, &CompileOptions::default())
            .unwrap_or_else(|problems| panic!("{problems}"));
        let bound = &compiled.program.entries[0].bound;
        let text = text::print(&compiled.graph, &compiled.plan, bound);
        insta::assert_snapshot!(format!("prefill_in_{kib}_kib"), text);
    }
}

/// A norm that little memory asks to be carried out twice makes the same bits as one whose result stays.
#[test]
fn what_is_made_again_is_the_same() {
    let name = "tinybert-4l-312.encoder.ts14.dyn.onnx";
    let mut results = Vec::new();
    let mut made_again = Vec::new();
    for kib in [2048, 192, 128, 96] {
        let e2 = target("e2", &[&format!("sram.bytes={kib}KiB")]);
        let mut compiled = planned(name, 128, &e2, PlanMode::Best, Some(1)).expect("it fits");
        simulated(&compiled, &e2);
        let stages = compiled.plan.segments.iter().flat_map(|s| &s.stages);
        let is_again = |stage: &&Stage| again::is_again(&compiled.graph, stage);
        made_again.push(stages.filter(is_again).count());
        for (output, expected, found) in both(&mut compiled, &e2, 3) {
            assert!(expected == found, "{kib} KiB: {output} differs");
            results.push((output, found));
        }
    }
    assert!(
        made_again[0] == 0 && made_again[1..].iter().any(|&count| count > 0),
        "{made_again:?}"
    );
    let whole = results.split_off(results.len() / 4);
    assert!(whole.chunks(results.len()).all(|others| *others == results));
}

#[test]
fn attentions_come_by_heads_and_by_rows() {
    let mut met = [false; 3];
    let mut smallest = u64::MAX;
    let sizes = [1024, 512, 384, 256, 192, 160, 128];
    let cases = sizes.map(|kib| (PREFILL, kib)).into_iter();
    for (text, kib) in cases.chain([512, 384, 256].map(|kib| (MANY_HEADS, kib))) {
        let e2 = target("e2", &[&format!("sram.bytes={kib}KiB")]);
        let graph = packwright_ir::text::parse(text).expect("the graph is sound");
        let mut compiled = match compile(graph, &e2, &CompileOptions::default()) {
            Ok(compiled) => compiled,
            Err(problems) => {
                assert!(problems.to_string().contains("sram"), "{problems}");
                continue;
            }
        };
        smallest = smallest.min(kib);
        let problems = check(&compiled.program, &e2);
        assert!(problems.is_empty(), "{kib} KiB: {problems:#?}");
        simulated(&compiled, &e2);
        for (name, expected, found) in both(&mut compiled, &e2, 1) {
            assert!(expected == found, "{name} in {kib} KiB");
        }
        let heads = |home: &Home| matches!(home, Home::Heads { .. });
        let alone = compiled
            .plan
            .segments
            .iter()
            .filter(|segment| matches!(segment.stages[..], [Stage::Attention { .. }]));
        let mut alone = alone.peekable();
        met[0] |= alone.peek().is_some();
        met[1] |= alone.any(|segment| segment.block_count() > 1);
        met[2] |= compiled.plan.buffers.iter().any(|b| heads(&b.home));
    }
    assert_eq!(met, [true; 3]);
    assert!(smallest <= 256, "{smallest} KiB");
}
