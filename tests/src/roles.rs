//! What the nodes of a fused graph are for, so that loose pieces stand out.
//!
//! Fused forms and views are what a graph should consist of. Any other node has a role that follows from
//! what reads it, up to the next fused form; what has none is a loose piece.

use std::collections::BTreeMap;

use packwright_ir::op::Binary;
use packwright_ir::order::topological;
use packwright_ir::{Graph, NodeId, Op};

/// What a node that is no fused form is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Mask,
    Bias,
    Angles,
    Cache,
    Result,
    Indices,
    Gate,
    Head,
    Streams,
    Loose,
}

impl Role {
    pub const ALL: [Role; 10] = [
        Role::Mask,
        Role::Bias,
        Role::Angles,
        Role::Cache,
        Role::Result,
        Role::Indices,
        Role::Gate,
        Role::Head,
        Role::Streams,
        Role::Loose,
    ];

    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Role::Mask => "mask",
            Role::Bias => "bias",
            Role::Angles => "angles",
            Role::Cache => "cache",
            Role::Result => "result",
            Role::Indices => "indices",
            Role::Gate => "gate",
            Role::Head => "head",
            Role::Streams => "streams",
            Role::Loose => "loose",
        }
    }

    /// Why nodes of this role are left.
    pub fn reason(self) -> &'static str {
        match self {
            Role::Mask => {
                "padding of the request as numbers that are added to scores, once for all layers"
            }
            Role::Bias => "the table of relative positions, looked up once for all layers",
            Role::Angles => {
                "cosines and sines of the positions that the request gives, once for all layers"
            }
            Role::Cache => "rows of a cache joined with new ones, in the exporter's order of axes",
            Role::Result => "a result in the exporter's order of axes or type",
            Role::Indices => "indices of embeddings, from what the request gives",
            Role::Gate => "the product of the two halves of a gated feed-forward layer",
            Role::Head => {
                "rows read apart: the position that a head reads, rows that see every column"
            }
            Role::Streams => "both streams of a reversible network, side by side for the last norm",
            Role::Loose => "a loose piece",
        }
    }
}

/// Whether a node is a fused form, a view of one or a port of the graph.
fn is_whole(op: &Op) -> bool {
    matches!(
        op,
        Op::Input { .. }
            | Op::Const(_)
            | Op::Attention(_)
            | Op::ChunkAttention(_)
            | Op::HashSort(_)
            | Op::Matmul(_)
            | Op::LayerNorm { .. }
            | Op::RmsNorm { .. }
            | Op::Embedding { .. }
            | Op::Rotary { .. }
            | Op::Cache
            | Op::Reshape { .. }
            | Op::Slice { .. }
    )
}

/// The roles of all nodes that are no fused forms.
pub fn roles(graph: &Graph) -> BTreeMap<NodeId, Role> {
    let mut roles: BTreeMap<NodeId, Role> = BTreeMap::new();
    // Views pass on what they are read for.
    let mut read_for: BTreeMap<NodeId, Role> = BTreeMap::new();
    for node in topological(graph).into_iter().rev() {
        let mut own: Option<Role> = graph.is_output(node.into()).then_some(Role::Result);
        for (user, position) in graph.users(node.into()) {
            let role = match (graph.op(user), position) {
                (Op::Attention(_), 0) => Role::Loose,
                (Op::Attention(_), 1 | 2) => Role::Cache,
                (Op::Attention(_), _) => Role::Mask,
                (Op::ChunkAttention(attrs), at) if attrs.operands().seen == Some(at) => Role::Mask,
                (Op::Rotary { .. }, 1 | 2) => Role::Angles,
                (Op::Embedding { .. }, _) => Role::Indices,
                (Op::Reshape { .. } | Op::Slice { .. }, _) => {
                    read_for.get(&user).copied().unwrap_or(Role::Loose)
                }
                (op, _) if is_whole(op) && !is_outer_product(graph, user) => Role::Loose,
                _ => roles.get(&user).copied().unwrap_or(Role::Loose),
            };
            own = Some(own.map_or(role, |own| own.min(role)));
        }
        let mut role = own.unwrap_or(Role::Loose);
        if matches!(graph.op(node), Op::Reshape { .. } | Op::Slice { .. }) {
            read_for.insert(node, role);
            continue;
        }
        let whole = is_whole(graph.op(node)) && !is_outer_product(graph, node);
        if whole && !is_position_bias(graph, node, role) {
            continue;
        }
        if role == Role::Mask && above_bias(graph, node) {
            role = Role::Bias;
        }
        if role == Role::Loose && is_gate(graph, node) {
            role = Role::Gate;
        }
        if role == Role::Loose && matches!(graph.op(node), Op::Gather { .. }) {
            role = Role::Head;
        }
        if role == Role::Loose && joins_streams(graph, node) {
            role = Role::Streams;
        }
        roles.insert(node, role);
    }
    roles
}

/// Two values side by side, for a norm alone.
fn joins_streams(graph: &Graph, node: NodeId) -> bool {
    let Op::Concat { axis } = *graph.op(node) else {
        return false;
    };
    let normed = |&(user, _): &(NodeId, usize)| {
        matches!(graph.op(user), Op::LayerNorm { .. } | Op::RmsNorm { .. })
    };
    axis + 1 == graph.types(node)[0].rank() && graph.users(node.into()).iter().all(normed)
}

/// A product over one element, which is a multiplication: positions times frequencies.
fn is_outer_product(graph: &Graph, node: NodeId) -> bool {
    let first = graph.operand(node, 0);
    matches!(graph.op(node), Op::Matmul(_)) && first.is_some_and(|v| graph.ty(v).columns() == 1)
}

/// Rows of a table that end up in a mask.
fn is_position_bias(graph: &Graph, node: NodeId, role: Role) -> bool {
    role == Role::Mask && matches!(graph.op(node), Op::Embedding { .. })
}

/// Whether a node passes on rows of a table of relative positions.
fn above_bias(graph: &Graph, node: NodeId) -> bool {
    match graph.op(node) {
        Op::Embedding { .. } => true,
        Op::Transpose { .. } | Op::Reshape { .. } | Op::Slice { .. } => graph
            .operands(node)
            .iter()
            .any(|v| above_bias(graph, v.node)),
        _ => false,
    }
}

/// The product of two linear layers' results.
fn is_gate(graph: &Graph, node: NodeId) -> bool {
    let linear = |node: NodeId| {
        let mut node = node;
        while let Op::Reshape { .. } | Op::Slice { .. } = graph.op(node) {
            node = graph.operands(node)[0].node;
        }
        matches!(graph.op(node), Op::Matmul(_))
    };
    let operands = graph.operands(node);
    matches!(graph.op(node), Op::Binary(Binary::Mul)) && operands.iter().all(|v| linear(v.node))
}
