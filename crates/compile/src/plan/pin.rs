//! Pinning: constants that several layers read stay in SRAM where there is room for them.
//!
//! ALBERT's one layer is read twelve times. Its tiles get places at the end of SRAM, as many as fit, are
//! loaded once and never leave.

use indexmap::IndexMap;

use super::Fragment;
use super::constants::{StoredId, Tile, TileId};

/// Alignment of tiles.
const ALIGN: u64 = 64;

/// Tiles of the same bytes.
fn same(tiles: &[Tile]) -> IndexMap<(StoredId, u64, u64, u64), Vec<TileId>> {
    let mut same: IndexMap<_, Vec<TileId>> = IndexMap::new();
    for (index, tile) in tiles.iter().enumerate() {
        let key = (tile.stored, tile.offset, tile.runs, tile.bytes);
        same.entry(key).or_default().push(TileId(index as u32));
    }
    same
}

/// Gives tiles that are read again later fixed places below `end`, and makes all their readers name the same tile: `all`
/// of these bytes may be taken where they are enough for all such tiles, else `some`. Returns where the lowest of them
/// begins.
pub fn pin(
    fragments: &mut [Fragment],
    tiles: &mut [Tile],
    end: u64,
    (all, some): (u64, u64),
) -> u64 {
    let mut same = same(tiles);
    same.retain(|_, ids| ids.len() > 1);
    let bytes = same.keys().map(|(.., bytes)| bytes.next_multiple_of(ALIGN));
    let budget = if bytes.sum::<u64>() <= all { all } else { some };
    let end = end / ALIGN * ALIGN;
    let mut start = end;
    let mut kept: Vec<TileId> = (0..tiles.len() as u32).map(TileId).collect();
    for ((.., bytes), ids) in &same {
        let bytes = bytes.next_multiple_of(ALIGN);
        if end - start + bytes > budget {
            continue;
        }
        let first = ids[0];
        let tile = &mut tiles[first.0 as usize];
        start -= bytes;
        (tile.addr, tile.pinned) = (start, true);
        for id in ids {
            kept[id.0 as usize] = first;
        }
    }
    if end == start {
        return start;
    }
    for fragment in fragments {
        if let Fragment::Work { tiles, .. } = fragment {
            for tile in tiles {
                *tile = kept[tile.0 as usize];
            }
        }
    }
    start
}
