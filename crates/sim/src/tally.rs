//! Counters of a run in progress.

use packwright_packet::defs::Unit as Kind;
use packwright_packet::packet::OriginId;
use packwright_packet::program::Entry;
use packwright_target::Target;

use crate::error::SimError;
use crate::part::dram::Counters;
use crate::report::{Bytes, Cause, DramReport, Energy, Layer, LayerCost, Resource, Unit, Units};

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
    /// What each packet cost.
    pub packets: Vec<LayerCost>,
}

impl Tally {
    pub fn new(target: &Target, packets: usize) -> Self {
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
            packets: vec![LayerCost::default(); packets],
        }
    }

    /// Charges a packet with the cycles of a command.
    pub fn add_work(&mut self, packet: usize, kind: usize, cycles: u64) {
        let cost = &mut self.packets[packet];
        match KINDS[kind] {
            Kind::Dma => cost.dma_cycles += cycles,
            Kind::Matrix => cost.matrix_cycles += cycles,
            Kind::Vector => cost.vector_cycles += cycles,
        }
    }

    /// The sums of the packets of each origin; origins without packets are left out.
    pub fn layers(&self, entry: &Entry, origins: usize) -> Vec<Layer> {
        let mut sums = vec![LayerCost::default(); origins];
        for (packet, cost) in entry.packets.iter().zip(&self.packets) {
            sums[packet.origin.0 as usize].add(cost);
        }
        let layers = sums.into_iter().enumerate();
        layers
            .filter(|(_, cost)| cost.packets > 0)
            .map(|(origin, cost)| Layer {
                origin: OriginId(origin as u32),
                cost,
            })
            .collect()
    }

    /// Law: the cycles of each unit, the bytes and the work of all packets and of all layers add up.
    pub fn check(
        &self,
        cycles: u64,
        counters: &Counters,
        layers: &[Layer],
    ) -> Result<(), SimError> {
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
        let of_layers: Vec<LayerCost> = layers.iter().map(|layer| layer.cost).collect();
        for costs in [&self.packets, &of_layers] {
            let sum = |of: fn(&LayerCost) -> u64| costs.iter().map(of).sum::<u64>();
            let bytes = self.bytes.without_packets();
            equal(
                "DRAM bytes by packet or layer",
                sum(|c| c.dram.total()),
                bytes,
            )?;
            equal("products by packet or layer", sum(|c| c.macs), self.macs)?;
            let works: [fn(&LayerCost) -> u64; 3] =
                [|c| c.dma_cycles, |c| c.matrix_cycles, |c| c.vector_cycles];
            for (units, work) in self.units.iter().zip(works) {
                let held = |unit: &Unit| unit.busy + unit.stall[Cause::Sram as usize];
                let held = units.iter().map(held).sum();
                equal("unit cycles by packet or layer", sum(work), held)?;
            }
            equal("packets", sum(|c| c.packets), self.packets.len() as u64)?;
        }
        Ok(())
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
