//! Attention that the model has as one operator: numbers that queries and keys are multiplied with become
//! part of its scale, repeated heads become groups, patterns leave the mask.

use packwright_ir::diag::Diagnostics;
use packwright_ir::op::Attention;
use packwright_ir::{Graph, NodeId, Op, Value};

use super::layout::repeated;
use super::mask::{Combined, Mask, Patterns};
use super::{side_by_side, unscaled};
use crate::graph::matching::add;

/// Makes an attention simpler; false where nothing changes.
///
/// # Errors
/// Shape rules that the result breaks.
pub(super) fn simplify(
    graph: &mut Graph,
    node: NodeId,
    attrs: &Attention,
    patterns: &mut Patterns,
) -> Result<bool, Diagnostics> {
    let mut attrs = attrs.clone();
    let mut operands = graph.operands(node);
    let scaled = take_factors(graph, &mut attrs, &mut operands);
    let grouped = group(graph, node, &mut attrs, &mut operands)?;
    let plainer = take_patterns(graph, node, &mut attrs, &mut operands, patterns)?;
    if !scaled && !grouped && !plainer {
        return Ok(false);
    }
    let origin = graph.origin_of(node);
    let simpler = add(graph, Op::Attention(attrs), &operands, origin)?;
    graph.replace_uses(node.into(), simpler);
    Ok(true)
}

/// Reads queries and keys before they are multiplied with numbers.
fn take_factors(graph: &Graph, attrs: &mut Attention, operands: &mut [Value]) -> bool {
    let mut found = false;
    for operand in &mut operands[..2] {
        let (value, factor) = unscaled(graph, *operand);
        if value != *operand {
            (*operand, found) = (value, true);
            attrs.scale = (f64::from(attrs.scale) * factor) as f32;
        }
    }
    found
}

/// Reads keys and values that were repeated for several heads where they were not yet.
fn group(
    graph: &mut Graph,
    node: NodeId,
    attrs: &mut Attention,
    operands: &mut [Value],
) -> Result<bool, Diagnostics> {
    let of = |at: usize| repeated(graph, *operands.get(at)?, attrs.kv_heads);
    let (Some(k), Some(v)) = (of(1), of(2)) else {
        return Ok(false);
    };
    if k.groups != v.groups {
        return Ok(false);
    }
    let origin = graph.origin_of(node);
    operands[1] = side_by_side(graph, k, origin)?.value;
    operands[2] = side_by_side(graph, v, origin)?.value;
    attrs.kv_heads = k.groups;
    Ok(true)
}

/// Takes out of the mask what follows from positions alone.
fn take_patterns(
    graph: &mut Graph,
    node: NodeId,
    attrs: &mut Attention,
    operands: &mut Vec<Value>,
    patterns: &mut Patterns,
) -> Result<bool, Diagnostics> {
    let Some(at) = attrs.mask_operand().filter(|_| attrs.global.is_empty()) else {
        return Ok(false);
    };
    let mask = operands[at];
    let size = (
        graph.ty(operands[0]).shape[1],
        graph.ty(operands[1]).shape[1],
    );
    let known = Combined {
        causal: attrs.causal,
        window: attrs.window,
        added: None,
    };
    let origin = graph.origin_of(node);
    let left = patterns.combine(graph, &[Mask::Added(mask)], known, size, origin)?;
    if left.added == Some(mask) {
        return Ok(false);
    }
    (attrs.causal, attrs.window) = (left.causal, left.window);
    attrs.mask = left.added.is_some();
    match left.added {
        Some(added) => operands[at] = added,
        None => {
            operands.remove(at);
        }
    }
    Ok(true)
}
