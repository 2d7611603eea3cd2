//! The attention operators of ONNX Runtime: with projections, with biases, with rotation and a cache.

use packwright_ir::diag::Diagnostic;
use packwright_ir::op::Binary;
use packwright_ir::{Elem, Op};

use crate::builder::{Arg, Builder};
use crate::codes;
use crate::node::Node;
use crate::op::attention::{Attend, attend};
use crate::op::heads::{append, past_length, row_shape, to_rows};
use crate::op::mask::{self, Scores};
use crate::op::product::linear;
use crate::op::rotary::{rotate, rows_of_table};

/// What hides a score where the model does not say.
const FILTER: f32 = -10000.0;

/// `com.microsoft.Attention`: projections of one value, attention of it to itself.
pub(crate) fn attention(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let attrs = &node.attrs;
    if attrs.flag("do_rotary", false)? {
        return Err(codes::form("rotation inside is not supported"));
    }
    refuse(node, 6, "a cache in a buffer that is shared")?;
    let heads = attrs.count("num_heads")?;
    let x = linear(b, node.arg(0)?, node.arg(1)?, node.opt(2))?;
    let [batch, rows, columns] = row_shape(b, &x)?;
    let sizes = match attrs.ints("qkv_hidden_sizes")? {
        Some(sizes) => crate::values::need_shape(sizes, "qkv_hidden_sizes")?,
        None => vec![columns / 3; 3],
    };
    let sum = sizes.iter().try_fold(0usize, |sum, n| sum.checked_add(*n));
    let ([q, k, v], true) = (
        <[usize; 3]>::try_from(sizes.as_slice()).unwrap_or_default(),
        sum == Some(columns),
    ) else {
        return Err(codes::form(format!(
            "{columns} columns are not queries, keys and values of {sizes:?}"
        )));
    };
    let (from_k, from_v) = (q, q + k);
    let (q, k, v) = (
        b.cut(&x, 2, 0, q)?,
        b.cut(&x, 2, from_k, k)?,
        b.cut(&x, 2, from_v, v)?,
    );
    let past = node.opt(4);
    let (past_k, past_v) = match past {
        None => (None, None),
        Some(past) => (Some(half(b, past, 0)?), Some(half(b, past, 1)?)),
    };
    let k = append(b, past_k.as_ref(), &k, heads)?;
    let v = append(b, past_v.as_ref(), &v, heads)?;
    let [_, total, _] = row_shape(b, &k.rows)?;
    let scores = Scores {
        batch,
        rows,
        columns: total,
    };
    let mask = both_masks(b, node, 3, 5, scores, b.ty(&q)?.elem)?;
    let how = Attend {
        heads,
        kv_heads: heads,
        scale: scale(node)?,
        softcap: 0.0,
        causal: attrs.flag("unidirectional", false)?,
        window: None,
    };
    let y = attend(b, [&q, &k.rows, &v.rows], mask.as_ref(), &how)?;
    let present = if node.results > 1 {
        let k = stacked(b, &k.present)?;
        let v = stacked(b, &v.present)?;
        b.concat(&[&k, &v], 0)?
    } else {
        Arg::Lost
    };
    Ok(vec![y, present])
}

/// Keys or values of a past that holds both.
fn half(b: &mut Builder, past: &Arg, at: usize) -> Result<Arg, Diagnostic> {
    let shape = b.shape(past)?;
    let [2, ref rest @ ..] = shape[..] else {
        return Err(codes::form(format!("the past {shape:?} is not two caches")));
    };
    let part = b.cut(past, 0, at, 1)?;
    b.reshape(&part, rest)
}

fn stacked(b: &mut Builder, x: &Arg) -> Result<Arg, Diagnostic> {
    let mut shape = b.shape(x)?;
    shape.insert(0, 1);
    b.reshape(x, &shape)
}

/// `com.microsoft.MultiHeadAttention`: queries, keys and values are projected before.
pub(crate) fn multi_head(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let attrs = &node.attrs;
    refuse(node, 8, "a cache in a buffer that is shared")?;
    refuse(node, 9, "beams in the cache")?;
    let heads = attrs.count("num_heads")?;
    let [q, k, v] = projected(b, node)?;
    let [q, k, v] = biased(b, [q, k, v], node.opt(3))?;
    let k = append(b, node.opt(6), &k, heads)?;
    let v = append(b, node.opt(7), &v, heads)?;
    let [batch, rows, _] = row_shape(b, &q)?;
    let [_, columns, _] = row_shape(b, &k.rows)?;
    let scores = Scores {
        batch,
        rows,
        columns,
    };
    let mask = both_masks(b, node, 4, 5, scores, b.ty(&q)?.elem)?;
    let how = Attend {
        heads,
        kv_heads: heads,
        scale: scale(node)?,
        softcap: 0.0,
        causal: attrs.flag("unidirectional", false)?,
        window: None,
    };
    let y = attend(b, [&q, &k.rows, &v.rows], mask.as_ref(), &how)?;
    Ok(vec![y, k.present, v.present])
}

/// Rows of queries, keys and values, however they are packed.
fn projected(b: &mut Builder, node: &Node<'_>) -> Result<[Arg; 3], Diagnostic> {
    let q = node.arg(0)?;
    if b.shape(q)?.len() == 5 {
        return Ok([part(b, q, 0, 3)?, part(b, q, 1, 3)?, part(b, q, 2, 3)?]);
    }
    let k = node.arg(1)?;
    match b.shape(k)?.len() {
        5 => Ok([q.clone(), part(b, k, 0, 2)?, part(b, k, 1, 2)?]),
        4 => Ok([q.clone(), to_rows(b, k)?, to_rows(b, node.arg(2)?)?]),
        _ => Ok([q.clone(), k.clone(), node.arg(2)?.clone()]),
    }
}

/// One of the parts of `[b, s, heads, parts, width]`, as rows.
fn part(b: &mut Builder, x: &Arg, at: usize, parts: usize) -> Result<Arg, Diagnostic> {
    let shape = b.shape(x)?;
    match shape[..] {
        [batch, rows, heads, n, width] if n == parts => {
            let x = b.cut(x, 3, at, 1)?;
            b.reshape(&x, &[batch, rows, heads.saturating_mul(width)])
        }
        _ => Err(codes::form(format!(
            "{shape:?} does not hold {parts} parts"
        ))),
    }
}

/// Rows with their pieces of a common bias.
fn biased(b: &mut Builder, rows: [Arg; 3], bias: Option<&Arg>) -> Result<[Arg; 3], Diagnostic> {
    let Some(bias) = bias else {
        return Ok(rows);
    };
    let length = b.ty(bias)?.elements();
    let mut start = 0;
    let mut sums = Vec::with_capacity(3);
    for x in &rows {
        let [_, _, columns] = row_shape(b, x)?;
        if b.shape(bias)?.len() != 1 || columns > length - start {
            return Err(codes::form(
                "the bias does not fit queries, keys and values",
            ));
        }
        let piece = b.cut(bias, 0, start, columns)?;
        sums.push(b.emit(Op::Binary(Binary::Add), &[x, &piece])?);
        start += columns;
    }
    let [q, k, v] = <[Arg; 3]>::try_from(sums).unwrap_or(rows);
    Ok([q, k, v])
}

/// `com.microsoft.GroupQueryAttention`: causal, with a cache, grouped heads and rotation.
pub(crate) fn group_query(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let attrs = &node.attrs;
    refuse(node, 11, "a sink for each head")?;
    if attrs.flag("smooth_softmax", false)? {
        return Err(codes::form("a smooth softmax is not supported"));
    }
    for name in ["k_quant_type", "v_quant_type"] {
        if attrs.text(name)?.is_some_and(|kind| kind != "NONE") {
            return Err(codes::form("a quantised cache is not supported"));
        }
    }
    let (heads, kv_heads) = (attrs.count("num_heads")?, attrs.count("kv_num_heads")?);
    let [mut q, mut k, v] = grouped(b, node, heads, kv_heads)?;
    let [batch, rows, _] = row_shape(b, &q)?;
    let past = past_length(b, node.opt(3))?;
    let total = past
        .checked_add(rows)
        .ok_or_else(|| codes::form("the cache is too long"))?;
    whole_cache(b, node, total)?;
    if attrs.flag("do_rotary", false)? {
        let at = node.opt(9).cloned();
        let interleaved = attrs.flag("rotary_interleaved", false)?;
        let cos = rows_of_table(b, node.arg(7)?, at.as_ref(), past, rows)?;
        let sin = rows_of_table(b, node.arg(8)?, at.as_ref(), past, rows)?;
        q = rotate(b, &q, heads, [&cos, &sin], interleaved)?;
        k = rotate(b, &k, kv_heads, [&cos, &sin], interleaved)?;
    }
    let k = append(b, node.opt(3), &k, kv_heads)?;
    let v = append(b, node.opt(4), &v, kv_heads)?;
    let bias = node.opt(10).cloned();
    let scores = Scores {
        batch,
        rows,
        columns: total,
    };
    check_bias(b, bias.as_ref(), scores)?;
    let how = Attend {
        heads,
        kv_heads,
        scale: scale(node)?,
        softcap: attrs.float("softcap", 0.0)?,
        causal: true,
        // The operator counts the row itself.
        window: usize::try_from(attrs.int("local_window_size", -1)?)
            .ok()
            .and_then(|n| n.checked_sub(1)),
    };
    let y = attend(b, [&q, &k.rows, &v.rows], bias.as_ref(), &how)?;
    Ok(vec![y, k.present, v.present])
}

/// Rows of queries, keys and values; packed side by side where there is one operand only.
fn grouped(
    b: &mut Builder,
    node: &Node<'_>,
    heads: usize,
    kv_heads: usize,
) -> Result<[Arg; 3], Diagnostic> {
    let q = node.arg(0)?;
    if let (Some(k), Some(v)) = (node.opt(1), node.opt(2)) {
        return Ok([q.clone(), k.clone(), v.clone()]);
    }
    let [_, _, columns] = row_shape(b, q)?;
    let all = kv_heads
        .checked_mul(2)
        .and_then(|n| n.checked_add(heads))
        .filter(|n| columns.is_multiple_of(*n))
        .ok_or_else(|| {
            codes::form(format!(
                "{columns} columns are not {heads} heads of queries and {kv_heads} of keys and values"
            ))
        })?;
    let width = columns / all;
    let (q_size, size) = (heads * width, kv_heads * width);
    Ok([
        b.cut(q, 2, 0, q_size)?,
        b.cut(q, 2, q_size, size)?,
        b.cut(q, 2, q_size + size, size)?,
    ])
}

/// The lengths that the model computes at run time have to be those that the shapes say.
fn whole_cache(b: &mut Builder, node: &Node<'_>, total: usize) -> Result<(), Diagnostic> {
    let differs = |found: i64| {
        codes::form(format!(
            "the cache and the new positions are {total}, the model says {found}"
        ))
    };
    if let Some(found) = node.opt(6).and_then(Arg::ints)
        && let Some(&wrong) = found.iter().find(|n| usize::try_from(**n) != Ok(total))
    {
        return Err(differs(wrong));
    }
    match node.opt(5).and_then(Arg::ints) {
        Some(last) => match last
            .iter()
            .find(|n| usize::try_from(**n).map(|n| n + 1) != Ok(total))
        {
            Some(&wrong) => Err(differs(wrong.saturating_add(1))),
            None => Ok(()),
        },
        None => {
            b.warnings.push(codes::whole_cache());
            Ok(())
        }
    }
}

/// The mask of keys and the numbers that are added to scores, where there are any.
fn both_masks(
    b: &mut Builder,
    node: &Node<'_>,
    mask_at: usize,
    bias_at: usize,
    scores: Scores,
    elem: Elem,
) -> Result<Option<Arg>, Diagnostic> {
    let filter = f64::from(node.attrs.float("mask_filter_value", FILTER)?);
    let keys = match node.opt(mask_at) {
        Some(mask) => Some(mask::of_keys(b, mask, scores, elem, filter)?),
        None => None,
    };
    let bias = node.opt(bias_at).cloned();
    check_bias(b, bias.as_ref(), scores)?;
    mask::sum(b, &[bias, keys])
}

fn check_bias(b: &Builder, bias: Option<&Arg>, scores: Scores) -> Result<(), Diagnostic> {
    let Some(bias) = bias else { return Ok(()) };
    let shape = b.shape(bias)?;
    match shape[..] {
        [_, _, rows, columns] if rows == scores.rows && columns == scores.columns => Ok(()),
        _ => Err(codes::form(format!(
            "{shape:?} is not added to scores of {} rows and {} columns",
            scores.rows, scores.columns
        ))),
    }
}

/// The factor on the scores; 0 stands for none.
fn scale(node: &Node<'_>) -> Result<Option<f32>, Diagnostic> {
    Ok(node.attrs.opt_float("scale")?.filter(|s| *s != 0.0))
}

fn refuse(node: &Node<'_>, at: usize, what: &str) -> Result<(), Diagnostic> {
    match node.opt(at) {
        None => Ok(()),
        Some(_) => Err(codes::form(format!("{what} is not supported"))),
    }
}
