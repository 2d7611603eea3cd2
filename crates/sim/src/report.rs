//! What a simulation says.

use packwright_packet::packet::OriginId;
use packwright_packet::program::RegionKind;

use crate::part::dram::Counters;

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
    /// What units did when, if it was asked for; in order of starts.
    pub spans: Vec<Span>,
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

/// What the units of each kind did; cycles are summed over the units of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Units {
    pub dma: Unit,
    pub matrix: Unit,
    pub vector: Unit,
    pub sequencer: Unit,
}

/// `busy + stall + idle` is the number of units times the cycles of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// Units of the kind.
    pub count: u64,
    pub busy: u64,
    pub stall: Stall,
    /// No command for such a unit was left.
    pub idle: u64,
}

/// Cycles that a unit waited while commands for it were left, by what was at work instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stall {
    /// A transfer.
    pub memory: u64,
    /// A product, and no transfer.
    pub matrix: u64,
    /// A vector command, and none of the above.
    pub vector: u64,
    /// Nothing: the stream was fetched or decoded.
    pub sequencer: u64,
}

impl Stall {
    /// All causes.
    pub fn total(&self) -> u64 {
        self.memory + self.matrix + self.vector + self.sequencer
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

/// The packets of one origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerCost {
    pub packets: u64,
    pub macs: u64,
    pub dram: Bytes,
    pub dma_cycles: u64,
    pub matrix_cycles: u64,
    pub vector_cycles: u64,
}

/// An origin with its cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    pub origin: OriginId,
    pub cost: LayerCost,
}

/// A command on a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// E.g. `dma 0`.
    pub unit: String,
    pub mnemonic: &'static str,
    pub packet: u32,
    pub start: u64,
    pub end: u64,
}
