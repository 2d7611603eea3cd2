//! Clocks that one thing after the other takes, of a data bus for example, as closed forms book them: what comes later
//! may go into gaps that were left.

/// What is booked, and what was left free before it: at most so many gaps are remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots<const GAPS: usize> {
    /// Gaps before what was booked last, in no order.
    gaps: [Gap; GAPS],
    count: usize,
    /// No gap ends later.
    last: u64,
    /// First clock behind all that was booked.
    end: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Gap {
    from: u64,
    to: u64,
    /// The bank group that could not fill it, if what lies behind it waited for its group.
    not: Option<u32>,
}

/// What asks for clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    /// First clock that it may have.
    pub ready: u64,
    pub length: u64,
    /// Its bank group, if it lies in one, the clocks that it takes of it, and when something else does.
    pub group: Option<u32>,
    pub hold: u64,
    pub held: (u64, u64),
}

impl Need {
    /// Clocks that no bank group is asked for.
    pub fn alone(ready: u64, length: u64) -> Self {
        Self {
            ready,
            length,
            group: None,
            hold: 0,
            held: (0, 0),
        }
    }

    /// First clock in a gap that begins there, if the gap is long enough.
    fn start(&self, gap: &Gap) -> Option<u64> {
        let start = gap.from.max(self.ready);
        let (from, to) = self.held;
        let start = match start < to && from < start + self.hold {
            true => to,
            false => start,
        };
        let may = gap.not.is_none() || gap.not != self.group;
        (may && start + self.length <= gap.to).then_some(start)
    }
}

impl<const GAPS: usize> Default for Slots<GAPS> {
    fn default() -> Self {
        Self {
            gaps: [Gap::default(); GAPS],
            count: 0,
            last: 0,
            end: 0,
        }
    }
}

impl<const GAPS: usize> Slots<GAPS> {
    /// First clock behind all that was booked.
    #[inline]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Books clocks from `start`, behind all that was booked before; what is shorter than `least` is no gap.
    #[inline]
    pub fn append(&mut self, start: u64, need: &Need, least: u64) {
        if start >= self.end + least {
            let not = match start > need.ready {
                true => need.group,
                false => None,
            };
            self.leave(Gap {
                from: self.end,
                to: start,
                not,
            });
        }
        self.end = self.end.max(start + need.length);
    }

    /// Books clocks in the first gap that is long enough and tells the first; `None` where none is.
    #[inline]
    pub fn fill(&mut self, need: &Need, least: u64) -> Option<u64> {
        if need.ready + need.length > self.last {
            return None;
        }
        let gaps = self.gaps[..self.count].iter().enumerate();
        let starts = gaps.filter_map(|(index, gap)| Some((need.start(gap)?, index)));
        let (start, index) = starts.min()?;
        let gap = self.gaps[index];
        self.count -= 1;
        self.gaps[index] = self.gaps[self.count];
        for (from, to) in [(gap.from, start), (start + need.length, gap.to)] {
            if to >= from + least {
                self.leave(Gap { from, to, ..gap });
            }
        }
        Some(start)
    }

    /// Remembers a gap, in the place of the first where there are too many.
    #[cold]
    fn leave(&mut self, gap: Gap) {
        self.last = self.last.max(gap.to);
        if self.count < GAPS {
            self.gaps[self.count] = gap;
            self.count += 1;
        } else if let Some(first) = self.gaps.iter_mut().min_by_key(|gap| gap.from) {
            *first = gap;
        }
    }

    /// Forgets all gaps.
    #[inline]
    pub fn forget(&mut self) {
        self.count = 0;
        self.last = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{Need, Slots};

    /// Slots with clocks 10 to 20 and 40 to 60 booked, 20 to 40 because something was not ready before.
    fn slots() -> Slots<4> {
        let mut slots = Slots::default();
        slots.append(10, &Need::alone(10, 10), 2);
        slots.append(40, &Need::alone(40, 20), 2);
        slots
    }

    #[test]
    fn what_comes_later_goes_into_the_first_gap_that_is_long_enough() {
        let mut slots = slots();
        assert_eq!(slots.fill(&Need::alone(15, 20), 2), Some(20));
        assert_eq!(slots.fill(&Need::alone(15, 2), 2), None);
        assert_eq!(slots.fill(&Need::alone(0, 4), 2), Some(0));
        assert_eq!(slots.fill(&Need::alone(0, 6), 2), Some(4));
        assert_eq!(slots.end(), 60);
    }

    #[test]
    fn both_ends_of_a_gap_stay_free() {
        let mut slots = slots();
        assert_eq!(slots.fill(&Need::alone(28, 4), 2), Some(28));
        assert_eq!(slots.fill(&Need::alone(20, 8), 2), Some(20));
        assert_eq!(slots.fill(&Need::alone(20, 9), 2), None);
        assert_eq!(slots.fill(&Need::alone(20, 8), 2), Some(32));
    }

    #[test]
    fn a_gap_that_a_bank_group_left_is_for_others() {
        let mut slots = Slots::<4>::default();
        let of_group = |group: u32| Need {
            group: Some(group),
            hold: 8,
            ..Need::alone(0, 4)
        };
        slots.append(0, &of_group(1), 2);
        slots.append(8, &of_group(1), 2);
        assert_eq!(slots.fill(&of_group(1), 2), None);
        assert_eq!(slots.fill(&of_group(2), 2), Some(4));
    }

    #[test]
    fn a_bank_group_that_is_busy_comes_later() {
        let mut slots = slots();
        let need = Need {
            group: Some(0),
            hold: 8,
            held: (24, 32),
            ..Need::alone(20, 4)
        };
        assert_eq!(slots.fill(&need, 2), Some(32));
    }
}
