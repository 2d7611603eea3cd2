//! The whole way: embedded exports to packets, what packets compute, what they cost.

use std::collections::BTreeMap;

use bytes::Bytes;
use insta::assert_snapshot;
use packwright_compile::compile::{Compiled, compile, with_constants};
use packwright_compile::graph::calibrate::Calibration;
use packwright_compile::graph::recipe::{Caches, Recipe};
use packwright_compile::graph::samples::Samples;
use packwright_compile::options::CompileOptions;
use packwright_compile::pipeline::GraphOptions;
use packwright_ir::eval;
use packwright_packet::check::check;
use packwright_packet::program::Program;
use packwright_packet::{asm, container, disasm};
use packwright_sim::{Options, Report, simulate};
use packwright_target::Target;
use packwright_tests::way::{both, compiled, graph, target};

/// The families that issue tables compile to the end; first files are those of `packwright slms`.
const MODELS: [&str; 8] = [
    "minilm-l6.encoder.ts14.dyn.onnx",
    "minilm-l6.encoder.ts17.1x128.onnx",
    "minilm-l6.encoder.dynamo18.dyn.onnx",
    "tinybert-4l-312.encoder.ts14.dyn.onnx",
    "distilbert-base-uncased.encoder.ts14.dyn.onnx",
    "distilbert-base-uncased.classifier.ts14.dyn.onnx",
    "albert-base-v2.encoder.ts14.dyn.onnx",
    "t5-small.encoder.ts14.dyn.onnx",
];

fn simulated(program: &Program, target: &Target) -> Report {
    let entry = &program.entries[0];
    let options = Options {
        registers: entry.registers.iter().map(|r| r.max).collect(),
        ..Options::default()
    };
    simulate(program, entry, target, &options).unwrap_or_else(|error| panic!("{error}"))
}

fn assert_sound(compiled: &Compiled, target: &Target, name: &str) {
    let problems = check(&compiled.program, target);
    assert!(
        problems.is_empty(),
        "{name}: {:#?}",
        &problems[..problems.len().min(3)]
    );
}

fn assert_equal_to_eval(name: &str, seq: u64, target: &Target) {
    let mut compiled = compiled(graph(name, Some(seq), Some(1)), target);
    assert_sound(&compiled, target, name);
    for (output, expected, found) in both(&mut compiled, target, seq) {
        let differ = expected
            .chunks(4)
            .zip(found.chunks(4))
            .filter(|(a, b)| a != b)
            .count();
        assert_eq!(expected.len(), found.len(), "{name} {output}");
        assert_eq!(
            differ, 0,
            "{name} at {seq}: {differ} numbers of {output} differ"
        );
    }
}

#[test]
fn packets_compute_what_the_quantised_graph_means() {
    let e2 = target("e2", &[]);
    for (name, seq) in [
        ("minilm-l6.encoder.ts14.dyn.onnx", 33),
        ("minilm-l6.encoder.dynamo18.dyn.onnx", 1),
        ("tinybert-4l-312.encoder.ts14.dyn.onnx", 128),
        ("distilbert-base-uncased.classifier.ts14.dyn.onnx", 7),
        ("t5-small.encoder.ts14.dyn.onnx", 16),
    ] {
        assert_equal_to_eval(name, seq, &e2);
    }
}

#[test]
fn little_memory_changes_the_way_and_not_the_result() {
    for settings in [["sram.bytes=512KiB"], ["sram.bytes=384KiB"]] {
        let small = target("e2", &settings);
        assert_equal_to_eval("tinybert-4l-312.encoder.ts14.dyn.onnx", 64, &small);
    }
    // A part of the stream goes through DRAM.
    let e1 = target("e1", &["sram.bytes=320KiB"]);
    let program = compiled(graph("minilm-l6.encoder.ts14.dyn.onnx", None, None), &e1).program;
    assert!(simulated(&program, &e1).dram.bytes.spill_read > 0);
    assert_equal_to_eval("minilm-l6.encoder.ts14.dyn.onnx", 128, &e1);
    assert_equal_to_eval("minilm-l6.encoder.ts14.dyn.onnx", 16, &target("e8", &[]));
}

#[test]
fn traffic_is_within_a_tenth_of_the_bound() {
    let e2 = target("e2", &[]);
    for name in MODELS.iter().filter(|name| !name.starts_with("albert")) {
        let compiled = compiled(graph(name, None, None), &e2);
        let report = simulated(&compiled.program, &e2);
        let bound = compiled.program.entries[0].bound.dram_bytes as f64;
        let ratio = report.dram.bytes.total() as f64 / bound;
        assert!(ratio <= 1.10, "{name}: {ratio}");
        assert_eq!(
            report.dram.bytes.spill_read + report.dram.bytes.spill_write,
            0,
            "{name}"
        );
    }
}

#[test]
fn costs_of_the_models() {
    let e2 = target("e2", &[]);
    let mut table = String::new();
    for name in MODELS {
        let compiled = compiled(graph(name, None, None), &e2);
        assert_sound(&compiled, &e2, name);
        let entry = &compiled.program.entries[0];
        let report = simulated(&compiled.program, &e2);
        let exact = Options {
            exact: true,
            ..Options::default()
        };
        let bursts = simulate(&compiled.program, entry, &e2, &exact);
        let bursts = bursts.unwrap_or_else(|error| panic!("{error}"));
        let closed = report.cycles as f64 / bursts.cycles as f64 - 1.0;
        assert!(
            closed.abs() <= 0.02,
            "{name}: closed forms are {closed:+.3} off"
        );
        table.push_str(&format!(
            "{name}: {} packets, {} parameters, {} MACs, {} bytes of {}, {} cycles, {}\n",
            report.packets,
            entry.facts.parameters,
            entry.facts.macs,
            report.dram.bytes.total(),
            entry.bound.dram_bytes,
            report.cycles,
            report.limited_by.name(),
        ));
    }
    assert_snapshot!(table);
}

/// The bytes of a container.
fn written(program: &Program) -> Vec<u8> {
    let mut bytes = Vec::new();
    container::write(program, &mut bytes).unwrap_or_else(|error| panic!("{error}"));
    bytes
}

#[test]
fn time_and_packets_do_not_depend_on_weights() {
    let e2 = target("e2", &[]);
    for name in [
        "minilm-l6.encoder.ts14.dyn.onnx",
        "albert-base-v2.encoder.ts14.dyn.onnx",
    ] {
        let absent = compiled(graph(name, Some(32), None), &e2);
        let mut present = compiled(graph(name, Some(32), Some(7)), &e2);
        assert_eq!(absent.program, present.program, "{name}");
        assert!(with_constants(&mut present).expect("weights are synthetic"));
        let (absent, present) = (
            simulated(&absent.program, &e2),
            simulated(&present.program, &e2),
        );
        assert_eq!(absent, present, "{name}");
    }
}

#[test]
fn the_same_model_gives_the_same_bytes_on_one_thread_and_two() {
    let e2 = target("e2", &[]);
    let bytes = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads start").install(|| {
            let mut compiled = compiled(
                graph("tinybert-4l-312.encoder.ts14.dyn.onnx", None, Some(1)),
                &e2,
            );
            with_constants(&mut compiled).expect("weights are synthetic");
            written(&compiled.program)
        })
    };
    let first = bytes(1);
    assert!(first == bytes(2), "two threads write other bytes than one");
    assert!(first == bytes(2), "the second time is not like the first");
}

#[test]
fn programs_survive_their_file_and_their_text() {
    let e2 = target("e2", &[]);
    let compiled = compiled(graph("minilm-l6.encoder.ts14.dyn.onnx", None, None), &e2);
    let bytes = written(&compiled.program);
    let back = container::read(Bytes::from(bytes.clone())).expect("the file is sound");
    assert_eq!(back, compiled.program);
    let text = disasm::disassemble(&back, &disasm::DisasmOptions::default());
    let again = asm::assemble(&text, None).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert!(
        written(&again) == bytes,
        "assembling the text gives other bytes"
    );
}

#[test]
fn layers_keep_the_names_of_the_model() {
    let e2 = target("e2", &[]);
    let compiled = compiled(graph("minilm-l6.encoder.ts14.dyn.onnx", None, None), &e2);
    let report = simulated(&compiled.program, &e2);
    let mut layers: BTreeMap<&str, u64> = BTreeMap::new();
    for layer in &report.layers {
        let origin = &compiled.program.origins[layer.origin.0 as usize];
        *layers.entry(&origin.layer).or_default() += layer.cost.macs;
    }
    let macs: u64 = layers.values().sum();
    assert_eq!(macs, report.macs);
    let table: String = layers
        .iter()
        .map(|(layer, macs)| format!("{layer}: {macs}\n"))
        .collect();
    assert_snapshot!(table);
}

#[test]
fn calibrated_scales_compute_what_the_graph_means() {
    let e2 = target("e2", &[]);
    let source = graph("tinybert-4l-312.encoder.ts14.dyn.onnx", Some(16), Some(1));
    let samples = (0..2)
        .map(|seed| eval::random_inputs(&source, seed))
        .collect::<Vec<_>>();
    for samples in [samples.into(), Samples::default()] {
        let calibration = Calibration {
            samples,
            ..Calibration::default()
        };
        let options = CompileOptions {
            graph: GraphOptions {
                recipe: Recipe::fixed(),
                calibration: Some(calibration),
                ..GraphOptions::default()
            },
            ..CompileOptions::default()
        };
        let mut compiled =
            compile(source.clone(), &e2, &options).unwrap_or_else(|problems| panic!("{problems}"));
        assert_sound(&compiled, &e2, "calibrated");
        for (output, expected, found) in both(&mut compiled, &e2, 3) {
            assert!(expected == found, "{output} differs");
        }
    }
}

#[test]
fn a_layer_that_is_shared_is_read_once_where_it_fits() {
    let name = "albert-base-v2.encoder.ts14.dyn.onnx";
    let e8 = target("e8", &[]);
    let program = compiled(graph(name, None, None), &e8).program;
    let report = simulated(&program, &e8);
    let bound = program.entries[0].bound.dram_bytes as f64;
    let ratio = report.dram.bytes.total() as f64 / bound;
    assert!(ratio <= 1.02, "{ratio}");
    assert_equal_to_eval(name, 8, &e8);
    // Where it does not fit, a part of it stays.
    assert_equal_to_eval(name, 4, &target("e2", &[]));
}

#[test]
fn decoders_with_caches_compute_what_the_graph_means() {
    let e6 = target("e6", &[]);
    for (name, caches) in [
        ("t5-small.decoder.ts14.dyn.onnx", Caches::Int8),
        ("t5-small.decoder-past.ts14.dyn.onnx", Caches::Int8),
        ("t5-small.decoder-past.ts14.dyn.onnx", Caches::F16),
        ("smollm2-135m.decode.ts14.dyn.onnx", Caches::Int8),
    ] {
        let mut options = CompileOptions::default();
        options.graph.recipe.caches = caches;
        let compiled = compile(graph(name, None, Some(1)), &e6, &options);
        let mut compiled = compiled.unwrap_or_else(|problems| panic!("{problems}"));
        assert_sound(&compiled, &e6, name);
        for (output, expected, found) in both(&mut compiled, &e6, 2) {
            assert!(expected == found, "{name}, {caches:?}: {output} differs");
        }
    }
}

#[test]
fn costs_of_decoders() {
    let mut table = String::new();
    for (name, preset) in [
        ("gpt2.decode.ts14.dyn.onnx", "e2"),
        ("smollm2-135m.decode.ts14.dyn.onnx", "e2"),
        ("ada.decode.ts14.dyn.onnx", "e2"),
        ("ada.prefill.ts14.dyn.onnx", "e2"),
        ("babbage.decode.ts14.dyn.onnx", "e6"),
        ("t5-base.decoder.ts17.dyn.onnx", "e6"),
    ] {
        let target = target(preset, &[]);
        let compiled = compiled(graph(name, None, None), &target);
        assert_sound(&compiled, &target, name);
        let entry = &compiled.program.entries[0];
        let report = simulated(&compiled.program, &target);
        table.push_str(&format!(
            "{name} on {preset}: {} packets, {} bytes of {}, {} cycles, {}\n",
            report.packets,
            report.dram.bytes.total(),
            entry.bound.dram_bytes,
            report.cycles,
            report.limited_by.name(),
        ));
    }
    assert_snapshot!(table);
}
