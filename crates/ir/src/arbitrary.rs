//! Arbitrary valid graphs for property tests: every operator and every source of constants occurs.

mod operators;
mod tests;

use bytes::Bytes;
use proptest::prelude::*;

use crate::graph::{Facts, Graph, Origin};
use crate::id::{ConstId, NodeId, OriginId, Value};
use crate::infer;
use crate::konst::{Const, Derivation, Fill, FillKind, Source};
use crate::op::{Op, Unary};
use crate::ty::{Elem, Quant, Type};

/// Valid graphs of up to some dozens of nodes.
pub(crate) fn graph() -> impl Strategy<Value = Graph> {
    prop::collection::vec(any::<u32>(), 0..400).prop_map(grow)
}

/// The graph that a list of choices leads to.
pub(crate) fn grow(choices: Vec<u32>) -> Graph {
    let mut grower = Grower {
        graph: Graph::new(""),
        choices,
        next: 0,
        values: Vec::new(),
    };
    grower.graph.name = grower.name();
    while grower.next < grower.choices.len() {
        grower.step();
    }
    grower.finish()
}

/// Names that a careless printer or parser trips over.
const NAMES: [&str; 8] = [
    "x",
    "",
    "encoder.layer.0",
    "/a/b_1",
    "a \"b\" \\",
    "; error: c",
    "tab\t\nline",
    "é\u{301}’\u{0}",
];

struct Grower {
    graph: Graph,
    choices: Vec<u32>,
    next: usize,
    values: Vec<Value>,
}

impl Grower {
    fn choose(&mut self, options: usize) -> usize {
        let choice = self.choices.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        choice as usize % options
    }

    fn coin(&mut self) -> bool {
        self.choose(2) == 1
    }

    fn one_of<T: Copy>(&mut self, options: &[T]) -> T {
        options[self.choose(options.len())]
    }

    fn name(&mut self) -> String {
        self.one_of(&NAMES).to_owned()
    }

    fn float(&mut self) -> f32 {
        let bits = f32::from_bits(self.choose(usize::MAX) as u32);
        if bits.is_finite() { bits } else { 0.1 }
    }

    fn float_elem(&mut self) -> Elem {
        self.one_of(&[Elem::F32, Elem::F16, Elem::F64])
    }

    fn shape(&mut self) -> Vec<usize> {
        let rank = self.choose(5);
        (0..rank)
            .map(|_| self.one_of(&[1, 2, 4, 4, 3, 0]))
            .collect()
    }

    /// A value with the type: an old one, a new input or a new constant.
    fn value(&mut self, ty: Type) -> Value {
        let fitting: Vec<Value> = self
            .values
            .iter()
            .copied()
            .filter(|&v| *self.graph.ty(v) == ty)
            .collect();
        if !fitting.is_empty() && self.choose(4) > 0 {
            return self.one_of(&fitting);
        }
        if self.coin() {
            let name = format!("{}{}", self.name(), self.graph.inputs().len());
            return self.graph.add_input(name, ty);
        }
        let id = self.constant(ty);
        self.graph.const_value(id)
    }

    /// An old value of any type, or a new one.
    fn any(&mut self) -> Value {
        if self.values.is_empty() || self.choose(8) == 0 {
            let (elem, shape) = (self.one_of(&Elem::ALL), self.shape());
            return self.value(Type::new(elem, shape));
        }
        let values = self.values.clone();
        self.one_of(&values)
    }

    /// A value of floats with at least so many axes.
    fn floats(&mut self, rank: usize) -> Value {
        let fits = |ty: &Type| ty.elem.is_float() && ty.rank() >= rank;
        let fitting: Vec<Value> = self
            .values
            .iter()
            .copied()
            .filter(|&v| fits(self.graph.ty(v)))
            .collect();
        if fitting.is_empty() || self.choose(8) == 0 {
            let mut shape = self.shape();
            shape.resize(shape.len().max(rank), 4);
            let elem = self.float_elem();
            return self.value(Type::new(elem, shape));
        }
        self.one_of(&fitting)
    }

    fn constant(&mut self, ty: Type) -> ConstId {
        let source = self.source(&ty);
        let name = self.name();
        self.graph.add_const(Const { name, ty, source })
    }

    fn source(&mut self, ty: &Type) -> Source {
        let Type { elem, shape, quant } = ty;
        let plain = |elem: Elem, shape: &[usize]| Type::new(elem, shape);
        match (self.choose(11), quant) {
            (0..=2, Some(Quant::Channel { .. } | Quant::Block { .. })) => {
                let of = self.constant(plain(Elem::F32, shape));
                Source::Derived(Derivation::Quantize { of })
            }
            (0..=2, Some(Quant::Shifted { axis })) => {
                let values = self.constant(plain(Elem::I8, shape));
                let pairs = self.constant(plain(Elem::F32, &[shape[*axis], 2]));
                let of = [values, pairs];
                Source::Derived(Derivation::Scaled { of })
            }
            (
                _,
                Some(
                    Quant::Row { .. }
                    | Quant::Channel { .. }
                    | Quant::Shifted { .. }
                    | Quant::Block { .. },
                ),
            ) => Source::Absent,
            (0 | 1, _) => Source::Bytes(self.bytes(ty)),
            (10, _) => Source::Synthetic(self.fill()),
            (3, None) if !shape.is_empty() => {
                let mut other = shape.clone();
                other.reverse();
                let of = self.constant(plain(*elem, &other));
                let perm = (0..shape.len()).rev().collect();
                Source::Derived(Derivation::Transpose { of, perm })
            }
            (4, None) => {
                let of = self.constant(plain(*elem, &[ty.elements()]));
                Source::Derived(Derivation::Reshape { of })
            }
            (5, None) if elem.is_float() => {
                let of = self.constant(ty.clone());
                Source::Derived(Derivation::Scale {
                    of,
                    factor: self.float(),
                })
            }
            (6, None) if elem.is_float() && !shape.is_empty() => {
                let axis = shape.len() - 1;
                let of = self.constant(ty.clone());
                let factors = self.constant(Type::new(Elem::F32, [shape[axis]]));
                Source::Derived(Derivation::ScaleEach {
                    of: [of, factors],
                    axis,
                })
            }
            (7, None) if elem.is_float() && !shape.is_empty() => {
                let of = self.constant(ty.clone());
                Source::Derived(Derivation::Rest { of, axis: 0 })
            }
            (2, None) if elem.is_float() && !shape.is_empty() => {
                let of = self.constant(Type::quantized(shape.clone(), Quant::Channel { axis: 0 }));
                Source::Derived(Derivation::Dequantize { of })
            }
            (8, None) if !shape.is_empty() => {
                let larger: Vec<usize> = shape.iter().map(|n| n + 1).collect();
                let of = self.constant(plain(*elem, &larger));
                Source::Derived(Derivation::Slice {
                    of,
                    start: vec![1; shape.len()],
                    count: shape.clone(),
                    step: vec![1; shape.len()],
                })
            }
            (9, None) if !shape.is_empty() => {
                let of = self.constant(plain(*elem, &vec![1; shape.len()]));
                Source::Derived(Derivation::Expand { of })
            }
            (6, None) if shape.first().is_some_and(|&n| n > 1) => {
                let mut parts = [shape.clone(), shape.clone()];
                parts[0][0] = 1;
                parts[1][0] -= 1;
                let of = parts
                    .map(|shape| self.constant(plain(*elem, &shape)))
                    .to_vec();
                Source::Derived(Derivation::Concat { of, axis: 0 })
            }
            _ => Source::Absent,
        }
    }

    fn bytes(&mut self, ty: &Type) -> Bytes {
        let seed = self.choose(usize::MAX);
        let byte = |i: usize| (seed.wrapping_mul(i * i + 7) >> (i % 24)) as u8;
        let bytes = (0..ty.bytes()).map(byte);
        match ty.elem {
            Elem::Bool => bytes.map(|b| b & 1).collect(),
            _ => bytes.collect(),
        }
    }

    fn fill(&mut self) -> Fill {
        let kind = match self.choose(6) {
            0 => FillKind::Normal {
                std: f64::from(self.float().abs()),
            },
            1 => FillKind::Constant {
                value: f64::from(self.float()),
            },
            2 => FillKind::Uniform {
                low: -0.5,
                high: f64::from(self.float().abs()),
            },
            3 => FillKind::UniformInt {
                low: -3,
                high: self.choose(100) as i64,
            },
            4 => FillKind::Arange,
            _ => FillKind::Tril,
        };
        Fill {
            name: self.name(),
            seed: self.choose(1000) as u64,
            kind,
        }
    }

    /// Adds a node of some operator.
    fn step(&mut self) {
        let (op, operands) = match self.choose(5) {
            0 => self.element_wise(),
            1 => self.layout(),
            2 => self.indexing(),
            3 => self.product(),
            _ => self.normalising(),
        };
        let origin = if self.coin() {
            OriginId(0)
        } else {
            self.origin()
        };
        let Ok(node) = infer::add(&mut self.graph, op, &operands, origin) else {
            return;
        };
        self.narrow(node);
        let slots = self.graph.types(node).len() as u32;
        self.values
            .extend((0..slots).map(|slot| Value { node, slot }));
        self.values.extend(
            operands
                .iter()
                .filter(|v| self.graph.as_const(**v).is_none()),
        );
        if self.choose(6) == 0 {
            self.insert_before_readers();
        }
    }

    /// Stores a result in half the width, where that is allowed and nobody has read it.
    fn narrow(&mut self, node: NodeId) {
        let declared = self.graph.types(node).to_vec();
        let [ty] = &declared[..] else { return };
        let narrow = Type {
            elem: Elem::F16,
            ..ty.clone()
        };
        if self.coin() && infer::accepts(self.graph.op(node), ty, &narrow) {
            self.graph.set_types(node, vec![narrow]);
        }
    }

    /// Puts a node between a value and its readers, so that ids are not in topological order.
    fn insert_before_readers(&mut self) {
        let x = self.floats(0);
        let readers = self.graph.users(x);
        let relu = Op::Unary(Unary::Relu);
        let Ok(node) = infer::add(&mut self.graph, relu, &[x], OriginId(0)) else {
            return;
        };
        for (reader, position) in readers {
            let mut operands = self.graph.operands(reader);
            operands[position] = node.into();
            self.graph.set_operands(reader, &operands);
        }
    }

    fn origin(&mut self) -> OriginId {
        let origin = Origin {
            layer: self.name(),
            nodes: (0..self.choose(3)).map(|_| self.name()).collect(),
        };
        self.graph.add_origin(origin)
    }

    /// Names outputs and figures, and leaves gaps in the ids or none.
    fn finish(mut self) -> Graph {
        for index in 0..self.choose(4) {
            if !self.values.is_empty() {
                let value = self.any();
                let name = format!("{}{index}", self.name());
                self.graph.add_output(name, value);
            }
        }
        if self.coin() {
            let binding = vec![(self.name(), self.choose(9) as u64), ("s".to_owned(), 128)];
            self.graph.facts = Facts {
                parameters: 7,
                macs: u64::MAX,
                binding,
            };
        }
        if self.coin() {
            self.drop_dead();
        }
        if self.coin() {
            self.graph.compact();
        }
        self.graph
    }

    fn drop_dead(&mut self) {
        for node in self.graph.node_ids().into_iter().rev() {
            let slots = self.graph.types(node).len() as u32;
            let read = (0..slots).any(|slot| self.graph.use_count(Value { node, slot }) > 0);
            let coin = self.coin();
            match self.graph.op(node) {
                Op::Input { .. } if !read && coin => self.graph.remove_input(node),
                Op::Input { .. } | Op::Const(_) => {}
                _ if !read => self.graph.remove(node),
                _ => {}
            }
        }
    }
}
