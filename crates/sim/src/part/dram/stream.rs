//! Closed forms for long runs: a stretch of a run is sent in every channel at the rate of the bus.
//!
//! A stretch lies in one row of each bank that it meets. Its columns follow each other without a gap from
//! the clock at which its first row is open and the bus is free; rows are opened, banks refreshed and the
//! bus turned by the same rules as for single bursts.

use super::Counters;
use super::channel::Channel;
use super::map::Place;

impl Channel {
    /// Sends `bursts` bursts next to each other in one row, behind what was sent before; returns the clock at
    /// which the last data has passed. Bursts of other bank groups fill the gaps within a group.
    pub(super) fn granule(
        &mut self,
        now: u64,
        place: &Place,
        bursts: u64,
        write: bool,
        counters: &mut Counters,
    ) -> u64 {
        let (burst, same_group) = (u64::from(self.t.burst), u64::from(self.t.ccd_l));
        let (bank, group) = (place.bank, place.group);
        let mut at = now;
        let mut hit = true;
        let start = loop {
            self.refresh(at, counters);
            if self.banks[bank].row != Some(place.row) {
                self.open(bank, place.row, at, counters);
                hit = false;
            }
            let start = at
                .max(self.banks[bank].column)
                .max(self.next_column(group, write));
            if start < self.next_refresh() {
                break start;
            }
            at = self.next_refresh();
        };
        let last = start + (bursts - 1) * burst;
        self.column(bank, group, last, write, bursts);
        self.hold_group(group, write, start + bursts * same_group);
        self.count(bursts, write, counters);
        counters.row_hits += u64::from(hit);
        last + self.latency(write) + burst
    }

    /// Sees to it that a row of a bank is open from clock `at` on; gives the first clock of a column command.
    #[inline]
    fn row_of(&mut self, bank: usize, row: u64, at: u64, counters: &mut Counters) -> u64 {
        if self.banks[bank].row == Some(row) {
            counters.row_hits += 1;
        } else {
            self.open(bank, row, at, counters);
        }
        self.banks[bank].column
    }

    /// Sends `bursts` bursts that lie in the open or to be opened `row` of `banks`, the first `granule`
    /// of them in the first bank; returns the clock at which the last data has passed.
    pub(super) fn stream(
        &mut self,
        now: u64,
        (banks, row, granule): (&[usize], u64, u64),
        bursts: u64,
        write: bool,
        counters: &mut Counters,
    ) -> u64 {
        let spacing = u64::from(self.t.burst);
        let (mut left, mut at) = (bursts, now);
        let mut last = now;
        while left > 0 {
            self.refresh(at, counters);
            let free = at.max(self.first_column(write));
            let start = match banks {
                &[bank] => free.max(self.row_of(bank, row, at, counters)),
                _ => {
                    let mut before = 0;
                    banks.iter().fold(free, |start, &bank| {
                        let column = self.row_of(bank, row, at, counters);
                        // The burst of a later bank comes later.
                        let first = column.saturating_sub(before);
                        before += granule * spacing;
                        start.max(first)
                    })
                }
            };
            if start >= self.next_refresh() {
                at = self.next_refresh();
                continue;
            }
            let room = self.next_refresh() - start;
            let sent = match left * spacing <= room {
                true => left,
                false => left.min(room.div_ceil(spacing)),
            };
            last = start + (sent - 1) * spacing;
            self.columns(banks, last, granule * spacing, write);
            (left, at) = (left - sent, last + 1);
        }
        self.count(bursts, write, counters);
        last + self.latency(write) + spacing
    }
}
