//! Search: what to cut and what to spill so that a graph fits into a budget of SRAM.
//!
//! Starts from whole segments, which read every constant once and spill nothing, and gives way only where
//! SRAM is short. At the fullest step all that could help there is tried: more passes over the columns
//! or heads of a segment, more row blocks, constants that stay for all blocks, a spill, smaller tiles. The
//! one that costs the fewest DRAM bytes for each byte of SRAM that it frees is taken. What turns out to be
//! needless in the end is taken back.

use std::cmp::Reverse;

use indexmap::{IndexMap, IndexSet};
use packwright_ir::diag::Diagnostic;

use super::classes::Classes;
use super::demand::{self, Scene, Use};
use super::stage::Stage;
use super::storage::RootId;
use super::{Buffer, Home, Segment, buffers, cost, place, window};

/// Everything that a search looks at and does not change.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    pub scene: &'a Scene<'a>,
    pub uses: &'a IndexMap<RootId, Use>,
    pub classes: &'a Classes,
    pub rule: Rule,
    /// Whether every value goes through DRAM that can.
    pub through_dram: bool,
}

/// How a search weighs DRAM bytes against SRAM bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Fewest DRAM bytes for each SRAM byte that is freed.
    Rate,
    /// Fewest DRAM bytes.
    Least,
}

/// Cuts and spills.
#[derive(Clone, Debug)]
pub struct Choice {
    pub segments: Vec<Segment>,
    pub spilled: IndexSet<RootId>,
}

/// A choice with its buffers placed.
#[derive(Clone, Debug)]
pub struct Fitting {
    pub choice: Choice,
    pub buffers: Vec<Buffer>,
    /// End of the highest buffer.
    pub top: u64,
    /// DRAM bytes, as [`cost::traffic`] counts them.
    pub traffic: u64,
}

/// Something that may free SRAM.
#[derive(Clone, Debug)]
enum Action {
    Passes {
        segment: usize,
        count: usize,
    },
    Cut {
        segment: usize,
        rows: usize,
        resident: bool,
    },
    Spill {
        root: RootId,
    },
    Tile {
        segment: usize,
        bytes: u64,
    },
}

/// How full SRAM is at a step.
#[derive(Clone, Copy, Debug)]
struct Load {
    live: u64,
    step: usize,
    ring: u64,
    /// The segment whose constants ask for the ring.
    hungry: usize,
}

/// Most actions of one search: each makes something smaller, so this is never reached.
const MOST_ACTIONS: usize = 4096;

/// Cuts and spills until everything fits into the budget of the scene.
///
/// # Errors
/// `plan-sram` when nothing is left to cut, with what the smallest fragments need.
pub fn fit(problem: &Problem<'_>, segments: Vec<Segment>) -> Result<Fitting, Diagnostic> {
    let mut choice = Choice {
        segments,
        spilled: IndexSet::new(),
    };
    if problem.through_dram {
        let able = problem.uses.keys().copied();
        choice.spilled = able
            .filter(|&root| problem.can_spill(&choice, root))
            .collect();
    }
    // What placement loses to gaps between buffers.
    let mut gaps = 0;
    for _ in 0..MOST_ACTIONS {
        let (buffers, load) = problem.load(&choice);
        let need = load.live + load.ring + gaps;
        if need <= problem.scene.sram {
            match problem.place(&choice, buffers, load.ring) {
                Ok(fitting) => return Ok(problem.take_back(fitting)),
                Err(top) => {
                    gaps = (top - load.live).max(gaps + 1);
                    continue;
                }
            }
        }
        let excess = need - problem.scene.sram;
        match problem.best(&choice, &buffers, &load, excess) {
            Some(action) => choice = problem.after(&choice, &action),
            None => return Err(problem.too_small(&choice, &load)),
        }
    }
    let (_, load) = problem.load(&choice);
    Err(problem.too_small(&choice, &load))
}

impl Problem<'_> {
    fn load(&self, choice: &Choice) -> (Vec<Buffer>, Load) {
        let buffers = buffers::buffers(self.scene, &choice.segments, self.uses, &choice.spilled);
        let alignment = u64::from(self.scene.target.sram.alignment);
        let (live, step) = place::live_peak(&buffers, alignment);
        let (ring, hungry) = ring_need(self.scene, &choice.segments);
        let load = Load {
            live,
            step,
            ring,
            hungry,
        };
        (buffers, load)
    }

    fn traffic(&self, choice: &Choice) -> u64 {
        cost::traffic(self.scene, &choice.segments, self.uses, &choice.spilled)
    }

    /// Places the buffers of a choice.
    ///
    /// # Errors
    /// The end of the highest buffer, when the ring does not fit behind it.
    fn place(&self, choice: &Choice, mut buffers: Vec<Buffer>, ring: u64) -> Result<Fitting, u64> {
        let alignment = u64::from(self.scene.target.sram.alignment);
        let top = place::place(&mut buffers, alignment);
        if top + ring > self.scene.sram {
            return Err(top);
        }
        Ok(Fitting {
            traffic: self.traffic(choice),
            choice: choice.clone(),
            buffers,
            top,
        })
    }

    /// The action that frees the most for the least.
    fn best(
        &self,
        choice: &Choice,
        buffers: &[Buffer],
        load: &Load,
        excess: u64,
    ) -> Option<Action> {
        let before = self.traffic(choice);
        let starts = buffers::starts(&choice.segments);
        let alignment = u64::from(self.scene.target.sram.alignment);
        let mut best: Option<((f64, Reverse<u64>), Action)> = None;
        for action in self.actions(choice, buffers, &starts, load) {
            let next = self.after(choice, &action);
            let after = buffers::buffers(self.scene, &next.segments, self.uses, &next.spilled);
            let live = place::live(&after, alignment)
                .get(load.step)
                .copied()
                .unwrap_or(0);
            let ring = ring_need(self.scene, &next.segments).0;
            let freed = (load.live + load.ring).saturating_sub(live + ring);
            if freed == 0 {
                continue;
            }
            let bytes = self.traffic(&next).saturating_sub(before);
            let useful = freed.min(excess);
            // Cuts without traffic cost time; a little keeps them from being made for nothing.
            let price = bytes as f64 + action.trouble();
            let weight = match self.rule {
                Rule::Rate => price / useful as f64,
                Rule::Least => price,
            };
            let key = (weight, Reverse(useful));
            if best.as_ref().is_none_or(|(known, _)| key < *known) {
                best = Some((key, action));
            }
        }
        best.map(|(_, action)| action)
    }

    fn actions(
        &self,
        choice: &Choice,
        buffers: &[Buffer],
        starts: &[usize],
        load: &Load,
    ) -> Vec<Action> {
        let at = starts.partition_point(|&start| start <= load.step) - 1;
        let mut actions = Vec::new();
        self.cuts(choice, at, &mut actions);
        self.tiles(choice, at, &mut actions);
        if load.hungry != at {
            self.tiles(choice, load.hungry, &mut actions);
            let hungry = &choice.segments[load.hungry];
            if hungry.resident || hungry.passes.count > 1 {
                self.cuts(choice, load.hungry, &mut actions);
            }
        }
        let mut seen = IndexSet::new();
        for buffer in buffers.iter().filter(|b| b.life.contains(&load.step)) {
            if let Home::Whole(root) = buffer.home
                && !choice.spilled.contains(&root)
                && seen.insert(root)
                && self.can_spill(choice, root)
            {
                actions.push(Action::Spill { root });
            }
        }
        actions
    }

    fn cuts(&self, choice: &Choice, at: usize, actions: &mut Vec<Action>) {
        let segment = &choice.segments[at];
        let (graph, storage) = (self.scene.graph, self.scene.storage);
        let counts = window::possible(graph, storage, segment);
        actions.extend(
            counts
                .into_iter()
                .filter(|&count| count > segment.passes.count)
                .map(|count| Action::Passes { segment: at, count }),
        );
        if !can_cut(segment) {
            return;
        }
        let blocks = segment.block_count();
        let mut last = segment.block_rows;
        for blocks in [
            blocks + 1,
            blocks * 2,
            blocks * 4,
            blocks * 16,
            segment.rows,
        ] {
            let rows = rows_of(segment, blocks);
            if rows < last {
                last = rows;
                for resident in [segment.resident, true] {
                    actions.push(Action::Cut {
                        segment: at,
                        rows,
                        resident,
                    });
                }
            }
        }
        if segment.resident {
            actions.push(Action::Cut {
                segment: at,
                rows: segment.block_rows,
                resident: false,
            });
        }
    }

    fn tiles(&self, choice: &Choice, at: usize, actions: &mut Vec<Action>) {
        let segment = &choice.segments[at];
        let largest = segment
            .stages
            .iter()
            .filter(|stage| matches!(stage, Stage::Matmul { .. }))
            .map(|stage| demand::constant_bytes(self.scene, segment, stage).0)
            .max()
            .unwrap_or(0);
        if largest > 64 {
            actions.push(Action::Tile {
                segment: at,
                bytes: largest / 2,
            });
        }
    }

    /// A choice after an action on all that is alike.
    fn after(&self, choice: &Choice, action: &Action) -> Choice {
        let mut next = choice.clone();
        match action {
            Action::Passes { segment, count } => {
                for &s in self.classes.alike(*segment) {
                    let stages = &next.segments[s].stages;
                    let cut = window::passes(self.scene.graph, self.scene.storage, stages, *count);
                    next.segments[s].passes = cut.unwrap_or_default();
                }
            }
            Action::Cut {
                segment,
                rows,
                resident,
            } => {
                for &s in self.classes.alike(*segment) {
                    next.segments[s].block_rows = *rows;
                    next.segments[s].resident = *resident && *rows < next.segments[s].rows;
                }
            }
            Action::Spill { root } => {
                let family = self.classes.family(*root).iter();
                let able = family.filter(|&&root| self.can_spill(choice, root));
                next.spilled.extend(able);
            }
            Action::Tile { segment, bytes } => {
                for &s in self.classes.alike(*segment) {
                    next.segments[s].tile_bytes = *bytes;
                }
            }
        }
        next
    }

    /// Whether a value can be spilled: others than its maker's segment read it, and every reader takes
    /// the same rows that it makes, or all of them in another segment.
    fn can_spill(&self, choice: &Choice, root: RootId) -> bool {
        let using = &self.uses[&root];
        let segments = &choice.segments;
        let rows = self.scene.storage.root(root).rows;
        let home = using.made.0;
        using.crosses()
            && !using.output
            && rows == segments[home].rows
            && using
                .read
                .iter()
                .all(|&(s, i)| match segments[s].stages[i] {
                    Stage::Whole { .. } | Stage::Input { .. } | Stage::CachedAttention { .. } => {
                        false
                    }
                    Stage::Attention { .. } => s != home,
                    Stage::Matmul { .. } | Stage::Rows { .. } => segments[s].rows == rows,
                })
    }

    /// Takes back spills that the final choice can do without, the most expensive first.
    fn take_back(&self, mut fitting: Fitting) -> Fitting {
        let mut roots: Vec<RootId> = Vec::new();
        for &root in &fitting.choice.spilled {
            if self.classes.family(root).first() == Some(&root) {
                roots.push(root);
            }
        }
        let price = |root: RootId, choice: &Choice| {
            cost::spill(self.scene, &choice.segments, root, &self.uses[&root])
        };
        roots.sort_by_key(|&root| (Reverse(price(root, &fitting.choice)), root));
        if self.through_dram {
            roots.clear();
        }
        for root in roots {
            let mut next = fitting.choice.clone();
            for member in self.classes.family(root) {
                next.spilled.shift_remove(member);
            }
            fitting = self.better(fitting, &next);
        }
        for segment in 0..fitting.choice.segments.len() {
            if self.classes.alike(segment).first() == Some(&segment) {
                fitting = self.take_back_cuts(fitting, segment);
            }
        }
        fitting
    }

    /// Fewer blocks, and constants that stay, where there is room for it after all.
    fn take_back_cuts(&self, mut fitting: Fitting, at: usize) -> Fitting {
        let now = fitting.choice.segments[at].clone();
        if now.block_count() <= 1 {
            return fitting;
        }
        for blocks in 1..=now.block_count() {
            for resident in [true, false] {
                let action = Action::Cut {
                    segment: at,
                    rows: rows_of(&now, blocks).min(now.rows),
                    resident,
                };
                let next = self.after(&fitting.choice, &action);
                let before = fitting.traffic;
                fitting = self.better(fitting, &next);
                if fitting.traffic < before {
                    return fitting;
                }
            }
            if blocks > 64 {
                break;
            }
        }
        fitting
    }

    /// The next choice where it fits and moves less, else the present one.
    fn better(&self, fitting: Fitting, next: &Choice) -> Fitting {
        if self.traffic(next) >= fitting.traffic {
            return fitting;
        }
        let (buffers, load) = self.load(next);
        if load.live + load.ring > self.scene.sram {
            return fitting;
        }
        self.place(next, buffers, load.ring).unwrap_or(fitting)
    }

    fn too_small(&self, choice: &Choice, load: &Load) -> Diagnostic {
        let starts = buffers::starts(&choice.segments);
        let at = starts.partition_point(|&start| start <= load.step) - 1;
        let name = |s: usize| {
            let stage = choice.segments[s].stages.first();
            stage
                .and_then(|stage| stage.nodes().first().copied())
                .map_or_else(String::new, |node| node.to_string())
        };
        let need = load.live + load.ring;
        Diagnostic::unsupported(
            "plan-sram",
            format!(
                "the smallest plan needs {need} bytes of SRAM, the target has {}",
                self.scene.sram
            ),
        )
        .at(format!(
            "segment at {}, weights of the segment at {}",
            name(at),
            name(load.hungry)
        ))
        .help(format!(
            "raise sram.bytes (--set sram.bytes={}KiB), or shorten the sequence",
            need.div_ceil(1024)
        ))
    }
}

impl Action {
    /// A price in bytes for what an action costs beside traffic.
    fn trouble(&self) -> f64 {
        match self {
            Action::Passes { count, .. } => 16.0 * *count as f64,
            Action::Cut { .. } => 64.0,
            Action::Spill { .. } => 0.0,
            Action::Tile { .. } => 256.0,
        }
    }
}

/// Rows of a block when there are so many, in steps of eight while they are large.
fn rows_of(segment: &Segment, blocks: usize) -> usize {
    let rows = segment.rows.div_ceil(blocks.max(1)).max(1);
    match rows {
        0..16 => rows,
        16.. => rows.next_multiple_of(8),
    }
}

fn can_cut(segment: &Segment) -> bool {
    segment.block_rows > 1
        && segment.stages.len() > usize::from(segment.stages.iter().any(Segment::is_gathering))
        && segment.stages.iter().all(|s| match s {
            Stage::Whole { .. } | Stage::Input { .. } | Stage::CachedAttention { .. } => false,
            Stage::Matmul { .. } | Stage::Attention { .. } | Stage::Rows { .. } => true,
        })
}

/// What the ring must hold at the least, and the segment that asks for it.
pub fn ring_need(scene: &Scene<'_>, segments: &[Segment]) -> (u64, usize) {
    segments
        .iter()
        .enumerate()
        .map(|(index, segment)| (segment_ring(scene, segment), index))
        .max_by_key(|&(need, index)| (need, Reverse(index)))
        .unwrap_or((0, 0))
}

fn segment_ring(scene: &Scene<'_>, segment: &Segment) -> u64 {
    // Constants of an attention stay for all passes.
    let held: u64 = segment
        .stages
        .iter()
        .filter(|stage| Segment::is_gathering(stage) && segment.passes.count > 1)
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
