//! One pass of an entry over a machine at rest.

use packwright_packet::packet::OriginId;
use packwright_packet::program::{Entry, Program};
use packwright_target::Target;

use crate::engine::Engine;
use crate::error::SimError;
use crate::path;
use crate::report::{Layer, Report};

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
    let mut engine = Engine::new(program, entry, target, options)?;
    let cycles = engine.run()?;
    let seconds = target.seconds(cycles);
    let (tally, counters, spans, decodes) = engine.finish();
    tally.check(cycles, &counters)?;
    let path = path::critical(entry, &spans, &decodes);
    let packets = entry.packets.len() as u64;
    let dram = tally.dram(target, counters, seconds);
    let units = tally.units();
    let energy = tally.energy(target, &counters, packets, seconds);
    let limited_by = tally.limit(target, &dram, cycles);
    let layers = tally
        .layers
        .iter()
        .enumerate()
        .filter(|(_, cost)| cost.packets > 0);
    let layers = layers
        .map(|(i, cost)| Layer {
            origin: OriginId(i as u32),
            cost: *cost,
        })
        .collect();
    let report = Report {
        cycles,
        seconds,
        packets,
        commands: tally.commands,
        macs: tally.macs,
        lane_operations: tally.lane_operations,
        dram,
        sram_bytes: tally.sram_bytes,
        sram_peak: tally.sram_peak,
        units,
        energy,
        limited_by,
        layers,
        spans,
        path,
    };
    compare(entry, &report, target.to_toml() == program.target_toml)?;
    Ok(report)
}

/// Law: no run shows less traffic or less time than its bound. The least time is that of the machine that
/// the program was compiled for.
fn compare(entry: &Entry, report: &Report, own: bool) -> Result<(), SimError> {
    let bytes = report.dram.bytes.without_packets();
    if bytes < entry.bound.dram_bytes {
        return Err(SimError::BoundViolated {
            what: "DRAM traffic",
            found: format!("{bytes} bytes"),
            bound: format!("{} bytes", entry.bound.dram_bytes),
        });
    }
    if own && report.seconds < entry.bound.seconds {
        return Err(SimError::BoundViolated {
            what: "time",
            found: format!("{:e} s", report.seconds),
            bound: format!("{:e} s", entry.bound.seconds),
        });
    }
    Ok(())
}
