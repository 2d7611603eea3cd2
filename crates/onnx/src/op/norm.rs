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
    let (outer, inner) = shape.split_at(axis);
    if inner.len() == 1 {
        return Ok(vec![b.emit(Op::Softmax { axis }, &[x])?]);
    }
    let flat = b.reshape(x, &[outer.iter().product(), inner.iter().product()])?;
    let flat = b.emit(Op::Softmax { axis: 1 }, &[&flat])?;
    Ok(vec![b.reshape(&flat, &shape)?])
}

/// `LogSoftmax`.
pub(crate) fn log_softmax(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let result = softmax(b, node)?;
    Ok(vec![b.emit(Op::Unary(Unary::Log), &[&result[0]])?])
}

/// `LayerNormalization`.
pub(crate) fn layer_norm(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    last_axis_only(b, node, node.arg(0)?)?;
    let eps = node.attrs.float("epsilon", 1e-5)?;
    Ok(vec![layer_norm_of(
        b,
        node.arg(0)?,
        node.arg(1)?,
        node.opt(2),
        eps,
    )?])
}

/// `RMSNormalization`, `SimplifiedLayerNormalization`.
pub(crate) fn rms_norm(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    last_axis_only(b, node, node.arg(0)?)?;
    let eps = node.attrs.float("epsilon", 1e-5)?;
    Ok(vec![rms_norm_of(b, node.arg(0)?, node.arg(1)?, eps)?])
}

/// `com.microsoft.SkipLayerNormalization`: the sum is normalised and may be a result as well.
pub(crate) fn skip_layer_norm(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let eps = node.attrs.float("epsilon", 1e-12)?;
    let sum = skip_sum(b, node, 4)?;
    let normed = layer_norm_of(b, &sum, node.arg(2)?, node.opt(3), eps)?;
    skip_results(node, normed, sum)
}

/// `com.microsoft.SkipSimplifiedLayerNormalization`.
pub(crate) fn skip_rms_norm(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let eps = node.attrs.float("epsilon", 1e-12)?;
    let sum = skip_sum(b, node, 3)?;
    let normed = rms_norm_of(b, &sum, node.arg(2)?, eps)?;
    skip_results(node, normed, sum)
}

fn skip_sum(b: &mut Builder, node: &Node<'_>, bias_at: usize) -> Result<Arg, Diagnostic> {
    let mut sum = b.emit(Op::Binary(Binary::Add), &[node.arg(0)?, node.arg(1)?])?;
    if let Some(bias) = node.opt(bias_at) {
        sum = b.emit(Op::Binary(Binary::Add), &[&sum, bias])?;
    }
    Ok(sum)
}

/// Mean and deviation stand between the two results and are not computed.
fn skip_results(node: &Node<'_>, normed: Arg, sum: Arg) -> Result<Vec<Arg>, Diagnostic> {
    if (1..=2).any(|at| node.attrs.0.output.get(at).is_some_and(|o| !o.is_empty())) {
        return Err(codes::form(
            "mean and deviation as results are not supported",
        ));
    }
    Ok(vec![normed, Arg::Lost, Arg::Lost, sum])
}

fn layer_norm_of(
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

fn last_axis_only(b: &mut Builder, node: &Node<'_>, x: &Arg) -> Result<(), Diagnostic> {
    let rank = b.shape(x)?.len();
    let axis = node::axis(node.attrs.int("axis", -1)?, rank)?;
    if axis + 1 == rank {
        return Ok(());
    }
    Err(codes::form("normalises over more than the last axis"))
}
