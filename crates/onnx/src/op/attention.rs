//! Attention over heads that lie side by side, and the operator of ONNX 23.

use packwright_ir::diag::Diagnostic;
use packwright_ir::op::Attention;
use packwright_ir::{Elem, Op};

use crate::builder::{Arg, Builder};
use crate::codes;
use crate::node::Node;
use crate::op::heads::{append, past_length, row_shape, to_heads, to_rows, width};
use crate::op::mask::{self, Scores};

/// How rows attend to columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attend {
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    /// Factor on the scores; one over the root of the width where there is none.
    pub(crate) scale: Option<f32>,
    /// Scores are squeezed between this and its negative; 0 for not at all.
    pub(crate) softcap: f32,
    /// Row i sees the columns up to `i + t − s`.
    pub(crate) causal: bool,
    /// And of those the last `window + 1` only.
    pub(crate) window: Option<usize>,
}

/// Attention of `q` `[b, s, heads·width]` to `k` and `v` `[b, t, kv_heads·width]`, with a mask that is
/// added to the scores.
pub(crate) fn attend(
    b: &mut Builder,
    [q, k, v]: [&Arg; 3],
    mask: Option<&Arg>,
    how: &Attend,
) -> Result<Arg, Diagnostic> {
    let [batch, rows, _] = row_shape(b, q)?;
    let [_, columns, _] = row_shape(b, k)?;
    let (inner, outer) = (width(b, q, how.heads)?, width(b, v, how.kv_heads)?);
    let pairs = [batch, how.heads, rows, columns];
    let macs = pairs.iter().try_fold((inner + outer) as u64, |p, &n| {
        p.checked_mul(u64::try_from(n).ok()?)
    });
    b.count_macs(macs);
    let scale = how
        .scale
        .unwrap_or_else(|| (1.0 / (inner as f64).sqrt()) as f32);
    let attrs = Attention {
        softcap: (how.softcap != 0.0).then_some(how.softcap),
        causal: how.causal,
        window: how.window,
        mask: mask.is_some(),
        out: b.ty(q)?.elem,
        ..Attention::new(how.heads, how.kv_heads, scale)
    };
    let mut operands = vec![q, k, v];
    operands.extend(mask);
    b.emit(Op::Attention(attrs), &operands)
}

/// `Attention`.
pub(crate) fn attention(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let attrs = &node.attrs;
    let (q, heads, split) = side_by_side(b, node, 0, "q_num_heads")?;
    let (k, kv_heads, _) = side_by_side(b, node, 1, "kv_num_heads")?;
    let (v, v_heads, _) = side_by_side(b, node, 2, "kv_num_heads")?;
    if kv_heads != v_heads {
        return Err(codes::form(format!(
            "{kv_heads} heads of keys and {v_heads} of values"
        )));
    }
    if node.opt(6).is_some() {
        return Err(codes::form(
            "lengths of the cache as an operand are not supported",
        ));
    }
    let past = past_length(b, node.opt(4))?;
    let k = append(b, node.opt(4), &k, kv_heads)?;
    let v = append(b, node.opt(5), &v, kv_heads)?;
    let [batch, rows, _] = row_shape(b, &q)?;
    let [_, columns, _] = row_shape(b, &k.rows)?;
    let scores = Scores {
        batch,
        rows,
        columns,
    };
    let elem = b.ty(&q)?.elem;
    let causal = attrs.flag("is_causal", false)?;
    let aligned = past.checked_add(rows) == Some(columns);
    let given = match node.opt(3) {
        Some(mask) => Some(whole_mask(b, mask, columns, elem)?),
        None => None,
    };
    let above = if causal && !aligned {
        Some(mask::triangle(b, scores, past, None, elem)?)
    } else {
        None
    };
    let mask = mask::sum(b, &[given, above])?;
    let how = Attend {
        heads,
        kv_heads,
        scale: attrs.opt_float("scale")?,
        softcap: attrs.float("softcap", 0.0)?,
        causal: causal && aligned,
        window: None,
    };
    let y = attend(b, [&q, &k.rows, &v.rows], mask.as_ref(), &how)?;
    let y = if split { to_heads(b, &y, heads)? } else { y };
    Ok(vec![y, k.present, v.present])
}

/// An operand with its heads side by side, their number, and whether they had an axis of their own.
fn side_by_side(
    b: &mut Builder,
    node: &Node<'_>,
    at: usize,
    count: &str,
) -> Result<(Arg, usize, bool), Diagnostic> {
    let x = node.arg(at)?;
    match b.shape(x)?[..] {
        [_, heads, _, _] => Ok((to_rows(b, x)?, heads, true)),
        _ => {
            let heads = node.attrs.count(count)?;
            row_shape(b, x)?;
            Ok((x.clone(), heads, false))
        }
    }
}

/// A mask as numbers for all columns; those that it does not reach are hidden.
fn whole_mask(b: &mut Builder, mask: &Arg, columns: usize, elem: Elem) -> Result<Arg, Diagnostic> {
    let mask = if b.ty(mask)?.elem == Elem::Bool {
        mask::unless(b, mask, elem, f64::NEG_INFINITY)?
    } else {
        mask.clone()
    };
    let shape = b.shape(&mask)?;
    let Some((&own, outer)) = shape.split_last() else {
        return Ok(mask);
    };
    if own == 1 || own >= columns {
        return Ok(mask);
    }
    let mut after = vec![0; outer.len()];
    after.push(columns - own);
    let op = Op::Pad {
        before: vec![0; shape.len()],
        after,
        value: f32::NEG_INFINITY,
    };
    b.emit(op, &[&mask])
}
