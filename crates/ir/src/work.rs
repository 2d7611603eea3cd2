//! Work counts: multiply-adds of the products.

use crate::graph::Graph;
use crate::id::NodeId;
use crate::op::{Attention, Op};
use crate::ty::Type;

/// Multiply-adds of a node: those of products and of both products inside attention, as if nothing
/// were masked. Everything else counts none.
pub fn macs(graph: &Graph, node: NodeId) -> u64 {
    let operands = graph.operands(node);
    match (graph.op(node), &operands[..]) {
        (Op::Matmul(_), [a, ..]) => {
            product([graph.types(node)[0].elements(), graph.ty(*a).columns()])
        }
        (Op::Attention(attrs), [q, k, v, ..]) => {
            attention(attrs, graph.ty(*q), graph.ty(*k), graph.ty(*v))
        }
        _ => 0,
    }
}

/// Multiply-adds of all nodes.
pub fn total_macs(graph: &Graph) -> u64 {
    graph.node_ids().into_iter().map(|node| macs(graph, node)).fold(0, u64::saturating_add)
}

/// `rows · columns · (width of q·k + width of v)` for each head; widths of k and v are those of one
/// key/value head.
fn attention(attrs: &Attention, q: &Type, k: &Type, v: &Type) -> u64 {
    let (heads, kv_heads) = (attrs.heads.max(1), attrs.kv_heads.max(1));
    let widths = q.columns() / heads + v.columns() / kv_heads;
    let columns = k.rows() / q.shape.first().copied().unwrap_or(1).max(1);
    product([q.rows(), columns, heads, widths])
}

fn product<const N: usize>(factors: [usize; N]) -> u64 {
    factors.into_iter().fold(1, |product: u64, n| product.saturating_mul(n as u64))
}
