//! The integers that a model brings for weights, behind whatever has been done to the floats they stand for.

use packwright_ir::konst::{Const, Derivation, Fill, FillKind, Source};
use packwright_ir::{ConstId, Elem, Graph, Quant, Type};

/// Integers and scales, one for each index of the axis, of a constant whose floats stand for integers;
/// `None` where they stand for none, or for such as have other scales along the axis.
pub fn of(graph: &mut Graph, id: ConstId, axis: usize) -> Option<[ConstId; 2]> {
    let konst = graph.konst(id).clone();
    let Source::Derived(derivation) = &konst.source else {
        return None;
    };
    match derivation {
        Derivation::Dequantize { of } => stored(graph, *of, axis),
        Derivation::Transpose { of: inner, perm } => {
            let [values, scales] = of(graph, *inner, *perm.get(axis)?)?;
            let moved = Derivation::Transpose {
                of: values,
                perm: perm.clone(),
            };
            let values = derived(graph, &konst, Elem::I8, konst.ty.shape.clone(), moved);
            Some([values, scales])
        }
        Derivation::Concat {
            of: parts,
            axis: joined,
        } if *joined == axis => {
            let parts: Option<Vec<[ConstId; 2]>> =
                parts.iter().map(|&part| of(graph, part, axis)).collect();
            let parts = parts?;
            let side = |which: usize| parts.iter().map(|part| part[which]).collect();
            let (values, scales) = (side(0), side(1));
            let values = Derivation::Concat { of: values, axis };
            let values = derived(graph, &konst, Elem::I8, konst.ty.shape.clone(), values);
            let count = vec![konst.ty.shape[axis]];
            let scales = Derivation::Concat {
                of: scales,
                axis: 0,
            };
            Some([values, derived(graph, &konst, Elem::F32, count, scales)])
        }
        Derivation::Scale { of: inner, factor } if *factor > 0.0 => {
            let [values, scales] = of(graph, *inner, axis)?;
            let factor = *factor;
            let count = vec![konst.ty.shape[axis]];
            let scales = Derivation::Scale { of: scales, factor };
            Some([values, derived(graph, &konst, Elem::F32, count, scales)])
        }
        Derivation::Reshape { .. }
        | Derivation::Expand { .. }
        | Derivation::Slice { .. }
        | Derivation::Quantize { .. }
        | Derivation::Rest { .. }
        | Derivation::Concat { .. }
        | Derivation::Scaled { .. }
        | Derivation::ScaleEach { .. }
        | Derivation::Scale { .. } => None,
    }
}

/// Of a constant that is quantised as a whole or by channel.
fn stored(graph: &mut Graph, id: ConstId, axis: usize) -> Option<[ConstId; 2]> {
    let konst = graph.konst(id).clone();
    match (konst.ty.quant?, &konst.source) {
        (Quant::Channel { axis: own }, Source::Derived(Derivation::Scaled { of })) => {
            (own == axis).then_some(*of)
        }
        (Quant::Tensor { scale }, _) => {
            let values = graph.add_const(Const {
                name: format!("{}.values", konst.name),
                ty: Type::new(Elem::I8, konst.ty.shape.clone()),
                source: konst.source,
            });
            let fill = Fill {
                name: String::new(),
                seed: 0,
                kind: FillKind::Constant {
                    value: f64::from(scale),
                },
            };
            let scales = graph.add_const(Const {
                name: format!("{}.scales", konst.name),
                ty: Type::new(Elem::F32, [*konst.ty.shape.get(axis)?]),
                source: Source::Synthetic(fill),
            });
            Some([values, scales])
        }
        _ => None,
    }
}

/// The integers of a constant whose floats are integers times one scale for all, and that scale.
pub fn of_one_scale(graph: &Graph, id: ConstId) -> Option<(ConstId, f32)> {
    let Source::Derived(Derivation::Dequantize { of }) = &graph.konst(id).source else {
        return None;
    };
    match graph.konst(*of).ty.quant? {
        Quant::Tensor { scale } => Some((*of, scale)),
        _ => None,
    }
}

/// A plain constant that is made from others of a like name.
fn derived(
    graph: &mut Graph,
    like: &Const,
    elem: Elem,
    shape: Vec<usize>,
    how: Derivation,
) -> ConstId {
    let suffix = if elem == Elem::I8 { "values" } else { "scales" };
    graph.add_const(Const {
        name: format!("{}.{suffix}", like.name),
        ty: Type::new(elem, shape),
        source: Source::Derived(how),
    })
}
