//! `fuse-attention`: softmax attention over heads, from products, transpositions and masks.
//!
//! From the softmax the search goes up through masks and scales to the product of q and k, and on
//! through whatever moves elements until it finds values whose rows hold the heads side by side
//! ([`super::matching`] knows numbers, [`Layout`] knows where the axes went). Repeated key and value
//! heads become grouped heads. What cannot be traced is transposed explicitly. An attention that the model
//! has as one operator is made simpler in the same way ([`given`]).

mod given;
mod layout;
mod mask;

use packwright_ir::diag::Diagnostics;
use packwright_ir::op::{Attention, Binary, Matmul, Unary};
use packwright_ir::order::topological;
use packwright_ir::{Graph, NodeId, Op, OriginId, Value};

use self::layout::{Heads, below, heads};
use self::mask::{Combined, HIDDEN, Mask, Patterns};
use super::matching::{add, binary, either, scalar, scaled, unary};

/// Recognises attention.
///
/// # Errors
/// Shape rules that a result breaks.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    let mut patterns = Patterns::default();
    for node in topological(graph) {
        if let Some(found) = find(graph, node) {
            rewrite(graph, &found, &mut patterns)?;
            count += 1;
        } else if let Op::Attention(attrs) = graph.op(node).clone() {
            count += usize::from(given::simplify(graph, node, &attrs, &mut patterns)?);
        }
    }
    Ok(count)
}

/// An attention in pieces.
struct Found {
    /// The product of probabilities and values: `[b, h, s, d]`.
    result: NodeId,
    q: Operand,
    k: Operand,
    v: Operand,
    scale: f64,
    softcap: Option<f64>,
    masks: Vec<Mask>,
}

/// A factor: `[b, h, rows, width]` after its transposition.
struct Operand {
    value: Value,
    /// Whether the last two axes are exchanged.
    transposed: bool,
}

/// Looks for an attention whose second product is the node.
fn find(graph: &Graph, node: NodeId) -> Option<Found> {
    let Op::Matmul(attrs) = graph.op(node) else {
        return None;
    };
    let (p, v) = plain_factors(graph, node, attrs)?;
    let transposed_v = attrs.transpose_b;
    let p = safe(graph, p);
    let rank = graph.ty(p).rank();
    let Op::Softmax { axis } = *graph.op(p.node) else {
        return None;
    };
    if axis + 1 != rank || !(3..=4).contains(&rank) {
        return None;
    }
    let mut scores = graph.operand(p.node, 0)?;
    let mut scale = 1.0;
    let mut softcap = None;
    let mut masks = Vec::new();
    loop {
        if let Op::Matmul(attrs) = graph.op(scores.node) {
            let (q, k) = plain_factors(graph, scores.node, attrs)?;
            let (q, q_scale) = unscaled(graph, q);
            let (k, k_scale) = unscaled(graph, k);
            scale *= q_scale * k_scale * f64::from(attrs.alpha);
            return Some(Found {
                result: node,
                q: Operand {
                    value: q,
                    transposed: false,
                },
                k: Operand {
                    value: k,
                    transposed: !attrs.transpose_b,
                },
                v: Operand {
                    value: v,
                    transposed: transposed_v,
                },
                scale: scale * softcap.unwrap_or(1.0),
                softcap,
                masks,
            });
        }
        let (next, step) = up(graph, scores)?;
        match step {
            Step::Scale(factor) => scale *= factor,
            // The factor behind the tangent is what caps the scores.
            Step::Tanh if softcap.is_none() && scale > 0.0 => {
                softcap = Some(std::mem::replace(&mut scale, 1.0));
            }
            Step::Tanh => return None,
            // A factor below a mask would multiply the mask as well.
            Step::Mask(_) if scale != 1.0 || softcap.is_some() => return None,
            Step::Mask(mask) => masks.push(mask),
        }
        scores = next;
    }
}

enum Step {
    Scale(f64),
    Tanh,
    Mask(Mask),
}

/// One step from the softmax towards the product of q and k.
fn up(graph: &Graph, scores: Value) -> Option<(Value, Step)> {
    if let Some((x, factor)) = scaled(graph, scores) {
        return Some((x, Step::Scale(factor)));
    }
    if let Some(x) = unary(graph, scores, Unary::Tanh) {
        return Some((x, Step::Tanh));
    }
    if let Op::Where = graph.op(scores.node) {
        let operands = graph.operands(scores.node);
        let [condition, yes, no] = operands[..] else {
            return None;
        };
        let (next, holds, number) = match (scalar(graph, yes), scalar(graph, no)) {
            (Some(number), None) => (no, true, number),
            (None, Some(number)) => (yes, false, number),
            _ => return None,
        };
        // Adding a lesser number would not hide the score.
        return (number <= HIDDEN).then_some((
            next,
            Step::Mask(Mask::Filled {
                condition,
                holds,
                number,
            }),
        ));
    }
    let sums = either(graph, scores, Binary::Add);
    let (next, mask) = sums
        .into_iter()
        .find(|&(x, _)| leads_to_product(graph, x))?;
    Some((next, Step::Mask(Mask::Added(mask))))
}

/// Whether scores come from here: a product, behind scales, a cap and masks.
fn leads_to_product(graph: &Graph, value: Value) -> bool {
    let mut value = value;
    for _ in 0..8 {
        if let Op::Matmul(attrs) = graph.op(value.node) {
            return !attrs.bias && graph.as_const(graph.operands(value.node)[1]).is_none();
        }
        let next = scaled(graph, value)
            .map(|(x, _)| x)
            .or_else(|| unary(graph, value, Unary::Tanh))
            .or_else(|| match graph.op(value.node) {
                Op::Where => graph
                    .operands(value.node)
                    .into_iter()
                    .skip(1)
                    .find(|&v| scalar(graph, v).is_none()),
                _ => binary(graph, value, Binary::Add)
                    .map(|(a, b)| if leads_to_product(graph, a) { a } else { b }),
            });
        match next {
            Some(next) => value = next,
            None => return false,
        }
    }
    false
}

/// The factors of a product without epilogue, neither of them a constant.
fn plain_factors(graph: &Graph, node: NodeId, attrs: &Matmul) -> Option<(Value, Value)> {
    let operands = graph.operands(node);
    let plain = !attrs.bias && !attrs.residual && attrs.activation.is_none();
    let (a, b) = (*operands.first()?, *operands.get(1)?);
    let float = graph.ty(a).elem.is_float() && graph.ty(b).elem.is_float();
    (plain && float && graph.as_const(b).is_none()).then_some((a, b))
}

/// Probabilities without the guard against rows that see nothing: the machine's softmax makes them
/// zero itself.
fn safe(graph: &Graph, p: Value) -> Value {
    let Op::Where = graph.op(p.node) else {
        return p;
    };
    let operands = graph.operands(p.node);
    match operands[..] {
        [condition, zero, inner]
            if scalar(graph, zero) == Some(0.0)
                && *graph.op(condition.node) == Op::Unary(Unary::IsNan)
                && graph.operand(condition.node, 0) == Some(inner) =>
        {
            inner
        }
        _ => p,
    }
}

/// A factor without the numbers that it is multiplied with.
fn unscaled(graph: &Graph, value: Value) -> (Value, f64) {
    let (mut value, mut factor) = (value, 1.0);
    while let Some((x, number)) = scaled(graph, value) {
        (value, factor) = (x, factor * number);
    }
    (value, factor)
}

fn rewrite(graph: &mut Graph, found: &Found, patterns: &mut Patterns) -> Result<(), Diagnostics> {
    let result = Value::from(found.result);
    let origin = graph.origin_of(found.result);
    let shape = graph.ty(result).shape.clone();
    let [.., head_count, rows, _] = shape[..] else {
        return Ok(());
    };

    let q = match heads(graph, found.q.value, found.q.transposed, true) {
        Some(q) if q.groups == head_count => side_by_side(graph, q, origin)?,
        _ => spread(graph, &found.q, origin)?,
    };
    let k = heads(graph, found.k.value, found.k.transposed, true);
    let v = heads(graph, found.v.value, found.v.transposed, false);
    let (k, v) = match (k, v) {
        (Some(k), Some(v)) if k.groups == v.groups => (
            side_by_side(graph, k, origin)?,
            side_by_side(graph, v, origin)?,
        ),
        // Moved by hand, keys and values have all heads.
        _ => (
            spread(graph, &found.k, origin)?,
            spread(graph, &found.v, origin)?,
        ),
    };
    let columns = graph.ty(k.value).shape[1];
    let mask = patterns.combine(
        graph,
        &found.masks,
        Combined::default(),
        (rows, columns),
        origin,
    )?;
    let scale = (found.scale * q.scale * k.scale) as f32;
    let attrs = Attention {
        softcap: found.softcap.map(|cap| cap as f32),
        causal: mask.causal,
        window: mask.window,
        mask: mask.added.is_some(),
        ..Attention::new(head_count, k.groups, scale)
    };
    let mut operands = vec![q.value, k.value, v.value];
    operands.extend(mask.added);
    let fused = add(graph, Op::Attention(attrs), &operands, origin)?;
    // The reader that puts heads side by side again is replaced with the rows.
    if let Some(reader) = below(graph, result)
        && graph.ty(reader).shape == graph.ty(fused).shape
    {
        graph.replace_uses(reader, fused);
        return Ok(());
    }
    let [batch, s, columns] = graph.ty(fused).shape[..] else {
        return Ok(());
    };
    let parts = vec![batch, s, head_count, columns / head_count];
    let parts = add(graph, Op::Reshape { shape: parts }, &[fused], origin)?;
    let turned = add(
        graph,
        Op::Transpose {
            perm: vec![0, 2, 1, 3],
        },
        &[parts],
        origin,
    )?;
    let whole = add(graph, Op::Reshape { shape }, &[turned], origin)?;
    graph.replace_uses(result, whole);
    Ok(())
}

/// Rows with the heads of a factor side by side; axes in another order are exchanged.
fn side_by_side(graph: &mut Graph, heads: Heads, origin: OriginId) -> Result<Heads, Diagnostics> {
    let Some(perm) = heads.perm else {
        return Ok(heads);
    };
    let perm = perm.to_vec();
    let turned = add(graph, Op::Transpose { perm }, &[heads.value], origin)?;
    let [batch, rows, groups, width] = graph.ty(turned).shape[..] else {
        return Ok(heads);
    };
    let shape = vec![batch, rows, groups * width];
    let value = add(graph, Op::Reshape { shape }, &[turned], origin)?;
    Ok(Heads {
        value,
        perm: None,
        ..heads
    })
}

/// Rows with the heads of a factor side by side, moved there by hand. Three axes are one batch.
fn spread(graph: &mut Graph, operand: &Operand, origin: OriginId) -> Result<Heads, Diagnostics> {
    let mut value = operand.value;
    let mut shape = graph.ty(value).shape.clone();
    if shape.len() == 3 {
        shape.insert(0, 1);
        value = add(
            graph,
            Op::Reshape {
                shape: shape.clone(),
            },
            &[value],
            origin,
        )?;
    }
    let perm = if operand.transposed {
        [0, 3, 1, 2]
    } else {
        [0, 2, 1, 3]
    };
    let heads = Heads {
        value,
        groups: shape[1],
        scale: 1.0,
        perm: Some(perm),
    };
    side_by_side(graph, heads, origin)
}
