//! Random numbers, made repeatable.

use packwright_ir::Op;
use packwright_ir::diag::Diagnostic;
use packwright_ir::op::Binary;

use crate::bind::Random;
use crate::builder::{Arg, Builder};
use crate::node::Node;
use crate::{codes, values};

/// `RandomNormalLike`: numbers that depend on the seed and the node's place in the model only, or none.
pub(crate) fn normal_like(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let Random::Seed(given) = b.random else {
        return Err(codes::random_refused());
    };
    let mut like = node.arg(0)?.clone();
    if let Some(data_type) = node.attrs.opt_int("dtype")? {
        let elem = i32::try_from(data_type).ok().and_then(values::elem);
        like = b.cast(
            &like,
            elem.ok_or_else(|| codes::element_type(&b.label, "another type"))?,
        )?;
    }
    let mut seed = given ^ u64::from(node.attrs.float("seed", 0.0)?.to_bits());
    for byte in b.label.bytes() {
        seed = (seed ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    let elem = b.ty(&like)?.elem;
    let mut x = b.emit(Op::RandomNormal { seed }, &[&like])?;
    let (mean, scale) = (
        node.attrs.float("mean", 0.0)?,
        node.attrs.float("scale", 1.0)?,
    );
    if scale != 1.0 {
        let scale = b.scalar(elem, f64::from(scale));
        x = b.emit(Op::Binary(Binary::Mul), &[&x, &scale])?;
    }
    if mean != 0.0 {
        let mean = b.scalar(elem, f64::from(mean));
        x = b.emit(Op::Binary(Binary::Add), &[&x, &mean])?;
    }
    b.warnings.push(codes::random(given));
    Ok(vec![x])
}
