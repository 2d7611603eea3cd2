//! Efficiency by access pattern against the figures of DRAM simulators, and closed forms against bursts.

use insta::assert_snapshot;

use super::replay::share_of_peak;
use super::*;
use crate::anchor::{mean_and_worst, memory};
use packwright_packet::operand::Block;
use packwright_target::memory::Refresh;

/// Patterns that differ by more than 3 % of the peak, and the mean and the worst of all.
fn outliers(anchors: &[memory::Anchor]) -> String {
    let mut text = String::new();
    let mut errors = Vec::new();
    for anchor in anchors {
        let ours = anchor.ours().expect("the map is understood");
        let error = ours - anchor.theirs;
        errors.push(error);
        if error.abs() > 0.03 {
            let memory::Anchor {
                pattern,
                map,
                variant,
                theirs,
                ..
            } = anchor;
            text += &format!("{pattern:28} {map:15} {theirs:.3} {ours:.3} {error:+.3} {variant}\n");
        }
    }
    let (mean, worst) = mean_and_worst(errors.into_iter());
    assert!(mean <= 0.05, "mean error {mean:.3}\n{text}");
    assert!(worst <= 0.10, "worst error {worst:.3}\n{text}");
    text + &format!(
        "{} patterns: mean {mean:.3}, worst {worst:.3}\n",
        anchors.len()
    )
}

#[test]
fn patterns_come_out_as_in_dramsim3() {
    assert_snapshot!(outliers(&memory::dramsim3()));
}

#[test]
fn patterns_come_out_as_in_ramulator() {
    assert_snapshot!(outliers(&memory::ramulator()));
}

#[test]
fn no_pattern_beats_the_sustained_rate() {
    for target in [memory::lpddr4(), memory::lpddr5()] {
        for name in [
            "seq_read",
            "seq_write",
            "read_2streams_4096B",
            "tile_read_1024B_pitch3072",
        ] {
            let ours = share_of_peak(&target, memory::pattern(name)).expect("is understood");
            assert!(ours <= target.dram.refresh_factor(), "{name}: {ours}");
        }
    }
}

/// Clocks of transfers on ports, each with its runs and direction, that start together.
fn clocks(target: &Target, transfers: &[(Runs, bool)], closed_forms: bool) -> (u64, Counters) {
    let others = transfers.len();
    let mut dram = Dram::new(target, others, closed_forms).expect("the map is understood");
    for (port, (runs, write)) in transfers.iter().enumerate() {
        dram.start(port, 0, runs.clone(), *write);
    }
    let mut end = 0;
    while let Some((_, clock)) = dram.run(u64::MAX) {
        end = end.max(clock);
    }
    (end, dram.counters)
}

/// Clocks at which transfers that start together end, by port.
fn ends(target: &Target, transfers: &[(Runs, bool)], closed_forms: bool) -> Vec<u64> {
    let mut dram = Dram::new(target, transfers.len(), closed_forms).expect("the map is understood");
    for (port, (runs, write)) in transfers.iter().enumerate() {
        dram.start(port, 0, runs.clone(), *write);
    }
    let mut ends = vec![0; transfers.len()];
    while let Some((port, clock)) = dram.run(u64::MAX) {
        ends[port] = clock;
    }
    ends
}

#[test]
fn closed_forms_agree_with_bursts_where_runs_are_short_or_mix() {
    const MIB: u64 = 1 << 20;
    let rows = |base: u64, bytes: u32, pitch: u64, count: u64| {
        let block = Block::rows(count, u64::from(bytes), pitch, bytes);
        Runs::block(base, &block, &[])
    };
    let jobs: [(&str, Vec<(Runs, bool)>); 12] = [
        (
            "read, write",
            vec![(Runs::one(0, MIB), false), (Runs::one(37 * MIB, MIB), true)],
        ),
        (
            "2 reads, write",
            vec![
                (Runs::one(0, MIB), false),
                (Runs::one(5 * MIB + 4160, MIB), false),
                (Runs::one(37 * MIB, MIB / 2), true),
            ],
        ),
        ("rows of 512", vec![(rows(0, 512, 513_024, 1024), true)]),
        (
            "read, rows of 512",
            vec![
                (Runs::one(600 * MIB, MIB), false),
                (rows(0, 512, 513_024, 1024), true),
            ],
        ),
        (
            "read rows of 1024",
            vec![(rows(0, 1024, 3072, 1024), false)],
        ),
        (
            "read rows of 768, write",
            vec![
                (rows(64, 768, 3072, 1024), false),
                (Runs::one(600 * MIB, MIB), true),
            ],
        ),
        ("rows of 8", vec![(rows(0, 8, 128, 4096), true)]),
        ("rows of 256", vec![(rows(0, 256, 4096, 1024), true)]),
        (
            "rows of 256 anywhere",
            vec![(rows(0, 256, 201_028, 1024), true)],
        ),
        (
            "read rows of 64 of one bank group",
            vec![(rows(0, 64, 768, 4096), false)],
        ),
        (
            "2 of rows of 512",
            vec![
                (rows(0, 512, 513_024, 1024), true),
                (rows(1024, 512, 513_024, 1024), true),
            ],
        ),
        (
            "read, read rows of 256",
            vec![
                (Runs::one(600 * MIB, MIB), false),
                (rows(0, 256, 4096, 1024), false),
            ],
        ),
    ];
    let mut text = String::new();
    for name in Target::preset_names() {
        let target = Target::preset(name).expect("is a preset");
        for (job, transfers) in &jobs {
            let (exact, closed) = (
                ends(&target, transfers, false),
                ends(&target, transfers, true),
            );
            let errors = closed
                .iter()
                .zip(&exact)
                .map(|(&c, &e)| c as f64 / e as f64 - 1.0);
            let errors: Vec<f64> = errors.collect();
            text += &format!("{name} {job}: {errors:+.3?}\n");
        }
    }
    assert_snapshot!(text);
}

/// Relative error of the closed forms on some transfers.
fn closed_form_error(target: &Target, transfers: &[(Runs, bool)]) -> f64 {
    let (exact, bursts) = clocks(target, transfers, false);
    let (closed, streamed) = clocks(target, transfers, true);
    assert_eq!(bursts.streamed_bursts, 0);
    assert_eq!(bursts.burst_bytes, streamed.burst_bytes);
    closed as f64 / exact as f64 - 1.0
}

#[test]
fn closed_forms_agree_with_bursts() {
    const MIB: u64 = 1 << 20;
    let mut wrong = String::new();
    for name in Target::preset_names() {
        let target = Target::preset(name).expect("is a preset");
        let one = Runs::one(64, 2 * MIB);
        let other = Runs::one(37 * MIB + 10304, 2 * MIB);
        for write in [false, true] {
            let alone = closed_form_error(&target, &[(one.clone(), write)]);
            let both = closed_form_error(&target, &[(one.clone(), write), (other.clone(), write)]);
            // The two streams meet in the same banks all the time.
            if alone.abs() > 0.02 || both.abs() > 0.15 {
                wrong += &format!(
                    "{name}, write {write}: one {alone:+.3}, two {both:+.3}
"
                );
            }
        }
        let (_, counters) = clocks(&target, &[(one, false)], true);
        let share = counters.streamed_bursts as f64 * f64::from(target.dram.burst_bytes);
        assert!(share > 0.99 * 2.0 * MIB as f64, "{name}: {share}");
    }
    assert_eq!(wrong, "");
}

#[test]
fn all_bytes_are_moved_whatever_the_runs() {
    let target = memory::lpddr5();
    let rows = Runs::gather(96, (1 << 14, 1000, 333), 700);
    let (_, counters) = clocks(&target, &[(rows, false)], true);
    assert_eq!(counters.bytes, 700 * 333);
    assert!(counters.burst_bytes >= counters.bytes);
}

#[test]
fn a_read_waits_for_its_row_and_no_clock_longer() {
    let mut target = memory::lpddr5();
    target.dram.refresh = Refresh::None;
    let t = target.dram.timing.clone();
    let one = u64::from(t.rcd + t.cl + t.burst);
    assert_eq!(clocks(&target, &[(Runs::one(0, 32), false)], false).0, one);
    // A second burst of the same bank group comes tCCD_L later.
    let two = one + u64::from(t.ccd_l);
    assert_eq!(clocks(&target, &[(Runs::one(0, 64), false)], false).0, two);
    // Another row of the same bank: the first has to have been open for tRAS, then precharge and activation.
    target.dram.bank_hash = false;
    let next_row = 1 << (5 + 1 + 2 + 1 + 5 + 2);
    let runs = Runs::gather(0, (1, 0, 32), 1);
    let (first, second) = ((runs, false), (Runs::one(next_row, 32), false));
    let three = u64::from(t.ras + t.rp) + one;
    assert_eq!(clocks(&target, &[first, second], false).0, three);
}

#[test]
fn a_second_rank_costs_a_turn_of_the_bus_and_no_more_banks_fewer_rows() {
    let mut two = memory::lpddr4();
    two.dram.ranks = 2;
    two.dram.address_map = "column:3 channel:1 column:3 bank:3 rank:1 row".into();
    let one = memory::lpddr4();
    let share = |target: &Target, name: &str| {
        share_of_peak(target, memory::pattern(name)).expect("is understood")
    };
    assert!((share(&two, "seq_read") - share(&one, "seq_read")).abs() < 0.01);
    let scattered = "rand_read_64B";
    assert!(share(&two, scattered) > share(&one, scattered));
}

#[test]
fn a_wider_window_is_never_slower() {
    let share = |queue: u32, name: &str| {
        let mut target = memory::lpddr5();
        target.dram.queue_bursts = queue;
        target.dram.write_high = queue * 4 / 5;
        target.dram.write_low = queue / 5;
        share_of_peak(&target, memory::pattern(name)).expect("is understood")
    };
    for name in [
        "seq_read",
        "mix_1r1w_1024B",
        "tile_read_256B_pitch3072",
        "rand_read_256B",
    ] {
        let shares = [8, 16, 32, 64].map(|queue| share(queue, name));
        // Scheduling anomalies: a later burst that goes first may close a row too early.
        assert!(
            shares.windows(2).all(|pair| pair[1] > pair[0] - 0.01),
            "{name}: {shares:?}"
        );
    }
}

#[test]
fn maps_that_make_no_sense_are_refused() {
    let complaint = |map: &str| {
        let mut target = memory::lpddr4();
        target.dram.address_map = map.to_owned();
        Dram::new(&target, 0, true)
            .map(|_| ())
            .expect_err("is refused")
            .to_string()
    };
    assert_snapshot!(
        [
            "column:3 bank:3",
            "row column:3",
            "column row",
            "lane:2 row",
            "bank:40 row",
            "bank:1 bank:2 row"
        ]
        .map(complaint)
        .join("\n")
    );
}
