//! The buffers of a choice: what every value takes of SRAM, and for how long.

use std::ops::Range;

use indexmap::{IndexMap, IndexSet};

use super::columns;
use super::demand::{self, Scene, Taking, Use};
use super::stage::Stage;
use super::storage::RootId;
use super::{Alternates, Buffer, Home, Segment, in_place};

/// The number of the first step of every segment; a stage is a step.
pub fn starts(segments: &[Segment]) -> Vec<usize> {
    segments
        .iter()
        .scan(0, |sum, segment| {
            let start = *sum;
            *sum += segment.stages.len();
            Some(start)
        })
        .collect()
}

/// A choice as the sizes see it.
#[derive(Clone, Copy)]
struct Choice<'a> {
    scene: &'a Scene<'a>,
    segments: &'a [Segment],
    starts: &'a [usize],
}

/// All buffers of a choice, with lives in steps and no addresses yet.
pub fn buffers(
    scene: &Scene<'_>,
    segments: &[Segment],
    uses: &IndexMap<RootId, Use>,
    spilled: &IndexSet<RootId>,
) -> Vec<Buffer> {
    let starts = starts(segments);
    let choice = Choice {
        scene,
        segments,
        starts: &starts,
    };
    let mut buffers = Vec::new();
    for (&root, using) in uses {
        choice.root(root, using, spilled.contains(&root), &mut buffers);
    }
    for s in 0..segments.len() {
        choice.scratch(s, &mut buffers);
    }
    choice.overlaps(0..segments.len(), &mut buffers);
    in_place::share(
        scene,
        segments,
        0..segments.len(),
        &starts,
        uses,
        &mut buffers,
    );
    choice.waves(&mut buffers);
    buffers
}

/// The buffers that a segment sees of some values, without scratch; `starts` as [`starts`] makes them.
pub fn of_segment(
    scene: &Scene<'_>,
    segments: &[Segment],
    starts: &[usize],
    (s, roots): (usize, &[RootId]),
    uses: &IndexMap<RootId, Use>,
    spilled: &IndexSet<RootId>,
) -> Vec<Buffer> {
    let choice = Choice {
        scene,
        segments,
        starts,
    };
    let mut buffers = Vec::new();
    for &root in roots {
        choice.root(root, &uses[&root], spilled.contains(&root), &mut buffers);
    }
    choice.overlaps(s..s + 1, &mut buffers);
    let span = choice.span(s);
    buffers.retain(|b| b.life.start < span.end && span.start < b.life.end);
    in_place::share(scene, segments, s..s + 1, starts, uses, &mut buffers);
    buffers
}

impl Choice<'_> {
    fn step(&self, (segment, stage): (usize, usize)) -> usize {
        self.starts[segment] + stage
    }

    fn span(&self, segment: usize) -> Range<usize> {
        self.starts[segment]..self.starts[segment] + self.segments[segment].stages.len()
    }

    /// Whether a root lives in the scratch of the stage that makes it.
    fn has_no_buffer(&self, root: RootId, using: &Use) -> bool {
        let stage = &self.segments[using.made.0].stages[using.made.1];
        let node = self.scene.storage.root(root).value.node;
        match stage {
            Stage::Rows { nodes } => using.stays_in_stage() && nodes.last() != Some(&node),
            Stage::Matmul {
                node: maker,
                quantize: Some(_),
            }
            | Stage::Attention {
                node: maker,
                quantize: Some(_),
            } => using.stays_in_stage() && *maker == node,
            Stage::Matmul {
                node,
                quantize: None,
            } => columns::drained(self.scene, *node).is_some(),
            Stage::Attention { .. }
            | Stage::CachedAttention { .. }
            | Stage::Whole { .. }
            | Stage::Input { .. } => false,
        }
    }

    /// All copies of all scratch parts of a segment.
    fn scratch(&self, s: usize, buffers: &mut Vec<Buffer>) {
        let segment = &self.segments[s];
        for (i, stage) in segment.stages.iter().enumerate() {
            let at = self.starts[s] + i;
            let parts = demand::scratch(self.scene, segment, stage);
            let parts = (0..).zip(parts).filter(|&(_, bytes)| bytes > 0);
            for (part, bytes) in parts {
                for copy in 0..demand::places(segment, stage, part) {
                    buffers.push(Buffer {
                        bytes,
                        life: at..at + 1,
                        addr: 0,
                        copies: 1,
                        over: None,
                        home: Home::Scratch {
                            segment: s,
                            stage: i,
                            part,
                            copy,
                        },
                    });
                }
            }
        }
    }

    /// Stages of which one begins anew while others are at work need what they make and read throughout.
    fn overlaps(&self, segments: Range<usize>, buffers: &mut [Buffer]) {
        for s in segments.filter(|&s| self.segments[s].alternates == Alternates::All) {
            let span = self.span(s);
            let life = buffers.iter_mut().map(|buffer| &mut buffer.life);
            for life in life.filter(|life| life.start < span.end && span.start < life.end) {
                *life = life.start.min(span.start)..life.end.max(span.end);
            }
        }
    }

    /// Where pieces of a row block go one behind the other, a stage writes what it makes while the one before it reads.
    fn waves(&self, buffers: &mut [Buffer]) {
        for s in (0..self.segments.len()).filter(|&s| self.segments[s].wave > 0) {
            let span = self.span(s);
            let lives = buffers.iter_mut().filter(|buffer| buffer.over.is_none());
            for life in lives.map(|buffer| &mut buffer.life) {
                if span.contains(&life.start) {
                    life.start = life.start.saturating_sub(1);
                }
            }
        }
    }

    fn root(&self, root: RootId, using: &Use, spilled: bool, buffers: &mut Vec<Buffer>) {
        if self.has_no_buffer(root, using) {
            return;
        }
        let info = self.scene.storage.root(root);
        let home = using.made.0;
        let passes = &self.segments[home].passes;
        let kept_by_passes =
            using.output && passes.count > 1 && !using.leaves_by_heads(passes, root);
        let mut push_copies = |copies: u64, bytes: u64, life: Range<usize>, home: Home| {
            buffers.push(Buffer {
                bytes: copies * bytes,
                life,
                addr: 0,
                copies,
                over: None,
                home,
            });
        };
        let mut push = |bytes, life, home| push_copies(1, bytes, life, home);
        if (using.crosses() || kept_by_passes) && !spilled {
            push(
                info.bytes(info.rows),
                self.long_life(using),
                Home::Whole(root),
            );
            return;
        }
        let mut push = |alternate: bool, bytes: u64, life: Range<usize>, home: Home| {
            let copies = if alternate { 2 } else { 1 };
            let bytes = if alternate {
                bytes.next_multiple_of(64)
            } else {
                bytes
            };
            push_copies(copies, bytes, life, home);
        };
        for (s, steps) in self.users(using) {
            let segment = &self.segments[s];
            if s == home && kept_by_passes {
                // The result leaves when all passes have made their columns.
                push(
                    false,
                    info.bytes(info.rows),
                    self.span(s),
                    Home::Whole(root),
                );
                continue;
            }
            let gathers = demand::gathers(segment, s, using);
            let kept = s != home && Taking::of(segment, s, root, using) == Taking::Kept;
            // What comes in whole for a block is there for all passes over it.
            let of_block = segment.blocks_first() && segment.passes.window(root).is_none();
            let life = if kept || of_block || gathers && segment.block_count() > 1 {
                self.span(s)
            } else {
                steps
            };
            if s != home
                && let (true, Some(window)) = (gathers, segment.passes.window(root))
            {
                let bytes = info.narrowed(window.columns()).bytes(info.rows);
                let alternates = segment.alternates > Alternates::Nothing;
                let home = Home::Heads { root, segment: s };
                push(alternates, bytes, self.span(s), home);
                continue;
            }
            if s != home && gathers {
                let life = if segment.repeats() {
                    self.span(s)
                } else {
                    life
                };
                let home = Home::Refilled { root, segment: s };
                push(false, info.bytes(info.rows), life, home);
                continue;
            }
            let narrow = match segment.passes.window(root) {
                Some(window) => info.narrowed(window.columns()),
                None => info.clone(),
            };
            let block = segment.block_rows.min(info.rows);
            let fits = info.rows == segment.rows;
            // By passes its columns come, by blocks its rows.
            let changes = match segment.passes.count {
                1 => segment.block_count() > 1 && !gathers && fits,
                _ => of_block && fits || segment.passes.window(root).is_some(),
            };
            let alternates = changes
                && match segment.alternates {
                    Alternates::Nothing => false,
                    Alternates::Spilled => spilled,
                    Alternates::All => true,
                };
            let life = if alternates { self.span(s) } else { life };
            if gathers || !fits {
                let whole = segment.passes.count == 1 && !spilled;
                let home = if whole {
                    Home::Whole(root)
                } else {
                    Home::Window { root, segment: s }
                };
                push(alternates && !whole, narrow.bytes(info.rows), life, home);
            } else if segment.repeats() || spilled {
                let home = Home::Block { root, segment: s };
                push(alternates, narrow.bytes(block), life, home);
            } else {
                push(false, info.bytes(info.rows), life, Home::Whole(root));
            }
        }
    }

    /// First and last step of every segment that makes or reads a value.
    fn users(&self, using: &Use) -> IndexMap<usize, Range<usize>> {
        let made = self.step(using.made);
        let mut users: IndexMap<usize, Range<usize>> = IndexMap::new();
        users.insert(using.made.0, made..made + 1);
        for &at in &using.read {
            let step = self.step(at);
            let life = users.entry(at.0).or_insert(step..step + 1);
            *life = life.start.min(step)..life.end.max(step + 1);
        }
        users
    }

    /// The life of a value that several segments see: those that come by again need it throughout.
    fn long_life(&self, using: &Use) -> Range<usize> {
        let made = using.made;
        let start = if self.segments[made.0].repeats() {
            self.span(made.0).start
        } else {
            self.step(made)
        };
        let end = using.read.iter().map(|&at| {
            if self.segments[at.0].repeats() {
                self.span(at.0).end
            } else {
                self.step(at) + 1
            }
        });
        start..end.max().unwrap_or(0).max(self.step(made) + 1)
    }
}
