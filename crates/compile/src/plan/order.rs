//! Order: the fragments of all segments, block by block, without the loads of constants.

use std::ops::Range;

use indexmap::{IndexMap, IndexSet};
use packwright_ir::{NodeId, Op};

use super::constants::{Form, StoredId, Tile, TileId};
use super::demand::{self, AttentionShape, Scene, Use};
use super::stage::Stage;
use super::storage::RootId;
use super::{Fragment, Part, Segment};

/// Fragments in order, with the tiles that they read.
#[derive(Debug, Default)]
pub struct Ordered {
    pub fragments: Vec<Fragment>,
    pub tiles: Vec<Tile>,
}

/// Puts the work of all segments in order.
pub fn order(
    scene: &Scene<'_>,
    segments: &[Segment],
    uses: &IndexMap<RootId, Use>,
    spilled: &IndexSet<RootId>,
) -> Ordered {
    let mut ordered = Ordered::default();
    for (s, segment) in segments.iter().enumerate() {
        // Tiles of the first block, in the order in which the blocks ask for them.
        let mut kept: Vec<TileId> = Vec::new();
        for (b, block) in segment.blocks().enumerate() {
            let mut filled = IndexSet::new();
            let mut next_kept = 0;
            for (i, stage) in segment.stages.iter().enumerate() {
                for root in spilled_operands(scene, stage, spilled) {
                    if uses[&root].made.0 != s && filled.insert(root) {
                        let whole = demand::attends(segment, s, &uses[&root]);
                        if whole && b > 0 {
                            continue;
                        }
                        let rows = if whole {
                            0..scene.storage.root(root).rows
                        } else {
                            block.clone()
                        };
                        ordered.fragments.push(Fragment::Fill {
                            root,
                            segment: s,
                            rows,
                        });
                    }
                }
                let first = ordered.fragments.len();
                stage_fragments(scene, s, i, segment, stage, block.clone(), &mut ordered);
                if segment.resident {
                    share_tiles(&mut ordered, first, b > 0, &mut kept, &mut next_kept);
                }
                for root in made_by(scene, stage) {
                    if spilled.contains(&root) {
                        let rows = block.clone();
                        ordered.fragments.push(Fragment::Spill {
                            root,
                            segment: s,
                            rows,
                        });
                    }
                }
            }
        }
    }
    ordered
}

/// Makes the fragments of later blocks read the tiles that the first block brought in.
fn share_tiles(
    ordered: &mut Ordered,
    first: usize,
    later: bool,
    kept: &mut Vec<TileId>,
    next: &mut usize,
) {
    let mut own: IndexMap<TileId, TileId> = IndexMap::new();
    for fragment in &mut ordered.fragments[first..] {
        let Fragment::Work { tiles, .. } = fragment else {
            continue;
        };
        for tile in tiles {
            let shared = *own.entry(*tile).or_insert_with(|| {
                if later {
                    let shared = kept[*next];
                    *next += 1;
                    shared
                } else {
                    kept.push(*tile);
                    *tile
                }
            });
            *tile = shared;
        }
    }
}

fn spilled_operands(scene: &Scene<'_>, stage: &Stage, spilled: &IndexSet<RootId>) -> Vec<RootId> {
    let mut roots = Vec::new();
    for node in stage.nodes() {
        for operand in scene.graph.operands(node) {
            if let Some(place) = scene.storage.place(operand)
                && spilled.contains(&place.root)
                && !roots.contains(&place.root)
            {
                roots.push(place.root);
            }
        }
    }
    roots
}

fn made_by(scene: &Scene<'_>, stage: &Stage) -> Vec<RootId> {
    stage
        .nodes()
        .into_iter()
        .filter_map(|node| scene.storage.root_of(node))
        .collect()
}

fn stage_fragments(
    scene: &Scene<'_>,
    s: usize,
    i: usize,
    segment: &Segment,
    stage: &Stage,
    block: Range<usize>,
    ordered: &mut Ordered,
) {
    let at = (s, i);
    match stage {
        Stage::Input { node } => ordered.fragments.push(Fragment::LoadInput { node: *node }),
        Stage::Whole { node } => {
            let tiles = whole_tiles(scene, &[*node], ordered);
            let rows = 0..scene.graph.types(*node)[0].rows();
            ordered.work(at, rows, Part::All, tiles);
            store_outputs(scene, &[*node], None, ordered);
        }
        Stage::Rows { nodes } => {
            let tiles = whole_tiles(scene, nodes, ordered);
            for rows in chunks(block, scene.options.row_chunk) {
                ordered.work(at, rows.clone(), Part::All, tiles.clone());
                store_outputs(scene, nodes, Some(rows), ordered);
            }
        }
        Stage::CachedAttention { node } => {
            cached_fragments(scene, at, *node, ordered);
            store_outputs(scene, &[*node], Some(block), ordered);
        }
        Stage::Attention { node } => {
            attention_fragments(scene, at, segment, *node, block.clone(), ordered);
            store_outputs(scene, &[*node], Some(block), ordered);
        }
        Stage::Matmul { node, .. } => {
            matmul_fragments(scene, at, *node, block.clone(), ordered);
            store_outputs(scene, &stage.nodes(), Some(block), ordered);
        }
    }
}

fn matmul_fragments(
    scene: &Scene<'_>,
    at: (usize, usize),
    node: NodeId,
    block: Range<usize>,
    ordered: &mut Ordered,
) {
    let n = scene.graph.types(node)[0].columns();
    let cut = demand::columns(scene, node);
    let stored = scene.layout.of(node).first().copied();
    for (index, chunk) in chunks(0..n, cut.chunk).into_iter().enumerate() {
        for columns in chunks(chunk.clone(), cut.tile) {
            let tiles = stored.map(|id| {
                let record = scene.layout.get(id).record();
                let (start, count) = (columns.start as u64, columns.len() as u64);
                ordered.tile(id, start * record, count * record)
            });
            let last = columns.end == chunk.end;
            let part = Part::Columns {
                columns,
                chunk: chunk.clone(),
                last,
                copy: (index % 2) as u8,
            };
            ordered.work(at, block.clone(), part, tiles.into_iter().collect());
        }
    }
}

fn attention_fragments(
    scene: &Scene<'_>,
    at: (usize, usize),
    segment: &Segment,
    node: NodeId,
    block: Range<usize>,
    ordered: &mut Ordered,
) {
    let shape = AttentionShape::of(scene.graph, node);
    let score_rows = demand::score_rows(scene, &shape, segment.block_rows);
    let tiles = whole_tiles(scene, &[node], ordered);
    let mut copy = 0u8;
    for batch in 0..shape.batch {
        let whole = batch * shape.s..(batch + 1) * shape.s;
        let mine = block.start.max(whole.start)..block.end.min(whole.end);
        for head in 0..shape.heads {
            for rows in chunks(mine.clone(), score_rows) {
                ordered.work(at, rows, Part::Head { head, copy }, tiles.clone());
                copy ^= 1;
            }
        }
    }
}

/// A fragment for each key/value head: it reads one plane of the keys and one of the values.
fn cached_fragments(scene: &Scene<'_>, at: (usize, usize), node: NodeId, ordered: &mut Ordered) {
    let shape = AttentionShape::of(scene.graph, node);
    let masks = whole_tiles(scene, &[node], ordered);
    for batch in 0..shape.batch {
        for head in 0..shape.kv_heads {
            let plane = (batch * shape.kv_heads + head) as u64;
            let mut tiles = Vec::new();
            for &id in scene.layout.of(node) {
                let stored = scene.layout.get(id);
                if let Form::Cache(_) = stored.form {
                    tiles.push(ordered.tile(id, plane * stored.record(), stored.record()));
                }
            }
            tiles.extend(&masks);
            let part = Part::Head {
                head,
                copy: (plane % 2) as u8,
            };
            ordered.work(at, batch * shape.s..(batch + 1) * shape.s, part, tiles);
        }
    }
}

/// Tiles of the constants that nodes read as a whole.
fn whole_tiles(scene: &Scene<'_>, nodes: &[NodeId], ordered: &mut Ordered) -> Vec<TileId> {
    let mut tiles = Vec::new();
    for &node in nodes {
        for &id in scene.layout.of(node) {
            let stored = scene.layout.get(id);
            let gathered = stored.table && !demand::is_small_table(stored);
            let read_whole = matches!(
                (&stored.form, scene.graph.op(node)),
                (Form::Vectors { .. } | Form::Plain { .. }, _) | (_, Op::Embedding { .. })
            );
            if read_whole && !gathered {
                tiles.push(ordered.tile(id, 0, stored.bytes));
            }
        }
    }
    tiles
}

/// Stores of results that a stage has just made; all rows where `rows` is none.
fn store_outputs(
    scene: &Scene<'_>,
    nodes: &[NodeId],
    rows: Option<Range<usize>>,
    ordered: &mut Ordered,
) {
    for (index, output) in scene.graph.outputs().iter().enumerate() {
        let Some(place) = scene.storage.place(output.value) else {
            continue;
        };
        if !nodes
            .iter()
            .any(|&node| scene.storage.root_of(node) == Some(place.root))
        {
            continue;
        }
        let rows = rows
            .clone()
            .unwrap_or(0..scene.storage.root(place.root).rows);
        ordered.fragments.push(Fragment::StoreOutput {
            output: index,
            rows,
        });
    }
}

/// Cuts a range into pieces of at most `size`.
pub fn chunks(range: Range<usize>, size: usize) -> Vec<Range<usize>> {
    let size = size.max(1);
    let end = range.end;
    range
        .step_by(size)
        .map(|start| start..(start + size).min(end))
        .collect()
}

impl Ordered {
    fn tile(&mut self, stored: StoredId, offset: u64, bytes: u64) -> TileId {
        self.tiles.push(Tile {
            stored,
            offset,
            bytes,
            addr: 0,
            pinned: false,
            reader: None,
        });
        TileId(self.tiles.len() as u32 - 1)
    }

    fn work(&mut self, at: (usize, usize), rows: Range<usize>, part: Part, tiles: Vec<TileId>) {
        let (segment, stage) = at;
        for tile in &tiles {
            self.tiles[tile.0 as usize].reader.get_or_insert(at);
        }
        self.fragments.push(Fragment::Work {
            segment,
            stage,
            rows,
            part,
            tiles,
        });
    }
}
