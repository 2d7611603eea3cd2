//! The activations of one rank: tRRD apart, no more than four within tFAW.

use packwright_target::memory::DramTiming;

use super::slots::{Need, Slots};

/// Gaps between activations that are remembered: as a controller does not look far ahead.
const GAPS: usize = 3;

/// When rows of one rank were opened, or will be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Activations {
    slots: Slots<GAPS>,
    /// The last four, oldest first: first clocks that they allow to a fourth behind them.
    window: [u64; 4],
}

impl Activations {
    /// Books an activation, `ready` at the earliest and behind all others, and tells its clock.
    #[inline]
    pub fn behind(&mut self, ready: u64, t: &DramTiming) -> u64 {
        let (rrd, faw) = (u64::from(t.rrd), u64::from(t.faw));
        let at = ready.max(self.slots.end()).max(self.window[0]);
        self.slots.append(at, &Need::alone(ready, rrd), rrd);
        if 4 * rrd < faw {
            let [_, second, third, fourth] = self.window;
            self.window = [second, third, fourth, at + faw];
        }
        at
    }

    /// As [`Activations::behind`], but also between two others that are still to come, where tRRD is all that keeps
    /// four apart.
    #[inline]
    pub fn anywhere(&mut self, ready: u64, t: &DramTiming) -> u64 {
        let (rrd, faw) = (u64::from(t.rrd), u64::from(t.faw));
        if ready < self.slots.end()
            && 4 * rrd >= faw
            && let Some(at) = self.slots.fill(&Need::alone(ready, rrd), rrd)
        {
            return at;
        }
        self.behind(ready, t)
    }

    /// As [`Activations::anywhere`] for some activations one tRRD behind the other; `None` where tFAW keeps them further
    /// apart.
    #[inline]
    pub fn all(&mut self, ready: u64, count: u64, t: &DramTiming) -> Option<u64> {
        let (rrd, faw) = (u64::from(t.rrd), u64::from(t.faw));
        if 4 * rrd < faw {
            return None;
        }
        let need = Need::alone(ready, count * rrd);
        if ready < self.slots.end()
            && let Some(at) = self.slots.fill(&need, rrd)
        {
            return Some(at);
        }
        let at = ready.max(self.slots.end());
        self.slots.append(at, &need, rrd);
        Some(at)
    }
}
