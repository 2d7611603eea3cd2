//! `fuse-chunk-attention`: attention among chunks of rows, in place or sorted.
//!
//! The anchor is the reshape that puts heads side by side again. From it the search goes up, by places
//! ([`super::trace`]), through the way back to the rows' own order, to the product of probabilities and
//! values, the softmax (in either spelling) with its masks, and to the rows that queries, keys and
//! values were cut from. Chunk length, chunks that are looked at and rounds follow from the places.

mod mask;
mod order;

use packwright_ir::diag::Diagnostics;
use packwright_ir::op::{Binary, ChunkAttention, Reduce, Unary};
use packwright_ir::order::topological;
use packwright_ir::{Elem, Graph, NodeId, Op, Value};

use self::order::{Order, Slots};
use super::matching::{add, binary, scaled, unary};
use super::trace::converted;

/// Recognises attention among chunks.
///
/// # Errors
/// Shape rules that a result breaks.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    for node in topological(graph) {
        if let Some((attrs, operands)) = find(graph, node) {
            let origin = graph.origin_of(node);
            let fused = add(graph, Op::ChunkAttention(attrs), &operands, origin)?;
            graph.replace_uses(node.into(), fused);
            count += 1;
        }
    }
    Ok(count)
}

/// Sizes of chunked attention: scores are `[batch, heads, chunks, chunk, window]`.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    batch: usize,
    heads: usize,
    /// Rows of a batch element.
    rows: usize,
    /// Rows in order, all rounds.
    ordered: usize,
    chunk: usize,
    window: usize,
}

impl Sizes {
    fn chunks(&self) -> usize {
        self.ordered / self.chunk
    }
}

/// What becomes of scores on their way to probabilities.
struct Scores {
    /// `[…, chunk, width]` and its partner.
    q: Value,
    k: Value,
    /// Whether the last two axes of `k` are exchanged.
    transposed: bool,
    scale: f64,
    /// Replaced scores, the last one first: where the condition holds (or not), by the number.
    fills: Vec<(Value, bool, f64)>,
}

fn find(graph: &Graph, node: NodeId) -> Option<(ChunkAttention, Vec<Value>)> {
    let Op::Reshape { shape } = graph.op(node) else {
        return None;
    };
    let split = graph.operand(node, 0)?;
    let (&[batch, rows, columns], &[b, s, heads, width]) = (&shape[..], &graph.ty(split).shape[..])
    else {
        return None;
    };
    if [batch, rows, columns] != [b, s, heads * width] || !graph.ty(split).elem.is_float() {
        return None;
    }
    let way = order::way_back(graph, split, [batch, rows, heads])?;
    let (p, v) = factors(graph, way.product, false)?;
    let (x, sum) = probabilities(graph, p)?;
    if way.sum.is_some() && way.sum != sum {
        return None;
    }
    let &[_, _, chunks, chunk, window] = &graph.ty(x).shape[..] else {
        return None;
    };
    let rounds = way.order.as_ref().map_or(1, |order| order.rounds);
    let sizes = Sizes {
        batch,
        heads,
        rows,
        ordered: rounds * rows,
        chunk,
        window,
    };
    if chunks * chunk != sizes.ordered || chunk == 0 || !rows.is_multiple_of(chunk) {
        return None;
    }
    let scores = scores(graph, x)?;
    let order = way.order.as_ref();
    attributes(graph, &sizes, &scores, v, order)
}

/// The factors of a product without an epilogue, of which neither is a constant; the second one is
/// `[…, k, n]`, or the other way round where it may be.
fn factors(graph: &Graph, product: NodeId, either: bool) -> Option<(Value, Value)> {
    let Op::Matmul(attrs) = graph.op(product) else {
        return None;
    };
    let operands = graph.operands(product);
    let [a, b] = operands[..] else { return None };
    let plain = attrs.activation.is_none() && attrs.alpha == 1.0 && (either || !attrs.transpose_b);
    let floats = graph.ty(a).elem.is_float() && graph.ty(b).elem.is_float();
    (plain && floats && graph.as_const(b).is_none()).then_some((a, b))
}

/// The scores behind probabilities, and the logarithms of their sums where these are computed.
fn probabilities(graph: &Graph, p: Value) -> Option<(Value, Option<Value>)> {
    let last = graph.ty(p).rank().checked_sub(1)?;
    if let Op::Softmax { axis } = *graph.op(p.node) {
        return (axis == last).then_some((graph.operand(p.node, 0)?, None));
    }
    let (x, sum) = binary(graph, unary(graph, p, Unary::Exp)?, Binary::Sub)?;
    let Op::Reduce {
        kind: Reduce::LogSumExp,
        axes,
        keep: true,
    } = graph.op(sum.node)
    else {
        return None;
    };
    (axes[..] == [last] && graph.operand(sum.node, 0) == Some(x)).then_some((x, Some(sum)))
}

/// Goes up from scores to the product of queries and keys.
fn scores(graph: &Graph, x: Value) -> Option<Scores> {
    let (mut x, mut scale, mut fills) = (x, 1.0, Vec::new());
    loop {
        if let Some((inner, factor)) = scaled(graph, x) {
            (x, scale) = (inner, scale * factor);
            continue;
        }
        if let Some((inner, fill)) = mask::fill(graph, x) {
            // A factor behind a mask would multiply its number as well.
            if scale != 1.0 {
                return None;
            }
            fills.push(fill);
            x = inner;
            continue;
        }
        let (q, k) = factors(graph, x.node, true)?;
        let Op::Matmul(attrs) = graph.op(x.node) else {
            return None;
        };
        return Some(Scores {
            q,
            k,
            transposed: !attrs.transpose_b,
            scale,
            fills,
        });
    }
}

/// A factor whose last two axes were exchanged, before that.
fn turned(graph: &Graph, value: Value, transposed: bool) -> Option<Value> {
    if !transposed {
        return Some(value);
    }
    let Op::Transpose { perm } = graph.op(value.node) else {
        return None;
    };
    let rank = perm.len();
    let swaps = perm[..rank - 2].iter().enumerate().all(|(i, &p)| i == p)
        && perm[rank - 2..] == [rank - 1, rank - 2];
    swaps.then(|| graph.operand(value.node, 0)).flatten()
}

/// Checks that all parts belong together, and says which operator they are.
fn attributes(
    graph: &Graph,
    sizes: &Sizes,
    scores: &Scores,
    v: Value,
    order: Option<&Order>,
) -> Option<(ChunkAttention, Vec<Value>)> {
    let q = order::rows(graph, scores.q, sizes, order)?;
    let k = order::rows(
        graph,
        turned(graph, scores.k, scores.transposed)?,
        sizes,
        order,
    )?;
    let v = order::rows(graph, v, sizes, order)?;
    let (before, after) = order::looks(sizes, &k.slots)?;
    let mut attrs = ChunkAttention {
        heads: sizes.heads,
        chunk: sizes.chunk,
        before,
        after,
        scale: (scores.scale * q.scale * k.scale) as f32,
        causal: false,
        hidden: HIDDEN,
        own: None,
        shared: k.norm,
        rounds: order.map(|order| order.rounds),
        seen: false,
        out: Elem::F32,
    };
    let slots = Slots::of(sizes, &attrs);
    let fits = q.slots.iter().copied().eq(0..slots.queries)
        && k.slots == slots.keys
        && v.slots == slots.keys
        && q.norm.is_none()
        && v.norm.is_none()
        && v.scale == 1.0
        && (k.norm.is_none() || k.rows == q.rows);
    if !fits {
        return None;
    }
    let masks = mask::masks(graph, scores, sizes, &slots, order)?;
    attrs.causal = masks.causal;
    attrs.own = masks.own;
    attrs.hidden = masks.hidden.unwrap_or(HIDDEN);
    attrs.seen = masks.seen.is_some();
    let mut operands = vec![q.rows];
    operands.extend(k.norm.is_none().then_some(k.rows));
    operands.push(v.rows);
    operands.extend(order.map(|order| converted(graph, order.places)));
    operands.extend(masks.seen);
    Some((attrs, operands))
}

/// What hidden scores become where none is hidden.
const HIDDEN: f32 = -1e9;
