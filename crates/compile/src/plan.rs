//! The plan: from layers to packets, before they are packets.
//!
//! A plan says which stages travel together ([`Segment`]), into how many row blocks they are cut,
//! which part of the data each [`Fragment`] handles, where every [`Buffer`] lies in SRAM and how
//! long it lives, and which constant [`Tile`]s stream through the ring of prefetched weights.
//!
//! ```text
//!  graph ─locate─▶ storage ─stage─▶ stages ─segment─▶ segments ─slice─▶ row blocks
//!        ─order─▶ fragments ─place─▶ buffers ─prefetch─▶ loads between the fragments
//! ```

pub mod again;
pub mod buffers;
pub mod cache;
pub mod catalogue;
pub mod chunk;
pub mod classes;
pub mod columns;
pub mod constants;
pub mod cost;
pub mod demand;
pub mod extra;
pub mod form;
pub mod in_place;
pub mod offer;
pub mod order;
pub mod pace;
pub mod pin;
pub mod place;
pub mod prefetch;
pub mod search;
pub mod segment;
pub mod slice;
pub mod stage;
pub mod storage;
pub mod text;
pub mod too_small;
pub mod wave;
pub mod window;

use std::ops::Range;

use indexmap::IndexSet;
use packwright_ir::diag::Diagnostics;
use packwright_ir::{Graph, NodeId};
use packwright_target::Target;

use crate::options::{PlanMode, PlanOptions};
use constants::{Layout, Stored, Tile, TileId};
use stage::Stage;
use storage::{RootId, Storage};
use window::Window;

/// A planned graph: what `emit` turns into packets.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the values of the graph live.
    pub storage: Storage,
    /// How constants lie in DRAM.
    pub layout: Layout,
    pub segments: Vec<Segment>,
    /// In issue order, loads among them.
    pub fragments: Vec<Fragment>,
    pub buffers: Vec<Buffer>,
    pub tiles: Vec<Tile>,
    /// The part of SRAM through which the constants of each segment stream, between its buffers and the constants
    /// that stay.
    pub rooms: Vec<SramSpan>,
    /// Rows of one fragment of a row-wise stage that sees whole rows.
    pub row_chunk: usize,
    /// Bytes that the spill region needs.
    pub spill_bytes: u64,
    /// Highest SRAM address in use.
    pub sram_peak: u64,
}

impl Plan {
    /// Values that are written to DRAM and brought back, in the order of their first spills.
    pub fn spilled(&self) -> IndexSet<RootId> {
        let fragments = self.fragments.iter();
        let roots = fragments.filter_map(|fragment| match fragment {
            Fragment::Spill { root, .. } => Some(*root),
            _ => None,
        });
        roots.collect()
    }
}

/// A range of SRAM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SramSpan {
    pub addr: u64,
    pub bytes: u64,
}

/// Stages that travel together: each row block goes through all of them before the next one starts.
/// An attention, which a segment may end with, follows when all row blocks of its pass are done.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    pub stages: Vec<Stage>,
    /// Rows of the values that flow through the segment.
    pub rows: usize,
    /// Rows of one block; `rows` where the segment is not cut.
    pub block_rows: usize,
    /// Whether constants stay for all blocks of a pass instead of being streamed again for each.
    pub resident: bool,
    /// How often the row blocks come by, each time for other columns.
    pub passes: Passes,
    /// Most bytes of one weight tile.
    pub tile_bytes: u64,
    /// Whether tiles may be wider than a ring needs.
    pub wide: bool,
    /// Which values have two places, which alternate from pass to pass or from row block to row block.
    pub alternates: Alternates,
    pub portions: Portions,
    /// Most bytes of tiles that pieces of a row block go through one behind the other, at the ends of its products.
    pub wave: u64,
}

/// Which of the values that a segment makes or brings in a pass or a row block at a time have two places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alternates {
    Nothing,
    /// Those that come from DRAM or go there, so that their transfers run beside the work on others.
    Spilled,
    /// All, and no scratch takes the place of another's: a pass or block begins while the one before is at work.
    All,
}

/// How much of what stages hold for themselves is there at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portions {
    /// Copies of scratch: with two, a fragment starts while the one before is at work.
    pub copies: u8,
    pub scores: Scores,
    pub pieces: Pieces,
}

/// How the rows of a block go through the tiles of a product whose columns are quantised together: scratch holds as many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pieces {
    /// All of them through one tile after the other.
    Whole,
    /// Two halves through one tile after the other, each with scratch of its own: one is quantised while the arrays are at
    /// work on the other.
    Halves,
    /// Piece by piece through all tiles, which are there together.
    Turns,
}

/// How many rows of scores an attention has at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scores {
    /// As many as a share of SRAM holds.
    Share,
    Rows(usize),
}

impl Default for Portions {
    fn default() -> Self {
        Self {
            copies: 2,
            scores: Scores::Share,
            pieces: Pieces::Whole,
        }
    }
}

/// How a segment is cut by columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passes {
    pub count: usize,
    /// The columns of one pass, for every root that the segment makes, and for those made elsewhere of which
    /// a pass reads its columns only; empty with one pass.
    pub windows: Vec<Window>,
}

impl Default for Passes {
    fn default() -> Self {
        Self {
            count: 1,
            windows: Vec::new(),
        }
    }
}

impl Passes {
    /// The columns of a root that one pass makes or reads.
    pub fn window(&self, root: RootId) -> Option<&Window> {
        self.windows.iter().find(|window| window.root == root)
    }
}

/// Most rows of a fragment of a row-wise stage that sees some columns.
const WIDEST_CHUNK: usize = 128;

impl Segment {
    /// A segment that is not cut.
    pub fn new(stages: Vec<Stage>, rows: usize) -> Self {
        Self {
            stages,
            rows,
            block_rows: rows,
            resident: false,
            passes: Passes::default(),
            tile_bytes: u64::MAX,
            wide: false,
            alternates: Alternates::Nothing,
            portions: Portions::default(),
            wave: 0,
        }
    }

    /// Whether its stages are gone through more than once.
    pub fn repeats(&self) -> bool {
        self.block_count() > 1 || self.passes.count > 1
    }

    /// Whether all passes go over a row block before the next one: what they read as a whole comes in once for each block.
    /// Constants that stay for all blocks, and attentions, ask for pass after pass.
    pub fn blocks_first(&self) -> bool {
        let is_cut = self.block_count() > 1 && self.passes.count > 1;
        is_cut && !self.resident && !self.stages.iter().any(Self::is_gathering)
    }

    /// Gives values a second place, where passes or row blocks follow each other.
    pub fn alternate(&mut self, alternates: Alternates) {
        if self.repeats() {
            self.alternates = self.alternates.max(alternates);
        }
    }

    /// Whether what makes queries, keys and values is a pass ahead of the attention that they are for.
    pub fn runs_ahead(&self) -> bool {
        let waits = self.stages.last().is_some_and(|stage| self.waits(stage));
        let is_cut = self.passes.count > 1 && self.block_count() == 1;
        waits && is_cut && self.alternates == Alternates::All
    }

    /// Whether an attention that is alone has two places for the queries, keys and values of a pass, so that those of the
    /// next one come while it is at work.
    pub fn takes_heads_in_turn(&self) -> bool {
        let alone = matches!(self.stages[..], [Stage::Attention { .. }]);
        alone && self.passes.count > 1 && self.alternates == Alternates::Spilled
    }

    /// Whether a stage needs keys and values of all rows.
    pub fn is_gathering(stage: &Stage) -> bool {
        matches!(
            stage,
            Stage::Attention { .. } | Stage::CachedAttention { .. }
        )
    }

    /// Whether a stage waits until all row blocks of a pass are done: an attention whose keys and values other
    /// stages of the segment may make.
    pub fn waits(&self, stage: &Stage) -> bool {
        Self::is_gathering(stage) && self.stages.len() > 1
    }

    /// Rows that a stage carries out at a time.
    pub fn rows_at_a_time(&self, stage: &Stage) -> usize {
        match self.waits(stage) {
            true => self.rows,
            false => self.block_rows.min(self.rows),
        }
    }

    /// Rows of a fragment of a row-wise stage, where `row_chunk` are those of whole rows: a pass sees some columns, of
    /// more rows.
    pub fn chunk_rows(&self, row_chunk: usize) -> usize {
        let most = row_chunk.max(WIDEST_CHUNK);
        row_chunk.saturating_mul(self.passes.count).min(most)
    }

    /// The row blocks in order.
    pub fn blocks(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        (0..self.rows.max(1))
            .step_by(self.block_rows.max(1))
            .map(|start| start..(start + self.block_rows).min(self.rows.max(1)))
    }

    /// Number of row blocks.
    pub fn block_count(&self) -> usize {
        self.rows.max(1).div_ceil(self.block_rows.max(1))
    }

    /// How often all of its constants come in.
    pub fn visits(&self) -> u64 {
        match self.resident {
            true => 1,
            false => self.block_count() as u64,
        }
    }
}

/// Index of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferId(pub u32);

/// A region of SRAM with an address and a life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    pub bytes: u64,
    /// Steps during which the contents matter.
    pub life: Range<usize>,
    pub addr: u64,
    /// Copies of what it holds, side by side, which alternate.
    pub copies: u64,
    /// The buffer whose place it takes over: that one ends with the step that makes this one.
    pub over: Option<usize>,
    /// What it holds.
    pub home: Home,
}

/// What a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Home {
    /// All rows of a value.
    Whole(RootId),
    /// The present row block of a value in a segment; with several passes only the columns of one where a
    /// window is known.
    Block { root: RootId, segment: usize },
    /// All rows of a spilled value, brought back for an attention of a segment.
    Refilled { root: RootId, segment: usize },
    /// All rows of the columns that one pass over a segment makes.
    Window { root: RootId, segment: usize },
    /// All rows of a spilled value's columns for one pass of an attention.
    Heads { root: RootId, segment: usize },
    /// Intermediate data of one stage; `copy` of several that alternate.
    Scratch {
        segment: usize,
        stage: usize,
        part: u8,
        copy: u8,
    },
}

impl Home {
    /// The value of which a buffer holds something.
    pub fn root(self) -> Option<RootId> {
        match self {
            Home::Whole(root)
            | Home::Block { root, .. }
            | Home::Refilled { root, .. }
            | Home::Window { root, .. }
            | Home::Heads { root, .. } => Some(root),
            Home::Scratch { .. } => None,
        }
    }
}

/// A part of the data of one stage: what one packet carries out.
#[derive(Clone, Debug, PartialEq)]
pub enum Fragment {
    /// Brings a constant tile into the ring.
    LoadTile { tile: TileId },
    /// Brings an input of the model into its buffer.
    LoadInput { node: NodeId },
    /// Brings rows of a spilled value back: the columns of a pass, or all of them.
    Fill {
        root: RootId,
        segment: usize,
        pass: usize,
        rows: Range<usize>,
    },
    /// Part of a stage.
    Work {
        segment: usize,
        stage: usize,
        pass: usize,
        rows: Range<usize>,
        part: Part,
        tiles: Vec<TileId>,
    },
    /// Writes rows of a spilled value out: the columns of a pass.
    Spill {
        root: RootId,
        segment: usize,
        pass: usize,
        rows: Range<usize>,
    },
    /// Writes rows of a result of the model; of a cache the heads of a pass.
    StoreOutput {
        output: usize,
        /// The pass whose columns leave, and how many there are; none where all columns do.
        pass: Option<(usize, usize)>,
        rows: Range<usize>,
    },
    /// Writes the columns of a result that a fragment has left in the scratch of its stage.
    Drain {
        output: usize,
        segment: usize,
        stage: usize,
        rows: Range<usize>,
        columns: Range<usize>,
        copy: u8,
    },
}

/// One of some equal parts of a contraction. Records of channels are read in as many pieces; what stands behind the
/// values of a channel comes with the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    pub part: usize,
    pub of: usize,
}

impl Depth {
    pub fn is_last(self) -> bool {
        self.part + 1 == self.of
    }

    /// The elements of a contraction of length `k`.
    pub fn range(self, k: usize) -> Range<usize> {
        self.part * k / self.of..(self.part + 1) * k / self.of
    }

    /// The bytes of a record.
    pub fn bytes(self, stored: &Stored) -> Range<u64> {
        let (values, of) = (stored.scale_offset(), self.of as u64);
        let end = match self.is_last() {
            true => stored.record(),
            false => values / of * (self.part as u64 + 1),
        };
        values / of * self.part as u64..end
    }
}

/// Which part of a stage's columns or heads a fragment computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    All,
    /// Columns of a product, or a part of their contraction; `quantizes` the chunk that ends with them.
    Columns {
        columns: Range<usize>,
        chunk: Range<usize>,
        depth: Depth,
        quantizes: bool,
        copy: u8,
    },
    /// A chunk of columns of a product is quantised.
    QuantizeColumns { chunk: Range<usize>, copy: u8 },
    /// One head of one batch element; `copy` of scores and `results` alternate apart.
    Head { head: usize, copy: u8, results: u8 },
    /// The scores, probabilities and results of one head over a block of keys; copies of scores alternate
    /// from block to block, those of results from rows to rows.
    Keys {
        head: usize,
        block: usize,
        copy: u8,
        results: u8,
    },
    /// The biases by distance of one head, for all fragments of it.
    Bias { head: usize },
    /// The results of all blocks of keys become one.
    Join { head: usize, results: u8 },
    /// The results of one head are quantised, or of several, the first of which is named.
    Quantize { head: usize, results: u8 },
    /// A step of a sort by hash or of attention among chunks; rows count in the order of the head.
    Chunk(chunk::ChunkPart),
}

/// Plans a legal graph for a target. The graph changes where some of its values are made again instead of being spilled.
///
/// # Errors
/// When no plan fits into the target's SRAM, or when a stage has no lowering.
pub fn plan(
    graph: &mut Graph,
    target: &Target,
    options: &PlanOptions,
) -> Result<Plan, Diagnostics> {
    let first = plan_as_is(graph, target, options)?;
    if options.mode.is_baseline() {
        return Ok(first.plan);
    }
    let Some(changed) = again::made_again(graph, &first.plan) else {
        return Ok(first.plan);
    };
    match plan_as_is(&changed, target, options) {
        Ok(second) if second.weight < first.weight => {
            *graph = changed;
            Ok(second.plan)
        }
        _ => Ok(first.plan),
    }
}

fn plan_as_is(
    graph: &Graph,
    target: &Target,
    options: &PlanOptions,
) -> Result<slice::Chosen, Diagnostics> {
    let storage = storage::locate(graph)?;
    let layout = constants::layout(graph)?;
    let mut stages = stage::stages(graph, &storage);
    if options.mode == PlanMode::LayerWise {
        stages = stage::unfused(&stages);
    }
    let segments = segment::segments(graph, &storage, stages);
    slice::choose(graph, target, options, storage, layout, segments)
}
