//! Prefetch: places in the ring for constant tiles, and their loads as early as the ring permits.
//!
//! The ring is a queue of bytes: tiles enter in the order of first use and leave when their last
//! reader is done. A load stands right behind the fragment whose end makes room for it.

use std::collections::VecDeque;

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
    ring: SramSpan,
    window: usize,
) -> Result<Vec<Fragment>, Diagnostics> {
    let mut last_use = vec![0usize; tiles.len()];
    let mut order: Vec<TileId> = Vec::new();
    let mut seen = vec![false; tiles.len()];
    for (index, fragment) in fragments.iter().enumerate() {
        for &tile in tiles_of(fragment) {
            last_use[tile.0 as usize] = index;
            if !std::mem::replace(&mut seen[tile.0 as usize], true) {
                order.push(tile);
            }
        }
    }
    // Loads that run ahead must leave room in the sequencer's window for the work behind them.
    let most_ahead = (window / 2).max(2);
    let mut state = Ring {
        span: ring,
        head: 0,
        live: VecDeque::new(),
    };
    let mut next = 0;
    let mut loaded = vec![false; tiles.len()];
    let mut read = vec![false; tiles.len()];
    let mut ahead = 0;
    let mut result = Vec::with_capacity(fragments.len() + tiles.len());
    for (index, fragment) in fragments.into_iter().enumerate() {
        let needs = tiles_of(&fragment).to_vec();
        while needs.iter().any(|t| !loaded[t.0 as usize]) {
            let tile = order[next];
            if !state.enter(tile, tiles) {
                return Err(too_small(&tiles[tile.0 as usize], ring).into());
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

/// A queue of tiles over a span of SRAM.
struct Ring {
    span: SramSpan,
    /// Offset behind the newest tile.
    head: u64,
    /// Tiles from the oldest to the newest: id, start, end, released.
    live: VecDeque<(TileId, u64, u64, bool)>,
}

impl Ring {
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

    /// Finds room behind the newest tile, or from the start of the span.
    fn push(&mut self, tile: TileId, bytes: u64) -> Option<u64> {
        let bytes = bytes.next_multiple_of(ALIGN);
        let base = self.span.addr.next_multiple_of(ALIGN) - self.span.addr;
        let start = match self.live.front() {
            None => (base + bytes <= self.span.bytes).then_some(base),
            Some(&(_, oldest, _, _)) if self.head > oldest => {
                if self.head + bytes <= self.span.bytes {
                    Some(self.head)
                } else {
                    (base + bytes <= oldest).then_some(base)
                }
            }
            Some(&(_, oldest, _, _)) => (self.head + bytes <= oldest).then_some(self.head),
        }?;
        self.head = start + bytes;
        self.live.push_back((tile, start, start + bytes, false));
        Some(self.span.addr + start)
    }

    fn release(&mut self, tile: TileId) {
        if let Some(entry) = self.live.iter_mut().find(|entry| entry.0 == tile) {
            entry.3 = true;
        }
        while self.live.front().is_some_and(|entry| entry.3) {
            self.live.pop_front();
        }
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
