//! Caches: keys and values of earlier positions, in DRAM from one pass to the next.
//!
//! A cache has a plane for each batch element and head: int8 rows, one behind the other, and behind the
//! room for all of them their scales; or f16 rows. So what attention reads of a head is one or two sequential
//! runs, however many rows there are. How many there are is a register of the entry, one for caches that grow and one
//! for those that are only read: the rows that a cache holds are the most that it can hold before the pass.

use packwright_ir::eval::konst;
use packwright_ir::{ConstId, Elem, Graph, NodeId, Op, Quant, Value};

use packwright_packet::operand::{Affine, Reg};
use packwright_packet::program::Register;

use super::demand::AttentionShape;
use crate::graph::fuse_cache::state_name;
use crate::graph::matching::is_known;

/// Name of the register that counts the rows that growing caches hold.
pub const POSITION: &str = "pos";
/// Name of the register that counts the rows of caches that a pass reads and adds nothing to: what another entry
/// has made of an encoder's text.
pub const ENCODED: &str = "encoded";

/// A cache node in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// What past and present are called.
    pub name: String,
    pub batch: usize,
    pub heads: usize,
    /// Elements of a row of one head; they share a scale, now or when they are read.
    pub width: usize,
    /// Int8 with scales, or f16.
    pub elem: Elem,
    /// Most rows that are held before the pass.
    pub held: usize,
    /// Rows that the pass adds.
    pub new: usize,
    /// The rows that are added.
    pub added: Option<Value>,
    /// The register that says how many rows are held; none where always so many are, since what else attention
    /// reads is right for them only.
    pub counter: Option<Counter>,
}

/// A register that counts rows of caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    pub name: &'static str,
    pub register: Reg,
}

impl Cache {
    /// The cache behind a value, if it is quantised head by head, or will be.
    pub fn of(graph: &Graph, value: Value) -> Option<Self> {
        if !matches!(graph.op(value.node), Op::Cache) {
            return None;
        }
        let past = graph.operand(value.node, 0)?;
        let added = graph.operand(value.node, 1);
        let Op::Input { name } = graph.op(past.node) else {
            return None;
        };
        let ty = graph.ty(value);
        let group = match ty.quant {
            Some(Quant::Row { group }) => group,
            None if ty.elem == Elem::F16 => read_group(graph, value)?,
            _ => return None,
        };
        let rows = |value: Value| graph.ty(value).shape[1];
        Some(Self {
            name: state_name(name).to_owned(),
            batch: ty.shape[0],
            heads: ty.columns() / group,
            width: group,
            elem: ty.elem,
            held: rows(past),
            new: added.map_or(0, rows),
            added,
            counter: match rows(past) {
                0 => None,
                _ => counter(graph, added.is_some()),
            },
        })
    }

    /// The name of the register that says how many rows are held; none where that is fixed.
    pub fn register(&self) -> Option<&'static str> {
        self.counter.map(|counter| counter.name)
    }

    /// `base` and `scale` for each row that is held at run time.
    pub fn at_position(&self, base: u64, scale: u64) -> Affine {
        match self.counter {
            Some(Counter { register, .. }) => Affine {
                base,
                term: Some((register, scale)),
            },
            None => Affine::constant(base + scale * self.held as u64),
        }
    }

    /// Rows behind the pass.
    pub fn rows(&self) -> usize {
        self.held + self.new
    }

    /// Planes: a head of a batch element each.
    pub fn planes(&self) -> usize {
        self.batch * self.heads
    }

    /// Bytes of the elements of one row of a plane, and of its scale.
    pub fn row_parts(&self) -> [u64; 2] {
        let width = self.width as u64;
        match self.elem {
            Elem::F16 => [2 * width, 0],
            _ => [width, 4],
        }
    }

    /// Bytes of one row of a plane with its scale.
    pub fn row_bytes(&self) -> u64 {
        self.row_parts().iter().sum()
    }

    /// Bytes of the elements of a plane with room for `rows` rows; the scales lie behind them.
    pub fn data_bytes(&self, rows: usize) -> u64 {
        (rows as u64 * self.row_parts()[0]).next_multiple_of(4)
    }

    /// Bytes of a plane with room for `rows` rows.
    pub fn plane_bytes(&self, rows: usize) -> u64 {
        self.data_bytes(rows) + rows as u64 * self.row_parts()[1]
    }
}

/// Elements of a row that share a scale when a cache in floats is read: the same for all its readers.
fn read_group(graph: &Graph, cache: Value) -> Option<usize> {
    let users = graph.users(cache).into_iter();
    let mut groups = users.map(|(user, _)| match graph.op(user) {
        Op::Quantize {
            quant: Quant::Row { group },
        } => Some(*group),
        _ => None,
    });
    let first = groups.next()??;
    groups.all(|group| group == Some(first)).then_some(first)
}

/// The cache that a factor of an attention comes from: it is read as it is kept, or quantised on the way.
pub fn read(graph: &Graph, factor: Value) -> Option<Value> {
    let kept = match graph.op(factor.node) {
        Op::Quantize { .. } => graph.operand(factor.node, 0)?,
        _ => factor,
    };
    matches!(graph.op(kept.node), Op::Cache).then_some(kept)
}

/// Whether a node quantises rows that a cache holds in floats: the attention that reads them does it, a head at
/// a time.
pub fn quantizes_held(graph: &Graph, node: NodeId) -> bool {
    matches!(graph.op(node), Op::Quantize { .. })
        && read(graph, node.into()).is_some_and(|cache| held_rows(graph, cache) > 0)
}

/// Rows that a cache holds before the pass.
fn held_rows(graph: &Graph, cache: Value) -> usize {
    let past = graph.operand(cache.node, 0);
    past.map_or(0, |past| graph.ty(past).shape[1])
}

/// Whether an input is what a cache holds: it stays in DRAM, and no pass brings it in as a whole.
pub fn is_held(graph: &Graph, input: NodeId) -> bool {
    let mut users = graph.users(input.into()).into_iter();
    users.any(|(user, position)| position == 0 && matches!(graph.op(user), Op::Cache))
}

/// Whether an attention reads rows that caches hold.
pub fn reads_held(graph: &Graph, attention: NodeId) -> bool {
    let mut factors = graph.operands(attention).into_iter().skip(1).take(2);
    factors.any(|value| read(graph, value).is_some_and(|cache| held_rows(graph, cache) > 0))
}

/// The register that counts the rows of caches that grow, or of those that are only read.
fn counter(graph: &Graph, grows: bool) -> Option<Counter> {
    let counts = |grows: bool| {
        let mut attentions = readers(graph, grows).peekable();
        attentions.peek().is_some() && attentions.all(|node| hides_nothing(graph, node))
    };
    if !counts(grows) {
        return None;
    }
    if grows {
        return Some(Counter {
            name: POSITION,
            register: Reg(0),
        });
    }
    // One number has to be right for all that is read.
    let mut held = readers(graph, false).map(|node| AttentionShape::of(graph, node).t);
    let first = held.next()?;
    held.all(|rows| rows == first).then(|| Counter {
        name: ENCODED,
        register: Reg(u8::from(counts(true))),
    })
}

/// The attentions whose keys a cache holds, and grow behind what is held, or do not.
fn readers(graph: &Graph, grow: bool) -> impl Iterator<Item = NodeId> + '_ {
    let attentions = graph.node_ids().into_iter();
    attentions.filter(move |&node| {
        matches!(graph.op(node), Op::Attention(_))
            && reads_held(graph, node)
            && keys(graph, node).is_some_and(|cache| (graph.operands(cache.node).len() > 1) == grow)
    })
}

/// The cache that the keys of an attention come from.
pub fn keys(graph: &Graph, attention: NodeId) -> Option<Value> {
    read(graph, graph.operand(attention, 1)?)
}

/// Whether the mask of an attention says the same of the first columns, however many there are. What
/// comes from inputs is given anew for each pass; constants along the columns have to be all the same.
fn hides_nothing(graph: &Graph, attention: NodeId) -> bool {
    let Op::Attention(attrs) = graph.op(attention) else {
        return true;
    };
    let mask = attrs
        .mask_operand()
        .and_then(|at| graph.operand(attention, at));
    let Some(mask) = mask else {
        return true;
    };
    let columns = graph.ty(mask).columns();
    let mut pending = vec![mask];
    let mut seen = Vec::new();
    while let Some(value) = pending.pop() {
        if seen.contains(&value) {
            continue;
        }
        seen.push(value);
        match graph.as_const(value) {
            Some(id) if graph.ty(value).elements() >= columns && columns > 1 => {
                if !is_known(graph, id) || !uniform(graph, id) {
                    return false;
                }
            }
            Some(_) => {}
            None => pending.extend(graph.operands(value.node)),
        }
    }
    true
}

/// Whether all elements of a constant are the same.
fn uniform(graph: &Graph, id: ConstId) -> bool {
    let Ok(tensor) = konst::value(graph, id) else {
        return false;
    };
    let bytes = tensor.to_le_bytes();
    let size = graph.konst(id).ty.elem.bytes();
    bytes.chunks(size).all(|element| element == &bytes[..size])
}

/// The registers that a graph needs.
pub fn registers(graph: &Graph) -> Vec<Register> {
    let caches = caches(graph);
    let most = |name: &str| {
        let counted = caches.iter().filter(|cache| cache.register() == Some(name));
        counted.map(|cache| cache.held as u64).max()
    };
    [POSITION, ENCODED]
        .into_iter()
        .filter_map(|name| {
            Some(Register {
                name: name.to_owned(),
                max: most(name)?,
            })
        })
        .collect()
}

/// All caches of a graph, in the order of their inputs.
pub fn caches(graph: &Graph) -> Vec<Cache> {
    let mut found: Vec<Cache> = Vec::new();
    for &input in graph.inputs() {
        for (user, _) in graph.users(input.into()) {
            found.extend(Cache::of(graph, user.into()));
        }
    }
    found
}
