//! Order: the fragments of all segments, block by block, without the loads of constants.

mod heads;

use std::ops::Range;

use indexmap::{IndexMap, IndexSet};
use packwright_ir::{NodeId, Op};

use super::chunk;
use super::columns;
use super::constants::{Form, StoredId, Tile, TileId};
use super::demand::{self, Scene, Taking, Use};
use super::form::MOST_COPIES;
use super::pace;
use super::stage::Stage;
use super::storage::RootId;
use super::{Depth, Fragment, Part, Passes, Pieces, Segment, wave};

/// Fragments in order, with the tiles that they read.
#[derive(Debug, Default)]
pub struct Ordered {
    pub fragments: Vec<Fragment>,
    pub tiles: Vec<Tile>,
    /// Constants of attentions, which stay for all passes.
    held: IndexMap<NodeId, Vec<TileId>>,
    /// The head whose biases by distance lie in the scratch of an attention.
    biased: Option<(NodeId, usize)>,
}

/// The stage and the pass at hand.
#[derive(Clone, Copy, Debug)]
pub struct At {
    pub segment: usize,
    pub stage: usize,
    pub pass: usize,
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
        let mut walk = Walk {
            scene,
            s,
            segment,
            uses,
            spilled,
            copies: vec![Copies::default(); segment.stages.len()],
            brought: IndexSet::new(),
        };
        if segment.runs_ahead() {
            walk.a_pass_ahead(&mut ordered);
        } else if segment.blocks_first() {
            walk.block_by_block(&mut ordered);
        } else {
            (0..segment.passes.count).for_each(|pass| walk.pass(pass, &mut ordered));
        }
    }
    ordered
}

/// One segment on its way through passes and row blocks.
struct Walk<'a> {
    scene: &'a Scene<'a>,
    s: usize,
    segment: &'a Segment,
    uses: &'a IndexMap<RootId, Use>,
    spilled: &'a IndexSet<RootId>,
    /// Which copy of scratch is next, for each stage.
    copies: Vec<Copies>,
    /// What has been brought in: for which pass, and from which row on, where it is for these only.
    brought: IndexSet<(RootId, Option<usize>, Option<usize>)>,
}

impl Walk<'_> {
    fn pass(&mut self, pass: usize, ordered: &mut Ordered) {
        // Tiles of the first block, in the order in which the blocks ask for them.
        let mut kept: Vec<TileId> = Vec::new();
        let blocks: Vec<Range<usize>> = self.segment.blocks().collect();
        for (b, block) in blocks.iter().enumerate() {
            let mut next_kept = 0;
            for (i, stage) in self.segment.stages.iter().enumerate() {
                let rows = match self.segment.waits(stage) {
                    true if b + 1 < blocks.len() => continue,
                    true => 0..self.segment.rows,
                    false => block.clone(),
                };
                let first = ordered.fragments.len();
                self.stage(i, pass, rows, ordered);
                if self.segment.resident {
                    share_tiles(ordered, first, b > 0, &mut kept, &mut next_kept);
                }
            }
        }
    }

    /// All passes over one row block after the other.
    fn block_by_block(&mut self, ordered: &mut Ordered) {
        for block in self.segment.blocks() {
            for pass in 0..self.segment.passes.count {
                for i in 0..self.segment.stages.len() {
                    self.stage(i, pass, block.clone(), ordered);
                }
            }
        }
    }

    /// Makes the queries, keys and values of each pass among the scores of the one before.
    fn a_pass_ahead(&mut self, ordered: &mut Ordered) {
        let count = self.segment.passes.count;
        let last = self.segment.stages.len() - 1;
        let all_rows = self.segment.rows;
        let rows = || 0..all_rows;
        let scores_outlast = pace::scores_outlast_products(self.scene, self.segment);
        let mut all = std::mem::take(&mut ordered.fragments);
        for turn in 0..=count {
            if turn < count {
                (0..last).for_each(|i| self.stage(i, turn, rows(), ordered));
            }
            let products = std::mem::take(&mut ordered.fragments);
            if let Some(pass) = turn.checked_sub(1) {
                self.stage(last, pass, rows(), ordered);
            }
            let scores = std::mem::take(&mut ordered.fragments);
            all.extend(match scores_outlast {
                true => merged(scores, products),
                false => merged(products, scores),
            });
        }
        ordered.fragments = all;
    }

    /// One stage for some rows, with the values that it has brought in and sent out.
    fn stage(&mut self, i: usize, pass: usize, rows: Range<usize>, ordered: &mut Ordered) {
        let (segment, stage) = (self.segment, &self.segment.stages[i]);
        let turn = Turn {
            pass,
            rows,
            transfers: self.transfers(stage),
        };
        self.fills(stage, &turn, ordered);
        let cut = Cut {
            uses: self.uses,
            passes: &segment.passes,
            index: pass,
        };
        let (at, copies) = ((self.s, i), &mut self.copies[i]);
        stage_fragments(self.scene, at, segment, &turn, cut, copies, ordered);
        self.spills(stage, &turn, ordered);
    }

    fn transfers(&self, stage: &Stage) -> bool {
        let mut made = made_by(self.scene, stage).into_iter();
        let read = spilled_operands(self.scene, stage, self.spilled);
        !read.is_empty() || made.any(|root| self.spilled.contains(&root))
    }

    /// Brings spilled operands of a stage back: the present rows, or all of them once.
    fn fills(&mut self, stage: &Stage, turn: &Turn, ordered: &mut Ordered) {
        for root in spilled_operands(self.scene, stage, self.spilled) {
            let using = &self.uses[&root];
            if using.made.0 == self.s {
                continue;
            }
            let taking = Taking::of(self.segment, self.s, root, using);
            let (pass, row) = (Some(turn.pass), Some(turn.rows.start));
            let key = match taking {
                Taking::Whole | Taking::Kept => (root, None, None),
                Taking::Heads => (root, pass, None),
                Taking::Blocks if self.segment.blocks_first() => (root, None, row),
                Taking::Columns | Taking::Blocks => (root, pass, row),
            };
            if !self.brought.insert(key) {
                continue;
            }
            let rows = match taking.is_of_all_rows() {
                true => 0..self.scene.storage.root(root).rows,
                false => turn.rows.clone(),
            };
            for rows in wave::pieces(self.scene, &rows) {
                ordered.fragments.push(Fragment::Fill {
                    root,
                    segment: self.s,
                    pass: turn.pass,
                    rows,
                });
            }
        }
    }

    fn spills(&self, stage: &Stage, turn: &Turn, ordered: &mut Ordered) {
        for root in made_by(self.scene, stage) {
            if self.spilled.contains(&root) {
                let rows = match stage {
                    Stage::Whole { .. } => 0..self.scene.storage.root(root).rows,
                    _ => turn.rows.clone(),
                };
                for rows in wave::pieces(self.scene, &rows) {
                    ordered.fragments.push(Fragment::Spill {
                        root,
                        segment: self.s,
                        pass: turn.pass,
                        rows,
                    });
                }
            }
        }
    }
}

/// The pass and the rows at hand.
struct Turn {
    pass: usize,
    rows: Range<usize>,
    /// Whether some of what the stage reads or makes comes from DRAM or goes there.
    transfers: bool,
}

/// The columns and heads at hand: one of several passes.
#[derive(Clone, Copy)]
struct Cut<'a> {
    uses: &'a IndexMap<RootId, Use>,
    passes: &'a Passes,
    index: usize,
}

impl Cut<'_> {
    fn is_last(self) -> bool {
        self.index + 1 == self.passes.count
    }
}

/// Turns of scratch: where there are fewer copies they come round sooner. Results have two places for each copy.
const TURNS: u8 = 2 * MOST_COPIES;

/// Which copy of scratch is next.
#[derive(Clone, Copy, Default)]
struct Copies {
    next: u8,
    /// That of results.
    results: u8,
}

impl Copies {
    fn next(&mut self) -> u8 {
        let copy = self.next;
        self.next = (self.next + 1) % TURNS;
        copy
    }

    fn next_results(&mut self) -> u8 {
        let results = self.results;
        self.results = (self.results + 1) % TURNS;
        results
    }
}

/// The part of a longer list over which a shorter one is spread, in quarters: nothing of it is left when the other one ends.
const SPREAD: usize = 3;

/// Two lists in turns: units take what is ready and comes first in the stream.
fn merged(longer: Vec<Fragment>, shorter: Vec<Fragment>) -> Vec<Fragment> {
    let (longer, shorter) = (by_work(longer), by_work(shorter));
    let (over, all) = (SPREAD * longer.len(), shorter.len());
    let mut merged = Vec::new();
    let mut shorter = shorter.into_iter();
    let mut taken = 0;
    for (i, work) in longer.into_iter().enumerate() {
        let due = (4 * i * all / over).min(all);
        merged.extend(shorter.by_ref().take(due - taken).flatten());
        taken = due;
        merged.extend(work);
    }
    merged.extend(shorter.flatten());
    merged
}

/// Work with what comes in for it and what goes out.
fn by_work(fragments: Vec<Fragment>) -> Vec<Vec<Fragment>> {
    let is_work = |fragment: &Fragment| matches!(fragment, Fragment::Work { .. });
    let comes_in = |fragment: &Fragment| matches!(fragment, Fragment::Fill { .. });
    let mut groups: Vec<Vec<Fragment>> = Vec::new();
    for fragment in fragments {
        match groups.last_mut() {
            Some(last) if !last.iter().any(is_work) => last.push(fragment),
            Some(last) if !is_work(&fragment) && !comes_in(&fragment) => last.push(fragment),
            _ => groups.push(vec![fragment]),
        }
    }
    groups
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
    (s, i): (usize, usize),
    segment: &Segment,
    turn: &Turn,
    cut: Cut<'_>,
    copies: &mut Copies,
    ordered: &mut Ordered,
) {
    let at = At {
        segment: s,
        stage: i,
        pass: turn.pass,
    };
    let block = turn.rows.clone();
    match &segment.stages[i] {
        Stage::Input { node } => ordered.fragments.push(Fragment::LoadInput { node: *node }),
        Stage::Whole { node } => {
            if !chunk::fragments(scene, at, *node, ordered) {
                let tiles = whole_tiles(scene, &[*node], ordered);
                let rows = 0..scene.graph.types(*node)[0].rows();
                ordered.work(at, rows, Part::All, tiles);
            }
            store_outputs(scene, (at, cut), &[*node], None, ordered);
        }
        Stage::Rows { nodes } => {
            let tiles = whole_tiles(scene, nodes, ordered);
            for rows in chunks(block, segment.chunk_rows(scene.options.row_chunk)) {
                ordered.work(at, rows.clone(), Part::All, tiles.clone());
                store_outputs(scene, (at, cut), nodes, Some(rows), ordered);
            }
        }
        Stage::CachedAttention { node } => {
            heads::cached_fragments(scene, at, *node, ordered);
            store_outputs(scene, (at, cut), &[*node], Some(block), ordered);
        }
        Stage::Attention { node, quantize } => {
            heads::attention_fragments(
                scene,
                at,
                segment,
                *node,
                block.clone(),
                (cut, copies),
                ordered,
            );
            let nodes: Vec<NodeId> = std::iter::once(*node).chain(*quantize).collect();
            store_outputs(scene, (at, cut), &nodes, Some(block), ordered);
        }
        Stage::Matmul { node, quantize } => {
            let drained = match quantize {
                None => columns::drained(scene, *node),
                Some(_) => None,
            };
            let work = (block.clone(), drained, turn.transfers);
            matmul_fragments(scene, at, segment, *node, work, (cut, copies), ordered);
            if drained.is_none() {
                let nodes: Vec<NodeId> = std::iter::once(*node).chain(*quantize).collect();
                store_outputs(scene, (at, cut), &nodes, Some(block), ordered);
            }
        }
    }
}

/// The columns of a product that are at hand.
fn cut_columns(scene: &Scene<'_>, node: NodeId, cut: Cut<'_>) -> Vec<Range<usize>> {
    let window = scene
        .storage
        .root_of(node)
        .and_then(|root| cut.passes.window(root));
    match window {
        Some(window) => window.ranges(cut.index).collect(),
        None => std::iter::once(0..scene.graph.types(node)[0].columns()).collect(),
    }
}

/// Columns of a product that are quantised or leave together, with their tiles.
struct ColumnGroup {
    chunk: Range<usize>,
    tiles: Vec<(Range<usize>, Depth, Option<TileId>)>,
}

impl ColumnGroup {
    /// Bytes and number of its tiles.
    fn size(&self, ordered: &Ordered) -> (u64, usize) {
        let tiles = self.tiles.iter().filter_map(|(_, _, tile)| *tile);
        let bytes = tiles.map(|tile| ordered.tiles[tile.0 as usize].bytes);
        (bytes.sum(), self.tiles.len())
    }
}

/// The columns of a product that are at hand, in groups.
fn column_groups(
    scene: &Scene<'_>,
    segment: &Segment,
    node: NodeId,
    cut: Cut<'_>,
    ordered: &mut Ordered,
) -> Vec<ColumnGroup> {
    let widths = columns::of(scene, segment, node);
    let stored = scene.layout.of(node).first().copied();
    let ranges = cut_columns(scene, node, cut).into_iter();
    let mut groups = Vec::new();
    for chunk in ranges.flat_map(|range| chunks(range, widths.chunk)) {
        let mut tiles = Vec::new();
        for columns in chunks(chunk.clone(), widths.tile) {
            for part in 0..widths.parts {
                let depth = Depth {
                    part,
                    of: widths.parts,
                };
                let tile = stored.map(|id| weight_tile(scene, id, &columns, depth, ordered));
                tiles.push((columns.clone(), depth, tile));
            }
        }
        groups.push(ColumnGroup { chunk, tiles });
    }
    groups
}

fn matmul_fragments(
    scene: &Scene<'_>,
    at: At,
    segment: &Segment,
    node: NodeId,
    (block, drained, transfers): (Range<usize>, Option<usize>, bool),
    (cut, copies): (Cut<'_>, &mut Copies),
    ordered: &mut Ordered,
) {
    let all = column_groups(scene, segment, node, cut, ordered);
    let wave = match drained {
        None => {
            let (before, behind) = wave::beside_rows(segment, at.stage);
            let ends = (before || cut.index == 0, behind || cut.is_last());
            wave::wave(scene, segment, at.stage, ends, transfers)
        }
        Some(_) => wave::Wave::default(),
    };
    let sizes: Vec<(u64, usize)> = all.iter().map(|group| group.size(ordered)).collect();
    let (head, tail) = wave.ends(&sizes);
    let quantizes = matches!(
        segment.stages[at.stage],
        Stage::Matmul {
            quantize: Some(_),
            ..
        }
    );
    let pieces = wave::pieces(scene, &block);
    let halves = wave::halves(scene, &block);
    // What goes through a group of tiles in turn, each tile by tile.
    let is_cut = wave::piece_rows(scene, segment, node) < segment.block_rows;
    let between: Vec<&[Range<usize>]> = match segment.portions.pieces {
        Pieces::Turns if is_cut => pieces.chunks(1).collect(),
        Pieces::Halves if is_cut => vec![&halves],
        _ => vec![std::slice::from_ref(&block)],
    };
    let ends: Vec<&[Range<usize>]> = pieces.chunks(1).collect();
    let mut runs = vec![(&all[..head], &ends)];
    runs.extend(all[head..tail].chunks(1).map(|group| (group, &between)));
    runs.push((&all[tail..], &ends));
    for (groups, turns) in runs {
        for rows in turns {
            for group in groups {
                let then = (quantizes, drained);
                column_fragments(at, rows, group, copies, then, ordered);
            }
        }
    }
}

/// Carries some rows, in pieces, through columns that are quantised or leave together, tile by tile.
fn column_fragments(
    at: At,
    pieces: &[Range<usize>],
    group: &ColumnGroup,
    copies: &mut Copies,
    (quantizes, drained): (bool, Option<usize>),
    ordered: &mut Ordered,
) {
    let pieces: Vec<(&Range<usize>, u8)> = pieces.iter().map(|p| (p, copies.next())).collect();
    for (columns, depth, tile) in &group.tiles {
        let last = columns.end == group.chunk.end && depth.is_last();
        for &(rows, copy) in &pieces {
            // A packet of its own gives the tile up while the vector unit is at work; one row is not worth one.
            let apart = rows.len() > 1;
            let part = Part::Columns {
                quantizes: last && quantizes && !apart,
                columns: columns.clone(),
                chunk: group.chunk.clone(),
                depth: *depth,
                copy,
            };
            ordered.work(at, rows.clone(), part, tile.iter().copied().collect());
            if last && quantizes && apart {
                let chunk = group.chunk.clone();
                let part = Part::QuantizeColumns { chunk, copy };
                ordered.work(at, rows.clone(), part, Vec::new());
            }
        }
    }
    if let Some(output) = drained {
        for (rows, copy) in pieces {
            ordered.fragments.push(Fragment::Drain {
                output,
                segment: at.segment,
                stage: at.stage,
                rows: rows.clone(),
                columns: group.chunk.clone(),
                copy,
            });
        }
    }
}

/// The weights of some columns, or of a part of their contraction.
fn weight_tile(
    scene: &Scene<'_>,
    id: StoredId,
    columns: &Range<usize>,
    depth: Depth,
    ordered: &mut Ordered,
) -> TileId {
    let stored = scene.layout.get(id);
    let (record, own) = (stored.record(), depth.bytes(stored));
    let (start, count) = (columns.start as u64, columns.len() as u64);
    match depth.of {
        1 => ordered.tile(id, start * record, count * record),
        _ => {
            let bytes = count * (own.end - own.start);
            let offset = start * record + own.start;
            ordered.tile_of_runs(id, offset, bytes, (count, record))
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

/// Stores of results that a stage has just made; all rows where `rows` is none. Caches take the heads of each pass, other
/// results leave when the last pass has made their columns.
fn store_outputs(
    scene: &Scene<'_>,
    (at, cut): (At, Cut<'_>),
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
        let by_heads = cut.uses[&place.root].leaves_by_heads(cut.passes, place.root);
        if !by_heads && !cut.is_last() {
            continue;
        }
        let rows = rows
            .clone()
            .unwrap_or(0..scene.storage.root(place.root).rows);
        ordered.fragments.push(Fragment::StoreOutput {
            output: index,
            pass: by_heads.then_some((at.pass, cut.passes.count)),
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
    /// A range of a stored constant.
    pub fn tile(&mut self, stored: StoredId, offset: u64, bytes: u64) -> TileId {
        self.tile_of_runs(stored, offset, bytes, (1, 0))
    }

    /// As many runs of a stored constant, so far apart.
    fn tile_of_runs(
        &mut self,
        stored: StoredId,
        offset: u64,
        bytes: u64,
        (runs, pitch): (u64, u64),
    ) -> TileId {
        self.tiles.push(Tile {
            stored,
            offset,
            bytes,
            runs,
            pitch,
            addr: 0,
            pinned: false,
            reader: None,
        });
        TileId(self.tiles.len() as u32 - 1)
    }

    pub fn work(&mut self, at: At, rows: Range<usize>, part: Part, tiles: Vec<TileId>) {
        let At {
            segment,
            stage,
            pass,
        } = at;
        for tile in &tiles {
            let reader = &mut self.tiles[tile.0 as usize].reader;
            reader.get_or_insert((segment, stage));
        }
        self.fragments.push(Fragment::Work {
            segment,
            stage,
            pass,
            rows,
            part,
            tiles,
        });
    }
}
