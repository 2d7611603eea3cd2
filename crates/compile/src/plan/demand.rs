//! What stages demand of SRAM: scratch, tiles of constants, and who reads what.

use std::ops::Range;

use indexmap::IndexMap;
use packwright_ir::op::Attention;
use packwright_ir::{Graph, NodeId, Op, Quant};
use packwright_numerics::reduce::LANES;
use packwright_target::Target;

use super::cache::{self, Cache};
use super::chunk;
use super::columns::{self, Products};
use super::constants::{Form, Layout, Stored, StoredId};
use super::stage::Stage;
use super::storage::{RootId, Storage};
use super::wave;
use super::{Passes, Pieces, Scores, Segment};
use crate::options::PlanOptions;

/// Everything that the sizes follow from.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    pub graph: &'a Graph,
    pub target: &'a Target,
    pub options: &'a PlanOptions,
    pub storage: &'a Storage,
    pub layout: &'a Layout,
    pub products: &'a Products,
}

/// Where a root is made and read: step numbers are `(segment, stage)` pairs.
#[derive(Clone, Debug, Default)]
pub struct Use {
    pub made: (usize, usize),
    pub read: Vec<(usize, usize)>,
    /// Readers that are attentions alone in their segments and take it as queries and nothing else: block by
    /// block.
    pub queried: Vec<(usize, usize)>,
    pub output: bool,
    /// Whether it is a result that leaves by whole rows.
    leaves_whole: bool,
    /// The first column of what each cache keeps of it, and the width of its heads.
    heads: Vec<(usize, usize)>,
}

impl Use {
    /// Whether the passes over the segment that makes it leave whole heads of a value that only caches keep: these leave
    /// pass by pass. Other results leave when all columns are made.
    pub fn leaves_by_heads(&self, passes: &Passes, root: RootId) -> bool {
        let Some(window) = passes.window(root) else {
            return false;
        };
        // No pass ends within a head.
        let are_whole = |&(first, width): &(usize, usize)| {
            let mut sections = window.sections.iter();
            sections.all(|s| s.width.is_multiple_of(width) && s.start % width == first % width)
        };
        self.output && !self.leaves_whole && self.heads.iter().all(are_whole)
    }

    /// Whether another segment than the maker's reads it.
    pub fn crosses(&self) -> bool {
        self.read.iter().any(|&(segment, _)| segment != self.made.0)
    }

    /// Whether only the stage that makes it reads it.
    pub fn stays_in_stage(&self) -> bool {
        !self.output && self.read.iter().all(|&read| read == self.made)
    }
}

/// Finds the makers and readers of all roots.
pub fn uses(graph: &Graph, storage: &Storage, segments: &[Segment]) -> IndexMap<RootId, Use> {
    let mut uses: IndexMap<RootId, Use> = IndexMap::new();
    for (s, segment) in segments.iter().enumerate() {
        for (i, stage) in segment.stages.iter().enumerate() {
            for node in stage.nodes() {
                let roots = graph.operands(node).into_iter();
                let roots: Vec<RootId> = roots
                    .filter_map(|operand| Some(storage.place(operand)?.root))
                    .collect();
                for &root in &roots {
                    let entry = uses.entry(root).or_default();
                    if entry.read.last() != Some(&(s, i)) {
                        entry.read.push((s, i));
                    }
                }
                let alone = matches!(graph.op(node), Op::Attention(_))
                    && Segment::is_gathering(stage)
                    && !segment.waits(stage);
                if let ([queries, others @ ..], true) = (&roots[..], alone)
                    && !others.contains(queries)
                {
                    uses.entry(*queries).or_default().queried.push((s, i));
                }
                if let Some(root) = storage.root_of(node) {
                    uses.entry(root).or_default().made = (s, i);
                }
            }
        }
    }
    for output in graph.outputs() {
        if let Some(place) = storage.place(output.value) {
            let using = uses.entry(place.root).or_default();
            using.output = true;
            match Cache::of(graph, output.value) {
                Some(cache) => using.heads.push((place.col, cache.width)),
                None => using.leaves_whole = true,
            }
        }
    }
    uses
}

/// Whether an attention of a segment is among the readers of a value and needs all rows of it.
pub fn attends(segment: &Segment, index: usize, using: &Use) -> bool {
    using
        .read
        .iter()
        .filter(|read| read.0 == index && !using.queried.contains(read))
        .any(|&(_, i)| Segment::is_gathering(&segment.stages[i]))
}

/// Whether a segment needs all rows of a value at once: an attention of it reads or makes them.
pub fn gathers(segment: &Segment, index: usize, using: &Use) -> bool {
    let (made, stage) = using.made;
    attends(segment, index, using) || (made == index && segment.waits(&segment.stages[stage]))
}

/// How a segment takes a spilled value that another one has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taking {
    /// All rows, once: for an attention.
    Whole,
    /// In each pass all rows of its columns: some heads, for an attention.
    Heads,
    /// All rows, once: they stay for all passes.
    Kept,
    /// In each pass its columns, block by block.
    Columns,
    /// All columns, block by block: in each pass, or once for all passes over a block.
    Blocks,
}

impl Taking {
    /// How a segment takes a value.
    pub fn of(segment: &Segment, index: usize, root: RootId, using: &Use) -> Self {
        if attends(segment, index, using) {
            match segment.passes.window(root) {
                Some(_) => Taking::Heads,
                None => Taking::Whole,
            }
        } else if segment.passes.window(root).is_some() {
            Taking::Columns
        } else if segment.passes.count > 1 && segment.block_count() == 1 {
            Taking::Kept
        } else {
            Taking::Blocks
        }
    }

    /// Whether all rows come at once.
    pub fn is_of_all_rows(self) -> bool {
        matches!(self, Taking::Whole | Taking::Kept | Taking::Heads)
    }

    /// How often all bytes of the value come in.
    pub fn times(self, segment: &Segment) -> u64 {
        match self {
            Taking::Whole | Taking::Kept | Taking::Heads | Taking::Columns => 1,
            Taking::Blocks if segment.blocks_first() => 1,
            Taking::Blocks => segment.passes.count as u64,
        }
    }
}

/// Sizes of the scratch parts of a stage, for one copy.
pub fn scratch(scene: &Scene<'_>, segment: &Segment, stage: &Stage) -> Vec<u64> {
    match stage {
        Stage::Matmul { node, quantize } => {
            let cut = columns::of(scene, segment, *node);
            let chunk = cut.chunk as u64;
            let elem = element_bytes(scene, *node);
            let rows = wave::piece_rows(scene, segment, *node) as u64;
            // Columns on their way to be quantised or written out, the scale of a statically quantised
            // operand, and the partial sums of one that comes in parts, or of a contraction that does.
            let parted = is_parted(scene.graph, *node);
            vec![
                if quantize.is_some() || columns::drained(scene, *node).is_some() {
                    rows * chunk * elem
                } else {
                    0
                },
                4,
                if parted {
                    rows * chunk.min(PARTED_COLUMNS as u64) * 4
                } else if cut.parts > 1 {
                    rows * cut.tile as u64 * 4
                } else {
                    0
                },
            ]
        }
        Stage::Attention { node, quantize } => {
            let elem = element_bytes(scene, *node);
            let shape = AttentionShape::of(scene.graph, *node);
            let rows = score_rows(scene, segment, stage, *node);
            let columns = score_columns(scene.graph, *node, rows) as u64;
            let rows = rows as u64;
            // Scores, in whose place probabilities come, and the scales of these; where columns come in parts, partial sums and the
            // scales of values; where keys come in blocks, what is left of each; biases by distance; results
            // on their way to be quantised, in two places for each copy of scores, which need not wait for that.
            let parts = match scene.graph.op(*node) {
                Op::Attention(attrs) if !attrs.global.is_empty() => {
                    rows * shape.value_width as u64 * 4 + columns * 4
                }
                _ => key_blocks(scene.graph, *node).map_or(0, |keys| rows * keys.row_bytes(&shape)),
            };
            let results = quantize.map_or(0, |quantize| {
                let together = heads_together(scene.graph, *node, quantize);
                rows * (together * shape.value_width) as u64 * elem
            });
            vec![
                rows * columns * 4,
                rows * 4,
                parts,
                rows * relative_bytes(scene.graph, *node),
                results,
                results,
            ]
        }
        Stage::CachedAttention { node } => {
            let shape = AttentionShape::of(scene.graph, *node);
            let (rows, t) = (shape.cached_rows() as u64, shape.t as u64);
            let mut parts = vec![
                rows * t * 4,
                (rows * t).next_multiple_of(4) + rows * 4,
                rows * held_biases(scene.graph, *node).map_or(0, |(_, pitch)| pitch),
            ];
            // Keys and values that caches keep in floats, once they are quantised.
            for (at, width) in [(1, shape.width), (2, shape.value_width)] {
                let factor = scene.graph.operand(*node, at);
                if factor.is_some_and(|v| cache::quantizes_held(scene.graph, v.node)) {
                    parts.push((t * width as u64).next_multiple_of(4) + t * 4);
                }
            }
            parts
        }
        Stage::Rows { nodes } => row_scratch(scene, segment, nodes),
        Stage::Whole { node } => chunk::scratch(scene, *node),
        Stage::Input { .. } => Vec::new(),
    }
}

/// Most columns of a product of parts whose partial sums are kept at once.
pub const PARTED_COLUMNS: usize = 64;

/// Whether the rows that a product reads come in parts.
pub fn is_parted(graph: &Graph, node: NodeId) -> bool {
    matches!(graph.op(node), Op::Matmul(attrs) if attrs.parts > 1)
}

/// Scratch of a chain of row-wise nodes: gathered rows of each table, sums, and the chained values.
fn row_scratch(scene: &Scene<'_>, segment: &Segment, nodes: &[NodeId]) -> Vec<u64> {
    let mut parts = Vec::new();
    for (position, &node) in nodes.iter().enumerate() {
        let chunk = segment.chunk_rows(scene.options.row_chunk);
        let rows = chunk.min(scene.graph.types(node)[0].rows()) as u64;
        if let Op::Embedding { tables } = scene.graph.op(node) {
            let columns = scene.graph.types(node)[0].columns() as u64;
            for id in scene
                .layout
                .of(node)
                .iter()
                .filter(|id| scene.layout.get(**id).table)
            {
                parts.push(rows * scene.layout.get(*id).record());
            }
            if *tables > 1 {
                parts.push(rows * columns * 4);
            }
        }
        if let Op::QuantizeParts { .. } = scene.graph.op(node) {
            // What the first part has lost.
            let columns = scene.graph.types(node)[0].columns() as u64 / 2;
            parts.push(rows * columns * 4);
        }
        if position + 1 < nodes.len()
            && let Some(root) = scene.storage.root_of(node)
        {
            let info = scene.storage.root(root);
            let info = match segment.passes.window(root) {
                Some(window) => info.narrowed(window.columns()),
                None => info.clone(),
            };
            parts.push(info.bytes(rows as usize));
        }
    }
    parts
}

/// Sizes of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    pub batch: usize,
    pub heads: usize,
    pub kv_heads: usize,
    /// Query rows of a batch element.
    pub s: usize,
    /// Key rows of a batch element.
    pub t: usize,
    pub width: usize,
    pub value_width: usize,
}

impl AttentionShape {
    /// The sizes of an attention node.
    pub fn of(graph: &Graph, node: NodeId) -> Self {
        let operands = graph.operands(node);
        let (heads, kv_heads) = match graph.op(node) {
            Op::Attention(attention) => (attention.heads, attention.kv_heads),
            _ => (1, 1),
        };
        let q = graph.ty(operands[0]);
        let k = graph.ty(operands[1]);
        let v = graph.ty(operands[2]);
        let axis = |shape: &[usize], from_end: usize| {
            shape
                .len()
                .checked_sub(from_end)
                .map_or(1, |index| shape[index])
        };
        let s = axis(&q.shape, 2);
        Self {
            batch: q.rows() / s.max(1),
            heads,
            kv_heads,
            s,
            t: axis(&k.shape, 2),
            width: q.columns() / heads,
            value_width: v.columns() / kv_heads,
        }
    }
}

/// How many heads of an attention are quantised together: their columns share scales.
pub fn heads_together(graph: &Graph, attention: NodeId, quantize: NodeId) -> usize {
    let width = AttentionShape::of(graph, attention).value_width;
    match graph.op(quantize) {
        Op::Quantize {
            quant: Quant::Row { group },
        } => group.div_ceil(width),
        _ => 1,
    }
}

/// Keys that come in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyBlocks {
    /// Keys of a block, but for the last one.
    pub size: usize,
    pub count: usize,
}

impl KeyBlocks {
    /// Bytes that a row of an attention leaves of its blocks: a row of results of each and one of their sum,
    /// the logarithms of sums and the weights that follow from them.
    pub fn row_bytes(self, shape: &AttentionShape) -> u64 {
        ((self.count + 1) * shape.value_width * 4 + 2 * self.count * 4) as u64
    }

    /// The blocks of which some rows of a batch element see anything.
    pub fn seen(
        self,
        attrs: &Attention,
        rows: &Range<usize>,
        shape: &AttentionShape,
    ) -> Range<usize> {
        let columns = attrs.columns_of_rows(rows, [shape.s, shape.t]);
        columns.start / self.size..columns.end.div_ceil(self.size)
    }
}

/// The blocks of the keys of an attention, where they come in blocks.
pub fn key_blocks(graph: &Graph, node: NodeId) -> Option<KeyBlocks> {
    let Op::Attention(attrs) = graph.op(node) else {
        return None;
    };
    let size = attrs.block?;
    let t = AttentionShape::of(graph, node).t;
    Some(KeyBlocks {
        size,
        count: t.div_ceil(size),
    })
}

/// Most score columns of an attention fragment of some rows: the global columns, and what the rows see
/// beside them, from a whole number of lanes on.
pub fn score_columns(graph: &Graph, node: NodeId, rows: usize) -> usize {
    let shape = AttentionShape::of(graph, node);
    let Op::Attention(attrs) = graph.op(node) else {
        return shape.t;
    };
    let seen = match attrs.window {
        None => attrs.block.unwrap_or(shape.t).min(shape.t),
        Some(window) => {
            let ahead = if attrs.causal { 0 } else { window };
            (rows + window + ahead + LANES - 1).min(shape.t)
        }
    };
    attrs.prefix() + seen
}

impl AttentionShape {
    /// Rows of scores that a product over a cache makes: those of one head, or a row of each head that
    /// reads the same keys.
    pub fn cached_rows(&self) -> usize {
        if self.s == 1 {
            self.heads / self.kv_heads
        } else {
            self.s
        }
    }
}

/// Bytes that a row of a fragment takes for biases by distance: it has all of them, one place further on than
/// the row before.
pub fn relative_bytes(graph: &Graph, node: NodeId) -> u64 {
    let Op::Attention(attrs) = graph.op(node) else {
        return 0;
    };
    let bias = attrs
        .relative_operand()
        .and_then(|at| graph.operand(node, at));
    bias.map_or(0, |bias| {
        let ty = graph.ty(bias);
        ((ty.columns() + 1) * ty.elem.bytes()) as u64
    })
}

/// Where a row over a cache finds its biases by distance: at which of the numbers in its row of scratch those of
/// the columns begin, and how many bytes are from one row to the next.
///
/// How many columns there are is known at run time only. The numbers are copied as many places further on as rows
/// are held, so that the bias of the last column lies behind that of the first by as much.
pub fn held_biases(graph: &Graph, node: NodeId) -> Option<(usize, u64)> {
    let Op::Attention(attrs) = graph.op(node) else {
        return None;
    };
    let bias = graph.operand(node, attrs.relative_operand()?)?;
    let ty = graph.ty(bias);
    let shape = AttentionShape::of(graph, node);
    let first = shape.t - 1;
    Some((first, ((first + ty.columns()) * ty.elem.bytes()) as u64))
}

/// Bytes of an element of a node's result.
fn element_bytes(scene: &Scene<'_>, node: NodeId) -> u64 {
    let root = scene.storage.root_of(node);
    root.map_or(2, |root| u64::from(scene.storage.root(root).elem.bytes()))
}

/// Lane operations of the softmax of a score whose probability meets int8 values with a scale a row: maximum;
/// difference, exponential (four), sum; product with that scale; magnitude and maximum, product, conversion.
pub const SOFTMAX_OPERATIONS: u64 = 11;

/// The part of the scratch of an attention that biases by distance go to.
pub const BIASES: u8 = 3;

/// In how many places a part of the scratch of a stage lies. Where room is short the biases of a head have one: those of
/// the next head then come when its last scores are there.
pub fn places(segment: &Segment, stage: &Stage, part: u8) -> u8 {
    match (stage, segment.portions.scores) {
        (Stage::Attention { .. }, Scores::Rows(_)) if part == BIASES => 1,
        _ => segment.portions.copies,
    }
}

/// Two copies of scores and probabilities should not take more than an eighth of SRAM.
const SCORE_SHARE: u64 = 16;

/// Rows of scores that one fragment of an attention holds.
pub fn score_rows(scene: &Scene<'_>, segment: &Segment, stage: &Stage, node: NodeId) -> usize {
    let shape = AttentionShape::of(scene.graph, node);
    let mut most = segment.rows_at_a_time(stage).min(shape.s).max(1);
    if let Some(rows) = scene.options.score_rows {
        return rows.clamp(1, most);
    }
    if let Op::Attention(attrs) = scene.graph.op(node)
        && attrs.window.is_some()
    {
        // Rows beyond those that the array holds at once only widen what a fragment sees.
        most = most.min(scene.target.matrix.columns.max(8) as usize);
    }
    if let Scores::Rows(rows) = segment.portions.scores {
        return rows.min(most);
    }
    if scene.target.cores > 1 {
        // Several cores share the rows of each head, two fragments each.
        let shared = shape.s.div_ceil(2 * scene.target.cores as usize);
        most = most.min(shared.max(scene.target.matrix.rows as usize));
    }
    let budget = scene.target.sram.bytes / SCORE_SHARE;
    let left = key_blocks(scene.graph, node).map_or(0, |keys| keys.row_bytes(&shape))
        + relative_bytes(scene.graph, node);
    let fits = |rows: usize| {
        let columns = score_columns(scene.graph, node, rows) as u64;
        rows as u64 * (columns * 5 + 4 + left) <= budget
    };
    let (mut rows, mut above) = (1, most + 1);
    while rows + 1 < above {
        let middle = rows.midpoint(above);
        if fits(middle) {
            rows = middle;
        } else {
            above = middle;
        }
    }
    if rows >= most {
        most
    } else {
        (rows / 8 * 8).max(rows.min(8)).min(most)
    }
}

/// Bytes of the constants that a stage brings through the ring: the largest set that one fragment
/// needs at once, and all of them.
pub fn constant_bytes(scene: &Scene<'_>, segment: &Segment, stage: &Stage) -> (u64, u64) {
    let mut largest = 0;
    let mut all = 0;
    for node in stage.nodes() {
        let ids = scene.layout.of(node);
        match scene.graph.op(node) {
            Op::Matmul(_) => {
                for id in ids {
                    let stored = scene.layout.get(*id);
                    let n = match stored.form {
                        Form::Channels { channels, .. } => channels,
                        Form::Vectors { .. } | Form::Plain { .. } | Form::Cache(_) => 1,
                    };
                    let cut = columns::of(scene, segment, node);
                    // Pieces of a row block take all tiles of the columns that belong together in turn.
                    let is_cut = segment.portions.pieces == Pieces::Turns
                        && wave::piece_rows(scene, segment, node) < segment.block_rows;
                    let together = if is_cut {
                        cut.chunk.max(cut.tile)
                    } else {
                        cut.tile
                    };
                    let bytes = together.min(n) as u64 * columns::widest_run(stored, cut.parts);
                    largest += bytes.next_multiple_of(64);
                    all += stored.bytes.next_multiple_of(64);
                }
            }
            Op::HashSort(_) => {
                let (tile, bytes) = chunk::rotation_bytes(scene, node).unwrap_or_default();
                largest += tile;
                all += bytes;
            }
            Op::Attention(_) if super::cache::reads_held(scene.graph, node) => {
                for id in ids {
                    let stored = scene.layout.get(*id);
                    largest += stored.record().next_multiple_of(64);
                    all += stored.bytes.next_multiple_of(64);
                }
            }
            _ => {
                let bytes: u64 = ids
                    .iter()
                    .map(|id| resident_bytes(scene, *id).next_multiple_of(64))
                    .sum();
                largest += bytes;
                all += bytes;
            }
        }
    }
    (largest, all)
}

/// Bytes of a constant that a fragment holds as a whole; tables that are gathered from DRAM take none.
fn resident_bytes(scene: &Scene<'_>, id: StoredId) -> u64 {
    let stored = scene.layout.get(id);
    if stored.table && !is_small_table(stored) {
        0
    } else {
        stored.bytes
    }
}

/// Whether a table is loaded whole and looked up in SRAM.
pub fn is_small_table(stored: &Stored) -> bool {
    stored.table && stored.bytes <= SMALL_TABLE
}

/// Tables up to this size are loaded whole.
const SMALL_TABLE: u64 = 4096;
