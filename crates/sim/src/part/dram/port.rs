//! A port of the memory: one transfer at a time, as runs of bytes, with a limit on bursts under way.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::channel::NEVER;
use super::closed::SHORT_STRETCH;
use crate::part::runs::Runs;

#[derive(Clone, Debug)]
pub(super) struct Port {
    /// Most bursts under way.
    pub limit: u64,
    runs: Runs,
    /// The present run: its address, what is left of it.
    pub address: u64,
    pub left: u64,
    /// Whether closed forms may carry the transfer.
    pub closed: bool,
    /// Whether its runs are too short for stretches.
    pub short: bool,
    pub write: bool,
    /// Bursts whose data has not passed, and those of them that wait in a channel.
    pub under_way: u64,
    pub queued: u64,
    /// Ends of bursts that were sent.
    ends: BinaryHeap<Reverse<u64>>,
    /// Bursts of short pieces that closed forms carry and that are not known to have passed.
    pub in_pieces: u64,
    /// When the last data has passed.
    pub last: u64,
    /// When it asks again.
    pub wake: u64,
    /// Whether it asks again when data under way has passed.
    pub waits_for_data: bool,
    /// Ports whose turn began earlier go first.
    pub turn: u64,
    /// Bytes that are left of its turn.
    pub turn_left: u64,
}

impl Port {
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            runs: Runs::empty(),
            address: 0,
            left: 0,
            closed: false,
            short: false,
            write: false,
            under_way: 0,
            queued: 0,
            ends: BinaryHeap::new(),
            in_pieces: 0,
            last: 0,
            wake: NEVER,
            waits_for_data: false,
            turn: 0,
            turn_left: 0,
        }
    }

    /// Starts a transfer at clock `now`.
    pub fn start(&mut self, now: u64, runs: Runs, write: bool, closed: bool) {
        self.short = runs.bytes() < SHORT_STRETCH;
        self.runs = runs;
        self.write = write;
        self.closed = closed;
        self.under_way = 0;
        self.ends.clear();
        self.last = now;
        self.wake = now;
        self.waits_for_data = false;
        self.next_run();
    }

    /// Goes on to the next run.
    pub fn next_run(&mut self) {
        match self.runs.next() {
            Some(run) => (self.address, self.left) = run,
            None => {
                self.left = 0;
                self.wake = NEVER;
            }
        }
    }

    /// Goes on behind `bytes` of the present run.
    #[inline]
    pub fn skip(&mut self, bytes: u64) {
        self.address += bytes;
        self.left -= bytes;
        if self.left == 0 {
            self.next_run();
        }
    }

    /// Whether everything has been asked for and sent.
    pub fn is_done(&self) -> bool {
        self.left == 0 && self.queued == 0
    }

    /// Forgets bursts whose data has passed at clock `now`.
    pub fn reap(&mut self, now: u64) {
        while self.ends.peek().is_some_and(|&Reverse(end)| end <= now) {
            self.ends.pop();
            self.under_way -= 1;
        }
    }

    /// Waits until the next burst under way ends.
    pub fn wait_for_data(&mut self) {
        self.waits_for_data = true;
        self.wake = self.next_end();
    }

    /// When the next burst under way ends; never where none was sent.
    fn next_end(&self) -> u64 {
        self.ends.peek().map_or(NEVER, |&Reverse(end)| end)
    }

    /// Bursts were sent, `spacing` clocks apart; the data of the last has passed at clock `end`.
    pub fn sent(&mut self, bursts: u64, end: u64, spacing: u64) {
        self.queued -= bursts;
        self.last = self.last.max(end);
        for before in 0..bursts {
            self.ends.push(Reverse(end - before * spacing));
        }
        if self.waits_for_data {
            self.wake = self.next_end();
        }
    }
}
