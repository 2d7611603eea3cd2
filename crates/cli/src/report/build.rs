//! Reports from programs and their simulations.

use packwright_packet::program::{Entry, Program};
use packwright_target::Target;

use crate::errors::{Failure, Problem};
use crate::report::json::{EntryReport, REPORT_SCHEMA, Report};

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
/// When the program cannot be simulated.
pub fn entry(
    program: &Program,
    entry: &Entry,
    target: &Target,
    registers: &[u64],
) -> Result<EntryReport, Failure> {
    let _ = (program, entry, target, registers);
    Err(Problem::unsupported(
        "simulation-unsupported",
        "this version does not simulate time yet",
    )
    .into())
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
