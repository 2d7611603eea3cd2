//! Numbers as integers with scales: pairs of QuantizeLinear and DequantizeLinear, operators on integers, and
//! scales that are found at run time.
//!
//! Integers of activations are i8 in the graph: u8 less 128, its zero point too. Stored weights stay as they
//! are; their floats are derived from them. Where a scale is found at run time there is no number to keep:
//! the activation stays what it is, its scale is 1.

use bytes::Bytes;
use packwright_ir::diag::Diagnostic;
use packwright_ir::eval::konst as stored;
use packwright_ir::konst::{Derivation, Source};
use packwright_ir::op::{Binary, Reduce, Unary};
use packwright_ir::tensor::Tensor;
use packwright_ir::{ConstId, Elem, Op, Quant, Type};

use crate::builder::{Arg, Builder};
use crate::codes;
use crate::node::{self, Node};
use crate::op::product::{linear, multiply, with_bias};
use crate::op::{elementwise, embedding, fused_attention, norm};
use crate::values;

/// What u8 is more than i8.
const SHIFT: i64 = 128;

/// `QuantizeLinear`.
pub(crate) fn quantize_linear(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    blockless(node)?;
    let x = node.arg(0)?;
    if b.as_const(x).is_some() {
        // Weights that the model rounds itself: they are rounded here as well.
        b.warnings
            .push(codes::requantized("the model rounds them when it runs"));
        return Ok(vec![x.clone()]);
    }
    let missing = match node.attrs.opt_int("output_dtype")? {
        None | Some(0) => Elem::U8,
        Some(code) => values::need_elem(i32::try_from(code).unwrap_or(-1), &b.label)?,
    };
    let grid = Grid::of(b, node.arg(1)?, node.opt(2), missing)?;
    Ok(vec![grid.quantize(b, x)?])
}

/// `DequantizeLinear`.
pub(crate) fn dequantize_linear(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    blockless(node)?;
    let axis = node.attrs.int("axis", 1)?;
    Ok(vec![dequantize(
        b,
        node.arg(0)?,
        node.arg(1)?,
        node.opt(2),
        axis,
    )?])
}

/// `DynamicQuantizeLinear`.
pub(crate) fn dynamic_quantize(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let (scale, zero) = (b.scalar(Elem::F32, 1.0), b.scalar(Elem::U8, 0.0));
    Ok(vec![node.arg(0)?.clone(), scale, zero])
}

/// `MatMulInteger`.
pub(crate) fn matmul_integer(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let one = b.scalar(Elem::F32, 1.0);
    let x = dequantize(b, node.arg(0)?, &one, node.opt(2), -2)?;
    let y = dequantize(b, node.arg(1)?, &one, node.opt(3), -1)?;
    Ok(vec![multiply(b, &x, &y, false, 1.0)?])
}

/// `com.microsoft.MatMulIntegerToFloat`.
pub(crate) fn matmul_to_float(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = dequantize(b, node.arg(0)?, node.arg(2)?, node.opt(4), -2)?;
    let y = dequantize(b, node.arg(1)?, node.arg(3)?, node.opt(5), -1)?;
    Ok(vec![linear(b, &x, &y, node.opt(6))?])
}

/// `com.microsoft.DynamicQuantizeMatMul`.
pub(crate) fn dynamic_matmul(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let y = dequantize(b, node.arg(1)?, node.arg(2)?, node.opt(3), -1)?;
    Ok(vec![linear(b, node.arg(0)?, &y, node.opt(4))?])
}

/// `QLinearMatMul`.
pub(crate) fn qlinear_matmul(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = dequantize(b, node.arg(0)?, node.arg(1)?, node.opt(2), -2)?;
    let y = dequantize(b, node.arg(3)?, node.arg(4)?, node.opt(5), -1)?;
    let product = multiply(b, &x, &y, false, 1.0)?;
    result(b, node, &product, 6)
}

/// `com.microsoft.QGemm`.
pub(crate) fn qgemm(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    if node.attrs.flag("transA", false)? {
        return Err(codes::form("a transposed first factor is not supported"));
    }
    let transposed = node.attrs.flag("transB", false)?;
    let channel = if transposed { 0 } else { 1 };
    let x = dequantize(b, node.arg(0)?, node.arg(1)?, node.opt(2), -2)?;
    let y = dequantize(b, node.arg(3)?, node.arg(4)?, node.opt(5), channel)?;
    let alpha = node.attrs.float("alpha", 1.0)?;
    let mut sum = multiply(b, &x, &y, transposed, alpha)?;
    if let Some(bias) = node.opt(6) {
        let step = steps(b, node.arg(1)?, node.arg(4)?, alpha)?;
        let bias = dequantize(b, bias, &step, None, 0)?;
        let columns = b.ty(&sum)?.columns();
        let bias = b.reshape(&bias, &[columns])?;
        sum = with_bias(b, &sum, &bias)?;
    }
    match node.opt(7) {
        Some(_) => result(b, node, &sum, 7),
        None => Ok(vec![sum]),
    }
}

/// The scales of a product's sums.
fn steps(b: &Builder, x: &Arg, y: &Arg, alpha: f32) -> Result<Arg, Diagnostic> {
    let (Some(x), Some(y)) = (numbers(b, x), numbers(b, y)) else {
        return Err(codes::form(
            "the scales are not known when the model is imported",
        ));
    };
    let first = x.first().copied().unwrap_or(1.0) as f32;
    let steps: Vec<f32> = y.iter().map(|&y| first * y as f32 * alpha).collect();
    Ok(b.known(Tensor::f32(&[steps.len()], steps)))
}

/// `com.microsoft.QLinearAdd` and `QLinearMul`.
fn qlinear_binary(b: &mut Builder, node: &Node<'_>, op: Binary) -> Result<Vec<Arg>, Diagnostic> {
    let x = dequantize(b, node.arg(0)?, node.arg(1)?, node.opt(2), 0)?;
    let y = dequantize(b, node.arg(3)?, node.arg(4)?, node.opt(5), 0)?;
    let z = b.emit(Op::Binary(op), &[&x, &y])?;
    result(b, node, &z, 6)
}

/// `com.microsoft.QLinearAdd`.
pub(crate) fn qlinear_add(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    qlinear_binary(b, node, Binary::Add)
}

/// `com.microsoft.QLinearMul`.
pub(crate) fn qlinear_mul(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    qlinear_binary(b, node, Binary::Mul)
}

/// `com.microsoft.QLinearSigmoid`.
pub(crate) fn qlinear_sigmoid(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = dequantize(b, node.arg(0)?, node.arg(1)?, node.opt(2), 0)?;
    let y = b.emit(Op::Unary(Unary::Sigmoid), &[&x])?;
    result(b, node, &y, 3)
}

/// `com.microsoft.QLinearSoftmax`; the version of the operator set of ONNX is an attribute.
pub(crate) fn qlinear_softmax(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = dequantize(b, node.arg(0)?, node.arg(1)?, node.opt(2), 0)?;
    let plain = Node {
        opset: node.attrs.int("opset", 13)?,
        ..node.with(vec![Some(x)])
    };
    let y = norm::softmax(b, &plain)?;
    result(b, node, &y[0], 3)
}

/// `com.microsoft.QLinearConcat`: the result's scale and zero point, then threes of parts.
pub(crate) fn qlinear_concat(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let mut parts = Vec::new();
    for at in (2..node.args.len()).step_by(3) {
        parts.push(dequantize(
            b,
            node.arg(at)?,
            node.arg(at + 1)?,
            node.opt(at + 2),
            0,
        )?);
    }
    let rank = match parts.first() {
        Some(first) => b.shape(first)?.len(),
        None => return Err(codes::form("nothing is joined")),
    };
    let axis = node::axis(node.attrs.int("axis", 0)?, rank)?;
    let joined = b.concat(&parts.iter().collect::<Vec<_>>(), axis)?;
    result(b, node, &joined, 0)
}

/// `com.microsoft.QLinearWhere`.
pub(crate) fn qlinear_where(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = dequantize(b, node.arg(1)?, node.arg(2)?, node.opt(3), 0)?;
    let y = dequantize(b, node.arg(4)?, node.arg(5)?, node.opt(6), 0)?;
    let chosen = node.with(vec![node.opt(0).cloned(), Some(x), Some(y)]);
    let z = elementwise::select(b, &chosen)?;
    result(b, node, &z[0], 7)
}

/// `com.microsoft.QLinearReduceMean`.
pub(crate) fn qlinear_mean(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = dequantize(b, node.arg(0)?, node.arg(1)?, node.opt(2), 0)?;
    let rank = b.shape(&x)?.len();
    let axes = match node.attrs.ints("axes")? {
        Some(axes) if !axes.is_empty() => node::axes(axes, rank)?,
        _ => (0..rank).collect(),
    };
    let op = Op::Reduce {
        kind: Reduce::Mean,
        axes,
        keep: node.attrs.flag("keepdims", true)?,
    };
    let y = b.emit(op, &[&x])?;
    result(b, node, &y, 3)
}

/// `com.microsoft.QAttention`.
pub(crate) fn qattention(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = dequantize(b, node.arg(0)?, node.arg(3)?, node.opt(6), -2)?;
    let w = dequantize(b, node.arg(1)?, node.arg(4)?, node.opt(7), -1)?;
    let (bias, mask, past) = (node.opt(2), node.opt(5), node.opt(8));
    let plain = node.with(vec![
        Some(x),
        Some(w),
        bias.cloned(),
        mask.cloned(),
        past.cloned(),
    ]);
    fused_attention::attention(b, &plain)
}

/// `com.microsoft.QEmbedLayerNormalization`: tables, gains and shifts as integers, with their scales and zero
/// points behind the mask.
pub(crate) fn qembed_layer_norm(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let mut args: Vec<Option<Arg>> = vec![node.opt(0).cloned(), node.opt(1).cloned()];
    for part in 0..5 {
        args.push(match node.opt(2 + part) {
            Some(stored) => {
                let (scale, zero) = (node.arg(8 + part)?, node.opt(13 + part));
                Some(dequantize(b, stored, scale, zero, 0)?)
            }
            None => None,
        });
    }
    args.push(node.opt(7).cloned());
    let plain = node.with(args);
    embedding::embed_layer_norm(b, &plain)
}

/// A float as the integers of a scale and a zero point that stand at `at`.
fn result(b: &mut Builder, node: &Node<'_>, x: &Arg, at: usize) -> Result<Vec<Arg>, Diagnostic> {
    let grid = Grid::of(b, node.arg(at)?, node.opt(at + 1), Elem::U8)?;
    Ok(vec![grid.quantize(b, x)?])
}

fn blockless(node: &Node<'_>) -> Result<(), Diagnostic> {
    match node.attrs.int("block_size", 0)? {
        0 => Ok(()),
        _ => Err(codes::form("scales for blocks are not supported")),
    }
}

/// A scale and a zero point that are known, of integers from -128 to 127.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Grid {
    scale: f32,
    zero: i8,
}

impl Grid {
    /// Of operands; `missing` is the type of integers whose zero point is left out.
    fn of(b: &Builder, scale: &Arg, zero: Option<&Arg>, missing: Elem) -> Result<Self, Diagnostic> {
        let one = |numbers: Option<Vec<f64>>| match numbers.as_deref() {
            Some([number]) => Ok(*number),
            Some(_) => Err(codes::form(
                "activations have one scale for the whole tensor",
            )),
            None => Err(codes::form(
                "the scale is not known when the model is imported",
            )),
        };
        let (elem, zero) = match zero {
            None => (missing, 0.0),
            Some(zero) => (b.ty(zero)?.elem, one(numbers(b, zero))?),
        };
        let shift = shift(elem)?;
        Ok(Self {
            scale: one(numbers(b, scale))? as f32,
            zero: (zero as i64 - shift) as i8,
        })
    }

    fn quantize(self, b: &mut Builder, x: &Arg) -> Result<Arg, Diagnostic> {
        let Self { scale, zero } = self;
        let quant = Quant::Affine { scale, zero };
        b.emit(Op::Quantize { quant }, &[x])
    }
}

/// What integers of a type are more than the graph's.
fn shift(elem: Elem) -> Result<i64, Diagnostic> {
    match elem {
        Elem::U8 => Ok(SHIFT),
        Elem::I8 => Ok(0),
        other => Err(codes::form(format!(
            "integers of {other} are not supported"
        ))),
    }
}

/// The numbers of a constant, where they are there.
fn numbers(b: &Builder, arg: &Arg) -> Option<Vec<f64>> {
    match (arg.tensor(), b.as_const(arg)) {
        (Some(tensor), _) => Some(values::floats(tensor)),
        (None, Some(id)) if stored::has_values(&b.graph, id) => {
            let tensor = stored::value(&b.graph, id).ok()?;
            Some(values::floats(&tensor))
        }
        _ => None,
    }
}

/// The floats that integers stand for. What is float already was quantised with a scale found at run time,
/// or comes from a constant.
fn dequantize(
    b: &mut Builder,
    x: &Arg,
    scale: &Arg,
    zero: Option<&Arg>,
    axis: i64,
) -> Result<Arg, Diagnostic> {
    let ty = b.ty(x)?;
    if ty.elem.is_float() {
        return Ok(x.clone());
    }
    if let Some(Quant::Affine {
        scale: own,
        zero: at,
    }) = ty.quant
    {
        let grid = Grid::of(b, scale, zero, Elem::U8)?;
        let signed = zero.is_none() && at == 0 && grid.scale == own;
        if grid
            != (Grid {
                scale: own,
                zero: at,
            })
            && !signed
        {
            return Err(codes::form(
                "the scale or zero point is not the one that it was quantised with",
            ));
        }
        return b.emit(Op::Dequantize { to: Elem::F32 }, &[x]);
    }
    if let Some(id) = kept(b, x, &ty)? {
        return weights(b, id, scale, zero, axis);
    }
    if let Some((table, indices)) = gathered(b, x) {
        let table = weights(b, table, scale, zero, axis)?;
        if shifted(b, &table) {
            b.warnings.push(codes::requantized(
                "the table's zero point is not in the middle",
            ));
        }
        return b.emit(Op::Gather { axis: 0 }, &[&table, &indices]);
    }
    by_numbers(b, x, scale, zero, axis)
}

/// Integers that the graph stores: those of large constants that are no repeated numbers.
fn kept(b: &mut Builder, x: &Arg, ty: &Type) -> Result<Option<ConstId>, Diagnostic> {
    let large = x.tensor().is_some() && ty.elements() > SMALL;
    if b.as_const(x).is_none() && !large {
        return Ok(None);
    }
    let value = b.value(x)?;
    Ok(b.graph.as_const(value))
}

/// Whether floats stand for integers with zero points.
fn shifted(b: &Builder, floats: &Arg) -> bool {
    let source = b.as_const(floats).map(|id| &b.graph.konst(id).source);
    let Some(Source::Derived(Derivation::Dequantize { of })) = source else {
        return false;
    };
    matches!(
        b.graph.konst(*of).ty.quant,
        Some(Quant::Affine { .. } | Quant::Shifted { .. })
    )
}

/// Elements up to which a constant is computed now.
const SMALL: usize = 16;

/// Rows of a stored table of integers.
fn gathered(b: &Builder, x: &Arg) -> Option<(ConstId, Arg)> {
    let Arg::Graph(value) = x else {
        return None;
    };
    if *b.graph.op(value.node) != (Op::Gather { axis: 0 }) {
        return None;
    }
    let (table, indices) = (
        b.graph.operand(value.node, 0)?,
        b.graph.operand(value.node, 1)?,
    );
    Some((b.graph.as_const(table)?, Arg::Graph(indices)))
}

/// `(x - zero) · scale`, step by step.
fn by_numbers(
    b: &mut Builder,
    x: &Arg,
    scale: &Arg,
    zero: Option<&Arg>,
    axis: i64,
) -> Result<Arg, Diagnostic> {
    let shape = b.shape(x)?;
    let along = |b: &mut Builder, arg: &Arg| match b.ty(arg)?.elements() {
        1 => b.reshape(arg, &[]),
        n => {
            let axis = node::axis(axis, shape.len())?;
            let mut each = vec![1; shape.len()];
            each[axis] = n;
            b.reshape(arg, &each)
        }
    };
    let mut y = b.cast(x, Elem::F32)?;
    if let Some(zero) = zero {
        let zero = along(b, zero)?;
        let zero = b.cast(&zero, Elem::F32)?;
        y = b.emit(Op::Binary(Binary::Sub), &[&y, &zero])?;
    }
    let scale = along(b, scale)?;
    b.emit(Op::Binary(Binary::Mul), &[&y, &scale])
}

/// Stored integers as the floats that they stand for, derived from them where the machine can keep them.
fn weights(
    b: &mut Builder,
    id: ConstId,
    scale: &Arg,
    zero: Option<&Arg>,
    axis: i64,
) -> Result<Arg, Diagnostic> {
    let ty = b.graph.konst(id).ty.clone();
    if !matches!(ty.elem, Elem::I8 | Elem::U8) {
        let zeros = zero.map_or(Some(vec![0.0]), |zero| numbers(b, zero));
        return unpacked(b, id, scale, zeros, axis);
    }
    let shift = shift(ty.elem)?;
    let zeros: Vec<i64> = match zero.map(|zero| numbers(b, zero)) {
        None => vec![-shift],
        // Without values they are taken to be in the middle.
        Some(None) => vec![0],
        Some(Some(zeros)) => zeros.into_iter().map(|zero| zero as i64 - shift).collect(),
    };
    if zeros.iter().any(|&zero| i8::try_from(zero).is_err()) {
        return Err(codes::form(format!("the zero points are {zeros:?}")));
    }
    let first = zeros.first().copied().unwrap_or(0);
    let one = zeros.iter().all(|&zero| zero == first);
    let name = b.graph.konst(id).name.clone();
    let quantized = match b.ty(scale)?.elements() {
        1 if one => {
            let step = numbers(b, scale).and_then(|list| list.first().copied());
            let scale = step
                .ok_or_else(|| codes::form("the scale is not known when the model is imported"))?
                as f32;
            let quant = match first as i8 {
                0 => Quant::Tensor { scale },
                zero => Quant::Affine { scale, zero },
            };
            let source = signed(b, id);
            b.add_const(&name, Type::quantized(ty.shape.clone(), quant), source)
        }
        steps => {
            let axis = node::axis(axis, ty.rank())?;
            let count = ty.shape[axis];
            if [steps, zeros.len()].iter().any(|n| ![1, count].contains(n)) {
                return Err(codes::form(format!(
                    "{ty} has {steps} scales and {} zero points along axis {axis}",
                    zeros.len()
                )));
            }
            let (scales, quant) = if one && first == 0 {
                (stored_scales(b, scale, count)?, Quant::Channel { axis })
            } else {
                (pairs(b, scale, &zeros, count), Quant::Shifted { axis })
            };
            let values = match ty.elem {
                Elem::I8 => id,
                _ => {
                    let source = signed(b, id);
                    b.add_const(&name, Type::new(Elem::I8, ty.shape.clone()), source)
                }
            };
            let how = Derivation::Scaled {
                of: [values, scales],
            };
            let ty = Type::quantized(ty.shape.clone(), quant);
            b.add_const(&name, ty, Source::Derived(how))
        }
    };
    let how = Derivation::Dequantize { of: quantized };
    Ok(b.derive(quantized, Type::new(Elem::F32, ty.shape), how))
}

/// Scales of channels as a constant.
fn stored_scales(b: &mut Builder, scale: &Arg, count: usize) -> Result<ConstId, Diagnostic> {
    let scales = b.reshape(scale, &[count])?;
    let scales = b.cast(&scales, Elem::F32)?;
    let scales = b.value(&scales)?;
    b.graph
        .as_const(scales)
        .ok_or_else(|| codes::form("the scales are not stored"))
}

/// Scales of channels, each with its zero point behind it, as a constant.
fn pairs(b: &mut Builder, scale: &Arg, zeros: &[i64], count: usize) -> ConstId {
    let source = match numbers(b, scale) {
        None => Source::Absent,
        Some(scales) => {
            let pair = |i: usize| {
                let (scale, zero) = (scales[i % scales.len()], zeros[i % zeros.len()]);
                [scale as f32, zero as f32].map(f32::to_le_bytes)
            };
            let bytes: Vec<u8> = (0..count).flat_map(pair).flatten().collect();
            Source::Bytes(Bytes::from(bytes))
        }
    };
    b.add_const(
        "scales and zero points",
        Type::new(Elem::F32, [count, 2]),
        source,
    )
}

/// The integers of a constant, u8 less 128.
fn signed(b: &Builder, id: ConstId) -> Source {
    let konst = b.graph.konst(id);
    match (konst.ty.elem, &konst.source) {
        (Elem::U8, Source::Bytes(bytes)) => {
            let shifted: Vec<u8> = bytes.iter().map(|byte| byte ^ 0x80).collect();
            Source::Bytes(Bytes::from(shifted))
        }
        (Elem::U8, _) => Source::Absent,
        (_, source) => source.clone(),
    }
}

/// Stored integers as floats of their own.
fn unpacked(
    b: &mut Builder,
    id: ConstId,
    scale: &Arg,
    zeros: Option<Vec<f64>>,
    axis: i64,
) -> Result<Arg, Diagnostic> {
    let konst = b.graph.konst(id);
    let (name, ty) = (konst.name.clone(), konst.ty.clone());
    let floats = Type::new(Elem::F32, ty.shape.clone());
    let (scales, zeros) = match (numbers(b, scale), zeros) {
        (Some(scales), Some(zeros)) if stored::has_values(&b.graph, id) => (scales, zeros),
        _ => {
            let id = b.add_const(&name, floats, Source::Absent);
            return Ok(Arg::Graph(b.graph.const_value(id)));
        }
    };
    let (length, inner) = match scales.len().max(zeros.len()) {
        1 => (1, 1),
        _ => {
            let axis = node::axis(axis, ty.rank())?;
            (ty.shape[axis], ty.shape[axis + 1..].iter().product())
        }
    };
    if [&scales, &zeros]
        .iter()
        .any(|list| ![1, length].contains(&list.len()))
    {
        return Err(codes::form(format!(
            "scales and zero points do not fit {ty}"
        )));
    }
    let tensor = stored::value(&b.graph, id).map_err(|error| codes::fold(&error.to_string()))?;
    let at = |list: &[f64], i: usize| list[(i / inner) % length % list.len()] as f32;
    let bytes: Vec<u8> = values::floats(&tensor)
        .into_iter()
        .enumerate()
        .flat_map(|(i, q)| ((q as f32 - at(&zeros, i)) * at(&scales, i)).to_le_bytes())
        .collect();
    let id = b.add_const(&name, floats, Source::Bytes(Bytes::from(bytes)));
    Ok(Arg::Graph(b.graph.const_value(id)))
}
