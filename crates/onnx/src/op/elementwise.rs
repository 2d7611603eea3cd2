//! Functions of single elements.

use packwright_ir::diag::Diagnostic;
use packwright_ir::op::{Binary, Unary};
use packwright_ir::{Elem, Op};

use crate::builder::{Arg, Builder};
use crate::codes;
use crate::node::Node;

pub(crate) fn unary(b: &mut Builder, node: &Node<'_>, f: Unary) -> Result<Vec<Arg>, Diagnostic> {
    Ok(vec![b.emit(Op::Unary(f), &[node.arg(0)?])?])
}

pub(crate) fn binary(b: &mut Builder, node: &Node<'_>, f: Binary) -> Result<Vec<Arg>, Diagnostic> {
    Ok(vec![b.emit(Op::Binary(f), &[node.arg(0)?, node.arg(1)?])?])
}

/// One function over all operands, from the left.
pub(crate) fn fold(b: &mut Builder, node: &Node<'_>, f: Binary) -> Result<Vec<Arg>, Diagnostic> {
    let args = node.all()?;
    let mut result = args[0].clone();
    for arg in &args[1..] {
        result = b.emit(Op::Binary(f), &[&result, arg])?;
    }
    Ok(vec![result])
}

/// `Mean`.
pub(crate) fn mean(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let count = node.args.len();
    let sum = fold(b, node, Binary::Add)?;
    let elem = b.ty(&sum[0])?.elem;
    let count = b.scalar(elem, count as f64);
    Ok(vec![b.emit(Op::Binary(Binary::Div), &[&sum[0], &count])?])
}

/// `Where`.
pub(crate) fn select(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    Ok(vec![b.emit(
        Op::Where,
        &[node.arg(0)?, node.arg(1)?, node.arg(2)?],
    )?])
}

/// `Pow`: the exponent may have another element type.
pub(crate) fn pow(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let base = node.arg(0)?;
    let exponent = b.cast(node.arg(1)?, b.ty(base)?.elem)?;
    Ok(vec![b.emit(Op::Binary(Binary::Pow), &[base, &exponent])?])
}

/// `Mod`: the sign of the divisor, or with `fmod` that of the dividend.
pub(crate) fn modulo(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    if node.attrs.flag("fmod", false)? {
        return Err(codes::form("fmod is not supported"));
    }
    binary(b, node, Binary::Mod)
}

/// `Clip`.
pub(crate) fn clip(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let mut x = node.arg(0)?.clone();
    if let Some(low) = node.opt(1) {
        x = b.emit(Op::Binary(Binary::Max), &[&x, low])?;
    }
    if let Some(high) = node.opt(2) {
        x = b.emit(Op::Binary(Binary::Min), &[&x, high])?;
    }
    Ok(vec![x])
}

/// `Gelu`, exact or by tanh.
pub(crate) fn gelu(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let f = match node.attrs.text("approximate")?.unwrap_or("none") {
        "none" => Unary::GeluErf,
        "tanh" => Unary::GeluTanh,
        other => return Err(codes::form(format!("approximation {other:?} is not known"))),
    };
    unary(b, node, f)
}

/// `com.microsoft.BiasGelu`.
pub(crate) fn bias_gelu(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = b.emit(Op::Binary(Binary::Add), &[node.arg(0)?, node.arg(1)?])?;
    Ok(vec![b.emit(Op::Unary(Unary::GeluErf), &[&x])?])
}

/// `com.microsoft.FastGelu`, with or without a bias.
pub(crate) fn fast_gelu(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let mut x = node.arg(0)?.clone();
    if let Some(bias) = node.opt(1) {
        x = b.emit(Op::Binary(Binary::Add), &[&x, bias])?;
    }
    Ok(vec![b.emit(Op::Unary(Unary::GeluTanh), &[&x])?])
}

/// `com.microsoft.QuickGelu`: x · sigmoid(alpha · x).
pub(crate) fn quick_gelu(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = node.arg(0)?;
    let alpha = node.attrs.float("alpha", 1.702)?;
    let elem = b.ty(x)?.elem;
    let gate = if alpha == 1.0 || elem == Elem::Bool {
        x.clone()
    } else {
        let alpha = b.scalar(elem, f64::from(alpha));
        b.emit(Op::Binary(Binary::Mul), &[x, &alpha])?
    };
    let gate = b.emit(Op::Unary(Unary::Sigmoid), &[&gate])?;
    Ok(vec![b.emit(Op::Binary(Binary::Mul), &[x, &gate])?])
}

/// `com.microsoft.BiasAdd`: a row and another value added.
pub(crate) fn bias_add(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = b.emit(Op::Binary(Binary::Add), &[node.arg(0)?, node.arg(1)?])?;
    Ok(vec![b.emit(Op::Binary(Binary::Add), &[&x, node.arg(2)?])?])
}

/// `LeakyRelu`: a smaller slope below zero.
pub(crate) fn leaky_relu(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = node.arg(0)?;
    let alpha = node.attrs.float("alpha", 0.01)?;
    if !(0.0..=1.0).contains(&alpha) {
        return Err(codes::form(format!("a slope of {alpha} is not supported")));
    }
    let alpha = b.scalar(b.ty(x)?.elem, f64::from(alpha));
    let low = b.emit(Op::Binary(Binary::Mul), &[x, &alpha])?;
    Ok(vec![b.emit(Op::Binary(Binary::Max), &[x, &low])?])
}

/// `HardSwish`: x · min(max(x / 6 + 1/2, 0), 1).
pub(crate) fn hard_swish(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = node.arg(0)?;
    let elem = b.ty(x)?.elem;
    let [sixth, half, zero, one] = [1.0 / 6.0, 0.5, 0.0, 1.0].map(|value| b.scalar(elem, value));
    let mut gate = b.emit(Op::Binary(Binary::Mul), &[x, &sixth])?;
    gate = b.emit(Op::Binary(Binary::Add), &[&gate, &half])?;
    gate = b.emit(Op::Binary(Binary::Max), &[&gate, &zero])?;
    gate = b.emit(Op::Binary(Binary::Min), &[&gate, &one])?;
    Ok(vec![b.emit(Op::Binary(Binary::Mul), &[x, &gate])?])
}

/// `Softplus`: max(x, 0) + log(1 + exp(−|x|)), which never overflows.
pub(crate) fn softplus(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = node.arg(0)?;
    let elem = b.ty(x)?.elem;
    let (zero, one) = (b.scalar(elem, 0.0), b.scalar(elem, 1.0));
    let mut tail = b.emit(Op::Unary(Unary::Abs), &[x])?;
    tail = b.emit(Op::Unary(Unary::Neg), &[&tail])?;
    tail = b.emit(Op::Unary(Unary::Exp), &[&tail])?;
    tail = b.emit(Op::Binary(Binary::Add), &[&tail, &one])?;
    tail = b.emit(Op::Unary(Unary::Log), &[&tail])?;
    let front = b.emit(Op::Binary(Binary::Max), &[x, &zero])?;
    Ok(vec![b.emit(Op::Binary(Binary::Add), &[&front, &tail])?])
}

/// `Sign`: 1 above zero minus 1 below.
pub(crate) fn sign(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = node.arg(0)?;
    let elem = b.ty(x)?.elem;
    let zero = b.scalar(elem, 0.0);
    let above = b.emit(Op::Binary(Binary::Greater), &[x, &zero])?;
    let below = b.emit(Op::Binary(Binary::Less), &[x, &zero])?;
    let (above, below) = (b.cast(&above, elem)?, b.cast(&below, elem)?);
    Ok(vec![b.emit(Op::Binary(Binary::Sub), &[&above, &below])?])
}

/// `IsInf`, of either sign or of one.
pub(crate) fn is_inf(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let mut x = node.arg(0)?.clone();
    let elem = b.ty(&x)?.elem;
    let positive = node.attrs.flag("detect_positive", true)?;
    let negative = node.attrs.flag("detect_negative", true)?;
    let wanted = match (positive, negative) {
        (true, true) => {
            x = b.emit(Op::Unary(Unary::Abs), &[&x])?;
            f64::INFINITY
        }
        (true, false) => f64::INFINITY,
        (false, true) => f64::NEG_INFINITY,
        (false, false) => return Err(codes::form("no sign of infinity is asked for")),
    };
    let wanted = b.scalar(elem, wanted);
    Ok(vec![b.emit(Op::Binary(Binary::Equal), &[&x, &wanted])?])
}
