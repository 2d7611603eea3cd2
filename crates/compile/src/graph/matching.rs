//! What several passes look for.

use packwright_ir::diag::Diagnostic;
use packwright_ir::eval::konst::{self, has_values};
use packwright_ir::op::{Binary, Unary};
use packwright_ir::tensor::{Data, Tensor};
use packwright_ir::{ConstId, Graph, NodeId, Op, OriginId, Value, infer};

/// Bytes of the largest float constant whose values a pass may look at. Larger ones are weights: what
/// passes do must not depend on whether their values are there.
pub const LARGEST_KNOWN: usize = 1 << 10;

/// Whether the values of a constant may be looked at, and are there.
pub fn is_known(graph: &Graph, id: ConstId) -> bool {
    let ty = &graph.konst(id).ty;
    (!ty.elem.is_float() || ty.bytes() <= LARGEST_KNOWN) && has_values(graph, id)
}

/// The number that a constant of one element is, repeated or not.
pub fn scalar(graph: &Graph, value: Value) -> Option<f64> {
    if let Op::Reshape { .. } | Op::Expand { .. } = graph.op(value.node) {
        return scalar(graph, graph.operand(value.node, 0)?);
    }
    let id = graph.as_const(value)?;
    if graph.konst(id).ty.elements() != 1 || !has_values(graph, id) {
        return None;
    }
    first(&konst::value(graph, id).ok()?)
}

fn first(tensor: &Tensor) -> Option<f64> {
    match &tensor.data {
        Data::F32(a) | Data::F16(a) => a.first().copied().map(f64::from),
        Data::F64(a) => a.first().copied(),
        Data::I64(a) => a.first().map(|&x| x as f64),
        Data::I32(a) => a.first().copied().map(f64::from),
        Data::I4(a) | Data::I8(a) => a.first().copied().map(f64::from),
        Data::U8(a) => a.first().copied().map(f64::from),
        Data::Bool(a) => a.first().map(|&x| f64::from(u8::from(x))),
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
