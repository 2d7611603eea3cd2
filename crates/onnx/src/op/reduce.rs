//! Reductions.

use packwright_ir::Op;
use packwright_ir::diag::Diagnostic;
use packwright_ir::op::{Binary, Reduce, Unary};

use crate::builder::{Arg, Builder};
use crate::node::{self, Node};

pub(crate) fn reduce(
    b: &mut Builder,
    node: &Node<'_>,
    kind: Reduce,
) -> Result<Vec<Arg>, Diagnostic> {
    Ok(vec![over(b, node, node.arg(0)?, kind)?])
}

/// `ReduceL1`.
pub(crate) fn l1(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = b.emit(Op::Unary(Unary::Abs), &[node.arg(0)?])?;
    Ok(vec![over(b, node, &x, Reduce::Sum)?])
}

/// `ReduceL2`.
pub(crate) fn l2(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = over(b, node, node.arg(0)?, Reduce::SumSquare)?;
    Ok(vec![b.emit(Op::Unary(Unary::Sqrt), &[&x])?])
}

/// `ReduceLogSum`.
pub(crate) fn log_sum(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = over(b, node, node.arg(0)?, Reduce::Sum)?;
    Ok(vec![b.emit(Op::Unary(Unary::Log), &[&x])?])
}

fn over(b: &mut Builder, node: &Node<'_>, x: &Arg, kind: Reduce) -> Result<Arg, Diagnostic> {
    let rank = b.shape(x)?.len();
    let keep = node.attrs.flag("keepdims", true)?;
    let axes = node.ints("axes", 1)?.unwrap_or_default();
    let axes = if !axes.is_empty() {
        node::axes(&axes, rank)?
    } else if node.attrs.flag("noop_with_empty_axes", false)? {
        // Nothing is added up, but what happens to each element does.
        return match kind {
            Reduce::SumSquare => b.emit(Op::Binary(Binary::Mul), &[x, x]),
            Reduce::Sum
            | Reduce::Mean
            | Reduce::Max
            | Reduce::Min
            | Reduce::Prod
            | Reduce::LogSumExp => Ok(x.clone()),
        };
    } else {
        (0..rank).collect()
    };
    b.emit(Op::Reduce { kind, axes, keep }, &[x])
}
