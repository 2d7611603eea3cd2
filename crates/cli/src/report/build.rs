//! Reports from programs and their simulations.

use indexmap::IndexMap;
use packwright_packet::defs::Command;
use packwright_packet::program::{Entry, Program};
use packwright_sim::observe::Observer;
use packwright_sim::report::{Bytes, Cause, Energy, Layer, LayerCost, Unit};
use packwright_sim::{Options, SimError, simulate, simulate_observed};
use packwright_target::Target;

use crate::errors::{Failure, Problem};
use crate::report::json::{
    BoundReport, DramBytes, EntryReport, LayerReport, PacketReport, PaddingReport, REPORT_SCHEMA,
    Report, UnitReport, Units,
};

/// The head of a report, without entries.
pub fn report(program: &Program, target: &Target) -> Report {
    Report {
        schema: REPORT_SCHEMA.into(),
        model: program.model.clone(),
        target: target.name.clone(),
        precision: program.precision.clone(),
        tool: program.tool.clone(),
        entries: Vec::new(),
    }
}

/// What the simulation of an entry says.
///
/// # Errors
/// When the program cannot be simulated, or beats its bound.
pub fn entry(
    program: &Program,
    entry: &Entry,
    target: &Target,
    options: &Options,
) -> Result<EntryReport, Failure> {
    let report = run(program, entry, target, options)?;
    Ok(entry_report(
        program,
        entry,
        target,
        &report,
        &options.registers,
    ))
}

/// Simulates an entry.
///
/// # Errors
/// When the program cannot be simulated, or beats its bound.
pub fn run(
    program: &Program,
    entry: &Entry,
    target: &Target,
    options: &Options,
) -> Result<packwright_sim::Report, Failure> {
    simulate(program, entry, target, options).map_err(|error| failed(entry, &error))
}

/// Simulates an entry; an observer is told what happens.
///
/// # Errors
/// As [`run`].
pub fn observed(
    program: &Program,
    entry: &Entry,
    target: &Target,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<packwright_sim::Report, Failure> {
    let report = simulate_observed(program, entry, target, options, observer);
    report.map_err(|error| failed(entry, &error))
}

fn failed(entry: &Entry, error: &SimError) -> Failure {
    Problem::error(error.code(), error.to_string())
        .help(error.help())
        .at(format!("entry {}", entry.name))
        .into()
}

/// A simulation in the words of the schema.
pub fn entry_report(
    program: &Program,
    entry: &Entry,
    target: &Target,
    report: &packwright_sim::Report,
    registers: &[u64],
) -> EntryReport {
    let bytes = dram_bytes(&report.dram.bytes);
    let rate = if report.seconds > 0.0 {
        bytes.total as f64 / report.seconds
    } else {
        0.0
    };
    EntryReport {
        name: entry.name.clone(),
        binding: entry.binding.iter().cloned().collect(),
        sequence_length: sequence_length(entry),
        parameters: entry.facts.parameters,
        macs: entry.facts.macs,
        macs_executed: report.macs,
        padding: PaddingReport {
            dram_bytes: report.padding.dram_bytes,
            macs: report.padding.macs,
        },
        weight_bytes: entry.facts.weight_bytes,
        packets: report.packets,
        commands: report.commands,
        cycles: report.cycles,
        seconds: report.seconds,
        energy_joules: report.energy.total(),
        limited_by: report.limited_by.name().into(),
        sram_peak_bytes: report.sram_peak,
        dram_bytes: bytes,
        dram_bytes_per_second: rate,
        dram_peak_bytes_per_second: target.peak_bytes_per_second(),
        bound: bound(entry, report, registers),
        units: Units {
            dma: units(&report.units.dma),
            matrix: units(&report.units.matrix),
            vector: units(&report.units.vector),
            sequencer: units(&report.units.sequencer),
        },
        energy: energy(&report.energy),
        layers: report
            .layers
            .iter()
            .map(|layer| layer_report(program, layer))
            .collect(),
        notes: notes(entry),
        why: None,
        packet_costs: Vec::new(),
        sram_over_time: Vec::new(),
    }
}

/// What each packet of an entry cost.
pub fn packet_reports(
    program: &Program,
    entry: &Entry,
    report: &packwright_sim::Report,
) -> Vec<PacketReport> {
    let costs = entry.packets.iter().zip(&report.packet_costs);
    let packets = (0..).zip(costs).map(|(packet, (content, cost))| {
        let origin = program.origins.get(content.origin.0 as usize);
        PacketReport {
            packet,
            layer: origin.map_or_else(String::new, |origin| origin.layer.clone()),
            what: origin.map_or_else(String::new, |origin| origin.what.clone()),
            commands: content.commands.len() as u64,
            busy: busy(cost),
            macs: cost.macs,
            dram_bytes: dram_bytes(&cost.dram),
        }
    });
    packets.collect()
}

/// Cycles on each kind of unit.
fn busy(cost: &LayerCost) -> IndexMap<String, u64> {
    let busy = [
        ("dma", cost.dma_cycles),
        ("matrix", cost.matrix_cycles),
        ("vector", cost.vector_cycles),
    ];
    let busy = busy.into_iter();
    busy.map(|(unit, cycles)| (unit.to_owned(), cycles))
        .collect()
}

/// What the numbers of an entry assume.
fn notes(entry: &Entry) -> Vec<String> {
    let mut commands = entry.packets.iter().flat_map(|packet| &packet.commands);
    let sorts = commands.any(|command| matches!(command, Command::Sort(_)));
    let note = "rows are sorted and gathered by values: the time is that of the worst case, a whole \
                sorting network and every row moved, and is the same for all values";
    sorts.then(|| note.to_owned()).into_iter().collect()
}

/// Traffic by category as the schema names it.
pub fn dram_bytes(bytes: &Bytes) -> DramBytes {
    DramBytes {
        weights: bytes.weights,
        embeddings: bytes.embeddings,
        inputs: bytes.inputs,
        outputs: bytes.outputs,
        spill_write: bytes.spill_write,
        spill_read: bytes.spill_read,
        kv_read: bytes.kv_read,
        kv_write: bytes.kv_write,
        packets: bytes.packets,
        total: bytes.total(),
    }
}

fn bound(entry: &Entry, report: &packwright_sim::Report, registers: &[u64]) -> BoundReport {
    let bound = &entry.bound;
    let (dram_bytes, seconds) = bound.at(&entry.registers, registers);
    let ratio = |found: f64, least: f64| if least > 0.0 { found / least } else { 1.0 };
    BoundReport {
        dram_bytes,
        attainable_dram_bytes: bound.attainable_dram_bytes - (bound.dram_bytes - dram_bytes),
        seconds,
        attainable_seconds: bound.attainable_seconds - (bound.seconds - seconds),
        binding_term: bound.binding_term.clone(),
        terms: bound.terms.iter().cloned().collect(),
        dram_ratio: ratio(
            report.dram.bytes.without_packets() as f64,
            dram_bytes as f64,
        ),
        time_ratio: ratio(report.seconds, seconds),
    }
}

fn units(units: &[Unit]) -> UnitReport {
    let one = |unit: &Unit| UnitReport {
        count: 1,
        busy: unit.busy,
        idle: unit.idle,
        stall: stalls([unit]),
        each: Vec::new(),
    };
    UnitReport {
        count: units.len() as u64,
        busy: units.iter().map(|unit| unit.busy).sum(),
        idle: units.iter().map(|unit| unit.idle).sum(),
        stall: stalls(units),
        each: match units.len() {
            0 | 1 => Vec::new(),
            _ => units.iter().map(one).collect(),
        },
    }
}

fn stalls<'u>(units: impl IntoIterator<Item = &'u Unit> + Clone) -> IndexMap<String, u64> {
    let of = |cause: Cause| {
        units
            .clone()
            .into_iter()
            .map(|unit| unit.stall[cause as usize])
            .sum()
    };
    let causes = Cause::ALL
        .into_iter()
        .map(|cause| (cause.name().to_owned(), of(cause)));
    causes.filter(|&(_, cycles)| cycles > 0).collect()
}

fn energy(energy: &Energy) -> IndexMap<String, f64> {
    let parts = [
        ("dram", energy.dram),
        ("sram", energy.sram),
        ("matrix", energy.matrix),
        ("vector", energy.vector),
        ("sequencer", energy.sequencer),
        ("leakage", energy.leakage),
    ];
    parts
        .into_iter()
        .map(|(part, joules)| (part.to_owned(), joules))
        .collect()
}

fn layer_report(program: &Program, layer: &Layer) -> LayerReport {
    let origin = program.origins.get(layer.origin.0 as usize);
    let cost = &layer.cost;
    LayerReport {
        layer: origin.map_or_else(String::new, |origin| origin.layer.clone()),
        what: origin.map_or_else(String::new, |origin| origin.what.clone()),
        packets: cost.packets,
        busy: busy(cost),
        macs: cost.macs,
        dram_bytes: dram_bytes(&cost.dram),
    }
}

/// Positions of one pass, as the inputs tell.
pub fn sequence_length(entry: &Entry) -> u64 {
    let ids = entry
        .inputs
        .iter()
        .find(|port| port.name.ends_with("input_ids"));
    let port = ids.or_else(|| entry.inputs.iter().find(|port| port.shape.len() == 2));
    port.and_then(|port| port.shape.get(1).copied())
        .unwrap_or(0)
}
