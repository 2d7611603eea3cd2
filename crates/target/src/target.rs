//! One machine: the sum of its parts.

use serde::{Deserialize, Serialize};

use crate::engine::{Dma, Matrix, Sequencer, Vector};
use crate::memory::{Dram, Sram};

/// A packet NPU in numbers.
///
/// All cores share one SRAM and one DRAM; a packet may be dispatched to the units of any core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Short name, as given to `--target`.
    pub name: String,
    /// One sentence on what the machine stands for.
    pub description: String,
    /// Clock of the cores, SRAM and sequencer in hertz; one simulated cycle is one period of it.
    pub clock_hz: u64,
    /// Number of cores; each has one matrix array and one vector unit.
    pub cores: u32,
    /// The matrix array of each core.
    pub matrix: Matrix,
    /// The vector unit of each core.
    pub vector: Vector,
    /// On-chip memory shared by all cores.
    pub sram: Sram,
    /// DMA engines between DRAM and SRAM.
    pub dma: Dma,
    /// The packet sequencer.
    pub sequencer: Sequencer,
    /// Off-chip memory.
    pub dram: Dram,
    /// Energy per event.
    pub energy: Energy,
}

/// Energy per event in picojoules; static power in milliwatts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Energy {
    /// One int8 multiply-add.
    pub mac_pj: f64,
    /// One vector lane operation in f32.
    pub lane_op_pj: f64,
    /// One byte read from or written to SRAM.
    pub sram_byte_pj: f64,
    /// One byte moved over the DRAM interface, core and I/O together.
    pub dram_byte_pj: f64,
    /// One row activation (activate and precharge).
    pub dram_activate_pj: f64,
    /// One decoded packet.
    pub packet_pj: f64,
    /// Static power of the whole machine in milliwatts.
    pub static_mw: f64,
    /// Where the figures come from.
    pub source: String,
}
