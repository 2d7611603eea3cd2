//! The recipe: how each product is quantised. Types and granularity are choices that shape the program;
//! scales are values and shape nothing.

use indexmap::IndexMap;
use packwright_ir::{Graph, NodeId, Op, Value};

/// Longest group of a row that has a scale of its own, unless a recipe says otherwise.
pub const GROUP: usize = 64;
/// Longest group of the rows that narrowing products read: such rows are quantised as their columns are made,
/// and the more of them share a scale, the less the plan is cut.
pub const HIDDEN_GROUP: usize = 256;
/// Lengths of the blocks of int4 weights that a recipe may ask for.
pub const BLOCKS: [usize; 3] = [32, 64, 128];
/// Length of the blocks of int4 weights, unless a recipe says otherwise.
pub const BLOCK: usize = 64;
/// Shortest group that a recipe may ask for: what a vector of the machine holds.
pub const SHORTEST_GROUP: usize = 16;

/// How activations in front of products become int8, and weights int8 or int4.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// For layers that are not named.
    pub default: Activations,
    /// For layers that are not named and read a norm, whose channels are of unlike magnitude.
    pub norms: Option<Activations>,
    /// Longest group in front of products that make rows narrower, where the default has groups.
    pub hidden_group: usize,
    /// Which activations have the magnitudes of their channels moved into weights.
    pub equalize: Equalize,
    /// Weights of layers that are not named.
    pub weights: Weights,
    /// Weights of products that give a result of the model, a head over a vocabulary say.
    pub head: Weights,
    /// How caches keep keys and values.
    pub caches: Caches,
    /// Weights by the name of the layer.
    pub layer_weights: IndexMap<String, Weights>,
    /// By the name of the weights that a product reads.
    pub layers: IndexMap<String, Activations>,
    /// Scales of static layers, by the name of the weights.
    pub scales: IndexMap<String, f32>,
    /// For scales that nobody has measured.
    pub seed: u64,
}

/// Which activations share the magnitudes of their channels with the weights that read them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Equalize {
    #[default]
    Nothing,
    /// Results of norms.
    Norms,
    /// Results of norms, and of products where what is in between lets factors through.
    All,
}

/// How one activation becomes int8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activations {
    /// A scale for each run of at most so many elements of a row, found at run time.
    Row { group: usize },
    /// One scale for the tensor, fixed.
    Static,
    /// Sixteen bits in two parts of eight, each with a scale a row, found at run time.
    WideRow,
    /// Sixteen bits in two parts of eight with fixed scales.
    WideStatic,
}

impl Activations {
    /// Whether scales are fixed.
    pub const fn is_fixed(self) -> bool {
        match self {
            Activations::Static | Activations::WideStatic => true,
            Activations::Row { .. } | Activations::WideRow => false,
        }
    }

    /// The same with eight bits.
    pub const fn narrower(self) -> Self {
        match self {
            Activations::Row { .. } | Activations::Static => self,
            Activations::WideRow => Activations::Row { group: GROUP },
            Activations::WideStatic => Activations::Static,
        }
    }

    /// The same with sixteen bits; `None` where it has them.
    pub const fn wider(self) -> Option<Self> {
        match self {
            Activations::Row { .. } => Some(Activations::WideRow),
            Activations::Static => Some(Activations::WideStatic),
            Activations::WideRow | Activations::WideStatic => None,
        }
    }
}

/// How the weights of a product become integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Weights {
    /// A scale for each output channel.
    #[default]
    Int8,
    /// A step for each run of at most so many weights of an output channel.
    Int4 { group: usize },
}

/// How caches keep keys and values from one pass to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Caches {
    /// As attention reads them: a scale for each row and head.
    #[default]
    Int8,
    /// As they are made; a pass quantises the rows that it reads.
    F16,
}

impl Default for Activations {
    fn default() -> Self {
        Self::Row { group: GROUP }
    }
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            default: Activations::default(),
            norms: None,
            equalize: Equalize::default(),
            hidden_group: HIDDEN_GROUP,
            weights: Weights::default(),
            head: Weights::default(),
            caches: Caches::default(),
            layer_weights: IndexMap::new(),
            layers: IndexMap::new(),
            scales: IndexMap::new(),
            seed: 0,
        }
    }
}

impl Recipe {
    /// A recipe that fixes all scales; one scale for a tensor needs sixteen bits, since outliers move its steps.
    pub fn fixed() -> Self {
        Self {
            default: Activations::WideStatic,
            ..Self::default()
        }
    }

    /// What a layer gets.
    pub fn of(&self, layer: &Layer) -> Activations {
        let default = match self.norms {
            Some(norms) if layer.reads_norm => norms,
            Some(_) | None => self.default,
        };
        match (self.layers.get(&layer.name), default) {
            (Some(&own), _) => own,
            (None, Activations::Row { .. }) if layer.narrows() => Activations::Row {
                group: self.hidden_group,
            },
            (None, default) => default,
        }
    }

    /// What the weights of a layer become; `head` says whether it gives a result of the model.
    pub fn weights_of(&self, layer: &str, head: bool) -> Weights {
        let other = if head { self.head } else { self.weights };
        self.layer_weights.get(layer).copied().unwrap_or(other)
    }
}

/// A product of activations and constant weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The name of the weights.
    pub name: String,
    pub node: NodeId,
    /// What it reads.
    pub input: Value,
    /// Elements of a row of its input.
    pub columns: usize,
    /// Elements of a row of its result.
    pub results: usize,
    /// Whether its input comes from a norm.
    pub reads_norm: bool,
}

impl Layer {
    /// Whether the product makes rows narrower.
    pub fn narrows(&self) -> bool {
        self.columns > self.results
    }
}

/// Whether the result of a node is a result of the graph, but for its type and shape.
pub fn gives_result(graph: &Graph, node: NodeId) -> bool {
    if graph.is_output(node.into()) {
        return true;
    }
    graph.users(node.into()).iter().any(|&(user, _)| {
        matches!(
            graph.op(user),
            Op::Cast { .. } | Op::Reshape { .. } | Op::Slice { .. }
        ) && gives_result(graph, user)
    })
}

/// What products with constant weights are called, in order of ids, before they are quantised and after.
pub fn layers(graph: &Graph) -> Vec<Layer> {
    let nodes = graph.node_ids().into_iter();
    nodes.filter_map(|node| layer(graph, node)).collect()
}

/// The layer that a node is.
pub fn layer(graph: &Graph, node: NodeId) -> Option<Layer> {
    let Op::Matmul(attrs) = graph.op(node) else {
        return None;
    };
    let operands = graph.operands(node);
    let weights = graph.as_const(operands[1])?;
    let name = &graph.konst(weights).name;
    let columns = graph.ty(operands[0]).columns() / attrs.parts.max(1);
    if graph.ty(operands[1]).rank() != 2 || columns == 1 || graph.as_const(operands[0]).is_some() {
        return None;
    }
    Some(Layer {
        name: name
            .strip_suffix(super::quantize::INT8)
            .or(name.strip_suffix(super::quantize::INT4))
            .unwrap_or(name)
            .to_owned(),
        node,
        input: operands[0],
        columns,
        results: graph.types(node)[0].columns(),
        reads_norm: matches!(
            graph.op(operands[0].node),
            Op::LayerNorm { .. } | Op::RmsNorm { .. }
        ),
    })
}
