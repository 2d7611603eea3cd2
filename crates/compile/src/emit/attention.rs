//! Attention: scores, softmax and the sum of values for some query rows of one head.
//!
//! Scores and probabilities never leave SRAM. The row scales of K are the column scales of the
//! scores, and the row scales of V are multiplied into the probabilities before these are
//! quantised, so that every scale stands outside an integer product.

use packwright_ir::diag::Diagnostic;
use packwright_ir::{NodeId, Op, Value};
use packwright_packet::defs::{Command, Matmul, Softmax};
use packwright_packet::operand::{Elem, Hold, UnaryFn, View};

use super::address::{At, Site};
use super::whole::{Operand, broadcast};
use crate::plan::Part;
use crate::plan::constants::TileId;
use crate::plan::demand::AttentionShape;

/// Carries some query rows of one head through attention.
pub fn attention(
    site: &Site<'_>,
    at: &At,
    node: NodeId,
    part: &Part,
    tiles: &[TileId],
) -> Result<Vec<Command>, Diagnostic> {
    let Op::Attention(attributes) = site.graph.op(node) else {
        unreachable!("attention stages hold attention nodes")
    };
    let Part::Head { head, copy } = part else {
        unreachable!("attention fragments are parts of heads")
    };
    if attributes.window.is_some() {
        return Err(unsupported(node, "sliding windows are not lowered yet"));
    }
    let shape = AttentionShape::of(site.graph, node);
    let operands = site.graph.operands(node);
    let rows = at.block.len();
    let batch = at.block.start / shape.s;
    let kv_head = head / (shape.heads / shape.kv_heads);
    let q = head_area(
        site,
        at,
        node,
        operands[0],
        at.block.start,
        *head,
        shape.width,
    )?;
    let k = head_area(
        site,
        at,
        node,
        operands[1],
        batch * shape.t,
        kv_head,
        shape.width,
    )?;
    let v = head_area(
        site,
        at,
        node,
        operands[2],
        batch * shape.t,
        kv_head,
        shape.value_width,
    )?;
    let t = shape.t as u64;
    let scores = View::rows(Elem::F32, site.scratch(at, 0, *copy), (t * 4) as u32);
    let p_addr = site.scratch(at, 1, *copy);
    let p = View::rows(Elem::I8, p_addr, t as u32);
    let p_scale_addr = p_addr + (rows as u64 * t).next_multiple_of(4);
    let p_scale = View::rows(Elem::F32, p_scale_addr, 4);
    let across = |view: View| View {
        pitch: 0,
        step: view.pitch,
        ..view
    };

    let score = Command::Matmul(Matmul {
        m: (rows as u64).into(),
        n: t.into(),
        k: (shape.width as u64).into(),
        a: q.view(),
        b: k.view(),
        hold: Hold::B,
        group: (shape.width as u64).into(),
        a_scale: Some(q.scales()),
        b_scale: Some(across(k.scales())),
        alpha: attributes.scale,
        bias: None,
        activation: UnaryFn::Identity,
        residual: None,
        acc: None,
        start: true,
        finish: true,
        out: scores,
        out_scale: 1.0,
    });
    let first = at.block.start % shape.s;
    let mask = if attributes.mask {
        let value = operands[operands.len() - 1];
        Some(mask_view(
            site,
            at,
            node,
            value,
            tiles,
            (batch, *head, first),
            &shape,
        )?)
    } else {
        None
    };
    let softmax = Command::Softmax(Softmax {
        rows: (rows as u64).into(),
        cols: t.into(),
        src: scores,
        scale: 1.0,
        mask,
        causal: attributes
            .causal
            .then(|| ((first + shape.t - shape.s) as u64).into()),
        col_scale: Some(across(v.scales())),
        dst: p,
        dst_scale: Some(p_scale),
        log_sum: None,
    });
    let out_root = site
        .plan
        .storage
        .root_of(node)
        .expect("attention has a root");
    let out = site
        .root_area(out_root, at.segment, at.block.start)
        .column(head * shape.value_width, None);
    let values = Command::Matmul(Matmul {
        m: (rows as u64).into(),
        n: (shape.value_width as u64).into(),
        k: t.into(),
        a: p,
        b: View {
            elem: Elem::I8,
            addr: v.addr.into(),
            pitch: 1,
            step: v.pitch as u32,
        },
        hold: Hold::B,
        group: t.into(),
        a_scale: Some(p_scale),
        b_scale: None,
        alpha: 1.0,
        bias: None,
        activation: UnaryFn::Identity,
        residual: None,
        acc: None,
        start: true,
        finish: true,
        out: out.view(),
        out_scale: 1.0,
    });
    Ok(vec![score, softmax, values])
}

/// The rows of one head of q, k or v, with its scales.
pub fn head_area(
    site: &Site<'_>,
    at: &At,
    node: NodeId,
    value: Value,
    row: usize,
    head: usize,
    width: usize,
) -> Result<super::address::Area, Diagnostic> {
    let place = site
        .plan
        .storage
        .place(value)
        .ok_or_else(|| unsupported(node, "an operand is a constant"))?;
    let group = site.plan.storage.root(place.root).group;
    if group != Some(width) {
        return Err(unsupported(
            node,
            "q, k and v are not quantised head by head",
        ));
    }
    Ok(site
        .place_area(place, at.segment, row)
        .column(head * width, group))
}

/// The part of the mask that some rows of one head see.
fn mask_view(
    site: &Site<'_>,
    at: &At,
    node: NodeId,
    value: Value,
    tiles: &[TileId],
    (batch, head, row): (usize, usize, usize),
    shape: &AttentionShape,
) -> Result<View, Diagnostic> {
    let full = [shape.batch, shape.heads, shape.s, shape.t];
    let operand = Operand::of(site, at, value, tiles)
        .ok_or_else(|| unsupported(node, "the mask has no place"))?;
    let strides = broadcast(&operand, &full)
        .ok_or_else(|| unsupported(node, "the mask does not broadcast to the scores"))?;
    let offset = batch as u64 * strides[0] + head as u64 * strides[1] + row as u64 * strides[2];
    Ok(View {
        elem: operand.elem,
        addr: (operand.addr + offset).into(),
        pitch: strides[2] as u32,
        step: strides[3] as u32,
    })
}

fn unsupported(node: NodeId, reason: &str) -> Diagnostic {
    Diagnostic::unsupported(
        "emit-attention",
        format!("this attention has no packet form: {reason}"),
    )
    .at(node.to_string())
    .help("run the whole graph pipeline, or report the model")
}
