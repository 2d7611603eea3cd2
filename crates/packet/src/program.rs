//! A program: entries over DRAM regions, with all that a loader has to know.

use bytes::Bytes;

use crate::operand::Elem;
use crate::packet::Packet;

/// What a `.npu` file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Name of the model.
    pub model: String,
    /// The target in TOML, as it was compiled for.
    pub target_toml: String,
    /// Precision label, e.g. `w8a8`.
    pub precision: String,
    /// Version of the tool that made the file.
    pub tool: String,
    pub origins: Vec<Origin>,
    pub entries: Vec<Entry>,
    /// The bytes of constants (weights and embedding tables), one blob for all entries.
    pub constants: Constants,
}

/// The constants section: its bytes, or only its size where the weights are absent.
#[derive(Clone, Debug, PartialEq)]
pub enum Constants {
    Present(Bytes),
    Absent { bytes: u64 },
}

impl Constants {
    /// Size of the section in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Constants::Present(bytes) => bytes.len() as u64,
            Constants::Absent { bytes } => *bytes,
        }
    }

    /// Whether the bytes are there.
    pub const fn is_present(&self) -> bool {
        match self {
            Constants::Present(_) => true,
            Constants::Absent { .. } => false,
        }
    }

    /// Whether the section holds no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where packets come from: a row of the provenance table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Name of the layer, e.g. `layer.3` or the ONNX scope that its nodes share.
    pub layer: String,
    /// What is done there, e.g. `attention` or `ffn.up`.
    pub what: String,
    /// ONNX node names behind it.
    pub nodes: Vec<String>,
}

/// One way to run the program.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub name: String,
    /// Axis bindings that the entry was compiled for.
    pub binding: Vec<(String, u64)>,
    pub registers: Vec<Register>,
    pub regions: Vec<Region>,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    pub packets: Vec<Packet>,
    pub facts: Facts,
    pub bound: Bound,
}

/// A run-time integer with its declared maximum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    pub name: String,
    pub max: u64,
}

/// What the bytes of a region are; traffic is counted by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegionKind {
    /// Weights, biases, scales, norm vectors.
    Weights,
    /// Embedding tables, read by row.
    Embeddings,
    Input,
    Output,
    /// Activations that do not fit into SRAM.
    Spill,
    /// KV caches and other state that outlives a pass.
    State,
    /// The packet stream itself.
    Packets,
}

/// A range of DRAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    pub name: String,
    pub kind: RegionKind,
    /// DRAM byte address.
    pub address: u64,
    pub bytes: u64,
    /// Where the contents stand in the constants section; `None` for run-time data.
    pub constant_offset: Option<u64>,
}

/// An input or output of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    pub elem: Elem,
    pub shape: Vec<u64>,
    pub region: crate::operand::RegionId,
}

/// Figures of the model that a report repeats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Parameters of the exported model that the entry holds, counted once however often they are used.
    pub parameters: u64,
    /// Multiply-adds of the products as exported.
    pub macs: u64,
    /// Bytes of the matrix weights as stored.
    pub weight_bytes: u64,
    /// SRAM high-water mark of the plan.
    pub sram_peak: u64,
}

/// The least that any schedule could take, as the compiler derived it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bound {
    /// Least DRAM bytes, without the packet stream.
    pub dram_bytes: u64,
    /// DRAM bytes of the best schedule of a known family; at least `dram_bytes`.
    pub attainable_dram_bytes: u64,
    /// Least time in seconds.
    pub seconds: f64,
    /// Seconds of the best schedule of a known family; at least `seconds`.
    pub attainable_seconds: f64,
    /// The term of `dram_bytes` that is largest.
    pub binding_term: String,
    /// The terms that add up to `dram_bytes`.
    pub terms: Vec<(String, u64)>,
    /// By how much each register of the entry lessens the bound, for each unit below its maximum.
    pub slopes: Vec<Slope>,
}

/// What a unit of a register costs at the most.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slope {
    pub dram_bytes: u64,
    pub seconds: f64,
}

impl Bound {
    /// The least DRAM bytes and seconds for given contents of the registers.
    pub fn at(&self, registers: &[Register], values: &[u64]) -> (u64, f64) {
        let mut least = (self.dram_bytes, self.seconds);
        for ((register, slope), value) in registers.iter().zip(&self.slopes).zip(values) {
            let below = register.max.saturating_sub(*value);
            least.0 = least
                .0
                .saturating_sub(below.saturating_mul(slope.dram_bytes));
            least.1 -= below as f64 * slope.seconds;
        }
        (least.0, least.1.max(0.0))
    }
}
