//! One pass of an entry over a machine at rest.

use packwright_packet::program::{Entry, Program};
use packwright_target::Target;

use crate::engine::Engine;
use crate::error::SimError;
use crate::observe::Observer;
use crate::path;
use crate::report::{Padding, Report};

/// What a simulation may choose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Contents of the entry's registers; missing ones are zero.
    pub registers: Vec<u64>,
    /// Whether to keep what every unit did when, and what the time hangs on.
    pub spans: bool,
    /// Whether every burst is chosen by the controllers, also where closed forms would do.
    pub exact: bool,
}

/// Simulates one cold pass: nothing is in SRAM at its start.
///
/// # Errors
/// When the program cannot run to its end on the target, or beats its bound.
pub fn simulate(
    program: &Program,
    entry: &Entry,
    target: &Target,
    options: &Options,
) -> Result<Report, SimError> {
    run(program, entry, target, options, None)
}

/// As [`simulate`]; an observer is told what happens.
///
/// # Errors
/// As [`simulate`].
pub fn simulate_observed<'a>(
    program: &Program,
    entry: &'a Entry,
    target: &'a Target,
    options: &'a Options,
    observer: &'a mut dyn Observer,
) -> Result<Report, SimError> {
    run(program, entry, target, options, Some(observer))
}

fn run<'a>(
    program: &Program,
    entry: &'a Entry,
    target: &'a Target,
    options: &'a Options,
    observer: Option<&'a mut dyn Observer>,
) -> Result<Report, SimError> {
    let mut engine = Engine::new(program, entry, target, options, observer)?;
    let cycles = engine.run()?;
    let seconds = target.seconds(cycles);
    let (tally, counters, spans, decodes) = engine.finish();
    let layers = tally.layers(entry, program.origins.len());
    tally.check(cycles, &counters, &layers)?;
    let path = path::critical(entry, &spans, &decodes);
    let packets = entry.packets.len() as u64;
    let dram = tally.dram(target, counters, seconds);
    let padding = Padding {
        dram_bytes: counters.burst_bytes.saturating_sub(dram.bytes.total()),
        macs: tally.padding_macs,
    };
    let units = tally.units();
    let energy = tally.energy(target, &counters, packets, seconds);
    let limited_by = tally.limit(target, &dram, cycles);
    let report = Report {
        cycles,
        seconds,
        packets,
        commands: tally.commands,
        macs: tally.macs,
        lane_operations: tally.lane_operations,
        padding,
        dram,
        sram_bytes: tally.sram_bytes,
        sram_peak: tally.sram_peak,
        units,
        energy,
        limited_by,
        layers,
        packet_costs: tally.packets,
        spans,
        path,
    };
    let own = target.to_toml() == program.target_toml;
    compare(entry, &report, &options.registers, own)?;
    Ok(report)
}

/// Law: no run shows less traffic or less time than its bound. The least time is that of the machine that
/// the program was compiled for.
fn compare(entry: &Entry, report: &Report, registers: &[u64], own: bool) -> Result<(), SimError> {
    let bytes = report.dram.bytes.without_packets();
    // Registers that are not given are zero.
    let mut values = registers.to_vec();
    values.resize(entry.registers.len(), 0);
    let (least_bytes, least_seconds) = entry.bound.at(&entry.registers, &values);
    if bytes < least_bytes {
        return Err(SimError::BoundViolated {
            what: "DRAM traffic",
            found: format!("{bytes} bytes"),
            bound: format!("{least_bytes} bytes"),
        });
    }
    if own && report.seconds < least_seconds {
        return Err(SimError::BoundViolated {
            what: "time",
            found: format!("{:e} s", report.seconds),
            bound: format!("{least_seconds:e} s"),
        });
    }
    Ok(())
}
