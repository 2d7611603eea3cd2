//! Where the elements of a value come from, through whatever moves them.
//!
//! The moving operators are carried out by `eval` on tensors of marks instead of numbers: a mark says
//! which element of which value stands at a place, or which number. So a trace means what the graph
//! means, however an exporter spells cuts, paddings, flips and diagonals.

use std::rc::Rc;

use indexmap::{IndexMap, IndexSet};
use packwright_ir::eval::{self, konst};
use packwright_ir::op::{Binary, Matmul};
use packwright_ir::tensor::{Data, Tensor};
use packwright_ir::{ConstId, Elem, Graph, NodeId, Op, Value};

use crate::graph::matching::binary;

/// Numbers up to this one hide a score that they are added to.
pub const HIDDEN: f64 = -1e30;

/// Bits of the index in a mark.
const INDEX_BITS: u32 = 32;

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// An element of a leaf.
    Element { leaf: usize, index: usize },
    /// A number, by its position in [`Tracer::numbers`].
    Number(usize),
}

impl Mark {
    fn of(code: i64) -> Self {
        if code < 0 {
            return Mark::Number((-1 - code) as usize);
        }
        Mark::Element {
            leaf: (code >> INDEX_BITS) as usize,
            index: (code & ((1 << INDEX_BITS) - 1)) as usize,
        }
    }
}

/// Marks of a value's elements.
#[derive(Clone, Debug)]
pub struct Trace(Rc<Tensor>);

impl Trace {
    pub fn shape(&self) -> &[usize] {
        self.0.shape()
    }

    /// The marks in row-major order.
    pub fn marks(&self) -> impl Iterator<Item = Mark> + '_ {
        self.codes().iter().map(|&code| Mark::of(code))
    }

    /// The mark of an element.
    pub fn at(&self, index: usize) -> Mark {
        Mark::of(self.codes()[index])
    }

    fn codes(&self) -> &[i64] {
        match &self.0.data {
            Data::I64(a) => a.as_slice().expect("tensors are row-major"),
            _ => &[],
        }
    }

    /// The trace under a moving operator.
    pub fn moved(&self, op: &Op) -> Option<Trace> {
        eval::eval_op(op, &[&self.0])
            .ok()?
            .pop()
            .map(|t| Trace(Rc::new(t)))
    }
}

/// Traces values of one graph.
#[derive(Debug)]
pub struct Tracer<'g> {
    pub graph: &'g Graph,
    /// Values whose elements are not traced further.
    pub leaves: IndexSet<Value>,
    /// Numbers that occur, by their bits.
    numbers: IndexSet<u64>,
    known: IndexMap<Value, Trace>,
}

impl<'g> Tracer<'g> {
    pub fn new(graph: &'g Graph) -> Self {
        Self {
            graph,
            leaves: IndexSet::new(),
            numbers: IndexSet::new(),
            known: IndexMap::new(),
        }
    }

    /// A number that occurs.
    pub fn number(&self, position: usize) -> f64 {
        self.numbers
            .get_index(position)
            .map_or(f64::NAN, |&bits| f64::from_bits(bits))
    }

    /// All numbers that occur.
    pub fn all_numbers(&self) -> Vec<f64> {
        self.numbers
            .iter()
            .map(|&bits| f64::from_bits(bits))
            .collect()
    }

    /// Forgets traces, and keeps leaves and numbers: their positions stay what they are.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    /// The trace of a value.
    pub fn trace(&mut self, value: Value) -> Option<Trace> {
        if let Some(trace) = self.known.get(&value) {
            return Some(trace.clone());
        }
        let trace = match sources(self.graph, value.node) {
            Some(sources) if value.slot == 0 => {
                let traces = sources
                    .iter()
                    .map(|&source| self.trace(source))
                    .collect::<Option<Vec<_>>>()?;
                self.carried(value.node, &traces)?
            }
            _ => self.leaf(value)?,
        };
        self.known.insert(value, trace.clone());
        Some(trace)
    }

    /// Sums of elements: the traces of the terms of a value, where sums that lead to `wanted` nodes are
    /// taken apart.
    pub fn terms(&mut self, value: Value, wanted: &IndexSet<NodeId>) -> Option<Vec<Trace>> {
        let mut done = Vec::new();
        let mut open = vec![self.trace(value)?];
        while let Some(trace) = open.pop() {
            match self.sum_among(&trace, wanted) {
                None => done.push(trace),
                Some(leaf) => open.extend(self.apart(&trace, leaf)?),
            }
        }
        Some(done)
    }

    /// A leaf of a trace that is a sum and leads to wanted nodes.
    fn sum_among(&self, trace: &Trace, wanted: &IndexSet<NodeId>) -> Option<usize> {
        let mut present = vec![false; self.leaves.len()];
        for mark in trace.marks() {
            if let Mark::Element { leaf, .. } = mark {
                present[leaf] = true;
            }
        }
        (0..present.len()).find(|&leaf| {
            let value = self.leaves[leaf];
            present[leaf]
                && binary(self.graph, value, Binary::Add).is_some()
                && leads_to(self.graph, value, wanted)
        })
    }

    /// A trace with a sum in it, as the traces of both terms.
    fn apart(&mut self, trace: &Trace, sum: usize) -> Option<[Trace; 2]> {
        let value = self.leaves[sum];
        let shape = self.graph.ty(value).shape.clone();
        let (a, b) = binary(self.graph, value, Binary::Add)?;
        let zero = self.number_code(0.0);
        let parts = [a, b].map(|part| {
            self.trace(part)?.moved(&Op::Expand {
                shape: shape.clone(),
            })
        });
        let [Some(a), Some(b)] = parts else {
            return None;
        };
        let replaced = |part: &Trace, other: Option<i64>| {
            let codes = trace.codes().iter().map(|&code| match Mark::of(code) {
                Mark::Element { leaf, index } if leaf == sum => part.codes()[index],
                _ => other.unwrap_or(code),
            });
            Trace(Rc::new(Tensor::i64(trace.shape(), codes.collect())))
        };
        Some([replaced(&a, None), replaced(&b, Some(zero))])
    }

    fn number_code(&mut self, number: f64) -> i64 {
        let (position, _) = self.numbers.insert_full(number.to_bits());
        -1 - position as i64
    }

    fn leaf(&mut self, value: Value) -> Option<Trace> {
        let ty = self.graph.ty(value);
        let shape = ty.shape.clone();
        if let Some(id) = self.graph.as_const(value)
            && let Some(numbers) = numbers(self.graph, id)
        {
            let codes = numbers.into_iter().map(|x| self.number_code(x)).collect();
            return Some(Trace(Rc::new(Tensor::i64(&shape, codes))));
        }
        let count = ty.elements();
        if count >= 1 << INDEX_BITS {
            return None;
        }
        let (leaf, _) = self.leaves.insert_full(value);
        let first = (leaf as i64) << INDEX_BITS;
        let codes = (first..first + count as i64).collect();
        Some(Trace(Rc::new(Tensor::i64(&shape, codes))))
    }

    /// Carries a moving node out on the traces of its sources.
    fn carried(&mut self, node: NodeId, traces: &[Trace]) -> Option<Trace> {
        let graph = self.graph;
        let operands = graph.operands(node);
        let apply =
            |op: &Op, x: &[&Tensor]| eval::eval_op(op, x).ok()?.pop().map(|t| Trace(Rc::new(t)));
        match graph.op(node) {
            Op::Pad {
                before,
                after,
                value,
            } => {
                let code = self.number_code(f64::from(*value));
                let op = Op::Pad {
                    before: before.clone(),
                    after: after.clone(),
                    value: code as f32,
                };
                apply(&op, &[&traces[0].0])
            }
            Op::Gather { .. } => {
                let indices = konst::value(graph, graph.as_const(operands[1])?).ok()?;
                apply(graph.op(node), &[&traces[0].0, &indices])
            }
            Op::Where => {
                let condition = konst::value(graph, graph.as_const(operands[0])?).ok()?;
                apply(graph.op(node), &[&condition, &traces[0].0, &traces[1].0])
            }
            // Ones times a row repeat it.
            Op::Matmul(attrs) => {
                let mut trace = traces[0].clone();
                if attrs.transpose_b {
                    let rank = trace.shape().len();
                    let mut perm: Vec<usize> = (0..rank).collect();
                    perm.swap(rank - 1, rank - 2);
                    trace = trace.moved(&Op::Transpose { perm })?;
                }
                let shape = graph.types(node)[0].shape.clone();
                trace.moved(&Op::Expand { shape })
            }
            op => {
                let tensors: Vec<&Tensor> = traces.iter().map(|trace| &*trace.0).collect();
                apply(op, &tensors)
            }
        }
    }
}

/// The operands whose elements a node moves; `None` where it computes.
pub fn sources(graph: &Graph, node: NodeId) -> Option<Vec<Value>> {
    let operands = graph.operands(node);
    let is_const = |value: Value| {
        graph
            .as_const(value)
            .is_some_and(|id| konst::has_values(graph, id))
    };
    match graph.op(node) {
        Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Expand { .. } => Some(vec![operands[0]]),
        Op::Concat { .. } => Some(operands),
        Op::Gather { .. } if is_const(operands[1]) && graph.as_const(operands[0]).is_none() => {
            Some(vec![operands[0]])
        }
        Op::Where if is_const(operands[0]) => Some(operands[1..].to_vec()),
        Op::Matmul(attrs) => repeated_row(graph, &operands, attrs).map(|row| vec![row]),
        _ => None,
    }
}

/// The row that a product over one element repeats: the other factor is ones.
fn repeated_row(graph: &Graph, operands: &[Value], attrs: &Matmul) -> Option<Value> {
    let [ones, row] = operands[..] else {
        return None;
    };
    let plain = attrs.alpha == 1.0 && attrs.activation.is_none();
    if !plain || graph.ty(ones).columns() != 1 {
        return None;
    }
    // Ones may be a single one that is repeated.
    let mut ones = ones;
    while let Op::Expand { .. } | Op::Reshape { .. } = graph.op(ones.node) {
        ones = graph.operand(ones.node, 0)?;
    }
    let list = numbers(graph, graph.as_const(ones)?)?;
    list.iter().all(|&x| x == 1.0).then_some(row)
}

/// The numbers of a constant that masks are made of: zeros, ones, and what hides a score. Weights are not
/// looked at: what is made of other numbers is none of these.
fn numbers(graph: &Graph, id: ConstId) -> Option<Vec<f64>> {
    let ty = &graph.konst(id).ty;
    if !konst::has_values(graph, id) || !matches!(ty.elem, Elem::F32 | Elem::F16) {
        return None;
    }
    let (Data::F32(list) | Data::F16(list)) = konst::value(graph, id).ok()?.data else {
        return None;
    };
    let plain = |&x: &f32| x == 0.0 || x == 1.0 || f64::from(x) <= HIDDEN;
    let single = ty.elements() == 1;
    (single || list.iter().all(plain)).then(|| list.iter().map(|&x| f64::from(x)).collect())
}

/// Whether a value comes from wanted nodes, through moves and sums.
pub fn leads_to(graph: &Graph, value: Value, wanted: &IndexSet<NodeId>) -> bool {
    let mut seen = IndexSet::from([value]);
    let mut next = 0;
    while let Some(&value) = seen.get_index(next) {
        next += 1;
        if wanted.contains(&value.node) {
            return true;
        }
        let further = match binary(graph, value, Binary::Add) {
            Some((a, b)) => vec![a, b],
            None => sources(graph, value.node).unwrap_or_default(),
        };
        seen.extend(further);
    }
    false
}
