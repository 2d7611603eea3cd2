//! How fast passes are simulated: cycles of the machine in a second of the wall clock, packets in a second.
//!
//! Each pass is timed by divan on one thread, with the independent check before it (`judged`) and without
//! (`simulated`). Behind its table stand the aims, the time of a packet where a pass has its packets several times over
//! (it stays the same: cost is linear in packets), and ratios to figures of other simulators.
#![allow(clippy::print_stdout, missing_docs)]

use divan::Bencher;
use divan::counter::{CyclesCount, ItemsCount};
use packwright::job::{self, SimulateChoices};
use packwright::model::{self, Binding};
use packwright::options::{self, CompileChoices};
use packwright_compile::pipeline::Logits;
use packwright_packet::program::Program;
use packwright_sim::{Report, simulate};
use packwright_target::Target;

/// A pass with the most milliseconds that it may take, if it has an aim.
#[derive(Clone, Copy, Debug)]
struct Pass {
    name: &'static str,
    model: &'static str,
    target: &'static str,
    logits: Logits,
    seq: Option<u64>,
    aim_ms: Option<f64>,
}

const fn pass(
    name: &'static str,
    model: &'static str,
    target: &'static str,
    seq: Option<u64>,
    aim_ms: Option<f64>,
) -> Pass {
    Pass {
        name,
        model,
        target,
        logits: Logits::All,
        seq,
        aim_ms,
    }
}

const DISTILBERT: &str = "zoo:distilbert-base-uncased.encoder.ts14.dyn";
const PREFILL: &str = "zoo:llama-3.2-1b.prefill.ts17.dyn";

/// In the SRAM of `evo` all of a prefill's state stays; `e6` spills some of it and `e2` most, in short runs and many
/// packets.
const PASSES: [Pass; 10] = [
    pass(
        "DistilBERT, 128, e2",
        DISTILBERT,
        "e2",
        Some(128),
        Some(20.0),
    ),
    pass("DistilBERT, 512, e6", DISTILBERT, "e6", Some(512), None),
    pass(
        "Llama-3.2-1B decode, e2",
        "zoo:llama-3.2-1b.decode.ts17.dyn",
        "e2",
        None,
        Some(50.0),
    ),
    pass(
        "Llama-3.2-1B decode, e6",
        "zoo:llama-3.2-1b.decode.ts17.dyn",
        "e6",
        None,
        Some(50.0),
    ),
    pass(
        "Llama-3.2-1B prefill 128, evo",
        PREFILL,
        "evo",
        Some(128),
        None,
    ),
    pass(
        "Llama-3.2-1B prefill 512, evo",
        PREFILL,
        "evo",
        Some(512),
        None,
    ),
    pass(
        "Llama-3.2-1B prefill 1024, evo",
        PREFILL,
        "evo",
        Some(1024),
        Some(500.0),
    ),
    Pass {
        name: "the same, logits of one row",
        model: PREFILL,
        target: "evo",
        logits: Logits::One,
        seq: Some(1024),
        aim_ms: Some(500.0),
    },
    pass(
        "Llama-3.2-1B prefill 1024, e6",
        PREFILL,
        "e6",
        Some(1024),
        Some(500.0),
    ),
    pass(
        "Llama-3.2-1B prefill 1024, e2",
        PREFILL,
        "e2",
        Some(1024),
        Some(500.0),
    ),
];

/// Time of another simulator for a part of a pass, on one core.
struct Other {
    what: &'static str,
    seconds: f64,
    /// Our pass that does this part, and more.
    pass: usize,
}

/// Where the figures of [`OTHERS`] come from.
const MEASURED: &str =
    "as the project's list of aims gives them, which names neither day nor machine";

const OTHERS: [Other; 2] = [
    Other {
        what: "SCALE-Sim 3.0.0, the products of one of DistilBERT's six layers",
        seconds: 146.0,
        pass: 0,
    },
    Other {
        what: "Ramulator 2.1, the bursts of one DistilBERT pass (3 to 4 s)",
        seconds: 3.0,
        pass: 0,
    },
];

/// Runs of which the least counts.
const RUNS: usize = 9;

fn main() {
    divan::main();
    if !std::env::args().any(|argument| argument == "--test") {
        ratios();
    }
}

fn compiled(pass: &Pass) -> (Program, Target) {
    let target = options::target(pass.target, &[]).expect("is a preset");
    let binding = Binding {
        seq: pass.seq,
        ..Binding::default()
    };
    let imported = model::import(pass.model, &binding).expect("is embedded");
    let choices = CompileChoices {
        logits: pass.logits,
        ..CompileChoices::default()
    };
    let compiled = job::compile(imported.graph, &target, &choices);
    (compiled.expect("fits the machine").program, target)
}

fn once(program: &Program, target: &Target) -> Report {
    let entry = &program.entries[0];
    let options = SimulateChoices::default().options(entry, false);
    let options = options.expect("registers have maxima");
    simulate(program, entry, target, &options).expect("is sound")
}

fn names() -> impl Iterator<Item = usize> {
    0..PASSES.len()
}

#[divan::bench(args = names(), sample_count = 5)]
fn simulated(bencher: Bencher<'_, '_>, pass: usize) {
    let (program, target) = compiled(&PASSES[pass]);
    let report = once(&program, &target);
    bencher
        .counter(CyclesCount::new(report.cycles))
        .counter(ItemsCount::new(report.packets))
        .bench_local(|| once(&program, &target));
}

#[divan::bench(args = names(), sample_count = 5)]
fn judged(bencher: Bencher<'_, '_>, pass: usize) {
    let (program, target) = compiled(&PASSES[pass]);
    let report = once(&program, &target);
    bencher
        .counter(CyclesCount::new(report.cycles))
        .counter(ItemsCount::new(report.packets))
        .bench_local(|| {
            job::judge(&program, &target).expect("is sound");
            once(&program, &target)
        });
}

/// Least seconds of a few runs: whatever else the computer does only adds to them.
fn least(mut work: impl FnMut()) -> f64 {
    let seconds = (0..RUNS).map(|_| {
        let start = clock();
        work();
        clock() - start
    });
    seconds.fold(f64::INFINITY, f64::min)
}

/// Seconds that this thread has been on a core.
#[cfg(unix)]
fn clock() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Seconds of the wall clock, where the system tells no others.
#[cfg(not(unix))]
fn clock() -> f64 {
    static START: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed().as_secs_f64()
}

/// Aims and ratios, from runs of their own.
fn ratios() {
    println!(
        "\nSeconds of one core, least of {RUNS} runs, {}:\n{:<32} {:>8} {:>11} {:>9} {:>10} {:>8} {:>12} {:>10}",
        machine(),
        "pass",
        "packets",
        "cycles",
        "ms",
        "with check",
        "aim ms",
        "Mcycles/s",
        "us/packet"
    );
    let mut times = Vec::new();
    for pass in &PASSES {
        let (program, target) = compiled(pass);
        let report = once(&program, &target);
        let alone = least(|| drop(once(&program, &target)));
        let judged = least(|| {
            job::judge(&program, &target).expect("is sound");
            once(&program, &target);
        });
        println!(
            "{:<32} {:>8} {:>11} {:>9.2} {:>10.2} {:>8} {:>12.0} {:>10.2}",
            pass.name,
            report.packets,
            report.cycles,
            alone * 1e3,
            judged * 1e3,
            pass.aim_ms
                .map_or_else(String::new, |aim| format!("{aim:.0}")),
            report.cycles as f64 / alone / 1e6,
            alone / report.packets as f64 * 1e6,
        );
        times.push(judged);
    }
    println!(
        "\nThe packets of {} one time after the other:",
        PASSES[0].name
    );
    let (program, target) = compiled(&PASSES[0]);
    for times in [1, 4, 16, 64] {
        let program = repeated(&program, times);
        let packets = program.entries[0].packets.len();
        let seconds = least(|| drop(once(&program, &target)));
        println!(
            "{times:>4} times: {packets:>7} packets, {:>8.2} ms, {:>6.2} us a packet",
            seconds * 1e3,
            seconds / packets as f64 * 1e6
        );
    }
    println!("\nOther simulators, {MEASURED}:");
    for other in &OTHERS {
        println!(
            "  {}: {} s; ours for the whole pass with the check: {:.4} s, {:.0} times as fast",
            other.what,
            other.seconds,
            times[other.pass],
            other.seconds / times[other.pass],
        );
    }
}

/// A program whose first entry has its packets several times over.
fn repeated(program: &Program, times: u32) -> Program {
    let mut program = program.clone();
    let packets = &mut program.entries[0].packets;
    let tokens = packets
        .iter()
        .flat_map(|p| p.signals.iter().chain(&p.waits));
    let count = tokens.map(|token| token.0 + 1).max().unwrap_or(0);
    let once = packets.clone();
    packets.clear();
    for turn in 0..times {
        packets.extend(once.iter().cloned().map(|mut packet| {
            let tokens = packet.signals.iter_mut().chain(&mut packet.waits);
            tokens.for_each(|token| token.0 += turn * count);
            packet
        }));
    }
    program
}

/// The class of the machine: its processor and how many threads it runs.
fn machine() -> String {
    let facts = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let names = facts
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let name = names.map_or("unknown processor", |name| {
        name.trim_start_matches([' ', '\t', ':'])
    });
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    format!("{name}, {threads} threads")
}
