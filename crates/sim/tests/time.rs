//! Small programs in text form, and what they cost on `e2`.

use insta::assert_snapshot;
use packwright_packet::asm::assemble;
use packwright_packet::program::Program;
use packwright_sim::report::Cause;
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
        exact: false,
    };
    let report = simulate(&program, &program.entries[0], &e2(), &options)?;
    for unit in report.units.all().into_iter().flat_map(|(_, units)| units) {
        assert_eq!(unit.busy + unit.stalled() + unit.idle, report.cycles);
    }
    let path: u64 = report.path.iter().map(|step| step.cycles).sum();
    assert_eq!(path, report.cycles, "{:?}", report.path);
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
fn short_rows_far_apart_cost_more_than_long_ones_or_a_stream() {
    let stream = "  packet p0 origin=o0\n    load dst=0x0 src=d0 block=131072";
    let rows = "  packet p0 origin=o0\n    load dst=0x0 src=d0 block=64(65536:2048)x2048";
    let scattered = "  packet p0 origin=o0\n    load dst=0x0 src=d0 block=1024(4096:64)x64";
    assert!((share(stream) - share(rows)).abs() < 0.05 * share(stream));
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
    // The least time is that of the machine that the program was compiled for.
    program.target_toml = e2().to_toml();
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

/// Cycles of a program on `e2` with some numbers changed.
fn cycles_with(packets: &str, settings: &[&str]) -> u64 {
    let program = program(packets);
    let mut target = e2();
    for setting in settings {
        target.set(setting).expect("is a field");
    }
    let report = simulate(&program, &program.entries[0], &target, &Options::default());
    report.expect("runs").cycles
}

#[test]
fn the_critical_path_names_what_the_time_went_into() {
    let report = run("  packet p0 origin=o0 signal=t0
    load dst=0x10000 src=d0 block=65536
  packet p1 origin=o1 wait=t0
    matmul m=128 n=256 k=256 a=i8@0x0:256 b=i8@0x10000:256 out=f32@0x40000:1024
    store dst=d1 src=0x40000 block=4096")
    .expect("runs");
    let steps: String = report
        .path
        .iter()
        .map(|step| format!("{} of o{}: {}\n", step.what, step.origin.0, step.cycles))
        .collect();
    assert_snapshot!(steps);
}

/// Many packets with little to do.
fn small_packets(count: usize) -> String {
    (0..count)
        .map(|i| {
            let at = i % 16 * 256;
            format!("  packet p{i} origin=o0\n    fill rows=1 cols=8 value=0.0 dst=f32@{at}:32\n")
        })
        .collect()
}

#[test]
fn the_sequencer_binds_where_packets_are_small() {
    let program = program(&small_packets(200));
    let mut target = Target::preset("tiny").expect("is a preset");
    let mut report = |settings: &[&str]| {
        for setting in settings {
            target.set(setting).expect("is a field");
        }
        simulate(&program, &program.entries[0], &target, &Options::default()).expect("runs")
    };
    // Two commands at a time would fit, one is decoded in the time of two.
    let base = report(&[]);
    let slow = report(&["sequencer.decode_cycles_per_packet=40"]);
    assert!(slow.cycles > 200 * 42, "{}", slow.cycles);
    assert!(slow.cycles > 2 * base.cycles);
    assert_eq!(slow.limited_by.name(), "sequencer");
    let narrow = report(&["sequencer.decode_cycles_per_packet=1", "sequencer.window=1"]);
    let wide = report(&["sequencer.window=16"]);
    assert!(
        narrow.cycles > wide.cycles,
        "{} {}",
        narrow.cycles,
        wide.cycles
    );
    assert!(narrow.units.sequencer[0].stall[Cause::Window as usize] > 0);
}

#[test]
fn more_of_anything_is_not_slower() {
    let packets: String = (0..24)
        .map(|i| {
            let (weights, out) = (0x10000 + i % 4 * 0x4000, 0x40000 + i % 4 * 0x8000);
            let wait = if i == 0 {
                String::new()
            } else {
                format!(" wait=t{}", (i - 1) / 2)
            };
            format!(
                "  packet p{i} origin=o0{wait} signal=t{i}
    load dst={weights} src=d0+{} block=16384
    matmul m=64 n=128 k=128 a=i8@0x0:128 b=i8@{weights}:128 out=f32@{out}:512
    unary rows=64 cols=128 func=relu src=f32@{out}:512 dst=f32@{out}:512
",
                i * 16384
            )
        })
        .collect();
    let base = cycles_with(&packets, &[]);
    for setting in [
        "dram.channels=4",
        "sram.banks=32",
        "sequencer.window=128",
        "dma.engines=4",
        "vector.lanes=128",
        "cores=2",
        "dma.outstanding_bursts=128",
        "dram.queue_bursts=64",
    ] {
        let more = cycles_with(&packets, &[setting]);
        // Scheduling anomalies of list scheduling: more of one resource may change the order for the worse.
        assert!(
            more as f64 <= 1.05 * base as f64,
            "{setting}: {more}, {base}"
        );
    }
}

#[test]
fn splitting_a_transfer_never_beats_the_bus() {
    let least = (1048576.0 / e2().peak_bytes_per_cycle()) as u64;
    for parts in [1usize, 2, 4, 16, 64] {
        let bytes = 1048576 / parts;
        let packets: String = (0..parts)
            .map(|i| {
                format!(
                    "  packet p{i} origin=o0\n    load dst=0x0 src=d0+{} block={bytes}\n",
                    i * bytes
                )
            })
            .collect();
        let cycles = cycles_with(&packets, &[]);
        assert!(cycles > least, "{parts}: {cycles}, {least}");
    }
}

#[test]
fn a_packet_starts_when_its_last_token_comes_and_no_cycle_before() {
    let report = run("  packet p0 origin=o0 signal=t0
    fill rows=16 cols=64 value=0.0 dst=f32@0x0:256
  packet p1 origin=o0 signal=t1
    load dst=0x10000 src=d0 block=64
  packet p2 origin=o0 wait=t0,t1
    fill rows=1 cols=64 value=0.0 dst=f32@0x8000:256")
    .expect("runs");
    let end = |packet: u32| {
        report
            .spans
            .iter()
            .find(|s| s.packet == packet)
            .map(|s| s.end)
    };
    let start = report.spans.iter().find(|s| s.packet == 2).map(|s| s.start);
    assert_eq!(start, end(0).max(end(1)));
}

#[test]
fn both_paths_through_the_memory_agree() {
    let stream = "  packet p0 origin=o0\n    load dst=0x0 src=d0 block=1048576";
    let program = program(stream);
    let cycles = |exact: bool| {
        let options = Options {
            exact,
            ..Options::default()
        };
        let report = simulate(&program, &program.entries[0], &e2(), &options).expect("runs");
        report.cycles as f64
    };
    assert!((cycles(false) / cycles(true) - 1.0).abs() < 0.02);
}

#[test]
fn channels_and_ports_carry_a_stream() {
    let stream = "  packet p0 origin=o0\n    load dst=0x0 src=d0 block=1048576";
    let cycles = |settings: &[&str]| cycles_with(stream, settings);
    let two = cycles(&[]);
    let four = cycles(&["dram.channels=4", "dma.outstanding_bursts=128"]);
    assert!(10 * four < 6 * two, "{four} {two}");
    assert!(18 * two < 10 * cycles(&["dram.channels=1"]));
    assert!(cycles(&["sram.banks=1", "sram.bank_bytes_per_cycle=1"]) >= 1048576);
}

#[test]
fn a_short_command_does_not_wait_for_the_bytes_of_a_long_one() {
    assert_snapshot!(timeline(
        "  packet p0 origin=o0
    matmul m=256 n=512 k=512 a=i8@0x0:512 b=i8@0x40000:512 out=f32@0x100000:2048
  packet p1 origin=o0
    fill rows=16 cols=64 value=0.0 dst=f32@0x1c0000:256"
    ));
}

/// Rows of SCALE-Sim 3.0.0 (no stalls for memory): dataflow, array, m, k, n, cycles.
#[test]
fn products_take_the_cycles_of_scale_sim() {
    for (dataflow, array, m, k, n, cycles) in SCALE_SIM {
        let name = if dataflow == "ws" {
            "weight_stationary"
        } else {
            "output_stationary"
        };
        let mut text = e2().to_toml();
        text = text.replace("weight_stationary", name);
        let mut target = Target::from_toml(&text).expect("parses");
        for setting in [
            format!("matrix.rows={array}"),
            format!("matrix.columns={array}"),
            "matrix.double_buffered_weights=false".into(),
            "matrix.startup_cycles=0".into(),
            "sram.banks=64".into(),
            "sram.bank_bytes_per_cycle=1024".into(),
        ] {
            target.set(&setting).expect("is a field");
        }
        let product = format!(
            "  packet p0 origin=o0\n    matmul m={m} n={n} k={k} a=i8@0x0:{k} b=i8@0x40000:{k} out=f32@0x100000:{}",
            4 * n
        );
        let program = program(&product);
        let options = Options {
            registers: Vec::new(),
            spans: true,
            exact: false,
        };
        let report = simulate(&program, &program.entries[0], &target, &options).expect("runs");
        let span = &report.spans[0];
        assert_eq!(
            span.end - span.start,
            cycles,
            "{dataflow} {array} {m} {k} {n}"
        );
    }
}

const SCALE_SIM: [(&str, u64, u64, u64, u64, u64); 58] = [
    ("ws", 32, 77, 96, 200, 3590),
    ("ws", 32, 200, 300, 90, 8819),
    ("ws", 32, 1, 31, 257, 854),
    ("os", 32, 77, 96, 200, 3317),
    ("os", 32, 200, 300, 90, 7601),
    ("os", 32, 1, 31, 257, 836),
    ("ws", 64, 77, 96, 200, 2135),
    ("ws", 64, 200, 300, 90, 3899),
    ("ws", 64, 1, 31, 257, 954),
    ("os", 64, 77, 96, 200, 1775),
    ("os", 64, 200, 300, 90, 3407),
    ("os", 64, 1, 31, 257, 784),
    ("ws", 128, 77, 96, 200, 917),
    ("ws", 128, 200, 300, 90, 1745),
    ("ws", 128, 1, 31, 257, 1148),
    ("os", 128, 77, 96, 200, 699),
    ("os", 128, 200, 300, 90, 1107),
    ("os", 128, 1, 31, 257, 854),
    ("ws", 32, 128, 384, 384, 31967),
    ("ws", 32, 128, 128, 32, 887),
    ("ws", 32, 128, 384, 1536, 127871),
    ("os", 32, 128, 384, 384, 21407),
    ("os", 32, 128, 128, 32, 759),
    ("os", 32, 128, 384, 1536, 85631),
    ("ws", 64, 128, 384, 384, 11447),
    ("ws", 64, 128, 128, 32, 635),
    ("ws", 64, 128, 384, 1536, 45791),
    ("os", 64, 128, 384, 384, 6119),
    ("os", 64, 128, 128, 32, 507),
    ("os", 64, 128, 384, 1536, 24479),
    ("ws", 128, 128, 384, 384, 4589),
    ("ws", 128, 128, 128, 32, 509),
    ("ws", 128, 128, 384, 1536, 18359),
    ("os", 128, 128, 384, 384, 1913),
    ("os", 128, 128, 128, 32, 381),
    ("os", 128, 128, 384, 1536, 7655),
    ("ws", 32, 64, 576, 576, 51191),
    ("ws", 32, 64, 64, 64, 631),
    ("os", 32, 64, 576, 576, 22967),
    ("os", 32, 64, 64, 64, 503),
    ("ws", 32, 1, 768, 768, 54719),
    ("ws", 32, 1, 1024, 64, 6079),
    ("os", 32, 1, 768, 768, 19919),
    ("os", 32, 1, 1024, 64, 2171),
    ("ws", 64, 1, 768, 768, 27503),
    ("ws", 64, 1, 1024, 64, 3055),
    ("os", 64, 1, 768, 768, 10727),
    ("os", 64, 1, 1024, 64, 1149),
    ("ws", 128, 1, 768, 768, 13787),
    ("ws", 128, 1, 1024, 64, 3063),
    ("os", 128, 1, 768, 768, 6131),
    ("os", 128, 1, 1024, 64, 1277),
    ("ws", 32, 128, 768, 768, 127871),
    ("os", 32, 128, 768, 768, 79679),
    ("ws", 64, 128, 768, 768, 45791),
    ("os", 64, 128, 768, 768, 21455),
    ("ws", 128, 128, 768, 768, 18359),
    ("os", 128, 128, 768, 768, 6131),
];

mod property {
    use super::*;
    use proptest::prelude::*;

    /// Packets with some commands each, waiting for some packet before.
    fn stream() -> impl Strategy<Value = String> {
        let command = (0..4usize, 1..65u64, 1..65u64).prop_map(|(kind, rows, cols)| match kind {
            0 => format!("    load dst=0x0 src=d0+{} block={}\n", rows * 4096, rows * cols),
            1 => format!("    store dst=d1+{} src=0x0 block={}\n", rows * 4096, rows * cols),
            2 => format!(
                "    matmul m={rows} n={cols} k=64 a=i8@0x0:64 b=i8@0x40000:64 out=f32@0x100000:256\n"
            ),
            _ => format!(
                "    unary rows={rows} cols={cols} func=exp src=f32@0x0:256 dst=f32@0x8000:256\n"
            ),
        });
        let packet = (
            prop::collection::vec(command, 1..4),
            0..4u8,
            any::<prop::sample::Index>(),
        );
        prop::collection::vec(packet, 1..24).prop_map(|packets| {
            let mut text = String::new();
            for (at, (commands, priority, before)) in packets.into_iter().enumerate() {
                let wait = if at == 0 {
                    String::new()
                } else {
                    format!(" wait=t{}", before.index(at))
                };
                text +=
                    &format!("  packet p{at} origin=o0 priority={priority}{wait} signal=t{at}\n");
                text += &commands.concat();
            }
            text
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        /// `run` asserts that busy, stall and idle cycles add up.
        #[test]
        fn runs_repeat_and_add_up(packets in stream()) {
            let (one, two) = (run(&packets).expect("runs"), run(&packets).expect("runs"));
            prop_assert_eq!(&one, &two);
            let least = e2().least_seconds(one.macs, one.dram.bytes.total());
            prop_assert!(one.seconds >= least);
            let layers: u64 = one.layers.iter().map(|layer| layer.cost.dram.without_packets()).sum();
            prop_assert_eq!(layers, one.dram.bytes.without_packets());
            let ends: Vec<u64> = one.spans.iter().map(|span| span.end).collect();
            prop_assert_eq!(ends.iter().max().copied().unwrap_or(0), one.cycles);
        }
    }
}
