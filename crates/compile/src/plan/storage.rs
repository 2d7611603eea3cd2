//! Where values live: which are buffers of their own and which are views of others.
//!
//! A value is a matrix of rows (all axes but the last) and columns. Reshape, and Slice that takes
//! a rectangle of rows and columns, move nothing: their results are views.

use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_ir::order::topological;
use packwright_ir::{Elem, Graph, NodeId, Op, Quant, Type, Value};
use packwright_packet::operand;

use super::cache;

/// Index of a root: a value with a buffer of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootId(pub u32);

/// A value with a buffer of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Root {
    pub value: Value,
    pub rows: usize,
    pub cols: usize,
    pub elem: operand::Elem,
    /// Elements that share a run-time scale; the scales lie behind the elements.
    pub group: Option<usize>,
}

impl Root {
    /// Bytes from one row of elements to the next.
    pub fn pitch(&self) -> u64 {
        self.cols as u64 * u64::from(self.elem.bytes())
    }

    /// Bytes from one row of scales to the next.
    pub fn scale_pitch(&self) -> u64 {
        self.group.map_or(0, |group| (self.cols / group) as u64 * 4)
    }

    /// Bytes of `rows` rows of elements, aligned for the scales behind them.
    pub fn data_bytes(&self, rows: usize) -> u64 {
        (rows as u64 * self.pitch()).next_multiple_of(4)
    }

    /// The same root with only some of its columns.
    #[must_use]
    pub fn narrowed(&self, cols: usize) -> Self {
        Self {
            cols,
            ..self.clone()
        }
    }

    /// Bytes of `rows` rows with their scales.
    pub fn bytes(&self, rows: usize) -> u64 {
        self.data_bytes(rows) + rows as u64 * self.scale_pitch()
    }
}

/// A rectangle of a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub root: RootId,
    pub row: usize,
    pub col: usize,
    pub rows: usize,
    pub cols: usize,
    /// Rows of the root between two rows of the place.
    pub row_step: usize,
}

/// The places of all values.
#[derive(Clone, Debug, Default)]
pub struct Storage {
    pub roots: Vec<Root>,
    places: Vec<(Value, Place)>,
    /// The roots that nodes write, by their numbers.
    written: Vec<Option<RootId>>,
}

impl Storage {
    /// A root.
    pub fn root(&self, id: RootId) -> &Root {
        &self.roots[id.0 as usize]
    }

    /// The place of a value; constants and unread values have none.
    pub fn place(&self, value: Value) -> Option<Place> {
        self.places
            .binary_search_by_key(&value, |&(v, _)| v)
            .ok()
            .map(|index| self.places[index].1)
    }

    /// The root that a node writes; `None` for views and constants.
    pub fn root_of(&self, node: NodeId) -> Option<RootId> {
        *self.written.get(node.index())?
    }

    fn put(&mut self, value: Value, place: Place) {
        match self.places.binary_search_by_key(&value, |&(v, _)| v) {
            Ok(index) => self.places[index].1 = place,
            Err(index) => self.places.insert(index, (value, place)),
        }
    }
}

/// The element type that the machine keeps a value in.
pub fn machine_elem(elem: Elem) -> Option<operand::Elem> {
    match elem {
        Elem::I8 => Some(operand::Elem::I8),
        Elem::I32 => Some(operand::Elem::I32),
        Elem::I64 => Some(operand::Elem::I64),
        Elem::F16 => Some(operand::Elem::F16),
        // Truth values are 0 and 1 among the machine's numbers.
        Elem::F32 | Elem::Bool => Some(operand::Elem::F32),
        Elem::I4 | Elem::U8 | Elem::F64 => None,
    }
}

/// Gives every value of a legal graph a place.
///
/// # Errors
/// Lists every value whose type or view the machine cannot hold.
pub fn locate(graph: &Graph) -> Result<Storage, Diagnostics> {
    let order = topological(graph);
    let count = order.iter().map(|node| node.index() + 1).max();
    let mut storage = Storage {
        written: vec![None; count.unwrap_or(0)],
        ..Storage::default()
    };
    let mut problems = Vec::new();
    for node in order {
        for slot in 0..graph.types(node).len() as u32 {
            let value = Value { node, slot };
            let ty = graph.ty(value);
            let view = match graph.op(node) {
                Op::Reshape { .. } => reshape_view(graph, &storage, node, ty),
                Op::Slice { start, count, step } => {
                    slice_view(graph, &storage, node, start, count, step)
                }
                // What is held stays in DRAM; the rows that are added are where they are made.
                Op::Input { .. } if cache::is_held(graph, node) => continue,
                Op::Cache if cache::Cache::of(graph, value).is_none() => {
                    problems.push(unread(graph, node));
                    continue;
                }
                Op::Cache => match graph.operand(node, 1) {
                    Some(added) => storage.place(added),
                    None => continue,
                },
                // The attention that reads it does it, on its way from where the rows are.
                Op::Quantize { .. } if cache::quantizes_held(graph, node) => {
                    match graph.operand(node, 0).and_then(|kept| storage.place(kept)) {
                        Some(place) => Some(place),
                        None => continue,
                    }
                }
                _ => None,
            };
            let is_view = matches!(
                graph.op(node),
                Op::Reshape { .. } | Op::Slice { .. } | Op::Cache
            );
            let from_const = is_view
                && graph
                    .operand(node, 0)
                    .is_some_and(|v| graph.as_const(v).is_some());
            // Elements without scales of their own can be copied where they cannot be seen in place.
            let copied = ty.quant.is_none();
            match (view, is_view && !from_const && !copied) {
                (Some(place), _) => storage.put(value, place),
                (None, true) => problems.push(
                    Diagnostic::unsupported(
                        "plan-view",
                        format!("{value} : {ty} is not a rectangle of rows of its operand"),
                    )
                    .at(node.to_string())
                    .help("quantised values can only be cut between rows and columns; report the model"),
                ),
                (None, false) => match root_for(value, ty) {
                    Ok(root) => {
                        let id = RootId(storage.roots.len() as u32);
                        let place = Place {
                            root: id,
                            row: 0,
                            col: 0,
                            rows: root.rows,
                            cols: root.cols,
                            row_step: 1,
                        };
                        storage.roots.push(root);
                        if slot == 0 {
                            storage.written[node.index()] = Some(id);
                        }
                        storage.put(value, place);
                    }
                    Err(problem) => problems.push(problem),
                },
            }
        }
    }
    if problems.is_empty() {
        Ok(storage)
    } else {
        Err(Diagnostics(problems))
    }
}

/// A cache that is not kept as attention reads it.
fn unread(graph: &Graph, node: NodeId) -> Diagnostic {
    let users = graph.users(node.into()).into_iter();
    let readers: Vec<&str> = users.map(|(user, _)| graph.op(user).name()).collect();
    let message = format!(
        "keys or values of a cache are not read by attention, but by {}",
        match readers.is_empty() {
            true => "nobody".to_owned(),
            false => readers.join(", "),
        }
    );
    Diagnostic::unsupported("plan-cache", message)
        .at(node.to_string())
        .help("only caches of attention stay in memory; report the model")
}

fn root_for(value: Value, ty: &Type) -> Result<Root, Diagnostic> {
    let elem = machine_elem(ty.elem).ok_or_else(|| {
        Diagnostic::unsupported(
            "plan-element",
            format!("the machine has no element type {}", ty.elem),
        )
        .at(value.to_string())
        .help("cast the value to f32, f16, i32 or i8")
    })?;
    let group = match ty.quant {
        Some(Quant::Row { group }) => Some(group),
        _ => None,
    };
    Ok(Root {
        value,
        rows: ty.rows(),
        cols: ty.columns(),
        elem,
        group,
    })
}

/// A reshape keeps rows where the last axis stays, or where the operand is one contiguous root.
fn reshape_view(graph: &Graph, storage: &Storage, node: NodeId, ty: &Type) -> Option<Place> {
    let source = storage.place(graph.operand(node, 0)?)?;
    if source.cols == ty.columns() && source.rows == ty.rows() {
        return Some(source);
    }
    // A single row may be cut or joined only when the root itself has that shape: no re-pitching.
    None
}

fn slice_view(
    graph: &Graph,
    storage: &Storage,
    node: NodeId,
    start: &[usize],
    count: &[usize],
    step: &[isize],
) -> Option<Place> {
    let operand = graph.operand(node, 0)?;
    let source = storage.place(operand)?;
    let shape = &graph.ty(operand).shape;
    if step.iter().zip(count).any(|(&s, &c)| s != 1 && c > 1) {
        return None;
    }
    let (last, outer) = shape.split_last()?;
    let col = start[outer.len()];
    let cols = count[outer.len()];
    debug_assert!(col + cols <= *last);
    // Rows: find the one axis that is cut among the outer ones.
    let mut row = 0;
    let mut rows = 1;
    let mut row_step = 1;
    let mut inner = 1;
    let mut whole_so_far = true;
    for axis in (0..outer.len()).rev() {
        row += start[axis] * inner;
        let cut = count[axis] != outer[axis];
        if count[axis] > 1 {
            if rows == 1 {
                row_step = inner;
            } else if !whole_so_far {
                return None;
            }
            rows *= count[axis];
        }
        if cut {
            whole_so_far = false;
        }
        inner *= outer[axis];
    }
    Some(Place {
        root: source.root,
        row: source.row + row * source.row_step,
        col: source.col + col,
        rows,
        cols,
        row_step: row_step * source.row_step,
    })
}
