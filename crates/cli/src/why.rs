//! What the time hangs on: the critical path, and what more of each resource would save.

use packwright_packet::program::{Entry, Program};
use packwright_sim::Report;
use packwright_target::Target;

use crate::errors::Failure;
use crate::job::{self, SimulateChoices};
use crate::options;
use crate::report::json::{MoreReport, StepReport, WhyReport};

/// Makes the program of the same model for another machine.
pub type Recompile<'a> = &'a (dyn Fn(&Target) -> Result<Program, Failure> + Sync);

/// The critical path of a run, with layers by name.
pub fn path(program: &Program, report: &Report) -> Vec<StepReport> {
    let steps = report.path.iter().map(|step| StepReport {
        what: step.what.clone(),
        layer: program
            .origins
            .get(step.origin.0 as usize)
            .map_or_else(String::new, |origin| origin.layer.clone()),
        cycles: step.cycles,
    });
    steps.collect()
}

/// What a run of a judged program hangs on. Where the model can be compiled anew, it is, for each changed machine; otherwise the
/// same packets run there.
pub fn why(
    program: &Program,
    entry: &Entry,
    target: &Target,
    choices: &SimulateChoices,
    report: &Report,
    recompile: Option<Recompile<'_>>,
) -> WhyReport {
    let own = SimulateChoices {
        entry: Some(entry.name.clone()),
        ..choices.clone()
    };
    let more = variants(target, recompile.is_some())
        .into_iter()
        .map(|(resource, set)| {
            let cycles =
                options::adjust(target.clone(), std::slice::from_ref(&set)).and_then(|changed| {
                    let report = match recompile {
                        Some(recompile) => job::simulate(&recompile(&changed)?, &changed, &own)?,
                        // The machines differ in what the check does not read.
                        None => job::simulate_judged(program, &changed, &own)?,
                    };
                    Ok(report.entries.first().map_or(0, |entry| entry.cycles))
                });
            let cycles = cycles.ok();
            MoreReport {
                resource: resource.to_owned(),
                set,
                recompiled: recompile.is_some(),
                saves: cycles.map_or(0, |cycles| report.cycles as i64 - cycles as i64),
                cycles,
            }
        });
    let mut more: Vec<MoreReport> = more.collect();
    more.sort_by_key(|more| std::cmp::Reverse(more.saves));
    WhyReport {
        path: path(program, report),
        more,
    }
}

/// Machines with more of one thing: what it is called, and the override that makes it.
fn variants(target: &Target, recompiles: bool) -> Vec<(&'static str, String)> {
    let mut list = vec![
        (
            "twice the DRAM channels",
            format!("dram.channels={}", 2 * target.dram.channels),
        ),
        (
            "twice the columns of the array",
            format!("matrix.columns={}", 2 * target.matrix.columns),
        ),
        (
            "twice the vector lanes",
            format!("vector.lanes={}", 2 * target.vector.lanes),
        ),
        ("one more core", format!("cores={}", target.cores + 1)),
        (
            "twice the rate of the SRAM ports",
            format!(
                "sram.bank_bytes_per_cycle={}",
                2 * target.sram.bank_bytes_per_cycle
            ),
        ),
        (
            "one more DMA engine",
            format!("dma.engines={}", target.dma.engines + 1),
        ),
        (
            "twice the packet window",
            format!("sequencer.window={}", 2 * target.sequencer.window),
        ),
    ];
    if recompiles {
        list.push((
            "twice the SRAM",
            format!("sram.bytes={}", 2 * target.sram.bytes),
        ));
    }
    list
}
