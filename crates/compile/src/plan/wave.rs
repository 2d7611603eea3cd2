//! Waves: pieces of a row block that go through the first and the last tiles of a product one behind the other.
//!
//! A product takes one weight tile at a time, for all rows of a block. What is done row by row behind it would wait
//! for the last tile, and the next product for that: norms and quantisation of all rows, while the arrays are
//! idle. So where SRAM has room for several tiles, pieces of the block go through the last of them one by one:
//! the vector unit is at work on one piece while the arrays are on the next, and the product behind begins with the
//! pieces that are ready.

use std::ops::Range;

use packwright_ir::NodeId;

use super::columns;
use super::demand::Scene;
use super::order::chunks;
use super::stage::Stage;
use super::{Pieces, Segment};

/// Most pieces of a block.
const PIECES: usize = 4;

/// Lane cycles that a norm with a quantisation takes for an element, about.
const ROW_CYCLES: u64 = 13;

/// Bytes of tiles that pieces take in turn where a product begins and where it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wave {
    head: u64,
    tail: u64,
}

/// The wave of a product: `first` and `last` say whether these are the first and the last of its columns, `transfers`
/// whether its rows come from DRAM or go there, piece by piece: then one tile at each end is worth it.
pub fn wave(
    scene: &Scene<'_>,
    segment: &Segment,
    stage: usize,
    (first, last): (bool, bool),
    transfers: bool,
) -> Wave {
    if segment.wave == 0 && !transfers {
        return Wave::default();
    }
    let Stage::Matmul { node, .. } = &segment.stages[stage] else {
        return Wave::default();
    };
    let operand = scene.graph.operand(*node, 0);
    let read = operand.map_or(0, |value| scene.graph.ty(value).columns());
    let made = scene.graph.types(*node)[0].columns();
    let is_product = |at: Option<usize>| {
        let neighbour = at.and_then(|at| segment.stages.get(at));
        matches!(neighbour, Some(Stage::Matmul { .. }))
    };
    // Beside another product one tile is enough.
    let bytes = |product: bool, columns: usize| match product {
        true => 1,
        false => wanted(scene, columns).min(segment.wave).max(1),
    };
    Wave {
        head: u64::from(first) * bytes(is_product(stage.checked_sub(1)), read),
        tail: u64::from(last) * bytes(is_product(Some(stage + 1)), made),
    }
}

/// Whether stages that go row by row stand before a product in each pass, and behind it: its own place is theirs until they
/// have done with the pass before.
pub fn beside_rows(segment: &Segment, stage: usize) -> (bool, bool) {
    let is_rows = |at: Option<usize>| {
        let neighbour = at.and_then(|at| segment.stages.get(at));
        matches!(neighbour, Some(Stage::Rows { .. }))
    };
    let before = stage.checked_sub(1).or(segment.stages.len().checked_sub(1));
    (is_rows(before), is_rows(Some(stage + 1)))
}

/// Bytes of tiles that are worth having for the waves of a segment; none where it has a single piece.
pub fn worth(scene: &Scene<'_>, segment: &Segment) -> u64 {
    if pieces(scene, &(0..segment.block_rows)).len() < 2 {
        return 0;
    }
    let of_stage = |stage: &Stage| match stage {
        Stage::Matmul { node, .. } => Some(*node),
        Stage::Rows { nodes } => nodes.last().copied(),
        _ => None,
    };
    let nodes = segment.stages.iter().filter_map(of_stage);
    let bytes = nodes.map(|node| wanted(scene, scene.graph.types(node)[0].columns()));
    bytes.max().unwrap_or(0)
}

/// Weights that keep the arrays at work for as long as the vector unit needs for rows of so many columns.
fn wanted(scene: &Scene<'_>, columns: usize) -> u64 {
    let (matrix, lanes) = (&scene.target.matrix, u64::from(scene.target.vector.lanes));
    let macs = u64::from(matrix.rows) * u64::from(matrix.columns);
    ROW_CYCLES * columns as u64 * macs / lanes.max(1)
}

/// The pieces of a row block: two, or more where each still has twice the rows that an array has, so that filling and
/// draining it costs little.
pub fn pieces(scene: &Scene<'_>, block: &Range<usize>) -> Vec<Range<usize>> {
    let all = block.len();
    let least = all.div_ceil(2).min(2 * array_rows(scene));
    of_whole_arrays(scene, block, all.div_ceil(PIECES).max(least))
}

/// The halves of a row block, or all of it where it has too few rows.
pub fn halves(scene: &Scene<'_>, block: &Range<usize>) -> Vec<Range<usize>> {
    of_whole_arrays(scene, block, block.len().div_ceil(2))
}

/// Pieces of so many rows, or a few more, so that they fill the arrays of all cores.
fn of_whole_arrays(scene: &Scene<'_>, block: &Range<usize>, rows: usize) -> Vec<Range<usize>> {
    let array = array_rows(scene).max(1);
    chunks(block.clone(), rows.max(1).next_multiple_of(array))
}

/// Rows of the arrays of all cores.
fn array_rows(scene: &Scene<'_>) -> usize {
    scene.target.matrix.rows as usize * scene.target.cores as usize
}

/// Rows that go through a tile of a product at a time, at the most. Several tiles whose columns belong together stay for
/// a block of rows, and results of the model leave in long runs: these take all rows.
pub fn piece_rows(scene: &Scene<'_>, segment: &Segment, node: NodeId) -> usize {
    let block = 0..segment.block_rows;
    let pieces = match segment.portions.pieces {
        Pieces::Whole => return segment.block_rows,
        Pieces::Halves if columns::are_quantized(scene, node) => halves(scene, &block),
        Pieces::Halves => return segment.block_rows,
        Pieces::Turns => pieces(scene, &block),
    };
    let is_cut =
        columns::of(scene, segment, node).parts == 1 && columns::drained(scene, node).is_none();
    match pieces.first() {
        Some(piece) if is_cut => piece.len(),
        _ => segment.block_rows,
    }
}

impl Wave {
    /// How many of some groups of tiles pieces take in turn, at the beginning; and the first of those at the end.
    /// Each has so many bytes in so many tiles; a single tile is there in any case.
    pub fn ends(self, groups: &[(u64, usize)]) -> (usize, usize) {
        let fitting = |most: u64, groups: &mut dyn Iterator<Item = &(u64, usize)>| {
            let mut sum = 0;
            let within = groups.take_while(|&&(bytes, tiles)| {
                let is_there = sum == 0 && tiles == 1 && most > 0;
                sum += bytes;
                is_there || sum <= most
            });
            within.count()
        };
        let tail = fitting(self.tail, &mut groups.iter().rev());
        let rest = &groups[..groups.len() - tail];
        let head = fitting(self.head, &mut rest.iter());
        (head, rest.len())
    }
}
