//! SRAM in use over a run: bytes count from their first write until a packet frees them.

use packwright_packet::access::{Access, Mode, Place, collect_accesses};
use packwright_packet::packet::Packet;
use packwright_packet::program::Entry;

use crate::report::Span;

/// Bytes that are counted together.
const GRAIN: u64 = 64;

/// Bytes in use from each cycle on, in order of time; changes at the starts and ends of packets.
pub fn occupancy(
    entry: &Entry,
    registers: &[u64],
    spans: &[Span],
    capacity: u64,
) -> Vec<(u64, u64)> {
    let mut bounds: Vec<Option<(u64, u64)>> = vec![None; entry.packets.len()];
    for span in spans {
        let (start, end) = bounds[span.packet as usize].get_or_insert((span.start, span.end));
        (*start, *end) = ((*start).min(span.start), (*end).max(span.end));
    }
    // Frees come before writes of the same cycle.
    let mut events: Vec<(u64, bool, usize)> = Vec::new();
    for (packet, bounds) in bounds.iter().enumerate() {
        if let Some((start, end)) = bounds {
            events.push((*start, true, packet));
            events.push((*end, false, packet));
        }
    }
    events.sort_unstable();
    let mut sram = Occupancy::new(capacity);
    let mut list: Vec<(u64, u64)> = vec![(0, 0)];
    for (cycle, starts, packet) in events {
        let content = &entry.packets[packet];
        match starts {
            true => sram.packet_starts(content, registers),
            false => sram.packet_ends(content),
        }
        match list.last_mut() {
            Some(last) if last.0 == cycle => last.1 = sram.bytes(),
            _ => list.push((cycle, sram.bytes())),
        }
    }
    list
}

/// The SRAM in use at one time.
#[derive(Clone, Debug)]
pub struct Occupancy {
    used: Vec<bool>,
    count: u64,
    accesses: Vec<Access>,
}

impl Occupancy {
    /// An empty SRAM.
    pub fn new(capacity: u64) -> Self {
        Self {
            used: vec![false; capacity.div_ceil(GRAIN) as usize],
            count: 0,
            accesses: Vec::new(),
        }
    }

    /// Bytes in use.
    pub fn bytes(&self) -> u64 {
        self.count * GRAIN
    }

    /// What a packet writes is in use from its start on.
    pub fn packet_starts(&mut self, packet: &Packet, registers: &[u64]) {
        for command in &packet.commands {
            collect_accesses(command, registers, &mut self.accesses);
            let written = self
                .accesses
                .iter()
                .filter(|access| access.place == Place::Sram && access.mode == Mode::Write);
            for access in written {
                let range = (access.extent.start, access.extent.end());
                self.count += mark(&mut self.used, range, true);
            }
        }
    }

    /// What a packet frees is in use until its end.
    pub fn packet_ends(&mut self, packet: &Packet) {
        for range in &packet.frees {
            let start = u64::from(range.addr);
            let end = start + u64::from(range.bytes);
            self.count -= mark(&mut self.used, (start, end), false);
        }
    }
}

/// Marks the grains of a range; tells how many change.
fn mark(used: &mut [bool], (start, end): (u64, u64), value: bool) -> u64 {
    let first = (start / GRAIN).min(used.len() as u64) as usize;
    let last = (end.div_ceil(GRAIN)).min(used.len() as u64) as usize;
    let mut changed = 0;
    for grain in &mut used[first..last.max(first)] {
        changed += u64::from(*grain != value);
        *grain = value;
    }
    changed
}
