//! What is in a model or a program, as data.

use packwright_ir::konst::Source;
use packwright_onnx::axis::Role;
use packwright_onnx::{Binding, Model};
use packwright_packet::container::VERSION;
use packwright_packet::program::{Constants, Entry, Port, Program};
use serde::Serialize;

use crate::constants::Choice;
use crate::errors::{Failure, Problem, ProblemJson};
use crate::model;

/// Schema of [`ModelFacts`].
pub const MODEL_SCHEMA: &str = "packwright.model/1";
/// Schema of [`ProgramFacts`].
pub const PROGRAM_SCHEMA: &str = "packwright.program/1";

/// A model.
#[derive(Clone, Debug, Serialize)]
pub struct ModelFacts {
    pub schema: &'static str,
    pub file: String,
    pub name: String,
    pub producer: String,
    pub ir_version: i64,
    pub opsets: Vec<Named<i64>>,
    pub inputs: Vec<PortFacts>,
    pub outputs: Vec<PortFacts>,
    /// Axes that have names instead of lengths.
    pub axes: Vec<AxisFacts>,
    pub nodes: usize,
    pub operators: Vec<Named<usize>>,
    pub initializers: usize,
    /// Initializers whose values lie in other files.
    pub external: usize,
    /// Parameters, tied ones counted once; null where the model cannot be imported.
    pub parameters: Option<u64>,
    /// Bytes of the parameters in the model's own type.
    pub weight_bytes: Option<u64>,
    /// Whether values of all weights are there.
    pub weights_present: Option<bool>,
    pub macs: Option<u64>,
    /// The lengths that the check was made with.
    pub binding: Vec<Named<u64>>,
    /// All that stands in the way of an import.
    pub problems: Vec<ProblemJson>,
    pub warnings: Vec<ProblemJson>,
}

/// A name with a figure.
#[derive(Clone, Debug, Serialize)]
pub struct Named<T> {
    pub name: String,
    pub value: T,
}

/// An input or output.
#[derive(Clone, Debug, Serialize)]
pub struct PortFacts {
    pub name: String,
    pub elem: String,
    /// Lengths and names of axes.
    pub shape: Vec<String>,
}

/// An axis to bind.
#[derive(Clone, Debug, Serialize)]
pub struct AxisFacts {
    pub name: String,
    pub role: &'static str,
    /// The option that binds it, besides `--bind`.
    pub option: Option<&'static str>,
    pub places: Vec<String>,
}

/// A program.
#[derive(Clone, Debug, Serialize)]
pub struct ProgramFacts {
    pub schema: &'static str,
    pub model: String,
    pub tool: String,
    pub precision: String,
    pub target: String,
    pub format_version: u32,
    pub file_bytes: u64,
    pub constants_bytes: u64,
    pub constants_present: bool,
    pub origins: usize,
    pub entries: Vec<EntryFacts>,
}

/// An entry of a program.
#[derive(Clone, Debug, Serialize)]
pub struct EntryFacts {
    pub name: String,
    pub binding: Vec<Named<u64>>,
    pub registers: Vec<Named<u64>>,
    pub inputs: Vec<PortFacts>,
    pub outputs: Vec<PortFacts>,
    pub regions: Vec<RegionFacts>,
    pub packets: usize,
    pub commands: usize,
    pub parameters: u64,
    pub macs: u64,
    pub sram_peak_bytes: u64,
    pub bound_dram_bytes: u64,
    pub bound_seconds: f64,
}

/// A region of DRAM.
#[derive(Clone, Debug, Serialize)]
pub struct RegionFacts {
    pub name: String,
    pub kind: String,
    pub address: u64,
    pub bytes: u64,
}

/// What is in a model, and what stands in the way of compiling it.
///
/// # Errors
/// When the file is no model at all.
pub fn model(spec: &str, binding: &Binding, constants: &[Choice]) -> Result<ModelFacts, Failure> {
    let model = model::open(spec)?;
    let summary = model.summary();
    let complete = complete(&model, binding);
    let imported = model::import_fixed(spec, &complete, constants);
    let named = |(name, value): (String, u64)| Named { name, value };
    let (graph, problems, warnings) = match imported {
        Ok(imported) => (Some(imported.graph), Vec::new(), imported.warnings),
        Err(failure) => (None, failure.0, Vec::new()),
    };
    let consts = graph.as_ref().map(|graph| graph.consts());
    let json = |list: &[Problem]| list.iter().map(ProblemJson::from).collect();
    Ok(ModelFacts {
        schema: MODEL_SCHEMA,
        file: spec.to_owned(),
        name: summary.name,
        producer: summary.producer,
        ir_version: summary.ir_version,
        opsets: summary
            .opsets
            .into_iter()
            .map(|(name, value)| Named { name, value })
            .collect(),
        inputs: model.inputs().iter().map(onnx_port).collect(),
        outputs: model.outputs().iter().map(onnx_port).collect(),
        axes: axes(&model),
        nodes: summary.nodes,
        operators: summary
            .ops
            .into_iter()
            .map(|(name, value)| Named { name, value })
            .collect(),
        initializers: summary.initializers,
        external: summary.external,
        parameters: graph.as_ref().map(|graph| graph.facts.parameters),
        weight_bytes: consts.map(|consts| {
            consts
                .iter()
                .map(|konst| match konst.source {
                    Source::Derived(_) => 0,
                    _ => konst.ty.bytes() as u64,
                })
                .sum()
        }),
        weights_present: consts.map(|c| !c.iter().any(|konst| konst.source == Source::Absent)),
        macs: graph.as_ref().map(|graph| graph.facts.macs),
        binding: graph.as_ref().map_or_else(Vec::new, |graph| {
            graph.facts.binding.iter().cloned().map(named).collect()
        }),
        problems: json(&problems),
        warnings: json(&warnings),
    })
}

/// A binding that leaves no axis open, for a look at the rest of the model.
fn complete(model: &Model, binding: &Binding) -> Binding {
    let mut complete = binding.clone();
    let seq = binding.seq.unwrap_or(128);
    let past = binding.past.unwrap_or(127);
    for axis in model.axes() {
        let (given, length) = match axis.role {
            Role::Batch => (true, 1),
            Role::Sequence => (binding.seq.is_some(), seq),
            Role::Past => (binding.past.is_some(), past),
            Role::Encoder => (binding.encoder.is_some(), 128),
            // The front end adds up what is cached and what is new.
            Role::Total => (true, 0),
            Role::Other => (false, 16),
        };
        if !given {
            complete.names.entry(axis.name).or_insert(length);
        }
    }
    complete
}

fn axes(model: &Model) -> Vec<AxisFacts> {
    let facts = model.axes().into_iter().map(|axis| {
        let (role, option) = match axis.role {
            Role::Batch => ("batch", Some("--batch")),
            Role::Sequence => ("sequence", Some("--seq")),
            Role::Past => ("past", Some("--past")),
            Role::Total => ("total", None),
            Role::Encoder => ("encoder", Some("--encoder")),
            Role::Other => ("other", None),
        };
        let places = axis
            .places
            .iter()
            .map(|(input, at)| format!("{input}:{at}"))
            .collect();
        AxisFacts {
            name: axis.name,
            role,
            option,
            places,
        }
    });
    facts.collect()
}

fn onnx_port(port: &packwright_onnx::load::Port) -> PortFacts {
    PortFacts {
        name: port.name.clone(),
        elem: port
            .elem
            .map_or_else(|| "unknown".to_owned(), |elem| elem.to_string()),
        shape: port
            .dims
            .iter()
            .flatten()
            .map(ToString::to_string)
            .collect(),
    }
}

/// What is in a program of `file_bytes` bytes.
pub fn program(program: &Program, file_bytes: u64) -> ProgramFacts {
    let target = packwright_target::Target::from_toml(&program.target_toml);
    ProgramFacts {
        schema: PROGRAM_SCHEMA,
        model: program.model.clone(),
        tool: program.tool.clone(),
        precision: program.precision.clone(),
        target: target.map_or_else(|_| "unreadable".to_owned(), |target| target.name),
        format_version: VERSION,
        file_bytes,
        constants_bytes: program.constants.len(),
        constants_present: matches!(program.constants, Constants::Present(_)),
        origins: program.origins.len(),
        entries: program.entries.iter().map(entry).collect(),
    }
}

fn entry(entry: &Entry) -> EntryFacts {
    let ports = |ports: &[Port]| ports.iter().map(port).collect();
    EntryFacts {
        name: entry.name.clone(),
        binding: entry
            .binding
            .iter()
            .map(|(name, value)| Named {
                name: name.clone(),
                value: *value,
            })
            .collect(),
        registers: entry
            .registers
            .iter()
            .map(|register| Named {
                name: register.name.clone(),
                value: register.max,
            })
            .collect(),
        inputs: ports(&entry.inputs),
        outputs: ports(&entry.outputs),
        regions: entry
            .regions
            .iter()
            .map(|region| RegionFacts {
                name: region.name.clone(),
                kind: region.kind.to_string(),
                address: region.address,
                bytes: region.bytes,
            })
            .collect(),
        packets: entry.packets.len(),
        commands: entry
            .packets
            .iter()
            .map(|packet| packet.commands.len())
            .sum(),
        parameters: entry.facts.parameters,
        macs: entry.facts.macs,
        sram_peak_bytes: entry.facts.sram_peak,
        bound_dram_bytes: entry.bound.dram_bytes,
        bound_seconds: entry.bound.seconds,
    }
}

fn port(port: &Port) -> PortFacts {
    PortFacts {
        name: port.name.clone(),
        elem: port.elem.to_string(),
        shape: port.shape.iter().map(u64::to_string).collect(),
    }
}
