//! Slicing: how segments are formed and cut, what stays and what is spilled.
//!
//! Several ways are searched and the one that moves the fewest bytes is carried out: whole segments, and
//! segments of one product each, whose constants may stay while rows stream by; each with two rules of
//! choice, and for smaller budgets too, so that more SRAM never moves more.

use packwright_ir::Graph;
use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_target::Target;

use super::classes::Classes;
use super::constants::Layout;
use super::demand::{self, Scene};
use super::search::{self, Fitting, Problem, Rule};
use super::stage::Stage;
use super::storage::Storage;
use super::{Plan, Segment, SramSpan, cost, order, pin, prefetch, segment};
use crate::options::{PlanMode, PlanOptions};

/// The smallest budget that is tried beside the whole of SRAM.
const SMALLEST_BUDGET: u64 = 32 << 10;

/// Chooses cuts and spills, and carries the choice out.
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
        sram: target.sram.bytes,
    };
    let found = best(&scene, &segments)?;
    Ok(found
        .parts
        .into_plan(&found.options, storage.clone(), layout.clone()))
}

/// A choice that fits and has become fragments, with the options that it was found with.
struct Found {
    parts: Parts,
    options: PlanOptions,
    traffic: u64,
}

/// The best of all ways.
fn best(scene: &Scene<'_>, segments: &[Segment]) -> Result<Found, Diagnostics> {
    let least: u64 = segments.iter().map(|s| cost::constants(scene, s)).sum();
    let mut found: Option<Found> = None;
    let enough = |found: &Option<Found>| found.as_ref().is_some_and(|f| f.traffic <= least);
    let mut problem: Option<Diagnostics> = None;
    let mut fits = false;
    let mut budget = scene.sram;
    while budget >= SMALLEST_BUDGET.min(scene.sram) {
        for segments in ways(scene, segments) {
            let uses = demand::uses(scene.graph, scene.storage, &segments);
            let classes = Classes::of(scene.graph, scene.storage, &segments, &uses);
            let options = options_for(scene, &segments, budget);
            let scene = Scene {
                options: &options,
                sram: budget,
                ..*scene
            };
            for rule in [Rule::Rate, Rule::Least] {
                let task = Problem {
                    scene: &scene,
                    uses: &uses,
                    classes: &classes,
                    rule,
                    through_dram: scene.options.mode != PlanMode::Best,
                };
                let fitting = match search::fit(&task, prepared(&segments, budget)) {
                    Ok(fitting) => fitting,
                    Err(diagnostic) => {
                        problem.get_or_insert(diagnostic.into());
                        continue;
                    }
                };
                fits = true;
                let traffic = fitting.traffic;
                if found.as_ref().is_some_and(|known| known.traffic <= traffic) {
                    continue;
                }
                // The ends of the ring may leave too little of it; then another choice has to do.
                match carry_out(&scene, fitting) {
                    Ok(parts) => {
                        found = Some(Found {
                            parts,
                            options: options.clone(),
                            traffic,
                        });
                    }
                    Err(diagnostics) => {
                        problem.get_or_insert(diagnostics);
                    }
                }
                if enough(&found) {
                    break;
                }
            }
            if enough(&found) {
                break;
            }
        }
        // What does not fit into all of SRAM does not fit into less.
        if !fits || enough(&found) {
            break;
        }
        budget = smaller(budget);
    }
    match (found, problem) {
        (Some(found), _) => Ok(found),
        (None, Some(problem)) => Err(problem),
        (None, None) => Err(Diagnostic::unsupported(
            "plan-sram",
            "the target has too little SRAM for any plan",
        )
        .into()),
    }
}

/// The ways of forming segments that are tried.
fn ways(scene: &Scene<'_>, segments: &[Segment]) -> Vec<Vec<Segment>> {
    match scene.options.mode {
        PlanMode::Best => vec![
            segments.to_vec(),
            segment::split(segments, true),
            segment::split(segments, false),
        ],
        PlanMode::FusedOps | PlanMode::LayerWise => {
            vec![segment::singles(scene.graph, scene.storage, segments)]
        }
    }
}

/// The next smaller power of two.
fn smaller(budget: u64) -> u64 {
    let power = budget.next_power_of_two() / 2;
    power.min(budget.saturating_sub(1))
}

fn prepared(segments: &[Segment], budget: u64) -> Vec<Segment> {
    let mut segments = segments.to_vec();
    for segment in &mut segments {
        segment.tile_bytes = budget / 8;
    }
    segments
}

/// Rows of a row-wise fragment: as many as asked for, fewer where two copies of their scratch would take
/// more than an eighth of the budget.
fn options_for(scene: &Scene<'_>, segments: &[Segment], budget: u64) -> PlanOptions {
    let one = PlanOptions {
        row_chunk: 1,
        ..scene.options.clone()
    };
    let of_one = Scene {
        options: &one,
        ..*scene
    };
    let widest = segments
        .iter()
        .flat_map(|segment| segment.stages.iter().map(move |stage| (segment, stage)))
        .filter(|(_, stage)| matches!(stage, Stage::Rows { .. }))
        .map(|(segment, stage)| demand::scratch(&of_one, segment, stage).iter().sum::<u64>())
        .max()
        .unwrap_or(0);
    let fit = budget / 16 / widest.max(1);
    PlanOptions {
        row_chunk: scene.options.row_chunk.min(fit as usize).max(1),
        ..scene.options.clone()
    }
}

/// A choice that has become fragments.
struct Parts {
    fitting: Fitting,
    fragments: Vec<super::Fragment>,
    tiles: Vec<super::constants::Tile>,
    ring: SramSpan,
    spill_bytes: u64,
}

fn carry_out(scene: &Scene<'_>, fitting: Fitting) -> Result<Parts, Diagnostics> {
    let segments = &fitting.choice.segments;
    let spilled = &fitting.choice.spilled;
    let capacity = scene.target.sram.bytes;
    let left = SramSpan {
        addr: fitting.top,
        bytes: capacity - fitting.top,
    };
    let uses = demand::uses(scene.graph, scene.storage, segments);
    let ordered = order::order(scene, segments, &uses, spilled);
    let (mut fragments, mut tiles) = (ordered.fragments, ordered.tiles);
    let reserve = search::ring_need(scene, segments).0.max(capacity / 16);
    let budget = left.bytes.saturating_sub(reserve);
    let pinned = pin::pin(&mut fragments, &mut tiles, left, budget);
    let ring = SramSpan {
        addr: left.addr + pinned,
        bytes: left.bytes - pinned,
    };
    let window = scene.target.sequencer.window as usize;
    let fragments = prefetch::prefetch(fragments, &mut tiles, ring, window)?;
    let spill_bytes = spilled.iter().map(|&root| {
        let info = scene.storage.root(root);
        info.bytes(info.rows).next_multiple_of(64)
    });
    Ok(Parts {
        spill_bytes: spill_bytes.sum(),
        fitting,
        fragments,
        tiles,
        ring: left,
    })
}

impl Parts {
    fn into_plan(self, options: &PlanOptions, storage: Storage, layout: Layout) -> Plan {
        let tile_top = self.tiles.iter().map(|t| t.addr + t.bytes).max();
        Plan {
            segments: self.fitting.choice.segments,
            fragments: self.fragments,
            buffers: self.fitting.buffers,
            tiles: self.tiles,
            ring: self.ring,
            row_chunk: options.row_chunk,
            spill_bytes: self.spill_bytes,
            sram_peak: self.fitting.top.max(tile_top.unwrap_or(0)),
            storage,
            layout,
        }
    }
}
