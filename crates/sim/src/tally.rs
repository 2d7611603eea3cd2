//! Counters of a run in progress.

use packwright_packet::defs::Unit as Kind;
use packwright_packet::packet::OriginId;
use packwright_target::Target;

use crate::error::SimError;
use crate::part::dram::Counters;
use crate::report::{Bytes, DramReport, Energy, LayerCost, Resource, Unit, Units};

/// Kinds of units in the order of the tables.
pub(crate) const KINDS: [Kind; 3] = [Kind::Dma, Kind::Matrix, Kind::Vector];

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
    /// Each unit, by kind.
    pub units: [Vec<Unit>; 3],
    pub sequencer: Unit,
    pub layers: Vec<LayerCost>,
}

impl Tally {
    pub fn new(target: &Target, layers: usize) -> Self {
        let units = |count: u32| vec![Unit::default(); count as usize];
        Self {
            bytes: Bytes::default(),
            sram_bytes: 0,
            sram_peak: 0,
            macs: 0,
            padding_macs: 0,
            lane_operations: 0,
            commands: 0,
            units: [
                units(target.dma.engines),
                units(target.cores),
                units(target.cores),
            ],
            sequencer: Unit::default(),
            layers: vec![LayerCost::default(); layers],
        }
    }

    /// Charges a layer with the cycles of a command.
    pub fn add_work(&mut self, origin: OriginId, kind: usize, cycles: u64) {
        let layer = &mut self.layers[origin.0 as usize];
        match KINDS[kind] {
            Kind::Dma => layer.dma_cycles += cycles,
            Kind::Matrix => layer.matrix_cycles += cycles,
            Kind::Vector => layer.vector_cycles += cycles,
        }
    }

    /// Law: the cycles of each unit, the bytes and the work of all layers add up.
    pub fn check(&self, cycles: u64, counters: &Counters) -> Result<(), SimError> {
        let equal = |what: &'static str, found: u64, expected: u64| {
            if found == expected {
                return Ok(());
            }
            Err(SimError::Accounting {
                what,
                found,
                expected,
            })
        };
        for unit in self.units.iter().flatten().chain([&self.sequencer]) {
            let sum = unit.busy + unit.stalled() + unit.idle;
            equal("cycles of a unit", sum, cycles)?;
        }
        equal("DRAM bytes by category", self.bytes.total(), counters.bytes)?;
        let layers = |of: fn(&LayerCost) -> u64| self.layers.iter().map(of).sum::<u64>();
        let bytes = self.bytes.without_packets();
        equal("DRAM bytes by layer", layers(|l| l.dram.total()), bytes)?;
        equal("products by layer", layers(|l| l.macs), self.macs)?;
        let work = |kind: usize| {
            let held = |unit: &Unit| unit.busy + unit.stall[crate::report::Cause::Sram as usize];
            self.units[kind].iter().map(held).sum::<u64>()
        };
        equal("DMA cycles by layer", layers(|l| l.dma_cycles), work(0))?;
        equal(
            "matrix cycles by layer",
            layers(|l| l.matrix_cycles),
            work(1),
        )?;
        equal(
            "vector cycles by layer",
            layers(|l| l.vector_cycles),
            work(2),
        )
    }

    pub fn units(&self) -> Units {
        Units {
            dma: self.units[0].clone(),
            matrix: self.units[1].clone(),
            vector: self.units[2].clone(),
            sequencer: vec![self.sequencer],
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
        let share = |units: &[Unit]| {
            let busy: u64 = units.iter().map(|unit| unit.busy).sum();
            busy as f64 / (units.len() as u64 * cycles).max(1) as f64
        };
        let shares = [
            (
                Resource::Dram,
                dram.bus_share / target.dram.refresh_factor(),
            ),
            (Resource::Matrix, share(&self.units[1])),
            (Resource::Vector, share(&self.units[2])),
            (Resource::Sequencer, share(&[self.sequencer])),
        ];
        let largest = shares
            .iter()
            .copied()
            .reduce(|a, b| if b.1 > a.1 { b } else { a });
        largest.map_or(Resource::Dram, |(resource, _)| resource)
    }
}
