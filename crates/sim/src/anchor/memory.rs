//! Access patterns on LPDDR, against DRAMsim3 and Ramulator.

use packwright_target::Target;
use packwright_target::memory::{DramTiming, Refresh};

use crate::error::SimError;
use crate::part::dram::replay::{Access, share_of_peak};

const MIB: u64 = 1 << 20;
/// Bytes of a measurement.
const TOTAL: u64 = 4 * MIB;
/// Space that random accesses are spread over.
const SPACE: u64 = 512 * MIB;

/// A measurement of another simulator.
#[derive(Clone, Debug, PartialEq)]
pub struct Anchor {
    pub pattern: &'static str,
    pub map: &'static str,
    /// What differs from open rows and refresh of all banks with 32 bursts waiting.
    pub variant: String,
    pub theirs: f64,
    /// The machine that was measured.
    pub target: Target,
}

impl Anchor {
    /// The share of the peak that this simulator gives.
    ///
    /// # Errors
    /// When the address map is not understood.
    pub fn ours(&self) -> Result<f64, SimError> {
        share_of_peak(&self.target, pattern(self.pattern))
    }
}

/// Rows of DRAMsim3 on LPDDR4-3200; those with refresh of single banks are left out.
pub fn dramsim3() -> Vec<Anchor> {
    let rows = super::rows(include_str!("../../anchors/dramsim3_lpddr4.csv"));
    let rows = rows.filter(|row| row[2] == "all_bank");
    rows.filter_map(|row| anchor(lpddr4(), row[0], row[1], "", row[3]))
        .collect()
}

/// Rows of Ramulator 2.1 on LPDDR5-6400; those that measure latency are left out.
pub fn ramulator() -> Vec<Anchor> {
    let rows = super::rows(include_str!("../../anchors/ramulator_lpddr5.csv"));
    let rows = rows.filter(|row| row[6] == "saturating");
    let anchors = rows.filter_map(|row| {
        let [refresh, policy, wck, queue] = [row[2], row[3], row[4], row[5]];
        let mut target = lpddr5();
        let dram = &mut target.dram;
        let mut variant = Vec::new();
        dram.queue_bursts = queue.parse().ok()?;
        // The thresholds are four fifths and one fifth of the queue.
        dram.write_high = (dram.queue_bursts * 4 / 5 + 1).min(dram.queue_bursts);
        dram.write_low = dram.queue_bursts / 5;
        if queue != "32" {
            variant.push(format!("queue of {queue}"));
        }
        dram.refresh = match refresh {
            "all_bank" => Refresh::AllBank,
            "per_bank" => Refresh::PerBank,
            _ => Refresh::None,
        };
        if refresh != "all_bank" {
            variant.push(format!("refresh {}", refresh.replace('_', " ")));
        }
        if policy != "open" {
            dram.close_after = 4;
            variant.push("rows close after 4".into());
        }
        if wck != "need_sync" {
            variant.push("WCK always on".into());
        }
        anchor(target, row[0], row[1], &variant.join(", "), row[7])
    });
    anchors.collect()
}

fn anchor(
    mut target: Target,
    pattern: &'static str,
    map: &'static str,
    variant: &str,
    theirs: &str,
) -> Option<Anchor> {
    target.dram.bank_hash = map.ends_with("_xor");
    target.dram.address_map = match map.trim_end_matches("_xor") {
        "page_ch256" => "column:3 channel:1 column:3 bank:3 row",
        "bg64_ch256" => "column:1 bankgroup:2 channel:1 column:5 bank:2 row",
        "ch64_bg128" => "column:1 channel:1 bankgroup:2 column:5 bank:2 row",
        "page_then_bank" => "column:3 channel:1 column:3 bankgroup:2 bank:2 row",
        _ => return None,
    }
    .into();
    Some(Anchor {
        pattern,
        map,
        variant: variant.to_owned(),
        theirs: theirs.parse().ok()?,
        target,
    })
}

/// The memory of DRAMsim3's table: LPDDR4-3200, two channels of 16 bits.
pub fn lpddr4() -> Target {
    let mut target = Target::preset("e2").expect("is a preset");
    let dram = &mut target.dram;
    dram.standard = "LPDDR4-3200".into();
    dram.clock_hz = 1_600_000_000;
    dram.transfers_per_second = 3_200_000_000;
    // The controller writes when its buffer is full, and then empties it.
    dram.write_high = 32;
    dram.write_low = 0;
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
        rtw: 1,
        rtrs: 1,
        refi: 6246,
        rfc: 448,
        refi_pb: 781,
        rfc_pb: 224,
    };
    target
}

/// The memory of Ramulator's table: LPDDR5-6400, two channels of 16 bits.
pub fn lpddr5() -> Target {
    Target::preset("e6").expect("is a preset")
}

/// Accesses of a pattern, named as in the tables; none where the name is unknown.
pub fn pattern(name: &str) -> Vec<Access> {
    let numbers: Vec<u64> = name
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect();
    let write = name.contains("_write");
    match (name.split('_').next(), &numbers[..]) {
        (Some("seq"), []) => (0..TOTAL / 4096).map(|i| (i * 4096, 4096, write)).collect(),
        (Some("mix"), &[reads, writes, size]) => mix(reads, writes, size),
        (Some("read"), &[streams, size]) => {
            let base = |i: u64| (i * (37 * MIB + 5 * 2048)) & !31;
            let steps = TOTAL / size / streams;
            (0..steps)
                .flat_map(|s| (0..streams).map(move |i| (base(i) + s * size, size, false)))
                .collect()
        }
        (Some("tile"), &[row, pitch]) => tiles(row, pitch, write),
        (Some("rand"), &[size]) => {
            let mut state = 7u64;
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005);
                state = state.wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % (SPACE / size) * size
            };
            (0..TOTAL / size).map(|_| (next(), size, write)).collect()
        }
        _ => Vec::new(),
    }
}

/// Granules read from one stream, then granules written to another, in turn.
fn mix(reads: u64, writes: u64, size: u64) -> Vec<Access> {
    let (mut read, mut write) = (0, 256 * MIB + 3 * 8192);
    let mut list = Vec::new();
    while list.len() as u64 * size < TOTAL {
        list.extend((0..reads).map(|i| (read + i * size, size, false)));
        list.extend((0..writes).map(|i| (write + i * size, size, true)));
        read += reads * size;
        write += writes * size;
    }
    list
}

/// A matrix in tiles of 64 rows.
fn tiles(row: u64, pitch: u64, write: bool) -> Vec<Access> {
    let mut list = Vec::new();
    for band in 0.. {
        for column in (0..=pitch - row).step_by(row as usize) {
            list.extend((0..64).map(|r| ((band * 64 + r) * pitch + column, row, write)));
            if list.len() as u64 * row >= TOTAL {
                return list;
            }
        }
    }
    list
}
