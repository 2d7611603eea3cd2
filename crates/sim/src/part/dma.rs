//! DMA: a transfer as runs of DRAM bytes, with a limit on requests under way.

use std::collections::VecDeque;

use packwright_packet::defs::Command;
use packwright_packet::operand::{Block, DramRef, RegionId};
use packwright_packet::program::Entry;

use super::dram::Dram;

/// Granules that an engine requests before others get their turn.
const TURN: usize = 16;

/// A transfer under way.
#[derive(Clone, Debug)]
pub struct Transfer {
    runs: Vec<(u64, u64)>,
    next: usize,
    /// Bytes of the present run that are requested.
    done: u64,
    write: bool,
    /// Clocks at which the requests under way are served.
    under_way: VecDeque<u64>,
    last: u64,
    pub bytes: u64,
    pub region: RegionId,
}

/// What an engine does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More requests at this core cycle.
    Again(u64),
    /// The transfer ends at this core cycle.
    End(u64),
}

impl Transfer {
    /// The transfer of a command; `None` where its region does not exist.
    pub fn of(command: &Command, entry: &Entry, registers: &[u64]) -> Option<Self> {
        let (reference, write) = match command {
            Command::Load(c) => (&c.src, false),
            Command::Store(c) => (&c.dst, true),
            Command::Gather(c) => (&c.table, false),
            _ => return None,
        };
        let base = base(entry, reference, registers)?;
        let runs = match command {
            Command::Load(c) => block_runs(base, &c.block, registers),
            Command::Store(c) => block_runs(base, &c.block, registers),
            Command::Gather(c) => {
                // Rows without bytes move nothing, however many there are.
                let rows = if c.row_bytes == 0 {
                    0
                } else {
                    c.count.at(registers)
                };
                let row = |i| base + spread(i, c.table_rows) * c.row_pitch;
                (0..rows)
                    .map(|i| (row(i), u64::from(c.row_bytes)))
                    .collect()
            }
            _ => Vec::new(),
        };
        let bytes = runs.iter().map(|&(_, bytes)| bytes).sum();
        let region = reference.region;
        let under_way = VecDeque::new();
        Some(Self {
            runs,
            next: 0,
            done: 0,
            write,
            under_way,
            last: 0,
            bytes,
            region,
        })
    }

    /// Whether bytes go to DRAM.
    pub fn writes(&self) -> bool {
        self.write
    }

    /// Sends requests from core cycle `now` on.
    pub fn step(&mut self, dram: &mut Dram, now: u64, outstanding_bursts: u32) -> Next {
        let limit = (u64::from(outstanding_bursts) / dram.granule_bursts()).max(1) as usize;
        let mut arrival = dram.clock(now);
        for _ in 0..TURN {
            let Some(&(address, bytes)) = self.runs.get(self.next) else {
                return Next::End(dram.cycle(self.last).max(now));
            };
            if self.under_way.len() >= limit {
                arrival = arrival.max(self.under_way.pop_front().unwrap_or(0));
            }
            let (served, end) =
                dram.serve(arrival, address + self.done, bytes - self.done, self.write);
            self.under_way.push_back(end);
            self.last = self.last.max(end);
            self.done += served;
            if self.done == bytes {
                (self.next, self.done) = (self.next + 1, 0);
            }
        }
        if self.next == self.runs.len() {
            return Next::End(dram.cycle(self.last).max(now));
        }
        let free = if self.under_way.len() >= limit {
            self.under_way.front()
        } else {
            None
        };
        Next::Again(dram.cycle(free.copied().unwrap_or(arrival)).max(now))
    }
}

/// The DRAM address that a reference names.
fn base(entry: &Entry, reference: &DramRef, registers: &[u64]) -> Option<u64> {
    let region = entry.regions.get(usize::from(reference.region.0))?;
    Some(
        region
            .address
            .saturating_add(reference.offset.at(registers)),
    )
}

/// The runs of a block; those that follow each other become one.
fn block_runs(base: u64, block: &Block, registers: &[u64]) -> Vec<(u64, u64)> {
    let [a, b, c] = block.count.map(|count| count.at(registers));
    let bytes = block.bytes.at(registers);
    let mut runs: Vec<(u64, u64)> = Vec::new();
    if bytes == 0 {
        return runs;
    }
    for i in 0..a {
        for j in 0..b {
            for l in 0..c {
                let start = base + i * block.dram[0] + j * block.dram[1] + l * block.dram[2];
                match runs.last_mut() {
                    Some((first, length)) if *first + *length == start => *length += bytes,
                    _ => runs.push((start, bytes)),
                }
            }
        }
    }
    runs
}

/// Where the i-th row of a gather is taken to lie: spread over the table as by a hash, so that rows
/// next to each other in the result are not next to each other in the table.
fn spread(i: u64, rows: u64) -> u64 {
    let hashed = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    hashed.checked_rem(rows).unwrap_or(0)
}
