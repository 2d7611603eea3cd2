//! Where the elements of a value come from, through whatever moves them.
//!
//! The search goes up through reshapes, transpositions, repetitions, slices and joins, and through
//! what rows commute with: factors and normalisation. It then moves a tensor of indices the same way,
//! so that a pass compares places, not spellings.

use packwright_ir::eval;
use packwright_ir::tensor::{Data, Tensor, array};
use packwright_ir::{Elem, Graph, Op, Type, Value};

use super::matching::scaled;

/// What is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Single elements.
    Elements,
    /// Whole rows of the last axis; its order never changes.
    Rows,
}

/// Where each element or row of a value comes from.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The value that the search ended at.
    pub source: Value,
    /// For each unit of the value, row-major, its unit of the source.
    pub index: Vec<usize>,
    /// Factor that the rows were multiplied with on the way.
    pub scale: f64,
    /// The rows were divided by the root of their mean square, plus this.
    pub norm: Option<f32>,
}

impl Trace {
    /// Whether the units are those of the source in their order.
    pub fn in_order(&self, graph: &Graph, unit: Unit) -> bool {
        let ty = graph.ty(self.source);
        let units = match unit {
            Unit::Elements => ty.elements(),
            Unit::Rows => ty.rows(),
        };
        self.index.len() == units && self.index.iter().enumerate().all(|(i, &at)| i == at)
    }

    /// Whether nothing but places changed.
    pub fn only_moved(&self) -> bool {
        self.scale == 1.0 && self.norm.is_none()
    }
}

/// Most units that are followed.
const MOST: usize = 1 << 24;

/// Follows a value up to the first node that does more than move.
pub fn trace(graph: &Graph, value: Value, unit: Unit) -> Option<Trace> {
    let mut way = Way {
        source: None,
        scale: 1.0,
        norm: None,
    };
    let index = way.follow(graph, value, unit, 1.0, None)?;
    let Data::I32(index) = index.data else {
        return None;
    };
    Some(Trace {
        source: way.source?,
        index: index.iter().map(|&at| at as usize).collect(),
        scale: way.scale,
        norm: way.norm,
    })
}

/// What the branches of a search agree on.
struct Way {
    source: Option<Value>,
    scale: f64,
    norm: Option<f32>,
}

impl Way {
    /// The indices of a value's units in the source.
    fn follow(
        &mut self,
        graph: &Graph,
        value: Value,
        unit: Unit,
        scale: f64,
        norm: Option<f32>,
    ) -> Option<Tensor> {
        if unit == Unit::Rows {
            // A factor above the normalisation has no effect below it.
            if let Some((x, factor)) = scaled(graph, value)
                && norm.is_none()
                && graph.ty(x).shape == graph.ty(value).shape
            {
                return self.follow(graph, x, unit, scale * factor, norm);
            }
            if let Op::RmsNorm { eps, affine: false } = *graph.op(value.node)
                && norm.is_none()
            {
                let x = graph.operand(value.node, 0)?;
                return self.follow(graph, x, unit, scale, Some(eps));
            }
        }
        let Some(op) = moved(graph, value, unit) else {
            return self.arrive(graph, value, unit, scale, norm);
        };
        let parts: Vec<Tensor> = graph
            .operands(value.node)
            .into_iter()
            .map(|part| self.follow(graph, part, unit, scale, norm))
            .collect::<Option<_>>()?;
        eval::eval_op(&op, &parts.iter().collect::<Vec<_>>())
            .ok()?
            .pop()
    }

    /// The end of a branch; all of them end alike.
    fn arrive(
        &mut self,
        graph: &Graph,
        value: Value,
        unit: Unit,
        scale: f64,
        norm: Option<f32>,
    ) -> Option<Tensor> {
        match self.source {
            None => (self.source, self.scale, self.norm) = (Some(value), scale, norm),
            Some(source) if source == value && self.scale == scale && self.norm == norm => {}
            Some(_) => return None,
        }
        let shape = units(&graph.ty(value).shape, unit);
        let count: usize = shape.iter().product();
        (count <= MOST).then(|| Tensor::plain(Data::I32(array(shape, (0..count as i32).collect()))))
    }
}

/// The axes that are followed.
fn units(shape: &[usize], unit: Unit) -> &[usize] {
    match (unit, shape.split_last()) {
        (Unit::Rows, Some((_, outer))) => outer,
        (Unit::Rows | Unit::Elements, _) => shape,
    }
}

/// The operator that moves the units of a value, if that is all that its node does.
fn moved(graph: &Graph, value: Value, unit: Unit) -> Option<Op> {
    let op = graph.op(value.node);
    let x = graph.operand(value.node, 0)?;
    let (from, to) = (graph.ty(x), graph.ty(value));
    if unit == Unit::Elements {
        let moves = matches!(
            op,
            Op::Reshape { .. }
                | Op::Transpose { .. }
                | Op::Expand { .. }
                | Op::Slice { .. }
                | Op::Concat { .. }
        );
        return moves.then(|| op.clone());
    }
    let (width, outer) = to.shape.split_last()?;
    let kept = from.shape.last() == Some(width);
    match op {
        Op::Reshape { .. } if kept => Some(Op::Reshape {
            shape: outer.to_vec(),
        }),
        Op::Expand { .. } if kept => Some(Op::Expand {
            shape: outer.to_vec(),
        }),
        Op::Transpose { perm } if perm.last() == Some(&outer.len()) => Some(Op::Transpose {
            perm: perm[..outer.len()].to_vec(),
        }),
        Op::Concat { axis } if *axis < outer.len() => Some(Op::Concat { axis: *axis }),
        Op::Slice { start, count, step } if kept => Some(Op::Slice {
            start: start[..outer.len()].to_vec(),
            count: count[..outer.len()].to_vec(),
            step: step[..outer.len()].to_vec(),
        })
        .filter(|_| step.last() == Some(&1)),
        _ => None,
    }
}

/// Rows that hold heads side by side, and where the rows of their heads went.
#[derive(Clone, Debug)]
pub struct HeadRows {
    /// `[b, s, heads·width]`.
    pub rows: Value,
    /// For each row of the value, `(batch · s + row) · heads + head`.
    pub index: Vec<usize>,
    pub scale: f64,
    pub norm: Option<f32>,
}

/// Follows rows of single heads up to rows that hold `heads` of them side by side.
pub fn head_rows(graph: &Graph, value: Value, heads: usize) -> Option<HeadRows> {
    let found = trace(graph, value, Unit::Rows)?;
    let width = graph.ty(value).columns();
    let rows = match graph.op(found.source.node) {
        Op::Reshape { .. } => graph.operand(found.source.node, 0)?,
        _ if heads == 1 => found.source,
        _ => return None,
    };
    // Splitting columns into heads keeps the order of elements, so rows of heads count up.
    let side_by_side = |ty: &Type| ty.rank() == 3 && ty.columns() == heads * width;
    side_by_side(graph.ty(rows)).then_some(HeadRows {
        rows,
        index: found.index,
        scale: found.scale,
        norm: found.norm,
    })
}

/// A value without conversions between integer types.
pub fn converted(graph: &Graph, value: Value) -> Value {
    let integer = |elem: Elem| matches!(elem, Elem::I32 | Elem::I64);
    match graph.op(value.node) {
        Op::Cast { to } if integer(*to) => match graph.operand(value.node, 0) {
            Some(x) if integer(graph.ty(x).elem) => converted(graph, x),
            _ => value,
        },
        _ => value,
    }
}
