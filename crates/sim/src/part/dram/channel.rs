//! One channel: banks with open rows, the rules between commands, and the choice of the next burst.
//!
//! The controller holds some bursts of each direction. It sends the first that is ready, the oldest
//! among those that are ready at the same clock; rows that no waiting burst wants any more are closed as
//! soon as an older one wants another row. Writes are gathered: they go when many wait or no read does.

use packwright_target::memory::{Dram as Geometry, DramTiming, Refresh};

use super::Counters;
use super::activations::Activations;
use super::pieces::Pieces;
use super::slots::Slots;

/// A clock that never comes.
pub(crate) const NEVER: u64 = u64::MAX;

/// Full queues that the bus sends while a write waits for others to come.
const QUEUES_OF_PATIENCE: u64 = 32;

/// Bursts that wait, next to each other in one row.
#[derive(Clone, Copy, Debug)]
struct Request {
    port: u32,
    group: u32,
    bank: u32,
    bursts: u32,
    row: u64,
    write: bool,
    /// When it came.
    since: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Bank {
    pub row: Option<u64>,
    /// First clock of a column command.
    pub column: u64,
    /// First clock of a precharge; of an activation where no row is open.
    pub precharge: u64,
    /// When the row is closed because it was used often enough.
    closes: u64,
    /// Column commands since the row was opened.
    used: u32,
    /// Waiting requests for the open row: reads, writes.
    hits: [u32; 2],
}

impl Bank {
    fn closed(from: u64) -> Self {
        Self {
            row: None,
            column: NEVER,
            precharge: from,
            closes: NEVER,
            used: 0,
            hits: [0; 2],
        }
    }
}

/// A burst that was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub port: usize,
    pub bursts: u64,
    /// When its data has passed.
    pub end: u64,
}

/// What column commands of one direction forbid, in clocks behind the last of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gaps {
    /// Column commands of the same direction: in the same bank group, the same rank, another rank.
    same_way: [u64; 3],
    /// Those of the other direction.
    other_way: [u64; 3],
    /// Column commands behind a stretch over all bank groups: of the same direction, of the other.
    pub behind: [u64; 2],
    /// Precharges of the banks of a stretch.
    pub recovery: u64,
}

impl Gaps {
    fn behind(write: bool, t: &DramTiming) -> Self {
        let [burst, cl, cwl, ccd_l, ccd_s] =
            [t.burst, t.cl, t.cwl, t.ccd_l, t.ccd_s].map(u64::from);
        let rank = burst + u64::from(t.rtrs);
        let other_way = match write {
            false => [(cl + burst + u64::from(t.rtw)).saturating_sub(cwl); 3],
            true => [
                cwl + u64::from(t.wtr_l) + ccd_l,
                cwl + u64::from(t.wtr_s) + burst,
                (cwl + rank).saturating_sub(cl),
            ],
        };
        let turn = other_way[0];
        Self {
            same_way: [ccd_l, ccd_s, rank],
            other_way,
            behind: [burst, turn],
            recovery: match write {
                true => cwl + ccd_l + u64::from(t.wr),
                false => u64::from(t.rtp),
            },
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Channel {
    pub(super) t: DramTiming,
    /// Behind reads, behind writes.
    pub(super) gaps: [Gaps; 2],
    refresh: Refresh,
    write_high: u64,
    write_low: u64,
    close_after: u32,
    /// Clocks that a write waits at most for others to come.
    patience: u64,
    /// Groups of one rank.
    groups: usize,
    /// Whether a granule can be sent as one: nothing can come between its bursts.
    whole: bool,
    /// Oldest first.
    queue: Vec<Request>,
    /// Bursts that wait: reads, writes.
    pub(super) waiting: [u64; 2],
    draining: bool,
    /// First clock of the next column command by bank group: for reads, writes.
    next: Vec<[u64; 2]>,
    pub(super) banks: Vec<Bank>,
    ranks: Vec<Activations>,
    next_refresh: u64,
    refreshed: usize,
    last_write: bool,
    /// When the channel looks again.
    pub wake: u64,
    /// The request that goes then, unless another comes before.
    pick: Option<usize>,
    /// Ports that wait for room in the queue.
    pub blocked: u64,
    /// What closed forms have sent in short pieces.
    pub(super) pieces: Pieces,
    /// What a closed form booked last in each bank group, from clock to clock.
    pub(super) held: Vec<(u64, u64)>,
    /// The bus in its present direction: clocks of column commands.
    pub(super) bus: Slots<8>,
}

impl Channel {
    pub fn new(dram: &Geometry) -> Self {
        let (ranks, groups) = (dram.ranks.max(1) as usize, dram.bank_groups.max(1) as usize);
        let banks = ranks * groups * dram.banks_per_group.max(1) as usize;
        let t = dram.timing.clone();
        Self {
            refresh: dram.refresh,
            write_high: u64::from(dram.write_high),
            write_low: u64::from(dram.write_low),
            close_after: dram.close_after,
            patience: QUEUES_OF_PATIENCE * u64::from(dram.queue_bursts) * u64::from(t.burst),
            groups,
            whole: ranks * groups == 1 && t.ccd_l <= t.burst && dram.close_after == 0,
            queue: Vec::new(),
            waiting: [0; 2],
            draining: false,
            next: vec![[0; 2]; ranks * groups],
            banks: vec![Bank::closed(0); banks],
            ranks: vec![Activations::default(); ranks],
            next_refresh: match dram.refresh {
                Refresh::AllBank | Refresh::PerBank => 0,
                Refresh::None => NEVER,
            },
            refreshed: 0,
            last_write: false,
            wake: NEVER,
            pick: None,
            blocked: 0,
            pieces: Pieces::default(),
            held: vec![(0, 0); ranks * groups],
            bus: Slots::default(),
            gaps: [Gaps::behind(false, &t), Gaps::behind(true, &t)],
            t,
        }
    }

    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes a request at clock `now`.
    pub fn push(
        &mut self,
        now: u64,
        port: usize,
        place: super::map::Place,
        bursts: u64,
        write: bool,
    ) {
        let bank = &mut self.banks[place.bank];
        if bank.row == Some(place.row) {
            bank.hits[usize::from(write)] += 1;
        }
        self.waiting[usize::from(write)] += bursts;
        self.bus.forget();
        self.queue.push(Request {
            port: port as u32,
            group: place.group as u32,
            bank: place.bank as u32,
            bursts: bursts as u32,
            row: place.row,
            write,
            since: now,
        });
        self.pick = None;
        self.wake = self.wake.min(now);
    }

    /// Does what is due at clock `self.wake`; tells what was sent.
    pub fn step(&mut self, counters: &mut Counters) -> Option<Sent> {
        let now = self.wake;
        self.refresh(now, counters);
        let pick = self.pick.take().or_else(|| self.choose(now, counters));
        let index = pick?;
        // A refresh or another choice may have moved the clock.
        if self.wake > now {
            self.pick = Some(index);
            return None;
        }
        Some(self.send(index, now, counters))
    }

    /// The request to send next; `self.wake` becomes its clock. `None` where nothing waits.
    fn choose(&mut self, now: u64, counters: &mut Counters) -> Option<usize> {
        self.turn(now);
        let direction = usize::from(self.draining);
        let (mut best, mut found) = (NEVER, None);
        let mut seen = 0u64;
        for index in 0..self.queue.len() {
            let Request {
                bank,
                group,
                row,
                write,
                ..
            } = self.queue[index];
            if write != self.draining {
                continue;
            }
            let (bit, bank) = (1 << (bank % 64), bank as usize);
            let state = &self.banks[bank];
            if state.row != Some(row) {
                let wanted = state.row.is_some() && state.hits[direction] > 0;
                if seen & bit != 0 || wanted {
                    seen |= bit;
                    continue;
                }
                self.open(bank, row, now, counters);
            }
            seen |= bit;
            let state = &self.banks[bank];
            let clock = now
                .max(state.column)
                .max(self.next[group as usize][direction]);
            if clock >= state.closes {
                self.close(bank);
                continue;
            }
            if clock < best {
                (best, found) = (clock, Some(index));
            }
        }
        self.wake = match found {
            Some(_) => best,
            // Every row that is wanted has just been closed.
            None if self.waiting[direction] > 0 => now + 1,
            None => NEVER,
        };
        if now < self.next_refresh && self.next_refresh < self.wake && found.is_some() {
            self.wake = self.next_refresh;
            return None;
        }
        found
    }

    /// Chooses between reads and writes. A few writes wait until there are more, but not for ever.
    fn turn(&mut self, now: u64) {
        let [reads, writes] = self.waiting;
        let enough = match self.draining {
            false => writes >= self.write_high,
            true => writes > self.write_low,
        };
        self.draining = writes > 0 && (enough || reads == 0 || self.has_old_write(now));
    }

    /// Whether the oldest write has waited for longer than it takes to send some queues of bursts.
    fn has_old_write(&self, now: u64) -> bool {
        let oldest = self.queue.iter().find(|request| request.write);
        oldest.is_some_and(|request| now > request.since + self.patience)
    }

    /// Opens a row at clock `now` or later, behind all activations so far.
    fn open(&mut self, bank: usize, row: u64, now: u64, counters: &mut Counters) {
        self.activate((bank, row), now, false, counters);
        for request in &self.queue {
            if request.bank as usize == bank && request.row == row {
                self.banks[bank].hits[usize::from(request.write)] += 1;
            }
        }
    }

    /// Opens a row at clock `now` or later that no request waits for, behind all activations so far or in `holes`
    /// between those that are still to come; gives the first clock of a column command.
    #[inline(always)]
    pub(super) fn activate(
        &mut self,
        (bank, row): (usize, u64),
        now: u64,
        holes: bool,
        counters: &mut Counters,
    ) -> u64 {
        let t = &self.t;
        let rank = match self.ranks.as_mut_slice() {
            [rank] => rank,
            ranks => &mut ranks[bank * ranks.len() / self.banks.len()],
        };
        let state = &mut self.banks[bank];
        let ready = now.max(state.precharge);
        let ready = match state.row {
            Some(_) => ready + u64::from(t.rp),
            None => ready,
        };
        let at = match holes {
            true => rank.anywhere(ready, t),
            false => rank.behind(ready, t),
        };
        *state = Bank {
            row: Some(row),
            column: at + u64::from(t.rcd),
            precharge: at + u64::from(t.ras),
            closes: NEVER,
            used: 0,
            hits: [0; 2],
        };
        counters.activations += 1;
        state.column
    }

    /// As [`Channel::activate`] for a row of several banks whose columns follow each other `apart` clocks, one
    /// activation behind the other; `None` where one of the banks has the row open or tFAW keeps activations apart.
    #[inline]
    pub(super) fn activate_all(
        &mut self,
        (banks, row): (&[usize], u64),
        apart: u64,
        now: u64,
        counters: &mut Counters,
    ) -> Option<u64> {
        let [rank] = self.ranks.as_mut_slice() else {
            return None;
        };
        let (rp, rrd) = (u64::from(self.t.rp), u64::from(self.t.rrd));
        let (mut ready, mut before) = (now, 0);
        for &bank in banks {
            let state = &self.banks[bank];
            if state.row == Some(row) {
                return None;
            }
            let closed = match state.row {
                Some(_) => now.max(state.precharge) + rp,
                None => state.precharge,
            };
            ready = ready.max(closed.saturating_sub(before));
            before += rrd;
        }
        let first = rank.all(ready, banks.len() as u64, &self.t)?;
        let (rcd, ras) = (u64::from(self.t.rcd), u64::from(self.t.ras));
        let mut at = first;
        for &bank in banks {
            self.banks[bank] = Bank {
                row: Some(row),
                column: at + rcd,
                precharge: at + ras,
                closes: NEVER,
                used: 0,
                hits: [0; 2],
            };
            at += rrd;
        }
        counters.activations += banks.len() as u64;
        Some(first + rcd + (banks.len() as u64 - 1) * rrd.saturating_sub(apart))
    }

    fn close(&mut self, bank: usize) {
        let state = &mut self.banks[bank];
        *state = Bank::closed(state.precharge + u64::from(self.t.rp));
    }

    /// Sends a burst, or a whole granule, at clock `now`.
    fn send(&mut self, index: usize, now: u64, counters: &mut Counters) -> Sent {
        let Request {
            port,
            group,
            bank,
            bursts,
            write,
            ..
        } = self.queue[index];
        let sent = if self.whole { bursts } else { 1 };
        let last = now + u64::from(sent - 1) * u64::from(self.t.burst);
        let direction = usize::from(write);
        self.waiting[direction] -= u64::from(sent);
        if sent == bursts {
            self.banks[bank as usize].hits[direction] -= 1;
            self.queue.remove(index);
        } else {
            self.queue[index].bursts -= sent;
        }
        self.column(bank as usize, group as usize, last, write, u64::from(sent));
        counters.row_hits += u64::from(self.banks[bank as usize].used > sent);
        let state = &mut self.banks[bank as usize];
        if self.close_after > 0 && state.used >= self.close_after {
            // The precharge competes with bursts; those that come before it still find the row open.
            state.closes = state.closes.min(last + u64::from(self.t.rtp));
        }
        self.wake = if self.queue.is_empty() {
            NEVER
        } else {
            last + 1
        };
        let end = last + self.latency(write) + u64::from(self.t.burst);
        self.count(u64::from(sent), write, counters);
        Sent {
            port: port as usize,
            bursts: u64::from(sent),
            end,
        }
    }

    /// Clocks from a column command to its data.
    pub(super) fn latency(&self, write: bool) -> u64 {
        u64::from(if write { self.t.cwl } else { self.t.cl })
    }

    pub(super) fn count(&mut self, bursts: u64, write: bool, counters: &mut Counters) {
        counters.bus_clocks += bursts * u64::from(self.t.burst);
        if self.last_write != write {
            counters.turnarounds += 1;
            self.last_write = write;
            self.bus.forget();
        }
    }

    /// Whether the last column commands were of this direction.
    pub(super) fn goes(&self, write: bool) -> bool {
        self.last_write == write
    }

    /// First clock of a column command to any bank.
    pub(super) fn first_column(&self, write: bool) -> u64 {
        match self.next.as_slice() {
            [next] => next[usize::from(write)],
            all => {
                let next = all.iter().map(|next| next[usize::from(write)]);
                next.max().unwrap_or(0)
            }
        }
    }

    /// First clock of a column command to a bank group.
    pub(super) fn next_column(&self, group: usize, write: bool) -> u64 {
        self.next[group][usize::from(write)]
    }

    /// Lets a bank group have columns between two clocks, and no others.
    pub(super) fn hold_group(&mut self, group: usize, write: bool, held: (u64, u64)) {
        self.held[group] = held;
        let next = &mut self.next[group][usize::from(write)];
        *next = (*next).max(held.1);
    }

    /// What column commands, the last of them at clock `at`, forbid to those behind them.
    #[inline(always)]
    pub(super) fn column(&mut self, bank: usize, group: usize, at: u64, write: bool, used: u64) {
        let free = at + self.gaps[usize::from(write)].recovery;
        let state = &mut self.banks[bank];
        state.used = state.used.saturating_add(used as u32);
        state.precharge = state.precharge.max(free);
        let gaps = &self.gaps[usize::from(write)];
        let (same, other) = (usize::from(write), usize::from(!write));
        let forbid = |next: &mut [u64; 2], near: usize| {
            next[same] = next[same].max(at + gaps.same_way[near]);
            next[other] = next[other].max(at + gaps.other_way[near]);
        };
        if let [next] = self.next.as_mut_slice() {
            return forbid(next, 0);
        }
        let mut own = self.next[group];
        forbid(&mut own, 0);
        // Groups of the same rank lie next to each other.
        let first = match self.ranks.len() {
            1 => 0,
            _ => group / self.groups * self.groups,
        };
        let (before, rest) = self.next.split_at_mut(first);
        let (rank, behind) = rest.split_at_mut(self.groups);
        rank.iter_mut().for_each(|next| forbid(next, 1));
        for next in before.iter_mut().chain(behind) {
            forbid(next, 2);
        }
        self.next[group] = own;
    }

    /// As [`Channel::column`] for a stretch over several banks whose last column is at clock `at`; the last column of
    /// each bank lies `apart` clocks before that of the next.
    #[inline(always)]
    pub(super) fn columns(&mut self, banks: &[usize], at: u64, apart: u64, write: bool) {
        let Gaps {
            behind: [same_way, other_way],
            recovery,
            ..
        } = self.gaps[usize::from(write)];
        let mut free = at + recovery;
        for &bank in banks.iter().rev() {
            let state = &mut self.banks[bank];
            state.precharge = state.precharge.max(free);
            free = free.saturating_sub(apart);
        }
        let (same, other) = (usize::from(write), usize::from(!write));
        let forbid = |next: &mut [u64; 2]| {
            next[same] = next[same].max(at + same_way);
            next[other] = next[other].max(at + other_way);
        };
        match self.next.as_mut_slice() {
            [next] => forbid(next),
            all => all.iter_mut().for_each(forbid),
        }
    }

    /// Refreshes that are due at clock `now`.
    #[inline(always)]
    pub(super) fn refresh(&mut self, now: u64, counters: &mut Counters) {
        if now >= self.next_refresh {
            self.catch_up(now, counters);
        }
    }

    #[cold]
    fn catch_up(&mut self, now: u64, counters: &mut Counters) {
        self.bus.forget();
        while now >= self.next_refresh {
            self.pick = None;
            counters.refreshes += 1;
            match self.refresh {
                Refresh::AllBank => self.refresh_all(),
                Refresh::PerBank => self.refresh_one(),
                Refresh::None => return,
            }
        }
    }

    /// All banks are closed and refreshed together.
    fn refresh_all(&mut self) {
        let rp = u64::from(self.t.rp);
        let ready = |bank: &Bank| bank.precharge + if bank.row.is_some() { rp } else { 0 };
        let start = self.banks.iter().map(ready).max().unwrap_or(0);
        let end = start.max(self.next_refresh) + u64::from(self.t.rfc);
        self.banks.fill(Bank::closed(end));
        self.next_refresh += u64::from(self.t.refi);
    }

    /// The next bank in turn is closed and refreshed.
    fn refresh_one(&mut self) {
        let bank = &mut self.banks[self.refreshed];
        let rp = if bank.row.is_some() {
            u64::from(self.t.rp)
        } else {
            0
        };
        let start = self.next_refresh.max(bank.precharge) + rp;
        *bank = Bank::closed(start + u64::from(self.t.rfc_pb));
        self.refreshed = (self.refreshed + 1) % self.banks.len();
        self.next_refresh += u64::from(self.t.refi_pb);
    }

    pub(super) fn next_refresh(&self) -> u64 {
        self.next_refresh
    }
}
