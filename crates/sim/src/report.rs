//! What a simulation says.

use std::fmt;

use packwright_packet::defs::Unit as Kind;
use packwright_packet::operand::RegionId;
use packwright_packet::packet::OriginId;
use packwright_packet::program::RegionKind;

use crate::part::dram::Counters;
use crate::path::Step;

/// The cost of one pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub cycles: u64,
    pub seconds: f64,
    pub packets: u64,
    pub commands: u64,
    /// Multiply-adds of the products that were carried out.
    pub macs: u64,
    /// f32 operations of the vector units.
    pub lane_operations: u64,
    pub padding: Padding,
    pub dram: DramReport,
    pub sram_bytes: u64,
    /// Behind the highest byte of SRAM that a command touches.
    pub sram_peak: u64,
    pub units: Units,
    pub energy: Energy,
    /// The resource that is used for the largest share of the time.
    pub limited_by: Resource,
    /// By origin, in order of ids; origins without packets are left out.
    pub layers: Vec<Layer>,
    /// What each packet cost, in the order of the stream.
    pub packet_costs: Vec<LayerCost>,
    /// What units did when, if it was asked for; in order of starts.
    pub spans: Vec<Span>,
    /// What the time was spent on along the critical path, if spans were asked for.
    pub path: Vec<Step>,
}

/// What was paid for and not asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Padding {
    /// Bytes of DRAM bursts that no transfer asked for.
    pub dram_bytes: u64,
    /// Multiply-adds that matrix arrays could have done in folds whose rows or columns were not full.
    pub macs: u64,
}

/// DRAM traffic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DramReport {
    pub bytes: Bytes,
    pub counters: Counters,
    /// Share of the time that data moved on the bus, over all channels.
    pub bus_share: f64,
}

/// Bytes by category.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    pub weights: u64,
    pub embeddings: u64,
    pub inputs: u64,
    pub outputs: u64,
    pub spill_write: u64,
    pub spill_read: u64,
    pub kv_read: u64,
    pub kv_write: u64,
    pub packets: u64,
}

impl Bytes {
    /// The category of bytes that move between a region and SRAM.
    pub fn of(&mut self, kind: RegionKind, write: bool) -> &mut u64 {
        match (kind, write) {
            (RegionKind::Weights, _) => &mut self.weights,
            (RegionKind::Embeddings, _) => &mut self.embeddings,
            (RegionKind::Input, _) => &mut self.inputs,
            (RegionKind::Output, _) => &mut self.outputs,
            (RegionKind::Spill, true) => &mut self.spill_write,
            (RegionKind::Spill, false) => &mut self.spill_read,
            (RegionKind::State, true) => &mut self.kv_write,
            (RegionKind::State, false) => &mut self.kv_read,
            (RegionKind::Packets, _) => &mut self.packets,
        }
    }

    /// Adds other bytes, category by category.
    pub fn add(&mut self, other: &Bytes) {
        self.weights += other.weights;
        self.embeddings += other.embeddings;
        self.inputs += other.inputs;
        self.outputs += other.outputs;
        self.spill_write += other.spill_write;
        self.spill_read += other.spill_read;
        self.kv_read += other.kv_read;
        self.kv_write += other.kv_write;
        self.packets += other.packets;
    }

    /// All categories.
    pub fn total(&self) -> u64 {
        self.without_packets() + self.packets
    }

    /// All categories but the packet stream: what a bound speaks of.
    pub fn without_packets(&self) -> u64 {
        self.weights
            + self.embeddings
            + self.inputs
            + self.outputs
            + self.spill_write
            + self.spill_read
            + self.kv_read
            + self.kv_write
    }
}

/// What each unit did, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Units {
    pub dma: Vec<Unit>,
    pub matrix: Vec<Unit>,
    pub vector: Vec<Unit>,
    pub sequencer: Vec<Unit>,
}

impl Units {
    /// The kinds with their names.
    pub fn all(&self) -> [(&'static str, &[Unit]); 4] {
        [
            ("dma", &self.dma),
            ("matrix", &self.matrix),
            ("vector", &self.vector),
            ("sequencer", &self.sequencer),
        ]
    }
}

/// Cycles of one unit: `busy`, all of `stall` and `idle` are the cycles of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    pub busy: u64,
    /// By [`Cause`].
    pub stall: [u64; 6],
    /// No command for it was left.
    pub idle: u64,
}

impl Unit {
    /// All stalls.
    pub fn stalled(&self) -> u64 {
        self.stall.iter().sum()
    }
}

/// What a unit waits for while commands for it are left: where the oldest of them stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It waits for a transfer; the sequencer waits for the stream.
    Memory,
    /// It waits for a product.
    Matrix,
    /// It waits for a vector command.
    Vector,
    /// Its packet has not been decoded.
    Sequencer,
    /// Its packet has not been decoded because the window is full.
    Window,
    /// It is at work, and the SRAM ports hold it up.
    Sram,
}

impl Cause {
    /// All causes, in the order of the tables.
    pub const ALL: [Cause; 6] = [
        Cause::Memory,
        Cause::Matrix,
        Cause::Vector,
        Cause::Sequencer,
        Cause::Window,
        Cause::Sram,
    ];

    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Memory => "memory",
            Cause::Matrix => "matrix",
            Cause::Vector => "vector",
            Cause::Sequencer => "sequencer",
            Cause::Window => "window",
            Cause::Sram => "sram",
        }
    }
}

/// Joules by part.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Energy {
    pub dram: f64,
    pub sram: f64,
    pub matrix: f64,
    pub vector: f64,
    pub sequencer: f64,
    pub leakage: f64,
}

impl Energy {
    /// All parts.
    pub fn total(&self) -> f64 {
        self.dram + self.sram + self.matrix + self.vector + self.sequencer + self.leakage
    }
}

/// What a run can hang on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Dram,
    Matrix,
    Vector,
    Sequencer,
}

impl Resource {
    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Resource::Dram => "dram",
            Resource::Matrix => "matrix",
            Resource::Vector => "vector",
            Resource::Sequencer => "sequencer",
        }
    }
}

/// What one packet cost, or all packets of one origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerCost {
    pub packets: u64,
    pub macs: u64,
    pub dram: Bytes,
    pub dma_cycles: u64,
    pub matrix_cycles: u64,
    pub vector_cycles: u64,
}

impl LayerCost {
    /// Adds what another packet cost.
    pub fn add(&mut self, other: &LayerCost) {
        self.packets += other.packets;
        self.macs += other.macs;
        self.dram.add(&other.dram);
        self.dma_cycles += other.dma_cycles;
        self.matrix_cycles += other.matrix_cycles;
        self.vector_cycles += other.vector_cycles;
    }
}

/// An origin with its cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    pub origin: OriginId,
    pub cost: LayerCost,
}

/// A unit of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitId {
    pub kind: Kind,
    pub number: u32,
}

impl fmt::Display for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Dma => "dma",
            Kind::Matrix => "matrix",
            Kind::Vector => "vector",
        };
        write!(f, "{kind} {}", self.number)
    }
}

/// A command on a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub unit: UnitId,
    pub mnemonic: &'static str,
    pub packet: u32,
    pub start: u64,
    pub end: u64,
    /// Cycles that the SRAM ports held it up.
    pub ports: u64,
    /// Bytes of a transfer, and the region in DRAM.
    pub bytes: u64,
    pub region: Option<RegionId>,
    /// What it waited for last.
    pub release: Release,
}

/// What something waited for last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Release {
    /// The decoding of its packet; for a decoding, that of the packet before.
    #[default]
    Decoded,
    /// The fetch of the stream.
    Stream,
    /// The command with this place among the spans.
    Span(u32),
}
