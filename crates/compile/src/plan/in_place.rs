//! Results in the place of operands that nobody reads any more.
//!
//! A product that adds a residual reads each element of it before it writes the one at the same place, and
//! norms and element-wise functions read each row before they write it. So the residual stream of a layer
//! needs one buffer, not one for each step of the way.

use std::ops::Range;

use packwright_ir::{NodeId, Op, Value};

use super::demand::{Scene, Use};
use super::stage::Stage;
use super::storage::RootId;
use super::{Buffer, Home, Segment};
use indexmap::IndexMap;

/// Lets results of some segments lie over operands that end with the step that makes the result.
pub fn share(
    scene: &Scene<'_>,
    segments: &[Segment],
    within: Range<usize>,
    starts: &[usize],
    uses: &IndexMap<RootId, Use>,
    buffers: &mut [Buffer],
) {
    let index: IndexMap<Home, usize> = buffers
        .iter()
        .enumerate()
        .map(|(index, buffer)| (buffer.home, index))
        .collect();
    let find = |root: RootId, segment: usize| {
        [Home::Block { root, segment }, Home::Whole(root)]
            .iter()
            .find_map(|home| index.get(home).copied())
    };
    let mut taken = vec![false; buffers.len()];
    for s in within {
        let segment = &segments[s];
        for (i, stage) in segment.stages.iter().enumerate() {
            let step = starts[s] + i;
            for (operand, result) in pairs(scene, stage) {
                let (Some(under), Some(over)) = (find(operand, s), find(result, s)) else {
                    continue;
                };
                let fits = buffers[under].bytes == buffers[over].bytes
                    && buffers[under].copies == buffers[over].copies
                    && buffers[under].life.end == step + 1
                    && buffers[over].life.start == step
                    && buffers[over].over.is_none()
                    && under != over
                    && !taken[under]
                    && !uses.get(&operand).is_none_or(|using| using.output);
                if fits {
                    taken[under] = true;
                    buffers[over].over = Some(under);
                }
            }
        }
        let span = starts[s]..starts[s] + segment.stages.len();
        for (operand, result) in by_blocks(scene, (segment, s), uses) {
            let find = |home: Home| buffers.iter().position(|buffer| buffer.home == home);
            let Some(under) = find(Home::Whole(operand)) else {
                continue;
            };
            let block = Home::Block {
                root: result,
                segment: s,
            };
            let Some(over) = find(Home::Whole(result)).or_else(|| find(block)) else {
                continue;
            };
            let is_free = buffers[under].life.end == span.end && !taken[under];
            if is_free && buffers[over].copies == 1 && buffers[over].over.is_none() {
                let bytes = buffers[under].bytes;
                let over = &mut buffers[over];
                // What only this segment sees has its rows there too.
                over.home = Home::Whole(result);
                over.life = span.start..over.life.end.max(span.end);
                over.bytes = bytes;
                over.over = Some(under);
                taken[under] = true;
            }
        }
    }
}

/// Values that a segment reads row block by row block, with those of the same shape that it makes of the same rows when it has
/// read them, in the order in which they are made.
fn by_blocks(
    scene: &Scene<'_>,
    (segment, s): (&Segment, usize),
    uses: &IndexMap<RootId, Use>,
) -> Vec<(RootId, RootId)> {
    let goes_by_blocks = segment.block_count() > 1 && segment.passes.count == 1;
    if !goes_by_blocks || segment.stages.iter().any(Segment::is_gathering) {
        return Vec::new();
    }
    let mut found: Vec<(RootId, RootId)> = Vec::new();
    for (i, stage) in segment.stages.iter().enumerate() {
        let in_step = pairs(scene, stage);
        let results = stage.nodes().into_iter();
        for result in results.filter_map(|node| scene.storage.root_of(node)) {
            let made_here = uses.get(&result).is_some_and(|using| using.made == (s, i));
            if !made_here {
                continue;
            }
            let crosses = uses[&result].crosses();
            let may_lie_under = |value: Value, operand: RootId| {
                let Some(using) = uses.get(&operand) else {
                    return false;
                };
                let here = using.read.iter().filter(|&&(at, _)| at == s);
                let last = here.map(|&(_, i)| i).max();
                let follows = in_step.contains(&(operand, result));
                !using.output
                    && (follows || crosses && last < Some(i))
                    && is_alike(scene, value, result)
                    && scene.storage.root(operand).rows == segment.rows
            };
            let before = segment.stages[..=i].iter().flat_map(Stage::nodes);
            let operands = before.flat_map(|node| scene.graph.operands(node));
            let operands = operands
                .filter_map(|value| Some((value, scene.storage.place(value)?.root)))
                .filter(|&(value, operand)| may_lie_under(value, operand))
                .map(|(_, operand)| (operand, result));
            for pair in operands {
                if !found.contains(&pair) {
                    found.push(pair);
                }
            }
        }
    }
    found
}

/// Operands and results of a stage that may share their places.
fn pairs(scene: &Scene<'_>, stage: &Stage) -> Vec<(RootId, RootId)> {
    let nodes = stage.nodes();
    let candidates: Vec<(NodeId, Value)> = match stage {
        Stage::Matmul {
            node,
            quantize: None,
        } => match scene.graph.op(*node) {
            Op::Matmul(attributes) if attributes.residual => {
                let operands = scene.graph.operands(*node);
                operands
                    .last()
                    .map(|&value| (*node, value))
                    .into_iter()
                    .collect()
            }
            _ => Vec::new(),
        },
        Stage::Rows { nodes } => nodes
            .iter()
            .filter(|&&node| is_in_step(scene.graph.op(node)))
            .flat_map(|&node| {
                let operands = scene.graph.operands(node);
                let vectors = matches!(
                    scene.graph.op(node),
                    Op::LayerNorm { .. } | Op::RmsNorm { .. }
                );
                let count = if vectors { 1 } else { operands.len() };
                operands
                    .into_iter()
                    .take(count)
                    .map(move |value| (node, value))
            })
            .collect(),
        Stage::Matmul { .. }
        | Stage::Attention { .. }
        | Stage::CachedAttention { .. }
        | Stage::Whole { .. }
        | Stage::Input { .. } => Vec::new(),
    };
    candidates
        .into_iter()
        .filter_map(|(node, value)| pair(scene, &nodes, node, value))
        .collect()
}

/// Whether an operator reads each row before it writes it.
fn is_in_step(op: &Op) -> bool {
    matches!(
        op,
        Op::LayerNorm { .. } | Op::RmsNorm { .. } | Op::Unary(_) | Op::Binary(_)
    )
}

/// The roots of an operand and of a result, where they have the same shape and no other node of the stage
/// reads the operand.
fn pair(
    scene: &Scene<'_>,
    nodes: &[NodeId],
    node: NodeId,
    value: Value,
) -> Option<(RootId, RootId)> {
    let place = scene.storage.place(value)?;
    let result = scene.storage.root_of(node)?;
    let reads = |reader: NodeId| {
        let operands = scene.graph.operands(reader);
        operands
            .into_iter()
            .filter_map(|value| scene.storage.place(value))
            .filter(|other| other.root == place.root)
            .count()
    };
    let alone = nodes.iter().map(|&node| reads(node)).sum::<usize>() == 1;
    (is_alike(scene, value, result) && alone).then_some((place.root, result))
}

/// Whether a value is all of a root that has the shape of another one.
fn is_alike(scene: &Scene<'_>, value: Value, result: RootId) -> bool {
    let Some(place) = scene.storage.place(value) else {
        return false;
    };
    let (operand, made) = (scene.storage.root(place.root), scene.storage.root(result));
    place.rows == operand.rows
        && place.cols == operand.cols
        && place.row_step == 1
        && operand.elem == made.elem
        && (operand.rows, operand.cols, operand.group) == (made.rows, made.cols, made.group)
}
