//! Cost: the DRAM bytes of a choice in closed form, before there are fragments.

use indexmap::{IndexMap, IndexSet};

use super::Segment;
use super::demand::{self, Scene, Use};
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
        .map(|segment| {
            let visits = match segment.resident {
                true => 1,
                false => segment.block_count() as u64,
            };
            visits * constants(scene, segment)
        })
        .sum();
    let spills: u64 = spilled
        .iter()
        .map(|&root| spill(scene, segments, root, &uses[&root]))
        .sum();
    constants + spills
}

/// Bytes of all constants of a segment.
pub fn constants(scene: &Scene<'_>, segment: &Segment) -> u64 {
    segment
        .stages
        .iter()
        .map(|stage| demand::constant_bytes(scene, segment, stage).1)
        .sum()
}

/// DRAM bytes of spilling a value: written once, and read by every other segment that takes it, in each of
/// its passes.
pub fn spill(scene: &Scene<'_>, segments: &[Segment], root: RootId, using: &Use) -> u64 {
    let info = scene.storage.root(root);
    let mut readers: IndexSet<usize> = using.read.iter().map(|&(segment, _)| segment).collect();
    readers.shift_remove(&using.made.0);
    let reads: u64 = readers
        .iter()
        .map(|&s| match demand::attends(&segments[s], s, using) {
            true => 1,
            false => segments[s].passes.count as u64,
        })
        .sum();
    info.bytes(info.rows) * (1 + reads)
}
