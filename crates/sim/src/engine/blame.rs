//! What a unit without work waits for: the oldest command for it that has not started tells.

use super::Engine;
use crate::report::Cause;
use crate::tally::{KINDS, place};

/// Packets that are followed from one that waits to the one that it waits for.
const DEPTH: usize = 64;

impl Engine<'_> {
    /// Charges `cycles` to every unit: to its work, to what it waits for, or to nothing.
    pub(super) fn account(&mut self, cycles: u64) {
        if cycles == 0 {
            return;
        }
        for kind in 0..KINDS.len() {
            let mut waiting = self.left[kind];
            let free = self.units[kind].len() as u64 - self.busy[kind];
            let cause = if free > 0 && waiting > 0 {
                Some(self.cause(kind))
            } else {
                None
            };
            for (unit, job) in self.units[kind].iter().enumerate() {
                let counted = &mut self.tally.units[kind][unit];
                match cause {
                    _ if job.is_some() => counted.busy += cycles,
                    Some(cause) if waiting > 0 => {
                        waiting -= 1;
                        counted.stall[cause as usize] += cycles;
                    }
                    _ => counted.idle += cycles,
                }
            }
        }
        let sequencer = &mut self.tally.sequencer;
        if self.stream.decoding {
            sequencer.busy += cycles;
        } else if self.stream.decoded == self.entry.packets.len() {
            sequencer.idle += cycles;
        } else {
            let full = self.in_flight >= self.target.sequencer.window;
            let cause = if full { Cause::Window } else { Cause::Memory };
            sequencer.stall[cause as usize] += cycles;
        }
    }

    /// What the oldest command of a kind that has not started waits for.
    fn cause(&mut self, kind: usize) -> Cause {
        let queue = &self.queues[kind];
        let started = |&(packet, at): &(u32, u32)| {
            let progress = &self.packets[packet as usize];
            let next = progress.next + usize::from(progress.runs);
            (at as usize) < next
        };
        while queue.get(self.oldest[kind]).is_some_and(started) {
            self.oldest[kind] += 1;
        }
        let mut packet = match queue.get(self.oldest[kind]) {
            Some(&(packet, _)) => packet as usize,
            None => return Cause::Sequencer,
        };
        for _ in 0..DEPTH {
            if packet >= self.stream.decoded {
                let full = self.in_flight >= self.target.sequencer.window;
                return if full {
                    Cause::Window
                } else {
                    Cause::Sequencer
                };
            }
            let (progress, content) = (&mut self.packets[packet], &self.entry.packets[packet]);
            if progress.waits == 0 {
                let command = content.commands.get(progress.next);
                return command.map_or(Cause::Sequencer, |command| cause_of(place(command.unit())));
            }
            let waits = &self.tokens.waits[self.tokens.of(packet)];
            let over = |&token: &u32| self.tokens.signalled[token as usize];
            while waits.get(progress.over).is_some_and(over) {
                progress.over += 1;
            }
            let open = waits.get(progress.over);
            match open.and_then(|&token| self.tokens.signaller[token as usize]) {
                Some(signaller) => packet = signaller as usize,
                None => return Cause::Sequencer,
            }
        }
        let at_work = (0..KINDS.len()).find(|&other| other != kind && self.busy[other] > 0);
        at_work.map_or(Cause::Sequencer, cause_of)
    }
}

/// Waiting for a unit of some kind.
fn cause_of(kind: usize) -> Cause {
    match kind {
        0 => Cause::Memory,
        1 => Cause::Matrix,
        _ => Cause::Vector,
    }
}
