//! The manifest of a `.npu` file: all of a program but its packets and the bytes of its constants.
//!
//! The messages are written by hand; they are the schema. Codes of element types and region kinds
//! are those of [`crate::spelling`].

use prost::Message;

use crate::operand::{Elem, RegionId};
use crate::packet::Packet;
use crate::program::{
    Bound, Constants, Entry, Facts, Origin, Port, Program, Region, RegionKind, Register, Slope,
};
use crate::spelling::Spelled;

/// A program without packets and constants.
#[derive(Clone, PartialEq, Message)]
pub struct Manifest {
    /// Name of the model.
    #[prost(string, tag = "1")]
    pub model: String,
    /// The target in TOML.
    #[prost(string, tag = "2")]
    pub target_toml: String,
    /// Precision label.
    #[prost(string, tag = "3")]
    pub precision: String,
    /// Version of the tool.
    #[prost(string, tag = "4")]
    pub tool: String,
    /// The provenance table.
    #[prost(message, repeated, tag = "5")]
    pub origins: Vec<OriginMessage>,
    /// The entries, in the order of their packet sections.
    #[prost(message, repeated, tag = "6")]
    pub entries: Vec<EntryMessage>,
    /// Size of the constants, whether they are present or not.
    #[prost(uint64, tag = "7")]
    pub constants_bytes: u64,
    /// Whether the file holds the constants.
    #[prost(bool, tag = "8")]
    pub constants_present: bool,
}

/// A row of the provenance table.
#[derive(Clone, PartialEq, Message)]
pub struct OriginMessage {
    /// Name of the layer.
    #[prost(string, tag = "1")]
    pub layer: String,
    /// What is done there.
    #[prost(string, tag = "2")]
    pub what: String,
    /// ONNX node names.
    #[prost(string, repeated, tag = "3")]
    pub nodes: Vec<String>,
}

/// A name with a number.
#[derive(Clone, PartialEq, Message)]
pub struct PairMessage {
    /// The name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The number.
    #[prost(uint64, tag = "2")]
    pub value: u64,
}

/// A region of DRAM.
#[derive(Clone, PartialEq, Message)]
pub struct RegionMessage {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Code of its kind.
    #[prost(uint32, tag = "2")]
    pub kind: u32,
    /// DRAM byte address.
    #[prost(uint64, tag = "3")]
    pub address: u64,
    /// Size in bytes.
    #[prost(uint64, tag = "4")]
    pub bytes: u64,
    /// Offset in the constants section.
    #[prost(uint64, optional, tag = "5")]
    pub constant_offset: Option<u64>,
}

/// An input or output.
#[derive(Clone, PartialEq, Message)]
pub struct PortMessage {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Code of its element type.
    #[prost(uint32, tag = "2")]
    pub elem: u32,
    /// Its shape.
    #[prost(uint64, repeated, tag = "3")]
    pub shape: Vec<u64>,
    /// Index of its region.
    #[prost(uint32, tag = "4")]
    pub region: u32,
}

/// Figures of the model.
#[derive(Clone, PartialEq, Message)]
pub struct FactsMessage {
    /// Parameters.
    #[prost(uint64, tag = "1")]
    pub parameters: u64,
    /// Multiply-adds.
    #[prost(uint64, tag = "2")]
    pub macs: u64,
    /// Bytes of the matrix weights.
    #[prost(uint64, tag = "3")]
    pub weight_bytes: u64,
    /// SRAM high-water mark.
    #[prost(uint64, tag = "4")]
    pub sram_peak: u64,
}

/// The least cost.
#[derive(Clone, PartialEq, Message)]
pub struct BoundMessage {
    /// Least DRAM bytes.
    #[prost(uint64, tag = "1")]
    pub dram_bytes: u64,
    /// DRAM bytes of the best known schedule.
    #[prost(uint64, tag = "2")]
    pub attainable_dram_bytes: u64,
    /// The bits of the least time in seconds, an f64.
    #[prost(fixed64, tag = "3")]
    pub seconds_bits: u64,
    /// The largest term.
    #[prost(string, tag = "4")]
    pub binding_term: String,
    /// The terms.
    #[prost(message, repeated, tag = "5")]
    pub terms: Vec<PairMessage>,
    /// What each register takes off.
    #[prost(message, repeated, tag = "6")]
    pub slopes: Vec<SlopeMessage>,
    /// The bits of the time of the best known schedule in seconds, an f64.
    #[prost(fixed64, tag = "7")]
    pub attainable_seconds_bits: u64,
}

/// What a unit of a register costs.
#[derive(Clone, PartialEq, Message)]
pub struct SlopeMessage {
    /// DRAM bytes.
    #[prost(uint64, tag = "1")]
    pub dram_bytes: u64,
    /// The bits of the seconds, an f64.
    #[prost(fixed64, tag = "2")]
    pub seconds_bits: u64,
}

/// One way to run the program.
#[derive(Clone, PartialEq, Message)]
pub struct EntryMessage {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Axis bindings.
    #[prost(message, repeated, tag = "2")]
    pub binding: Vec<PairMessage>,
    /// Registers with their maxima.
    #[prost(message, repeated, tag = "3")]
    pub registers: Vec<PairMessage>,
    /// Regions of DRAM.
    #[prost(message, repeated, tag = "4")]
    pub regions: Vec<RegionMessage>,
    /// Inputs.
    #[prost(message, repeated, tag = "5")]
    pub inputs: Vec<PortMessage>,
    /// Outputs.
    #[prost(message, repeated, tag = "6")]
    pub outputs: Vec<PortMessage>,
    /// Figures of the model.
    #[prost(message, required, tag = "7")]
    pub facts: FactsMessage,
    /// The least cost.
    #[prost(message, required, tag = "8")]
    pub bound: BoundMessage,
    /// How many packets the entry has.
    #[prost(uint64, tag = "9")]
    pub packets: u64,
}

impl Manifest {
    /// The manifest of a program.
    pub fn of(program: &Program) -> Self {
        let Program {
            model,
            target_toml,
            precision,
            tool,
            origins,
            entries,
            constants,
        } = program;
        Self {
            model: model.clone(),
            target_toml: target_toml.clone(),
            precision: precision.clone(),
            tool: tool.clone(),
            origins: origins.iter().map(origin_message).collect(),
            entries: entries.iter().map(entry_message).collect(),
            constants_bytes: constants.len(),
            constants_present: matches!(constants, Constants::Present(_)),
        }
    }

    /// The program, given the packets of each entry and the constants. `Err` says what is wrong.
    pub fn program(
        self,
        packets: Vec<Vec<Packet>>,
        constants: Constants,
    ) -> Result<Program, String> {
        let origins = self.origins.into_iter();
        let origins = origins.map(|o| Origin {
            layer: o.layer,
            what: o.what,
            nodes: o.nodes,
        });
        let entries = self.entries.into_iter().zip(packets);
        let entries = entries.map(|(entry, packets)| entry_of(entry, packets));
        Ok(Program {
            model: self.model,
            target_toml: self.target_toml,
            precision: self.precision,
            tool: self.tool,
            origins: origins.collect(),
            entries: entries.collect::<Result<_, _>>()?,
            constants,
        })
    }
}

fn origin_message(origin: &Origin) -> OriginMessage {
    let Origin { layer, what, nodes } = origin.clone();
    OriginMessage { layer, what, nodes }
}

fn pair(name: &str, value: u64) -> PairMessage {
    PairMessage {
        name: name.to_owned(),
        value,
    }
}

fn pairs(list: &[(String, u64)]) -> Vec<PairMessage> {
    list.iter()
        .map(|(name, value)| pair(name, *value))
        .collect()
}

fn pairs_of(list: Vec<PairMessage>) -> Vec<(String, u64)> {
    list.into_iter()
        .map(|pair| (pair.name, pair.value))
        .collect()
}

fn entry_message(entry: &Entry) -> EntryMessage {
    let registers = entry
        .registers
        .iter()
        .map(|register| pair(&register.name, register.max));
    EntryMessage {
        name: entry.name.clone(),
        binding: pairs(&entry.binding),
        registers: registers.collect(),
        regions: entry.regions.iter().map(region_message).collect(),
        inputs: entry.inputs.iter().map(port_message).collect(),
        outputs: entry.outputs.iter().map(port_message).collect(),
        facts: facts_message(&entry.facts),
        bound: bound_message(&entry.bound),
        packets: entry.packets.len() as u64,
    }
}

fn entry_of(entry: EntryMessage, packets: Vec<Packet>) -> Result<Entry, String> {
    let registers = entry.registers.into_iter();
    let registers = registers.map(|pair| Register {
        name: pair.name,
        max: pair.value,
    });
    let ports = |ports: Vec<PortMessage>| ports.into_iter().map(port_of).collect::<Result<_, _>>();
    Ok(Entry {
        name: entry.name,
        binding: pairs_of(entry.binding),
        registers: registers.collect(),
        regions: entry
            .regions
            .into_iter()
            .map(region_of)
            .collect::<Result<_, _>>()?,
        inputs: ports(entry.inputs)?,
        outputs: ports(entry.outputs)?,
        packets,
        facts: facts_of(&entry.facts),
        bound: bound_of(entry.bound),
    })
}

fn region_message(region: &Region) -> RegionMessage {
    let Region {
        name,
        kind,
        address,
        bytes,
        constant_offset,
    } = region.clone();
    RegionMessage {
        name,
        kind: u32::from(kind.code()),
        address,
        bytes,
        constant_offset,
    }
}

fn region_of(region: RegionMessage) -> Result<Region, String> {
    let RegionMessage {
        name,
        kind,
        address,
        bytes,
        constant_offset,
    } = region;
    let kind = RegionKind::from_code(u64::from(kind));
    let kind = kind.ok_or_else(|| format!("region `{name}` has no known kind"))?;
    Ok(Region {
        name,
        kind,
        address,
        bytes,
        constant_offset,
    })
}

fn port_message(port: &Port) -> PortMessage {
    let Port {
        name,
        elem,
        shape,
        region,
    } = port.clone();
    PortMessage {
        name,
        elem: u32::from(elem.code()),
        shape,
        region: u32::from(region.0),
    }
}

fn port_of(port: PortMessage) -> Result<Port, String> {
    let PortMessage {
        name,
        elem,
        shape,
        region,
    } = port;
    let elem = Elem::from_code(u64::from(elem));
    let elem = elem.ok_or_else(|| format!("port `{name}` has no known element type"))?;
    let region = u16::try_from(region).map(RegionId);
    let region = region.map_err(|_| format!("port `{name}` has no possible region"))?;
    Ok(Port {
        name,
        elem,
        shape,
        region,
    })
}

fn facts_message(facts: &Facts) -> FactsMessage {
    let Facts {
        parameters,
        macs,
        weight_bytes,
        sram_peak,
    } = *facts;
    FactsMessage {
        parameters,
        macs,
        weight_bytes,
        sram_peak,
    }
}

fn facts_of(facts: &FactsMessage) -> Facts {
    let FactsMessage {
        parameters,
        macs,
        weight_bytes,
        sram_peak,
    } = *facts;
    Facts {
        parameters,
        macs,
        weight_bytes,
        sram_peak,
    }
}

fn bound_message(bound: &Bound) -> BoundMessage {
    BoundMessage {
        dram_bytes: bound.dram_bytes,
        attainable_dram_bytes: bound.attainable_dram_bytes,
        seconds_bits: bound.seconds.to_bits(),
        attainable_seconds_bits: bound.attainable_seconds.to_bits(),
        binding_term: bound.binding_term.clone(),
        terms: pairs(&bound.terms),
        slopes: bound
            .slopes
            .iter()
            .map(|slope| SlopeMessage {
                dram_bytes: slope.dram_bytes,
                seconds_bits: slope.seconds.to_bits(),
            })
            .collect(),
    }
}

fn bound_of(bound: BoundMessage) -> Bound {
    Bound {
        dram_bytes: bound.dram_bytes,
        attainable_dram_bytes: bound.attainable_dram_bytes,
        seconds: f64::from_bits(bound.seconds_bits),
        attainable_seconds: f64::from_bits(bound.attainable_seconds_bits),
        binding_term: bound.binding_term,
        terms: pairs_of(bound.terms),
        slopes: bound
            .slopes
            .iter()
            .map(|slope| Slope {
                dram_bytes: slope.dram_bytes,
                seconds: f64::from_bits(slope.seconds_bits),
            })
            .collect(),
    }
}
