//! `fuse-norm`: LayerNorm and RMSNorm from their pieces, over the last axis.

use packwright_ir::diag::Diagnostics;
use packwright_ir::op::{Binary, Reduce, Unary};
use packwright_ir::order::topological;
use packwright_ir::{Graph, NodeId, Op, Value};

use super::matching::{add, binary, either, scalar, unary, with_scalar};

/// Recognises norms, then their gains and shifts.
///
/// # Errors
/// Shape rules that a result breaks.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    for node in topological(graph) {
        let value = Value::from(node);
        let Some((x, op)) = plain_norm(graph, value) else {
            continue;
        };
        let origin = graph.origin_of(node);
        let norm = add(graph, op, &[x], origin)?;
        graph.replace_uses(value, norm);
        count += 1;
    }
    // Gains and shifts of norms that were found now or imported as such.
    for node in topological(graph) {
        count += usize::from(affine(graph, node)?);
    }
    Ok(count)
}

/// A normalised row without gain, with what is normalised.
fn plain_norm(graph: &Graph, value: Value) -> Option<(Value, Op)> {
    let candidates = match graph.op(value.node) {
        Op::Binary(Binary::Div) => {
            let (d, root) = binary(graph, value, Binary::Div)?;
            vec![(d, unary(graph, root, Unary::Sqrt)?)]
        }
        Op::Binary(Binary::Mul) => either(graph, value, Binary::Mul)
            .into_iter()
            .filter_map(|(d, inverse)| Some((d, inverse_root(graph, inverse)?)))
            .collect(),
        _ => return None,
    };
    candidates.into_iter().find_map(|(d, under)| {
        let (mean, eps) = with_scalar(graph, under, Binary::Add)?;
        if !(0.0..1.0).contains(&eps) || square_mean(graph, mean)? != d {
            return None;
        }
        let eps = eps as f32;
        Some(match centred(graph, d) {
            Some(x) => (x, Op::LayerNorm { eps, affine: false }),
            None => (d, Op::RmsNorm { eps, affine: false }),
        })
    })
}

/// What stands under the root of `1 / √y`.
fn inverse_root(graph: &Graph, value: Value) -> Option<Value> {
    if let Some(y) = unary(graph, value, Unary::Rsqrt) {
        return Some(y);
    }
    if let Some(root) = unary(graph, value, Unary::Reciprocal) {
        return unary(graph, root, Unary::Sqrt);
    }
    if let Some(y) = unary(graph, value, Unary::Sqrt) {
        return unary(graph, y, Unary::Reciprocal);
    }
    if let Some((y, exponent)) = binary(graph, value, Binary::Pow) {
        return (scalar(graph, exponent)? == -0.5).then_some(y);
    }
    let (one, root) = binary(graph, value, Binary::Div)?;
    if scalar(graph, one)? != 1.0 {
        return None;
    }
    unary(graph, root, Unary::Sqrt)
}

/// What a mean over the last axis, which stays, is taken of.
fn row_mean(graph: &Graph, value: Value) -> Option<Value> {
    let Op::Reduce {
        kind: Reduce::Mean,
        axes,
        keep: true,
    } = graph.op(value.node)
    else {
        return None;
    };
    let x = graph.operand(value.node, 0)?;
    (axes[..] == [graph.ty(x).rank().checked_sub(1)?]).then_some(x)
}

/// `d` in the row mean of `d²`.
fn square_mean(graph: &Graph, value: Value) -> Option<Value> {
    let square = row_mean(graph, value)?;
    if let Some((d, exponent)) = binary(graph, square, Binary::Pow) {
        return (scalar(graph, exponent)? == 2.0).then_some(d);
    }
    let (d, again) = binary(graph, square, Binary::Mul)?;
    (d == again).then_some(d)
}

/// `x` in `x − mean(x)`.
fn centred(graph: &Graph, value: Value) -> Option<Value> {
    let (x, mean) = binary(graph, value, Binary::Sub)?;
    (row_mean(graph, mean)? == x).then_some(x)
}

/// Takes a gain and a shift of one row each into the norm that they follow.
fn affine(graph: &mut Graph, node: NodeId) -> Result<bool, Diagnostics> {
    let value = Value::from(node);
    let origin = graph.origin_of(node);
    for (inner, gain) in either(graph, value, Binary::Mul) {
        if let Op::RmsNorm { eps, affine: false } = *graph.op(inner.node)
            && is_row(graph, gain, value)
            && graph.use_count(inner) == 1
        {
            let Some(x) = graph.operand(inner.node, 0) else {
                continue;
            };
            let gain = row(graph, gain)?;
            let norm = add(graph, Op::RmsNorm { eps, affine: true }, &[x, gain], origin)?;
            graph.replace_uses(value, norm);
            return Ok(true);
        }
    }
    for (product, shift) in either(graph, value, Binary::Add) {
        if !is_row(graph, shift, value) || graph.use_count(product) != 1 {
            continue;
        }
        for (inner, gain) in either(graph, product, Binary::Mul) {
            if let Op::LayerNorm { eps, affine: false } = *graph.op(inner.node)
                && is_row(graph, gain, value)
                && graph.use_count(inner) == 1
            {
                let Some(x) = graph.operand(inner.node, 0) else {
                    continue;
                };
                let (gain, shift) = (row(graph, gain)?, row(graph, shift)?);
                let op = Op::LayerNorm { eps, affine: true };
                let norm = add(graph, op, &[x, gain, shift], origin)?;
                graph.replace_uses(value, norm);
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether a constant is one row of the value.
fn is_row(graph: &Graph, konst: Value, value: Value) -> bool {
    let (ty, columns) = (graph.ty(konst), graph.ty(value).columns());
    graph.as_const(konst).is_some()
        && ty.elem.is_float()
        && ty.columns() == columns
        && ty.elements() == columns
}

/// The constant with a single axis.
fn row(graph: &mut Graph, konst: Value) -> Result<Value, Diagnostics> {
    let ty = graph.ty(konst);
    if ty.rank() == 1 {
        return Ok(konst);
    }
    let shape = vec![ty.columns()];
    let origin = graph.origin_of(konst.node);
    Ok(add(graph, Op::Reshape { shape }, &[konst], origin)?)
}
