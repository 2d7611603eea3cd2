//! What several passes look for.

use packwright_ir::diag::Diagnostic;
use packwright_ir::eval::konst;
use packwright_ir::konst::{FillKind, Source};
use packwright_ir::op::{Binary, Unary};
use packwright_ir::tensor::{Data, Tensor};
use packwright_ir::{ConstId, Graph, NodeId, Op, OriginId, Value, infer};

/// Elements of the largest constant that is looked at as one repeated number.
const LARGEST_SPLAT: usize = 1 << 12;

/// The number that every element of a constant is.
pub fn scalar(graph: &Graph, value: Value) -> Option<f64> {
    if let Op::Reshape { .. } | Op::Expand { .. } = graph.op(value.node) {
        return scalar(graph, graph.operand(value.node, 0)?);
    }
    let id = graph.as_const(value)?;
    let konst = graph.konst(id);
    if let Source::Synthetic(fill) = &konst.source
        && let FillKind::Constant { value } = fill.kind
    {
        return Some(value);
    }
    if !has_values(graph, id) || konst.ty.elements() > LARGEST_SPLAT {
        return None;
    }
    splat(&konst::value(graph, id).ok()?)
}

fn splat(tensor: &Tensor) -> Option<f64> {
    fn same<T: Copy + PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
        let first = values.next()?;
        values.all(|x| x == first).then_some(first)
    }
    match &tensor.data {
        Data::F32(a) | Data::F16(a) => same(a.iter().copied()).map(f64::from),
        Data::F64(a) => same(a.iter().copied()),
        Data::I64(a) => same(a.iter().copied()).map(|x| x as f64),
        Data::I32(a) => same(a.iter().copied()).map(f64::from),
        Data::I8(a) => same(a.iter().copied()).map(f64::from),
        Data::U8(a) => same(a.iter().copied()).map(f64::from),
        Data::Bool(a) => same(a.iter().copied()).map(|x| f64::from(u8::from(x))),
    }
}

/// Whether a constant and all that it is derived from have values.
pub fn has_values(graph: &Graph, id: ConstId) -> bool {
    let konst = graph.konst(id);
    match &konst.source {
        Source::Bytes(_) | Source::Synthetic(_) => true,
        Source::Absent => false,
        Source::Derived(d) => d.sources().iter().all(|&id| has_values(graph, id)),
    }
}

/// Whether the numbers are the same up to the rounding that exporters leave.
pub fn about(x: f64, y: f64) -> bool {
    (x - y).abs() <= 1e-4 * y.abs()
}

/// The operand of a unary node.
pub fn unary(graph: &Graph, value: Value, f: Unary) -> Option<Value> {
    match graph.op(value.node) {
        Op::Unary(g) if *g == f => graph.operand(value.node, 0),
        _ => None,
    }
}

/// The operands of a binary node.
pub fn binary(graph: &Graph, value: Value, f: Binary) -> Option<(Value, Value)> {
    match graph.op(value.node) {
        Op::Binary(g) if *g == f => {
            Some((graph.operand(value.node, 0)?, graph.operand(value.node, 1)?))
        }
        _ => None,
    }
}

/// The operands of a commutative node in both orders.
pub fn either(graph: &Graph, value: Value, f: Binary) -> Vec<(Value, Value)> {
    binary(graph, value, f).map_or(Vec::new(), |(a, b)| vec![(a, b), (b, a)])
}

/// The operand that is not a number, and the number.
pub fn with_scalar(graph: &Graph, value: Value, f: Binary) -> Option<(Value, f64)> {
    either(graph, value, f)
        .into_iter()
        .find_map(|(x, c)| scalar(graph, c).map(|number| (x, number)))
}

/// A value multiplied or divided by a number, with the factor.
pub fn scaled(graph: &Graph, value: Value) -> Option<(Value, f64)> {
    if let Some(found) = with_scalar(graph, value, Binary::Mul) {
        return Some(found);
    }
    let (x, c) = binary(graph, value, Binary::Div)?;
    scalar(graph, c).map(|number| (x, 1.0 / number))
}

/// The only reader of a value that is no result of the graph.
pub fn only_user(graph: &Graph, value: Value) -> Option<(NodeId, usize)> {
    match graph.users(value)[..] {
        [user] if !graph.is_output(value) => Some(user),
        _ => None,
    }
}

/// Adds a node whose types follow from its operands.
pub fn add(
    graph: &mut Graph,
    op: Op,
    operands: &[Value],
    origin: OriginId,
) -> Result<Value, Diagnostic> {
    infer::add(graph, op, operands, origin).map(Value::from)
}
