//! A port of the memory: one transfer at a time, as runs of bytes, with a limit on bursts under way.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::channel::NEVER;
use crate::part::runs::Runs;

#[derive(Clone, Debug)]
pub(super) struct Port {
    /// Most bursts under way.
    pub limit: u64,
    runs: Runs,
    /// The present run: its address, what is left of it, whether closed forms may carry it.
    pub address: u64,
    pub left: u64,
    pub long: bool,
    pub write: bool,
    /// Bursts whose data has not passed, and those of them that wait in a channel.
    pub under_way: u64,
    pub queued: u64,
    /// Ends of bursts that were sent.
    ends: BinaryHeap<Reverse<u64>>,
    /// Short pieces that closed forms carry.
    pub pieces: Pieces,
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

/// Pieces of runs that are under way, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Pieces {
    /// The end and the bursts of each.
    pieces: VecDeque<(u64, u64)>,
    bursts: u64,
}

impl Pieces {
    /// When there is room for more bursts where `most` may be under way, at clock `now` or later.
    pub fn room(&mut self, now: u64, more: u64, most: u64) -> u64 {
        let mut room = now;
        while self.bursts + more > most {
            let Some((end, bursts)) = self.pieces.pop_front() else {
                break;
            };
            self.bursts -= bursts;
            room = room.max(end);
        }
        room
    }

    /// Adds a piece whose data has passed at clock `end`.
    pub fn push(&mut self, end: u64, bursts: u64) {
        self.pieces.push_back((end, bursts));
        self.bursts += bursts;
    }
}

impl Port {
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            runs: Runs::empty(),
            address: 0,
            left: 0,
            long: false,
            write: false,
            under_way: 0,
            queued: 0,
            ends: BinaryHeap::new(),
            pieces: Pieces::default(),
            last: 0,
            wake: NEVER,
            waits_for_data: false,
            turn: 0,
            turn_left: 0,
        }
    }

    /// Starts a transfer at clock `now`.
    pub fn start(&mut self, now: u64, runs: Runs, write: bool, long: u64) {
        self.runs = runs;
        self.write = write;
        self.under_way = 0;
        self.ends.clear();
        self.pieces = Pieces::default();
        self.last = now;
        self.wake = now;
        self.waits_for_data = false;
        self.next_run(long);
    }

    /// Goes on to the next run.
    pub fn next_run(&mut self, long: u64) {
        match self.runs.next() {
            Some((address, bytes)) => {
                (self.address, self.left) = (address, bytes);
                self.long = bytes >= long;
            }
            None => {
                self.left = 0;
                self.wake = NEVER;
            }
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
