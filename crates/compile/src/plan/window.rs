//! Windows: the columns of a value that one pass over a segment makes.
//!
//! A segment may be gone through several times, each pass making some heads or some columns of
//! everything in it. Only those columns need a place in SRAM: the queries, keys and values of two heads
//! instead of those of all. Where one value holds queries, keys and values side by side, a pass has a
//! section of each. Of a residual or of another operand that is read element by element a pass needs the
//! same columns only.

use std::ops::Range;

use num_integer::Integer;
use packwright_ir::{Graph, NodeId, Op, Quant};

use super::demand::{self, AttentionShape, Scene};
use super::pace;
use super::stage::Stage;
use super::storage::{Place, Root, RootId, Storage};
use super::{Alternates, Passes, Segment};

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
    // What cannot be parted, and how much of it there is at the least in a pass.
    let (wholes, least) = match segment.stages.last() {
        Some(Stage::Attention { node, .. }) => (AttentionShape::of(graph, *node).kv_heads, 1),
        Some(Stage::Matmul { node, quantize }) => {
            let columns = graph.types(*node)[0].columns();
            wholes(graph, columns, *quantize)
        }
        Some(Stage::Rows { nodes }) => nodes.last().map_or((1, 1), |&node| {
            wholes(graph, graph.types(node)[0].columns(), Some(node))
        }),
        Some(Stage::CachedAttention { .. } | Stage::Whole { .. } | Stage::Input { .. }) | None => {
            (1, 1)
        }
    };
    (1..=(wholes / least).max(1))
        .filter(|&count| wholes.is_multiple_of(count))
        .filter(|&count| count == 1 || passes(graph, storage, &segment.stages, count).is_some())
        .collect()
}

/// The passes in which a segment that is not cut makes the queries, keys and values of some heads beside the scores of
/// those before, where that is faster: the vector unit is at work on scores while the array makes what the next ones
/// need. One row is not worth more packets.
pub fn ahead(scene: &Scene<'_>, segment: &Segment) -> Option<Segment> {
    let [products @ .., Stage::Attention { node, .. }] = &segment.stages[..] else {
        return None;
    };
    if segment.rows == 1 || segment.repeats() || products.is_empty() {
        return None;
    }
    let heads = AttentionShape::of(scene.graph, *node).kv_heads;
    let counts = (2..=heads).filter(|&count| heads.is_multiple_of(count));
    let ways = counts.filter_map(|count| {
        Some(Segment {
            passes: passes(scene.graph, scene.storage, &segment.stages, count)?,
            alternates: Alternates::All,
            ..segment.clone()
        })
    });
    let paces = ways.map(|way| (pace::cycles(scene, &way), way));
    let (cycles, way) = paces.min_by_key(|(cycles, _)| *cycles)?;
    (cycles < pace::cycles(scene, segment)).then_some(way)
}

/// Columns of a spilled value whose rows lie together: the widest that every pass of every segment has whole numbers of.
pub fn panel(segments: &[Segment], root: RootId, info: &Root) -> usize {
    let windows = segments
        .iter()
        .filter_map(|segment| segment.passes.window(root));
    let sections = windows.flat_map(|window| &window.sections);
    let common = sections.fold(info.cols, |common, section| {
        common.gcd(&section.start).gcd(&section.width)
    });
    common.max(1)
}

/// Fewest columns of a pass, unless scales ask for more or fewer: about the width of an array.
const FEWEST_COLUMNS: usize = 64;

/// How many groups of columns share a scale, or how many columns there are, and how many of them a pass has at the least.
fn wholes(graph: &Graph, columns: usize, quantize: Option<NodeId>) -> (usize, usize) {
    match quantize.map(|node| graph.op(node)) {
        Some(Op::Quantize {
            quant: Quant::Row { group },
        }) => (columns / group, 1),
        _ => (columns, FEWEST_COLUMNS),
    }
}

/// The windows of all roots that a segment makes or reads by columns, for a number of passes; `None` where a
/// stage needs whole rows.
pub fn passes(graph: &Graph, storage: &Storage, stages: &[Stage], count: usize) -> Option<Passes> {
    let mut windows: Vec<Window> = Vec::new();
    for (index, stage) in stages.iter().enumerate().rev() {
        match stage {
            Stage::Attention { node, quantize } if index + 1 == stages.len() => {
                if let Some(quantize) = quantize {
                    let columns = graph.types(*quantize)[0].columns();
                    let heads = AttentionShape::of(graph, *node).heads;
                    let together = demand::heads_together(graph, *node, *quantize);
                    if !(heads / count).is_multiple_of(together) {
                        return None;
                    }
                    windows.push(whole(storage.root_of(*quantize)?, columns, count)?);
                }
                attention(graph, storage, *node, count, &mut windows)?;
            }
            Stage::Matmul { node, quantize } => {
                let last = quantize.unwrap_or(*node);
                let root = storage.root_of(last)?;
                if find(&windows, root).is_none() {
                    let columns = graph.types(last)[0].columns();
                    windows.push(whole(root, columns, count)?);
                }
                let window = find(&windows, root)?.clone();
                residual(graph, storage, *node, &window, &mut windows);
                if quantize.is_some() {
                    let root = storage.root_of(*node)?;
                    windows.push(Window { root, ..window });
                }
            }
            Stage::Rows { nodes } => {
                for (position, &node) in nodes.iter().enumerate().rev() {
                    let root = storage.root_of(node)?;
                    if position + 1 == nodes.len() && find(&windows, root).is_none() {
                        let columns = graph.types(node)[0].columns();
                        windows.push(whole(root, columns, count)?);
                    }
                    match graph.op(node) {
                        Op::Unary(_) | Op::Binary(_) | Op::Cast { .. } => {
                            elementwise(graph, storage, node, &mut windows)?;
                        }
                        _ => {
                            let group = group_of(graph, node)?;
                            in_groups(graph, storage, node, group, &mut windows)?;
                        }
                    }
                    if nodes.len() > 1 && find(&windows, root)?.sections.len() > 1 {
                        return None;
                    }
                }
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
    let multiplied = left_operands(graph, storage, stages);
    if multiplied.iter().any(|root| made.contains(root)) {
        return None;
    }
    windows.retain(|window| {
        let elsewhere = !made.contains(&window.root);
        !elsewhere || !multiplied.contains(&window.root)
    });
    for window in &mut windows {
        window.sections.sort_by_key(|section| section.start);
        let mut offset = 0;
        for section in &mut window.sections {
            section.offset = offset;
            offset += section.width;
        }
    }
    let (mut windows, by_columns): (Vec<Window>, Vec<Window>) = windows
        .into_iter()
        .partition(|window| made.contains(&window.root));
    let whole = windows.iter().all(|window| covers(storage, window, count));
    windows.extend(by_columns.into_iter().filter(|w| is_disjoint(w, count)));
    whole.then_some(Passes { count, windows })
}

/// Roots that products read as their left operands: whole rows.
fn left_operands(graph: &Graph, storage: &Storage, stages: &[Stage]) -> Vec<RootId> {
    let operands = stages.iter().filter_map(|stage| match stage {
        Stage::Matmul { node, .. } => graph.operand(*node, 0),
        _ => None,
    });
    operands
        .filter_map(|value| storage.place(value))
        .map(|place| place.root)
        .collect()
}

/// The columns of a residual that the columns of a product are added to. Where they cannot be told apart,
/// all columns are there.
fn residual(
    graph: &Graph,
    storage: &Storage,
    node: NodeId,
    result: &Window,
    windows: &mut Vec<Window>,
) {
    if !matches!(graph.op(node), Op::Matmul(attributes) if attributes.residual) {
        return;
    }
    let operands = graph.operands(node);
    if let Some(place) = operands.last().and_then(|&value| storage.place(value)) {
        add_sections(windows, place, &result.sections);
    }
}

/// The columns of the operands of an element-wise function.
fn elementwise(
    graph: &Graph,
    storage: &Storage,
    node: NodeId,
    windows: &mut Vec<Window>,
) -> Option<()> {
    let sections = find(windows, storage.root_of(node)?)?.sections.clone();
    for value in graph.operands(node) {
        add_sections(windows, storage.place(value)?, &sections);
    }
    Some(())
}

/// The columns of what works on whole groups of them.
fn in_groups(
    graph: &Graph,
    storage: &Storage,
    node: NodeId,
    group: usize,
    windows: &mut Vec<Window>,
) -> Option<()> {
    let sections = find(windows, storage.root_of(node)?)?.sections.clone();
    let mut bounds = sections.iter().flat_map(|s| [s.start, s.width]);
    if !bounds.all(|bound| bound.is_multiple_of(group)) {
        return None;
    }
    add_sections(windows, storage.place(graph.operand(node, 0)?)?, &sections);
    Some(())
}

/// Columns that are rotated or quantised together.
fn group_of(graph: &Graph, node: NodeId) -> Option<usize> {
    match graph.op(node) {
        Op::Rotary { heads, .. } => Some(graph.types(node)[0].columns() / heads),
        Op::Quantize {
            quant: Quant::Row { group },
        } => Some(*group),
        Op::Quantize { .. } => Some(1),
        _ => None,
    }
}

/// Whether no column belongs to two sections, whatever the pass.
fn is_disjoint(window: &Window, count: usize) -> bool {
    window.sections.windows(2).all(|pair| {
        let end = pair[0].start + pair[0].width * count;
        end <= pair[1].start
    })
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

/// Notes that a pass needs the columns of some sections, counted from the first column of a place.
fn add_sections(windows: &mut Vec<Window>, place: Place, sections: &[Section]) {
    for section in sections {
        add(
            windows,
            place.root,
            place.col + section.start,
            section.width,
        );
    }
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
