//! Windows: the columns of a value that one pass over a segment makes.
//!
//! A segment may be gone through several times, each pass making some heads or some columns of
//! everything in it. Only those columns need a place in SRAM: the queries, keys and values of two heads
//! instead of those of all. Where one value holds queries, keys and values side by side, a pass has a
//! section of each.

use std::ops::Range;

use packwright_ir::{Graph, NodeId, Op, Quant, Value};

use super::demand::AttentionShape;
use super::stage::Stage;
use super::storage::{RootId, Storage};
use super::{Passes, Segment};

/// Columns that advance from pass to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// First column in the first pass.
    pub start: usize,
    /// Columns of one pass.
    pub width: usize,
    /// Where the section begins in a buffer that holds the columns of one pass.
    pub offset: usize,
}

/// The sections of one root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    pub root: RootId,
    pub sections: Vec<Section>,
}

impl Window {
    /// Columns of one pass, all sections together.
    pub fn columns(&self) -> usize {
        self.sections.iter().map(|section| section.width).sum()
    }

    /// The column ranges of a pass.
    pub fn ranges(&self, pass: usize) -> impl Iterator<Item = Range<usize>> + '_ {
        self.sections.iter().map(move |section| {
            let start = section.start + pass * section.width;
            start..start + section.width
        })
    }

    /// What to add to a column to get its place in the buffer of a pass: it may be negative.
    pub fn shift(&self, pass: usize, column: usize) -> i64 {
        let section = self
            .sections
            .iter()
            .rev()
            .find(|section| section.start <= column)
            .or(self.sections.first());
        section.map_or(0, |section| {
            section.offset as i64 - (section.start + pass * section.width) as i64
        })
    }
}

/// Into how many passes a segment can be cut, from few to many, one first.
pub fn possible(graph: &Graph, storage: &Storage, segment: &Segment) -> Vec<usize> {
    let most = match segment.stages.last() {
        Some(Stage::Attention { node }) => AttentionShape::of(graph, *node).kv_heads,
        Some(Stage::Matmul { node, quantize }) => {
            let columns = graph.types(*node)[0].columns();
            columns / unit(graph, *quantize)
        }
        Some(
            Stage::CachedAttention { .. }
            | Stage::Rows { .. }
            | Stage::Whole { .. }
            | Stage::Input { .. },
        )
        | None => 1,
    };
    (1..=most.max(1))
        .filter(|&count| most.is_multiple_of(count))
        .filter(|&count| count == 1 || passes(graph, storage, &segment.stages, count).is_some())
        .collect()
}

/// Columns of a product that cannot be parted: those that share a scale, or the width of an array.
fn unit(graph: &Graph, quantize: Option<NodeId>) -> usize {
    match quantize.map(|node| graph.op(node)) {
        Some(Op::Quantize {
            quant: Quant::Row { group },
        }) => *group,
        _ => 64,
    }
}

/// The windows of all roots that a segment makes, for a number of passes; `None` where a stage needs
/// whole rows.
pub fn passes(graph: &Graph, storage: &Storage, stages: &[Stage], count: usize) -> Option<Passes> {
    let mut windows: Vec<Window> = Vec::new();
    for (index, stage) in stages.iter().enumerate().rev() {
        match stage {
            Stage::Attention { node } if index + 1 == stages.len() => {
                attention(graph, storage, *node, count, &mut windows)?;
            }
            Stage::Matmul { node, quantize } => {
                let last = quantize.unwrap_or(*node);
                let root = storage.root_of(last)?;
                if index + 1 == stages.len() {
                    let columns = graph.types(last)[0].columns();
                    windows.push(whole(root, columns, count)?);
                }
                let window = find(&windows, root)?.clone();
                if quantize.is_some() {
                    let root = storage.root_of(*node)?;
                    windows.push(Window { root, ..window });
                }
            }
            Stage::Rows { nodes } => {
                let [node] = nodes.as_slice() else {
                    return None;
                };
                quantized(graph, storage, *node, &mut windows)?;
            }
            Stage::Attention { .. }
            | Stage::CachedAttention { .. }
            | Stage::Whole { .. }
            | Stage::Input { .. } => return None,
        }
    }
    let made: Vec<RootId> = stages
        .iter()
        .flat_map(Stage::nodes)
        .filter_map(|node| storage.root_of(node))
        .collect();
    windows.retain(|window| made.contains(&window.root));
    for window in &mut windows {
        window.sections.sort_by_key(|section| section.start);
        let mut offset = 0;
        for section in &mut window.sections {
            section.offset = offset;
            offset += section.width;
        }
    }
    let whole = windows.iter().all(|window| covers(storage, window, count));
    whole.then_some(Passes { count, windows })
}

fn find(windows: &[Window], root: RootId) -> Option<&Window> {
    windows.iter().find(|window| window.root == root)
}

/// One section that covers all columns in `count` passes.
fn whole(root: RootId, columns: usize, count: usize) -> Option<Window> {
    columns.is_multiple_of(count).then(|| Window {
        root,
        sections: vec![Section {
            start: 0,
            width: columns / count,
            offset: 0,
        }],
    })
}

/// The context of some heads, and the queries, keys and values that they need.
fn attention(
    graph: &Graph,
    storage: &Storage,
    node: NodeId,
    count: usize,
    windows: &mut Vec<Window>,
) -> Option<()> {
    let shape = AttentionShape::of(graph, node);
    if !shape.kv_heads.is_multiple_of(count) {
        return None;
    }
    let root = storage.root_of(node)?;
    windows.push(whole(root, shape.heads * shape.value_width, count)?);
    let widths = [
        shape.heads * shape.width,
        shape.kv_heads * shape.width,
        shape.kv_heads * shape.value_width,
    ];
    for (operand, columns) in graph.operands(node).into_iter().zip(widths) {
        let place = storage.place(operand)?;
        add(windows, place.root, place.col, columns / count);
    }
    Some(())
}

/// Notes that a pass needs so many columns of a root, the first one from `start` on.
fn add(windows: &mut Vec<Window>, root: RootId, start: usize, width: usize) {
    let section = Section {
        start,
        width,
        offset: 0,
    };
    match windows.iter_mut().find(|window| window.root == root) {
        Some(window) if window.sections.contains(&section) => {}
        Some(window) => window.sections.push(section),
        None => windows.push(Window {
            root,
            sections: vec![section],
        }),
    }
}

/// Whether the sections of all passes cover their root without overlap: or a product would make too little.
fn covers(storage: &Storage, window: &Window, count: usize) -> bool {
    let mut end = 0;
    window.sections.iter().all(|section| {
        let starts = section.start == end;
        end = section.start + section.width * count;
        starts
    }) && end == storage.root(window.root).cols
}

/// A quantisation whose groups lie within the sections of its result.
fn quantized(
    graph: &Graph,
    storage: &Storage,
    node: NodeId,
    windows: &mut Vec<Window>,
) -> Option<()> {
    let Op::Quantize { quant } = graph.op(node) else {
        return None;
    };
    let sections = find(windows, storage.root_of(node)?)?.sections.clone();
    let group = match quant {
        Quant::Row { group } => *group,
        Quant::Tensor { .. }
        | Quant::Affine { .. }
        | Quant::Channel { .. }
        | Quant::Block { .. } => 1,
    };
    let source: Value = graph.operand(node, 0)?;
    let place = storage.place(source)?;
    for section in sections {
        if !section.width.is_multiple_of(group) {
            return None;
        }
        add(
            windows,
            place.root,
            place.col + section.start,
            section.width,
        );
    }
    Some(())
}
