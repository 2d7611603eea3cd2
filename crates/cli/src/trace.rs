//! Traces in Chrome's event format, for Perfetto: a process for each entry, a thread for each unit.
//!
//! Commands are slices with the names of their layers, tokens are arrows from the last command of the packet
//! that signals them to the first of each that waits, counters show DRAM bandwidth and SRAM in use. Events are
//! written one by one; times are microseconds.

use std::io::{self, Write};

use packwright_packet::program::{Entry, Program};
use packwright_sim::occupancy::occupancy;
use packwright_sim::report::Span;
use packwright_sim::{Options, Report};
use packwright_target::Target;
use serde_json::{Value, json};

use crate::errors::Failure;
use crate::job::{self, SimulateChoices};
use crate::report::build;

/// Points of a counter over a run.
const POINTS: u64 = 512;

/// Simulates entries with all that a trace shows.
///
/// # Errors
/// As [`job::simulate`].
pub fn simulate<'p>(
    program: &'p Program,
    target: &Target,
    choices: &SimulateChoices,
) -> Result<Vec<(&'p Entry, Options, Report)>, Failure> {
    job::judge(program, target)?;
    let entries = job::entries(program, choices.entry.as_deref())?;
    let runs = entries.into_iter().map(|entry| {
        let options = choices.options(entry, true)?;
        let report = build::run(program, entry, target, &options)?;
        Ok((entry, options, report))
    });
    runs.collect()
}

/// Writes the trace of some runs.
///
/// # Errors
/// When the writer fails.
pub fn write(
    program: &Program,
    target: &Target,
    runs: &[(&Entry, Options, Report)],
    out: &mut dyn Write,
) -> io::Result<()> {
    write!(out, "{{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
    let mut events = Events { out, first: true };
    for (process, run) in runs.iter().enumerate() {
        entry(program, target, process, run, &mut events)?;
    }
    writeln!(events.out, "\n]}}")
}

/// Events, separated by commas.
struct Events<'a> {
    out: &'a mut dyn Write,
    first: bool,
}

impl Events<'_> {
    fn push(&mut self, event: &Value) -> io::Result<()> {
        let comma = if self.first { "\n" } else { ",\n" };
        self.first = false;
        write!(self.out, "{comma}{event}")
    }
}

fn entry(
    program: &Program,
    target: &Target,
    process: usize,
    (entry, options, report): &(&Entry, Options, Report),
    events: &mut Events<'_>,
) -> io::Result<()> {
    let time = |cycle: u64| target.seconds(cycle) * 1e6;
    events.push(&json!({
        "ph": "M", "name": "process_name", "pid": process, "args": {"name": entry.name},
    }))?;
    let mut units: Vec<String> = report
        .spans
        .iter()
        .map(|span| span.unit.to_string())
        .collect();
    units.sort_unstable();
    units.dedup();
    for (thread, unit) in units.iter().enumerate() {
        events.push(&json!({
            "ph": "M", "name": "thread_name", "pid": process, "tid": thread,
            "args": {"name": unit},
        }))?;
    }
    let thread = |span: &Span| units.binary_search(&span.unit.to_string()).unwrap_or(0);
    for span in &report.spans {
        let origin = &program.origins[entry.packets[span.packet as usize].origin.0 as usize];
        events.push(&json!({
            "ph": "X", "pid": process, "tid": thread(span),
            "name": span.mnemonic, "cat": origin.layer,
            "ts": time(span.start), "dur": time(span.end - span.start),
            "args": {"packet": span.packet, "layer": origin.layer, "what": origin.what,
                     "bytes": span.bytes, "held up by SRAM ports": span.ports},
        }))?;
    }
    arrows(entry, report, process, &thread, &time, events)?;
    for (start, end, rate) in bandwidth(&report.spans, report.cycles) {
        let gigabytes = rate / target.seconds(end - start) / 1e9;
        events.push(&json!({
            "ph": "C", "pid": process, "name": "DRAM GB/s", "ts": time(start),
            "args": {"GB/s": gigabytes},
        }))?;
    }
    for (cycle, bytes) in occupancy(entry, &options.registers, &report.spans, target.sram.bytes) {
        events.push(&json!({
            "ph": "C", "pid": process, "name": "SRAM bytes", "ts": time(cycle),
            "args": {"bytes": bytes},
        }))?;
    }
    Ok(())
}

/// An arrow for each token and packet that waits for it.
fn arrows(
    entry: &Entry,
    report: &Report,
    process: usize,
    thread: &dyn Fn(&Span) -> usize,
    time: &dyn Fn(u64) -> f64,
    events: &mut Events<'_>,
) -> io::Result<()> {
    let mut first: Vec<Option<&Span>> = vec![None; entry.packets.len()];
    let mut last = first.clone();
    for span in &report.spans {
        first[span.packet as usize].get_or_insert(span);
        last[span.packet as usize] = Some(span);
    }
    let tokens = entry.packets.iter().flat_map(|p| p.signals.iter());
    let count = tokens.map(|token| token.0 as usize + 1).max().unwrap_or(0);
    let mut signaller: Vec<Option<&Span>> = vec![None; count];
    for (packet, content) in entry.packets.iter().enumerate() {
        for token in &content.signals {
            signaller[token.0 as usize] = last[packet];
        }
    }
    let mut id = 0u64;
    for (packet, content) in entry.packets.iter().enumerate() {
        for token in &content.waits {
            let from = signaller.get(token.0 as usize).copied().flatten();
            let (Some(from), Some(to)) = (from, first[packet]) else {
                continue;
            };
            id += 1;
            let name = format!("t{}", token.0);
            // An arrow starts and ends inside of slices.
            let leaves = from.end.saturating_sub(1).max(from.start);
            events.push(&json!({
                "ph": "s", "pid": process, "tid": thread(from), "id": id, "name": name,
                "cat": "token", "ts": time(leaves),
            }))?;
            events.push(&json!({
                "ph": "f", "bp": "e", "pid": process, "tid": thread(to), "id": id, "name": name,
                "cat": "token", "ts": time(to.start),
            }))?;
        }
    }
    Ok(())
}

/// Bytes that transfers moved, by stretches of the run: start, end, bytes. A transfer moves its bytes evenly.
pub fn bandwidth(spans: &[Span], cycles: u64) -> Vec<(u64, u64, f64)> {
    let width = cycles.div_ceil(POINTS).max(1);
    let mut bytes = vec![0.0; cycles.div_ceil(width) as usize];
    for span in spans
        .iter()
        .filter(|span| span.bytes > 0 && span.end > span.start)
    {
        let rate = span.bytes as f64 / (span.end - span.start) as f64;
        for (place, sum) in bytes
            .iter_mut()
            .enumerate()
            .skip((span.start / width) as usize)
            .take((span.end.div_ceil(width) - span.start / width) as usize)
        {
            let (start, end) = (place as u64 * width, (place as u64 + 1) * width);
            *sum += rate * (span.end.min(end) - span.start.max(start)) as f64;
        }
    }
    let stretches = bytes.into_iter().enumerate();
    stretches
        .map(|(place, sum)| {
            let start = place as u64 * width;
            (start, (start + width).min(cycles), sum)
        })
        .collect()
}
