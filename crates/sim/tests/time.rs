//! Small programs in text form, and what they cost on `e2`.

use insta::assert_snapshot;
use packwright_packet::asm::assemble;
use packwright_packet::program::Program;
use packwright_sim::{Options, Report, SimError, simulate};
use packwright_target::Target;

/// A program with some packets over 4 MiB of weights and 1 MiB of results.
fn program(packets: &str) -> Program {
    let text = format!(
        r#"program "small"
tool "test"
precision "w8a8"
target
  |name = "e2"
constants absent 4194304
origin o0 layer="a" what="work"
origin o1 layer="b" what="more"

entry "main"
  region d0 weights "w" address=0x0 bytes=4194304 constant=0x0
  region d1 output "y" address=0x400000 bytes=1048576
  region d2 packets "packets" address=0x500000 bytes=4096
{packets}
"#
    );
    assemble(&text, None).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn e2() -> Target {
    Target::preset("e2").expect("is a preset")
}

fn run(packets: &str) -> Result<Report, SimError> {
    let program = program(packets);
    let options = Options {
        registers: Vec::new(),
        spans: true,
    };
    let report = simulate(&program, &program.entries[0], &e2(), &options)?;
    let units = &report.units;
    for unit in [&units.dma, &units.matrix, &units.vector, &units.sequencer] {
        assert_eq!(
            unit.busy + unit.stall.total() + unit.idle,
            unit.count * report.cycles
        );
    }
    Ok(report)
}

/// When each unit did what.
fn timeline(packets: &str) -> String {
    let report = run(packets).unwrap_or_else(|error| panic!("{error}"));
    let mut spans = report.spans;
    spans.sort_by_key(|span| (span.start, span.packet));
    spans
        .iter()
        .map(|s| {
            format!(
                "{:>6} ..{:>6} {} p{} {}\n",
                s.start, s.end, s.unit, s.packet, s.mnemonic
            )
        })
        .collect()
}

/// Share of the peak of the DRAM that a program reaches.
fn share(packets: &str) -> f64 {
    let report = run(packets).unwrap_or_else(|error| panic!("{error}"));
    let bytes = report.dram.bytes.without_packets() as f64;
    bytes / report.seconds / e2().peak_bytes_per_second()
}

#[test]
fn a_long_stream_comes_near_the_sustained_rate() {
    let share = share("  packet p0 origin=o0\n    load dst=0x0 src=d0 block=1048576");
    let most = e2().dram.refresh_factor();
    assert!(share < most && share > 0.92 * most, "{share} of {most}");
}

#[test]
fn rows_far_apart_cost_more_than_a_stream() {
    let stream = "  packet p0 origin=o0\n    load dst=0x0 src=d0 block=131072";
    let rows = "  packet p0 origin=o0\n    load dst=0x0 src=d0 block=64(65536:2048)x2048";
    let scattered = "  packet p0 origin=o0\n    load dst=0x0 src=d0 block=1024(4096:64)x64";
    assert!(share(stream) > share(rows));
    assert!(share(rows) > 1.5 * share(scattered));
}

#[test]
fn weights_stream_in_while_products_work() {
    assert_snapshot!(timeline(
        "  packet p0 origin=o0 signal=t0
    load dst=0x10000 src=d0 block=65536
  packet p1 origin=o0 signal=t1
    load dst=0x20000 src=d0+0x10000 block=65536
  packet p2 origin=o1 priority=1 wait=t0 signal=t2
    matmul m=128 n=256 k=256 a=i8@0x0:256 b=i8@0x10000:256 out=f32@0x40000:1024
  packet p3 origin=o1 priority=1 wait=t1,t2
    matmul m=128 n=256 k=256 a=i8@0x0:256 b=i8@0x20000:256 out=f32@0x60000:1024
    unary rows=128 cols=256 func=relu src=f32@0x60000:1024 dst=f32@0x60000:1024"
    ));
}

#[test]
fn the_higher_priority_goes_first_then_the_earlier_packet() {
    assert_snapshot!(timeline(
        "  packet p0 origin=o0
    fill rows=64 cols=64 value=0.0 dst=f32@0x0:256
  packet p1 origin=o0
    fill rows=64 cols=64 value=0.0 dst=f32@0x4000:256
  packet p2 origin=o0
    fill rows=64 cols=64 value=0.0 dst=f32@0x8000:256
  packet p3 origin=o0 priority=1
    fill rows=64 cols=64 value=0.0 dst=f32@0xc000:256"
    ));
}

#[test]
fn packets_overlap_and_their_commands_do_not() {
    assert_snapshot!(timeline(
        "  packet p0 origin=o0
    unary rows=64 cols=64 func=exp src=f32@0x0:256 dst=f32@0x0:256
    store dst=d1 src=0x0 block=16384
  packet p1 origin=o1
    load dst=0x10000 src=d0 block=4096
    unary rows=16 cols=64 func=exp src=f32@0x10000:256 dst=f32@0x10000:256"
    ));
}

#[test]
fn costs_go_to_the_layer_of_origin() {
    let report = run("  packet p0 origin=o0 signal=t0
    load dst=0x10000 src=d0 block=4096
  packet p1 origin=o1 wait=t0
    matmul m=64 n=64 k=64 a=i8@0x0:64 b=i8@0x10000:64 out=f32@0x40000:256
    store dst=d1 src=0x40000 block=16384")
    .expect("runs");
    let layers: String = report
        .layers
        .iter()
        .map(|l| {
            format!(
                "o{}: {} MACs, {} weights, {} outputs\n",
                l.origin.0, l.cost.macs, l.cost.dram.weights, l.cost.dram.outputs
            )
        })
        .collect();
    assert_snapshot!(layers);
    assert_eq!(report.sram_peak, 0x44000);
    let total: u64 = report.layers.iter().map(|l| l.cost.dram.total()).sum();
    assert_eq!(total, report.dram.bytes.without_packets());
}

#[test]
fn a_token_that_nobody_signals_is_a_deadlock() {
    let error = run("  packet p0 origin=o0 wait=t0\n    load dst=0x0 src=d0 block=64");
    assert_eq!(error.expect_err("cannot end").code(), "packet-deadlock");
}

#[test]
fn less_than_the_bound_is_an_error() {
    let mut program = program("  packet p0 origin=o0\n    load dst=0x0 src=d0 block=4096");
    for (bytes, seconds, code) in [
        (4096, 0.0, "ok"),
        (4097, 0.0, "bound-violated"),
        (0, 1.0, "bound-violated"),
    ] {
        program.entries[0].bound.dram_bytes = bytes;
        program.entries[0].bound.seconds = seconds;
        let found = simulate(&program, &program.entries[0], &e2(), &Options::default());
        assert_eq!(found.map_or_else(|error| error.code(), |_| "ok"), code);
    }
}
