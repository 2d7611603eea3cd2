//! How constants lie in DRAM: one record a channel, so that any range of channels is one stream.
//!
//! A weight matrix is stored output channel by output channel: `k` int8 values, padding to four
//! bytes, the channel's scale, its zero point where it has one, and its bias where there is one. In int4 a byte holds two values, and the steps
//! of the blocks stand in the place of the scale. A quantised embedding table has the
//! same records, a row each. Vectors of norms lie side by side in f32.

use indexmap::IndexSet;
use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_ir::order::topological;
use packwright_ir::{ConstId, Elem, Graph, NodeId, Op, Quant};

use super::cache::{self, Cache};

/// Index of a stored constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredId(pub u32);

/// Index of a tile: a range of a stored constant that is loaded at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId(pub u32);

/// What a stored constant holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Records of a matrix that is quantised by channel or in blocks, with an optional bias.
    Channels {
        matrix: ConstId,
        bias: Option<ConstId>,
        channels: usize,
        k: usize,
        /// Values that share a step, where they are int4.
        block: Option<usize>,
        /// Whether each channel has a zero point.
        zeros: bool,
    },
    /// f32 vectors one after the other.
    Vectors { parts: Vec<ConstId>, length: usize },
    /// Elements as the machine keeps them.
    Plain { konst: ConstId },
    /// Planes of a cache: no constant, but read through the same ring.
    Cache(Cache),
}

/// A constant in its DRAM form.
#[derive(Clone, Debug)]
pub struct Stored {
    pub form: Form,
    /// Whether it is an embedding table, read by row.
    pub table: bool,
    /// Offset in the constants section.
    pub offset: u64,
    pub bytes: u64,
    /// The element type of `Plain` and of the indices.
    pub elem: Elem,
}

impl Stored {
    /// Bytes of one channel record.
    pub fn record(&self) -> u64 {
        match &self.form {
            Form::Channels { bias, .. } => self.bias_offset() + if bias.is_some() { 4 } else { 0 },
            Form::Vectors { length, .. } => *length as u64 * 4,
            Form::Plain { .. } => self.bytes,
            Form::Cache(cache) => cache.plane_bytes(cache.rows()),
        }
    }

    /// Offset of the bias in a channel record.
    pub fn bias_offset(&self) -> u64 {
        match &self.form {
            Form::Channels { zeros, .. } => self.zero_offset() + if *zeros { 4 } else { 0 },
            Form::Vectors { .. } | Form::Plain { .. } | Form::Cache(_) => 0,
        }
    }

    /// Offset of the zero point in a channel record, where it has one.
    pub fn zero_offset(&self) -> u64 {
        match &self.form {
            Form::Channels { k, block, .. } => self.scale_offset() + scale_bytes(*k, *block),
            Form::Vectors { .. } | Form::Plain { .. } | Form::Cache(_) => 0,
        }
    }

    /// Whether the constants section holds it.
    pub fn is_constant(&self) -> bool {
        !matches!(self.form, Form::Cache(_))
    }

    /// Offset of the scale, or of the steps, in a channel record.
    pub fn scale_offset(&self) -> u64 {
        match &self.form {
            Form::Channels { k, block, .. } => value_bytes(*k, *block),
            Form::Vectors { .. } | Form::Plain { .. } => 0,
            Form::Cache(cache) => cache.data_bytes(cache.rows()),
        }
    }
}

/// Bytes of the values of a channel, with what follows until its scales begin.
fn value_bytes(k: usize, block: Option<usize>) -> u64 {
    let bytes = if block.is_some() { k.div_ceil(2) } else { k };
    (bytes as u64).next_multiple_of(4)
}

/// Bytes of the scale of a channel, or of its steps in f16.
fn scale_bytes(k: usize, block: Option<usize>) -> u64 {
    block.map_or(4, |block| {
        (2 * k.div_ceil(block) as u64).next_multiple_of(4)
    })
}

/// A range of a stored constant, or the same part of each of some of its records, loaded at once into the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    pub stored: StoredId,
    /// Offset of the first byte in the stored constant.
    pub offset: u64,
    /// Bytes of all runs, which lie side by side in SRAM.
    pub bytes: u64,
    /// Runs of equal length, and how far they are apart in DRAM.
    pub runs: u64,
    pub pitch: u64,
    /// SRAM address, once prefetch has given it a place in the ring.
    pub addr: u64,
    /// Whether it has a place of its own and stays there once it is loaded.
    pub pinned: bool,
    /// Segment and stage that read it first.
    pub reader: Option<(usize, usize)>,
}

/// All constants of a graph in their DRAM form, in the order of first use.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    pub stored: Vec<Stored>,
    users: Vec<(NodeId, Vec<StoredId>)>,
    /// Bytes of the weights (everything but tables), which come first.
    pub weight_bytes: u64,
    /// Bytes of the embedding tables, which come behind the weights.
    pub table_bytes: u64,
}

/// Alignment of stored constants: the burst of the widest preset.
pub const ALIGN: u64 = 64;

/// Constants that are read again count where they are at least one part in so many of all.
const SHARED_PART: u64 = 64;

impl Layout {
    /// The stored constants that a node reads: matrix, vectors, or for an embedding each pair's
    /// constant indices and table in order.
    pub fn of(&self, node: NodeId) -> &[StoredId] {
        self.users
            .binary_search_by_key(&node, |(n, _)| *n)
            .map_or(&[], |index| self.users[index].1.as_slice())
    }

    /// A stored constant.
    pub fn get(&self, id: StoredId) -> &Stored {
        &self.stored[id.0 as usize]
    }

    /// Size of the constants section.
    pub fn bytes(&self) -> u64 {
        self.weight_bytes + self.table_bytes
    }

    /// Bytes of the constants that the graph reads, whatever else the section holds.
    pub fn own_bytes(&self) -> u64 {
        let constants = self.stored.iter().filter(|stored| stored.is_constant());
        constants
            .map(|stored| stored.bytes.next_multiple_of(ALIGN))
            .sum()
    }

    /// Bytes that are read more than once when every node reads its own constants.
    pub fn shared_bytes(&self) -> u64 {
        let reads = self.users.iter().flat_map(|(_, ids)| ids);
        let all: u64 = reads.map(|&id| self.brought(id)).sum();
        let once = (0..self.stored.len() as u32).map(|index| self.brought(StoredId(index)));
        all.saturating_sub(once.sum())
    }

    /// Bytes of constants that several nodes read.
    pub fn stays(&self) -> u64 {
        let shared = self.shared().into_iter();
        shared.map(|id| self.brought(id)).sum()
    }

    /// Whether enough of what is read could stay in SRAM that plans should leave room for it; vectors of a few norms could not.
    pub fn is_shared(&self) -> bool {
        self.shared_bytes() * SHARED_PART > self.own_bytes()
    }

    /// Constants that several nodes read.
    pub fn shared(&self) -> IndexSet<StoredId> {
        let mut seen = IndexSet::new();
        let reads = self.users.iter().flat_map(|(_, ids)| ids);
        reads.copied().filter(|&id| !seen.insert(id)).collect()
    }

    /// Bytes of a constant as the ring takes it; tables are read by rows.
    pub fn brought(&self, id: StoredId) -> u64 {
        let stored = self.get(id);
        match stored.table {
            true => 0,
            false => stored.bytes.next_multiple_of(ALIGN),
        }
    }

    fn store(&mut self, form: Form, table: bool, elem: Elem, bytes: u64) -> StoredId {
        if let Some(index) = self
            .stored
            .iter()
            .position(|s| s.form == form && s.table == table)
        {
            return StoredId(index as u32);
        }
        self.stored.push(Stored {
            form,
            table,
            offset: 0,
            bytes,
            elem,
        });
        StoredId(self.stored.len() as u32 - 1)
    }

    fn assign_offsets(&mut self) {
        let mut end = 0;
        for stored in self
            .stored
            .iter_mut()
            .filter(|s| s.is_constant() && !s.table)
        {
            stored.offset = end;
            end += stored.bytes.next_multiple_of(ALIGN);
        }
        self.weight_bytes = end;
        for stored in self.stored.iter_mut().filter(|s| s.table) {
            stored.offset = end;
            end += stored.bytes.next_multiple_of(ALIGN);
        }
        self.table_bytes = end - self.weight_bytes;
    }
}

/// Lays out the constants that the nodes of a legal graph read.
///
/// # Errors
/// Lists constants in a form that no stage can read.
pub fn layout(graph: &Graph) -> Result<Layout, Diagnostics> {
    let mut layout = Layout::default();
    let mut problems = Vec::new();
    for node in topological(graph) {
        let operands: Vec<Option<ConstId>> = graph
            .operands(node)
            .into_iter()
            .map(|v| graph.as_const(v))
            .collect();
        if operands.iter().all(Option::is_none) && !cache::reads_held(graph, node) {
            continue;
        }
        let ids = match graph.op(node) {
            Op::Attention(_) if cache::reads_held(graph, node) => {
                match cached(graph, &mut layout, node) {
                    Ok(ids) => ids,
                    Err(problem) => {
                        problems.push(problem);
                        continue;
                    }
                }
            }
            Op::Matmul(matmul) => match operands.get(1).copied().flatten() {
                Some(matrix) => {
                    let bias = if matmul.bias {
                        operands.get(2).copied().flatten()
                    } else {
                        None
                    };
                    vec![channels(graph, &mut layout, matrix, bias, false)]
                }
                None => Vec::new(),
            },
            Op::HashSort(_) => operands
                .iter()
                .skip(1)
                .flatten()
                .map(|&part| channels(graph, &mut layout, part, None, false))
                .collect(),
            Op::LayerNorm { .. } | Op::RmsNorm { .. } => {
                let parts: Vec<ConstId> = operands.iter().skip(1).copied().flatten().collect();
                let length = parts.first().map_or(0, |&c| graph.konst(c).ty.elements());
                let bytes = (parts.len() * length * 4) as u64;
                vec![layout.store(Form::Vectors { parts, length }, false, Elem::F32, bytes)]
            }
            Op::Embedding { tables } => (0..*tables)
                .flat_map(|pair| [(operands[2 * pair], false), (operands[2 * pair + 1], true)])
                .filter_map(|(konst, table)| konst.map(|konst| (konst, table)))
                .filter_map(|(konst, table)| match table {
                    true => Some(channels(graph, &mut layout, konst, None, true)),
                    false if progression(graph, konst).is_some() => None,
                    false => Some(plain(graph, &mut layout, konst)),
                })
                .collect(),
            Op::Reshape { .. } | Op::Slice { .. } => Vec::new(),
            _ => operands
                .iter()
                .flatten()
                .map(|&konst| plain(graph, &mut layout, konst))
                .collect(),
        };
        for id in &ids {
            if let Form::Channels { matrix, .. } = layout.get(*id).form
                && !matches!(
                    graph.konst(matrix).ty.quant,
                    Some(Quant::Channel { .. } | Quant::Shifted { .. } | Quant::Block { .. })
                )
            {
                problems.push(
                    Diagnostic::unsupported(
                        "plan-float-weights",
                        format!("constant {matrix} is not quantised"),
                    )
                    .at(node.to_string())
                    .help("matrix products take int8 or int4 weights; run the quantize pass"),
                );
            }
        }
        let position = layout.users.partition_point(|(n, _)| *n < node);
        layout.users.insert(position, (node, ids));
    }
    layout.assign_offsets();
    if problems.is_empty() {
        Ok(layout)
    } else {
        Err(Diagnostics(problems))
    }
}

/// The caches that an attention reads, and its mask where that is a constant.
fn cached(graph: &Graph, layout: &mut Layout, node: NodeId) -> Result<Vec<StoredId>, Diagnostic> {
    let mut ids = Vec::new();
    for value in graph.operands(node).into_iter().skip(1).take(2) {
        let cache = cache::read(graph, value).and_then(|kept| Cache::of(graph, kept));
        let Some(cache) = cache.filter(|cache| cache.held > 0) else {
            return Err(Diagnostic::unsupported(
                "plan-cache",
                "keys and values are not both cached head by head",
            )
            .at(node.to_string())
            .help("export keys and values alike, with a past for both"));
        };
        let bytes = cache.planes() as u64 * cache.plane_bytes(cache.rows());
        let elem = cache.elem;
        ids.push(layout.store(Form::Cache(cache), false, elem, bytes));
    }
    // Masks and biases.
    for value in graph.operands(node).into_iter().skip(3) {
        if let Some(konst) = graph.as_const(value) {
            ids.push(plain(graph, layout, konst));
        }
    }
    Ok(ids)
}

fn channels(
    graph: &Graph,
    layout: &mut Layout,
    matrix: ConstId,
    bias: Option<ConstId>,
    table: bool,
) -> StoredId {
    let ty = &graph.konst(matrix).ty;
    let (axis, block) = match ty.quant {
        Some(Quant::Channel { axis } | Quant::Shifted { axis }) => (axis, None),
        Some(Quant::Block { axis, group }) => (axis, Some(group)),
        _ => (ty.rank().saturating_sub(1), None),
    };
    let channels = ty.shape.get(axis).copied().unwrap_or(1);
    let k = ty.elements() / channels.max(1);
    let form = Form::Channels {
        matrix,
        bias,
        channels,
        k,
        block,
        zeros: matches!(ty.quant, Some(Quant::Shifted { .. })),
    };
    let stored = Stored {
        form,
        table,
        offset: 0,
        bytes: 0,
        elem: Elem::I8,
    };
    let bytes = channels as u64 * stored.record();
    layout.store(stored.form, table, stored.elem, bytes)
}

/// Constant indices that need no index list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progression {
    pub first: i64,
    /// 1 where each index is one more than the one before, 0 where all are the same.
    pub step: i64,
}

/// Recognises constant indices that count up by one, or that are all the same.
pub fn progression(graph: &Graph, konst: ConstId) -> Option<Progression> {
    let values = index_values(graph, konst)?;
    let first = *values.first()?;
    [1, 0]
        .into_iter()
        .find(|step| {
            values
                .iter()
                .enumerate()
                .all(|(i, &v)| v == first + i as i64 * step)
        })
        .map(|step| Progression { first, step })
}

fn index_values(graph: &Graph, konst: ConstId) -> Option<Vec<i64>> {
    let konst = graph.konst(konst);
    let packwright_ir::konst::Source::Bytes(bytes) = &konst.source else {
        return None;
    };
    match konst.ty.elem {
        Elem::I64 => Some(
            bytes
                .chunks_exact(8)
                .map(|c| i64::from_le_bytes(c.try_into().expect("chunks are 8 bytes")))
                .collect(),
        ),
        Elem::I32 => Some(
            bytes
                .chunks_exact(4)
                .map(|c| {
                    i64::from(i32::from_le_bytes(
                        c.try_into().expect("chunks are 4 bytes"),
                    ))
                })
                .collect(),
        ),
        Elem::Bool | Elem::I4 | Elem::I8 | Elem::U8 | Elem::F16 | Elem::F32 | Elem::F64 => None,
    }
}

fn plain(graph: &Graph, layout: &mut Layout, konst: ConstId) -> StoredId {
    let ty = &graph.konst(konst).ty;
    // Truth values are kept as 0 and 1 in f32.
    let elem = if ty.elem == Elem::Bool {
        Elem::F32
    } else {
        ty.elem
    };
    let bytes = (ty.elements() * elem.bytes()) as u64;
    layout.store(Form::Plain { konst }, false, elem, bytes)
}
