//! The events of a run: packets are fetched, decoded, wait for tokens, and send their commands to units
//! one after the other.
//!
//! Events at the same cycle happen in the order in which they were made; a free unit takes the command
//! of the packet with the highest priority, then the earliest in the stream. Nothing else chooses, so a
//! run is the same every time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use packwright_packet::access::{Access, Place, collect_accesses};
use packwright_packet::defs::{Command, Unit as Kind};
use packwright_packet::encode::packet_sizes;
use packwright_packet::program::{Entry, Program, RegionKind};
use packwright_target::Target;

use crate::error::SimError;
use crate::part::dram::{Counters, Dram};
use crate::part::runs::{Runs, Transfer};
use crate::part::sram::Ports;
use crate::part::{matrix, vector};
use crate::report::Span;
use crate::simulate::Options;
use crate::tally::{KINDS, NAMES, Tally, place};

/// Most pieces of the stream that are fetched at a time.
const MOST_FETCHES: u32 = 8;

/// A run in progress.
pub(crate) struct Engine<'a> {
    entry: &'a Entry,
    target: &'a Target,
    options: &'a Options,
    dram: Dram,
    ports: Ports,
    tally: Tally,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    made: u64,
    now: u64,
    stream: Stream,
    packets: Vec<Progress>,
    /// Packets that wait for each token, or that it has been signalled.
    tokens: Vec<Token>,
    in_flight: u32,
    completed: usize,
    /// Packets whose next command is ready, by kind of unit.
    ready: [BinaryHeap<(u8, Reverse<usize>)>; 3],
    units: [Vec<Option<Job>>; 3],
    busy: [u64; 3],
    /// Commands that have not ended.
    left: [u64; 3],
    accesses: Vec<Access>,
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
    waits: usize,
    next: usize,
}

#[derive(Clone, Debug, Default)]
struct Token {
    signalled: bool,
    waiting: Vec<usize>,
}

/// A command on a unit.
struct Job {
    packet: usize,
    start: u64,
    /// When the SRAM ports have served a transfer.
    served: u64,
    transfer: Option<Transfer>,
}

impl<'a> Engine<'a> {
    pub fn new(
        program: &Program,
        entry: &'a Entry,
        target: &'a Target,
        options: &'a Options,
    ) -> Result<Self, SimError> {
        let ends = packet_sizes(&entry.packets)
            .into_iter()
            .scan(0, |sum, size| {
                *sum += u64::from(size);
                Some(*sum)
            });
        for (packet, content) in entry.packets.iter().enumerate() {
            if content.origin.0 as usize >= program.origins.len() {
                return Err(SimError::NoOrigin {
                    packet,
                    origin: content.origin.0,
                });
            }
        }
        let region = entry
            .regions
            .iter()
            .find(|region| region.kind == RegionKind::Packets);
        let tokens = entry
            .packets
            .iter()
            .flat_map(|p| p.signals.iter().chain(&p.waits));
        let tokens = tokens.map(|token| token.0 as usize + 1).max().unwrap_or(0);
        let mut left = [0; 3];
        for command in entry.packets.iter().flat_map(|packet| &packet.commands) {
            left[place(command.unit())] += 1;
        }
        let sequencer = &target.sequencer;
        let pieces = sequencer.buffer_bytes / sequencer.fetch_bytes;
        let pieces = pieces.clamp(1, MOST_FETCHES) as usize;
        let free = |count: u32| (0..count).map(|_| None).collect();
        Ok(Self {
            entry,
            target,
            options,
            dram: Dram::new(target, pieces, !options.exact)?,
            ports: Ports::new(target.sram_bytes_per_cycle()),
            tally: Tally::new(target, program.origins.len()),
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
            tokens: vec![Token::default(); tokens],
            in_flight: 0,
            completed: 0,
            ready: Default::default(),
            units: [
                free(target.dma.engines),
                free(target.cores),
                free(target.cores),
            ],
            busy: [0; 3],
            left,
            accesses: Vec::new(),
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
            self.tally.pass(time - self.now, self.busy, self.left);
            self.now = time;
            match event {
                Event::Fetched(piece) => {
                    self.stream.arrived += std::mem::take(&mut self.stream.pieces[piece]);
                    self.fetch();
                    self.decode();
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

    pub fn finish(self) -> (Tally, Counters) {
        (self.tally, self.dram.counters)
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
        match self.units[dma].get(port) {
            Some(job) => {
                let served = job.as_ref().map_or(0, |job| job.served);
                self.schedule(time.max(served), Event::Done(dma, port));
            }
            None => self.schedule(time, Event::Fetched(port - self.units[dma].len())),
        }
    }

    /// Starts to decode the next packet where it is there and the window has room.
    fn decode(&mut self) {
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
        self.tally.decoding += cycles;
        self.schedule(self.now + cycles, Event::Issued(next));
    }

    fn issue(&mut self, packet: usize) {
        self.stream.decoding = false;
        self.stream.decoded += 1;
        self.in_flight += 1;
        self.fetch();
        let waits = &self.entry.packets[packet].waits;
        for token in waits {
            let token = &mut self.tokens[token.0 as usize];
            if !token.signalled {
                token.waiting.push(packet);
                self.packets[packet].waits += 1;
            }
        }
        if self.packets[packet].waits == 0 {
            self.advance(packet);
        }
        self.decode();
    }

    /// Makes the next command of a packet ready, or ends the packet.
    fn advance(&mut self, packet: usize) {
        let (progress, content) = (&self.packets[packet], &self.entry.packets[packet]);
        if let Some(command) = content.commands.get(progress.next) {
            let ready = &mut self.ready[place(command.unit())];
            ready.push((content.priority, Reverse(packet)));
            return;
        }
        self.completed += 1;
        self.in_flight -= 1;
        let layer = &mut self.tally.layers[content.origin.0 as usize];
        layer.packets += 1;
        for token in &content.signals {
            let token = &mut self.tokens[token.0 as usize];
            token.signalled = true;
            for waiting in std::mem::take(&mut token.waiting) {
                self.packets[waiting].waits -= 1;
                if self.packets[waiting].waits == 0 {
                    self.advance(waiting);
                }
            }
        }
        self.decode();
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
        let mut moved = 0;
        for access in in_sram {
            moved += access.bytes;
            self.tally.sram_peak = self.tally.sram_peak.max(access.extent.end());
        }
        let layer = &mut self.tally.layers[content.origin.0 as usize];
        self.tally.commands += 1;
        self.busy[kind] += 1;
        let mut job = Job {
            packet,
            start: now,
            served: now,
            transfer: None,
        };
        let cycles = match command {
            Command::Matmul(product) => {
                let cost = matrix::cost(self.target, product, registers, moved);
                self.tally.macs += cost.macs;
                self.tally.padding_macs += cost.padding_macs;
                layer.macs += cost.macs;
                moved = cost.sram_bytes;
                cost.cycles
            }
            Command::Load(_) | Command::Store(_) | Command::Gather(_) => {
                let transfer = Transfer::of(command, self.entry, registers);
                let transfer = transfer.ok_or(SimError::NoRegion { packet })?;
                let region = &self.entry.regions[usize::from(transfer.region.0)];
                *self.tally.bytes.of(region.kind, transfer.write) += transfer.bytes;
                *layer.dram.of(region.kind, transfer.write) += transfer.bytes;
                job.transfer = Some(transfer);
                u64::from(self.target.dma.setup_cycles)
            }
            _ => {
                let cost = vector::cost(self.target, command, registers);
                self.tally.lane_operations += cost.operations;
                cost.cycles
            }
        };
        self.tally.sram_bytes += moved;
        let (event, end) = match &job.transfer {
            Some(_) => {
                // No transfer is faster than the pins.
                let least = (moved as f64 / self.target.peak_bytes_per_cycle()).ceil() as u64;
                job.served = self.ports.book(now, cycles + least, moved);
                (Event::Begin(unit), now + cycles)
            }
            None => (Event::Done(kind, unit), self.ports.book(now, cycles, moved)),
        };
        self.units[kind][unit] = Some(job);
        self.schedule(end, event);
        Ok(())
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
        self.left[kind] -= 1;
        let content = &self.entry.packets[job.packet];
        let command = &content.commands[self.packets[job.packet].next];
        let cycles = self.now - job.start;
        let layer = &mut self.tally.layers[content.origin.0 as usize];
        match KINDS[kind] {
            Kind::Dma => layer.dma_cycles += cycles,
            Kind::Matrix => layer.matrix_cycles += cycles,
            Kind::Vector => layer.vector_cycles += cycles,
        }
        if self.options.spans {
            self.tally.spans.push(Span {
                unit: format!("{} {unit}", NAMES[kind]),
                mnemonic: command.mnemonic(),
                packet: job.packet as u32,
                start: job.start,
                end: self.now,
            });
        }
        self.packets[job.packet].next += 1;
        self.advance(job.packet);
    }
}
