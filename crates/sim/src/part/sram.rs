//! SRAM ports: all units share the bytes that all banks move in a cycle.
//!
//! Words lie in the banks in turn. A run of bytes takes whole words, and a command is as fast as the bank that it
//! asks for most: [`Banks`] finds the bytes that it takes from all ports together. A command asks for its bytes at an even rate over the cycles that it would take alone, and gets what
//! commands that started before it have left; where that is less, it takes longer. What is promised to
//! a command stays promised, so the ports never serve more than they can. Conflicts are rates: which word of a bank
//! comes when is left out.

use std::collections::VecDeque;

use packwright_packet::access::Access;
use packwright_packet::extent::Extent;
use packwright_target::Target;

use super::divisor::Divisor;

/// What one command asks of each bank.
#[derive(Clone, Debug)]
pub struct Banks {
    /// Bytes of a word: what a bank moves in a cycle.
    word: Divisor,
    /// Words that each bank has to move, besides those that all of them have.
    load: Vec<u64>,
    all: u64,
    count: Divisor,
}

impl Banks {
    /// The banks of a target, with nothing to do.
    pub fn new(target: &Target) -> Self {
        Self {
            word: Divisor::new(u64::from(target.sram.bank_bytes_per_cycle)),
            count: Divisor::new(u64::from(target.sram.banks)),
            load: vec![0; target.sram.banks.max(1) as usize],
            all: 0,
        }
    }

    /// Starts with the next command.
    pub fn clear(&mut self) {
        self.load.fill(0);
        self.all = 0;
    }

    /// Adds an access to SRAM that is repeated `times` times.
    pub fn add(&mut self, access: &Access, times: u64) {
        let extent = &access.extent;
        if extent.is_empty() || access.bytes == 0 {
            return;
        }
        // Rows of a table that are named by index are as many as are moved, wherever they lie.
        let whole = extent.bytes();
        let rows = access.shape.map_or(1, |(rows, _)| rows).max(1);
        let run = match whole > access.bytes {
            true => extent.run.min(whole / rows).max(1),
            false => extent.run,
        };
        let words_of_run = self
            .word
            .quotient_up(self.word.remainder(extent.start) + run);
        let runs = match run == access.bytes {
            true => 1,
            false => access.bytes.div_ceil(run),
        };
        let words = runs.saturating_mul(words_of_run).saturating_mul(times);
        let banks = self.load.len();
        // Of more than 64 banks all are taken as met.
        let every = match banks {
            1..=64 => u64::MAX >> (64 - banks),
            _ => u64::MAX,
        };
        let met = match banks {
            // A run of as many words as there are banks meets them all.
            1..=64 if words_of_run >= banks as u64 && run == extent.run => every,
            1..=64 => met(extent, self.word.value(), banks as u32),
            _ => every,
        };
        if met == every {
            self.all = self.all.saturating_add(self.count.quotient_up(words));
            return;
        }
        let share = words.div_ceil(u64::from(met.count_ones()));
        for (bank, load) in self.load.iter_mut().enumerate() {
            if met >> bank & 1 == 1 {
                *load = load.saturating_add(share);
            }
        }
    }

    /// Bytes that the command takes from all ports together: those of its fullest bank, times the banks.
    pub fn bytes(&self) -> u64 {
        let fullest = self.load.iter().max().copied().unwrap_or(0);
        let fullest = fullest.saturating_add(self.all);
        let ports = self.word.value().saturating_mul(self.load.len() as u64);
        fullest.saturating_mul(ports)
    }
}

/// The banks that an extent meets, a bit each.
fn met(extent: &Extent, word: u64, banks: u32) -> u64 {
    let full = u64::MAX >> (64 - banks);
    let turned = |set: u64, by: u64| {
        let by = (by % u64::from(banks)) as u32;
        match by {
            0 => set,
            _ => (set << by | set >> (banks - by)) & full,
        }
    };
    let words_of_run = (extent.start % word + extent.run).div_ceil(word);
    if words_of_run >= u64::from(banks) {
        return full;
    }
    let mut set = turned((1 << words_of_run) - 1, extent.start / word);
    for &(count, stride) in extent.dims.iter().rev() {
        let one = set;
        // After so many steps a stride has met all banks that it meets.
        for step in 1..count.min(u64::from(banks) * word) {
            if set == full {
                return full;
            }
            if step >= 64 && stride.is_multiple_of(word) {
                break;
            }
            set |= turned(one, step.saturating_mul(stride) / word);
        }
    }
    set
}

/// Fractional bits of rates.
const FRACTION: u32 = 16;

/// The ports of all banks.
#[derive(Clone, Debug)]
pub struct Ports {
    capacity: u128,
    /// Ends of stretches of time with the rate that is left in each; all is left behind the last.
    stretches: VecDeque<(u64, u128)>,
}

impl Ports {
    /// Idle ports.
    pub fn new(bytes_per_cycle: u64) -> Self {
        Self {
            capacity: u128::from(bytes_per_cycle.max(1)) << FRACTION,
            stretches: VecDeque::new(),
        }
    }

    /// Serves `bytes` to a command that starts at `now` and would take `cycles` alone; returns the
    /// cycle of its end. Calls come in order of time.
    pub fn book(&mut self, now: u64, cycles: u64, bytes: u64) -> u64 {
        while self.stretches.front().is_some_and(|&(end, _)| end <= now) {
            self.stretches.pop_front();
        }
        let mut need = u128::from(bytes) << FRACTION;
        let rate = need.div_ceil(u128::from(cycles.max(1))).min(self.capacity);
        let (mut at, mut place) = (now, 0);
        while need > 0 {
            let (end, left) = match self.stretches.get(place) {
                Some(&stretch) => stretch,
                None => (u64::MAX, self.capacity),
            };
            let used = rate.min(left);
            let wanted = if used == 0 {
                u128::from(u64::MAX)
            } else {
                need.div_ceil(used)
            };
            let stop = u64::try_from(u128::from(at) + wanted)
                .unwrap_or(u64::MAX)
                .min(end);
            if stop == end && place < self.stretches.len() {
                self.stretches[place].1 -= used;
            } else {
                self.stretches.insert(place, (stop, left - used));
            }
            need = need.saturating_sub(used * u128::from(stop - at));
            (at, place) = (stop, place + 1);
            if at == u64::MAX {
                break;
            }
        }
        at.max(now.saturating_add(cycles))
    }
}

#[cfg(test)]
mod tests {
    use packwright_packet::access::{Mode, Place};

    use super::*;

    /// Bytes that an access to the 16 banks of 32 bytes of `e2` takes from all ports.
    fn taken(start: u64, run: u64, dims: &[(u64, u64)]) -> u64 {
        let mut banks = Banks::new(&Target::preset("e2").expect("is a preset"));
        let extent = Extent::new(start, run, dims);
        let access = Access {
            mode: Mode::Read,
            place: Place::Sram,
            field: "src",
            bytes: extent.bytes(),
            extent,
            shape: None,
        };
        banks.add(&access, 1);
        banks.bytes()
    }

    #[test]
    fn long_runs_take_what_they_move() {
        assert_eq!(taken(0, 4096, &[]), 4096);
        assert_eq!(taken(0, 512, &[(64, 768)]), 64 * 512);
    }

    #[test]
    fn short_runs_take_whole_words() {
        // 4 bytes in each of 544: words of all banks.
        assert_eq!(taken(0, 4, &[(64, 544)]), 64 * 32);
    }

    #[test]
    fn a_pitch_of_all_banks_meets_one() {
        assert_eq!(taken(0, 32, &[(64, 512)]), 16 * 64 * 32);
        assert_eq!(taken(0, 64, &[(64, 512)]), 8 * 64 * 64);
        // Half of the way around: two banks.
        assert_eq!(taken(32, 32, &[(64, 768)]), 8 * 64 * 32);
    }

    #[test]
    fn a_command_alone_takes_its_own_time_or_that_of_the_ports() {
        assert_eq!(Ports::new(8).book(5, 100, 800), 105);
        assert_eq!(Ports::new(8).book(5, 100, 1600), 205);
    }

    #[test]
    fn what_is_promised_stays_promised() {
        let mut ports = Ports::new(8);
        assert_eq!(ports.book(0, 100, 600), 100);
        // Two bytes a cycle are left: enough for one that asks for two, half of what one with four asks.
        assert_eq!(ports.clone().book(0, 50, 100), 50);
        assert_eq!(ports.clone().book(0, 50, 200), 100);
        // 200 bytes until cycle 100, then 8 a cycle.
        assert_eq!(ports.book(0, 10, 1000), 200);
        assert_eq!(ports.book(0, 10, 80), 210);
    }

    #[test]
    fn a_short_command_is_not_held_up_by_a_long_one() {
        let mut ports = Ports::new(512);
        ports.book(0, 10_000, 2_000_000);
        assert_eq!(ports.book(10, 28, 4096), 38);
    }
}
