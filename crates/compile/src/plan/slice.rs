//! Slicing: how many row blocks each segment is cut into, what stays and what is spilled.
//!
//! Starts from whole segments (every constant read once, nothing spilled) and gives way only where
//! SRAM is short. Two things help at the peak: spilling the largest value that crosses it, which costs its
//! bytes once for each way, and cutting the segment into one more row block, which costs its constants
//! once more. The cheaper one is taken; in the end spills that turned out to be needless are taken back.

use indexmap::{IndexMap, IndexSet};
use packwright_ir::Graph;
use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_target::Target;

use super::constants::Layout;
use super::demand::{self, Scene, Use};
use super::stage::Stage;
use super::storage::{RootId, Storage};
use super::{Buffer, Plan, Segment, SramSpan, order, pin, place, prefetch};
use crate::options::PlanOptions;

/// The least share of SRAM that tiles of long rows are cut down to, one part in so many.
const NARROWEST_TILE: u64 = 64;

/// A feasible choice with its buffers placed.
struct Choice {
    segments: Vec<Segment>,
    spilled: IndexSet<RootId>,
    buffers: Vec<Buffer>,
    top: u64,
}

/// Chooses row blocks and spills, and carries the choice out.
///
/// # Errors
/// `plan-sram` when even the smallest fragments do not fit, with what they need.
pub fn choose(
    graph: &Graph,
    target: &Target,
    options: &PlanOptions,
    storage: Storage,
    layout: Layout,
    segments: Vec<Segment>,
) -> Result<Plan, Diagnostics> {
    let scene = Scene {
        graph,
        target,
        options,
        storage: &storage,
        layout: &layout,
    };
    let uses = demand::uses(graph, &storage, &segments);
    let row_chunk = row_chunk(&scene, &segments);
    let mut tile_share = options.tile_share;
    let (options, fitting) = loop {
        let options = PlanOptions {
            row_chunk,
            tile_share,
            ..options.clone()
        };
        let scene = Scene {
            options: &options,
            ..scene
        };
        match fit(&scene, segments.clone(), &uses) {
            Ok(fitting) => break (options, fitting),
            Err(problems) if tile_share >= NARROWEST_TILE => return Err(problems),
            Err(_) => tile_share *= 2,
        }
    };
    let options = &options;
    let scene = Scene { options, ..scene };
    let choice = keep_constants(&scene, fitting, &uses);
    let left = SramSpan {
        addr: choice.top,
        bytes: target.sram.bytes - choice.top,
    };
    let ordered = order::order(&scene, &choice.segments, &uses, &choice.spilled);
    let (mut fragments, mut tiles) = (ordered.fragments, ordered.tiles);
    let reserve = ring_need(&scene, &choice.segments)
        .0
        .max(target.sram.bytes / 16);
    let budget = left.bytes.saturating_sub(reserve);
    let pinned = pin::pin(&mut fragments, &mut tiles, left, budget);
    let ring = SramSpan {
        addr: left.addr + pinned,
        bytes: left.bytes - pinned,
    };
    let window = target.sequencer.window as usize;
    let fragments = prefetch::prefetch(fragments, &mut tiles, ring, window)?;
    let spill_bytes = choice
        .spilled
        .iter()
        .map(|&root| {
            storage
                .root(root)
                .bytes(storage.root(root).rows)
                .next_multiple_of(64)
        })
        .sum();
    let tile_top = tiles.iter().map(|t| t.addr + t.bytes).max().unwrap_or(0);
    Ok(Plan {
        segments: choice.segments,
        fragments,
        buffers: choice.buffers,
        tiles,
        ring: left,
        row_chunk: options.row_chunk,
        spill_bytes,
        sram_peak: choice.top.max(tile_top),
        storage,
        layout,
    })
}

/// Rows of a row-wise fragment: as many as asked for, fewer where two copies of their scratch would take
/// more than an eighth of SRAM.
fn row_chunk(scene: &Scene<'_>, segments: &[Segment]) -> usize {
    let one = PlanOptions {
        row_chunk: 1,
        ..scene.options.clone()
    };
    let scene_of_one = Scene {
        options: &one,
        ..*scene
    };
    let widest = segments
        .iter()
        .flat_map(|segment| segment.stages.iter().map(move |stage| (segment, stage)))
        .filter(|(_, stage)| matches!(stage, Stage::Rows { .. }))
        .map(|(segment, stage)| {
            demand::scratch(&scene_of_one, segment, stage)
                .iter()
                .sum::<u64>()
        })
        .max()
        .unwrap_or(0);
    let fit = scene.target.sram.bytes / 16 / widest.max(1);
    scene.options.row_chunk.min(fit as usize).max(1)
}

/// Cuts and spills until everything fits.
fn fit(
    scene: &Scene<'_>,
    mut segments: Vec<Segment>,
    uses: &IndexMap<RootId, Use>,
) -> Result<Choice, Diagnostics> {
    let capacity = scene.target.sram.bytes;
    let alignment = u64::from(scene.target.sram.alignment);
    let mut spilled = IndexSet::new();
    loop {
        let mut buffers = demand::buffers(scene, &segments, uses, &spilled);
        let top = place::place(&mut buffers, alignment);
        let (ring, hungry) = ring_need(scene, &segments);
        if top + ring <= capacity {
            let choice = Choice {
                segments,
                spilled,
                buffers,
                top,
            };
            return Ok(take_back(scene, choice, uses));
        }
        let (live, step) = place::live_peak(&buffers, alignment);
        let at = segment_of(&segments, step);
        let crossing = largest_crossing(scene, &segments, uses, &spilled, at);
        if let Some(root) = crossing
            && (!can_cut(&segments[at])
                || spill_cost(scene, root, &uses[&root]) < cut_cost(scene, &segments[at]))
        {
            spilled.insert(root);
            continue;
        }
        if cut(&mut segments[at]) {
            continue;
        }
        // Cutting elsewhere helps only where fragmentation, not live data, is in the way.
        if let Some(other) = (0..segments.len())
            .rev()
            .find(|&s| s != at && can_cut(&segments[s]))
        {
            cut(&mut segments[other]);
            continue;
        }
        return Err(too_small(scene, &segments, (live + ring, at), hungry).into());
    }
}

/// Takes back spills that the final choice can do without, the most expensive first.
fn take_back(scene: &Scene<'_>, mut choice: Choice, uses: &IndexMap<RootId, Use>) -> Choice {
    let alignment = u64::from(scene.target.sram.alignment);
    let ring = ring_need(scene, &choice.segments).0;
    let mut roots: Vec<RootId> = choice.spilled.iter().copied().collect();
    roots.sort_by_key(|&root| {
        (
            std::cmp::Reverse(spill_cost(scene, root, &uses[&root])),
            root,
        )
    });
    for root in roots {
        let mut spilled = choice.spilled.clone();
        spilled.shift_remove(&root);
        let mut buffers = demand::buffers(scene, &choice.segments, uses, &spilled);
        let top = place::place(&mut buffers, alignment);
        if top + ring <= scene.target.sram.bytes {
            choice = Choice {
                spilled,
                buffers,
                top,
                ..choice
            };
        }
    }
    choice
}

/// DRAM bytes of spilling a value: written once, read by each stage that takes it.
fn spill_cost(scene: &Scene<'_>, root: RootId, using: &Use) -> u64 {
    let info = scene.storage.root(root);
    info.bytes(info.rows) * (1 + using.read.len() as u64)
}

/// DRAM bytes of one more row block: the constants of the segment once more.
fn cut_cost(scene: &Scene<'_>, segment: &Segment) -> u64 {
    let constants = segment
        .stages
        .iter()
        .map(|stage| demand::constant_bytes(scene, stage).1);
    constants.sum()
}

/// Cuts a segment into one more block, in steps of eight rows while they are large.
fn cut(segment: &mut Segment) -> bool {
    if !can_cut(segment) {
        return false;
    }
    let blocks = segment.block_count() + 1;
    let mut rows = segment.rows.div_ceil(blocks);
    if rows >= 16 {
        rows = rows.next_multiple_of(8);
    }
    if rows >= segment.block_rows {
        rows = segment.block_rows - if segment.block_rows > 16 { 8 } else { 1 };
    }
    segment.block_rows = rows;
    true
}

fn can_cut(segment: &Segment) -> bool {
    segment.block_rows > 1
        && segment
            .stages
            .iter()
            .all(|s| !matches!(s, Stage::Whole { .. } | Stage::Input { .. }))
}

/// The segment that a step belongs to.
fn segment_of(segments: &[Segment], step: usize) -> usize {
    let mut end = 0;
    for (index, segment) in segments.iter().enumerate() {
        end += segment.stages.len();
        if step < end {
            return index;
        }
    }
    segments.len().saturating_sub(1)
}

/// The largest value alive around a segment that is read row by row and can go through DRAM.
fn largest_crossing(
    scene: &Scene<'_>,
    segments: &[Segment],
    uses: &IndexMap<RootId, Use>,
    spilled: &IndexSet<RootId>,
    at: usize,
) -> Option<RootId> {
    uses.iter()
        .filter(|(root, using)| {
            !spilled.contains(*root)
                && using.crosses()
                && using.made.0 <= at
                && using.read.iter().any(|&(s, _)| s >= at)
                && !demand::attends(&segments[at], at, using)
                && can_spill(scene, segments, **root, using)
        })
        .max_by_key(|(root, _)| {
            let info = scene.storage.root(**root);
            (info.bytes(info.rows), std::cmp::Reverse(**root))
        })
        .map(|(&root, _)| root)
}

/// A value can be spilled where every reader takes the same rows that it makes, or all of them in a later
/// segment.
fn can_spill(scene: &Scene<'_>, segments: &[Segment], root: RootId, using: &Use) -> bool {
    let rows = scene.storage.root(root).rows;
    rows == segments[using.made.0].rows
        && using.read.iter().all(|&(s, i)| {
            let stage = &segments[s].stages[i];
            match stage {
                Stage::Whole { .. } | Stage::Input { .. } => false,
                Stage::Attention { .. } => s != using.made.0,
                Stage::Matmul { .. } | Stage::Rows { .. } => segments[s].rows == rows,
            }
        })
}

/// What the ring must hold at the least, and the segment that asks for it.
fn ring_need(scene: &Scene<'_>, segments: &[Segment]) -> (u64, usize) {
    segments
        .iter()
        .enumerate()
        .map(|(index, segment)| {
            let stages = segment
                .stages
                .iter()
                .map(|stage| demand::constant_bytes(scene, stage));
            let need = if segment.resident {
                // All of them, and what the ends of the ring and its neighbours leave unused.
                let (all, largest) = stages.fold((0, 0), |(sum, most), (largest, all)| {
                    (sum + all, most.max(largest))
                });
                all + 3 * largest.min(all)
            } else {
                // Two tiles: one works while the next arrives.
                stages.map(|(largest, _)| 2 * largest).max().unwrap_or(0)
            };
            (need, index)
        })
        .max_by_key(|&(need, index)| (need, std::cmp::Reverse(index)))
        .unwrap_or((0, 0))
}

/// Keeps the constants of cut segments for all their blocks where SRAM has room for them.
fn keep_constants(scene: &Scene<'_>, choice: Choice, uses: &IndexMap<RootId, Use>) -> Choice {
    let alignment = u64::from(scene.target.sram.alignment);
    let capacity = scene.target.sram.bytes;
    if choice.segments.iter().all(|s| s.block_count() <= 1) {
        return choice;
    }
    let mut segments = choice.segments.clone();
    for segment in segments.iter_mut().filter(|s| s.block_count() > 1) {
        segment.resident = true;
    }
    for _ in 0..16 {
        let mut buffers = demand::buffers(scene, &segments, uses, &choice.spilled);
        let top = place::place(&mut buffers, alignment);
        if top + ring_need(scene, &segments).0 <= capacity {
            return Choice {
                segments,
                spilled: choice.spilled,
                buffers,
                top,
            };
        }
        let mut any = false;
        for segment in segments.iter_mut().filter(|s| s.block_count() > 1) {
            any |= cut(segment);
        }
        if !any {
            break;
        }
    }
    choice
}

fn too_small(
    scene: &Scene<'_>,
    segments: &[Segment],
    (need, at): (u64, usize),
    hungry: usize,
) -> Diagnostic {
    let name = |s: usize| {
        segments[s]
            .stages
            .first()
            .and_then(|stage| stage.nodes().first().copied())
            .map_or_else(String::new, |node| node.to_string())
    };
    Diagnostic::unsupported(
        "plan-sram",
        format!(
            "the smallest plan needs {need} bytes of SRAM, the target has {}",
            scene.target.sram.bytes
        ),
    )
    .at(format!(
        "segment at {}, weights of the segment at {}",
        name(at),
        name(hungry)
    ))
    .help(format!(
        "raise sram.bytes (--set sram.bytes={}KiB), or shorten the sequence",
        need.div_ceil(1024)
    ))
}
