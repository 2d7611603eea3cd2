//! Slicing: how segments are formed and cut, what stays and what is spilled.
//!
//! Several ways of forming segments are searched: whole ones, one product each with what is before or behind
//! it, and products with what they share their columns with. Each is carried out when it promises to move
//! fewer bytes than what is known, and what it really moves then counts: constants that several layers read
//! may stay in what SRAM is left over. So smaller budgets are tried too.

use packwright_ir::Graph;
use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_target::Target;

use super::classes::Classes;
use super::constants::Layout;
use super::demand::{self, Scene};
use super::form::{self, Price};
use super::search::{Fitting, Problem, Search};
use super::stage::Stage;
use super::storage::Storage;
use super::{Fragment, Plan, Segment, SramSpan, cost, order, pin, prefetch, segment};
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
    /// Its price as one number.
    weight: u64,
}

/// The best of all ways.
fn best(scene: &Scene<'_>, segments: &[Segment]) -> Result<Found, Diagnostics> {
    let shared = scene.layout.shared_bytes();
    let all: u64 = segments.iter().map(|s| cost::constants(scene, s)).sum();
    let least = all.saturating_sub(shared);
    let shared = shared > 0;
    let mut found: Option<Found> = None;
    let enough = |found: &Option<Found>| {
        let best = |f: &Found| f.parts.fitting.uncut && f.traffic <= least;
        found.as_ref().is_some_and(best)
    };
    let mut problem: Option<Diagnostics> = None;
    let mut fits = false;
    let mut budget = scene.sram;
    while budget >= SMALLEST_BUDGET.min(scene.sram) && !enough(&found) {
        for segments in ways(scene, segments) {
            let options = options_for(scene, &segments, budget);
            let scene = Scene {
                options: &options,
                sram: budget,
                ..*scene
            };
            let known = found.as_ref().map(|found| found.weight);
            match attempt(&scene, &segments, known.filter(|_| !shared)) {
                Ok(Some(parts)) => {
                    fits = true;
                    let (traffic, weight) = (parts.traffic(&scene), parts.weight(&scene));
                    if known.is_none_or(|known| weight < known) {
                        found = Some(Found {
                            parts,
                            options,
                            traffic,
                            weight,
                        });
                    }
                }
                Ok(None) => fits = true,
                Err(diagnostics) => {
                    problem.get_or_insert(diagnostics);
                }
            }
            if enough(&found) {
                break;
            }
        }
        // What does not fit into all of SRAM does not fit into less.
        if !fits {
            break;
        }
        // More SRAM than a plan takes is of use where it keeps constants.
        budget = match shared {
            true => budget - budget / 6 - 1,
            false => budget / 2,
        };
        if !shared && budget < scene.sram / 2 {
            break;
        }
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

/// The plan of one way of forming segments; nothing where it would move no fewer bytes than what is known.
fn attempt(
    scene: &Scene<'_>,
    segments: &[Segment],
    known: Option<u64>,
) -> Result<Option<Parts>, Diagnostics> {
    let uses = demand::uses(scene.graph, scene.storage, segments);
    let classes = Classes::of(scene.graph, scene.storage, segments, &uses);
    let mut search = Search::new(Problem {
        scene,
        segments,
        uses: &uses,
        classes: &classes,
        through_dram: scene.options.mode.is_baseline(),
    });
    let mut problem: Option<Diagnostics> = None;
    // The ends of the ring may leave too little of it; then it needs more room.
    for share in [0, 64, 32, 16, 8] {
        let slack = scene.sram.checked_div(share).unwrap_or(0);
        let fitting = match search.fit(slack) {
            Ok(fitting) => fitting,
            Err(diagnostic) => return Err(problem.unwrap_or(diagnostic.into())),
        };
        if known.is_some_and(|known| known <= fitting.price.weight(scene)) {
            return Ok(None);
        }
        match carry_out(scene, search.with_room_left(fitting, slack)) {
            Ok(parts) => return Ok(Some(parts)),
            Err(diagnostics) => problem = Some(diagnostics),
        }
    }
    Err(problem.unwrap_or_default())
}

/// The ways of forming segments that are tried.
fn ways(scene: &Scene<'_>, segments: &[Segment]) -> Vec<Vec<Segment>> {
    match scene.options.mode {
        PlanMode::Best | PlanMode::Fast => vec![
            segments.to_vec(),
            segment::split(segments, true),
            segment::split(segments, false),
            segment::by_columns(scene.graph, scene.storage, segments),
        ],
        PlanMode::FusedOps | PlanMode::LayerWise => {
            vec![segment::singles(scene.graph, scene.storage, segments)]
        }
    }
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
    fragments: Vec<Fragment>,
    tiles: Vec<super::constants::Tile>,
    rooms: Vec<SramSpan>,
    spill_bytes: u64,
}

fn carry_out(scene: &Scene<'_>, fitting: Fitting) -> Result<Parts, Diagnostics> {
    let segments = &fitting.choice.segments;
    let spilled = &fitting.choice.spilled;
    let capacity = scene.target.sram.bytes;
    let uses = demand::uses(scene.graph, scene.storage, segments);
    let ordered = order::order(scene, segments, &uses, spilled);
    let (mut fragments, mut tiles) = (ordered.fragments, ordered.tiles);
    // What every segment can spare for constants that stay: all but its ring where that is enough for all of them,
    // else some more for tiles that come ahead.
    let spare = |least: u64| {
        let of_each = segments.iter().zip(&fitting.tops).map(|(segment, &top)| {
            let reserve = form::ring_need(scene, segment).max(least);
            capacity.saturating_sub(top + reserve)
        });
        of_each.min().unwrap_or(0)
    };
    let spare = (spare(0), spare(capacity / 16));
    let end = pin::pin(&mut fragments, &mut tiles, capacity, spare);
    let room = |&addr: &u64| SramSpan {
        addr,
        bytes: end.saturating_sub(addr),
    };
    let rooms: Vec<SramSpan> = fitting.tops.iter().map(room).collect();
    let window = scene.target.sequencer.window as usize;
    let fragments = prefetch::prefetch(fragments, &mut tiles, &rooms, window)?;
    let spill_bytes = spilled.iter().map(|&root| {
        let info = scene.storage.root(root);
        info.bytes(info.rows).next_multiple_of(64)
    });
    Ok(Parts {
        spill_bytes: spill_bytes.sum(),
        fitting,
        fragments,
        tiles,
        rooms,
    })
}

impl Parts {
    /// Bytes of constants and spills that the fragments move.
    fn traffic(&self, scene: &Scene<'_>) -> u64 {
        let tiles: u64 = self
            .fragments
            .iter()
            .map(|fragment| match fragment {
                Fragment::LoadTile { tile } => self.tiles[tile.0 as usize].bytes,
                _ => 0,
            })
            .sum();
        let choice = &self.fitting.choice;
        let uses = demand::uses(scene.graph, scene.storage, &choice.segments);
        tiles + cost::spills(scene, &choice.segments, &uses, &choice.spilled)
    }

    /// The price as one number, with what constants that stay save.
    fn weight(&self, scene: &Scene<'_>) -> u64 {
        let Fitting { price, traffic, .. } = &self.fitting;
        let saved = traffic.saturating_sub(self.traffic(scene));
        let bytes = price.bytes.saturating_sub(saved);
        Price { bytes, ..*price }.weight(scene)
    }

    fn into_plan(self, options: &PlanOptions, storage: Storage, layout: Layout) -> Plan {
        let tile_top = self.tiles.iter().map(|t| t.addr + t.bytes).max();
        let top = self.fitting.tops.iter().copied().max().unwrap_or(0);
        Plan {
            segments: self.fitting.choice.segments,
            fragments: self.fragments,
            buffers: self.fitting.buffers,
            tiles: self.tiles,
            rooms: self.rooms,
            row_chunk: options.row_chunk,
            spill_bytes: self.spill_bytes,
            sram_peak: top.max(tile_top.unwrap_or(0)),
            storage,
            layout,
        }
    }
}
