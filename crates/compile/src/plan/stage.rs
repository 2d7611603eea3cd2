//! Stages: what one or more nodes do to a block of rows in one go.

use packwright_ir::order::topological;
use packwright_ir::{Elem, Graph, NodeId, Op, Quant};

use super::cache;
use super::demand::{self, AttentionShape};
use super::storage::Storage;
use crate::emit::whole;

/// Nodes that are carried out together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// A product with streamed weights, with the quantisation of its columns where they are
    /// quantised in groups.
    Matmul {
        node: NodeId,
        quantize: Option<NodeId>,
    },
    /// Attention, head by head, with the quantisation of its results where groups lie within heads.
    Attention {
        node: NodeId,
        quantize: Option<NodeId>,
    },
    /// Attention over rows that caches hold, key/value head by key/value head.
    CachedAttention { node: NodeId },
    /// Row-wise nodes, each the only reason for the one before it to be kept.
    Rows { nodes: Vec<NodeId> },
    /// A node on small data, carried out at once.
    Whole { node: NodeId },
    /// Brings an input of the model in.
    Input { node: NodeId },
}

impl Stage {
    /// The nodes of the stage, in order.
    pub fn nodes(&self) -> Vec<NodeId> {
        match self {
            Stage::Matmul { node, quantize } | Stage::Attention { node, quantize } => {
                std::iter::once(*node).chain(*quantize).collect()
            }
            Stage::CachedAttention { node } | Stage::Whole { node } | Stage::Input { node } => {
                vec![*node]
            }
            Stage::Rows { nodes } => nodes.clone(),
        }
    }
}

/// Widest group of columns whose quantisation is fused into the product that makes them.
const WIDEST_FUSED_GROUP: usize = 512;

/// Forms the stages of a legal graph, in topological order.
pub fn stages(graph: &Graph, storage: &Storage) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    let mut taken: Vec<NodeId> = Vec::new();
    for node in topological(graph) {
        if storage.root_of(node).is_none() || taken.contains(&node) {
            continue;
        }
        match graph.op(node) {
            Op::Input { .. } => stages.push(Stage::Input { node }),
            Op::Matmul(_) => {
                let quantize = fused_quantize(graph, node);
                taken.extend(quantize);
                stages.push(Stage::Matmul { node, quantize });
            }
            Op::Attention(_) if cache::reads_held(graph, node) => {
                stages.push(Stage::CachedAttention { node });
            }
            Op::Attention(_) => {
                let quantize = quantize_of_heads(graph, node);
                taken.extend(quantize);
                stages.push(Stage::Attention { node, quantize });
            }
            _ if is_row_wise(graph, node) => {
                let mut nodes = vec![node];
                while let Some(next) = chained(graph, &nodes) {
                    taken.push(next);
                    nodes.push(next);
                }
                stages.push(Stage::Rows { nodes });
            }
            _ => stages.push(Stage::Whole { node }),
        }
    }
    stages
}

/// Parts fused stages into one node each.
pub fn unfused(stages: &[Stage]) -> Vec<Stage> {
    let mut parts = Vec::new();
    let apart = |maker: Stage, quantize: NodeId, parts: &mut Vec<Stage>| {
        parts.push(maker);
        parts.push(Stage::Rows {
            nodes: vec![quantize],
        });
    };
    for stage in stages {
        match *stage {
            Stage::Matmul {
                node,
                quantize: Some(own),
            } => apart(
                Stage::Matmul {
                    node,
                    quantize: None,
                },
                own,
                &mut parts,
            ),
            Stage::Attention {
                node,
                quantize: Some(own),
            } => apart(
                Stage::Attention {
                    node,
                    quantize: None,
                },
                own,
                &mut parts,
            ),
            Stage::Rows { ref nodes } => {
                parts.extend(nodes.iter().map(|&node| Stage::Rows { nodes: vec![node] }));
            }
            Stage::Matmul { quantize: None, .. }
            | Stage::Attention { quantize: None, .. }
            | Stage::CachedAttention { .. }
            | Stage::Whole { .. }
            | Stage::Input { .. } => parts.push(stage.clone()),
        }
    }
    parts
}

/// The only reader of a node that quantises its columns in small groups.
fn fused_quantize(graph: &Graph, maker: NodeId) -> Option<NodeId> {
    let users = graph.users(maker.into());
    let [(user, _)] = users.as_slice() else {
        return None;
    };
    if graph.is_output(maker.into()) {
        return None;
    }
    match graph.op(*user) {
        Op::Quantize {
            quant: Quant::Row { group },
        } if *group <= WIDEST_FUSED_GROUP => Some(*user),
        Op::Quantize {
            quant: Quant::Tensor { .. } | Quant::Affine { .. },
        } => Some(*user),
        _ => None,
    }
}

/// The only reader of an attention that quantises its results in groups of which a head has whole ones, or of which each
/// has some whole heads.
fn quantize_of_heads(graph: &Graph, attention: NodeId) -> Option<NodeId> {
    let shape = AttentionShape::of(graph, attention);
    let quantize = fused_quantize(graph, attention)?;
    let Op::Quantize {
        quant: Quant::Row { group },
    } = *graph.op(quantize)
    else {
        return Some(quantize);
    };
    let together = demand::heads_together(graph, attention, quantize);
    let fits = match together {
        1 => shape.value_width.is_multiple_of(group),
        _ => {
            let are_whole = group == together * shape.value_width;
            // The biases of several heads have no place.
            let biased = matches!(graph.op(attention), Op::Attention(attrs) if attrs.relative);
            are_whole && !biased && shape.heads > together && shape.heads.is_multiple_of(together)
        }
    };
    fits.then_some(quantize)
}

/// The next node of a chain of row-wise nodes: it reads the last one, and nothing that comes later.
fn chained(graph: &Graph, nodes: &[NodeId]) -> Option<NodeId> {
    let last = *nodes.last()?;
    let rows = graph.types(last)[0].rows();
    graph
        .users(last.into())
        .into_iter()
        .map(|(user, _)| user)
        .find(|&user| {
            is_row_wise(graph, user)
                && graph.types(user)[0].rows() == rows
                && graph.operands(user).iter().all(|&v| {
                    v.node <= last || nodes.contains(&v.node) || graph.as_const(v).is_some()
                })
                && graph.operands(user).first().is_some_and(|v| v.node == last)
        })
}

/// Whether each row of a node's result follows from the same row of its operands.
fn is_row_wise(graph: &Graph, node: NodeId) -> bool {
    match graph.op(node) {
        Op::Embedding { .. }
        | Op::LayerNorm { .. }
        | Op::RmsNorm { .. }
        | Op::Quantize { .. }
        | Op::QuantizeParts { .. }
        | Op::Rotary { .. } => true,
        op @ (Op::Unary(_) | Op::Binary(_) | Op::Cast { .. }) => {
            let ty = &graph.types(node)[0];
            let streams = |value: &packwright_ir::Value| {
                let operand = graph.ty(*value);
                operand.elem == Elem::F16
                    && operand.shape == ty.shape
                    && graph.as_const(*value).is_none()
            };
            ty.elem.is_float()
                && whole::has_function(op)
                && graph.operands(node).iter().all(streams)
        }
        // Streams side by side.
        Op::Concat { axis } => {
            let ty = &graph.types(node)[0];
            let streams = graph
                .operands(node)
                .into_iter()
                .all(|v| graph.ty(v).elem == Elem::F16 && graph.as_const(v).is_none());
            streams && ty.rank() == 3 && axis + 1 == ty.rank()
        }
        _ => false,
    }
}
