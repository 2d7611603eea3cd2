//! Who wrote and read each byte of a memory: an exact map, cut into pages.

use std::ops::Range;

use super::order::Order;

/// What became of a byte. States are shared by all bytes with the same history.
#[derive(Clone, Debug)]
struct State {
    /// The packet that wrote it last.
    writer: Option<u32>,
    /// Packets that have read it since, except those that happen before another of them.
    readers: Vec<u32>,
    /// The packet that freed it since.
    freed: Option<u32>,
}

/// What is wrong with an access, and where first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Bytes are read that nobody wrote.
    Unwritten(Range<u64>),
    /// Bytes are read that a packet freed.
    Freed(Range<u64>, u32),
    /// Bytes are touched that an unordered packet wrote.
    Writer(Range<u64>, u32),
    /// Bytes are written that an unordered packet reads.
    Reader(Range<u64>, u32),
}

/// A memory: pages of runs, each run a start and the index of a state.
#[derive(Debug)]
pub struct Ledger {
    size: u64,
    page_bytes: u64,
    pages: Vec<Vec<(u64, u32)>>,
    states: Vec<State>,
    /// Whether the memory holds something at the start.
    filled: bool,
    /// For the present access: what an old state becomes. Valid where the stamp is the present one.
    memo: Vec<(u32, u32)>,
    stamp: u32,
    pieces: Vec<Range<u64>>,
    scratch: Vec<(u64, u32)>,
}

/// How many pages a memory has at most.
const PAGES: u64 = 1 << 16;
/// Smallest size of a page.
const PAGE_BYTES: u64 = 4 << 10;

impl Ledger {
    /// A memory of `size` bytes; `filled` says that it holds something at the start.
    pub fn new(size: u64, filled: bool) -> Self {
        let page_bytes = size.div_ceil(PAGES).max(PAGE_BYTES);
        let pages = vec![Vec::new(); size.div_ceil(page_bytes) as usize];
        Self {
            size,
            page_bytes,
            pages,
            states: vec![State {
                writer: None,
                readers: Vec::new(),
                freed: None,
            }],
            filled,
            memo: vec![(0, 0)],
            stamp: 0,
            pieces: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Notes that `packet` reads ascending, disjoint ranges; gives what is wrong with that.
    pub fn read(&mut self, packet: u32, ranges: &[Range<u64>], order: &Order) -> Option<Fault> {
        let filled = self.filled;
        self.update(ranges, |state, range| {
            if state.writer.is_none() && !filled {
                return Err(Fault::Unwritten(range));
            }
            if let Some(by) = state.freed {
                return Err(Fault::Freed(range, by));
            }
            if let Some(writer) = state.writer.filter(|&w| w != packet && !order.before(w)) {
                return Err(Fault::Writer(range, writer));
            }
            if state.readers.contains(&packet) {
                return Ok(None);
            }
            let readers = state
                .readers
                .iter()
                .copied()
                .filter(|&reader| !order.before(reader));
            let readers = readers.chain([packet]).collect();
            Ok(Some(State { readers, ..*state }))
        })
    }

    /// Notes that `packet` writes ascending, disjoint ranges; gives what is wrong with that.
    pub fn write(&mut self, packet: u32, ranges: &[Range<u64>], order: &Order) -> Option<Fault> {
        let unordered = |&other: &u32| other != packet && !order.before(other);
        let written = State {
            writer: Some(packet),
            readers: Vec::new(),
            freed: None,
        };
        let new = self.add_state(written);
        let mut fault = None;
        self.map(ranges, |ledger, old, range| {
            if ledger.recall(old).is_none() {
                let state = &ledger.states[old as usize];
                let writer = state
                    .writer
                    .filter(unordered)
                    .map(|w| Fault::Writer(range.clone(), w));
                let reader = || state.readers.iter().copied().find(unordered);
                let found = writer.or_else(|| reader().map(|r| Fault::Reader(range, r)));
                fault = fault.take().or(found);
                ledger.remember(old, new);
            }
            new
        });
        fault
    }

    /// Notes that the contents of ascending, disjoint ranges die with `packet`.
    pub fn free(&mut self, packet: u32, ranges: &[Range<u64>]) {
        self.update(ranges, |state, _| {
            let written = state.writer.is_some();
            Ok(written.then(|| State {
                freed: Some(packet),
                ..state.clone()
            }))
        });
    }

    /// The first range that nobody wrote, if there is one.
    pub fn unwritten(&self) -> Option<Range<u64>> {
        for (page, runs) in (0..).zip(&self.pages) {
            let (start, end) = self.page_range(page);
            let blank = [(start, 0)];
            let runs = if runs.is_empty() {
                &blank
            } else {
                runs.as_slice()
            };
            for (at, &(from, state)) in runs.iter().enumerate() {
                if self.states[state as usize].writer.is_none() {
                    return Some(from..runs.get(at + 1).map_or(end, |next| next.0));
                }
            }
        }
        None
    }

    fn page_range(&self, page: u64) -> (u64, u64) {
        let start = page * self.page_bytes;
        (start, (start + self.page_bytes).min(self.size))
    }

    fn add_state(&mut self, state: State) -> u32 {
        self.states.push(state);
        self.memo.push((0, 0));
        self.states.len() as u32 - 1
    }

    fn recall(&self, old: u32) -> Option<u32> {
        let (stamp, new) = self.memo[old as usize];
        (stamp == self.stamp).then_some(new)
    }

    fn remember(&mut self, old: u32, new: u32) {
        self.memo[old as usize] = (self.stamp, new);
    }

    /// Replaces states as `next` says: by another, by none (unchanged), or unchanged with a fault.
    /// `next` is asked once for each old state. Gives the first fault.
    fn update(
        &mut self,
        ranges: &[Range<u64>],
        mut next: impl FnMut(&State, Range<u64>) -> Result<Option<State>, Fault>,
    ) -> Option<Fault> {
        let mut fault = None;
        self.map(ranges, |ledger, old, range| {
            if let Some(new) = ledger.recall(old) {
                return new;
            }
            let new = match next(&ledger.states[old as usize], range) {
                Ok(Some(state)) => ledger.add_state(state),
                Ok(None) => old,
                Err(found) => {
                    fault.get_or_insert(found);
                    old
                }
            };
            ledger.remember(old, new);
            new
        });
        fault
    }

    /// Replaces the state of every byte of the ranges, page by page.
    fn map(
        &mut self,
        ranges: &[Range<u64>],
        mut next: impl FnMut(&mut Self, u32, Range<u64>) -> u32,
    ) {
        self.stamp += 1;
        let mut rest = ranges
            .iter()
            .filter(|&range| !range.is_empty())
            .cloned()
            .peekable();
        while let Some(first) = rest.peek() {
            let page = first.start / self.page_bytes;
            let (_, end) = self.page_range(page);
            let mut pieces = std::mem::take(&mut self.pieces);
            pieces.clear();
            while let Some(range) = rest.peek_mut().filter(|range| range.start < end) {
                pieces.push(range.start..range.end.min(end));
                if range.end > end {
                    range.start = end;
                    break;
                }
                rest.next();
            }
            self.map_page(page, &pieces, &mut next);
            self.pieces = pieces;
        }
    }

    /// Replaces the state of every byte of the pieces, which lie in one page.
    fn map_page(
        &mut self,
        page: u64,
        pieces: &[Range<u64>],
        next: &mut impl FnMut(&mut Self, u32, Range<u64>) -> u32,
    ) {
        let mut runs = std::mem::take(&mut self.pages[page as usize]);
        let (start, end) = self.page_range(page);
        if runs.is_empty() {
            runs.push((start, 0));
        }
        let (first, last) = (pieces[0].start, pieces[pieces.len() - 1].end);
        let between = index_of(&runs, last) - index_of(&runs, first);
        if between > FAR * pieces.len() {
            for piece in pieces {
                self.map_runs(&mut runs, end, std::slice::from_ref(piece), next);
            }
        } else {
            self.map_runs(&mut runs, end, pieces, next);
        }
        self.pages[page as usize] = runs;
    }

    /// Replaces the states of pieces in the runs of a page that ends at `page_end`; the runs between the first
    /// and the last piece are made anew.
    fn map_runs(
        &mut self,
        runs: &mut Vec<(u64, u32)>,
        page_end: u64,
        pieces: &[Range<u64>],
        next: &mut impl FnMut(&mut Self, u32, Range<u64>) -> u32,
    ) {
        let first = index_of(runs, pieces[0].start);
        let before = first.checked_sub(1).map(|before| runs[before].1);
        let mut new = std::mem::take(&mut self.scratch);
        new.clear();
        let mut put = |start: u64, state: u32| {
            if new.last().map_or(before, |&(_, last)| Some(last)) != Some(state) {
                new.push((start, state));
            }
        };
        let mut pieces = pieces.iter().peekable();
        let mut index = first;
        while pieces.peek().is_some() {
            let (start, state) = runs[index];
            index += 1;
            let end = runs.get(index).map_or(page_end, |run| run.0);
            let mut at = start;
            while let Some(piece) = pieces.peek().filter(|piece| piece.start < end) {
                if piece.start > at {
                    put(at, state);
                    at = piece.start;
                }
                let stop = piece.end.min(end);
                put(at, next(self, state, at..stop));
                at = stop;
                if piece.end > end {
                    break;
                }
                pieces.next();
            }
            if at < end {
                put(at, state);
            }
        }
        // A run behind that goes on as the last new one is a part of it.
        let last = new.last().map_or(before, |&(_, last)| Some(last));
        let joins = runs.get(index).is_some_and(|run| Some(run.1) == last);
        let index = index + usize::from(joins);
        if new.len() == index - first {
            runs[first..index].copy_from_slice(&new);
        } else {
            runs.splice(first..index, new.iter().copied());
        }
        self.scratch = new;
    }
}

/// Runs a piece between which pieces are replaced one by one.
const FAR: usize = 16;

/// The run that holds an address.
fn index_of(runs: &[(u64, u32)], address: u64) -> usize {
    runs.partition_point(|run| run.0 <= address)
        .saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// States of single bytes, each changed as the ledger's.
    fn plain(bytes: &mut [u32], ranges: &[Range<u64>], next: impl Fn(u32) -> u32) {
        for range in ranges {
            for byte in &mut bytes[range.start as usize..range.end as usize] {
                *byte = next(*byte);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        /// Runs of the pages say the same as single bytes, and no two neighbours in a page are equal.
        #[test]
        fn runs_say_the_same_as_bytes(
            accesses in prop::collection::vec((0..3 * PAGE_BYTES, 1..9000u64, 1..40u64, 1..9000u64), 1..40)
        ) {
            let size = 3 * PAGE_BYTES + 100;
            let mut ledger = Ledger::new(size, false);
            let mut bytes = vec![0u32; size as usize];
            for (number, (start, run, count, gap)) in (1u32..).zip(accesses) {
                let pieces = (0..count).map(|i| start + i * (run + gap)..start + i * (run + gap) + run);
                let ranges: Vec<_> = pieces.filter(|range| range.end <= size).collect();
                let changed = |old: u32| if old % 3 == 2 { old } else { number };
                ledger.map(&ranges, |_, old, _| changed(old));
                plain(&mut bytes, &ranges, changed);
            }
            for (page, runs) in (0..).zip(&ledger.pages) {
                let (start, end) = ledger.page_range(page);
                let blank = vec![(start, 0)];
                let runs = if runs.is_empty() { &blank } else { runs };
                prop_assert!(runs.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 != pair[1].1));
                for (at, &(from, state)) in runs.iter().enumerate() {
                    let to = runs.get(at + 1).map_or(end, |next| next.0);
                    prop_assert!(bytes[from as usize..to as usize].iter().all(|&byte| byte == state));
                }
            }
        }
    }
}
