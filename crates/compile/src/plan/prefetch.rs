//! Prefetch: places in the ring for constant tiles, and their loads as early as the ring permits.
//!
//! Above the buffers that a segment sees lies a ring of bytes: tiles enter in the order of first use and leave when
//! their last reader is done. A tile that comes ahead of its segment lies above the buffers of all segments until
//! then. A load stands right behind the fragment whose end makes room for it.

use packwright_ir::diag::{Diagnostic, Diagnostics};

use super::constants::{Tile, TileId};
use super::{Fragment, SramSpan};

/// Alignment of tiles in the ring.
const ALIGN: u64 = 64;

/// Inserts the loads of all tiles and gives the tiles their addresses.
///
/// # Errors
/// `plan-ring` when the ring cannot hold the tiles that one fragment needs at once.
pub fn prefetch(
    fragments: Vec<Fragment>,
    tiles: &mut [Tile],
    rooms: &[SramSpan],
    window: usize,
) -> Result<Vec<Fragment>, Diagnostics> {
    let mut last_use = vec![0usize; tiles.len()];
    let mut last_segment = vec![0usize; tiles.len()];
    let mut segment = 0;
    let mut order: Vec<TileId> = Vec::new();
    let mut seen = vec![false; tiles.len()];
    for (index, fragment) in fragments.iter().enumerate() {
        segment = segment_of(fragment).unwrap_or(segment);
        for &tile in tiles_of(fragment) {
            last_use[tile.0 as usize] = index;
            last_segment[tile.0 as usize] = segment;
            if !std::mem::replace(&mut seen[tile.0 as usize], true) {
                order.push(tile);
            }
        }
    }
    // Loads that run ahead must leave room in the sequencer's window for the work behind them.
    let most_ahead = (window / 2).max(2);
    let mut state = Ring {
        rooms,
        last_segment,
        segment: 0,
        head: 0,
        live: Vec::new(),
    };
    let mut next = 0;
    let mut loaded = vec![false; tiles.len()];
    let mut read = vec![false; tiles.len()];
    let mut ahead = 0;
    let mut result = Vec::with_capacity(fragments.len() + tiles.len());
    for (index, fragment) in fragments.into_iter().enumerate() {
        state.segment = segment_of(&fragment).unwrap_or(state.segment);
        let needs = tiles_of(&fragment).to_vec();
        while needs.iter().any(|t| !loaded[t.0 as usize]) {
            let tile = order[next];
            if !state.enter(tile, tiles) {
                return Err(too_small(&tiles[tile.0 as usize], rooms[state.segment]).into());
            }
            loaded[tile.0 as usize] = true;
            next += 1;
            ahead += 1;
            result.push(Fragment::LoadTile { tile });
        }
        result.push(fragment);
        for tile in &needs {
            let place = tile.0 as usize;
            // A pinned tile runs ahead until it is read first, any other until it is read last.
            let first_read = !std::mem::replace(&mut read[place], true);
            if tiles[place].pinned {
                ahead -= usize::from(first_read);
            } else if last_use[place] == index {
                ahead -= 1;
                state.release(*tile);
            }
        }
        while next < order.len() && ahead < most_ahead {
            let tile = order[next];
            if !state.enter(tile, tiles) {
                break;
            }
            loaded[tile.0 as usize] = true;
            next += 1;
            ahead += 1;
            result.push(Fragment::LoadTile { tile });
        }
    }
    Ok(result)
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
    /// The segment that reads each tile last.
    last_segment: Vec<usize>,
    /// The segment at hand.
    segment: usize,
    /// Address behind the newest tile.
    head: u64,
    /// Tiles that are there: id, start, end.
    live: Vec<(TileId, u64, u64)>,
}

impl Ring<'_> {
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

    /// Finds room behind the newest tile, or else at the lowest address that is free until the tile is read last.
    fn push(&mut self, tile: TileId, bytes: u64) -> Option<u64> {
        let bytes = bytes.next_multiple_of(ALIGN);
        let until = self.last_segment[tile.0 as usize].max(self.segment);
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
        let starts = [self.head, base].into_iter().chain(ends);
        let start = starts.into_iter().find(is_free)?;
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
