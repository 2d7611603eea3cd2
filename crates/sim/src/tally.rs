//! Counters of a run in progress.

use packwright_packet::defs::Unit as Kind;
use packwright_target::Target;

use crate::part::dram::Counters;
use crate::report::{Bytes, DramReport, Energy, LayerCost, Resource, Span, Stall, Unit, Units};

/// Kinds of units in the order of the tables.
pub(crate) const KINDS: [Kind; 3] = [Kind::Dma, Kind::Matrix, Kind::Vector];

/// Their names in reports.
pub(crate) const NAMES: [&str; 3] = ["dma", "matrix", "vector"];

/// The place of a kind in the tables.
pub(crate) const fn place(kind: Kind) -> usize {
    match kind {
        Kind::Dma => 0,
        Kind::Matrix => 1,
        Kind::Vector => 2,
    }
}

/// Sums over the run so far.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub bytes: Bytes,
    pub sram_bytes: u64,
    pub sram_peak: u64,
    pub macs: u64,
    pub padding_macs: u64,
    pub lane_operations: u64,
    pub commands: u64,
    /// By kind of unit.
    pub units: [Unit; 3],
    pub decoding: u64,
    pub layers: Vec<LayerCost>,
    pub spans: Vec<Span>,
}

impl Tally {
    pub fn new(target: &Target, layers: usize) -> Self {
        let cores = u64::from(target.cores);
        let unit = |count| Unit {
            count,
            ..Unit::default()
        };
        Self {
            bytes: Bytes::default(),
            sram_bytes: 0,
            sram_peak: 0,
            macs: 0,
            padding_macs: 0,
            lane_operations: 0,
            commands: 0,
            units: [
                unit(u64::from(target.dma.engines)),
                unit(cores),
                unit(cores),
            ],
            decoding: 0,
            layers: vec![LayerCost::default(); layers],
            spans: Vec::new(),
        }
    }

    /// `cycles` pass: `busy` units of each kind work, `left` says for which kinds commands remain.
    pub fn pass(&mut self, cycles: u64, busy: [u64; 3], left: [u64; 3]) {
        for kind in 0..KINDS.len() {
            let unit = &mut self.units[kind];
            let waiting = (unit.count - busy[kind]) * cycles;
            unit.busy += busy[kind] * cycles;
            if left[kind] == busy[kind] {
                unit.idle += waiting;
                continue;
            }
            let others = |other: usize| other != kind && busy[other] > 0;
            let Stall {
                memory,
                matrix,
                vector,
                sequencer,
            } = &mut unit.stall;
            let cause = if others(0) {
                memory
            } else if others(1) {
                matrix
            } else if others(2) {
                vector
            } else {
                sequencer
            };
            *cause += waiting;
        }
    }

    pub fn units(&self, cycles: u64) -> Units {
        let [dma, matrix, vector] = self.units;
        let idle = cycles.saturating_sub(self.decoding);
        let sequencer = Unit {
            count: 1,
            busy: self.decoding,
            stall: Stall::default(),
            idle,
        };
        Units {
            dma,
            matrix,
            vector,
            sequencer,
        }
    }

    pub fn energy(
        &self,
        target: &Target,
        counters: &Counters,
        packets: u64,
        seconds: f64,
    ) -> Energy {
        let e = &target.energy;
        let pico = |events: u64, each: f64| events as f64 * each * 1e-12;
        Energy {
            dram: pico(counters.burst_bytes, e.dram_byte_pj)
                + pico(counters.activations, e.dram_activate_pj),
            sram: pico(self.sram_bytes, e.sram_byte_pj),
            matrix: pico(self.macs, e.mac_pj),
            vector: pico(self.lane_operations, e.lane_op_pj),
            sequencer: pico(packets, e.packet_pj),
            leakage: e.static_mw * 1e-3 * seconds,
        }
    }

    /// Traffic, with the share of the time that the buses moved data.
    pub fn dram(&self, target: &Target, counters: Counters, seconds: f64) -> DramReport {
        let clocks = seconds * target.dram.clock_hz as f64 * f64::from(target.dram.channels);
        let bus_share = if clocks > 0.0 {
            counters.bus_clocks as f64 / clocks
        } else {
            0.0
        };
        DramReport {
            bytes: self.bytes,
            counters,
            bus_share,
        }
    }

    /// The resource with the largest share. What refreshing takes of the bus counts as used.
    pub fn limit(&self, target: &Target, dram: &DramReport, cycles: u64) -> Resource {
        let share = |unit: &Unit| unit.busy as f64 / (unit.count * cycles).max(1) as f64;
        let shares = [
            (
                Resource::Dram,
                dram.bus_share / target.dram.refresh_factor(),
            ),
            (Resource::Matrix, share(&self.units[1])),
            (Resource::Vector, share(&self.units[2])),
            (
                Resource::Sequencer,
                self.decoding as f64 / cycles.max(1) as f64,
            ),
        ];
        let largest = shares
            .iter()
            .copied()
            .reduce(|a, b| if b.1 > a.1 { b } else { a });
        largest.map_or(Resource::Dram, |(resource, _)| resource)
    }
}
