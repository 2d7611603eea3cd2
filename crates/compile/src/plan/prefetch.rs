//! Prefetch: places in the ring for constant tiles, and their loads as early as the ring permits.
//!
//! Above the buffers that a segment sees lies a ring of bytes: tiles enter in the order of first use and leave when
//! their last reader is done. A tile that comes ahead of its segment lies above the buffers of all segments until
//! then. A load stands right behind the fragment whose end makes room for it.

use indexmap::IndexSet;
use packwright_ir::diag::{Diagnostic, Diagnostics};

use super::constants::{Tile, TileId};
use super::{Fragment, SramSpan};

/// Alignment of tiles in the ring.
const ALIGN: u64 = 64;

/// Inserts the loads of all tiles and gives the tiles their addresses. Where tiles that came ahead have left no room in
/// one piece for those behind them, none come ahead of that segment.
///
/// # Errors
/// `plan-ring` when the ring cannot hold the tiles that one fragment needs at once.
pub fn prefetch(
    fragments: Vec<Fragment>,
    tiles: &mut [Tile],
    rooms: &[SramSpan],
    window: usize,
) -> Result<Vec<Fragment>, Diagnostics> {
    let reads = Reads::of(&fragments, tiles.len());
    let mut waiting: IndexSet<usize> = IndexSet::new();
    loop {
        match places(&fragments, tiles, &reads, (rooms, window), &waiting) {
            Ok(come) => return Ok(with_loads(fragments, &reads.order, &come)),
            Err((_, segment)) if waiting.insert(segment) => {}
            Err((tile, segment)) => {
                return Err(too_small(&tiles[tile.0 as usize], rooms[segment]).into());
            }
        }
    }
}

/// When tiles are read.
struct Reads {
    /// All tiles, in the order of first use.
    order: Vec<TileId>,
    /// The fragment that reads each last, its segment, and the segment that reads it first.
    last: Vec<usize>,
    last_segment: Vec<usize>,
    first_segment: Vec<usize>,
}

impl Reads {
    fn of(fragments: &[Fragment], tiles: usize) -> Self {
        let mut reads = Self {
            order: Vec::new(),
            last: vec![0; tiles],
            last_segment: vec![0; tiles],
            first_segment: vec![0; tiles],
        };
        let mut seen = vec![false; tiles];
        let mut segment = 0;
        for (index, fragment) in fragments.iter().enumerate() {
            segment = segment_of(fragment).unwrap_or(segment);
            for &tile in tiles_of(fragment) {
                let at = tile.0 as usize;
                reads.last[at] = index;
                reads.last_segment[at] = segment;
                if !std::mem::replace(&mut seen[at], true) {
                    reads.first_segment[at] = segment;
                    reads.order.push(tile);
                }
            }
        }
        reads
    }
}

/// Gives tiles their addresses, and says how many have come before each fragment. Tiles of segments that wait do not come ahead of them.
///
/// # Errors
/// The tile for which there is no room, and the segment at hand.
fn places(
    fragments: &[Fragment],
    tiles: &mut [Tile],
    reads: &Reads,
    (rooms, window): (&[SramSpan], usize),
    waiting: &IndexSet<usize>,
) -> Result<Vec<usize>, (TileId, usize)> {
    // Loads that run ahead must leave room in the sequencer's window for the work behind them.
    let most_ahead = (window / 2).max(2);
    let mut state = Ring {
        rooms,
        reads,
        waiting,
        segment: 0,
        head: 0,
        live: Vec::new(),
    };
    let mut next = 0;
    let mut loaded = vec![false; tiles.len()];
    let mut read = vec![false; tiles.len()];
    let mut ahead = 0;
    let mut come = Vec::with_capacity(fragments.len());
    for (index, fragment) in fragments.iter().enumerate() {
        state.segment = segment_of(fragment).unwrap_or(state.segment);
        let needs = tiles_of(fragment);
        while needs.iter().any(|t| !loaded[t.0 as usize]) {
            let tile = reads.order[next];
            if !state.enter(tile, tiles) {
                return Err((tile, state.segment));
            }
            loaded[tile.0 as usize] = true;
            next += 1;
            ahead += 1;
        }
        come.push(next);
        for tile in needs {
            let place = tile.0 as usize;
            // A pinned tile runs ahead until it is read first, any other until it is read last.
            let first_read = !std::mem::replace(&mut read[place], true);
            if tiles[place].pinned {
                ahead -= usize::from(first_read);
            } else if reads.last[place] == index {
                ahead -= 1;
                state.release(*tile);
            }
        }
        while next < reads.order.len() && ahead < most_ahead {
            let tile = reads.order[next];
            if !state.may_come(tile) || !state.enter(tile, tiles) {
                break;
            }
            loaded[tile.0 as usize] = true;
            next += 1;
            ahead += 1;
        }
    }
    Ok(come)
}

/// Puts the loads of tiles between the fragments: so many have come before each.
fn with_loads(fragments: Vec<Fragment>, order: &[TileId], come: &[usize]) -> Vec<Fragment> {
    let mut result = Vec::with_capacity(fragments.len() + order.len());
    let mut done = 0;
    for (fragment, &before) in fragments.into_iter().zip(come) {
        let loads = order[done..before].iter();
        result.extend(loads.map(|&tile| Fragment::LoadTile { tile }));
        result.push(fragment);
        done = before;
    }
    result
}

fn tiles_of(fragment: &Fragment) -> &[TileId] {
    match fragment {
        Fragment::Work { tiles, .. } => tiles,
        Fragment::LoadTile { .. }
        | Fragment::LoadInput { .. }
        | Fragment::Fill { .. }
        | Fragment::Spill { .. }
        | Fragment::StoreOutput { .. }
        | Fragment::Drain { .. } => &[],
    }
}

/// The segment that a fragment belongs to.
fn segment_of(fragment: &Fragment) -> Option<usize> {
    match fragment {
        Fragment::Work { segment, .. }
        | Fragment::Fill { segment, .. }
        | Fragment::Spill { segment, .. }
        | Fragment::Drain { segment, .. } => Some(*segment),
        Fragment::LoadTile { .. } | Fragment::LoadInput { .. } | Fragment::StoreOutput { .. } => {
            None
        }
    }
}

/// A queue of tiles over what buffers leave of SRAM.
struct Ring<'a> {
    rooms: &'a [SramSpan],
    reads: &'a Reads,
    /// Segments whose tiles do not come ahead.
    waiting: &'a IndexSet<usize>,
    /// The segment at hand.
    segment: usize,
    /// Address behind the newest tile.
    head: u64,
    /// Tiles that are there: id, start, end.
    live: Vec<(TileId, u64, u64)>,
}

impl Ring<'_> {
    /// Whether a tile may come now that it is not yet needed.
    fn may_come(&self, tile: TileId) -> bool {
        let segment = self.reads.first_segment[tile.0 as usize];
        segment == self.segment || !self.waiting.contains(&segment)
    }

    /// Gives a tile its place; a pinned one has it.
    fn enter(&mut self, tile: TileId, tiles: &mut [Tile]) -> bool {
        let info = &mut tiles[tile.0 as usize];
        if info.pinned {
            return true;
        }
        let addr = self.push(tile, info.bytes);
        info.addr = addr.unwrap_or(info.addr);
        addr.is_some()
    }

    /// Finds room for a tile until it is read last: behind the newest one, or else at the lowest address that is free. In a
    /// segment whose tiles wait they lie from the lowest address on, so that what is free is in one piece.
    fn push(&mut self, tile: TileId, bytes: u64) -> Option<u64> {
        let bytes = bytes.next_multiple_of(ALIGN);
        let until = self.reads.last_segment[tile.0 as usize].max(self.segment);
        let own = &self.rooms[self.segment..=until];
        let base = own.iter().map(|room| room.addr).max()?;
        let base = base.next_multiple_of(ALIGN);
        let end = self.rooms[until].addr + self.rooms[until].bytes;
        let is_free = |&start: &u64| {
            let apart = |&(_, from, to): &(TileId, u64, u64)| to <= start || start + bytes <= from;
            start >= base && start + bytes <= end && self.live.iter().all(apart)
        };
        let mut ends: Vec<u64> = self.live.iter().map(|&(_, _, end)| end).collect();
        ends.sort_unstable();
        let newest = (!self.waiting.contains(&self.segment)).then_some(self.head);
        let starts = newest.into_iter().chain([base]).chain(ends);
        let start = starts.into_iter().find(is_free)?;
        // Where no other one like it fits above, it lies at the end: what is below is in one piece for the next ones, which
        // may be a little larger.
        let last = end.saturating_sub(bytes) / ALIGN * ALIGN;
        let start = match last - start < bytes && is_free(&last) {
            true => last,
            false => start,
        };
        self.head = start + bytes;
        self.live.push((tile, start, self.head));
        Some(start)
    }

    fn release(&mut self, tile: TileId) {
        self.live.retain(|entry| entry.0 != tile);
    }
}

fn too_small(tile: &Tile, ring: SramSpan) -> Diagnostic {
    Diagnostic::unsupported(
        "plan-ring",
        format!(
            "a tile of {} bytes does not fit beside its neighbours into the {} bytes left for constants",
            tile.bytes, ring.bytes
        ),
    )
    .help("raise sram.bytes, or set a smaller tile with --tile-bytes")
}
