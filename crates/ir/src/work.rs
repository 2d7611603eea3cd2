//! Work counts: multiply-adds of the products.

use crate::graph::Graph;
use crate::id::NodeId;
use crate::op::{Attention, Op};
use crate::ty::Type;

/// Multiply-adds of a node: those of products, of rotations that hash, and of both products inside
/// attention, for the columns that a row sees. What masks hide counts. Everything else counts none.
pub fn macs(graph: &Graph, node: NodeId) -> u64 {
    let operands = graph.operands(node);
    match (graph.op(node), &operands[..]) {
        (Op::Matmul(_), [a, ..]) => {
            product([graph.types(node)[0].elements(), graph.ty(*a).columns()])
        }
        (Op::Attention(attrs), [q, k, v, ..]) => {
            attention(attrs, graph.ty(*q), graph.ty(*k), graph.ty(*v))
        }
        (Op::HashSort(attrs), [x, ..]) => {
            let ty = graph.ty(*x);
            product([ty.rows(), ty.columns(), attrs.rounds, attrs.coordinates()])
        }
        (Op::ChunkAttention(attrs), [q, ..]) => {
            let widths = graph.ty(*q).columns() + graph.types(node)[0].columns();
            let rows = attrs.ordered(graph.ty(*q).rows());
            product([rows, attrs.window(), widths])
        }
        _ => 0,
    }
}

/// Multiply-adds of all nodes.
pub fn total_macs(graph: &Graph) -> u64 {
    graph
        .node_ids()
        .into_iter()
        .map(|node| macs(graph, node))
        .fold(0, u64::saturating_add)
}

/// `pairs of rows and columns · (width of q·k + width of v)` for each head; widths of k and v are those
/// of one key/value head. A window takes pairs away, a causal order alone does not.
fn attention(attrs: &Attention, q: &Type, k: &Type, v: &Type) -> u64 {
    let (heads, kv_heads) = (attrs.heads.max(1), attrs.kv_heads.max(1));
    let widths = q.columns() / heads + v.columns() / kv_heads;
    let batch = q.shape.first().copied().unwrap_or(1).max(1);
    let (rows, columns) = (q.rows() / batch, k.rows() / batch);
    let pairs = match attrs.window {
        None => product([rows, columns]),
        Some(_) => attrs.pairs([rows, columns]),
    };
    product([batch, heads, widths]).saturating_mul(pairs)
}

fn product<const N: usize>(factors: [usize; N]) -> u64 {
    factors
        .into_iter()
        .fold(1, |product: u64, n| product.saturating_mul(n as u64))
}

#[cfg(test)]
mod tests {
    use super::{macs, total_macs};
    use crate::id::NodeId;
    use crate::text;

    #[test]
    fn products_and_attention_count() {
        let graph = text::parse(
            "graph g
               @0 : f32[16,32]
               %0 : f32[3,8,16] = input \"x\"
               %1 : f32[3,8,32] = matmul %0, @0
               %2 : f32[3,9,16] = input \"k\"
               %3 : f32[3,9,8] = input \"v\"
               %4 : f32[3,8,16] = attention %1, %2, %3 heads=4 kv_heads=2 scale=0.5
               %5 : f32[3,8,16] = relu %4
               output %5 \"y\"",
        )
        .unwrap();
        assert_eq!(macs(&graph, NodeId(1)), 3 * 8 * 32 * 16);
        assert_eq!(macs(&graph, NodeId(4)), 3 * 4 * 8 * 9 * (8 + 4));
        assert_eq!(macs(&graph, NodeId(5)), 0);
        assert_eq!(total_macs(&graph), 3 * 8 * 32 * 16 + 3 * 4 * 8 * 9 * 12);
    }
}
