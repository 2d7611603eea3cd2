//! Products with streamed weights, with the quantisation of their columns.

use std::ops::Range;

use packwright_ir::diag::Diagnostic;
use packwright_ir::op::Activation;
use packwright_ir::{NodeId, Op, Quant};
use packwright_packet::defs::{Command, Fill, Matmul, Quantize};
use packwright_packet::operand::{Affine, Elem, Hold, UnaryFn, View};

use super::address::{Area, At, Site};
use crate::plan::Part;
use crate::plan::constants::{Form, TileId};
use crate::plan::demand;
use crate::plan::storage::RootId;

/// The activation as the machine names it.
pub fn unary_fn(activation: Option<Activation>) -> UnaryFn {
    match activation {
        None => UnaryFn::Identity,
        Some(Activation::Relu) => UnaryFn::Relu,
        Some(Activation::GeluErf) => UnaryFn::GeluErf,
        Some(Activation::GeluTanh) => UnaryFn::GeluTanh,
        Some(Activation::Silu) => UnaryFn::Silu,
        Some(Activation::Sigmoid) => UnaryFn::Sigmoid,
        Some(Activation::Tanh) => UnaryFn::Tanh,
    }
}

/// Carries a row block through some columns of a product.
pub fn matmul(
    site: &Site<'_>,
    at: &At,
    node: NodeId,
    quantize: Option<NodeId>,
    part: &Part,
    tiles: &[TileId],
) -> Result<Vec<Command>, Diagnostic> {
    let Op::Matmul(attributes) = site.graph.op(node) else {
        unreachable!("matmul stages hold matmul nodes")
    };
    let quantized = |chunk: &Range<usize>, copy: u8| {
        let made = out_area(site, at, node, true, chunk, copy);
        quantize.map(|quantize| quantize_columns(site, at, quantize, made, chunk.clone()))
    };
    let (columns, chunk, depth, quantizes, copy) = match part {
        Part::Columns {
            columns,
            chunk,
            depth,
            quantizes,
            copy,
        } => (columns, chunk, depth, quantizes, copy),
        Part::QuantizeColumns { chunk, copy } => {
            return Ok(quantized(chunk, *copy).into_iter().collect());
        }
        _ => unreachable!("matmul fragments are parts of columns"),
    };
    let Some(&tile) = tiles.first() else {
        return Err(unsupported(node, "the right operand is not a constant"));
    };
    let operands = site.graph.operands(node);
    let stored = site
        .plan
        .layout
        .get(site.plan.tiles[tile.0 as usize].stored);
    let Form::Channels {
        k,
        bias,
        block,
        zeros,
        ..
    } = stored.form
    else {
        return Err(unsupported(
            node,
            "the right operand is not a matrix of int8 or int4 channels",
        ));
    };
    let a_ty = site.graph.ty(operands[0]);
    let a = site
        .value_area(operands[0], at.segment, at.block.start)
        .ok_or_else(|| unsupported(node, "the left operand is a constant"))?;
    let mut commands = Vec::new();
    let a_zero = match a_ty.quant {
        Some(Quant::Affine { zero, .. }) => zero,
        _ => 0,
    };
    let (group, a_scale) = match a_ty.quant {
        Some(Quant::Row { group }) => (group, None),
        Some(Quant::Tensor { scale } | Quant::Affine { scale, .. }) => {
            let addr = site.scratch(at, 1, *copy);
            let view = View {
                elem: Elem::F32,
                addr: addr.into(),
                pitch: 0,
                step: 0,
            };
            commands.push(Command::Fill(Fill {
                rows: 1u32.into(),
                cols: 1u32.into(),
                value: scale,
                dst: View::rows(Elem::F32, addr, 4),
                step: 0.0,
            }));
            (k, Some(view))
        }
        Some(Quant::Channel { .. } | Quant::Shifted { .. } | Quant::Block { .. }) | None => {
            return Err(unsupported(node, "the left operand is not quantised"));
        }
    };
    // What the tile has of a record.
    let (own, values) = (depth.bytes(stored), depth.range(k));
    let record = own.end - own.start;
    let ends = depth.is_last();
    let weights = site.tile(tile);
    let a = a.column(values.start, Some(group.min(k)));
    let a_scale = a_scale.unwrap_or_else(|| a.scales());
    let acc = (depth.of > 1).then(|| {
        let elem = if group < k { Elem::F32 } else { Elem::I32 };
        let pitch = columns.len() as u32 * 4;
        View::rows(elem, site.scratch(at, 2, *copy), pitch)
    });
    let residual = if attributes.residual {
        let value = operands[operands.len() - 1];
        let place = site
            .plan
            .storage
            .place(value)
            .ok_or_else(|| unsupported(node, "the residual is a constant"))?;
        Some(site.place_area(place, at.segment, at.block.start))
    } else {
        None
    };
    let out = out_area(site, at, node, quantize.is_some(), chunk, *copy);
    let whole = |some: &Range<usize>| {
        let first = weights + (some.start - columns.start) as u64 * record;
        let per_channel = |elem: Elem, offset: u64| View {
            elem,
            addr: (first + offset - own.start).into(),
            pitch: 0,
            step: record as u32,
        };
        Matmul {
            m: (at.block.len() as u64).into(),
            n: (some.len() as u64).into(),
            k: (values.len() as u64).into(),
            a: a.view(),
            b: View::rows(Elem::I8, first, record as u32),
            hold: Hold::B,
            group: (group.min(values.len()) as u64).into(),
            a_scale: Some(a_scale),
            a_zero,
            b_bits: if block.is_some() { 4 } else { 8 },
            b_group: (block.unwrap_or(values.len()) as u64).into(),
            b_step: block
                .map(|_| View::rows(Elem::F16, first + stored.scale_offset(), record as u32)),
            b_scale: match block {
                None if ends => Some(per_channel(Elem::F32, stored.scale_offset())),
                _ => None,
            },
            alpha: if ends { attributes.alpha } else { 1.0 },
            b_zero: zeros.then(|| per_channel(Elem::I32, stored.zero_offset())),
            bias: bias
                .filter(|_| ends)
                .map(|_| per_channel(Elem::F32, stored.bias_offset())),
            activation: unary_fn(attributes.activation.filter(|_| ends)),
            residual: residual
                .filter(|_| ends)
                .map(|area| area.column(some.start, None).view()),
            acc,
            start: depth.part == 0,
            finish: ends,
            out: out.column(some.start - chunk.start, None).view(),
            out_scale: 1.0,
        }
    };
    if attributes.parts == 1 {
        commands.push(Command::Matmul(whole(columns)));
    } else {
        let acc = site.scratch(at, 2, *copy);
        for first in columns.clone().step_by(demand::PARTED_COLUMNS) {
            let some = first..columns.end.min(first + demand::PARTED_COLUMNS);
            parted(
                whole(&some),
                &a,
                group,
                attributes.parts,
                acc,
                &mut commands,
            );
        }
    }
    if *quantizes {
        commands.extend(quantized(chunk, *copy));
    }
    Ok(commands)
}

/// A product of rows that come in parts: each part meets the same weights, sums wait in `acc` between them.
fn parted(
    whole: Matmul,
    a: &Area,
    group: usize,
    parts: usize,
    acc: u64,
    commands: &mut Vec<Command>,
) {
    let columns = whole.n.base;
    let k = whole.k.base as usize;
    for part in 0..parts {
        let rows = a.column(part * k, Some(group));
        commands.push(Command::Matmul(Matmul {
            a: rows.view(),
            a_scale: Some(rows.scales()),
            acc: Some(View::rows(Elem::F32, acc, columns as u32 * 4)),
            start: part == 0,
            finish: part + 1 == parts,
            ..whole.clone()
        }));
    }
}

/// Where the columns of a chunk go: into the root, or into the scratch where they wait to be quantised or
/// written out.
fn out_area(
    site: &Site<'_>,
    at: &At,
    node: NodeId,
    quantized: bool,
    chunk: &Range<usize>,
    copy: u8,
) -> Area {
    let root = site
        .plan
        .storage
        .root_of(node)
        .expect("products have roots");
    if !quantized && site.has_home(root, at.segment) {
        return site
            .root_columns(root, at.segment, at.block.start, chunk.start)
            .column(chunk.start, None);
    }
    scratch_area(site, at, root, chunk.len(), copy)
}

/// The scratch that holds a chunk of columns of a product.
pub fn scratch_area(site: &Site<'_>, at: &At, root: RootId, columns: usize, copy: u8) -> Area {
    let elem = site.plan.storage.root(root).elem;
    Area {
        elem,
        addr: site.scratch(at, 0, copy),
        pitch: columns as u64 * u64::from(elem.bytes()),
        scale_addr: 0,
        scale_pitch: 0,
    }
}

fn quantize_columns(
    site: &Site<'_>,
    at: &At,
    quantize: NodeId,
    source: Area,
    chunk: Range<usize>,
) -> Command {
    let root = site
        .plan
        .storage
        .root_of(quantize)
        .expect("quantised values have roots");
    let info = site.plan.storage.root(root);
    let target = site
        .root_columns(root, at.segment, at.block.start, chunk.start)
        .column(chunk.start, info.group);
    quantize_command(
        site,
        quantize,
        at.block.len(),
        chunk.len(),
        source.view(),
        target,
    )
}

/// The command of a `quantize` node on a rectangle.
pub fn quantize_command(
    site: &Site<'_>,
    node: NodeId,
    rows: usize,
    cols: usize,
    src: View,
    target: Area,
) -> Command {
    let (group, dst_scale, scale, zero) = match site.graph.op(node) {
        Op::Quantize {
            quant: Quant::Row { group },
        } => (*group, Some(target.scales()), 1.0, None),
        Op::Quantize {
            quant: Quant::Tensor { scale },
        } => (cols, None, *scale, None),
        Op::Quantize {
            quant: Quant::Affine { scale, zero },
        } => (cols, None, *scale, Some(*zero)),
        _ => (cols, None, 1.0, None),
    };
    Command::Quantize(Quantize {
        rows: (rows as u64).into(),
        cols: (cols as u64).into(),
        src,
        dst: target.view(),
        group: Affine::constant(group as u64),
        dst_scale,
        scale,
        zero,
    })
}

fn unsupported(node: NodeId, reason: &str) -> Diagnostic {
    Diagnostic::unsupported(
        "emit-matmul",
        format!("this product has no packet form: {reason}"),
    )
    .at(node.to_string())
    .help("products need int8 activations on the left and constant int8 weights on the right")
}
