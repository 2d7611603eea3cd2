//! The order in which everybody walks a graph: topological, ties by id.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::graph::Graph;
use crate::id::{ConstId, NodeId, Value};
use crate::konst::{Derivation, Source};
use crate::op::Op;

/// Nodes in topological order, the lowest id first among those that are ready; constants are left out.
///
/// A graph with a cycle gives fewer nodes than it has; `verify` reports it.
pub fn topological(graph: &Graph) -> Vec<NodeId> {
    let ids = graph.node_ids();
    let slots = ids.last().map_or(0, |id| id.index() + 1);
    let mut waiting = vec![0usize; slots];
    let mut ready = BinaryHeap::new();
    for &id in &ids {
        if matches!(graph.op(id), Op::Const(_)) {
            continue;
        }
        let operands = graph.operands(id);
        let count = operands
            .iter()
            .filter(|v| graph.as_const(**v).is_none())
            .count();
        waiting[id.index()] = count;
        if count == 0 {
            ready.push(Reverse(id));
        }
    }
    let mut order = Vec::with_capacity(ids.len());
    while let Some(Reverse(id)) = ready.pop() {
        order.push(id);
        for slot in 0..graph.types(id).len() as u32 {
            for (user, _) in graph.users(Value { node: id, slot }) {
                let left = &mut waiting[user.index()];
                *left -= 1;
                if *left == 0 {
                    ready.push(Reverse(user));
                }
            }
        }
    }
    order
}

/// Renumbers nodes in topological order (inputs first, in their order) and constants in order of
/// first use; drops constants that nothing needs. Nodes are kept even where nobody reads them.
pub(crate) fn compact(graph: &mut Graph) {
    let old = graph.clone();
    let mut order: Vec<NodeId> = old.inputs().to_vec();
    order.extend(
        topological(&old)
            .into_iter()
            .filter(|&n| !matches!(old.op(n), Op::Input { .. })),
    );

    let mut const_map = vec![None; old.consts().len()];
    let mut consts = Vec::new();
    for &node in &order {
        for operand in old.operands(node) {
            if let Some(id) = old.as_const(operand) {
                keep_const(&old, id, &mut const_map, &mut consts);
            }
        }
    }
    for output in old.outputs() {
        if let Some(id) = old.as_const(output.value) {
            keep_const(&old, id, &mut const_map, &mut consts);
        }
    }

    let mut new = Graph::new(old.name.clone());
    new.facts = old.facts.clone();
    for index in 0..old.origin_count() {
        new.add_origin(old.origin(crate::id::OriginId(index as u32)).clone());
    }
    new.replace_consts(consts);
    let slots = old.node_ids().last().map_or(0, |id| id.index() + 1);
    let mut node_map: Vec<Option<NodeId>> = vec![None; slots];
    let map = |new: &mut Graph, node_map: &[Option<NodeId>], v: Value| match old.as_const(v) {
        Some(id) => new.const_value(const_map[id.index()].expect("constants in use are kept")),
        None => Value {
            node: node_map[v.node.index()].expect("operands precede their readers"),
            slot: v.slot,
        },
    };
    // Nodes first, so that ids are dense; constants get their nodes after them.
    let mut pending = Vec::with_capacity(order.len());
    for &node in &order {
        let id = match old.op(node) {
            Op::Input { name } => {
                let value = new.add_input(name.clone(), old.types(node)[0].clone());
                new.set_origin(value.node, old.origin_of(node));
                value.node
            }
            op => new.add(
                op.clone(),
                &[],
                old.types(node).to_vec(),
                old.origin_of(node),
            ),
        };
        node_map[node.index()] = Some(id);
        pending.push((node, id));
    }
    for (node, id) in pending {
        let operands: Vec<Value> = old
            .operands(node)
            .into_iter()
            .map(|v| map(&mut new, &node_map, v))
            .collect();
        new.set_operands(id, &operands);
    }
    for output in old.outputs() {
        let value = map(&mut new, &node_map, output.value);
        new.add_output(output.name.clone(), value);
    }
    *graph = new;
}

/// Keeps a constant and those it is derived from, derived ones after their sources.
fn keep_const(
    graph: &Graph,
    id: ConstId,
    map: &mut [Option<ConstId>],
    kept: &mut Vec<crate::konst::Const>,
) -> ConstId {
    if let Some(new) = map[id.index()] {
        return new;
    }
    let mut konst = graph.konst(id).clone();
    if let Source::Derived(derivation) = &mut konst.source {
        match derivation {
            Derivation::Transpose { of, .. }
            | Derivation::Reshape { of }
            | Derivation::Expand { of }
            | Derivation::Slice { of, .. }
            | Derivation::Quantize { of }
            | Derivation::Dequantize { of }
            | Derivation::Rest { of, .. }
            | Derivation::Scale { of, .. } => *of = keep_const(graph, *of, map, kept),
            Derivation::Scaled { of } | Derivation::ScaleEach { of, .. } => {
                for part in of {
                    *part = keep_const(graph, *part, map, kept);
                }
            }
            Derivation::Concat { of, .. } => {
                for part in of {
                    *part = keep_const(graph, *part, map, kept);
                }
            }
        }
    }
    let new = ConstId(kept.len() as u32);
    kept.push(konst);
    map[id.index()] = Some(new);
    new
}
