//! SRAM ports: all units share the bytes that all banks move in a cycle.
//!
//! A command asks for its bytes at an even rate over the cycles that it would take alone, and gets what
//! commands that started before it have left; where that is less, it takes longer. What is promised to
//! a command stays promised, so the ports never serve more than they can. Banks are taken as evenly used.

use std::collections::VecDeque;

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
    use super::*;

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
