//! The least DRAM traffic and time that any schedule could reach.
//!
//! Compulsory traffic (E1), weights shared across barriers (E2) and live state at barriers (E3), as
//! derived in `docs/bounds.md`. The bound speaks of one cold pass and may assume all of SRAM.

pub(crate) mod time;

use indexmap::{IndexMap, IndexSet};
use packwright_ir::diag::Diagnostics;
use packwright_ir::op::ChunkAttention;
use packwright_ir::order::topological;
use packwright_ir::{Graph, NodeId, Op, Value};
use packwright_packet::program::{Bound, Slope};
use packwright_target::Target;

use crate::attainable::{self, Shared};
use crate::plan::cache::{self, Cache};
use crate::plan::constants::{self, Form, Layout, Stored, StoredId, progression};
use crate::plan::demand::AttentionShape;
use crate::plan::storage::{self, Storage, machine_elem};

/// Derives the bound of a legal graph for a target.
///
/// # Errors
/// Lists values and constants that have no place.
pub fn of(graph: &Graph, target: &Target) -> Result<Bound, Diagnostics> {
    let (storage, layout) = (storage::locate(graph)?, constants::layout(graph)?);
    Ok(bound(graph, target, &storage, &layout))
}

/// The same where it is known already where values live and how constants lie in DRAM.
pub fn bound(graph: &Graph, target: &Target, storage: &Storage, layout: &Layout) -> Bound {
    let order = topological(graph);
    let is_attention = |op: &Op| matches!(op, Op::Attention(_));
    let depth = depths(graph, &order, is_attention);
    let sram = target.sram.bytes;
    let caches = cache::caches(graph);
    let shared = shared(graph, layout, &order, &depth);
    let weights = layout.stored.iter().filter(|s| s.is_constant() && !s.table);
    let compulsory = [
        ("weights", weights.map(|s| s.bytes).sum()),
        ("embeddings", embedding_rows(graph, layout, &order)),
        ("inputs", inputs(graph)),
        ("outputs", outputs(graph)),
        ("cache read", cache_reads(graph)),
        (
            "cache write",
            caches.iter().map(|c| rows_of(c, c.new)).sum(),
        ),
    ];
    let again = [
        ("shared weights", shared_weights(&shared, sram)),
        (
            "live state",
            live_state(graph, storage, layout, &order, &depth, sram),
        ),
    ];
    let terms: Vec<(&str, u64)> = compulsory.into_iter().chain(again).collect();
    let dram_bytes: u64 = terms.iter().map(|&(_, bytes)| bytes).sum();
    let memory_seconds = dram_bytes as f64 / target.sustained_bytes_per_second();
    let least = time::least(graph, target, &order);
    let (slowest, compute_seconds) = least.longest();
    let binding_term = if compute_seconds > memory_seconds {
        slowest.to_string()
    } else {
        terms
            .iter()
            .max_by_key(|&&(_, bytes)| bytes)
            .map_or_else(String::new, |&(name, _)| name.to_string())
    };
    let compulsory: u64 = compulsory.iter().map(|&(_, bytes)| bytes).sum();
    let layers = depths(graph, &order, |op| {
        is_attention(op) || matches!(op, Op::HashSort(_))
    });
    let attainable = compulsory + attainable::extra(graph, target, layout, &layers, &shared);
    let attainable = attainable.max(dram_bytes);
    let seconds = memory_seconds.max(compute_seconds);
    let in_turn = attainable::turns::seconds(graph, target, storage, layout, attainable);
    Bound {
        dram_bytes,
        attainable_dram_bytes: attainable,
        seconds,
        attainable_seconds: in_turn.max(seconds),
        slopes: slopes(graph, target, &caches, &order),
        binding_term,
        terms: terms
            .iter()
            .map(|&(name, bytes)| (name.to_string(), bytes))
            .collect(),
    }
}

/// Bytes of some rows of a cache.
fn rows_of(cache: &Cache, rows: usize) -> u64 {
    (cache.planes() * rows) as u64 * cache.row_bytes()
}

/// Bytes of the rows that caches hold and that some row of a pass sees.
fn cache_reads(graph: &Graph) -> u64 {
    let mut bytes = 0;
    for &input in graph.inputs() {
        for (node, _) in graph.users(input.into()) {
            let Some(cache) = Cache::of(graph, node.into()) else {
                continue;
            };
            // Readers of what is quantised on the way come with it.
            let mut users = graph.users(node.into());
            for (user, _) in users.clone() {
                if matches!(graph.op(user), Op::Quantize { .. }) {
                    users.retain(|(own, _)| *own != user);
                    users.extend(graph.users(user.into()));
                }
            }
            let seen = users.into_iter().map(|(user, _)| match graph.op(user) {
                // The first new row sees as many behind it as the window says.
                Op::Attention(attention) => attention.window.unwrap_or(usize::MAX),
                _ => usize::MAX,
            });
            bytes += rows_of(&cache, cache.held.min(seen.max().unwrap_or(usize::MAX)));
        }
    }
    bytes
}

/// What each register adds to the bound for each unit.
fn slopes(graph: &Graph, target: &Target, caches: &[Cache], order: &[NodeId]) -> Vec<Slope> {
    let registers = cache::registers(graph);
    let slopes = registers
        .iter()
        .map(|register| slope(graph, target, caches, order, &register.name));
    slopes.collect()
}

fn slope(
    graph: &Graph,
    target: &Target,
    caches: &[Cache],
    order: &[NodeId],
    register: &str,
) -> Slope {
    let counted = |cache: &Cache| cache.register() == Some(register);
    let rows = caches.iter().filter(|cache| counted(cache));
    let dram_bytes: u64 = rows.map(|cache| rows_of(cache, 1)).sum();
    let attentions = order.iter().filter(|&&node| {
        let keys = cache::keys(graph, node).and_then(|keys| Cache::of(graph, keys));
        cache::reads_held(graph, node) && keys.is_some_and(|cache| counted(&cache))
    });
    let (mut work, mut scores) = (0, 0);
    for &node in attentions {
        let shape = AttentionShape::of(graph, node);
        let pairs = (shape.batch * shape.heads * shape.s) as u64;
        work += pairs * (shape.width + shape.value_width) as u64;
        scores += pairs;
    }
    let memory = dram_bytes as f64 / target.sustained_bytes_per_second();
    let matrix = work as f64 / target.peak_macs_per_second();
    // The steepest of all terms: the bound at fewer rows is never above what it would be for them.
    Slope {
        dram_bytes,
        seconds: memory
            .max(matrix)
            .max(time::softmax_seconds(target, scores)),
    }
}

/// Number of barriers on the longest path to each node, itself included.
fn depths(
    graph: &Graph,
    order: &[NodeId],
    is_barrier: impl Fn(&Op) -> bool,
) -> IndexMap<NodeId, usize> {
    let mut depth: IndexMap<NodeId, usize> = IndexMap::new();
    for &node in order {
        let before = graph
            .operands(node)
            .iter()
            .filter_map(|v| depth.get(&v.node))
            .copied()
            .max()
            .unwrap_or(0);
        let own = usize::from(is_barrier(graph.op(node)));
        depth.insert(node, before + own);
    }
    depth
}

/// Rows of tables that a pass must see: each distinct row once. Indices that are inputs may all
/// differ, and no cost depends on their values, so they count as different.
fn embedding_rows(graph: &Graph, layout: &Layout, order: &[NodeId]) -> u64 {
    let mut rows: IndexMap<StoredId, u64> = IndexMap::new();
    for &node in order {
        let Op::Embedding { tables } = graph.op(node) else {
            continue;
        };
        let operands = graph.operands(node);
        let mut stored = layout.of(node).iter().filter(|id| layout.get(**id).table);
        for pair in 0..*tables {
            let Some(&id) = stored.next() else { continue };
            let ids = operands[2 * pair];
            let period = graph.ty(ids).elements() as u64;
            let constant = graph.as_const(ids);
            let distinct = match constant.map(|konst| progression(graph, konst)) {
                Some(Some(steps)) if steps.step == 0 => 1,
                Some(None) => 1,
                Some(Some(_)) | None => period,
            };
            let entry = rows.entry(id).or_default();
            *entry = (*entry).max(distinct.min(table_rows(layout.get(id))));
        }
    }
    rows.iter()
        .map(|(&id, &count)| count * layout.get(id).record())
        .sum()
}

fn table_rows(stored: &Stored) -> u64 {
    match stored.form {
        Form::Channels { channels, .. } => channels as u64,
        Form::Vectors { .. } | Form::Plain { .. } | Form::Cache(_) => 1,
    }
}

pub(crate) fn value_bytes(graph: &Graph, value: Value) -> u64 {
    let ty = graph.ty(value);
    let elem = machine_elem(ty.elem).map_or(0, |elem| u64::from(elem.bytes()));
    ty.elements() as u64 * elem
}

fn inputs(graph: &Graph) -> u64 {
    graph
        .inputs()
        .iter()
        .filter(|&&node| graph.use_count(node.into()) > 0 && !cache::is_held(graph, node))
        .map(|&node| value_bytes(graph, node.into()))
        .sum()
}

fn outputs(graph: &Graph) -> u64 {
    graph
        .outputs()
        .iter()
        .filter(|output| Cache::of(graph, output.value).is_none())
        .map(|output| value_bytes(graph, output.value))
        .sum()
}

/// Constants that products at several depths read.
fn shared(
    graph: &Graph,
    layout: &Layout,
    order: &[NodeId],
    depth: &IndexMap<NodeId, usize>,
) -> Shared {
    let mut levels: IndexMap<StoredId, IndexSet<usize>> = IndexMap::new();
    for &node in order {
        if !matches!(graph.op(node), Op::Matmul(_)) {
            continue;
        }
        for &id in layout.of(node) {
            levels.entry(id).or_default().insert(depth[&node]);
        }
    }
    let mut shared = Shared::default();
    for (&id, levels) in levels.iter().filter(|(_, levels)| levels.len() > 1) {
        shared.stored.insert(id);
        *shared.by_uses.entry(levels.len()).or_default() += layout.get(id).bytes;
    }
    shared
}

/// E2: constants that are used on both sides of a barrier come again unless SRAM kept them.
fn shared_weights(shared: &Shared, sram: u64) -> u64 {
    let by_uses = shared.by_uses.iter();
    by_uses
        .map(|(&uses, &bytes)| (uses as u64 - 1) * bytes.saturating_sub(sram))
        .sum()
}

/// E3: at the first result of an attention all other rows of the residual stream are alive.
fn live_state(
    graph: &Graph,
    storage: &Storage,
    layout: &Layout,
    order: &[NodeId],
    depth: &IndexMap<NodeId, usize>,
    sram: u64,
) -> u64 {
    let shared = shared_levels(graph, layout, order, depth);
    let mut total = 0;
    for &node in order {
        let Op::Attention(attention) = graph.op(node) else {
            continue;
        };
        let level = depth[&node];
        // Causal rows need not meet at a barrier; before the first layer rows come from the tables.
        if attention.causal || level < 2 || shared {
            continue;
        }
        let Some((made, residual)) = residual(graph, storage, node) else {
            continue;
        };
        // What it takes to make the rows again, from what lies before the last barrier.
        let needed = ancestors(graph, made);
        let layer: u64 = order
            .iter()
            .filter(|n| matches!(graph.op(**n), Op::Matmul(_)) && depth[*n] == level - 1)
            .filter(|n| needed.contains(*n))
            .flat_map(|&n| layout.of(n))
            .map(|&id| layout.get(id).bytes)
            .sum();
        total += (2 * residual.saturating_sub(sram)).min(layer.saturating_sub(sram));
    }
    total
}

fn shared_levels(
    graph: &Graph,
    layout: &Layout,
    order: &[NodeId],
    depth: &IndexMap<NodeId, usize>,
) -> bool {
    let mut first: IndexMap<StoredId, usize> = IndexMap::new();
    order
        .iter()
        .filter(|n| matches!(graph.op(**n), Op::Matmul(_)))
        .any(|&node| {
            layout
                .of(node)
                .iter()
                .any(|&id| *first.entry(id).or_insert(depth[&node]) != depth[&node])
        })
}

/// A node and all that it is made from.
fn ancestors(graph: &Graph, node: NodeId) -> IndexSet<NodeId> {
    let mut found = IndexSet::from([node]);
    let mut next = 0;
    while let Some(&node) = found.get_index(next) {
        let operands = graph.operands(node).into_iter();
        found.extend(
            operands
                .filter(|&v| graph.as_const(v).is_none())
                .map(|v| v.node),
        );
        next += 1;
    }
    found
}

/// The largest value that is made before an attention and read behind it, and its bytes less one row.
fn residual(graph: &Graph, storage: &Storage, attention: NodeId) -> Option<(NodeId, u64)> {
    let before = ancestors(graph, attention);
    // Only the values that q, k and v are made from at once: older ones were finished with.
    let mut near: Vec<NodeId> = graph.operands(attention).iter().map(|v| v.node).collect();
    let mut index = 0;
    let mut largest: Option<(NodeId, u64)> = None;
    while index < near.len() && index < 64 {
        let node = near[index];
        index += 1;
        let read_behind = graph
            .users(node.into())
            .iter()
            .any(|(user, _)| !before.contains(user));
        if read_behind {
            if let Some(root) = storage.root_of(node) {
                let info = storage.root(root);
                let bytes = info.bytes(info.rows.saturating_sub(1));
                if largest.is_none_or(|(_, known)| bytes > known) {
                    largest = Some((node, bytes));
                }
            }
            continue;
        }
        for operand in graph.operands(node) {
            if graph.as_const(operand).is_none() && !near.contains(&operand.node) {
                near.push(operand.node);
            }
        }
    }
    largest
}

/// Multiply-adds that no schedule can avoid; scores of columns that a causal order or
/// a window hides are not among them.
pub(crate) fn least_macs(graph: &Graph, node: NodeId) -> u64 {
    match graph.op(node) {
        Op::Matmul(_) => {
            let k = graph.operand(node, 0).map_or(1, |v| graph.ty(v).columns());
            (graph.types(node)[0].elements() * k) as u64
        }
        Op::Attention(attention) => {
            let shape = crate::plan::demand::AttentionShape::of(graph, node);
            let pairs = attention.pairs([shape.s, shape.t]);
            let widths = shape.width + shape.value_width;
            (shape.batch * shape.heads * widths) as u64 * pairs
        }
        Op::HashSort(_) => packwright_ir::work::macs(graph, node),
        Op::ChunkAttention(attrs) => chunk_macs(graph, node, attrs),
        _ => 0,
    }
}

/// Pairs of rows that attention among chunks cannot leave out: where rows stay in place, a causal one
/// sees nothing of later rows; sorted rows may stand anywhere.
fn chunk_macs(graph: &Graph, node: NodeId, attrs: &ChunkAttention) -> u64 {
    let all = packwright_ir::work::macs(graph, node);
    let rows = graph.operand(node, 0).map_or(1, |v| graph.ty(v).shape[1]);
    if !attrs.causal || attrs.rounds.is_some() {
        return all;
    }
    let visible: usize = (0..rows / attrs.chunk)
        .flat_map(|chunk| {
            let runs = attrs.seen_by(chunk, rows);
            (chunk * attrs.chunk..(chunk + 1) * attrs.chunk).map(move |row| {
                runs.iter()
                    .map(|run| run.end.min(row + 1).saturating_sub(run.start))
                    .sum::<usize>()
            })
        })
        .sum();
    let pairs = (rows * attrs.window()).max(1) as u64;
    all / pairs * visible as u64
}
