//! Forms: the ways of carrying out a segment, and what each costs.
//!
//! A form says how a segment is cut by rows and by columns, whether its constants stay, and how large its weight
//! tiles are. What a form takes of SRAM beside the ring depends on which values are spilled, so the search asks
//! for that.

use indexmap::IndexMap;
use rayon::prelude::*;

use super::columns;
use super::demand::{self, Scene};
use super::stage::Stage;
use super::{Alternates, Passes, Pieces, Portions, Scores, Segment, cost, pace, window};
use crate::options::PlanMode;

/// How often the size of tiles is halved.
const TILE_SIZES: u64 = 6;

/// How often the rows of scores are halved.
const SCORE_SIZES: u32 = 4;

/// Most ways of cutting rows, and of cutting columns, that are tried for a class.
const MOST_CUTS: usize = 8;

/// Scratch below this part of SRAM is not worth saving.
const LITTLE: u64 = 64;

/// Parts of cycles and of room by which forms may differ that are compared as if they did not.
const CYCLES_ALIKE: u64 = 256;
const ROOM_ALIKE: u64 = 64;

/// A price in bytes for each fragment: about what its packets take of DRAM.
const FRAGMENT: u64 = 128;

/// What a byte is worth that DRAM could move while units are at work: where bytes are to be few, and where time is.
const CYCLE: f64 = 0.125;
const CYCLE_OF_FAST: f64 = 1.0;
const CYCLE_OF_LEAST: f64 = 0.001;

/// The same for a search where DRAM takes longer than the units: enough to choose among forms that move as much.
const CYCLE_BEHIND_DRAM: f64 = 0.03;

/// What searches may take for the worth of a byte that DRAM could move while units are at work: as if units outlasted DRAM,
/// and as if DRAM outlasted them.
pub fn worths(mode: PlanMode) -> Vec<f64> {
    match mode {
        PlanMode::Best | PlanMode::Fast => vec![worth(mode), CYCLE_BEHIND_DRAM],
        PlanMode::Least => vec![worth(mode), CYCLE_BEHIND_DRAM, CYCLE],
        PlanMode::FusedOps | PlanMode::LayerWise => vec![worth(mode)],
    }
}

fn worth(mode: PlanMode) -> f64 {
    match mode {
        PlanMode::Fast => CYCLE_OF_FAST,
        PlanMode::Least => CYCLE_OF_LEAST,
        PlanMode::Best | PlanMode::FusedOps | PlanMode::LayerWise => CYCLE,
    }
}

/// What a choice costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// DRAM bytes, packets among them.
    pub bytes: u64,
    /// Cycles of the matrix arrays for products with constant weights.
    pub cycles: u64,
}

impl Price {
    /// Bytes and cycles as one number, in bytes, where a cycle is worth so many: what a search adds up.
    pub fn weight(self, cycle: f64) -> u64 {
        self.bytes + (self.cycles as f64 * cycle) as u64
    }

    /// What a whole choice is judged by, in bytes: those that it moves, and a part of those that DRAM could move while it
    /// waits for the units.
    pub fn judged(self, scene: &Scene<'_>) -> u64 {
        let waits = (self.cycles_in_bytes(scene) - self.bytes as f64).max(0.0);
        self.bytes + (waits * worth(scene.options.mode)) as u64
    }

    fn cycles_in_bytes(self, scene: &Scene<'_>) -> f64 {
        self.cycles as f64 * scene.target.peak_bytes_per_cycle()
    }

    /// The price of another choice on top, so many times.
    pub fn plus(self, other: Price, times: u64) -> Price {
        Price {
            bytes: self.bytes + other.bytes * times,
            cycles: self.cycles + other.cycles * times,
        }
    }
}

/// A way of carrying out the segments of a class.
#[derive(Clone, Debug)]
pub struct Form {
    pub block_rows: usize,
    pub resident: bool,
    /// How many passes over the columns.
    pub passes: usize,
    pub tile_bytes: u64,
    pub portions: Portions,
    pub alternates: Alternates,
    /// What the ring has to hold.
    pub ring: u64,
    /// Constants and packets, for each segment.
    pub price: Price,
    /// How often the constants come.
    pub visits: u64,
    /// The cut that it shares with forms of other tiles, as an index into those of its class.
    pub cut: usize,
    /// Scratch of each stage, all copies.
    pub scratch: Vec<u64>,
}

/// All forms of a segment, those that cut least first; `passes` are the ways of cutting its columns.
pub fn forms(scene: &Scene<'_>, base: &Segment, passes: &IndexMap<usize, Passes>) -> Vec<Form> {
    let room = least_room(scene);
    let passes: Vec<&Passes> = passes.values().collect();
    let rows = rows_of(base);
    let cuts = passes.par_iter().flat_map_iter(|&passes| {
        let of_rows = rows.iter().map(move |&block_rows| Segment {
            block_rows,
            passes: passes.clone(),
            ..base.clone()
        });
        of_rows.map(|segment| forms_of_cuts(scene, segment, room))
    });
    let cuts: Vec<Vec<Vec<Form>>> = cuts.collect();
    let cuts = cuts.into_iter().flatten().enumerate();
    let forms =
        cuts.flat_map(|(cut, forms)| forms.into_iter().map(move |form| Form { cut, ..form }));
    forms.collect()
}

/// The forms of a segment that is cut by rows and columns, by what their cuts take: where constants stay for all row blocks
/// passes and blocks may change places, and values may have two places.
fn forms_of_cuts(scene: &Scene<'_>, mut segment: Segment, room: u64) -> Vec<Vec<Form>> {
    let mut cuts = vec![with_tiles(scene, &segment, room)];
    if segment.block_rows < segment.rows {
        let change_places = segment.blocks_first();
        segment.resident = true;
        let forms = with_tiles(scene, &segment, room);
        match cuts.last_mut() {
            Some(last) if !change_places => last.extend(forms),
            _ => cuts.push(forms),
        }
        segment.resident = false;
    }
    for alternates in [Alternates::Spilled, Alternates::All] {
        segment.alternates = alternates;
        if is_worth_two_places(&segment) {
            cuts.push(with_tiles(scene, &segment, room));
        }
    }
    cuts.into_iter().map(worth_a_look).collect()
}

/// The forms with one cut of which no other one is better in everything.
fn worth_a_look(forms: Vec<Form>) -> Vec<Form> {
    let mut worth: Vec<Form> = Vec::new();
    for form in forms {
        if !worth.iter().any(|other| other.is_as_good_as(&form)) {
            worth.retain(|other| !form.is_as_good_as(other));
            worth.push(form);
        }
    }
    worth
}

impl Form {
    /// Whether it asks for no more bytes than another one with the same cut, and for hardly more of anything else: room at
    /// each stage, and cycles.
    fn is_as_good_as(&self, other: &Form) -> bool {
        let hardly_more = |own: u64, its: u64, part: u64| own <= its + its / part;
        let mut rooms = self.scratch.iter().zip(&other.scratch);
        self.price.bytes <= other.price.bytes
            && hardly_more(self.price.cycles, other.price.cycles, CYCLES_ALIKE)
            && rooms.all(|(own, its)| hardly_more(self.ring + own, other.ring + its, ROOM_ALIKE))
    }
}

/// Whether two places let the units of a segment, or transfers, work beside each other that would wait with one.
fn is_worth_two_places(segment: &Segment) -> bool {
    let overlaps = match (&segment.stages[..], segment.alternates) {
        ([Stage::Matmul { .. }], Alternates::Spilled) => segment.repeats(),
        ([_], _) | (_, Alternates::Spilled | Alternates::Nothing) => false,
        (_, Alternates::All) => segment.block_count() > 1,
    };
    overlaps || segment.runs_ahead() || segment.takes_heads_in_turn()
}

/// A form for each size of tiles, with two copies of scratch and, where that saves something, with one.
fn with_tiles(scene: &Scene<'_>, segment: &Segment, room: u64) -> Vec<Form> {
    let mut forms = Vec::new();
    let mut segment = segment.clone();
    let streams = segment
        .stages
        .iter()
        .any(|stage| matches!(stage, Stage::Matmul { .. }));
    let scores = segment
        .stages
        .iter()
        .any(|stage| matches!(stage, Stage::Attention { .. }));
    // Small pieces in two copies are better than large ones in one.
    for portions in portions(scene, scores) {
        segment.portions = portions;
        let copies = portions.copies;
        let mut last = u64::MAX;
        for halvings in 0..if streams { tile_sizes(scene, room) } else { 1 } {
            segment.tile_bytes = tile_bytes(scene, halvings);
            let ring = ring_need(scene, &segment);
            if ring >= last {
                continue;
            }
            last = ring;
            let scratch = scratch(scene, &segment);
            if copies == 1 && scratch.iter().all(|&bytes| bytes < room / LITTLE) {
                return forms;
            }
            forms.push(form(scene, &segment, ring, scratch));
        }
    }
    forms
}

/// How much may be there at a time. Scores of as many rows as the array has fill it.
fn portions(scene: &Scene<'_>, scores: bool) -> Vec<Portions> {
    let all = |copies: u8, scores: Scores, pieces: Pieces| Portions {
        copies,
        scores,
        pieces,
    };
    let mut portions = Vec::new();
    let several = std::iter::successors(Some(most_copies(scene)), |copies| Some(copies / 2));
    for copies in several.take_while(|&copies| copies > 1) {
        portions.push(all(copies, Scores::Share, Pieces::Whole));
        if scores {
            for halvings in 0..SCORE_SIZES {
                let rows = (scene.target.matrix.rows as usize >> halvings).max(1);
                portions.push(all(copies, Scores::Rows(rows), Pieces::Turns));
                if copies == 2 {
                    portions.push(all(1, Scores::Rows(rows), Pieces::Turns));
                }
                for eighths in [7, 6] {
                    let rows = (eighths * rows / 8).max(1);
                    portions.push(all(copies, Scores::Rows(rows), Pieces::Turns));
                }
            }
        } else {
            portions.push(all(copies, Scores::Share, Pieces::Turns));
            portions.push(all(copies, Scores::Share, Pieces::Halves));
        }
    }
    portions.push(all(1, Scores::Share, Pieces::Whole));
    portions
}

/// The most copies of scratch.
pub const MOST_COPIES: u8 = 16;

/// Copies of scratch with which each core has one fragment at work and another one to go on with.
pub fn most_copies(scene: &Scene<'_>) -> u8 {
    let wanted = (2 * scene.target.cores).next_power_of_two();
    u8::try_from(wanted).map_or(MOST_COPIES, |copies| copies.min(MOST_COPIES))
}

/// The form that a segment has.
fn form(scene: &Scene<'_>, segment: &Segment, ring: u64, scratch: Vec<u64>) -> Form {
    let constants = segment.visits() * cost::constants(scene, segment);
    let (units, drained) = (pace::cycles(scene, segment), drained(scene, segment));
    let transfers = if drained > 0 { constants + drained } else { 0 };
    let cycles = beside(scene, segment, units, (drained, transfers));
    Form {
        block_rows: segment.block_rows,
        resident: segment.resident,
        passes: segment.passes.count,
        tile_bytes: segment.tile_bytes,
        portions: segment.portions,
        alternates: segment.alternates,
        ring,
        price: Price {
            bytes: constants + packets(scene, segment),
            cycles,
        },
        visits: segment.visits(),
        cut: 0,
        scratch,
    }
}

/// Cycles of units beside so many bytes of transfers, of which some are results that leave as they are made: with one copy
/// of these, the units wait until they have left.
pub fn beside(
    scene: &Scene<'_>,
    segment: &Segment,
    units: u64,
    (drained, transfers): (u64, u64),
) -> u64 {
    let transfers = pace::transfer(scene, transfers);
    match (drained, segment.portions.copies) {
        (1.., 1) => units + transfers,
        _ => units.max(transfers),
    }
}

/// Bytes of the constants of a segment that may stay in some room.
pub fn kept(scene: &Scene<'_>, segment: &Segment, room: u64) -> u64 {
    if room == 0 {
        return 0;
    }
    let shared = scene.layout.shared();
    let bytes = |id| scene.layout.brought(id);
    let all = scene.layout.stays();
    let nodes = segment.stages.iter().flat_map(Stage::nodes);
    let own = nodes.flat_map(|node| scene.layout.of(node));
    let own: u64 = own
        .filter(|id| shared.contains(*id))
        .map(|&id| bytes(id))
        .sum();
    (own as f64 * (room as f64 / all.max(1) as f64).min(1.0)) as u64
}

/// Scratch of each stage of a segment, all copies.
fn scratch(scene: &Scene<'_>, segment: &Segment) -> Vec<u64> {
    let alignment = u64::from(scene.target.sram.alignment);
    let of_stage = |stage: &Stage| {
        let parts = demand::scratch(scene, segment, stage).into_iter();
        let all_places = (0..).zip(parts).map(|(part, bytes)| {
            let places = u64::from(demand::places(segment, stage, part));
            places * bytes.next_multiple_of(alignment)
        });
        all_places.sum()
    };
    let mut scratch: Vec<u64> = segment.stages.iter().map(of_stage).collect();
    if segment.alternates == Alternates::All {
        let all = scratch.iter().sum();
        scratch.fill(all);
    }
    scratch
}

/// How many passes over its columns are worth a try for a segment.
pub fn counts(scene: &Scene<'_>, segment: &Segment) -> Vec<usize> {
    let counts = window::possible(scene.graph, scene.storage, segment);
    thinned(counts, usize::MAX, MOST_CUTS)
}

/// The ways of cutting the columns of a segment, by the number of passes.
pub fn passes(scene: &Scene<'_>, segment: &Segment, counts: &[usize]) -> IndexMap<usize, Passes> {
    let (graph, storage) = (scene.graph, scene.storage);
    counts
        .iter()
        .filter_map(|&count| {
            let passes = match count {
                1 => Passes::default(),
                _ => window::passes(graph, storage, &segment.stages, count)?,
            };
            Some((count, passes))
        })
        .collect()
}

/// SRAM that a plan has beside constants that stay, at the least: a part of it where they need not all stay.
fn least_room(scene: &Scene<'_>) -> u64 {
    let all = scene.target.sram.bytes;
    match scene.layout.is_shared() {
        true => all.saturating_sub(scene.layout.stays()).max(all / 4),
        false => all,
    }
}

/// How many sizes of tiles are worth a try: more where a plan may have to do with less of SRAM.
fn tile_sizes(scene: &Scene<'_>, room: u64) -> u64 {
    let less = scene.target.sram.bytes / room.max(1);
    TILE_SIZES + u64::from(less.max(1).ilog2())
}

/// Bytes of a tile after some halvings: a seventh of SRAM, so that what is nearly a power of two fits after some.
pub fn tile_bytes(scene: &Scene<'_>, halvings: u64) -> u64 {
    (scene.target.sram.bytes / 7) >> halvings
}

/// Rows of a block that are worth a try, from all of them down to one, in steps of eight while they are
/// large.
fn rows_of(segment: &Segment) -> Vec<usize> {
    if !can_cut(segment) {
        return vec![segment.rows];
    }
    let mut rows: Vec<usize> = Vec::new();
    let (mut blocks, mut step) = (1, 1);
    while rows.last() != Some(&1) {
        let size = segment.rows.div_ceil(blocks).max(1);
        let size = match size {
            0..16 => size,
            16.. => size.next_multiple_of(8).min(segment.rows),
        };
        if rows.last() != Some(&size) {
            rows.push(size);
        }
        // One, two, three, four blocks; six, eight; twelve, sixteen; and so on.
        blocks += step;
        if blocks >= 4 * step {
            step *= 2;
        }
    }
    rows
}

/// Some of many numbers, in order, the least and the greatest among them; none above `most`.
pub fn thinned<T: Ord + Copy>(mut numbers: Vec<T>, most: T, count: usize) -> Vec<T> {
    numbers.retain(|&number| number <= most);
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.len() <= count {
        return numbers;
    }
    let last = numbers.len() - 1;
    (0..count)
        .map(|i| numbers[i * last / (count - 1)])
        .collect()
}

/// DRAM bytes of the packets of a segment, about.
pub fn packets(scene: &Scene<'_>, segment: &Segment) -> u64 {
    let visits = segment.block_count() as u64;
    let of_stage = |stage: &Stage| match stage {
        Stage::Matmul { node, .. } => {
            let columns = columns::of(scene, segment, *node);
            let all = scene.graph.types(*node)[0].columns();
            columns.loads(all, segment.passes.count) * (visits + segment.visits())
        }
        Stage::Attention { node, quantize } => {
            let shape = demand::AttentionShape::of(scene.graph, *node);
            let rows = demand::score_rows(scene, segment, stage, *node);
            let each = 1 + usize::from(quantize.is_some());
            (each * shape.heads * segment.rows.div_ceil(rows)) as u64
        }
        Stage::Rows { .. } => visits * segment.passes.count as u64,
        Stage::CachedAttention { .. } | Stage::Whole { .. } | Stage::Input { .. } => 1,
    };
    let fragments: u64 = segment.stages.iter().map(of_stage).sum();
    fragments * FRAGMENT
}

/// Bytes of the results of the model that leave a segment as their columns are made, with those that DRAM could move while
/// it opens rows for them.
pub fn drained(scene: &Scene<'_>, segment: &Segment) -> u64 {
    let of_stage = |stage: &Stage| {
        let Stage::Matmul {
            node,
            quantize: None,
        } = stage
        else {
            return 0;
        };
        let root = scene.storage.root_of(*node);
        let (Some(root), Some(_)) = (root, columns::drained(scene, *node)) else {
            return 0;
        };
        let (all, bytes) = (
            scene.graph.types(*node)[0].columns(),
            scene.storage.root(root).elem.bytes() as usize,
        );
        let row = scene.target.dram.row_bytes as usize / bytes;
        let chunk = columns::of(scene, segment, *node).chunk;
        let runs = all.div_ceil(chunk.clamp(1, row.max(1))) as u64;
        segment.rows as u64 * ((all * bytes) as u64 + runs * pace::RUN)
    };
    segment.stages.iter().map(of_stage).sum()
}

fn can_cut(segment: &Segment) -> bool {
    segment.rows > 1
        && segment.stages.iter().any(|stage| !segment.waits(stage))
        && segment.stages.iter().all(|s| match s {
            Stage::Whole { .. } | Stage::Input { .. } | Stage::CachedAttention { .. } => false,
            Stage::Matmul { .. } | Stage::Attention { .. } | Stage::Rows { .. } => true,
        })
}

/// What the ring of a segment must hold at the least.
pub fn ring_need(scene: &Scene<'_>, segment: &Segment) -> u64 {
    // Constants of an attention stay for all passes.
    let held: u64 = segment
        .stages
        .iter()
        .filter(|stage| Segment::is_gathering(stage) && segment.repeats())
        .map(|stage| demand::constant_bytes(scene, segment, stage).1)
        .sum();
    let stages = segment
        .stages
        .iter()
        .map(|stage| demand::constant_bytes(scene, segment, stage));
    let streamed = if segment.resident {
        let passes = segment.passes.count as u64;
        stages.fold(0, |sum, (largest, all)| {
            sum + all.div_ceil(passes).max(largest) + largest.min(all) / 8
        })
    } else {
        // Two tiles: one works while the next arrives.
        stages.map(|(largest, _)| 2 * largest).max().unwrap_or(0)
    };
    held + streamed
}
