//! Random inputs that a graph can work on.

use super::fill;
use super::lanes::{self, Lanes};
use super::quantize;
use crate::graph::Graph;
use crate::id::{NodeId, Value};
use crate::konst::FillKind;
use crate::op::Op;
use crate::tensor::Tensor;
use crate::ty::{Elem, Type};

/// A value for each input from a seed: standard normal floats, integers that index the tables they
/// reach, and masks (integers that reach no table) that hide the end of a row.
pub fn random_inputs(graph: &Graph, seed: u64) -> Vec<(String, Tensor)> {
    graph
        .inputs()
        .iter()
        .map(|&node| (name(graph, node), random(graph, node, seed)))
        .collect()
}

fn name(graph: &Graph, node: NodeId) -> String {
    match graph.op(node) {
        Op::Input { name } => name.clone(),
        _ => String::new(),
    }
}

fn random(graph: &Graph, node: NodeId, seed: u64) -> Tensor {
    let ty = &graph.types(node)[0];
    let name = name(graph, node);
    let uniform =
        |low: i64, high: i64| fill::generate(&name, seed, FillKind::UniformInt { low, high }, ty);
    if let Some(quant) = ty.quant {
        let kind = FillKind::Normal { std: 1.0 };
        let floats = Type::new(Elem::F32, ty.shape.clone());
        return quantize::quantize(&fill::generate(&name, seed, kind, &floats), quant);
    }
    if ty.elem.is_float() {
        return fill::generate(&name, seed, FillKind::Normal { std: 1.0 }, ty);
    }
    if ty.elem == Elem::Bool {
        return lanes::cast(
            &fill::generate(
                &name,
                seed,
                FillKind::UniformInt { low: 0, high: 1 },
                &Type::new(Elem::I64, ty.shape.clone()),
            ),
            Elem::Bool,
        );
    }
    match shortest_table(graph, node.into(), &mut Vec::new()) {
        Some(rows) => uniform(0, rows as i64 - 1),
        None => prefix_mask(&name, seed, ty),
    }
}

/// Ones, then zeros from a random column between the middle and the end of each row.
fn prefix_mask(name: &str, seed: u64, ty: &Type) -> Tensor {
    let columns = ty.columns();
    let rows = Type::new(Elem::I64, [ty.rows()]);
    let kind = FillKind::UniformInt {
        low: columns.div_ceil(2) as i64,
        high: columns as i64,
    };
    let seen = lanes::integers(&fill::generate(name, seed, kind, &rows));
    let mask = seen
        .iter()
        .flat_map(|&seen| (0..columns as i64).map(move |column| i64::from(column < seen)))
        .collect();
    lanes::store(ty.elem, &ty.shape, Lanes::Int(mask))
}

/// The fewest rows of a table that the value indexes.
fn shortest_table(graph: &Graph, value: Value, seen: &mut Vec<Value>) -> Option<usize> {
    if seen.contains(&value) {
        return None;
    }
    seen.push(value);
    let mut least: Option<usize> = None;
    for (user, position) in graph.users(value) {
        let operands = graph.operands(user);
        let table = |at: usize, axis: usize| Some(graph.ty(operands[at]).shape[axis]);
        let rows = match graph.op(user) {
            Op::Gather { axis } | Op::GatherElements { axis } if position == 1 => table(0, *axis),
            Op::Embedding { .. } if position % 2 == 0 => table(position + 1, 0),
            Op::Reshape { .. }
            | Op::Transpose { .. }
            | Op::Expand { .. }
            | Op::Slice { .. }
            | Op::Concat { .. } => shortest_table(graph, user.into(), seen),
            Op::Cast { to } if !to.is_float() && *to != Elem::Bool => {
                shortest_table(graph, user.into(), seen)
            }
            _ => None,
        };
        least = match (least, rows) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    least
}
