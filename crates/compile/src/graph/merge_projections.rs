//! `merge-projections`: products of one value with several weights (q, k and v, say) become one product
//! with the weights side by side, and slices of its result.

use indexmap::IndexMap;
use packwright_ir::diag::Diagnostics;
use packwright_ir::konst::{Const, Derivation, Source};
use packwright_ir::op::Matmul;
use packwright_ir::order::topological;
use packwright_ir::{ConstId, Graph, NodeId, Op, Type, Value};

use super::matching::add;

/// Merges products that read the same value.
///
/// # Errors
/// Shape rules that a result breaks.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut groups: IndexMap<(Value, String), Vec<NodeId>> = IndexMap::new();
    for node in topological(graph) {
        if let Some(key) = key(graph, node) {
            groups.entry(key).or_default().push(node);
        }
    }
    let mut joined: IndexMap<(Vec<ConstId>, usize), ConstId> = IndexMap::new();
    let mut count = 0;
    for nodes in groups.into_values().filter(|nodes| nodes.len() > 1) {
        merge(graph, &nodes, &mut joined)?;
        count += nodes.len();
    }
    Ok(count)
}

/// What products that can be merged agree in.
fn key(graph: &Graph, node: NodeId) -> Option<(Value, String)> {
    let Op::Matmul(attrs) = graph.op(node) else {
        return None;
    };
    let operands = graph.operands(node);
    let (a, b) = (operands[0], operands[1]);
    let weights = graph.ty(b);
    let plain = !attrs.residual && attrs.activation.is_none() && weights.rank() == 2;
    let constant = operands[1..].iter().all(|&v| graph.as_const(v).is_some());
    if !plain || !constant || graph.as_const(a).is_some() || graph.ty(a).columns() == 1 {
        return None;
    }
    // Layers stay apart: the keys and values of all layers for one encoder are needed one after the other.
    let layer = &graph.origin(graph.origin_of(node)).layer;
    Some((
        a,
        format!("{attrs:?} {} {:?} {layer}", weights.elem, weights.quant),
    ))
}

fn merge(
    graph: &mut Graph,
    nodes: &[NodeId],
    joined: &mut IndexMap<(Vec<ConstId>, usize), ConstId>,
) -> Result<(), Diagnostics> {
    let Op::Matmul(attrs) = graph.op(nodes[0]).clone() else {
        return Ok(());
    };
    let Matmul {
        transpose_b, bias, ..
    } = attrs;
    let a = graph.operands(nodes[0])[0];
    let mut operands = vec![a, join(graph, nodes, 1, usize::from(!transpose_b), joined)];
    if bias {
        operands.push(join(graph, nodes, 2, 0, joined));
    }
    let origin = graph.origin_of(nodes[0]);
    let whole = add(graph, Op::Matmul(attrs), &operands, origin)?;
    let mut first = 0;
    for &node in nodes {
        let count = graph.types(node)[0].shape.clone();
        let mut start = vec![0; count.len()];
        start[count.len() - 1] = first;
        first += count[count.len() - 1];
        let step = vec![1; count.len()];
        let origin = graph.origin_of(node);
        let slice = add(graph, Op::Slice { start, count, step }, &[whole], origin)?;
        graph.replace_uses(node.into(), slice);
    }
    Ok(())
}

/// One operand of all nodes side by side; the same constants are joined once.
fn join(
    graph: &mut Graph,
    nodes: &[NodeId],
    position: usize,
    axis: usize,
    joined: &mut IndexMap<(Vec<ConstId>, usize), ConstId>,
) -> Value {
    let ids: Vec<ConstId> = nodes
        .iter()
        .filter_map(|&node| graph.operand(node, position))
        .filter_map(|value| graph.as_const(value))
        .collect();
    let key = (ids.clone(), axis);
    let id = match joined.get(&key) {
        Some(&id) => id,
        None => {
            let first = graph.konst(ids[0]);
            let mut shape = first.ty.shape.clone();
            shape[axis] = ids.iter().map(|&id| graph.konst(id).ty.shape[axis]).sum();
            let konst = Const {
                name: format!("{}.joined", first.name),
                ty: Type::new(first.ty.elem, shape),
                source: Source::Derived(Derivation::Concat { of: ids, axis }),
            };
            let id = graph.add_const(konst);
            joined.insert(key, id);
            id
        }
    };
    graph.const_value(id)
}
