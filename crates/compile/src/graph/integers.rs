//! The integers that a model brings for weights, behind whatever has been done to the floats they stand for.

use packwright_ir::konst::{Const, Derivation, Fill, FillKind, Source};
use packwright_ir::{ConstId, Elem, Graph, Quant, Type};

/// Integers with what they stand for, for each index of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Integers {
    /// i8 in the shape of the constant.
    pub values: ConstId,
    /// f32, one an index.
    pub scales: ConstId,
    /// Zero points as f32, one an index, where they are not all 0.
    pub zeros: Option<ConstId>,
}

impl Integers {
    /// How a constant of them is quantised along the axis.
    pub fn quant(&self, axis: usize) -> Quant {
        match self.zeros {
            None => Quant::Channel { axis },
            Some(_) => Quant::Shifted { axis },
        }
    }

    /// How a constant that is quantised so is derived.
    pub fn derivation(&self, graph: &mut Graph) -> Derivation {
        let scales = match self.zeros {
            None => self.scales,
            Some(zeros) => pairs(graph, self.scales, zeros),
        };
        Derivation::Scaled {
            of: [self.values, scales],
        }
    }
}

/// What the floats of a constant stand for along the axis; `None` where they stand for no integers, or for such
/// as have other scales along it.
pub fn of(graph: &mut Graph, id: ConstId, axis: usize) -> Option<Integers> {
    let konst = graph.konst(id).clone();
    let Source::Derived(derivation) = &konst.source else {
        return None;
    };
    match derivation {
        Derivation::Dequantize { of } => stored(graph, *of, axis),
        Derivation::Transpose { of: inner, perm } => {
            let found = of(graph, *inner, *perm.get(axis)?)?;
            let moved = Derivation::Transpose {
                of: found.values,
                perm: perm.clone(),
            };
            let values = derived(graph, &konst, "values", konst.ty.shape.clone(), moved);
            Some(Integers { values, ..found })
        }
        Derivation::Concat {
            of: parts,
            axis: joined,
        } if *joined == axis => {
            let parts: Option<Vec<Integers>> =
                parts.iter().map(|&part| of(graph, part, axis)).collect();
            joined_parts(graph, &konst, &parts?, axis)
        }
        Derivation::Scale { of: inner, factor } if *factor > 0.0 => {
            let found = of(graph, *inner, axis)?;
            let factor = *factor;
            let count = vec![konst.ty.shape[axis]];
            let how = Derivation::Scale {
                of: found.scales,
                factor,
            };
            let scales = derived(graph, &konst, "scales", count, how);
            Some(Integers { scales, ..found })
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

/// Of parts that are joined along the axis; where one has zero points, all have.
fn joined_parts(
    graph: &mut Graph,
    konst: &Const,
    parts: &[Integers],
    axis: usize,
) -> Option<Integers> {
    let count = vec![*konst.ty.shape.get(axis)?];
    let side = |which: fn(&Integers) -> ConstId| parts.iter().map(which).collect();
    let values = Derivation::Concat {
        of: side(|part| part.values),
        axis,
    };
    let scales = Derivation::Concat {
        of: side(|part| part.scales),
        axis: 0,
    };
    let values = derived(graph, konst, "values", konst.ty.shape.clone(), values);
    let scales = derived(graph, konst, "scales", count.clone(), scales);
    let mut zeros = None;
    if parts.iter().any(|part| part.zeros.is_some()) {
        let mut of = Vec::with_capacity(parts.len());
        for part in parts {
            let own = graph.konst(part.scales).ty.elements();
            of.push(match part.zeros {
                Some(zeros) => zeros,
                None => same(graph, konst, "zeros", own, 0.0),
            });
        }
        let how = Derivation::Concat { of, axis: 0 };
        zeros = Some(derived(graph, konst, "zeros", count, how));
    }
    Some(Integers {
        values,
        scales,
        zeros,
    })
}

/// Of a constant that is quantised as a whole or by channel.
fn stored(graph: &mut Graph, id: ConstId, axis: usize) -> Option<Integers> {
    let konst = graph.konst(id).clone();
    let count = *konst.ty.shape.get(axis)?;
    match (konst.ty.quant?, &konst.source) {
        (Quant::Channel { axis: own }, Source::Derived(Derivation::Scaled { of })) => {
            let [values, scales] = *of;
            (own == axis).then_some(Integers {
                values,
                scales,
                zeros: None,
            })
        }
        (Quant::Shifted { axis: own }, Source::Derived(Derivation::Scaled { of })) => {
            if own != axis {
                return None;
            }
            let [values, pairs] = *of;
            let [scales, zeros] = [("scales", 0), ("zeros", 1)].map(|(what, which)| {
                let column = Derivation::Slice {
                    of: pairs,
                    start: vec![0, which],
                    count: vec![count, 1],
                    step: vec![1, 1],
                };
                let column = derived(graph, &konst, what, vec![count, 1], column);
                let row = Derivation::Reshape { of: column };
                derived(graph, &konst, what, vec![count], row)
            });
            Some(Integers {
                values,
                scales,
                zeros: Some(zeros),
            })
        }
        (Quant::Tensor { scale } | Quant::Affine { scale, .. }, _) => {
            let values = graph.add_const(Const {
                name: format!("{}.values", konst.name),
                ty: Type::new(Elem::I8, konst.ty.shape.clone()),
                source: konst.source.clone(),
            });
            let scales = same(graph, &konst, "scales", count, scale);
            let zeros = match konst.ty.quant? {
                Quant::Affine { zero, .. } if zero != 0 => {
                    Some(same(graph, &konst, "zeros", count, f32::from(zero)))
                }
                _ => None,
            };
            Some(Integers {
                values,
                scales,
                zeros,
            })
        }
        _ => None,
    }
}

/// Scales and zero points side by side, `[count, 2]`.
fn pairs(graph: &mut Graph, scales: ConstId, zeros: ConstId) -> ConstId {
    let like = graph.konst(scales).clone();
    let count = like.ty.elements();
    let columns = [scales, zeros].map(|of| {
        let how = Derivation::Reshape { of };
        derived(graph, &like, "column", vec![count, 1], how)
    });
    let how = Derivation::Concat {
        of: columns.to_vec(),
        axis: 1,
    };
    derived(graph, &like, "pairs", vec![count, 2], how)
}

/// A row of one number.
fn same(graph: &mut Graph, like: &Const, what: &str, count: usize, number: f32) -> ConstId {
    let fill = Fill {
        name: String::new(),
        seed: 0,
        kind: FillKind::Constant {
            value: f64::from(number),
        },
    };
    graph.add_const(Const {
        name: format!("{}.{what}", like.name),
        ty: Type::new(Elem::F32, [count]),
        source: Source::Synthetic(fill),
    })
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

/// A plain constant that is made from others of a like name: `values` are i8, all else is f32.
fn derived(
    graph: &mut Graph,
    like: &Const,
    what: &str,
    shape: Vec<usize>,
    how: Derivation,
) -> ConstId {
    let elem = if what == "values" {
        Elem::I8
    } else {
        Elem::F32
    };
    graph.add_const(Const {
        name: format!("{}.{what}", like.name),
        ty: Type::new(elem, shape),
        source: Source::Derived(how),
    })
}
