//! `fold-constants`: what follows from constants with values alone is computed now.

use packwright_ir::diag::Diagnostics;
use packwright_ir::eval::{self, konst};
use packwright_ir::konst::{Const, Derivation, Source};
use packwright_ir::op::{Binary, Unary};
use packwright_ir::order::topological;
use packwright_ir::tensor::Tensor;
use packwright_ir::{ConstId, Elem, Graph, NodeId, Op, Type, Value};

use super::matching::{LARGEST_KNOWN, is_known, scalar};

/// Elements of the largest result that is stored.
const LARGEST: usize = 1 << 16;

/// Computes what is constant.
///
/// # Errors
/// None; what cannot be computed stays.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    for node in topological(graph) {
        if let Some(id) = folded(graph, node) {
            let value = graph.const_value(id);
            graph.replace_uses(node.into(), value);
            count += 1;
        }
    }
    Ok(count)
}

fn folded(graph: &mut Graph, node: NodeId) -> Option<ConstId> {
    let operands = graph.operands(node);
    let ids: Vec<ConstId> = operands
        .iter()
        .map(|&v| graph.as_const(v))
        .collect::<Option<_>>()?;
    let [ty] = graph.types(node) else { return None };
    let ty = ty.clone();
    let first = *ids.first()?;
    // Weights seen another way stay what they are.
    let derivation = match graph.op(node) {
        Op::Transpose { perm } => Some(Derivation::Transpose {
            of: first,
            perm: perm.clone(),
        }),
        Op::Reshape { .. } => Some(Derivation::Reshape { of: first }),
        Op::Slice { start, count, step } => Some(Derivation::Slice {
            of: first,
            start: start.clone(),
            count: count.clone(),
            step: step.clone(),
        }),
        Op::Concat { axis } if alike(graph, &ids) => Some(Derivation::Concat {
            of: ids.clone(),
            axis: *axis,
        }),
        // Whoever repeats elements itself needs no larger constant.
        Op::Expand { .. } if is_moved(graph, node) => Some(Derivation::Expand { of: first }),
        _ => None,
    };
    if derivation.is_none()
        && let Some(row) = one_row(graph, node, &ids)
    {
        return Some(row);
    }
    let known = ids.iter().all(|&id| is_known(graph, id));
    if let Some(derivation) = derivation
        && (!known || ty.elements() > LARGEST)
    {
        let name = graph.konst(first).name.clone();
        return Some(graph.add_const(Const {
            name,
            ty,
            source: Source::Derived(derivation),
        }));
    }
    if !known || ty.elements() > LARGEST || ty.quant.is_some() {
        return None;
    }
    // Floats that are many more than what they follow from (numbers repeated or chosen between, rows of
    // a small table) would only be more to read.
    let before: usize = ids.iter().map(|&id| graph.konst(id).ty.bytes()).sum();
    let grows = ty.elem.is_float() && ty.bytes() > LARGEST_KNOWN.max(before);
    if (grows && !becomes_truth(graph, node)) || is_bias(graph, node) {
        return None;
    }
    let tensors: Vec<Tensor> = ids
        .iter()
        .map(|&id| konst::value(graph, id))
        .collect::<Result<_, _>>()
        .ok()?;
    let result = eval::eval_op(graph.op(node), &tensors.iter().collect::<Vec<_>>())
        .ok()?
        .pop()?;
    if result.ty() != ty {
        return None;
    }
    let name = format!("{}.folded", graph.konst(first).name);
    let source = Source::Bytes(result.to_le_bytes().into());
    Some(graph.add_const(Const { name, ty, source }))
}

/// Whether constants have one element type, and no scales.
fn alike(graph: &Graph, ids: &[ConstId]) -> bool {
    let first = &graph.konst(ids[0]).ty;
    ids.iter().all(|&id| {
        let ty = &graph.konst(id).ty;
        ty.elem == first.elem && ty.quant.is_none()
    })
}

/// Whether all readers of a value only move elements.
fn is_moved(graph: &Graph, node: NodeId) -> bool {
    let users = graph.users(node.into());
    !graph.is_output(node.into())
        && users.iter().all(|&(user, _)| {
            matches!(
                graph.op(user),
                Op::Concat { .. } | Op::Slice { .. } | Op::Reshape { .. } | Op::Transpose { .. }
            )
        })
}

/// The slice that a gather by one constant index takes from weights.
fn one_row(graph: &mut Graph, node: NodeId, ids: &[ConstId]) -> Option<ConstId> {
    let (&Op::Gather { axis }, &[table, index]) = (graph.op(node), ids) else {
        return None;
    };
    let ty = graph.konst(table).ty.clone();
    let single = graph.konst(index).ty.shape.is_empty() && is_known(graph, index);
    if is_known(graph, table) || !single || ty.quant.is_some() {
        return None;
    }
    let index = scalar(graph, graph.operand(node, 1)?)?;
    let length = ty.shape[axis] as f64;
    let place = if index < 0.0 { index + length } else { index };
    if !(0.0..length).contains(&place) {
        return None;
    }
    let (mut start, mut count) = (vec![0; ty.rank()], ty.shape.clone());
    (start[axis], count[axis]) = (place as usize, 1);
    let name = graph.konst(table).name.clone();
    let slice = graph.add_const(Const {
        name: name.clone(),
        ty: Type::new(ty.elem, count.clone()),
        source: Source::Derived(Derivation::Slice {
            of: table,
            start,
            step: vec![1; count.len()],
            count,
        }),
    });
    let ty = graph.types(node)[0].clone();
    Some(graph.add_const(Const {
        name,
        ty,
        source: Source::Derived(Derivation::Reshape { of: slice }),
    }))
}

/// Whether a node looks up a row of numbers for each pair of positions, which is then turned: a bias of scores.
/// Where it depends on distances alone, fewer numbers say the same (`fuse-relative-bias`).
fn is_bias(graph: &Graph, node: NodeId) -> bool {
    let ids = match (graph.op(node), &graph.operands(node)[..]) {
        (Op::Gather { axis: 0 }, &[_, ids]) | (Op::Embedding { tables: 1 }, &[ids, _]) => ids,
        _ => return false,
    };
    let users = graph.users(node.into());
    let turned = |&(user, _): &(NodeId, usize)| match graph.op(user) {
        Op::Transpose { perm } => perm.last().is_some_and(|&axis| axis + 1 < perm.len()),
        _ => false,
    };
    graph.ty(ids).rank() == 2 && !users.is_empty() && users.iter().all(turned)
}

/// Whether all that follows from a node's result are truth values, such as masks of windows that are drawn
/// with triangles of numbers.
fn becomes_truth(graph: &Graph, node: NodeId) -> bool {
    let value: Value = node.into();
    let users = graph.users(value);
    !users.is_empty()
        && !graph.is_output(value)
        && users.iter().all(|&(user, _)| match graph.op(user) {
            Op::Cast { to: Elem::Bool }
            | Op::Unary(Unary::IsNan)
            | Op::Binary(
                Binary::Equal
                | Binary::Less
                | Binary::LessOrEqual
                | Binary::Greater
                | Binary::GreaterOrEqual,
            ) => true,
            Op::Cast { .. }
            | Op::Trilu { .. }
            | Op::Slice { .. }
            | Op::Reshape { .. }
            | Op::Transpose { .. }
            | Op::Expand { .. } => becomes_truth(graph, user),
            _ => false,
        })
}
