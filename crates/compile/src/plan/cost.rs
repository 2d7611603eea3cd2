//! Cost: the DRAM bytes of a choice in closed form, before there are fragments.

use indexmap::{IndexMap, IndexSet};

use super::demand::{self, Scene, Taking, Use};
use super::storage::RootId;
use super::{Alternates, Segment};

/// Bytes that a choice moves beyond what every choice moves: constants, spills and fills.
pub fn traffic(
    scene: &Scene<'_>,
    segments: &[Segment],
    uses: &IndexMap<RootId, Use>,
    spilled: &IndexSet<RootId>,
) -> u64 {
    let constants: u64 = segments
        .iter()
        .map(|segment| segment.visits() * constants(scene, segment))
        .sum();
    constants + spills(scene, segments, uses, spilled)
}

/// Bytes of all spills and fills.
pub fn spills(
    scene: &Scene<'_>,
    segments: &[Segment],
    uses: &IndexMap<RootId, Use>,
    spilled: &IndexSet<RootId>,
) -> u64 {
    spilled
        .iter()
        .map(|&root| spill(scene, segments, root, &uses[&root]))
        .sum()
}

/// Bytes of all constants of a segment.
pub fn constants(scene: &Scene<'_>, segment: &Segment) -> u64 {
    segment
        .stages
        .iter()
        .map(|stage| demand::constant_bytes(scene, segment, stage).1)
        .sum()
}

/// Spilled values that a segment exchanges with DRAM, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exchange {
    pub fills: u64,
    pub spills: u64,
    /// Fills and spills, block by block or pass by pass, of values that have one place: units wait for them.
    pub in_one_place: u64,
}

/// Bytes of a value that a search counts for spilling it once.
pub fn spilled_bytes(scene: &Scene<'_>, root: RootId) -> u64 {
    let info = scene.storage.root(root);
    let alignment = u64::from(scene.target.sram.alignment);
    info.bytes(info.rows).next_multiple_of(alignment)
}

/// What the segment `s` exchanges of the values that it touches.
pub fn exchange(
    scene: &Scene<'_>,
    (segment, s): (&Segment, usize),
    touched: &[RootId],
    uses: &IndexMap<RootId, Use>,
    spilled: &IndexSet<RootId>,
) -> Exchange {
    let waits = segment.repeats() && segment.alternates == Alternates::Nothing;
    let mut exchange = Exchange::default();
    for &root in touched.iter().filter(|root| spilled.contains(*root)) {
        let (bytes, using) = (spilled_bytes(scene, root), &uses[&root]);
        let (moved, comes_once) = match using.made.0 == s {
            true => {
                exchange.spills += bytes;
                (bytes, false)
            }
            false => {
                let taking = Taking::of(segment, s, root, using);
                let moved = taking.times(segment) * bytes;
                exchange.fills += moved;
                (moved, matches!(taking, Taking::Whole | Taking::Kept))
            }
        };
        if waits && !comes_once {
            exchange.in_one_place += moved;
        }
    }
    exchange
}

/// DRAM bytes of spilling a value: written once, and read by every other segment that takes it.
fn spill(scene: &Scene<'_>, segments: &[Segment], root: RootId, using: &Use) -> u64 {
    let info = scene.storage.root(root);
    let mut readers: IndexSet<usize> = using.read.iter().map(|&(segment, _)| segment).collect();
    readers.shift_remove(&using.made.0);
    let reads: u64 = readers
        .iter()
        .map(|&s| Taking::of(&segments[s], s, root, using).times(&segments[s]))
        .sum();
    info.bytes(info.rows) * (1 + reads)
}
