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
    let bytes: Vec<u64> = bytes.collect();
    let budget = if bytes.iter().sum::<u64>() <= all {
        all
    } else {
        some
    };
    let end = end / ALIGN * ALIGN;
    let mut start = end;
    let mut kept: Vec<TileId> = (0..tiles.len() as u32).map(TileId).collect();
    for index in spread(&bytes, budget) {
        let ids = &same[index];
        let first = ids[0];
        let tile = &mut tiles[first.0 as usize];
        start -= bytes[index];
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

/// Which of some tiles fit into a budget, spread evenly over all of them: between two that stay DRAM brings one that does
/// not.
fn spread(bytes: &[u64], budget: u64) -> Vec<usize> {
    let all: u64 = bytes.iter().sum();
    let share = budget.min(all);
    let (mut seen, mut taken) = (0, 0);
    let mut chosen = vec![false; bytes.len()];
    for (chosen, &bytes) in chosen.iter_mut().zip(bytes) {
        seen += bytes;
        let due = u128::from(seen) * u128::from(share);
        *chosen = u128::from(taken + bytes) * u128::from(all) <= due;
        taken += if *chosen { bytes } else { 0 };
    }
    // What is left is for the first ones that fit.
    for (chosen, &bytes) in chosen.iter_mut().zip(bytes) {
        if !*chosen && taken + bytes <= budget {
            (*chosen, taken) = (true, taken + bytes);
        }
    }
    (0..bytes.len()).filter(|&index| chosen[index]).collect()
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn tiles_that_stay_are_spread_evenly() {
        assert_eq!(spread(&[8; 9], 24), [2, 5, 8]);
        assert_eq!(spread(&[8; 9], 31), [2, 4, 6]);
        assert_eq!(spread(&[8; 4], 32), [0, 1, 2, 3]);
        assert_eq!(spread(&[8; 4], 7), [0; 0]);
    }

    #[test]
    fn what_is_left_goes_to_the_first_that_fit() {
        // Half of all would be 10: the large one is never due, so small ones take its share.
        assert_eq!(spread(&[14, 2, 2, 2], 10), [1, 2, 3]);
        assert_eq!(spread(&[3, 10, 3, 3], 9), [0, 2, 3]);
    }
}
