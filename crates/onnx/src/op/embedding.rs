//! Embeddings of tokens, positions and segments in one operator.

use packwright_ir::diag::Diagnostic;
use packwright_ir::op::{Binary, Reduce};
use packwright_ir::tensor::Tensor;
use packwright_ir::{Elem, Op};

use crate::builder::{Arg, Builder};
use crate::codes;
use crate::node::Node;
use crate::op::norm::layer_norm_of;

/// `com.microsoft.EmbedLayerNormalization`: rows of two or three tables, their sum normalised; and the
/// number of positions that the mask leaves.
pub(crate) fn embed_layer_norm(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let ids = node.arg(0)?;
    let shape = b.shape(ids)?;
    let [batch, rows] = shape[..] else {
        return Err(codes::form(format!("{shape:?} is not [batch, rows]")));
    };
    let positions = match node.opt(8) {
        Some(positions) => positions.clone(),
        None => b.known(Tensor::i64(&[rows], (0..rows).map(|i| i as i64).collect())),
    };
    let mut sum = b.emit(Op::Gather { axis: 0 }, &[node.arg(2)?, ids])?;
    let by_position = b.emit(Op::Gather { axis: 0 }, &[node.arg(3)?, &positions])?;
    sum = b.emit(Op::Binary(Binary::Add), &[&sum, &by_position])?;
    if let (Some(segments), Some(table)) = (node.opt(1), node.opt(4)) {
        let by_segment = b.emit(Op::Gather { axis: 0 }, &[table, segments])?;
        sum = b.emit(Op::Binary(Binary::Add), &[&sum, &by_segment])?;
    }
    let eps = node.attrs.float("epsilon", 1e-12)?;
    let normed = layer_norm_of(b, &sum, node.arg(5)?, node.opt(6), eps)?;
    let lengths = match node.opt(7) {
        Some(mask) => {
            // Added up as floats, which every machine can.
            let mask = b.cast(mask, Elem::F32)?;
            let op = Op::Reduce {
                kind: Reduce::Sum,
                axes: vec![1],
                keep: false,
            };
            let sum = b.emit(op, &[&mask])?;
            b.cast(&sum, Elem::I32)?
        }
        None => {
            let zero = b.scalar(Elem::I32, 0.0);
            b.expand(&zero, &[batch])?
        }
    };
    Ok(vec![normed, lengths, sum])
}
