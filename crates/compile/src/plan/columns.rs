//! How the columns of a product are cut: tiles of weights, what is quantised or leaves together, and parts of long
//! contractions.

use indexmap::IndexMap;
use packwright_ir::{Graph, NodeId, Op};

use super::constants::{Form, Stored};
use super::demand::{Scene, is_parted};
use super::stage::Stage;
use super::storage::Storage;
use super::{Depth, Segment};

/// How the columns of a product are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Columns of one weight tile.
    pub tile: usize,
    /// Columns that are quantised together, a multiple of the group, or that leave together.
    pub chunk: usize,
    /// Parts of the contraction, each with a tile of its own.
    pub parts: usize,
}

impl Columns {
    /// How many tiles bring `all` columns, of which a pass makes some.
    pub fn loads(self, all: usize, passes: usize) -> u64 {
        let tiles = all.div_ceil(self.tile.max(1)).max(passes);
        (tiles * self.parts) as u64
    }

    /// Whether what is quantised or leaves together comes from one tile.
    pub fn have_one_tile(self) -> bool {
        self.parts == 1 && self.tile >= self.chunk
    }
}

/// What becomes of the result of a product.
#[derive(Clone, Copy, Debug, Default)]
pub struct Product {
    /// The result of the model that it is, where nobody else reads it: its columns leave as they are made.
    drained: Option<usize>,
    /// The group in which its columns are quantised as they are made.
    group: Option<usize>,
}

/// The products of a graph.
pub type Products = IndexMap<NodeId, Product>;

/// Finds out what becomes of the results of all products.
pub fn products(graph: &Graph, storage: &Storage, segments: &[Segment]) -> Products {
    let stages = segments.iter().flat_map(|segment| &segment.stages);
    let products = stages.filter_map(|stage| match stage {
        Stage::Matmul { node, .. } => Some(*node),
        _ => None,
    });
    products
        .map(|node| {
            let product = Product {
                drained: find_drained(graph, storage, node),
                group: fused_group(graph, node),
            };
            (node, product)
        })
        .collect()
}

/// The result of the model that a product makes and that nobody else reads.
pub fn drained(scene: &Scene<'_>, matmul: NodeId) -> Option<usize> {
    scene.products.get(&matmul)?.drained
}

/// Whether columns of a product are quantised as they are made.
pub fn are_quantized(scene: &Scene<'_>, matmul: NodeId) -> bool {
    let product = scene.products.get(&matmul);
    product.is_some_and(|product| product.group.is_some())
}

fn find_drained(graph: &Graph, storage: &Storage, matmul: NodeId) -> Option<usize> {
    let root = storage.root_of(matmul)?;
    let info = storage.root(root);
    let outputs = graph.outputs().iter().enumerate();
    let mut found = outputs.filter(|(_, output)| {
        let place = storage.place(output.value);
        place.is_some_and(|place| place.root == root)
    });
    let (index, output) = found.next()?;
    let place = storage.place(output.value)?;
    let whole = place.rows == info.rows && place.cols == info.cols && place.row_step == 1;
    (whole && found.next().is_none() && !is_read(graph, storage, matmul)).then_some(index)
}

/// Whether any node but a view reads a result.
fn is_read(graph: &Graph, storage: &Storage, node: NodeId) -> bool {
    let users = graph.users(node.into());
    users
        .iter()
        .any(|&(user, _)| storage.root_of(user).is_some() || is_read(graph, storage, user))
}

/// Chooses the columns of a tile and of a quantised chunk for a product with constant weights.
pub fn of(scene: &Scene<'_>, segment: &Segment, matmul: NodeId) -> Columns {
    let all = scene.graph.types(matmul)[0].columns();
    let window = scene
        .storage
        .root_of(matmul)
        .and_then(|root| segment.passes.window(root));
    let widest = window.and_then(|w| w.sections.iter().map(|s| s.width).max());
    let n = widest.unwrap_or(all);
    let Some(stored) = scene.layout.of(matmul).first() else {
        return Columns {
            tile: n,
            chunk: n,
            parts: 1,
        };
    };
    let stored = scene.layout.get(*stored);
    let array = scene.target.matrix.columns as usize;
    let parts = contraction_parts(scene, segment, matmul, (stored, array.min(n)));
    let record = widest_run(stored, parts);
    let budget = tile_budget(scene, segment, matmul);
    let fit = (budget.min(segment.tile_bytes) / record) as usize;
    let widest = (segment.tile_bytes / record).max(1) as usize;
    let unit = match fit / array * array {
        // A packet costs as much for one row as for many: one row takes wider tiles.
        whole if segment.rows == 1 && widest >= 2 * array => whole.max(2 * array),
        0 => array.min(widest),
        whole => whole,
    };
    let group = scene
        .products
        .get(&matmul)
        .and_then(|product| product.group);
    let unit = unit.clamp(1, n);
    let step = match group {
        _ if unit >= array => array,
        Some(group) if unit >= group => group,
        _ => 1,
    };
    let tile = evened(n, unit, step);
    match group {
        None => Columns {
            tile,
            chunk: drained_columns(scene, segment, matmul, tile).min(n),
            parts,
        },
        Some(group) if tile >= group => {
            let tile = (tile / group * group).min(n.next_multiple_of(group));
            Columns {
                tile,
                chunk: tile,
                parts,
            }
        }
        Some(group) => Columns {
            tile,
            chunk: group,
            parts,
        },
    }
}

/// Columns of a tile of which as many cover `all`, in steps: the last one is no narrower than the others for nothing.
fn evened(all: usize, tile: usize, step: usize) -> usize {
    let tiles = all.div_ceil(tile);
    all.div_ceil(tiles).next_multiple_of(step).min(tile)
}

/// Bytes of the longest part of a record.
pub fn widest_run(stored: &Stored, parts: usize) -> u64 {
    let last = Depth {
        part: parts - 1,
        of: parts,
    };
    let own = last.bytes(stored);
    own.end - own.start
}

/// Least elements of a part of a contraction: DRAM reads as many bytes at once.
const LEAST_DEPTH: usize = 512;

/// Into how many parts the contraction of a product is cut so that a tile is as wide as the array, or as wide as it can
/// be. Parts hold whole groups of activations and fill whole arrays; values that share steps, and zero points, which
/// stand behind all values of a channel, are not parted.
fn contraction_parts(
    scene: &Scene<'_>,
    segment: &Segment,
    matmul: NodeId,
    (stored, wide): (&Stored, usize),
) -> usize {
    let Form::Channels {
        k,
        block: None,
        zeros: false,
        ..
    } = stored.form
    else {
        return 1;
    };
    let fits = |parts: usize| widest_run(stored, parts) * wide as u64 <= segment.tile_bytes;
    // One row waits for its weights, however wide they lie in the array.
    if segment.rows == 1 || fits(1) || is_parted(scene.graph, matmul) {
        return 1;
    }
    let operand = scene.graph.operand(matmul, 0);
    let group = match operand.and_then(|value| scene.graph.ty(value).quant) {
        Some(packwright_ir::Quant::Row { group }) if group < k => group,
        _ => 1,
    };
    let array = scene.target.matrix.rows as usize;
    let possible = |&parts: &usize| {
        let depth = k / parts;
        k.is_multiple_of(parts) && depth.is_multiple_of(group) && depth.is_multiple_of(array)
    };
    let mut counts = (2..=k / LEAST_DEPTH).filter(possible);
    counts
        .clone()
        .find(|&parts| fits(parts))
        .or(counts.next_back())
        .unwrap_or(1)
}

/// Bytes of a row of a result that leave together, where there is room for them.
const DRAINED_BYTES: usize = 8 << 10;

/// Columns of a result of the model that leave together: those of a tile, or of several tiles, so that DRAM has longer
/// runs to write, where there is room for two copies of them.
fn drained_columns(scene: &Scene<'_>, segment: &Segment, matmul: NodeId, tile: usize) -> usize {
    let root = scene.storage.root_of(matmul);
    let (Some(root), Some(_), 2..) = (root, drained(scene, matmul), segment.portions.copies) else {
        return tile;
    };
    let bytes = scene.storage.root(root).elem.bytes() as usize;
    let room = scene.target.sram.bytes as usize / 4 / (segment.block_rows * bytes).max(1);
    let columns = room.min(DRAINED_BYTES / bytes);
    (columns / tile * tile).max(tile)
}

/// The group in which the columns of a product are quantised as they are made.
fn fused_group(graph: &Graph, matmul: NodeId) -> Option<usize> {
    let users = graph.users(matmul.into());
    let [(user, _)] = users.as_slice() else {
        return None;
    };
    match graph.op(*user) {
        Op::Quantize {
            quant: packwright_ir::Quant::Row { group },
        } => {
            // Wide groups are quantised as a stage of their own.
            (*group <= 512).then_some(*group)
        }
        Op::Quantize {
            quant: packwright_ir::Quant::Tensor { .. } | packwright_ir::Quant::Affine { .. },
        } => Some(1),
        _ => None,
    }
}

/// Most bytes of a weight tile. Results that leave column by column do so in wider runs where tiles are wider.
fn tile_budget(scene: &Scene<'_>, segment: &Segment, matmul: NodeId) -> u64 {
    let share = if segment.rows == 1 { 16 } else { 24 };
    let most = match drained(scene, matmul) {
        Some(_) => 512 << 10,
        None if segment.wide => 256 << 10,
        None => 128 << 10,
    };
    scene
        .options
        .tile_bytes
        .unwrap_or_else(|| (scene.target.sram.bytes / share).clamp(2 << 10, most))
}

#[cfg(test)]
mod tests {
    use super::evened;

    #[test]
    fn even_tiles_are_no_more_and_no_wider() {
        for array in [4, 16, 64] {
            for all in 1..200_usize {
                for tile in (1..array).chain([array, 2 * array, 3 * array]) {
                    let step = if tile >= array { array } else { 1 };
                    let even = evened(all, tile, step);
                    assert!(even <= tile);
                    assert_eq!(all.div_ceil(even), all.div_ceil(tile), "{all} by {tile}");
                    assert!(tile < array || even.is_multiple_of(array));
                    // The last one lacks less than a column of each other one.
                    let last = all - (all.div_ceil(even) - 1) * even;
                    assert!(tile >= array || even - last < all.div_ceil(even));
                }
            }
        }
    }
}
