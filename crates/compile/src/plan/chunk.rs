//! Sorting by hash and attention among chunks: how they are cut, and the scratch that it takes.
//!
//! Hashing goes head by head and round by round over pieces of the rows; a head is sorted when all its
//! buckets are there. Attention goes head by head and chunk by chunk: the rows that a chunk sees are
//! brought together once, its own rows then take turns in pieces, and sorted rows are put back.

use packwright_ir::op::{ChunkAttention, HashSort};
use packwright_ir::{Graph, NodeId, Op};

use super::demand::Scene;
use super::order::{At, Ordered, chunks};
use super::{Part, storage};

/// A step of one head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPart {
    pub batch: usize,
    pub head: usize,
    /// Which scratch of heads is used.
    pub of_head: u8,
    pub step: Step,
}

/// What is done for a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Buckets of some rows in a round.
    Rotate { round: usize, copy: u8 },
    /// The order of all rows.
    Sort,
    /// Numbers that all chunks need, and the scales of shared keys.
    Prepare,
    /// Brings the rows together that a chunk sees.
    Gather { chunk: usize, of_chunk: u8 },
    /// Some rows of a chunk attend.
    Attend {
        chunk: usize,
        of_chunk: u8,
        copy: u8,
    },
    /// Puts their results back in place.
    Restore { chunk: usize, copy: u8 },
    /// Averages the rounds.
    Join,
}

/// Bytes that are laid out one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    pub bytes: u64,
}

/// Alignment of the parts of a scratch.
const ALIGN: u64 = 64;

impl Offsets {
    fn take(&mut self, bytes: usize) -> u64 {
        let start = self.bytes;
        self.bytes = (start + bytes as u64).next_multiple_of(ALIGN);
        start
    }
}

/// Sizes of sorting by hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashShape {
    pub batch: usize,
    /// Rows of a batch element.
    pub rows: usize,
    pub width: usize,
    pub attrs: HashSort,
}

impl HashShape {
    /// The sizes of a node.
    pub fn of(graph: &Graph, node: NodeId) -> Option<Self> {
        let Op::HashSort(attrs) = graph.op(node) else {
            return None;
        };
        let x = graph.ty(graph.operand(node, 0)?);
        Some(Self {
            batch: x.shape[0],
            rows: x.shape[1],
            width: x.shape[2] / attrs.heads,
            attrs: attrs.clone(),
        })
    }
}

/// Where the parts of the hash of some rows lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashScratch {
    /// Rows in i8, and their scales.
    pub main: u64,
    pub main_scale: u64,
    /// What quantising lost, in f32, in i8, and the scales.
    pub lost: u64,
    pub rest: u64,
    pub rest_scale: u64,
    /// Coordinates and their negatives, factor by factor.
    pub both: u64,
    pub digit: u64,
    /// What digits are multiplied with.
    pub worth: u64,
    pub bytes: u64,
}

impl HashScratch {
    /// The layout for `rows` rows.
    pub fn of(shape: &HashShape, rows: usize) -> Self {
        let mut at = Offsets::default();
        Self {
            main: at.take(rows * shape.width),
            main_scale: at.take(rows * 4),
            lost: at.take(rows * shape.width * 4),
            rest: at.take(rows * shape.width),
            rest_scale: at.take(rows * 4),
            both: at.take(rows * 2 * shape.attrs.coordinates() * 4),
            digit: at.take(rows * 4),
            worth: at.take(4),
            bytes: at.bytes,
        }
    }
}

/// Sizes of attention among chunks.
#[derive(Clone, Debug, PartialEq)]
pub struct ChunkShape {
    pub batch: usize,
    /// Rows of a batch element.
    pub rows: usize,
    pub width: usize,
    pub value_width: usize,
    /// Bytes of an element of the result.
    pub out_bytes: usize,
    pub attrs: ChunkAttention,
}

impl ChunkShape {
    /// The sizes of a node.
    pub fn of(graph: &Graph, node: NodeId) -> Option<Self> {
        let Op::ChunkAttention(attrs) = graph.op(node) else {
            return None;
        };
        let q = graph.ty(graph.operand(node, 0)?);
        let result = &graph.types(node)[0];
        let elem = storage::machine_elem(result.elem)?;
        Some(Self {
            batch: q.shape[0],
            rows: q.shape[1],
            width: q.shape[2] / attrs.heads,
            value_width: result.columns() / attrs.heads,
            out_bytes: elem.bytes() as usize,
            attrs: attrs.clone(),
        })
    }

    /// Rows in order, all rounds.
    pub fn ordered(&self) -> usize {
        self.attrs.ordered(self.rows)
    }

    /// Rounds of rows.
    pub fn rounds(&self) -> usize {
        self.attrs.rounds.unwrap_or(1)
    }
}

/// Where the parts of a head lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadScratch {
    /// Numbers: [`Cell`] by [`Cell`].
    pub cells: u64,
    /// Scales of shared keys, a row each.
    pub keys: u64,
    /// Results, logarithms of sums and weights of several rounds.
    pub results: u64,
    pub sums: u64,
    pub weights: u64,
    /// Averages of some rows, and what is added to them.
    pub join: [u64; 2],
    pub bytes: u64,
}

/// A number that commands read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    Hidden,
    Own,
    /// Behind all places.
    Far,
    Width,
    Eps,
}

/// Rows that are averaged at once.
pub const JOINED_ROWS: usize = 64;

impl HeadScratch {
    /// The layout.
    pub fn of(shape: &ChunkShape) -> Self {
        let mut at = Offsets::default();
        let several = |bytes: usize| if shape.rounds() > 1 { bytes } else { 0 };
        let ordered = shape.ordered();
        let joined = several(JOINED_ROWS.min(shape.rows) * shape.value_width * 4);
        Self {
            cells: at.take(5 * 4),
            keys: at.take(shape.attrs.shared.map_or(0, |_| shape.rows * 4)),
            results: at.take(several(ordered * shape.value_width * shape.out_bytes)),
            sums: at.take(several(ordered * 4)),
            weights: at.take(several(ordered * 4)),
            join: [at.take(joined), at.take(joined)],
            bytes: at.bytes,
        }
    }

    /// Address of a number, where the scratch is at `base`.
    pub fn cell(&self, base: u64, cell: Cell) -> u64 {
        base + self.cells + 4 * cell as u64
    }
}

/// Where the rows that a chunk sees lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowScratch {
    pub k: u64,
    pub k_scale: u64,
    pub v: u64,
    pub v_scale: u64,
    /// Places in f32, and places of which those that are not seen lie behind all others.
    pub places: u64,
    pub seen: u64,
    /// The chunk's own rows of q.
    pub q: u64,
    pub q_scale: u64,
    pub bytes: u64,
}

impl WindowScratch {
    /// The layout.
    pub fn of(shape: &ChunkShape) -> Self {
        let mut at = Offsets::default();
        let (window, chunk) = (shape.attrs.window(), shape.attrs.chunk);
        Self {
            k: at.take(window * shape.width),
            k_scale: at.take(window * 4),
            v: at.take(window * shape.value_width),
            v_scale: at.take(window * 4),
            places: at.take(window * 4),
            seen: at.take(window * 4),
            q: at.take(chunk * shape.width),
            q_scale: at.take(chunk * 4),
            bytes: at.bytes,
        }
    }
}

/// Where the scores of some rows lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceScratch {
    pub scores: u64,
    pub condition: u64,
    pub p: u64,
    pub p_scale: u64,
    pub sum: u64,
    pub out: u64,
    pub bytes: u64,
}

impl PieceScratch {
    /// The layout for `rows` rows.
    pub fn of(shape: &ChunkShape, rows: usize) -> Self {
        let mut at = Offsets::default();
        let window = shape.attrs.window();
        Self {
            scores: at.take(rows * window * 4),
            condition: at.take(rows * window * 4),
            p: at.take(rows * window),
            p_scale: at.take(rows * 4),
            sum: at.take(rows * 4),
            out: at.take(rows * shape.value_width * shape.out_bytes),
            bytes: at.bytes,
        }
    }
}

/// Rows that are hashed at once.
pub fn hash_rows(scene: &Scene<'_>, shape: &HashShape) -> usize {
    pieces(scene, HashScratch::of(shape, 64).bytes / 64, shape.rows)
}

/// Rows of a chunk that attend at once.
pub fn piece_rows(scene: &Scene<'_>, shape: &ChunkShape) -> usize {
    pieces(
        scene,
        PieceScratch::of(shape, 64).bytes / 64,
        shape.attrs.chunk,
    )
}

/// Rows of which two copies take an eighth of SRAM at most, in steps of eight.
fn pieces(scene: &Scene<'_>, bytes: u64, most: usize) -> usize {
    let fit = (scene.target.sram.bytes / 16 / bytes.max(1)) as usize;
    let rows = if fit >= 8 { fit / 8 * 8 } else { fit.max(1) };
    rows.min(most).max(1)
}

/// Sizes of the scratch parts, for one copy; none for other nodes.
pub fn scratch(scene: &Scene<'_>, node: NodeId) -> Vec<u64> {
    if let Some(shape) = HashShape::of(scene.graph, node) {
        let rows = hash_rows(scene, &shape);
        let buckets = (shape.attrs.rounds * shape.rows * 4) as u64;
        return vec![buckets, HashScratch::of(&shape, rows).bytes];
    }
    match ChunkShape::of(scene.graph, node) {
        Some(shape) => vec![
            HeadScratch::of(&shape).bytes,
            WindowScratch::of(&shape).bytes,
            PieceScratch::of(&shape, piece_rows(scene, &shape)).bytes,
        ],
        None => Vec::new(),
    }
}

/// Bytes of the rotations of one head and round, and of all of them; both parts.
pub fn rotation_bytes(scene: &Scene<'_>, node: NodeId) -> Option<(u64, u64)> {
    let shape = HashShape::of(scene.graph, node)?;
    let lines = shape.attrs.coordinates() as u64;
    let (mut largest, mut all) = (0, 0);
    for &id in scene.layout.of(node) {
        let stored = scene.layout.get(id);
        largest += (lines * stored.record()).next_multiple_of(ALIGN);
        all += stored.bytes.next_multiple_of(ALIGN);
    }
    Some((largest, all))
}

/// The fragments of a node; none for other nodes.
pub fn fragments(scene: &Scene<'_>, at: At, node: NodeId, ordered: &mut Ordered) -> bool {
    if let Some(shape) = HashShape::of(scene.graph, node) {
        hash_fragments(scene, at, node, &shape, ordered);
        return true;
    }
    match ChunkShape::of(scene.graph, node) {
        Some(shape) => {
            chunk_fragments(scene, at, &shape, ordered);
            true
        }
        None => false,
    }
}

fn hash_fragments(
    scene: &Scene<'_>,
    at: At,
    node: NodeId,
    shape: &HashShape,
    ordered: &mut Ordered,
) {
    let lines = shape.attrs.coordinates() as u64;
    let (mut of_head, mut copy) = (0, 0);
    for batch in 0..shape.batch {
        for head in 0..shape.attrs.heads {
            let part = |step| {
                Part::Chunk(ChunkPart {
                    batch,
                    head,
                    of_head,
                    step,
                })
            };
            for round in 0..shape.attrs.rounds {
                let first = (head * shape.attrs.rounds + round) as u64 * lines;
                let mut tiles = Vec::new();
                for &id in scene.layout.of(node) {
                    let record = scene.layout.get(id).record();
                    tiles.push(ordered.tile(id, first * record, lines * record));
                }
                for rows in chunks(0..shape.rows, hash_rows(scene, shape)) {
                    ordered.work(at, rows, part(Step::Rotate { round, copy }), tiles.clone());
                    copy ^= 1;
                }
            }
            ordered.work(at, 0..shape.rows, part(Step::Sort), Vec::new());
            of_head ^= 1;
        }
    }
}

fn chunk_fragments(scene: &Scene<'_>, at: At, shape: &ChunkShape, ordered: &mut Ordered) {
    let size = shape.attrs.chunk;
    let rows_at_once = piece_rows(scene, shape);
    let (mut of_head, mut of_chunk, mut copy) = (0, 0, 0);
    for batch in 0..shape.batch {
        for head in 0..shape.attrs.heads {
            let part = |step| {
                Part::Chunk(ChunkPart {
                    batch,
                    head,
                    of_head,
                    step,
                })
            };
            ordered.work(at, 0..shape.rows, part(Step::Prepare), Vec::new());
            for chunk in 0..shape.ordered() / size {
                let own = chunk * size..(chunk + 1) * size;
                let gather = Step::Gather { chunk, of_chunk };
                ordered.work(at, own.clone(), part(gather), Vec::new());
                for rows in chunks(own, rows_at_once) {
                    let attend = Step::Attend {
                        chunk,
                        of_chunk,
                        copy,
                    };
                    ordered.work(at, rows.clone(), part(attend), Vec::new());
                    if shape.attrs.rounds.is_some() {
                        let restore = Step::Restore { chunk, copy };
                        ordered.work(at, rows, part(restore), Vec::new());
                    }
                    copy ^= 1;
                }
                of_chunk ^= 1;
            }
            if shape.rounds() > 1 {
                ordered.work(at, 0..shape.rows, part(Step::Join), Vec::new());
            }
            of_head ^= 1;
        }
    }
}
