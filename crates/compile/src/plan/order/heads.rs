//! The order of attentions: head by head, rows by rows.

use std::ops::Range;

use packwright_ir::op::Attention;
use packwright_ir::{NodeId, Op};

use super::super::constants::Form;
use super::super::demand::{self, AttentionShape, Scene};
use super::super::stage::Stage;
use super::super::{Part, Segment};
use super::{At, Copies, Cut, Ordered, chunks, whole_tiles};

/// Rows of one head after the other, each with its scores, its probabilities and its results.
pub(super) fn attention_fragments(
    scene: &Scene<'_>,
    at: At,
    segment: &Segment,
    node: NodeId,
    block: Range<usize>,
    (cut, copies): (Cut<'_>, &mut Copies),
    ordered: &mut Ordered,
) {
    let Op::Attention(attrs) = scene.graph.op(node) else {
        unreachable!("attention stages hold attention nodes")
    };
    let shape = AttentionShape::of(scene.graph, node);
    let score_rows = demand::score_rows(scene, segment, &segment.stages[at.stage], node);
    let tiles = match ordered.held.get(&node) {
        Some(tiles) => tiles.clone(),
        None => whole_tiles(scene, &[node], ordered),
    };
    ordered.held.insert(node, tiles.clone());
    let at_once = shape.heads / cut.passes.count.max(1);
    let keys = demand::key_blocks(scene.graph, node);
    // A packet of its own: scores of other rows need not wait for it.
    let (quantizes, together) = match segment.stages[at.stage] {
        Stage::Attention {
            quantize: Some(quantize),
            ..
        } => (true, demand::heads_together(scene.graph, node, quantize)),
        _ => (false, 1),
    };
    for batch in 0..shape.batch {
        let whole = batch * shape.s..(batch + 1) * shape.s;
        let mine = block.start.max(whole.start)..block.end.min(whole.end);
        let heads = cut.index * at_once..(cut.index + 1) * at_once;
        for first in heads.step_by(together) {
            // Other stages may take the place of scratch between two row blocks.
            let stays = segment.stages.len() == 1 && ordered.biased == Some((node, first));
            if attrs.relative && !mine.is_empty() && !stays {
                let rows = mine.start..(mine.start + score_rows).min(mine.end);
                ordered.work(at, rows, Part::Bias { head: first }, tiles.clone());
                ordered.biased = Some((node, first));
            }
            let pieces = match keys {
                Some(keys) => rows_by_sight(attrs, &shape, &mine, keys.size, score_rows),
                None => chunks(mine.clone(), score_rows),
            };
            for rows in pieces {
                let row = rows.start % shape.s;
                let seen = keys.map(|keys| keys.seen(attrs, &(row..row + rows.len()), &shape));
                let blocks = seen.filter(|seen| seen.len() > 1);
                let results = copies.next_results();
                for head in first..first + together {
                    let mut work = |part: Part| {
                        ordered.work(at, rows.clone(), part, tiles.clone());
                    };
                    let Some(blocks) = blocks.clone() else {
                        let copy = copies.next();
                        work(Part::Head {
                            head,
                            copy,
                            results,
                        });
                        continue;
                    };
                    for block in blocks {
                        work(Part::Keys {
                            head,
                            block,
                            copy: copies.next(),
                            results,
                        });
                    }
                    work(Part::Join { head, results });
                }
                if quantizes {
                    let part = Part::Quantize {
                        head: first,
                        results,
                    };
                    ordered.work(at, rows, part, Vec::new());
                }
            }
        }
    }
}

/// Rows of a batch element in pieces of at most `size`. In causal order no piece has its last column in two
/// blocks of keys, so that each of its rows sees something of each block that one of them sees.
fn rows_by_sight(
    attrs: &Attention,
    shape: &AttentionShape,
    rows: &Range<usize>,
    block: usize,
    size: usize,
) -> Vec<Range<usize>> {
    if !attrs.causal {
        return chunks(rows.clone(), size);
    }
    let mut pieces = Vec::new();
    let mut start = rows.start;
    while start < rows.end {
        let column = (start % shape.s + shape.t).saturating_sub(shape.s);
        let end = (start + block - column % block).min(rows.end);
        pieces.extend(chunks(start..end, size));
        start = end;
    }
    pieces
}

/// A fragment for each key/value head: it reads one plane of the keys and one of the values.
pub(super) fn cached_fragments(scene: &Scene<'_>, at: At, node: NodeId, ordered: &mut Ordered) {
    let shape = AttentionShape::of(scene.graph, node);
    let masks = whole_tiles(scene, &[node], ordered);
    for batch in 0..shape.batch {
        for head in 0..shape.kv_heads {
            let plane = (batch * shape.kv_heads + head) as u64;
            let mut tiles = Vec::new();
            for &id in scene.layout.of(node) {
                let stored = scene.layout.get(id);
                if let Form::Cache(_) = stored.form {
                    tiles.push(ordered.tile(id, plane * stored.record(), stored.record()));
                }
            }
            tiles.extend(&masks);
            let part = Part::Head {
                head,
                copy: (plane % 2) as u8,
                results: 0,
            };
            ordered.work(at, batch * shape.s..(batch + 1) * shape.s, part, tiles);
        }
    }
}
