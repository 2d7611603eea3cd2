//! What a choice of row blocks demands of SRAM: every buffer with its size and life.

use indexmap::{IndexMap, IndexSet};
use packwright_ir::{Graph, NodeId, Op};
use packwright_target::Target;

use super::constants::{Form, Layout, StoredId};
use super::stage::Stage;
use super::storage::{RootId, Storage};
use super::{Buffer, Home, Segment};
use crate::options::PlanOptions;

/// Everything that the sizes follow from.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    pub graph: &'a Graph,
    pub target: &'a Target,
    pub options: &'a PlanOptions,
    pub storage: &'a Storage,
    pub layout: &'a Layout,
}

/// Where a root is made and read: step numbers are `(segment, stage)` pairs.
#[derive(Clone, Debug, Default)]
pub struct Use {
    pub made: (usize, usize),
    pub read: Vec<(usize, usize)>,
    pub output: bool,
}

impl Use {
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
                for operand in graph.operands(node) {
                    if let Some(place) = storage.place(operand) {
                        let entry = uses.entry(place.root).or_default();
                        if entry.read.last() != Some(&(s, i)) {
                            entry.read.push((s, i));
                        }
                    }
                }
                if let Some(root) = storage.root_of(node) {
                    uses.entry(root).or_default().made = (s, i);
                }
            }
        }
    }
    for output in graph.outputs() {
        if let Some(place) = storage.place(output.value) {
            uses.entry(place.root).or_default().output = true;
        }
    }
    uses
}

/// Number of the step of a stage.
pub fn step(segments: &[Segment], at: (usize, usize)) -> usize {
    segments[..at.0]
        .iter()
        .map(|s| s.stages.len())
        .sum::<usize>()
        + at.1
}

/// All buffers of a choice, with lives in steps and no addresses yet.
pub fn buffers(
    scene: &Scene<'_>,
    segments: &[Segment],
    uses: &IndexMap<RootId, Use>,
    spilled: &IndexSet<RootId>,
) -> Vec<Buffer> {
    let mut buffers = Vec::new();
    for (&root, using) in uses {
        if using.stays_in_stage() && is_chained(scene, segments, root, using) {
            continue;
        }
        root_buffers(
            scene,
            segments,
            root,
            using,
            spilled.contains(&root),
            &mut buffers,
        );
    }
    for (s, segment) in segments.iter().enumerate() {
        for (i, stage) in segment.stages.iter().enumerate() {
            let life = step(segments, (s, i))..step(segments, (s, i)) + 1;
            for (part, bytes) in scratch(scene, segment, stage).into_iter().enumerate() {
                for copy in 0..if bytes == 0 { 0 } else { 2u8 } {
                    buffers.push(Buffer {
                        name: format!("s{s}.{i}.{part}.{copy}"),
                        bytes,
                        life: life.clone(),
                        addr: 0,
                        home: Home::Scratch {
                            segment: s,
                            stage: i,
                            part: part as u8,
                            copy,
                        },
                    });
                }
            }
        }
    }
    buffers
}

/// Whether a root lives in the scratch of its stage.
fn is_chained(scene: &Scene<'_>, segments: &[Segment], root: RootId, using: &Use) -> bool {
    let stage = &segments[using.made.0].stages[using.made.1];
    let node = scene.storage.root(root).value.node;
    match stage {
        Stage::Rows { nodes } => nodes.last() != Some(&node),
        Stage::Matmul {
            node: matmul,
            quantize,
        } => quantize.is_some() && *matmul == node,
        Stage::Attention { .. }
        | Stage::CachedAttention { .. }
        | Stage::Whole { .. }
        | Stage::Input { .. } => false,
    }
}

fn root_buffers(
    scene: &Scene<'_>,
    segments: &[Segment],
    root: RootId,
    using: &Use,
    spilled: bool,
    buffers: &mut Vec<Buffer>,
) {
    let info = scene.storage.root(root);
    let name = info.value.to_string();
    let made = step(segments, using.made);
    let span = |s: usize| step(segments, (s, 0))..step(segments, (s, 0)) + segments[s].stages.len();
    let home_segment = using.made.0;
    if using.crosses() && !spilled {
        let start = if segments[home_segment].block_count() > 1 {
            span(home_segment).start
        } else {
            made
        };
        let end = using
            .read
            .iter()
            .map(|&at| {
                if segments[at.0].block_count() > 1 {
                    span(at.0).end
                } else {
                    step(segments, at) + 1
                }
            })
            .max()
            .unwrap_or(made + 1);
        let bytes = info.bytes(info.rows);
        buffers.push(Buffer {
            name,
            bytes,
            life: start..end,
            addr: 0,
            home: Home::Whole(root),
        });
        return;
    }
    let mut users: IndexMap<usize, (usize, usize)> = IndexMap::new();
    users.insert(home_segment, (made, made));
    for &at in &using.read {
        let t = step(segments, at);
        let entry = users.entry(at.0).or_insert((t, t));
        entry.0 = entry.0.min(t);
        entry.1 = entry.1.max(t);
    }
    for (s, (first, last)) in users {
        if spilled && s != home_segment && attends(&segments[s], s, using) {
            let life = if segments[s].block_count() > 1 {
                span(s)
            } else {
                first..last + 1
            };
            buffers.push(Buffer {
                name: name.clone(),
                bytes: info.bytes(info.rows),
                life,
                addr: 0,
                home: Home::Refilled { root, segment: s },
            });
            continue;
        }
        let cut = segments[s].block_count() > 1 && info.rows == segments[s].rows;
        let (rows, home) = if cut || spilled {
            (
                segments[s].block_rows.min(info.rows),
                Home::Block { root, segment: s },
            )
        } else {
            (info.rows, Home::Whole(root))
        };
        let name = name.clone();
        let bytes = info.bytes(rows);
        buffers.push(Buffer {
            name,
            bytes,
            life: first..last + 1,
            addr: 0,
            home,
        });
    }
}

/// Whether an attention of a segment is among the readers of a value: it needs all rows.
pub fn attends(segment: &Segment, index: usize, using: &Use) -> bool {
    using
        .read
        .iter()
        .filter(|(s, _)| *s == index)
        .any(|&(_, i)| {
            matches!(
                segment.stages[i],
                Stage::Attention { .. } | Stage::CachedAttention { .. }
            )
        })
}

/// Sizes of the scratch parts of a stage, for one copy.
pub fn scratch(scene: &Scene<'_>, segment: &Segment, stage: &Stage) -> Vec<u64> {
    match stage {
        Stage::Matmul { node, quantize } => {
            let chunk = columns(scene, *node).chunk as u64;
            let elem = scene
                .storage
                .root_of(*node)
                .map_or(2, |r| u64::from(scene.storage.root(r).elem.bytes()));
            let rows = segment.block_rows as u64;
            // Unquantised columns of a chunk, and the scale of a statically quantised operand.
            vec![
                if quantize.is_some() {
                    rows * chunk * elem
                } else {
                    0
                },
                4,
            ]
        }
        Stage::Attention { node } => {
            let shape = AttentionShape::of(scene.graph, *node);
            let rows = score_rows(scene, &shape, segment.block_rows) as u64;
            vec![
                rows * shape.t as u64 * 4,
                rows * shape.t as u64 + rows * 4 + 8,
            ]
        }
        Stage::CachedAttention { node } => {
            let shape = AttentionShape::of(scene.graph, *node);
            let (rows, t) = (shape.cached_rows() as u64, shape.t as u64);
            vec![rows * t * 4, (rows * t).next_multiple_of(4) + rows * 4]
        }
        Stage::Rows { nodes } => row_scratch(scene, nodes),
        Stage::Whole { .. } | Stage::Input { .. } => Vec::new(),
    }
}

/// Scratch of a chain of row-wise nodes: gathered rows of each table, sums, and the chained values.
fn row_scratch(scene: &Scene<'_>, nodes: &[NodeId]) -> Vec<u64> {
    let mut parts = Vec::new();
    for (position, &node) in nodes.iter().enumerate() {
        let rows = scene
            .options
            .row_chunk
            .min(scene.graph.types(node)[0].rows()) as u64;
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
        if position + 1 < nodes.len()
            && let Some(root) = scene.storage.root_of(node)
        {
            parts.push(scene.storage.root(root).bytes(rows as usize));
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

/// Rows of scores that one attention fragment holds.
pub fn score_rows(scene: &Scene<'_>, shape: &AttentionShape, block_rows: usize) -> usize {
    let most = block_rows.min(shape.s).max(1);
    if let Some(rows) = scene.options.score_rows {
        return rows.clamp(1, most);
    }
    // Two copies of scores and probabilities should not take more than an eighth of SRAM.
    let budget = scene.target.sram.bytes / 16;
    let rows = (budget / (shape.t as u64 * 5 + 4)).max(1) as usize;
    if rows >= most {
        most
    } else {
        (rows / 8 * 8).max(rows.min(8)).min(most)
    }
}

/// How the columns of a product are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Columns of one weight tile.
    pub tile: usize,
    /// Columns that are quantised together; a multiple of the group. `tile` where nothing is fused.
    pub chunk: usize,
}

/// Chooses the columns of a tile and of a quantised chunk for a product with constant weights.
pub fn columns(scene: &Scene<'_>, matmul: NodeId) -> Columns {
    let n = scene.graph.types(matmul)[0].columns();
    let Some(record) = scene
        .layout
        .of(matmul)
        .first()
        .map(|id| scene.layout.get(*id).record())
    else {
        return Columns { tile: n, chunk: n };
    };
    let budget = tile_budget(scene);
    let array = scene.target.matrix.columns as usize;
    let fit = (budget / record) as usize;
    let widest =
        (scene.target.sram.bytes / scene.options.tile_share.max(1) / record).max(1) as usize;
    let unit = if fit >= array {
        fit / array * array
    } else {
        array.min(widest)
    };
    let group = fused_group(scene, matmul);
    let tile = unit.clamp(1, n);
    match group {
        None => Columns { tile, chunk: tile },
        Some(group) if tile >= group => {
            let tile = tile / group * group;
            Columns { tile, chunk: tile }
        }
        Some(group) => Columns { tile, chunk: group },
    }
}

/// The group in which the columns of a product are quantised as they are made.
fn fused_group(scene: &Scene<'_>, matmul: NodeId) -> Option<usize> {
    let users = scene.graph.users(matmul.into());
    let [(user, _)] = users.as_slice() else {
        return None;
    };
    match scene.graph.op(*user) {
        Op::Quantize {
            quant: packwright_ir::Quant::Row { group },
        } => {
            // Wide groups are quantised as a stage of their own.
            (*group <= 512).then_some(*group)
        }
        Op::Quantize {
            quant: packwright_ir::Quant::Tensor { .. },
        } => Some(1),
        _ => None,
    }
}

/// Most bytes of a weight tile.
fn tile_budget(scene: &Scene<'_>) -> u64 {
    scene
        .options
        .tile_bytes
        .unwrap_or_else(|| (scene.target.sram.bytes / 24).clamp(2 << 10, 128 << 10))
}

/// Bytes of the constants that a stage brings through the ring: the largest set that one fragment
/// needs at once, and all of them.
pub fn constant_bytes(scene: &Scene<'_>, stage: &Stage) -> (u64, u64) {
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
                    let tile = columns(scene, node).tile.min(n) as u64 * stored.record();
                    largest += tile.next_multiple_of(64);
                    all += stored.bytes.next_multiple_of(64);
                }
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
pub fn is_small_table(stored: &super::constants::Stored) -> bool {
    stored.table && stored.bytes <= SMALL_TABLE
}

/// Tables up to this size are loaded whole.
const SMALL_TABLE: u64 = 4096;
