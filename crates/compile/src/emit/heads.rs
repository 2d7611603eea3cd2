//! Where the heads and the masks of an attention lie.

use packwright_ir::diag::Diagnostic;
use packwright_ir::op::Attention;
use packwright_ir::{NodeId, Value};
use packwright_packet::defs::{self, Command};
use packwright_packet::operand::{BinaryFn, Elem, View};

use super::address::{Area, At, Site};
use super::whole::{Operand, broadcast};
use crate::plan::constants::TileId;

/// A mask among the operands of an attention from a batch element, head and row on, broadcast to scores of a
/// shape; and how far apart its heads are.
pub fn mask_view(
    (site, at, node, tiles): (&Site<'_>, &At, NodeId, &[TileId]),
    position: usize,
    full: [usize; 4],
    place: [usize; 3],
) -> Result<(View, u64), Diagnostic> {
    let value = site.graph.operands(node)[position];
    let operand = Operand::of(site, at, value, tiles)
        .ok_or_else(|| unsupported(node, "the mask has no place"))?;
    let strides = broadcast(&operand, &full)
        .ok_or_else(|| unsupported(node, "the mask does not broadcast to the scores"))?;
    let offset: u64 = place.iter().zip(&strides).map(|(&i, s)| i as u64 * s).sum();
    let view = View {
        elem: operand.elem,
        addr: (operand.addr + offset).into(),
        pitch: strides[2] as u32,
        step: strides[3] as u32,
    };
    Ok((view, strides[1]))
}

/// Whether a mask can be added where a product leaves the array. Capped scores take theirs behind the cap, and a bias
/// by distance is there already.
pub fn is_addend(mask: &View, attrs: &Attention) -> bool {
    let float = matches!(mask.elem, Elem::F16 | Elem::F32);
    float && attrs.softcap.is_none() && !attrs.relative
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
) -> Result<Area, Diagnostic> {
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

/// A complaint about an attention that packets do not carry out.
pub fn unsupported(node: NodeId, reason: &str) -> Diagnostic {
    Diagnostic::unsupported(
        "emit-attention",
        format!("this attention has no packet form: {reason}"),
    )
    .at(node.to_string())
    .help("run the whole graph pipeline, or report the model")
}

/// A function of two operands, element by element.
pub fn binary(func: BinaryFn, [rows, cols]: [u64; 2], a: View, b: View, dst: View) -> Command {
    Command::Binary(defs::Binary {
        rows: rows.into(),
        cols: cols.into(),
        func,
        a,
        b,
        dst,
    })
}
