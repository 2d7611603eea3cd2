//! The engines: matrix array, vector unit, DMA, sequencer.

use serde::{Deserialize, Serialize};

/// Which operand an array holds while the other streams through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dataflow {
    /// Weights are held: `rows` of the contraction × `columns` of the output.
    WeightStationary,
    /// Outputs are held: `rows` of the left operand × `columns` of the output.
    OutputStationary,
}

/// A systolic array of int8 multiply-adds with 32-bit sums.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// Rows of the array (contraction direction when weights are held).
    pub rows: u32,
    /// Columns of the array (output channels).
    pub columns: u32,
    /// What the array holds.
    pub dataflow: Dataflow,
    /// Whether the next weights are loaded while the present ones work.
    pub double_buffered_weights: bool,
    /// Rows of weights that enter the array in one cycle.
    pub weight_rows_per_cycle: u32,
    /// Partial sums that a column gives in a cycle, at evenly spaced rows: groups of the contraction that are
    /// shorter than the array leave it through them, each to be scaled and added.
    pub taps: u32,
    /// Fixed cycles from the dispatch of a `matmul` to its first pass.
    pub startup_cycles: u32,
}

/// A vector unit: f32 lanes behind i8, f16, i32 and f32 ports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// Lanes; each starts one f32 operation in a cycle.
    pub lanes: u32,
    /// Fixed cycles from the dispatch of a command to its first result.
    pub startup_cycles: u32,
}

/// The DMA engines between DRAM and SRAM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dma {
    /// Engines that may work at the same time.
    pub engines: u32,
    /// Bursts that one engine may have outstanding at the DRAM.
    pub outstanding_bursts: u32,
    /// Bytes that an engine asks for before the next one gets its turn.
    pub turn_bytes: u32,
    /// Fixed cycles from the dispatch of a transfer to its first request.
    pub setup_cycles: u32,
}

/// The packet sequencer: fetch, decode, window, dispatch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sequencer {
    /// Packets that may be in flight between issue and retirement.
    pub window: u32,
    /// Bytes of the packet stream that one fetch brings in.
    pub fetch_bytes: u32,
    /// Bytes of fetched but undecoded stream that the sequencer can hold.
    pub buffer_bytes: u32,
    /// Cycles to decode one packet header.
    pub decode_cycles_per_packet: u32,
    /// Cycles to decode one command.
    pub decode_cycles_per_command: u32,
}
