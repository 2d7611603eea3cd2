//! Cost: the DRAM bytes of a choice in closed form, before there are fragments.

use indexmap::{IndexMap, IndexSet};

use super::Segment;
use super::demand::{self, Scene, Taking, Use};
use super::storage::RootId;

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
