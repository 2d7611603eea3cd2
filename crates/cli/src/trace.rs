//! Traces in Chrome's event format, for Perfetto: a process for each entry, a thread for each unit.
//!
//! Commands are slices with the names of their layers, tokens are arrows from the last command of the packet
//! that signals them to the first of each that waits, counters show DRAM bandwidth and SRAM in use. Events are
//! written while the simulation runs and not kept, so that memory does not grow with their number; times are
//! microseconds.

use std::io::{self, Write};

use packwright_packet::defs::Unit as Kind;
use packwright_packet::program::{Entry, Program};
use packwright_sim::observe::{Done, Observer};
use packwright_sim::occupancy::Occupancy;
use packwright_sim::report::{Span, UnitId};
use packwright_sim::{Options, Report};
use packwright_target::Target;
use serde_json::{Value, json};

use crate::errors::Failure;
use crate::job::{self, SimulateChoices};
use crate::report::build;

/// Points of a counter over a run.
const POINTS: u64 = 512;

/// Simulates entries of a judged program, with what units did when and what the time hangs on.
///
/// # Errors
/// As [`job::simulate_judged`].
pub fn simulate<'p>(
    program: &'p Program,
    target: &Target,
    choices: &SimulateChoices,
) -> Result<Vec<(&'p Entry, Options, Report)>, Failure> {
    let entries = job::entries(program, choices.entry.as_deref())?;
    let runs = entries.into_iter().map(|entry| {
        let options = choices.options(entry, true)?;
        let report = build::run(program, entry, target, &options)?;
        Ok((entry, options, report))
    });
    runs.collect()
}

/// Simulates entries of a judged program, and writes what happens as it happens. `cycles` are those of the runs, as a
/// simulation before has found them.
///
/// # Errors
/// When the writer fails; as [`job::simulate_judged`], in the words of an input or output error.
pub fn write(
    program: &Program,
    target: &Target,
    choices: &SimulateChoices,
    cycles: &[u64],
    out: &mut dyn Write,
) -> io::Result<()> {
    let failed = |failure: Failure| io::Error::other(failure.to_string());
    write!(out, "{{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
    let mut events = Events { out, first: true };
    let entries = job::entries(program, choices.entry.as_deref()).map_err(failed)?;
    for (process, (entry, &cycles)) in entries.into_iter().zip(cycles).enumerate() {
        let options = choices.options(entry, false).map_err(failed)?;
        let mut tracer = Tracer {
            program,
            entry,
            target,
            registers: &options.registers,
            process,
            events: &mut events,
            failed: None,
            arrows: Arrows::new(entry),
            sram: Occupancy::new(target.sram.bytes),
            counted: (0, 0),
            bandwidth: Bandwidth::new(cycles),
        };
        tracer.names()?;
        build::observed(program, entry, target, &options, &mut tracer).map_err(failed)?;
        tracer.finish()?;
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

/// Writes down a run.
struct Tracer<'a, 'w> {
    program: &'a Program,
    entry: &'a Entry,
    target: &'a Target,
    registers: &'a [u64],
    process: usize,
    events: &'a mut Events<'w>,
    /// Why nothing more is written.
    failed: Option<io::Error>,
    arrows: Arrows,
    sram: Occupancy,
    /// The cycle of the last point of the SRAM counter, and its bytes.
    counted: (u64, u64),
    bandwidth: Bandwidth,
}

impl Tracer<'_, '_> {
    fn time(&self, cycle: u64) -> f64 {
        self.target.seconds(cycle) * 1e6
    }

    fn units(&self) -> impl Iterator<Item = UnitId> {
        let (engines, cores) = (self.target.dma.engines, self.target.cores);
        let kinds = [
            (Kind::Dma, engines),
            (Kind::Matrix, cores),
            (Kind::Vector, cores),
        ];
        let of_kind = |(kind, count)| (0..count).map(move |number| UnitId { kind, number });
        kinds.into_iter().flat_map(of_kind)
    }

    fn thread(&self, unit: UnitId) -> u32 {
        let (engines, cores) = (self.target.dma.engines, self.target.cores);
        unit.number
            + match unit.kind {
                Kind::Dma => 0,
                Kind::Matrix => engines,
                Kind::Vector => engines + cores,
            }
    }

    fn push(&mut self, event: &Value) {
        if self.failed.is_none() {
            self.failed = self.events.push(event).err();
        }
    }

    /// Names of the process and its threads.
    fn names(&mut self) -> io::Result<()> {
        let process = self.process;
        self.events.push(&json!({
            "ph": "M", "name": "process_name", "pid": process, "args": {"name": self.entry.name},
        }))?;
        let units: Vec<UnitId> = self.units().collect();
        for unit in units {
            let thread = self.thread(unit);
            self.events.push(&json!({
                "ph": "M", "name": "thread_name", "pid": process, "tid": thread,
                "args": {"name": unit.to_string()},
            }))?;
        }
        Ok(())
    }

    /// An arrow for each token that a packet waited for, to its first command.
    fn arrows(&mut self, packet: usize, unit: UnitId, cycle: u64) {
        let entry = self.entry;
        for token in &entry.packets[packet].waits {
            let Some(from) = self.arrows.last_of_signaller(token.0) else {
                continue;
            };
            let id = self.arrows.number();
            let name = format!("t{}", token.0);
            // An arrow starts and ends inside of slices.
            let leaves = from.end.saturating_sub(1).max(from.start);
            self.push(&json!({
                "ph": "s", "pid": self.process, "tid": self.thread(from.unit), "id": id, "name": name,
                "cat": "token", "ts": self.time(leaves),
            }));
            self.push(&json!({
                "ph": "f", "bp": "e", "pid": self.process, "tid": self.thread(unit), "id": id, "name": name,
                "cat": "token", "ts": self.time(cycle),
            }));
        }
    }

    /// A point of the SRAM counter, once the last change of a cycle is known.
    fn count(&mut self, cycle: u64) {
        let (last, bytes) = self.counted;
        if cycle > last {
            self.push(&json!({
                "ph": "C", "pid": self.process, "name": "SRAM bytes", "ts": self.time(last),
                "args": {"bytes": bytes},
            }));
        }
        self.counted = (cycle, self.sram.bytes());
    }

    fn finish(mut self) -> io::Result<()> {
        self.count(u64::MAX);
        let stretches: Vec<_> = self.bandwidth.stretches().collect();
        for (start, end, bytes) in stretches {
            let gigabytes = bytes / self.target.seconds(end - start) / 1e9;
            self.push(&json!({
                "ph": "C", "pid": self.process, "name": "DRAM GB/s", "ts": self.time(start),
                "args": {"GB/s": gigabytes},
            }));
        }
        self.failed.map_or(Ok(()), Err)
    }
}

impl Observer for Tracer<'_, '_> {
    fn packet_starts(&mut self, packet: usize, unit: UnitId, cycle: u64) {
        self.arrows(packet, unit, cycle);
        let entry = self.entry;
        self.sram
            .packet_starts(&entry.packets[packet], self.registers);
        self.count(cycle);
    }

    fn command_ends(&mut self, done: &Done<'_>) {
        let packet = &self.entry.packets[done.packet];
        let origin = &self.program.origins[packet.origin.0 as usize];
        let bytes = done.moves.map_or(0, |(_, bytes)| bytes);
        self.push(&json!({
            "ph": "X", "pid": self.process, "tid": self.thread(done.unit),
            "name": done.command.mnemonic(), "cat": origin.layer,
            "ts": self.time(done.start), "dur": self.time(done.end - done.start),
            "args": {"packet": done.packet, "layer": origin.layer, "what": origin.what,
                     "bytes": bytes, "held up by SRAM ports": done.ports},
        }));
        self.bandwidth.add(done.start, done.end, bytes);
        self.arrows.command_ends(done);
    }

    fn packet_ends(&mut self, packet: usize, cycle: u64) {
        let entry = self.entry;
        self.sram.packet_ends(&entry.packets[packet]);
        self.count(cycle);
    }
}

/// Where arrows leave: the last command of each packet that is done.
struct Arrows {
    /// The packet that signals each token.
    signallers: Vec<Option<u32>>,
    last: Vec<Option<Leaves>>,
    count: u64,
}

/// The slice that an arrow leaves.
#[derive(Clone, Copy)]
struct Leaves {
    unit: UnitId,
    start: u64,
    end: u64,
}

impl Arrows {
    fn new(entry: &Entry) -> Self {
        let tokens = entry.packets.iter().flat_map(|p| p.signals.iter());
        let count = tokens.map(|token| token.0 as usize + 1).max().unwrap_or(0);
        let mut signallers = vec![None; count];
        for (packet, content) in (0..).zip(&entry.packets) {
            for token in &content.signals {
                signallers[token.0 as usize] = Some(packet);
            }
        }
        Self {
            signallers,
            last: vec![None; entry.packets.len()],
            count: 0,
        }
    }

    fn command_ends(&mut self, done: &Done<'_>) {
        self.last[done.packet] = Some(Leaves {
            unit: done.unit,
            start: done.start,
            end: done.end,
        });
    }

    fn last_of_signaller(&self, token: u32) -> Option<Leaves> {
        let signaller = self.signallers.get(token as usize).copied().flatten()?;
        self.last[signaller as usize]
    }

    fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }
}

/// Bytes that transfers moved, by stretches of a run. A transfer moves its bytes evenly.
#[derive(Clone, Debug)]
pub struct Bandwidth {
    cycles: u64,
    width: u64,
    bytes: Vec<f64>,
}

impl Bandwidth {
    /// For a run of so many cycles.
    pub fn new(cycles: u64) -> Self {
        let width = cycles.div_ceil(POINTS).max(1);
        Self {
            cycles,
            width,
            bytes: vec![0.0; cycles.div_ceil(width) as usize],
        }
    }

    /// Adds a transfer.
    pub fn add(&mut self, start: u64, end: u64, bytes: u64) {
        if bytes == 0 || end <= start {
            return;
        }
        let rate = bytes as f64 / (end - start) as f64;
        let (first, last) = (start / self.width, end.div_ceil(self.width));
        let stretches = self.bytes.iter_mut().enumerate();
        for (place, sum) in stretches.skip(first as usize).take((last - first) as usize) {
            let from = place as u64 * self.width;
            let to = from + self.width;
            *sum += rate * (end.min(to) - start.max(from)) as f64;
        }
    }

    /// Start, end, bytes of each stretch.
    pub fn stretches(&self) -> impl Iterator<Item = (u64, u64, f64)> {
        self.bytes.iter().enumerate().map(|(place, &bytes)| {
            let start = place as u64 * self.width;
            (start, (start + self.width).min(self.cycles), bytes)
        })
    }
}

/// The bandwidth over a run whose spans were kept.
pub fn bandwidth(spans: &[Span], cycles: u64) -> Bandwidth {
    let mut bandwidth = Bandwidth::new(cycles);
    for span in spans {
        bandwidth.add(span.start, span.end, span.bytes);
    }
    bandwidth
}
