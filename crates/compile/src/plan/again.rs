//! Values that are made again: results of norms that would be spilled, where what they are made from is in DRAM anyway.
//!
//! A row of a norm's result follows from the same row of its operand. Where both would lie in DRAM, a product that adds the
//! result brings the operand in instead and carries the norm out once more, and the result is not written.

use std::collections::HashMap;

use packwright_ir::{Graph, NodeId, Op, Value};

use super::Plan;
use super::stage::Stage;

/// The graph with nodes of their own for the results that products make again; none where nothing is to be gained.
pub fn made_again(graph: &Graph, plan: &Plan) -> Option<Graph> {
    let spilled = plan.spilled();
    let is_spilled = |value: Value| {
        let place = plan.storage.place(value);
        place.is_some_and(|place| spilled.contains(&place.root))
    };
    let segments = plan.segments.iter().enumerate();
    let segment_of: HashMap<NodeId, usize> = segments
        .flat_map(|(s, segment)| segment.stages.iter().map(move |stage| (s, stage)))
        .flat_map(|(s, stage)| stage.nodes().into_iter().map(move |node| (node, s)))
        .collect();
    let mut changed = graph.clone();
    let mut any = false;
    for norm in graph.node_ids() {
        let Some(makers) = makers(graph, norm) else {
            continue;
        };
        let source = makers.first().and_then(|&node| graph.operand(node, 0));
        let from_dram = makers.len() > 1 || source.is_some_and(is_spilled);
        if !is_spilled(norm.into()) || !from_dram {
            continue;
        }
        for (user, position) in graph.users(norm.into()) {
            let elsewhere = segment_of.get(&user) != segment_of.get(&norm);
            if elsewhere && adds(graph, user, position) {
                let again = again(&mut changed, graph, &makers);
                let mut operands = changed.operands(user);
                operands[position] = again;
                changed.set_operands(user, &operands);
                any = true;
            }
        }
    }
    any.then(|| {
        changed.compact();
        changed
    })
}

/// Whether a stage makes something again: only products that add it read it.
pub fn is_again(graph: &Graph, stage: &Stage) -> bool {
    let Stage::Rows { nodes } = stage else {
        return false;
    };
    nodes.last().is_some_and(|&node| {
        let users = graph.users(node.into());
        let all_add = users
            .iter()
            .all(|&(user, position)| adds(graph, user, position));
        !users.is_empty() && all_add && makers(graph, node).is_some()
    })
}

/// A norm, and what gathers its rows from tables where that is what it reads.
fn makers(graph: &Graph, norm: NodeId) -> Option<Vec<NodeId>> {
    let is_norm = matches!(graph.op(norm), Op::LayerNorm { .. } | Op::RmsNorm { .. });
    let source = graph.operand(norm, 0).filter(|_| is_norm)?;
    match graph.op(source.node) {
        Op::Embedding { .. } => Some(vec![source.node, norm]),
        _ => Some(vec![norm]),
    }
}

/// Whether a product adds an operand to its result.
fn adds(graph: &Graph, user: NodeId, position: usize) -> bool {
    let count = graph.operands(user).len();
    matches!(graph.op(user), Op::Matmul(attrs) if attrs.residual) && position + 1 == count
}

/// Copies of nodes that read each other, the first one as before.
fn again(changed: &mut Graph, graph: &Graph, makers: &[NodeId]) -> Value {
    let mut last: Option<Value> = None;
    for &maker in makers {
        let mut operands = changed.operands(maker);
        if let (Some(value), Some(first)) = (last, operands.first_mut()) {
            *first = value;
        }
        let (op, types) = (graph.op(maker).clone(), graph.types(maker).to_vec());
        let origin = graph.origin_of(maker);
        last = Some(changed.add(op, &operands, types, origin).into());
    }
    last.expect("a norm is among them")
}
