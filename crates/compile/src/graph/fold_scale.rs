//! `fold-scale`: a number that multiplies the operand or the result of a product becomes its factor; numbers
//! that multiply the columns of a product of stored integers become their scales.

use packwright_ir::diag::Diagnostics;
use packwright_ir::konst::{Const, Derivation, Source};
use packwright_ir::op::{Binary, Matmul};
use packwright_ir::order::topological;
use packwright_ir::{ConstId, Elem, Graph, NodeId, Op, Type, Value};

use super::integers::{self, Integers};
use super::matching::{add, either, only_user, scaled};

/// Takes numbers into products with constant weights.
///
/// # Errors
/// Shape rules that a result breaks.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    for node in topological(graph) {
        let folded = before(graph, node)? || behind(graph, node)? || by_column(graph, node)?;
        count += usize::from(folded);
    }
    Ok(count)
}

/// A product with constant weights that a factor can still be put into.
fn product(graph: &Graph, node: NodeId) -> Option<Matmul> {
    let Op::Matmul(attrs) = graph.op(node) else {
        return None;
    };
    let weights = graph.operand(node, 1)?;
    graph.as_const(weights).map(|_| attrs.clone())
}

/// `matmul(x · c, w)`, where the factor stands in front of the bias as well.
fn before(graph: &mut Graph, node: NodeId) -> Result<bool, Diagnostics> {
    let Some(mut attrs) = product(graph, node) else {
        return Ok(false);
    };
    let mut operands = graph.operands(node);
    let Some((x, factor)) = scaled(graph, operands[0]) else {
        return Ok(false);
    };
    let alone = only_user(graph, operands[0]).is_some();
    if !alone || graph.ty(x) != graph.ty(operands[0]) {
        return Ok(false);
    }
    attrs.alpha *= factor as f32;
    operands[0] = x;
    let origin = graph.origin_of(node);
    let whole = add(graph, Op::Matmul(attrs), &operands, origin)?;
    graph.replace_uses(node.into(), whole);
    Ok(true)
}

/// `matmul(x, q) · c` with a factor for each column, where `q` stands for integers with scales by column or
/// one for all.
fn by_column(graph: &mut Graph, node: NodeId) -> Result<bool, Diagnostics> {
    let value = Value::from(node);
    for (inner, factors) in either(graph, value, Binary::Mul) {
        let (Some(attrs), Some(factors)) = (product(graph, inner.node), graph.as_const(factors))
        else {
            continue;
        };
        let plain = !attrs.bias && !attrs.residual && attrs.activation.is_none();
        let mut operands = graph.operands(inner.node);
        let Some(weights) = graph.as_const(operands[1]).filter(|_| plain) else {
            continue;
        };
        let ty = graph.konst(weights).ty.clone();
        let axis = ty.rank() - 1 - usize::from(attrs.transpose_b);
        let columns = ty.shape[axis];
        let row = graph.konst(factors).ty.clone();
        let fits = row.elem == Elem::F32 && row.elements() == columns && row.columns() == columns;
        let alone = only_user(graph, inner).is_some();
        if ty.rank() != 2 || !fits || !alone || graph.ty(inner) != graph.ty(value) {
            continue;
        }
        let found = match integers::of_one_scale(graph, weights) {
            Some((of, scale)) => {
                let Const { name, ty, source } = graph.konst(of).clone();
                let values = graph.add_const(Const {
                    name: format!("{name}.values"),
                    ty: Type::new(Elem::I8, ty.shape),
                    source,
                });
                Integers {
                    values,
                    scales: scaled_row(graph, factors, columns, scale),
                    zeros: None,
                }
            }
            None => {
                let Some(found) = integers::of(graph, weights, axis) else {
                    continue;
                };
                let row = scaled_row(graph, factors, columns, 1.0);
                let scales = scaled_each(graph, found.scales, row);
                Integers { scales, ..found }
            }
        };
        operands[1] = floats(graph, weights, found, axis);
        let origin = graph.origin_of(inner.node);
        let whole = add(graph, Op::Matmul(attrs), &operands, origin)?;
        graph.replace_uses(value, whole);
        return Ok(true);
    }
    Ok(false)
}

/// A row of factors times a number.
fn scaled_row(graph: &mut Graph, factors: ConstId, columns: usize, factor: f32) -> ConstId {
    let mut id = factors;
    let ty = Type::new(Elem::F32, [columns]);
    let made = |graph: &mut Graph, how: Derivation| {
        let name = graph.konst(factors).name.clone();
        graph.add_const(Const {
            name,
            ty: ty.clone(),
            source: Source::Derived(how),
        })
    };
    if graph.konst(id).ty.rank() != 1 {
        id = made(graph, Derivation::Reshape { of: id });
    }
    if factor != 1.0 {
        id = made(graph, Derivation::Scale { of: id, factor });
    }
    id
}

/// Scales times factors, one by one.
fn scaled_each(graph: &mut Graph, scales: ConstId, factors: ConstId) -> ConstId {
    let like = graph.konst(scales).clone();
    let how = Derivation::ScaleEach {
        of: [scales, factors],
        axis: 0,
    };
    graph.add_const(Const {
        source: Source::Derived(how),
        ..like
    })
}

/// The floats that integers stand for, in place of those of a constant.
fn floats(graph: &mut Graph, like: ConstId, of: Integers, axis: usize) -> Value {
    let Const { name, ty, .. } = graph.konst(like).clone();
    let how = of.derivation(graph);
    let channels = graph.add_const(Const {
        name: format!("{name}.channels"),
        ty: Type::quantized(ty.shape.clone(), of.quant(axis)),
        source: Source::Derived(how),
    });
    let floats = graph.add_const(Const {
        name,
        ty: Type::new(Elem::F32, ty.shape),
        source: Source::Derived(Derivation::Dequantize { of: channels }),
    });
    graph.const_value(floats)
}

/// `matmul(x, w) · c`, before anything else was done to the product.
fn behind(graph: &mut Graph, node: NodeId) -> Result<bool, Diagnostics> {
    let value = Value::from(node);
    let Some((inner, factor)) = scaled(graph, value) else {
        return Ok(false);
    };
    let Some(mut attrs) = product(graph, inner.node) else {
        return Ok(false);
    };
    let plain = !attrs.bias && !attrs.residual && attrs.activation.is_none();
    let alone = only_user(graph, inner).is_some();
    if !plain || !alone || graph.ty(inner) != graph.ty(value) {
        return Ok(false);
    }
    attrs.alpha *= factor as f32;
    let operands = graph.operands(inner.node);
    let origin = graph.origin_of(inner.node);
    let whole = add(graph, Op::Matmul(attrs), &operands, origin)?;
    graph.replace_uses(value, whole);
    Ok(true)
}
