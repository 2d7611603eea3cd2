//! `fold-constants`: what follows from constants with values alone is computed now.

use packwright_ir::diag::Diagnostics;
use packwright_ir::eval::{self, konst};
use packwright_ir::konst::{Const, Derivation, Source};
use packwright_ir::order::topological;
use packwright_ir::tensor::Tensor;
use packwright_ir::{ConstId, Graph, NodeId, Op};

use super::matching::{LARGEST_KNOWN, is_known};

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
        _ => None,
    };
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
    if ty.elem.is_float() && ty.bytes() > LARGEST_KNOWN.max(before) {
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
