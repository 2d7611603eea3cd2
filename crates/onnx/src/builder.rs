//! What operators' functions build with: values known now are computed now, the rest becomes nodes.

mod layout;

use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use indexmap::IndexMap;
use packwright_ir::diag::Diagnostic;
use packwright_ir::eval;
use packwright_ir::konst::{Const, Derivation, Source};
use packwright_ir::op::Binary;
use packwright_ir::tensor::Tensor;
use packwright_ir::{ConstId, Elem, Graph, Op, OriginId, Type, Value, infer};

use crate::bind::Random;
use crate::codes;
use crate::lazy::{self, Form, Lazy};
use crate::values::{self, Few};

/// Elements of the largest value that a graph may have.
const LARGEST_VALUE: usize = 1 << 38;
/// Elements of the largest tensor that is computed while importing.
pub(crate) const FOLD_LIMIT: usize = 1 << 20;

/// A value of the model during the walk.
#[derive(Clone, Debug)]
pub(crate) enum Arg {
    /// Values that are known now.
    Known(Rc<Known>),
    /// Values that are known as a formula.
    Lazy(Rc<Lazy>),
    /// A value of the graph: computed at run time, or a weight.
    Graph(Value),
    /// A list of values.
    List(Rc<Vec<Arg>>),
    /// The result of something that could not be imported; reported already.
    Lost,
}

/// A small constant with its values.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) tensor: Tensor,
    /// Name of the value that it first was.
    pub(crate) name: String,
}

impl Arg {
    /// The values, where they are known.
    pub(crate) fn tensor(&self) -> Option<&Tensor> {
        match self {
            Arg::Known(known) => Some(&known.tensor),
            Arg::Lazy(lazy) => lazy.known().map(|known| &known.tensor),
            Arg::Graph(_) | Arg::List(_) | Arg::Lost => None,
        }
    }

    /// Whether the values are known and few.
    fn is_known(&self) -> bool {
        match self {
            Arg::Known(_) => true,
            Arg::Lazy(lazy) => lazy.ty.elements() <= FOLD_LIMIT,
            Arg::Graph(_) | Arg::List(_) | Arg::Lost => false,
        }
    }

    /// The integers, where they are known.
    pub(crate) fn ints(&self) -> Option<Vec<i64>> {
        self.tensor().and_then(values::integers)
    }
}

/// The graph under construction.
#[derive(Debug)]
pub(crate) struct Builder {
    pub(crate) graph: Graph,
    /// Where new nodes come from.
    pub(crate) origin: OriginId,
    /// Name for new constants.
    pub(crate) label: String,
    /// Multiply-adds of the products so far.
    pub(crate) macs: u64,
    /// What becomes of operators that draw random numbers.
    pub(crate) random: Random,
    pub(crate) warnings: Vec<Diagnostic>,
    /// Parameters in weights that are stored several to an element.
    pub(crate) unpacked: u64,
    /// Constants by content, so that equal ones are stored once.
    stored: HashMap<(Elem, Vec<usize>, Bytes), ConstId>,
    /// Constants made from others, so that each is made once.
    derived: Vec<(Derivation, Vec<usize>, ConstId)>,
    names: IndexMap<String, usize>,
}

impl Builder {
    pub(crate) fn new(name: &str, random: Random) -> Self {
        Self {
            graph: Graph::new(name),
            origin: OriginId(0),
            label: String::new(),
            macs: 0,
            random,
            warnings: Vec::new(),
            unpacked: 0,
            stored: HashMap::new(),
            derived: Vec::new(),
            names: IndexMap::new(),
        }
    }

    /// A value that is known now.
    pub(crate) fn known(&self, tensor: Tensor) -> Arg {
        Arg::Known(Rc::new(Known {
            tensor,
            name: self.label.clone(),
        }))
    }

    /// A scalar of the element type.
    pub(crate) fn scalar(&self, elem: Elem, value: f64) -> Arg {
        self.known(values::filled(elem, &[], value))
    }

    /// The type of a value.
    pub(crate) fn ty(&self, arg: &Arg) -> Result<Type, Diagnostic> {
        match arg {
            Arg::Known(known) => Ok(known.tensor.ty()),
            Arg::Lazy(lazy) => Ok(lazy.ty.clone()),
            Arg::Graph(value) => Ok(self.graph.ty(*value).clone()),
            Arg::List(_) => Err(codes::form("a sequence stands where a tensor should")),
            Arg::Lost => Err(codes::form("an operand could not be imported")),
        }
    }

    /// The shape of a value.
    pub(crate) fn shape(&self, arg: &Arg) -> Result<Vec<usize>, Diagnostic> {
        Ok(self.ty(arg)?.shape)
    }

    /// Applies an operator with one result.
    pub(crate) fn emit(&mut self, op: Op, args: &[&Arg]) -> Result<Arg, Diagnostic> {
        let mut results = self.emit_all(op, args)?;
        results
            .pop()
            .ok_or_else(|| codes::form("there is no result"))
    }

    /// Applies an operator: computes it where all operands are known, adds a node elsewhere.
    pub(crate) fn emit_all(&mut self, op: Op, args: &[&Arg]) -> Result<Vec<Arg>, Diagnostic> {
        let types = args
            .iter()
            .map(|a| self.ty(a))
            .collect::<Result<Vec<_>, _>>()?;
        let results = infer::infer(&op, &types.iter().collect::<Vec<_>>())?;
        if let Some(ty) = results.iter().find(|ty| too_large(ty)) {
            return Err(codes::too_large(ty));
        }
        if let [result] = &results[..]
            && let Some(arg) = lazy::apply(self, &op, args, result)?
        {
            return Ok(vec![arg]);
        }
        let small = results.iter().all(|t| t.elements() <= FOLD_LIMIT);
        let known = small && args.iter().all(|a| a.is_known());
        let tensors: Option<Vec<&Tensor>> =
            args.iter().filter(|_| known).map(|a| a.tensor()).collect();
        if known && let Some(known) = tensors {
            let tensors = eval::eval_op(&op, &known).map_err(|e| codes::fold(&e.to_string()))?;
            return Ok(tensors.into_iter().map(|t| self.known(t)).collect());
        }
        let operands = args
            .iter()
            .map(|a| self.value(a))
            .collect::<Result<Vec<_>, _>>()?;
        let slots = results.len() as u32;
        let node = self.graph.add(op, &operands, results, self.origin);
        Ok((0..slots)
            .map(|slot| Arg::Graph(Value { node, slot }))
            .collect())
    }

    /// The value as an operand of a node; stores it where it is known.
    pub(crate) fn value(&mut self, arg: &Arg) -> Result<Value, Diagnostic> {
        match arg {
            Arg::Graph(value) => Ok(*value),
            Arg::Known(known) => Ok(self.known_value(known)),
            Arg::Lazy(lazy) => match lazy.node.get() {
                Some(value) => Ok(value),
                None => {
                    let value = self.lazy_value(lazy)?;
                    lazy.node.set(Some(value));
                    Ok(value)
                }
            },
            Arg::List(_) | Arg::Lost => {
                self.ty(arg)?;
                Err(codes::form("an operand is no tensor"))
            }
        }
    }

    /// A constant; large tables of one or two numbers (masks) as the numbers, repeated or chosen between.
    fn known_value(&mut self, known: &Known) -> Value {
        let ty = known.tensor.ty();
        let (op, parts) = match values::few_numbers(&known.tensor) {
            None => {
                let id = self.store(&known.tensor, &known.name);
                return self.graph.const_value(id);
            }
            Some(Few::One(number)) => {
                let shape = ty.shape.clone();
                (Op::Expand { shape }, vec![number])
            }
            Some(Few::Two(choice)) => (Op::Where, Vec::from(*choice)),
        };
        let operands: Vec<Value> = parts
            .iter()
            .map(|part| {
                let id = self.store(part, &known.name);
                self.graph.const_value(id)
            })
            .collect();
        self.graph.add(op, &operands, vec![ty], self.origin).into()
    }

    /// A formula as a node: computed at run time rather than stored.
    fn lazy_value(&mut self, lazy: &Lazy) -> Result<Value, Diagnostic> {
        let (op, parts): (Op, Vec<&Arg>) = match &lazy.form {
            Form::Spread(of) => {
                let op = Op::Expand {
                    shape: lazy.ty.shape.clone(),
                };
                let of = self.store(&of.tensor, &of.name);
                let of = self.graph.const_value(of);
                return Ok(self
                    .graph
                    .add(op, &[of], vec![lazy.ty.clone()], self.origin)
                    .into());
            }
            Form::Columns(parts) => (
                Op::Concat {
                    axis: lazy.ty.rank() - 1,
                },
                parts.iter().collect(),
            ),
            Form::Affine { terms, .. } => (Op::Binary(Binary::Add), terms.iter().collect()),
        };
        if let Some(known) = lazy.known() {
            let id = self.store(&known.tensor, &known.name);
            return Ok(self.graph.const_value(id));
        }
        let operands = parts
            .iter()
            .map(|a| self.value(a))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(self
            .graph
            .add(op, &operands, vec![lazy.ty.clone()], self.origin)
            .into())
    }

    /// A constant with these values; the one that is already there if there is one.
    fn store(&mut self, tensor: &Tensor, name: &str) -> ConstId {
        let ty = tensor.ty();
        let bytes = Bytes::from(tensor.to_le_bytes());
        let key = (ty.elem, ty.shape.clone(), bytes.clone());
        if let Some(&id) = self.stored.get(&key) {
            return id;
        }
        let id = self.add_const(name, ty, Source::Bytes(bytes));
        self.stored.insert(key, id);
        id
    }

    /// Adds a constant under a name that no other has.
    pub(crate) fn add_const(&mut self, name: &str, ty: Type, source: Source) -> ConstId {
        let count = self.names.entry(name.to_owned()).or_insert(0);
        *count += 1;
        let name = if *count == 1 {
            name.to_owned()
        } else {
            format!("{name}#{count}")
        };
        self.graph.add_const(Const { name, ty, source })
    }

    /// A stored constant seen in another way, as a value; made once.
    pub(crate) fn derive(&mut self, of: ConstId, ty: Type, how: Derivation) -> Arg {
        let same =
            |(d, shape, _): &&(Derivation, Vec<usize>, ConstId)| *d == how && *shape == ty.shape;
        let id = match self.derived.iter().find(same) {
            Some((_, _, id)) => *id,
            None => {
                let name = self.graph.konst(of).name.clone();
                let shape = ty.shape.clone();
                let id = self.add_const(&name, ty, Source::Derived(how.clone()));
                self.derived.push((how, shape, id));
                id
            }
        };
        Arg::Graph(self.graph.const_value(id))
    }

    /// The stored constant behind a value, if it is one.
    pub(crate) fn as_const(&self, arg: &Arg) -> Option<ConstId> {
        match arg {
            Arg::Graph(value) => self.graph.as_const(*value),
            Arg::Known(_) | Arg::Lazy(_) | Arg::List(_) | Arg::Lost => None,
        }
    }

    /// Counts the multiply-adds of a product as it stands in the model.
    pub(crate) fn count_macs(&mut self, macs: Option<u64>) {
        self.macs = self.macs.saturating_add(macs.unwrap_or(u64::MAX));
    }
}

/// Whether a value has more elements than any machine holds; axes of length 0 do not make others small.
fn too_large(ty: &Type) -> bool {
    let elements = ty
        .shape
        .iter()
        .try_fold(1usize, |p, &n| p.checked_mul(n.max(1)));
    elements.is_none_or(|n| n > LARGEST_VALUE)
}
