//! Shape rules: the types of an operator's results from the types of its operands.
//!
//! [`infer`] is exact about operand count, shapes and kinds of elements. It leaves one thing open:
//! the width of the floats that an operator computes. Where no attribute names it, a pass may store
//! such a result narrower or wider than the rule says; [`accepts`] is the judge of that.
//!
//! A rule's complaint has a slug that names the rule that was broken (`inner-dims-agree`); who calls
//! adds the place.

mod chunk;
mod elementwise;
mod index;
mod layout;
mod normalize;
mod product;
mod quantize;

use crate::diag::Diagnostic;
use crate::graph::Graph;
use crate::id::{NodeId, OriginId, Value};
use crate::op::Op;
use crate::ty::{Elem, Type};

use quantize::fits;

/// The types of the results of an operator.
///
/// # Errors
/// The first rule that the operands break. [`Op::Input`] and [`Op::Const`] have no rule: their types
/// are declared.
pub fn infer(op: &Op, operands: &[&Type]) -> Result<Vec<Type>, Diagnostic> {
    check_count(op, operands.len())?;
    for operand in operands {
        well_formed(operand)?;
    }
    let types = match op {
        Op::Input { .. } | Op::Const(_) => {
            return Err(Diagnostic::error(
                "declared-type",
                "the type of an input or constant is declared",
            ));
        }
        Op::TopK { axis, count, .. } => index::top_k(operands[0], *axis, *count)?,
        _ => vec![single(op, operands)?],
    };
    for ty in &types {
        well_formed(ty)?;
    }
    Ok(types)
}

/// Works out the types of an operator's results and adds it to the graph.
///
/// # Errors
/// The first rule that the operands break; the graph is unchanged then.
pub fn add(
    graph: &mut Graph,
    op: Op,
    operands: &[Value],
    origin: OriginId,
) -> Result<NodeId, Diagnostic> {
    let mut types = Vec::with_capacity(operands.len());
    for &operand in operands {
        let exists = graph.contains(operand.node)
            && (operand.slot as usize) < graph.types(operand.node).len();
        if !exists {
            return Err(Diagnostic::error(
                "unknown-operand",
                format!("there is no value {operand}"),
            ));
        }
        types.push(graph.ty(operand));
    }
    let results = infer(&op, &types)?;
    Ok(graph.add(op, operands, results, origin))
}

/// The shape that both shapes repeat to: axes are aligned at the end, an axis of length 1 repeats.
pub fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let mut shape = long.to_vec();
    for (n, &m) in shape[long.len() - short.len()..].iter_mut().zip(short) {
        *n = match (*n, m) {
            (x, y) if x == y => x,
            (1, y) => y,
            (x, 1) => x,
            _ => return None,
        };
    }
    Some(shape)
}

/// Whether a result may be declared as `declared` where the rule says `inferred`: the same type, or
/// another float width where the operator computes its result in floats and no attribute names the
/// width.
pub fn accepts(op: &Op, inferred: &Type, declared: &Type) -> bool {
    if inferred == declared {
        return true;
    }
    float_width_is_free(op)
        && inferred.elem.is_float()
        && declared.elem.is_float()
        && inferred.shape == declared.shape
        && inferred.quant == declared.quant
}

/// The number of operands that an operator takes; `None` where any number will do (at least one).
pub fn operand_count(op: &Op) -> Option<usize> {
    match op {
        Op::Input { .. } | Op::Const(_) => Some(0),
        Op::Unary(_)
        | Op::Cast { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Expand { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::TopK { .. }
        | Op::ArgMax { .. }
        | Op::CumSum { .. }
        | Op::Trilu { .. }
        | Op::RandomNormal { .. }
        | Op::Reduce { .. }
        | Op::Softmax { .. }
        | Op::Quantize { .. }
        | Op::QuantizeParts { .. }
        | Op::Dequantize { .. } => Some(1),
        Op::Binary(_) | Op::Gather { .. } | Op::GatherElements { .. } => Some(2),
        Op::Where | Op::ScatterElements { .. } | Op::ScatterNd | Op::Rotary { .. } => Some(3),
        Op::Concat { .. } | Op::Cache => None,
        Op::LayerNorm { affine, .. } => Some(if *affine { 3 } else { 1 }),
        Op::RmsNorm { affine, .. } => Some(if *affine { 2 } else { 1 }),
        Op::Matmul(m) => Some(2 + usize::from(m.bias) + usize::from(m.residual)),
        Op::Attention(a) => Some(a.operands()),
        // Rotations that are i8 bring their rest along.
        Op::HashSort(_) => None,
        Op::ChunkAttention(a) => Some(a.operands().count),
        Op::Embedding { tables } => Some(tables.saturating_mul(2)),
    }
}

fn single(op: &Op, x: &[&Type]) -> Result<Type, Diagnostic> {
    match op {
        Op::Input { .. } | Op::Const(_) | Op::TopK { .. } => {
            unreachable!("has no rule for one result")
        }
        Op::Unary(f) => elementwise::unary(*f, x[0]),
        Op::Binary(f) => elementwise::binary(*f, x[0], x[1]),
        Op::Where => elementwise::select(x[0], x[1], x[2]),
        Op::Cast { to } => elementwise::cast(x[0], *to),
        Op::Reshape { shape } => layout::reshape(x[0], shape),
        Op::Transpose { perm } => layout::transpose(x[0], perm),
        Op::Expand { shape } => layout::expand(x[0], shape),
        Op::Concat { axis } => layout::concat(x, *axis),
        Op::Slice { start, count, step } => layout::slice(x[0], start, count, step),
        Op::Pad { before, after, .. } => layout::pad(x[0], before, after),
        Op::Gather { axis } => index::gather(x[0], x[1], *axis),
        Op::GatherElements { axis } => index::gather_elements(x[0], x[1], *axis),
        Op::ScatterElements { axis } => index::scatter_elements(x[0], x[1], x[2], *axis),
        Op::ScatterNd => index::scatter_nd(x[0], x[1], x[2]),
        Op::ArgMax { axis, keep } => index::arg_max(x[0], *axis, *keep),
        Op::CumSum { axis } => index::cum_sum(x[0], *axis),
        Op::Trilu { .. } => index::trilu(x[0]),
        Op::RandomNormal { .. } => index::random_normal(x[0]),
        Op::Reduce { kind, axes, keep } => normalize::reduce(x[0], *kind, axes, *keep),
        Op::Softmax { axis } => normalize::softmax(x[0], *axis),
        Op::LayerNorm { eps, .. } | Op::RmsNorm { eps, .. } => normalize::norm(x[0], &x[1..], *eps),
        Op::Matmul(attrs) => product::matmul(attrs, x),
        Op::Attention(attrs) => product::attention(attrs, x),
        Op::HashSort(attrs) => chunk::hash_sort(attrs, x),
        Op::ChunkAttention(attrs) => chunk::chunk_attention(attrs, x),
        Op::Embedding { .. } => product::embedding(x),
        Op::Cache => layout::cache(x),
        Op::Rotary { heads, .. } => product::rotary(x[0], x[1], x[2], *heads),
        Op::Quantize { quant } => quantize::quantize(x[0], *quant),
        Op::QuantizeParts { group, scale } => quantize::quantize_parts(x[0], *group, *scale),
        Op::Dequantize { to } => quantize::dequantize(x[0], *to),
    }
}

fn check_count(op: &Op, found: usize) -> Result<(), Diagnostic> {
    let message = match operand_count(op) {
        Some(count) if count == found => None,
        Some(count) => Some(format!("takes {count} operands and has {found}")),
        None if found == 0 => Some("takes one operand or more and has none".to_owned()),
        None => None,
    };
    match (message, op) {
        (Some(message), _) => Err(Diagnostic::error("operand-count", message)),
        (None, Op::Embedding { tables: 0 }) => Err(Diagnostic::error(
            "operand-count",
            "takes at least one pair of indices and table",
        )),
        (None, _) => Ok(()),
    }
}

/// Whether the operator computes floats whose width no attribute names. Operators that only move
/// elements keep the width of their operand.
pub(crate) fn float_width_is_free(op: &Op) -> bool {
    match op {
        Op::Unary(_)
        | Op::Binary(_)
        | Op::Where
        | Op::Expand { .. }
        | Op::CumSum { .. }
        | Op::RandomNormal { .. }
        | Op::Reduce { .. }
        | Op::Softmax { .. }
        | Op::LayerNorm { .. }
        | Op::RmsNorm { .. }
        | Op::Embedding { .. }
        | Op::Rotary { .. }
        | Op::Gather { .. } => true,
        Op::Input { .. }
        | Op::Const(_)
        | Op::Cast { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Concat { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::GatherElements { .. }
        | Op::ScatterElements { .. }
        | Op::ScatterNd
        | Op::TopK { .. }
        | Op::ArgMax { .. }
        | Op::Trilu { .. }
        | Op::Matmul(_)
        | Op::Attention(_)
        | Op::HashSort(_)
        | Op::ChunkAttention(_)
        | Op::Cache
        | Op::Quantize { .. }
        | Op::QuantizeParts { .. }
        | Op::Dequantize { .. } => false,
    }
}

/// Whether a type can exist: it is not too large and its quantisation fits elements and shape.
///
/// # Errors
/// `size-limit` or `quant-fits`.
pub fn well_formed(ty: &Type) -> Result<(), Diagnostic> {
    within_limit(ty)?;
    fits(ty)
}

/// A tensor whose size in bytes no address can hold is refused, so that sizes can be computed freely.
fn within_limit(ty: &Type) -> Result<(), Diagnostic> {
    // Zero-length axes must not hide an overflow of the others.
    let mut bytes = Elem::F64.bytes();
    for &n in &ty.shape {
        bytes = match bytes.checked_mul(n.max(1)) {
            Some(bytes) if bytes <= LARGEST => bytes,
            _ => {
                return Err(Diagnostic::error(
                    "size-limit",
                    format!("{ty} is too large"),
                ));
            }
        };
    }
    Ok(())
}

/// Bytes of the largest tensor (at eight bytes an element).
const LARGEST: usize = 1 << 48;

/// The axis exists.
fn check_axis(ty: &Type, axis: usize) -> Result<(), Diagnostic> {
    if axis < ty.rank() {
        return Ok(());
    }
    Err(Diagnostic::error(
        "axis-in-range",
        format!("axis {axis} is not an axis of {ty}"),
    ))
}

/// The tensor has at least so many axes.
fn check_rank(ty: &Type, least: usize) -> Result<(), Diagnostic> {
    if ty.rank() >= least {
        return Ok(());
    }
    Err(Diagnostic::error(
        "enough-axes",
        format!("needs at least {least} axes, found {ty}"),
    ))
}

/// The tensor is not quantised.
fn check_plain(ty: &Type) -> Result<(), Diagnostic> {
    match ty.quant {
        None => Ok(()),
        Some(_) => Err(
            Diagnostic::error("operand-not-quantized", format!("cannot work on {ty}"))
                .help("dequantize it first"),
        ),
    }
}

/// The elements are floats.
fn check_float(ty: &Type) -> Result<(), Diagnostic> {
    check_plain(ty)?;
    if ty.elem.is_float() {
        return Ok(());
    }
    Err(Diagnostic::error(
        "operand-is-float",
        format!("needs floats, found {ty}"),
    ))
}

/// The elements are numbers.
fn check_number(ty: &Type) -> Result<(), Diagnostic> {
    check_plain(ty)?;
    if ty.elem != Elem::Bool {
        return Ok(());
    }
    Err(Diagnostic::error(
        "operand-is-number",
        format!("needs numbers, found {ty}"),
    ))
}

/// The elements are indices.
fn check_index(ty: &Type) -> Result<(), Diagnostic> {
    if ty.quant.is_none() && matches!(ty.elem, Elem::I32 | Elem::I64) {
        return Ok(());
    }
    Err(Diagnostic::error(
        "operand-is-index",
        format!("needs i64 or i32 indices, found {ty}"),
    ))
}

/// The common element type: the same, or the wider of two floats.
fn common_elem(a: &Type, b: &Type) -> Result<Elem, Diagnostic> {
    if a.elem == b.elem {
        return Ok(a.elem);
    }
    if a.elem.is_float() && b.elem.is_float() {
        return Ok(if a.elem.bytes() >= b.elem.bytes() {
            a.elem
        } else {
            b.elem
        });
    }
    Err(Diagnostic::error(
        "elements-agree",
        format!("{a} and {b} have different elements"),
    ))
}

fn common_shape(a: &Type, b: &Type) -> Result<Vec<usize>, Diagnostic> {
    broadcast(&a.shape, &b.shape).ok_or_else(|| {
        Diagnostic::error("shapes-broadcast", format!("{a} and {b} do not broadcast"))
    })
}

/// The tensor has this shape.
fn check_shape(what: &str, ty: &Type, shape: &[usize]) -> Result<(), Diagnostic> {
    if ty.shape == shape {
        return Ok(());
    }
    Err(Diagnostic::error(
        "shapes-agree",
        format!("{what} must have shape {shape:?}, found {ty}"),
    ))
}

#[cfg(test)]
mod tests;
