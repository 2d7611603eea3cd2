//! Closed forms: a stretch of a long run is sent in every channel at the rate of the bus, a piece of a short one where
//! there is room for it.
//!
//! A stretch lies in one row of each bank that it meets. Its columns follow each other without a gap from
//! the clock at which its first row is open and the bus is free; rows are opened, banks refreshed and the
//! bus turned by the same rules as for single bursts. Pieces go in gaps between activations and on the bus that those
//! before left.

use super::Counters;
use super::channel::Channel;
use super::map::Place;
use super::slots::Need;

impl Channel {
    /// Sends `bursts` bursts next to each other in one row; returns the clock at which the last data has passed. They
    /// go behind what was sent before or into a gap of it. Bursts of other bank groups fill the gaps within a group.
    #[inline]
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
        let (mut at, hold) = (now, bursts * same_group);
        let start = loop {
            self.refresh(at, counters);
            let need = Need {
                ready: at.max(self.row_of(bank, place.row, at, counters)),
                length: bursts * burst,
                group: Some(group as u32),
                hold,
                held: self.held[group],
            };
            match self.book(&need, self.next_column(group, write), write) {
                Some(start) => break start,
                None => at = self.next_refresh(),
            }
        };
        let last = start + (bursts - 1) * burst;
        self.column(bank, group, last, write, bursts);
        self.hold_group(group, write, (start, start + hold));
        self.count(bursts, write, counters);
        last + self.latency(write) + burst
    }

    /// Books what is needed in a gap of the bus or from clock `free` on; gives the first clock, `None` where a refresh
    /// comes before.
    #[inline(always)]
    fn book(&mut self, need: &Need, free: u64, write: bool) -> Option<u64> {
        let burst = u64::from(self.t.burst);
        if need.ready < free
            && self.goes(write)
            && let Some(start) = self.bus.fill(need, burst)
        {
            return Some(start);
        }
        let start = need.ready.max(free);
        (start < self.next_refresh()).then(|| {
            self.bus.append(start, need, burst);
            start
        })
    }

    /// Sees to it that a row of a bank is open from clock `at` on; gives the first clock of a column command.
    #[inline]
    fn row_of(&mut self, bank: usize, row: u64, at: u64, counters: &mut Counters) -> u64 {
        let state = &self.banks[bank];
        match state.row == Some(row) {
            true => {
                counters.row_hits += 1;
                state.column
            }
            false => self.activate((bank, row), at, true, counters),
        }
    }

    /// First clock of a column command to the rows of `banks`, which follow each other `apart` clocks.
    #[inline]
    fn rows_of(
        &mut self,
        (banks, row): (&[usize], u64),
        apart: u64,
        at: u64,
        counters: &mut Counters,
    ) -> u64 {
        if let Some(column) = self.activate_all((banks, row), apart, at, counters) {
            return at.max(column);
        }
        let mut before = 0;
        banks.iter().fold(at, |start, &bank| {
            let column = self.row_of(bank, row, at, counters);
            // The burst of a later bank comes later.
            let first = column.saturating_sub(before);
            before += apart;
            start.max(first)
        })
    }

    /// Sends a round of bursts over all bank groups in one `row` of `banks`, as [`Channel::granule`] does.
    #[inline]
    pub(super) fn round(
        &mut self,
        now: u64,
        (banks, row, granule): (&[usize], u64, u64),
        bursts: u64,
        write: bool,
        counters: &mut Counters,
    ) -> u64 {
        let burst = u64::from(self.t.burst);
        let mut at = now;
        let start = loop {
            self.refresh(at, counters);
            let need = Need::alone(
                self.rows_of((banks, row), granule * burst, at, counters),
                bursts * burst,
            );
            match self.book(&need, self.first_column(write), write) {
                Some(start) => break start,
                None => at = self.next_refresh(),
            }
        };
        let last = start + (bursts - 1) * burst;
        self.columns(banks, last, granule * burst, write);
        self.count(bursts, write, counters);
        last + self.latency(write) + burst
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
            let ready = match banks {
                &[bank] => at.max(self.row_of(bank, row, at, counters)),
                _ => self.rows_of((banks, row), granule * spacing, at, counters),
            };
            let start = ready.max(self.first_column(write));
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
            self.bus
                .append(start, &Need::alone(ready, sent * spacing), spacing);
            self.columns(banks, last, granule * spacing, write);
            (left, at) = (left - sent, last + 1);
        }
        self.count(bursts, write, counters);
        last + self.latency(write) + spacing
    }
}
