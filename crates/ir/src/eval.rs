//! The oracle: what a graph means, slowly and plainly, on ndarray.
//!
//! Floats are computed in f32 with the functions of `packwright-numerics`; what is quantised follows
//! `docs/numerics.md` to the bit, so that packets can be compared with it exactly. A result whose
//! node declares another float width than its operator computes is rounded to that width.
//!
//! Read in this order: [`run`], [`eval_op`], `lanes` (numbers of any type), then a file for each
//! family of operators; [`konst`] makes the values of constants, [`fill`] those of synthetic ones.

pub mod compare;
pub mod fill;
pub mod konst;

mod attention;
mod chunk;
mod elementwise;
mod index;
mod inputs;
mod lanes;
mod matmul;
mod movement;
mod normalize;
mod quantize;
#[cfg(test)]
mod tests;

use crate::diag::Diagnostic;
use crate::graph::Graph;
use crate::id::{NodeId, Value};
use crate::infer;
use crate::op::Op;
use crate::order::topological;
use crate::tensor::Tensor;
use crate::ty::{Elem, Type};

pub use inputs::random_inputs;

/// Why a graph has no value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EvalError {
    #[error("{0}")]
    Rule(Diagnostic),
    #[error("{node}: {error}")]
    At {
        node: NodeId,
        #[source]
        error: Box<EvalError>,
    },
    #[error("input `{0}` has no value")]
    MissingInput(String),
    #[error("there is no input `{0}`")]
    UnknownInput(String),
    #[error("input `{name}` is {expected}, the value given is {found}")]
    InputType {
        name: String,
        expected: Box<Type>,
        found: Box<Type>,
    },
    #[error("constant `{0}` has no values")]
    AbsentConstant(String),
    #[error("constant `{name}` has {found} bytes, its type needs {expected}")]
    ConstantSize {
        name: String,
        expected: usize,
        found: usize,
    },
    #[error("index {index} is outside an axis of length {length}")]
    IndexOutOfRange { index: i64, length: usize },
    #[error("`{0}` holds infinities or NaN, which int8 cannot hold")]
    NotFinite(String),
    #[error("an integer is divided by zero")]
    DivisionByZero,
    #[error("{0}")]
    Unsupported(&'static str),
}

impl EvalError {
    /// Stable slug.
    pub fn code(&self) -> &'static str {
        match self {
            EvalError::Rule(diagnostic) => diagnostic.code,
            EvalError::At { error, .. } => error.code(),
            EvalError::MissingInput(_) => "input-missing",
            EvalError::UnknownInput(_) => "input-unknown",
            EvalError::InputType { .. } => "input-type",
            EvalError::AbsentConstant(_) => "weights-absent",
            EvalError::ConstantSize { .. } => "constant-size",
            EvalError::IndexOutOfRange { .. } => "index-out-of-range",
            EvalError::NotFinite(_) => "weights-not-finite",
            EvalError::DivisionByZero => "division-by-zero",
            EvalError::Unsupported(_) => "eval-unsupported",
        }
    }
}

impl From<Diagnostic> for EvalError {
    fn from(diagnostic: Diagnostic) -> Self {
        EvalError::Rule(diagnostic)
    }
}

/// The results of a graph by name, from its inputs by name.
///
/// # Errors
/// The first thing that has no value.
pub fn run(graph: &Graph, inputs: &[(String, Tensor)]) -> Result<Vec<(String, Tensor)>, EvalError> {
    run_with(graph, inputs, &mut |_, _| {})
}

/// As [`run`]; the observer sees every value that a node computes, in topological order.
///
/// # Errors
/// The first thing that has no value.
pub fn run_with(
    graph: &Graph,
    inputs: &[(String, Tensor)],
    observer: &mut dyn FnMut(Value, &Tensor),
) -> Result<Vec<(String, Tensor)>, EvalError> {
    for (name, _) in inputs {
        let known = |&node: &NodeId| matches!(graph.op(node), Op::Input { name: n } if n == name);
        if !graph.inputs().iter().any(known) {
            return Err(EvalError::UnknownInput(name.clone()));
        }
    }
    let mut memory = Memory::new(graph);
    for node in topological(graph) {
        let results = compute(graph, node, inputs, &mut memory).map_err(|error| EvalError::At {
            node,
            error: Box::new(error),
        })?;
        for (slot, tensor) in results.into_iter().enumerate() {
            let value = Value {
                node,
                slot: slot as u32,
            };
            observer(value, &tensor);
            memory.put(graph, value, tensor);
        }
        memory.release(graph, node);
    }
    let outputs = graph.outputs().iter();
    outputs
        .map(|output| Ok((output.name.clone(), memory.get(graph, output.value)?)))
        .collect()
}

fn compute(
    graph: &Graph,
    node: NodeId,
    inputs: &[(String, Tensor)],
    memory: &mut Memory,
) -> Result<Vec<Tensor>, EvalError> {
    if let Op::Input { name } = graph.op(node) {
        let expected = &graph.types(node)[0];
        let given = inputs.iter().find(|(given, _)| given == name);
        let Some((_, tensor)) = given else {
            // There is one value without elements: a cache that holds nothing yet.
            let missing = || EvalError::MissingInput(name.clone());
            return Ok(vec![
                Tensor::from_le_bytes(expected, &[]).ok_or_else(missing)?,
            ]);
        };
        if tensor.ty() != *expected {
            return Err(EvalError::InputType {
                name: name.clone(),
                expected: Box::new(expected.clone()),
                found: Box::new(tensor.ty()),
            });
        }
        return Ok(vec![tensor.clone()]);
    }
    let operands = graph.operands(node);
    for &operand in &operands {
        memory.ensure(graph, operand)?;
    }
    let tensors: Vec<&Tensor> = operands.iter().map(|v| memory.held(*v)).collect();
    // Computed in f32 and rounded once, whatever the width of the operands.
    let wide: Vec<Tensor> = if infer::float_width_is_free(graph.op(node)) {
        tensors.iter().map(|t| widened(t)).collect()
    } else {
        Vec::new()
    };
    let tensors = if wide.is_empty() {
        tensors
    } else {
        wide.iter().collect()
    };
    let results = eval_op(graph.op(node), &tensors)?;
    let declared = graph.types(node).iter();
    Ok(results
        .into_iter()
        .zip(declared)
        .map(|(tensor, ty)| rounded(tensor, ty.elem))
        .collect())
}

/// The results of one operator.
///
/// # Errors
/// When the operands do not fit the operator, or their values have no result.
pub fn eval_op(op: &Op, operands: &[&Tensor]) -> Result<Vec<Tensor>, EvalError> {
    let types: Vec<Type> = operands.iter().map(|t| t.ty()).collect();
    let results = infer::infer(op, &types.iter().collect::<Vec<_>>())?;
    let ty = &results[0];
    let x = operands;
    Ok(vec![match op {
        Op::Input { .. } | Op::Const(_) => unreachable!("have no rule"),
        Op::Unary(f) => elementwise::unary(*f, x[0], ty),
        Op::Binary(f) => elementwise::binary(*f, x[0], x[1], ty)?,
        Op::Where => elementwise::select(x[0], x[1], x[2], ty),
        Op::Cast { to } => lanes::cast(x[0], *to),
        Op::Reshape { shape } => movement::reshape(x[0], shape),
        Op::Transpose { perm } => movement::transpose(x[0], perm),
        Op::Expand { shape } => movement::expand(x[0], shape),
        Op::Concat { axis } => movement::concat(x, *axis, ty),
        Op::Slice { start, count, step } => movement::slice(x[0], start, count, step),
        Op::Pad { before, value, .. } => movement::pad(x[0], before, *value, ty),
        Op::Gather { axis } => index::gather(x[0], x[1], *axis)?,
        Op::GatherElements { axis } => index::gather_elements(x[0], x[1], *axis)?,
        Op::ScatterElements { axis } => index::scatter_elements(x[0], x[1], x[2], *axis)?,
        Op::ScatterNd => index::scatter_nd(x[0], x[1], x[2])?,
        Op::TopK {
            axis,
            count,
            largest,
        } => {
            return Ok(index::top_k(x[0], *axis, *count, *largest));
        }
        Op::ArgMax { axis, .. } => index::arg_max(x[0], *axis, ty),
        Op::CumSum { axis } => normalize::cum_sum(x[0], *axis),
        Op::Trilu { upper, k } => index::trilu(x[0], *upper, *k),
        Op::RandomNormal { seed } => fill::random_normal(*seed, ty),
        Op::Reduce { kind, axes, .. } => normalize::reduce(x[0], *kind, axes, ty),
        Op::Softmax { axis } => normalize::softmax(x[0], *axis),
        Op::LayerNorm { eps, .. } => normalize::layer_norm(x[0], &x[1..], *eps),
        Op::RmsNorm { eps, .. } => normalize::rms_norm(x[0], x.get(1).copied(), *eps),
        Op::Matmul(attrs) => matmul::matmul(attrs, x, ty)?,
        Op::Attention(attrs) => attention::attention(attrs, x, ty)?,
        Op::HashSort(attrs) => chunk::hash_sort(attrs, x, ty)?,
        Op::ChunkAttention(attrs) => chunk::chunk_attention(attrs, x, ty)?,
        Op::Embedding { .. } => index::embedding(x, ty)?,
        Op::Cache => movement::concat(x, 1, ty),
        Op::Rotary { heads, interleaved } => {
            normalize::rotary(x[0], x[1], x[2], *heads, *interleaved)
        }
        Op::Quantize { quant } => quantize::quantize(x[0], *quant),
        Op::QuantizeParts { group, scale } => quantize::quantize_parts(x[0], *group, *scale),
        Op::Dequantize { to } => quantize::to_floats(x[0], *to),
    }])
}

/// Half precision as f32, which is exact.
fn widened(tensor: &Tensor) -> Tensor {
    if tensor.elem() == Elem::F16 {
        lanes::cast(tensor, Elem::F32)
    } else {
        tensor.clone()
    }
}

/// The tensor in the declared element type; only floats differ from what was computed.
fn rounded(tensor: Tensor, declared: Elem) -> Tensor {
    if tensor.elem() == declared || tensor.quant.is_some() {
        tensor
    } else {
        lanes::cast(&tensor, declared)
    }
}

/// Values that are still needed.
struct Memory {
    values: Vec<Vec<Option<Tensor>>>,
    /// Reads that are still to come, by node.
    reads: Vec<usize>,
}

impl Memory {
    fn new(graph: &Graph) -> Self {
        let slots = graph.node_ids().last().map_or(0, |id| id.index() + 1);
        let mut reads = vec![0; slots];
        for node in graph.node_ids() {
            for operand in graph.operands(node) {
                reads[operand.node.index()] += 1;
            }
        }
        for output in graph.outputs() {
            // Read by the caller, so never released.
            reads[output.value.node.index()] += 1;
        }
        Self {
            values: vec![Vec::new(); slots],
            reads,
        }
    }

    fn put(&mut self, graph: &Graph, value: Value, tensor: Tensor) {
        let slots = &mut self.values[value.node.index()];
        slots.resize(graph.types(value.node).len(), None);
        slots[value.slot as usize] = Some(tensor);
    }

    /// Makes sure that an operand is held: constants are made when they are first read.
    fn ensure(&mut self, graph: &Graph, value: Value) -> Result<(), EvalError> {
        let held = self.values[value.node.index()].get(value.slot as usize);
        if held.is_some_and(Option::is_some) {
            return Ok(());
        }
        let id = graph
            .as_const(value)
            .expect("operands come before their readers");
        let tensor = konst::value(graph, id)?;
        self.put(graph, value, tensor);
        Ok(())
    }

    fn held(&self, value: Value) -> &Tensor {
        self.values[value.node.index()][value.slot as usize]
            .as_ref()
            .expect("the operand is held")
    }

    fn get(&mut self, graph: &Graph, value: Value) -> Result<Tensor, EvalError> {
        self.ensure(graph, value)?;
        Ok(self.held(value).clone())
    }

    /// Forgets operands that nobody reads any more.
    fn release(&mut self, graph: &Graph, node: NodeId) {
        for operand in graph.operands(node) {
            let reads = &mut self.reads[operand.node.index()];
            *reads -= 1;
            if *reads == 0 {
                self.values[operand.node.index()].clear();
            }
        }
    }
}
