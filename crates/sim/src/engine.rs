//! The events of a run: packets are fetched, decoded, wait for tokens, and send their commands to units
//! one after the other.
//!
//! Events at the same cycle happen in the order in which they were made; a free unit takes the command
//! of the packet with the highest priority, then the earliest in the stream. Nothing else chooses, so a
//! run is the same every time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use packwright_packet::access::{Access, Place, collect_accesses};
use packwright_packet::defs::{Command, Unit as Kind};
use packwright_packet::encode::packet_sizes;
use packwright_packet::operand::RegionId;
use packwright_packet::packet::Packet;
use packwright_packet::program::{Entry, Program, RegionKind};
use packwright_target::Target;

use crate::error::SimError;
use crate::observe::{Done, Observer};
use crate::part::dram::{Counters, Dram};
use crate::part::runs::{Runs, Transfer};
use crate::part::sram::{Banks, Ports};
use crate::part::{matrix, vector};
use crate::report::{Cause, Release, Span, UnitId};
use crate::simulate::Options;
use crate::tally::{KINDS, Tally, place};

mod blame;

/// Most pieces of the stream that are fetched at a time.
const MOST_FETCHES: u32 = 8;

/// A run in progress.
pub(crate) struct Engine<'a> {
    entry: &'a Entry,
    target: &'a Target,
    options: &'a Options,
    observer: Option<&'a mut dyn Observer>,
    dram: Dram,
    ports: Ports,
    /// What the present command asks of each bank.
    banks: Banks,
    tally: Tally,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    made: u64,
    now: u64,
    stream: Stream,
    packets: Vec<Progress>,
    tokens: Tokens,
    in_flight: u32,
    completed: usize,
    /// Packets whose next command is ready, by kind of unit.
    ready: [BinaryHeap<(u8, Reverse<usize>)>; 3],
    units: [Vec<Option<Job>>; 3],
    busy: [u64; 3],
    /// Commands that have not started.
    left: [u64; 3],
    /// Commands of each kind in the order of the stream: packet and place in it; those before `oldest`
    /// have started.
    queues: [Vec<(u32, u32)>; 3],
    oldest: [usize; 3],
    accesses: Vec<Access>,
    record: Record,
}

/// What is kept for the critical path and for traces.
#[derive(Default)]
struct Record {
    spans: Vec<Span>,
    decodes: Vec<Decode>,
    /// The last span of each unit.
    of_unit: [Vec<Option<u32>>; 3],
}

/// When a packet was decoded.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Decode {
    pub start: u64,
    pub end: u64,
    /// What it waited for last.
    pub release: Release,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A piece of the stream has come in.
    Fetched(usize),
    /// A packet is decoded.
    Issued(usize),
    /// A DMA engine sends its first requests.
    Begin(usize),
    /// A unit is done: kind and number.
    Done(usize, usize),
}

/// The fetch of the packet stream.
struct Stream {
    address: u64,
    /// End of each packet.
    ends: Vec<u64>,
    requested: u64,
    arrived: u64,
    /// Bytes that each port of the memory is fetching.
    pieces: Vec<u64>,
    /// Packets decoded, and whether one is being decoded.
    decoded: usize,
    decoding: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Tokens that it waits for.
    waits: usize,
    /// How many of its waits, from the first on, are known to be over.
    over: usize,
    next: usize,
    /// Whether the next command is on a unit.
    runs: bool,
    /// When the next command became ready, and by what.
    ready: u64,
    release: Release,
    /// The last span.
    span: Option<u32>,
}

/// What is known of each token.
#[derive(Clone, Debug, Default)]
struct Tokens {
    signalled: Vec<bool>,
    /// The packet that signals it.
    signaller: Vec<Option<u32>>,
    /// Packets that wait for it.
    waiting: Vec<Vec<u32>>,
    /// The tokens that packets wait for, one packet after the other, and where those of each end.
    waits: Vec<u32>,
    ends: Vec<u32>,
}

impl Tokens {
    /// Takes the tokens of the next packet.
    fn add(&mut self, packet: u32, content: &Packet) {
        let tokens = content.waits.iter().chain(&content.signals);
        let count = tokens.map(|token| token.0 as usize + 1).max().unwrap_or(0);
        if count > self.signalled.len() {
            self.signalled.resize(count, false);
            self.signaller.resize(count, None);
            self.waiting.resize(count, Vec::new());
        }
        for token in &content.signals {
            self.signaller[token.0 as usize] = Some(packet);
        }
        self.waits.extend(content.waits.iter().map(|token| token.0));
        self.ends.push(self.waits.len() as u32);
    }

    /// Where the waits of a packet lie in `waits`.
    fn of(&self, packet: usize) -> Range<usize> {
        let end = |packet: usize| self.ends[packet] as usize;
        packet.checked_sub(1).map_or(0, end)..end(packet)
    }
}

/// A command on a unit.
struct Job {
    packet: usize,
    start: u64,
    /// Cycles that it would take with the SRAM ports to itself; of a transfer, those that its end waits
    /// for the ports are found when it ends.
    alone: u64,
    /// When the SRAM ports have served a transfer.
    served: u64,
    span: Option<u32>,
    transfer: Option<Transfer>,
    /// The region and the bytes of a transfer.
    moves: Option<(RegionId, u64)>,
}

impl<'a> Engine<'a> {
    pub fn new(
        program: &Program,
        entry: &'a Entry,
        target: &'a Target,
        options: &'a Options,
        observer: Option<&'a mut dyn Observer>,
    ) -> Result<Self, SimError> {
        let ends = packet_sizes(&entry.packets)
            .into_iter()
            .scan(0, |sum, size| {
                *sum += u64::from(size);
                Some(*sum)
            });
        let region = entry
            .regions
            .iter()
            .find(|region| region.kind == RegionKind::Packets);
        let mut left = [0; 3];
        let mut queues: [Vec<(u32, u32)>; 3] = Default::default();
        let mut tokens = Tokens::default();
        for (packet, content) in entry.packets.iter().enumerate() {
            if content.origin.0 as usize >= program.origins.len() {
                return Err(SimError::NoOrigin {
                    packet,
                    origin: content.origin.0,
                });
            }
            for (at, command) in content.commands.iter().enumerate() {
                let kind = place(command.unit());
                left[kind] += 1;
                queues[kind].push((packet as u32, at as u32));
            }
            tokens.add(packet as u32, content);
        }
        let sequencer = &target.sequencer;
        let pieces = sequencer.buffer_bytes / sequencer.fetch_bytes;
        let pieces = pieces.clamp(1, MOST_FETCHES) as usize;
        let (dma, cores) = (target.dma.engines, target.cores);
        let free = |count: u32| (0..count).map(|_| None).collect();
        Ok(Self {
            entry,
            target,
            options,
            observer,
            dram: Dram::new(target, pieces, !options.exact)?,
            ports: Ports::new(target.sram_bytes_per_cycle()),
            banks: Banks::new(target),
            tally: Tally::new(target, entry.packets.len()),
            events: BinaryHeap::new(),
            made: 0,
            now: 0,
            stream: Stream {
                address: region.map_or(0, |region| region.address),
                ends: ends.collect(),
                requested: 0,
                arrived: 0,
                pieces: vec![0; pieces],
                decoded: 0,
                decoding: false,
            },
            packets: vec![Progress::default(); entry.packets.len()],
            tokens,
            in_flight: 0,
            completed: 0,
            ready: Default::default(),
            units: [free(dma), free(cores), free(cores)],
            busy: [0; 3],
            left,
            queues,
            oldest: [0; 3],
            accesses: Vec::new(),
            record: Record {
                of_unit: [dma, cores, cores].map(|count| vec![None; count as usize]),
                ..Record::default()
            },
        })
    }

    /// Runs to the end; returns its cycle.
    pub fn run(&mut self) -> Result<u64, SimError> {
        self.fetch();
        loop {
            let next = self.events.peek();
            let until = next.map_or(u64::MAX, |&Reverse((time, ..))| self.dram.clock(time));
            if let Some((port, end)) = self.dram.run(until) {
                self.arrive(port, self.dram.cycle(end).max(self.now));
                continue;
            }
            let Some(Reverse((time, _, event))) = self.events.pop() else {
                break;
            };
            self.account(time - self.now);
            self.now = time;
            match event {
                Event::Fetched(piece) => {
                    self.stream.arrived += std::mem::take(&mut self.stream.pieces[piece]);
                    self.fetch();
                    self.decode(Release::Stream);
                }
                Event::Issued(packet) => self.issue(packet),
                Event::Begin(unit) => self.begin(unit),
                Event::Done(kind, unit) => self.done(kind, unit),
            }
            self.dispatch()?;
        }
        if self.completed < self.entry.packets.len() {
            let waiting = self.entry.packets.len() - self.completed;
            let first = self.packets.iter().position(|p| p.waits > 0).unwrap_or(0);
            return Err(SimError::Deadlock { waiting, first });
        }
        Ok(self.now)
    }

    /// What was counted, what the memory saw, what was recorded.
    pub fn finish(self) -> (Tally, Counters, Vec<Span>, Vec<Decode>) {
        let Record { spans, decodes, .. } = self.record;
        (self.tally, self.dram.counters, spans, decodes)
    }

    fn schedule(&mut self, time: u64, event: Event) {
        self.events.push(Reverse((time, self.made, event)));
        self.made += 1;
    }

    /// Requests as much of the stream as the buffer takes; a packet longer than the buffer is taken as
    /// it comes.
    fn fetch(&mut self) {
        let total = self.stream.ends.last().copied().unwrap_or(0);
        let piece = u64::from(self.target.sequencer.fetch_bytes);
        let decoded = self.stream.decoded;
        let used = decoded
            .checked_sub(1)
            .map_or(0, |last| self.stream.ends[last]);
        let next = self.stream.ends.get(decoded).copied().unwrap_or(total);
        let room = u64::from(self.target.sequencer.buffer_bytes).max(next - used + piece);
        while self.stream.requested < total && self.stream.requested + piece <= used + room {
            let Some(slot) = self.stream.pieces.iter().position(|&bytes| bytes == 0) else {
                return;
            };
            let bytes = piece.min(total - self.stream.requested);
            let runs = Runs::one(self.stream.address + self.stream.requested, bytes);
            let (port, now) = (
                self.units[place(Kind::Dma)].len() + slot,
                self.dram.clock(self.now),
            );
            self.dram.start(port, now, runs, false);
            self.stream.pieces[slot] = bytes;
            self.stream.requested += bytes;
            self.tally.bytes.packets += bytes;
        }
    }

    /// The memory has moved all of a transfer or of a piece of the stream at core cycle `time`.
    fn arrive(&mut self, port: usize, time: u64) {
        let dma = place(Kind::Dma);
        match self.units[dma].get_mut(port) {
            Some(job) => {
                let end = job.as_ref().map_or(time, |job| job.served.max(time));
                if let Some(job) = job {
                    job.alone = time - job.start;
                }
                self.schedule(end, Event::Done(dma, port));
            }
            None => self.schedule(time, Event::Fetched(port - self.units[dma].len())),
        }
    }

    /// Starts to decode the next packet where it is there and the window has room.
    fn decode(&mut self, release: Release) {
        let next = self.stream.decoded;
        let Some(&end) = self.stream.ends.get(next) else {
            return;
        };
        let room = self.in_flight < self.target.sequencer.window;
        if self.stream.decoding || !room || self.stream.arrived < end {
            return;
        }
        self.stream.decoding = true;
        let sequencer = &self.target.sequencer;
        let commands = self.entry.packets[next].commands.len() as u64;
        let cycles = u64::from(sequencer.decode_cycles_per_packet)
            + commands * u64::from(sequencer.decode_cycles_per_command);
        if self.options.spans {
            self.record.decodes.push(Decode {
                start: self.now,
                end: self.now + cycles,
                release,
            });
        }
        self.schedule(self.now + cycles, Event::Issued(next));
    }

    fn issue(&mut self, packet: usize) {
        self.stream.decoding = false;
        self.stream.decoded += 1;
        self.in_flight += 1;
        self.fetch();
        for at in self.tokens.of(packet) {
            let token = self.tokens.waits[at] as usize;
            if !self.tokens.signalled[token] {
                self.tokens.waiting[token].push(packet as u32);
                self.packets[packet].waits += 1;
            }
        }
        self.packets[packet].release = Release::Decoded;
        if self.packets[packet].waits == 0 {
            self.advance(packet);
        }
        self.decode(Release::Decoded);
    }

    /// Makes the next command of a packet ready, or ends the packet.
    fn advance(&mut self, packet: usize) {
        let (progress, content) = (&mut self.packets[packet], &self.entry.packets[packet]);
        progress.ready = self.now;
        if let Some(command) = content.commands.get(progress.next) {
            let ready = &mut self.ready[place(command.unit())];
            ready.push((content.priority, Reverse(packet)));
            return;
        }
        self.completed += 1;
        self.in_flight -= 1;
        if let Some(observer) = &mut self.observer {
            observer.packet_ends(packet, self.now);
        }
        let last = progress.span.map_or(Release::Decoded, Release::Span);
        self.tally.packets[packet].packets += 1;
        for token in &content.signals {
            let token = token.0 as usize;
            self.tokens.signalled[token] = true;
            for waiting in std::mem::take(&mut self.tokens.waiting[token]) {
                let progress = &mut self.packets[waiting as usize];
                progress.waits -= 1;
                progress.release = last;
                if progress.waits == 0 {
                    self.advance(waiting as usize);
                }
            }
        }
        self.decode(last);
    }

    /// Gives ready commands to free units.
    fn dispatch(&mut self) -> Result<(), SimError> {
        for kind in 0..KINDS.len() {
            while let Some(unit) = self.units[kind].iter().position(Option::is_none) {
                let Some((_, Reverse(packet))) = self.ready[kind].pop() else {
                    break;
                };
                self.start(kind, unit, packet)?;
            }
        }
        Ok(())
    }

    fn start(&mut self, kind: usize, unit: usize, packet: usize) -> Result<(), SimError> {
        let content = &self.entry.packets[packet];
        let command = &content.commands[self.packets[packet].next];
        let registers = &self.options.registers;
        let now = self.now;
        collect_accesses(command, registers, &mut self.accesses);
        let in_sram = self
            .accesses
            .iter()
            .filter(|access| access.place == Place::Sram);
        let [left, right] = match command {
            Command::Matmul(product) => matrix::repeats(self.target, product, registers),
            _ => [1, 1],
        };
        let mut moved = 0u64;
        self.banks.clear();
        for access in in_sram {
            let times = match access.field {
                "a" => left,
                "b" => right,
                _ => 1,
            };
            moved = moved.saturating_add(access.bytes.saturating_mul(times));
            self.banks.add(access, times);
            self.tally.sram_peak = self.tally.sram_peak.max(access.extent.end());
        }
        let cost = &mut self.tally.packets[packet];
        self.tally.commands += 1;
        self.busy[kind] += 1;
        self.left[kind] -= 1;
        let mut job = Job {
            packet,
            start: now,
            alone: 0,
            served: now,
            span: None,
            transfer: None,
            moves: None,
        };
        let cycles = match command {
            Command::Matmul(product) => {
                let product = matrix::cost(self.target, product, registers);
                self.tally.macs += product.macs;
                self.tally.padding_macs += product.padding_macs;
                cost.macs += product.macs;
                product.cycles
            }
            Command::Load(_) | Command::Store(_) | Command::Gather(_) => {
                let transfer = Transfer::of(command, self.entry, registers);
                let transfer = transfer.ok_or(SimError::NoRegion { packet })?;
                let region = &self.entry.regions[usize::from(transfer.region.0)];
                *self.tally.bytes.of(region.kind, transfer.write) += transfer.bytes;
                *cost.dram.of(region.kind, transfer.write) += transfer.bytes;
                job.moves = Some((transfer.region, transfer.bytes));
                job.transfer = Some(transfer);
                u64::from(self.target.dma.setup_cycles)
            }
            _ => {
                let work = vector::cost(self.target, command, registers);
                self.tally.lane_operations += work.operations;
                work.cycles
            }
        };
        self.tally.sram_bytes += moved;
        let asked = self.banks.bytes();
        job.alone = cycles;
        let (event, end) = match &job.transfer {
            Some(_) => {
                // No transfer is faster than the pins.
                let least = (moved as f64 / self.target.peak_bytes_per_cycle()).ceil() as u64;
                job.served = self.ports.book(now, cycles + least, asked);
                (Event::Begin(unit), now + cycles)
            }
            None => (Event::Done(kind, unit), self.ports.book(now, cycles, asked)),
        };
        self.packets[packet].runs = true;
        if let Some(observer) = &mut self.observer
            && self.packets[packet].next == 0
        {
            observer.packet_starts(packet, unit_id(kind, unit), now);
        }
        if self.options.spans {
            job.span = Some(self.span(kind, unit, packet, &job));
        }
        self.units[kind][unit] = Some(job);
        self.schedule(end, event);
        Ok(())
    }

    /// Records the start of a command.
    fn span(&mut self, kind: usize, unit: usize, packet: usize, job: &Job) -> u32 {
        let progress = self.packets[packet];
        let command = &self.entry.packets[packet].commands[progress.next];
        let last = self.record.of_unit[kind][unit];
        let id = self.record.spans.len() as u32;
        self.record.of_unit[kind][unit] = Some(id);
        self.record.spans.push(Span {
            unit: unit_id(kind, unit),
            mnemonic: command.mnemonic(),
            packet: packet as u32,
            start: self.now,
            end: self.now,
            ports: 0,
            bytes: job.moves.map_or(0, |(_, bytes)| bytes),
            region: job.moves.map(|(region, _)| region),
            release: match last {
                Some(last) if self.now > progress.ready => Release::Span(last),
                _ => progress.release,
            },
        });
        id
    }

    /// Lets the memory work on the transfer of a DMA engine.
    fn begin(&mut self, unit: usize) {
        let job = &mut self.units[place(Kind::Dma)][unit];
        if let Some(transfer) = job.as_mut().and_then(|job| job.transfer.take()) {
            let now = self.dram.clock(self.now);
            self.dram.start(unit, now, transfer.runs, transfer.write);
        }
    }

    fn done(&mut self, kind: usize, unit: usize) {
        let Some(job) = self.units[kind][unit].take() else {
            return;
        };
        self.busy[kind] -= 1;
        let cycles = self.now - job.start;
        let ports = cycles - job.alone.min(cycles);
        let counted = &mut self.tally.units[kind][unit];
        counted.busy -= ports;
        counted.stall[Cause::Sram as usize] += ports;
        self.tally.add_work(job.packet, kind, cycles);
        let progress = &mut self.packets[job.packet];
        if let Some(observer) = &mut self.observer {
            observer.command_ends(&Done {
                unit: unit_id(kind, unit),
                command: &self.entry.packets[job.packet].commands[progress.next],
                packet: job.packet,
                start: job.start,
                end: self.now,
                ports,
                moves: job.moves,
            });
        }
        progress.next += 1;
        progress.runs = false;
        if let Some(span) = job.span {
            let recorded = &mut self.record.spans[span as usize];
            (recorded.end, recorded.ports) = (self.now, ports);
            progress.span = Some(span);
            progress.release = Release::Span(span);
        }
        self.advance(job.packet);
    }
}

fn unit_id(kind: usize, unit: usize) -> UnitId {
    UnitId {
        kind: KINDS[kind],
        number: unit as u32,
    }
}
