//! Softmax and normalisations.

use packwright_ir::Op;
use packwright_ir::diag::Diagnostic;
use packwright_ir::op::{Binary, Unary};

use crate::builder::{Arg, Builder};
use crate::codes;
use crate::node::{self, Node};

/// `Softmax`.
pub(crate) fn softmax(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = node.arg(0)?;
    let shape = b.shape(x)?;
    if node.opset >= 13 {
        let axis = node::axis(node.attrs.int("axis", -1)?, shape.len())?;
        return Ok(vec![b.emit(Op::Softmax { axis }, &[x])?]);
    }
    // Before version 13: over all axes from this one on together.
    let axis = node::axis(node.attrs.int("axis", 1)?, shape.len())?;
    Ok(vec![softmax_from(b, x, axis)?])
}

/// Over all axes from this one on together.
fn softmax_from(b: &mut Builder, x: &Arg, axis: usize) -> Result<Arg, Diagnostic> {
    let shape = b.shape(x)?;
    let (outer, inner) = shape.split_at(axis);
    if inner.len() == 1 {
        return b.emit(Op::Softmax { axis }, &[x]);
    }
    let flat = b.reshape(x, &[outer.iter().product(), inner.iter().product()])?;
    let flat = b.emit(Op::Softmax { axis: 1 }, &[&flat])?;
    b.reshape(&flat, &shape)
}

/// `LogSoftmax`.
pub(crate) fn log_softmax(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let result = softmax(b, node)?;
    Ok(vec![b.emit(Op::Unary(Unary::Log), &[&result[0]])?])
}

/// `com.microsoft.BiasSoftmax`: of scores and what is added to them, over the last axes together.
pub(crate) fn bias_softmax(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let sum = b.emit(Op::Binary(Binary::Add), &[node.arg(0)?, node.arg(1)?])?;
    let shape = b.shape(&sum)?;
    let axis = node::axis(node.attrs.int("axis", 1)?, shape.len())?;
    if b.shape(node.arg(0)?)? != shape {
        return Err(codes::form("the scores are repeated for the mask"));
    }
    Ok(vec![softmax_from(b, &sum, axis)?])
}

/// `BatchNormalization` with the statistics of the training.
pub(crate) fn batch_norm(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    if node.attrs.flag("training_mode", false)? {
        return Err(codes::form("training is not supported"));
    }
    let x = node.arg(0)?;
    let ty = b.ty(x)?;
    let [_, channels, ref rest @ ..] = ty.shape[..] else {
        return Err(codes::form(format!("{ty} has no channels")));
    };
    let mut each = vec![channels];
    each.resize(1 + rest.len(), 1);
    let mut parts = Vec::with_capacity(4);
    for at in 1..5 {
        parts.push(b.reshape(node.arg(at)?, &each)?);
    }
    let eps = b.scalar(ty.elem, f64::from(node.attrs.float("epsilon", 1e-5)?));
    let variance = b.emit(Op::Binary(Binary::Add), &[&parts[3], &eps])?;
    let inverse = b.emit(Op::Unary(Unary::Rsqrt), &[&variance])?;
    let factor = b.emit(Op::Binary(Binary::Mul), &[&parts[0], &inverse])?;
    let centred = b.emit(Op::Binary(Binary::Sub), &[x, &parts[2]])?;
    let scaled = b.emit(Op::Binary(Binary::Mul), &[&centred, &factor])?;
    Ok(vec![
        b.emit(Op::Binary(Binary::Add), &[&scaled, &parts[1]])?,
    ])
}

/// `LayerNormalization`.
pub(crate) fn layer_norm(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let eps = node.attrs.float("epsilon", 1e-5)?;
    let x = node.arg(0)?;
    let shape = b.shape(x)?;
    let flat = last_axes_joined(b, node, x)?;
    let y = layer_norm_of(b, &flat, node.arg(1)?, node.opt(2), eps)?;
    Ok(vec![b.reshape(&y, &shape)?])
}

/// `RMSNormalization`, `SimplifiedLayerNormalization`.
pub(crate) fn rms_norm(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let eps = node.attrs.float("epsilon", 1e-5)?;
    let x = node.arg(0)?;
    let shape = b.shape(x)?;
    let flat = last_axes_joined(b, node, x)?;
    let y = rms_norm_of(b, &flat, node.arg(1)?, eps)?;
    Ok(vec![b.reshape(&y, &shape)?])
}

/// `com.microsoft.SkipLayerNormalization`: the sum is normalised and may be a result as well.
pub(crate) fn skip_layer_norm(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let eps = node.attrs.float("epsilon", 1e-12)?;
    let sum = skip_sum(b, node, 4)?;
    let normed = layer_norm_of(b, &sum, node.arg(2)?, node.opt(3), eps)?;
    // Mean and deviation are not computed.
    Ok(vec![normed, Arg::Lost, Arg::Lost, sum])
}

/// `com.microsoft.SkipSimplifiedLayerNormalization`.
pub(crate) fn skip_rms_norm(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let eps = node.attrs.float("epsilon", 1e-12)?;
    let sum = skip_sum(b, node, 3)?;
    let normed = rms_norm_of(b, &sum, node.arg(2)?, eps)?;
    // Mean and deviation are not computed.
    Ok(vec![normed, Arg::Lost, Arg::Lost, sum])
}

fn skip_sum(b: &mut Builder, node: &Node<'_>, bias_at: usize) -> Result<Arg, Diagnostic> {
    let mut sum = b.emit(Op::Binary(Binary::Add), &[node.arg(0)?, node.arg(1)?])?;
    if let Some(bias) = node.opt(bias_at) {
        sum = b.emit(Op::Binary(Binary::Add), &[&sum, bias])?;
    }
    Ok(sum)
}

/// Normalised rows, with a gain and maybe a shift for each column.
pub(crate) fn layer_norm_of(
    b: &mut Builder,
    x: &Arg,
    gamma: &Arg,
    beta: Option<&Arg>,
    eps: f32,
) -> Result<Arg, Diagnostic> {
    let gamma = row(b, x, gamma)?;
    let beta = match beta {
        Some(beta) => row(b, x, beta)?,
        None => {
            let ty = b.ty(&gamma)?;
            let zero = b.scalar(ty.elem, 0.0);
            b.expand(&zero, &ty.shape)?
        }
    };
    b.emit(Op::LayerNorm { eps, affine: true }, &[x, &gamma, &beta])
}

fn rms_norm_of(b: &mut Builder, x: &Arg, gamma: &Arg, eps: f32) -> Result<Arg, Diagnostic> {
    let gamma = row(b, x, gamma)?;
    b.emit(Op::RmsNorm { eps, affine: true }, &[x, &gamma])
}

/// A factor for each element of a row, whatever leading axes of length 1 it has.
fn row(b: &mut Builder, x: &Arg, factor: &Arg) -> Result<Arg, Diagnostic> {
    let columns = b.ty(x)?.columns();
    if b.ty(factor)?.elements() == columns {
        b.reshape(factor, &[columns])
    } else {
        Ok(factor.clone())
    }
}

/// All axes that are normalised together as the last one.
fn last_axes_joined(b: &mut Builder, node: &Node<'_>, x: &Arg) -> Result<Arg, Diagnostic> {
    let mut shape = b.shape(x)?;
    let axis = node::axis(node.attrs.int("axis", -1)?, shape.len())?;
    let columns = shape.split_off(axis).iter().product();
    shape.push(columns);
    b.reshape(x, &shape)
}
