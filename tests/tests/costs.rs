//! What whole models cost: both ways through the memory agree, more of anything is not slower, and no way of
//! cutting transfers beats the bus.

use packwright_compile::compile::{Compiled, compile};
use packwright_compile::options::CompileOptions;
use packwright_packet::access::block_bytes;
use packwright_packet::defs::{Command, Load};
use packwright_packet::operand::Affine;
use packwright_packet::program::{Entry, Program};
use packwright_sim::report::Cause;
use packwright_sim::{Options, Report, simulate};
use packwright_target::Target;
use packwright_tests::way::{compiled, file, graph, target};
use packwright_zoo::{Case, ModelFile, Zoo};
use rayon::prelude::*;

fn run(program: &Program, entry: &Entry, target: &Target, exact: bool) -> Report {
    let options = Options {
        registers: entry.registers.iter().map(|r| r.max).collect(),
        exact,
        ..Options::default()
    };
    simulate(program, entry, target, &options).unwrap_or_else(|error| panic!("{error}"))
}

/// A file at one of its cases on the smallest of some machines that holds it.
fn fitted(file: &ModelFile, case: &Case) -> (Compiled, Target) {
    let imported = file.import(case, None);
    let graph = imported
        .unwrap_or_else(|problems| panic!("{}: {problems}", file.file))
        .graph;
    let fits = ["e2", "e6", "evo"].into_iter().find_map(|name| {
        let target = target(name, &[]);
        let compiled = compile(graph.clone(), &target, &CompileOptions::default()).ok()?;
        Some((compiled, target))
    });
    fits.unwrap_or_else(|| panic!("{} fits into no machine", file.file))
}

#[test]
fn closed_forms_and_single_bursts_agree_on_every_case_of_every_file() {
    let files = Zoo::all().iter().flat_map(|slm| slm.files);
    let cases = files.flat_map(|file| file.cases.iter().map(move |case| (file, case)));
    let cases: Vec<(&ModelFile, &Case)> = cases.collect();
    assert!(cases.len() > 31);
    let far: Vec<String> = cases
        .par_iter()
        .filter_map(|&(file, case)| {
            let (compiled, target) = fitted(file, case);
            let (program, entry) = (&compiled.program, &compiled.program.entries[0]);
            let closed = run(program, entry, &target, false);
            let bursts = run(program, entry, &target, true);
            assert_eq!(closed.dram.bytes, bursts.dram.bytes, "{}", file.file);
            let error = closed.cycles as f64 / bursts.cycles as f64 - 1.0;
            (error.abs() > 0.02).then(|| {
                format!(
                    "{} {} on {}: {error:+.4}",
                    file.file, case.name, target.name
                )
            })
        })
        .collect();
    assert_eq!(far, Vec::<String>::new());
}

/// Files for the tests below: encoders with little and with much memory, and steps with caches.
const FILES: [(&str, &str); 6] = [
    ("tinybert-4l-312.encoder.ts14.dyn.onnx", "e1"),
    ("minilm-l6.encoder.ts14.dyn.onnx", "e2"),
    ("distilbert-base-uncased.encoder.ts14.dyn.onnx", "e6"),
    ("t5-small.decoder-past.ts14.dyn.onnx", "e2"),
    ("smollm2-135m.decode.ts14.dyn.onnx", "e2"),
    ("ada.prefill.ts14.dyn.onnx", "e2"),
];

fn all_files() -> Vec<(&'static str, Compiled, Target)> {
    let files = FILES.par_iter().map(|&(name, preset)| {
        let target = target(preset, &[]);
        (
            name,
            compiled(graph(file(name).file, None, None), &target),
            target,
        )
    });
    files.collect()
}

/// List scheduling has anomalies: more of one resource changes the order in which packets go, and so may make a pass
/// longer. So much longer at most.
const ANOMALY: f64 = 0.02;

#[test]
fn more_of_anything_is_not_slower_by_more_than_an_anomaly() {
    for (name, compiled, base) in all_files() {
        let (program, entry) = (&compiled.program, &compiled.program.entries[0]);
        let cycles = run(program, entry, &base, false).cycles as f64;
        for setting in [
            format!("dram.channels={}", 2 * base.dram.channels),
            format!(
                "sram.bank_bytes_per_cycle={}",
                2 * base.sram.bank_bytes_per_cycle
            ),
            format!("sram.banks={}", 2 * base.sram.banks),
            format!("sequencer.window={}", 2 * base.sequencer.window),
            format!("sequencer.buffer_bytes={}", 2 * base.sequencer.buffer_bytes),
            format!("dma.engines={}", base.dma.engines + 1),
            format!("dma.outstanding_bursts={}", 2 * base.dma.outstanding_bursts),
            format!("vector.lanes={}", 2 * base.vector.lanes),
            format!("matrix.columns={}", 2 * base.matrix.columns),
            format!("matrix.taps={}", 2 * base.matrix.taps),
            format!("cores={}", 2 * base.cores),
        ] {
            let mut more = base.clone();
            more.set(&setting).unwrap_or_else(|error| panic!("{error}"));
            let slower = run(program, entry, &more, false).cycles as f64 / cycles - 1.0;
            assert!(slower <= ANOMALY, "{name}, {setting}: {slower:+.4}");
        }
    }
}

/// A load of contiguous bytes as two; others as they are.
fn halves(load: &Load) -> Vec<Command> {
    let bytes = block_bytes(&load.block, &[]);
    let plain = load.block.bytes.term.is_none() && load.block.bytes.base == bytes;
    if !plain || bytes < 2 {
        return vec![Command::Load(load.clone())];
    }
    let half = bytes / 2;
    let (mut first, mut second) = (load.clone(), load.clone());
    first.block.bytes = Affine::constant(half);
    second.block.bytes = Affine::constant(bytes - half);
    second.dst.base += half;
    second.src.offset.base += half;
    vec![Command::Load(first), Command::Load(second)]
}

#[test]
fn transfers_in_two_never_beat_the_bus() {
    for (name, compiled, target) in all_files() {
        let whole = run(
            &compiled.program,
            &compiled.program.entries[0],
            &target,
            false,
        );
        let mut program = compiled.program.clone();
        let mut count = 0;
        for packet in &mut program.entries[0].packets {
            let commands = packet.commands.iter().flat_map(|command| match command {
                Command::Load(load) => halves(load),
                other => vec![other.clone()],
            });
            let commands: Vec<Command> = commands.collect();
            count += commands.len() - packet.commands.len();
            packet.commands = commands;
        }
        assert!(count > 0, "{name}");
        let cut = run(&program, &program.entries[0], &target, false);
        let moved = |report: &Report| report.dram.bytes.without_packets();
        assert_eq!(moved(&cut), moved(&whole), "{name}");
        let least = cut.dram.counters.burst_bytes as f64 / target.sustained_bytes_per_second();
        assert!(cut.seconds >= least, "{name}: {} {least}", cut.seconds);
        // What a second set-up and a longer stream cost is all there is to see.
        let gain = 1.0 - cut.cycles as f64 / whole.cycles as f64;
        assert!(gain <= ANOMALY, "{name}: {gain:+.4} faster in two");
    }
}

#[test]
fn the_sequencer_binds_a_model_where_it_is_slow() {
    let tiny = target("tiny", &["sram.bytes=512KiB"]);
    let program = compiled(graph(FILES[0].0, Some(16), None), &tiny).program;
    let quick = run(&program, &program.entries[0], &tiny, false);
    let mut slow = tiny.clone();
    for setting in [
        "sequencer.decode_cycles_per_packet=20000",
        "sequencer.window=1",
    ] {
        slow.set(setting).unwrap_or_else(|error| panic!("{error}"));
    }
    let slow = run(&program, &program.entries[0], &slow, false);
    assert!(slow.cycles > 20_000 * slow.packets, "{}", slow.cycles);
    assert!(slow.cycles > quick.cycles);
    assert_ne!(quick.limited_by.name(), "sequencer");
    let sequencer = &slow.units.sequencer[0];
    assert!(sequencer.stall[Cause::Window as usize] > 0);
}
