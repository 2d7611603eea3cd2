//! The graph: nodes over petgraph behind one door.
//!
//! Edges carry the operand slot and are the only truth about operands. Removal leaves a gap in the
//! ids; [`Graph::compact`] renumbers in order of [`crate::order`] at pass boundaries. Nobody outside
//! this file names petgraph.

use indexmap::IndexMap;
use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;

use crate::id::{ConstId, NodeId, OriginId, Value};
use crate::konst::{Const, Source};
use crate::op::Op;
use crate::ty::Type;

/// A network: nodes, constants, inputs and outputs.
#[derive(Clone, Debug)]
pub struct Graph {
    pub name: String,
    net: StableDiGraph<Node, Edge>,
    consts: Vec<Const>,
    const_nodes: Vec<Option<NodeIndex>>,
    inputs: Vec<NodeId>,
    outputs: Vec<Output>,
    origins: IndexMap<Origin, ()>,
    /// Facts of the model that passes must not change.
    pub facts: Facts,
}

/// Figures of the exported model, set by the front end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Elements of all parameters that the graph reads, each counted once.
    pub parameters: u64,
    /// Multiply-adds of the products as exported, at the binding.
    pub macs: u64,
    /// Axis bindings in the order of the model.
    pub binding: Vec<(String, u64)>,
}

/// A node with what it computes.
#[derive(Clone, Debug)]
struct Node {
    op: Op,
    types: Vec<Type>,
    origin: OriginId,
}

#[derive(Clone, Copy, Debug)]
struct Edge {
    /// Output slot of the source.
    from: u32,
    /// Operand position at the target.
    to: u32,
}

/// A named result of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub name: String,
    pub value: Value,
}

/// Where a node comes from: a row of the provenance table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// The layer, e.g. `encoder.layer.3`; empty where the model does not say.
    pub layer: String,
    /// Names of the ONNX nodes behind it.
    pub nodes: Vec<String>,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> Self {
        let mut origins = IndexMap::new();
        origins.insert(Origin::default(), ());
        Self {
            name: name.into(),
            net: StableDiGraph::default(),
            consts: Vec::new(),
            const_nodes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            origins,
            facts: Facts::default(),
        }
    }

    /// Adds an input of the graph.
    pub fn add_input(&mut self, name: impl Into<String>, ty: Type) -> Value {
        let node = self.insert(Op::Input { name: name.into() }, vec![ty], OriginId(0));
        self.inputs.push(node);
        node.into()
    }

    /// Stores a constant; use [`Graph::const_value`] to read it.
    pub fn add_const(&mut self, konst: Const) -> ConstId {
        let id = ConstId(self.consts.len() as u32);
        self.consts.push(konst);
        self.const_nodes.push(None);
        id
    }

    /// The value of a constant, as an operand.
    pub fn const_value(&mut self, id: ConstId) -> Value {
        let node = match self.const_nodes[id.index()] {
            Some(node) => node,
            None => {
                let ty = self.consts[id.index()].ty.clone();
                let node = self.net.add_node(Node {
                    op: Op::Const(id),
                    types: vec![ty],
                    origin: OriginId(0),
                });
                self.const_nodes[id.index()] = Some(node);
                node
            }
        };
        node_id(node).into()
    }

    /// Adds a node with the types of its results. `infer::add` works the types out instead.
    pub fn add(
        &mut self,
        op: Op,
        operands: &[Value],
        types: Vec<Type>,
        origin: OriginId,
    ) -> NodeId {
        let node = self.insert(op, types, origin);
        self.connect(node, operands);
        node
    }

    /// Declares a result of the graph.
    pub fn add_output(&mut self, name: impl Into<String>, value: Value) {
        self.outputs.push(Output {
            name: name.into(),
            value,
        });
    }

    /// Registers a row of the provenance table.
    pub fn add_origin(&mut self, origin: Origin) -> OriginId {
        let (index, _) = self.origins.insert_full(origin, ());
        OriginId(index as u32)
    }

    /// A row of the provenance table.
    pub fn origin(&self, id: OriginId) -> &Origin {
        self.origins
            .get_index(id.index())
            .expect("origin ids come from this graph")
            .0
    }

    /// Number of rows of the provenance table.
    pub fn origin_count(&self) -> usize {
        self.origins.len()
    }

    /// The origin of a node.
    pub fn origin_of(&self, node: NodeId) -> OriginId {
        self.node(node).origin
    }

    /// Changes the origin of a node.
    pub fn set_origin(&mut self, node: NodeId, origin: OriginId) {
        self.node_mut(node).origin = origin;
    }

    /// The inputs, in the order of the model.
    pub fn inputs(&self) -> &[NodeId] {
        &self.inputs
    }

    /// The results, in the order of the model.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// Points a result at another value.
    pub fn set_output(&mut self, index: usize, value: Value) {
        self.outputs[index].value = value;
    }

    /// Removes an input that nobody reads.
    pub fn remove_input(&mut self, node: NodeId) {
        self.inputs.retain(|&n| n != node);
        self.remove(node);
    }

    /// Puts the inputs in another order.
    pub(crate) fn order_inputs(&mut self, inputs: Vec<NodeId>) {
        debug_assert_eq!(inputs.len(), self.inputs.len(), "no input comes or goes");
        self.inputs = inputs;
    }

    /// All constants.
    pub fn consts(&self) -> &[Const] {
        &self.consts
    }

    /// Says anew where the values of a constant come from; name and type stay.
    pub fn set_source(&mut self, id: ConstId, source: Source) {
        self.consts[id.index()].source = source;
    }

    /// A constant.
    pub fn konst(&self, id: ConstId) -> &Const {
        &self.consts[id.index()]
    }

    /// Whether the id names a node of the graph.
    pub fn contains(&self, node: NodeId) -> bool {
        self.net.contains_node(index(node))
    }

    /// What a node does.
    pub fn op(&self, node: NodeId) -> &Op {
        &self.node(node).op
    }

    /// Changes what a node does; operands and types stay.
    pub fn set_op(&mut self, node: NodeId, op: Op) {
        self.node_mut(node).op = op;
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> &Type {
        &self.node(value.node).types[value.slot as usize]
    }

    /// The types of all results of a node.
    pub fn types(&self, node: NodeId) -> &[Type] {
        &self.node(node).types
    }

    /// Changes the types of the results of a node.
    pub fn set_types(&mut self, node: NodeId, types: Vec<Type>) {
        self.node_mut(node).types = types;
    }

    /// The constant behind a value, if it is one.
    pub fn as_const(&self, value: Value) -> Option<ConstId> {
        match self.op(value.node) {
            Op::Const(id) => Some(*id),
            _ => None,
        }
    }

    /// The operands of a node, in order.
    pub fn operands(&self, node: NodeId) -> Vec<Value> {
        let mut edges: Vec<(u32, Value)> = self
            .net
            .edges_directed(index(node), Direction::Incoming)
            .map(|e| {
                (
                    e.weight().to,
                    Value {
                        node: node_id(e.source()),
                        slot: e.weight().from,
                    },
                )
            })
            .collect();
        edges.sort_unstable_by_key(|&(to, _)| to);
        edges.into_iter().map(|(_, value)| value).collect()
    }

    /// One operand of a node.
    pub fn operand(&self, node: NodeId, position: usize) -> Option<Value> {
        self.net
            .edges_directed(index(node), Direction::Incoming)
            .find(|e| e.weight().to as usize == position)
            .map(|e| Value {
                node: node_id(e.source()),
                slot: e.weight().from,
            })
    }

    /// Replaces all operands of a node.
    pub fn set_operands(&mut self, node: NodeId, operands: &[Value]) {
        let old: Vec<_> = self
            .net
            .edges_directed(index(node), Direction::Incoming)
            .map(|e| e.id())
            .collect();
        for edge in old {
            self.net.remove_edge(edge);
        }
        self.connect(node, operands);
    }

    /// The nodes that read a value with the operand position, in order of ids. A node that reads it
    /// twice stands twice.
    pub fn users(&self, value: Value) -> Vec<(NodeId, usize)> {
        let mut users: Vec<_> = self
            .net
            .edges_directed(index(value.node), Direction::Outgoing)
            .filter(|e| e.weight().from == value.slot)
            .map(|e| (node_id(e.target()), e.weight().to as usize))
            .collect();
        users.sort_unstable();
        users
    }

    /// Whether the value is a result of the graph.
    pub fn is_output(&self, value: Value) -> bool {
        self.outputs.iter().any(|o| o.value == value)
    }

    /// How often a value is read: by nodes and as a result of the graph.
    pub fn use_count(&self, value: Value) -> usize {
        self.users(value).len() + self.outputs.iter().filter(|o| o.value == value).count()
    }

    /// Makes all readers of `old` read `new`, results of the graph too.
    pub fn replace_uses(&mut self, old: Value, new: Value) {
        let edges: Vec<_> = self
            .net
            .edges_directed(index(old.node), Direction::Outgoing)
            .filter(|e| e.weight().from == old.slot)
            .map(|e| (e.id(), e.target(), e.weight().to))
            .collect();
        for (edge, target, to) in edges {
            self.net.remove_edge(edge);
            self.net
                .add_edge(index(new.node), target, Edge { from: new.slot, to });
        }
        for output in &mut self.outputs {
            if output.value == old {
                output.value = new;
            }
        }
    }

    /// Removes a node; its readers must have been given something else to read.
    pub fn remove(&mut self, node: NodeId) {
        if let Op::Const(id) = self.op(node) {
            let id = *id;
            self.const_nodes[id.index()] = None;
        }
        self.net.remove_node(index(node));
    }

    /// All nodes in order of ids, constants included.
    pub fn node_ids(&self) -> Vec<NodeId> {
        self.net.node_indices().map(node_id).collect()
    }

    /// Number of nodes, constants included.
    pub fn node_count(&self) -> usize {
        self.net.node_count()
    }

    /// Drops constants that nobody reads (and that no kept constant is derived from) and renumbers
    /// nodes in topological order and constants in order of first use. Ids given out before are void.
    pub fn compact(&mut self) {
        crate::order::compact(self);
    }

    /// Takes the graph apart for renumbering; see [`crate::order::compact`].
    pub(crate) fn replace_consts(&mut self, consts: Vec<Const>) {
        self.const_nodes = vec![None; consts.len()];
        self.consts = consts;
    }

    fn insert(&mut self, op: Op, types: Vec<Type>, origin: OriginId) -> NodeId {
        node_id(self.net.add_node(Node { op, types, origin }))
    }

    fn connect(&mut self, node: NodeId, operands: &[Value]) {
        for (to, operand) in operands.iter().enumerate() {
            let edge = Edge {
                from: operand.slot,
                to: to as u32,
            };
            self.net.add_edge(index(operand.node), index(node), edge);
        }
    }

    fn node(&self, node: NodeId) -> &Node {
        &self.net[index(node)]
    }

    fn node_mut(&mut self, node: NodeId) -> &mut Node {
        &mut self.net[index(node)]
    }
}

fn index(node: NodeId) -> NodeIndex {
    NodeIndex::new(node.index())
}

fn node_id(index: NodeIndex) -> NodeId {
    NodeId(index.index() as u32)
}
