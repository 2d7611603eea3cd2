//! Efficiency by access pattern, against the figures of DRAM simulators.

use insta::assert_snapshot;

use super::*;

const MIB: u64 = 1 << 20;
/// Bytes of a measurement.
const TOTAL: u64 = 4 * MIB;
/// Bursts under way: what the controllers of the references hold.
const QUEUE: usize = 32;

/// The memory of DRAMsim3's table: LPDDR4-3200, two channels of 16 bits.
fn lpddr4() -> Target {
    let mut target = Target::preset("e2").expect("is a preset");
    let dram = &mut target.dram;
    dram.clock_hz = 1_600_000_000;
    dram.transfers_per_second = 3_200_000_000;
    dram.timing = DramTiming {
        burst: 8,
        cl: 28,
        cwl: 14,
        rcd: 29,
        rp: 29,
        ras: 68,
        rrd: 16,
        faw: 64,
        wr: 29,
        wtr_l: 16,
        wtr_s: 16,
        rtp: 12,
        ccd_l: 8,
        ccd_s: 8,
        refi: 6246,
        rfc: 448,
    };
    target
}

/// The memory of Ramulator's table: LPDDR5-6400, two channels of 16 bits.
fn lpddr5() -> Target {
    Target::preset("e6").expect("is a preset")
}

type Access = (u64, u64, bool);

fn tiles(row: u64, pitch: u64, write: bool) -> Vec<Access> {
    let mut list = Vec::new();
    for band in 0.. {
        for column in (0..=pitch - row).step_by(row as usize) {
            list.extend((0..64).map(|r| ((band * 64 + r) * pitch + column, row, write)));
        }
        if list.len() as u64 * row >= TOTAL {
            break;
        }
    }
    list
}

/// Accesses of a pattern, named as in the references.
fn pattern(name: &str) -> Vec<Access> {
    let numbers: Vec<u64> = name
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect();
    match name.split('_').next() {
        Some("seq") => (0..TOTAL / 4096)
            .map(|i| (i * 4096, 4096, name.ends_with("write")))
            .collect(),
        Some("mix") => {
            let [reads, writes, size] = numbers[..] else {
                panic!("{name}")
            };
            let (mut r, mut w) = (0, 256 * MIB + 3 * 8192);
            let mut list = Vec::new();
            while list.len() as u64 * size < TOTAL {
                list.extend((0..reads).map(|i| (r + i * size, size, false)));
                list.extend((0..writes).map(|i| (w + i * size, size, true)));
                r += reads * size;
                w += writes * size;
            }
            list
        }
        Some("read") => {
            let [streams, size] = numbers[..] else {
                panic!("{name}")
            };
            let base = |i: u64| (i * (37 * MIB + 5 * 2048)) & !31;
            let steps = TOTAL / size / streams;
            (0..steps)
                .flat_map(|s| (0..streams).map(move |i| (base(i) + s * size, size, false)))
                .collect()
        }
        Some("tile") => tiles(numbers[0], numbers[1], name.starts_with("tile_write")),
        _ => panic!("{name}"),
    }
}

/// Share of the peak that a pattern reaches when the queue is never empty.
fn efficiency(target: &Target, accesses: &[Access]) -> f64 {
    let mut dram = Dram::new(target).expect("the map is understood");
    let limit = QUEUE / dram.granule_bursts() as usize;
    let mut under_way = std::collections::VecDeque::new();
    let (mut arrival, mut end, mut moved) = (0, 0, 0);
    for &(address, bytes, write) in accesses {
        let mut done = 0;
        while done < bytes {
            if under_way.len() >= limit {
                arrival = arrival.max(under_way.pop_front().unwrap_or(0));
            }
            let (served, clock) = dram.serve(arrival, address + done, bytes - done, write);
            under_way.push_back(clock);
            end = end.max(clock);
            done += served;
        }
        moved += bytes;
    }
    let seconds = end as f64 / target.dram.clock_hz as f64;
    moved as f64 / seconds / target.peak_bytes_per_second()
}

fn table(target: &Target, rows: &[(&str, f64)]) -> String {
    let mut text = String::new();
    for &(name, theirs) in rows {
        let ours = efficiency(target, &pattern(name));
        text.push_str(&format!(
            "{name:28} {theirs:.3} {ours:.3} {:+.3}\n",
            ours - theirs
        ));
    }
    text
}

/// DRAMsim3 (commit 2981759), map `page_ch256_xor`, refresh of all banks: pattern, its share of the peak.
const DRAMSIM3: &[(&str, f64)] = &[
    ("seq_read", 0.9125),
    ("seq_write", 0.9096),
    ("mix_3r1w_1024B", 0.8644),
    ("mix_1r1w_4096B", 0.8759),
    ("mix_3r1w_16384B", 0.9047),
    ("read_2streams_4096B", 0.9153),
    ("read_4streams_1024B", 0.907),
    ("tile_read_128B_pitch768", 0.9134),
    ("tile_read_256B_pitch3072", 0.5441),
    ("tile_read_1024B_pitch3072", 0.9156),
    ("tile_read_2048B_pitch65536", 0.9166),
    ("tile_read_64B_pitch1048576", 0.0825),
    ("tile_read_256B_pitch1048576", 0.2543),
    ("tile_write_256B_pitch3072", 0.5443),
];

/// Ramulator 2.1 (commit c5b1c3a), map `bg64_ch256_xor`, open rows, refresh of all banks.
const RAMULATOR: &[(&str, f64)] = &[
    ("seq_read", 0.9163),
    ("seq_write", 0.9039),
    ("mix_3r1w_16384B", 0.8944),
    ("read_2streams_4096B", 0.8641),
    ("tile_read_128B_pitch768", 0.9164),
];

#[test]
fn patterns_of_compiled_programs_come_out_as_in_dramsim3() {
    assert_snapshot!(table(&lpddr4(), DRAMSIM3));
    for &(name, theirs) in DRAMSIM3.iter().filter(|(name, _)| name.starts_with("seq")) {
        let ours = efficiency(&lpddr4(), &pattern(name));
        assert!((ours - theirs).abs() < 0.03, "{name}: {ours}, {theirs}");
    }
}

#[test]
fn patterns_of_compiled_programs_come_out_as_in_ramulator() {
    assert_snapshot!(table(&lpddr5(), RAMULATOR));
    let ours = efficiency(&lpddr5(), &pattern("seq_read"));
    assert!((ours - 0.9163).abs() < 0.03, "{ours}");
}

#[test]
fn no_pattern_beats_the_sustained_rate() {
    for target in [lpddr4(), lpddr5()] {
        for &(name, _) in DRAMSIM3 {
            let ours = efficiency(&target, &pattern(name));
            assert!(ours <= target.dram.refresh_factor(), "{name}: {ours}");
        }
    }
}

#[test]
fn maps_that_make_no_sense_are_refused() {
    let complaint = |map: &str| {
        let mut target = lpddr4();
        target.dram.address_map = map.to_owned();
        Dram::new(&target)
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
            "bank:40 row"
        ]
        .map(complaint)
        .join("\n")
    );
}
