//! What known families of schedules can reach: a curve over SRAM sizes beside the bound.
//!
//! Computed from the graph alone, apart from the planner. A layer is what lies between two attentions, or two sorts
//! by hash. For each layer the best of four families counts, as derived in `docs/bounds.md`: everything stays, row blocks
//! under streamed weights, rows that stream by resident weights, and products one by one with their
//! operands in DRAM. Of weights that several layers read a part may be kept from layer to layer; the rest of SRAM is
//! then for the layers. A plan may be better than the best of them; then the families were too few.

pub mod turns;

use indexmap::{IndexMap, IndexSet};
use packwright_ir::{Graph, NodeId, Op, Value};
use packwright_target::Target;

use crate::plan::constants::{Layout, StoredId};
use crate::plan::demand::AttentionShape;

/// A product with constant weights, in bytes.
#[derive(Clone, Copy, Debug)]
struct Product {
    weights: u64,
    /// One channel as stored.
    record: u64,
    rows: u64,
    /// Bytes of a row of the left operand and of the result.
    row_in: u64,
    row_out: u64,
    /// Whether the result is a result of the model, which leaves as it is made.
    leaves: bool,
    /// Whether the result takes the place of what is added to it.
    adds: bool,
}

/// The products of one attention depth, and the values that cross its ends.
#[derive(Clone, Debug, Default)]
struct Layer {
    products: Vec<Product>,
    rows: u64,
    /// Bytes of a row of what the layer takes over from those before it and adds to its results: a residual stream, or
    /// two.
    stream: u64,
    taken: IndexSet<Value>,
    /// Bytes of weights that other layers read too.
    shared: u64,
    /// Extra bytes of attention at this depth.
    attention: u64,
}

/// Steps in which weights that several layers read are kept.
const KEPT_STEPS: u64 = 64;

/// Bytes beyond the compulsory ones that the families need, for a whole pass; `shared` are the weights that so many
/// layers read.
pub fn extra(
    graph: &Graph,
    target: &Target,
    layout: &Layout,
    depth: &IndexMap<NodeId, usize>,
    shared: &Shared,
) -> u64 {
    let sram = target.sram.bytes;
    let all: u64 = shared.by_uses.values().sum();
    let steps = if all == 0 { 0 } else { KEPT_STEPS };
    let kept = (0..=steps).map(|step| all * step / KEPT_STEPS);
    let bytes = kept.filter(|&kept| kept <= sram).map(|kept| {
        let left = sram - kept;
        let layers = layers(graph, layout, depth, shared, left);
        let columns = u64::from(target.matrix.columns);
        let layers = layers
            .values()
            .map(|layer| layer.extra(left, columns, kept));
        shared.again(kept) + layers.sum::<u64>()
    });
    bytes.min().unwrap_or(0)
}

/// Weights that more than one layer reads.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    pub stored: IndexSet<StoredId>,
    /// Their bytes by the number of layers.
    pub by_uses: IndexMap<usize, u64>,
}

impl Shared {
    /// Bytes that come again where so many are kept, those that most layers read first.
    fn again(&self, mut kept: u64) -> u64 {
        let mut by_uses: Vec<(usize, u64)> = self.by_uses.clone().into_iter().collect();
        by_uses.sort_unstable_by(|a, b| b.cmp(a));
        let again = by_uses.into_iter().map(|(uses, bytes)| {
            let own = kept.min(bytes);
            kept -= own;
            (uses as u64 - 1) * (bytes - own)
        });
        again.sum()
    }
}

fn layers(
    graph: &Graph,
    layout: &Layout,
    depth: &IndexMap<NodeId, usize>,
    shared: &Shared,
    sram: u64,
) -> IndexMap<usize, Layer> {
    let mut layers: IndexMap<usize, Layer> = IndexMap::new();
    for (&node, &level) in depth {
        match graph.op(node) {
            Op::Matmul(attributes) => {
                let Some(product) = product(graph, layout, node) else {
                    continue;
                };
                let layer = layers.entry(level).or_default();
                if layout.of(node).iter().any(|id| shared.stored.contains(id)) {
                    layer.shared += product.weights;
                }
                layer.rows = layer.rows.max(product.rows);
                if attributes.residual
                    && let Some(&added) = graph.operands(node).last()
                    && depth.get(&added.node).is_some_and(|&made| made < level)
                    && layer.taken.insert(added)
                {
                    let ty = graph.ty(added);
                    layer.stream += (ty.columns() * ty.elem.bytes()) as u64;
                }
                layer.products.push(product);
            }
            Op::Attention(_) => {
                let layer = layers.entry(level).or_default();
                layer.attention += attention(graph, node, sram);
            }
            _ => {}
        }
    }
    layers
}

fn product(graph: &Graph, layout: &Layout, node: NodeId) -> Option<Product> {
    let stored = layout.of(node).first().map(|&id| layout.get(id))?;
    let operand = graph.ty(graph.operand(node, 0)?);
    let result = &graph.types(node)[0];
    let users = graph.users(node.into());
    let quantized = users.len() == 1 && matches!(graph.op(users[0].0), Op::Quantize { .. });
    let element = if quantized {
        1
    } else {
        result.elem.bytes() as u64
    };
    Some(Product {
        weights: stored.bytes,
        record: stored.record(),
        rows: operand.rows() as u64,
        row_in: operand.columns() as u64 + 4,
        row_out: result.columns() as u64 * element,
        leaves: users.is_empty(),
        adds: matches!(graph.op(node), Op::Matmul(attributes) if attributes.residual),
    })
}

/// E6: keys and values of a head are read again for each block of query rows that SRAM can hold.
fn attention(graph: &Graph, node: NodeId, sram: u64) -> u64 {
    let shape = AttentionShape::of(graph, node);
    let (s, t) = (shape.s as u64, shape.t as u64);
    let width = (shape.width + shape.value_width) as u64;
    let heads = (shape.batch * shape.kv_heads) as u64;
    if t * width + s * shape.width as u64 + 4 * t <= sram {
        return 0;
    }
    // A query row with its sums, and a block of keys and values of as many bytes.
    let block = (sram / 2 / (5 * width)).max(1);
    heads * t * width * (s.div_ceil(block).saturating_sub(1))
}

impl Layer {
    /// Extra bytes of the best family, where so many bytes of shared weights are there already.
    fn extra(&self, sram: u64, columns: u64, kept: u64) -> u64 {
        let weights: u64 = self.products.iter().map(|p| p.weights).sum();
        let weights = weights - kept.min(self.shared);
        let tile = |p: &Product| 2 * (p.record * columns).min(sram / 16).max(p.record);
        let tiles = self.products.iter().map(tile).max().unwrap_or(0);
        // A row at its widest: what a product reads and makes, beside the stream where it is not the result.
        let row = |p: &Product| {
            let made = if p.leaves || p.adds { 0 } else { p.row_out };
            p.row_in + made + self.stream
        };
        let row = self.products.iter().map(row).max().unwrap_or(0);
        // Crossing the ends of a layer: the stream, its int8 form, the context of attention.
        let state = self.rows * (2 * self.stream + self.stream / 2);
        let rows_at_once = |left: u64| left.checked_div(row).unwrap_or(self.rows).min(self.rows);
        let spill = |left: u64| 2 * state.saturating_sub(left);
        let room = sram.saturating_sub(tiles);
        let by_rows = match rows_at_once(room) {
            0 => u64::MAX,
            rows if rows >= self.rows => 0,
            rows => {
                let blocks = self.rows.div_ceil(rows);
                (blocks - 1) * weights + spill(room - rows * row)
            }
        };
        let resident = match room.saturating_sub(weights) {
            left if left >= 8 * row => spill(left - 8 * row),
            _ => u64::MAX,
        };
        let one_by_one: u64 = self.products.iter().map(|p| p.alone(sram)).sum();
        by_rows.min(resident).min(one_by_one) + self.attention
    }
}

impl Product {
    /// Bytes beyond its weights when operands and result go through DRAM: either its weights come in parts
    /// that stay while all rows stream by, or rows come in blocks under streamed weights.
    fn alone(&self, sram: u64) -> u64 {
        let half = (sram / 2).max(1);
        let (operand, result) = (self.rows * self.row_in, self.rows * self.row_out);
        let result = if self.leaves { 0 } else { result };
        let weights_stay = operand * self.weights.div_ceil(half);
        let rows_stay = operand + (operand.div_ceil(half).max(1) - 1) * self.weights;
        weights_stay.min(rows_stay) + result
    }
}
