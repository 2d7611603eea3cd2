//! Slicing: how segments are formed and cut, what stays and what is spilled.
//!
//! Several ways of forming segments are searched: whole ones, one product each with what is before or behind
//! it, products with what they share their columns with, and attentions apart from the products that make their
//! operands. Each is carried out when it promises to cost less than what is known, and what it really moves then
//! counts: constants that several layers read may stay in what SRAM is left over. So smaller budgets are tried too.

use indexmap::IndexMap;
use packwright_ir::Graph;
use packwright_ir::diag::Diagnostics;
use packwright_target::Target;
use rayon::prelude::*;

use super::catalogue::Catalogue;
use super::classes::Classes;
use super::columns;
use super::constants::{Layout, StoredId};
use super::demand::{self, Scene, Use};
use super::form::{self, Price};
use super::search::{Fitting, Problem, Search};
use super::stage::Stage;
use super::storage::{RootId, Storage};
use super::too_small::{self, TooSmall};
use super::{Fragment, Plan, Segment, SramSpan, cost, order, pin, prefetch, segment};
use crate::options::{PlanMode, PlanOptions};

/// The smallest budget that is tried beside the whole of SRAM.
const SMALLEST_BUDGET: u64 = 32 << 10;

/// The part of the room for constants that a wave may take: another one follows, and what comes ahead.
const WAVE_SHARE: u64 = 2;

/// How many candidates are carried out at once.
const SIDE_BY_SIDE: usize = 2;

/// A plan with what it costs: bytes, and a part of the time as bytes.
#[derive(Clone, Debug)]
pub struct Chosen {
    pub plan: Plan,
    pub weight: u64,
}

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
) -> Result<Chosen, Diagnostics> {
    let scene = Scene {
        graph,
        target,
        options,
        storage: &storage,
        layout: &layout,
        products: &columns::products(graph, &storage, &segments),
    };
    let found = best(&scene, &segments)?;
    Ok(Chosen {
        weight: found.weight,
        plan: found
            .parts
            .into_plan(&found.options, storage.clone(), layout.clone()),
    })
}

/// A choice that fits and has become fragments, with the options that it was found with.
struct Found {
    parts: Parts,
    options: PlanOptions,
    weight: u64,
}

/// The best that a search has found, and which search.
struct Candidate {
    index: usize,
    /// Which worth of a cycle it was found for.
    worth: usize,
    fitting: Fitting,
    /// What it costs at the least, as one number: with constants that stay in all room that is left.
    least: u64,
}

/// The best of all ways of forming segments. Of each budget it is found out first what each way promises; those that
/// promise to be better than what is known are carried out. With smaller budgets a choice costs more, and more constants
/// may stay.
fn best(scene: &Scene<'_>, segments: &[Segment]) -> Result<Found, Diagnostics> {
    let constants = segments.iter().map(|s| cost::constants(scene, s));
    let constants: u64 = constants.sum();
    let least = constants.saturating_sub(scene.layout.shared_bytes());
    let mut problem: Option<Diagnostics> = None;
    let mut too_small: Option<TooSmall> = None;
    let mut found: Option<Found> = None;
    let shapes = shapes(scene, segments);
    let scenes: Vec<Scene<'_>> = shapes.iter().map(|shape| shape.scene(scene)).collect();
    let mut searches = searches(&shapes, &scenes, &worths(scene));
    let mut are_listed = false;
    // What each costs at the least within the budgets to come.
    let mut leasts = vec![0; shapes.len()];
    for budget in budgets(scene) {
        for search in &mut searches {
            search.within(budget);
        }
        let known = found.as_ref().map_or(u64::MAX, |found| found.weight);
        let promising = (0..shapes.len()).filter(|&index| leasts[index] < known);
        let mut promising: Vec<usize> = promising.collect();
        // Nothing is cheaper than what is whole: then the simplest way is as good as any.
        let of_whole = promising.par_iter().copied();
        match of_whole.find_first(|&index| searches[index].uncut(0).is_some()) {
            Some(whole) => promising = vec![whole],
            None if !are_listed => {
                let catalogue = catalogue(&shapes, &scenes);
                let all = searches.par_iter_mut();
                all.for_each(|search| search.list(&catalogue));
                are_listed = true;
            }
            None => {}
        }
        let tried = searches.par_iter_mut().enumerate();
        let tried = tried.filter(|(index, _)| promising.contains(index));
        let promises = tried.map(|(index, search)| (index, promises(search, index)));
        let promises: Vec<_> = promises.collect();
        let mut candidates = Vec::new();
        for (index, promise) in promises {
            leasts[index] = match promise {
                Ok((found, least)) => {
                    candidates.extend(found);
                    least
                }
                // What does not fit does not fit into less.
                Err(more) => {
                    too_small = Some(too_small.map_or(more, |known| known.or(more)));
                    u64::MAX
                }
            };
        }
        candidates.sort_by_key(|candidate: &Candidate| candidate.least);
        let mut candidates = candidates.into_iter().peekable();
        loop {
            let known = found.as_ref().map_or(u64::MAX, |found| found.weight);
            let next = std::iter::from_fn(|| candidates.next_if(|next| next.least < known));
            // The first is as a rule the best.
            let count = found.as_ref().map_or(1, |_| SIDE_BY_SIDE);
            let next: Vec<Candidate> = next.take(count).collect();
            if next.is_empty() {
                break;
            }
            let done = next.into_par_iter();
            let done = done.map(|candidate| finish(&searches[candidate.index], candidate));
            for done in done.collect::<Vec<_>>() {
                match done {
                    Ok(done) if found.as_ref().is_none_or(|f| done.weight < f.weight) => {
                        found = Some(done);
                    }
                    Ok(_) => {}
                    Err(diagnostics) => _ = problem.get_or_insert(diagnostics),
                }
            }
        }
        let is_least = |f: &Found| f.parts.fitting.uncut && f.parts.traffic(scene) <= least;
        if found.as_ref().is_none_or(is_least) {
            break;
        }
    }
    found.ok_or_else(|| match (problem, too_small) {
        (None, Some(found)) => too_small::complaint(scene, segments, found).into(),
        (problem, _) => problem.unwrap_or_default(),
    })
}

/// Whether there is a plan at all.
///
/// # Errors
/// What the smallest fragments need, where they do not fit.
pub fn fits(scene: &Scene<'_>, segments: &[Segment]) -> Result<(), TooSmall> {
    let shapes = shapes(scene, segments);
    let scenes: Vec<Scene<'_>> = shapes.iter().map(|shape| shape.scene(scene)).collect();
    let mut searches = searches(&shapes, &scenes, &worths(scene)[..1]);
    let catalogue = catalogue(&shapes, &scenes);
    let all = searches.par_iter_mut().enumerate();
    let promises = all.map(|(index, search)| {
        search.list(&catalogue);
        let (candidates, _) = promises(search, index)?;
        let need = scene.target.sram.bytes;
        let mut made = candidates
            .into_iter()
            .map(|candidate| finish(search, candidate));
        let done = made.any(|made| made.is_ok());
        done.then_some(()).ok_or(TooSmall { need, at: None })
    });
    promises
        .reduce_with(|a, b| a.or_else(|a| b.map_err(|b| a.or(b))))
        .unwrap_or(Ok(()))
}

/// What a plan may take of SRAM: all, or less, for plans that are cheaper only beside constants that stay.
fn budgets(scene: &Scene<'_>) -> Vec<u64> {
    let all = scene.target.sram.bytes;
    if !scene.layout.is_shared() {
        return vec![all];
    }
    let smaller = |budget: &u64| Some(budget - budget / 6 - 1);
    std::iter::successors(Some(all), smaller)
        .take_while(|&budget| budget >= SMALLEST_BUDGET.min(all))
        .collect()
}

/// The forms of what all shapes consist of.
fn catalogue(shapes: &[Shape], scenes: &[Scene<'_>]) -> Catalogue {
    let both = shapes.iter().zip(scenes);
    let segments = both.flat_map(|(shape, &scene)| shape.firsts().map(move |first| (scene, first)));
    Catalogue::new(&segments.collect::<Vec<_>>())
}

/// A search for each shape.
fn searches<'a>(shapes: &'a [Shape], scenes: &'a [Scene<'a>], worths: &[f64]) -> Vec<Search<'a>> {
    let both = shapes.par_iter().zip(scenes);
    let searches = both.map(|(shape, scene)| {
        let Shape {
            segments,
            uses,
            classes,
            ..
        } = shape;
        let problem = Problem {
            scene,
            segments,
            uses,
            classes,
            through_dram: scene.options.mode.is_baseline(),
        };
        Search::new(problem, worths)
    });
    searches.collect()
}

/// The best choices of a search, before they become fragments, for each worth of a cycle; and what smaller budgets for it
/// cost at the least, with all of SRAM for constants that stay.
fn promises(search: &mut Search<'_>, index: usize) -> Result<(Vec<Candidate>, u64), TooSmall> {
    let mut fittings = Vec::new();
    for worth in 0..search.worths() {
        search.weigh(worth);
        let fitting = match search.fit(0) {
            Ok(fitting) => fitting,
            Err(_) if !fittings.is_empty() => break,
            Err(more) => return Err(more),
        };
        let uncut = fitting.uncut;
        fittings.push((worth, fitting));
        if uncut {
            break;
        }
    }
    let scene = search.scene();
    let price = |fitting: &Fitting, room: u64| {
        let bytes = fitting.price.bytes;
        let price = Price {
            bytes: bytes.saturating_sub(most_saved(scene, fitting, room)),
            ..fitting.price
        };
        price.judged(scene)
    };
    let of_smaller = fittings
        .iter()
        .map(|(_, f)| price(f, scene.target.sram.bytes));
    let of_smaller = of_smaller.min().unwrap_or(u64::MAX);
    let candidates = fittings.into_iter().map(|(worth, fitting)| Candidate {
        index,
        worth,
        least: price(&fitting, spare(scene, &fitting, 0)),
        fitting,
    });
    Ok((candidates.collect(), of_smaller))
}

/// The most that constants which stay in some room can save.
fn most_saved(scene: &Scene<'_>, fitting: &Fitting, mut room: u64) -> u64 {
    if scene.layout.shared_bytes() == 0 {
        return 0;
    }
    let mut reads: IndexMap<StoredId, u64> = IndexMap::new();
    for segment in &fitting.choice.segments {
        for node in segment.stages.iter().flat_map(Stage::nodes) {
            for &id in scene.layout.of(node) {
                *reads.entry(id).or_default() += segment.visits();
            }
        }
    }
    reads.sort_by(|_, a, _, b| b.cmp(a));
    let saved = reads.into_iter().map(|(id, reads)| {
        let kept = scene.layout.get(id).bytes.min(room);
        room -= kept;
        kept * (reads - 1)
    });
    saved.sum()
}

/// Carries a candidate out.
fn finish(search: &Search<'_>, candidate: Candidate) -> Result<Found, Diagnostics> {
    let scene = search.scene();
    let mut problem: Option<Diagnostics> = None;
    let mut fitting = Some(candidate.fitting);
    // The ends of the ring may leave too little of it; then it needs more room.
    let mut again = None;
    for share in [0, 64, 32, 16, 8] {
        let slack = search.budget().checked_div(share).unwrap_or(0);
        let found = fitting.take().map_or_else(
            || {
                let again = again.get_or_insert_with(|| search.clone());
                again.weigh(candidate.worth);
                again.fit(slack)
            },
            Ok,
        );
        let Ok(fitting) = found else {
            break;
        };
        let fitting = search.with_room_left(fitting, slack);
        // Waves may ask for more of the ring at once than its ends permit.
        for share in [Some(WAVE_SHARE), None] {
            match carry_out(scene, with_waves(scene, &fitting, share)) {
                Ok(parts) => {
                    return Ok(Found {
                        weight: parts.weight(scene),
                        parts,
                        options: scene.options.clone(),
                    });
                }
                Err(diagnostics) => problem = Some(diagnostics),
            }
        }
    }
    Err(problem.unwrap_or_default())
}

/// Limits waves to a part of the room for constants, or leaves them out.
fn with_waves(scene: &Scene<'_>, fitting: &Fitting, share: Option<u64>) -> Fitting {
    let mut fitting = fitting.clone();
    for (segment, &top) in fitting.choice.segments.iter_mut().zip(&fitting.tops) {
        let room = scene.target.sram.bytes - top;
        segment.wave = share.map_or(0, |share| segment.wave.min(room / share));
    }
    fitting
}

/// A way of forming segments that is tried within one budget after the other.
struct Shape {
    options: PlanOptions,
    segments: Vec<Segment>,
    uses: IndexMap<RootId, Use>,
    classes: Classes,
}

impl Shape {
    fn of(scene: &Scene<'_>, segments: Vec<Segment>) -> Self {
        let (graph, storage) = (scene.graph, scene.storage);
        let uses = demand::uses(graph, storage, &segments);
        Self {
            options: options_for(scene, &segments),
            classes: Classes::of(graph, storage, &segments, &uses),
            segments,
            uses,
        }
    }

    fn scene<'a>(&'a self, scene: &Scene<'a>) -> Scene<'a> {
        Scene {
            options: &self.options,
            ..*scene
        }
    }

    /// The first segment of each class.
    fn firsts(&self) -> impl Iterator<Item = &Segment> {
        let classes = 0..self.classes.count();
        classes.map(|class| &self.segments[self.classes.members(class)[0]])
    }
}

/// The ways of forming segments that are tried, the simplest first.
fn shapes(scene: &Scene<'_>, segments: &[Segment]) -> Vec<Shape> {
    let (graph, storage) = (scene.graph, scene.storage);
    let ways: Vec<Vec<Segment>> = match scene.options.mode {
        PlanMode::Best | PlanMode::Least | PlanMode::Fast => {
            let single = segment::single_heads(graph, segments);
            let formed = std::iter::once(segments.to_vec()).chain(single);
            formed.flat_map(|formed| ways(scene, &formed)).collect()
        }
        PlanMode::FusedOps | PlanMode::LayerWise => {
            vec![segment::singles(graph, storage, segments)]
        }
    };
    let all = ways.into_par_iter();
    all.map(|segments| Shape::of(scene, segments)).collect()
}

/// What searches take for the worth of a cycle, one after the other.
fn worths(scene: &Scene<'_>) -> Vec<f64> {
    let mut worths = form::worths(scene.options.mode);
    if scene.layout.is_shared() && scene.options.mode != PlanMode::Least {
        // Budgets are choice enough.
        worths.truncate(1);
    }
    worths
}

/// Segments as they are formed first, and parted in several ways.
fn ways(scene: &Scene<'_>, segments: &[Segment]) -> Vec<Vec<Segment>> {
    let (graph, storage) = (scene.graph, scene.storage);
    let apart = segment::apart(segments);
    vec![
        segments.to_vec(),
        segment::split(graph, segments, true),
        segment::split(graph, segments, false),
        segment::feed_forward(graph, segments),
        segment::by_columns(graph, storage, segments),
        segment::split(graph, &apart, true),
        segment::long_alone(graph, &segment::split(graph, &apart, true)),
        segment::by_columns(graph, storage, &apart),
    ]
}

/// Rows of a row-wise fragment: as many as asked for, fewer where two copies of their scratch would take
/// more than an eighth of SRAM.
fn options_for(scene: &Scene<'_>, segments: &[Segment]) -> PlanOptions {
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
    let fit = scene.target.sram.bytes / 16 / widest.max(1);
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

/// What every segment can spare for constants that stay, beside a ring of so many bytes at the least.
fn spare(scene: &Scene<'_>, fitting: &Fitting, least: u64) -> u64 {
    let segments = fitting.choice.segments.iter();
    let of_each = segments.zip(&fitting.tops).map(|(segment, &top)| {
        let reserve = form::ring_need(scene, segment).max(least);
        scene.target.sram.bytes.saturating_sub(top + reserve)
    });
    of_each.min().unwrap_or(0)
}

fn carry_out(scene: &Scene<'_>, fitting: Fitting) -> Result<Parts, Diagnostics> {
    let segments = &fitting.choice.segments;
    let spilled = &fitting.choice.spilled;
    let capacity = scene.target.sram.bytes;
    let uses = demand::uses(scene.graph, scene.storage, segments);
    let ordered = order::order(scene, segments, &uses, spilled);
    let (mut fragments, mut tiles) = (ordered.fragments, ordered.tiles);
    // All but the rings where that is enough for all constants that stay, else some more for tiles that come ahead.
    let spare = (
        spare(scene, &fitting, 0),
        spare(scene, &fitting, capacity / 16),
    );
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
        Price { bytes, ..*price }.judged(scene)
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
