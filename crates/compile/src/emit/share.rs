//! What the entries of a program share: one copy of equal constants, and caches by name.
//!
//! Two constants are the same where their type and the 128-bit hash of their bytes are; without values, where
//! name, type and rule agree. Derived constants (transposes, joins, quantised forms) are the same where they are made
//! alike from the same.

use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_ir::konst::{Const, Derivation, Source};
use packwright_ir::{ConstId, Graph};
use rayon::prelude::*;
use std::collections::HashMap;
use twox_hash::XxHash3_128;

use super::regions::Shared;
use crate::plan::Plan;
use crate::plan::cache::{Cache, caches};
use crate::plan::constants::{ALIGN, Form, StoredId};

/// A constant of the program: the part that it is made from, and its place there.
pub type Row = (usize, StoredId);

/// Gives the constants of all parts their places in one section and lists each once.
///
/// Values are read some at a time; `between` is called behind them.
///
/// # Errors
/// `entry-weights-differ` and `entry-caches-differ`.
pub fn share(
    parts: &mut [(&Graph, &mut Plan)],
    between: fn(),
) -> Result<(Shared, Vec<Row>), Diagnostics> {
    let mut problems = Vec::new();
    let graphs: Vec<&Graph> = parts.iter().map(|(graph, _)| *graph).collect();
    let classes = Classes::of(&graphs, between);
    differing(parts, &classes, &mut problems);
    let mut rows: Vec<Row> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut row_of: Vec<Vec<Option<usize>>> = Vec::new();
    for (part, (_, plan)) in parts.iter().enumerate() {
        let stored = plan
            .layout
            .stored
            .iter()
            .enumerate()
            .map(|(index, stored)| {
                let key = classes.key(part, &stored.form, stored.table)?;
                let row = *places.entry(key).or_insert_with(|| {
                    rows.push((part, StoredId(index as u32)));
                    rows.len() - 1
                });
                Some(row)
            });
        row_of.push(stored.collect());
    }
    let info = |&(part, id): &Row| parts[part].1.layout.get(id);
    let mut offsets = vec![0; rows.len()];
    let mut end = 0;
    let mut weight_bytes = 0;
    for table in [false, true] {
        for (row, offset) in rows.iter().zip(&mut offsets) {
            if info(row).table == table {
                *offset = end;
                end += info(row).bytes.next_multiple_of(ALIGN);
            }
        }
        if !table {
            weight_bytes = end;
        }
    }
    let mut shared = Shared {
        weight_bytes,
        table_bytes: end - weight_bytes,
        caches: Vec::new(),
    };
    for (graph, _) in parts.iter() {
        shared.add_caches(graph, &mut problems);
    }
    if parts.len() > 1 {
        unwritten(parts, &mut problems);
    }
    if !problems.is_empty() {
        return Err(Diagnostics(problems));
    }
    for ((_, plan), rows) in parts.iter_mut().zip(&row_of) {
        plan.layout.weight_bytes = shared.weight_bytes;
        plan.layout.table_bytes = shared.table_bytes;
        for (stored, row) in plan.layout.stored.iter_mut().zip(rows) {
            if let Some(row) = row {
                stored.offset = offsets[*row];
            }
        }
    }
    Ok((shared, rows))
}

/// Caches that are read and never written.
fn unwritten(parts: &[(&Graph, &mut Plan)], problems: &mut Vec<Diagnostic>) {
    let all: Vec<Cache> = parts.iter().flat_map(|(graph, _)| caches(graph)).collect();
    for cache in all.iter().filter(|cache| cache.new == 0) {
        if !all.iter().any(|c| c.name == cache.name && c.new > 0) {
            problems.push(
                Diagnostic::error(
                    "cache-unwritten",
                    format!("no entry writes the cache `{}`, which is read", cache.name),
                )
                .help("add the entry whose outputs are called `present…` like it"),
            );
        }
    }
}

/// Parameters of one name and type whose values differ between parts.
fn differing(parts: &[(&Graph, &mut Plan)], classes: &Classes, problems: &mut Vec<Diagnostic>) {
    let mut known: HashMap<(String, String), (usize, usize)> = HashMap::new();
    for (part, (graph, _)) in parts.iter().enumerate() {
        for (index, konst) in graph.consts().iter().enumerate() {
            // Names that an exporter counts up are no identity.
            let named = konst.name.contains('.') && !konst.name.contains("::");
            if !named || !matches!(konst.source, Source::Bytes(_)) || !konst.ty.elem.is_float() {
                continue;
            }
            let key = (konst.name.clone(), konst.ty.to_string());
            let class = classes.of_const[part][index];
            let (other, known) = *known.entry(key).or_insert((part, class));
            if known != class {
                let message = format!(
                    "`{}` has other values in entry {part} than in entry {other}",
                    konst.name
                );
                problems.push(
                    Diagnostic::error("entry-weights-differ", message)
                        .help("export all entries from the same model"),
                );
            }
        }
    }
}

/// Which constants of all parts are the same.
struct Classes {
    /// A number for each constant of each part; equal numbers, equal constants.
    of_const: Vec<Vec<usize>>,
}

impl Classes {
    fn of(graphs: &[&Graph], between: fn()) -> Self {
        let mut hashes: Vec<Vec<u128>> = Vec::with_capacity(graphs.len());
        for graph in graphs {
            let mut own = Vec::with_capacity(graph.consts().len());
            for consts in batches(graph.consts()) {
                own.par_extend(consts.par_iter().map(|k| content(&k.source)));
                between();
            }
            hashes.push(own);
        }
        let mut stored: HashMap<(u128, String), usize> = HashMap::new();
        let mut named: HashMap<String, usize> = HashMap::new();
        let mut next = 0;
        let mut of_const: Vec<Vec<usize>> = Vec::new();
        for (graph, hashes) in graphs.iter().zip(&hashes) {
            let mut classes: Vec<Option<usize>> = vec![None; graph.consts().len()];
            for index in 0..classes.len() {
                let mut fresh = || {
                    next += 1;
                    next - 1
                };
                class(
                    graph,
                    index,
                    hashes,
                    &mut classes,
                    &mut stored,
                    &mut named,
                    &mut fresh,
                );
            }
            of_const.push(classes.into_iter().map(Option::unwrap_or_default).collect());
        }
        Self { of_const }
    }

    /// What a stored constant is made of; none for what is no constant.
    fn key(&self, part: usize, form: &Form, table: bool) -> Option<String> {
        let class = |id: &ConstId| self.of_const[part][id.index()];
        Some(match form {
            Form::Channels {
                matrix,
                bias,
                channels,
                k,
                // The matrix's class tells its type.
                block: _,
                zeros: _,
            } => {
                let bias = bias.as_ref().map(class);
                format!("channels {} {bias:?} {channels} {k} {table}", class(matrix))
            }
            Form::Vectors { parts, length } => {
                let parts: Vec<usize> = parts.iter().map(class).collect();
                format!("vectors {parts:?} {length}")
            }
            Form::Plain { konst } => format!("plain {}", class(konst)),
            Form::Cache(_) => return None,
        })
    }
}

/// The class of a constant, after those that it is derived from.
fn class(
    graph: &Graph,
    index: usize,
    hashes: &[u128],
    classes: &mut Vec<Option<usize>>,
    stored: &mut HashMap<(u128, String), usize>,
    named: &mut HashMap<String, usize>,
    fresh: &mut dyn FnMut() -> usize,
) -> usize {
    if let Some(class) = classes[index] {
        return class;
    }
    let konst = &graph.consts()[index];
    let ty = konst.ty.to_string();
    let found = match &konst.source {
        Source::Bytes(_) => *stored
            .entry((hashes[index], ty))
            .or_insert_with(&mut *fresh),
        Source::Synthetic(fill) => *named
            .entry(format!("fill {fill:?} {ty}"))
            .or_insert_with(&mut *fresh),
        Source::Absent => *named
            .entry(format!("absent {} {ty}", konst.name))
            .or_insert_with(&mut *fresh),
        Source::Derived(derivation) => {
            let from: Vec<usize> = derivation
                .sources()
                .iter()
                .map(|id| class(graph, id.index(), hashes, classes, stored, named, fresh))
                .collect();
            let how = match derivation {
                Derivation::Transpose { perm, .. } => format!("transpose {perm:?}"),
                Derivation::Reshape { .. } => "reshape".to_owned(),
                Derivation::Concat { axis, .. } => format!("concat {axis}"),
                Derivation::Quantize { .. } => "quantize".to_owned(),
                Derivation::Dequantize { .. } => "dequantize".to_owned(),
                Derivation::Expand { .. } => "expand".to_owned(),
                Derivation::Slice {
                    start, count, step, ..
                } => format!("slice {start:?} {count:?} {step:?}"),
                Derivation::Rest { axis, .. } => format!("rest {axis}"),
                Derivation::Scaled { .. } => "scaled".to_owned(),
                Derivation::ScaleEach { axis, .. } => format!("scale each {axis}"),
                Derivation::Scale { factor, .. } => format!("scale {:x}", factor.to_bits()),
            };
            *named
                .entry(format!("{how} {from:?} {ty}"))
                .or_insert_with(&mut *fresh)
        }
    };
    classes[index] = Some(found);
    found
}

/// Most bytes of values that are hashed at once, but for a constant that is larger.
const BATCH: usize = 64 << 20;

/// Constants cut where their values get too many.
fn batches(consts: &[Const]) -> impl Iterator<Item = &[Const]> {
    let size = |konst: &Const| match &konst.source {
        Source::Bytes(bytes) => bytes.len(),
        Source::Synthetic(_) | Source::Absent | Source::Derived(_) => 0,
    };
    let mut held = 0;
    consts.chunk_by(move |_, next| {
        held += size(next);
        let more = held <= BATCH;
        if !more {
            held = 0;
        }
        more
    })
}

/// A hash of stored values; 0 where there are none.
fn content(source: &Source) -> u128 {
    match source {
        Source::Bytes(bytes) => XxHash3_128::oneshot(bytes),
        Source::Synthetic(_) | Source::Absent | Source::Derived(_) => 0,
    }
}
