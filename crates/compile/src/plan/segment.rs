//! Segments: runs of stages that row blocks may travel through together.
//!
//! Attention needs the keys and values of all rows, so a segment starts at each attention; between
//! two of them everything works row by row. Small inputs and the whole stages that depend on nothing else
//! (masks) go to the front, where they cut nothing; large inputs (caches) are brought in right before
//! they are read.

use packwright_ir::{Graph, NodeId, Value};

use super::Segment;
use super::stage::Stage;
use super::storage::Storage;

/// Groups stages into segments, in order of execution.
pub fn segments(graph: &Graph, storage: &Storage, stages: Vec<Stage>) -> Vec<Segment> {
    let (front, rest) = hoist(graph, storage, results_first(graph, stages));
    let mut segments: Vec<Segment> = Vec::new();
    if !front.is_empty() {
        segments.push(Segment {
            stages: front,
            rows: 1,
            block_rows: 1,
            resident: false,
        });
    }
    let mut open = false;
    for stage in rest {
        let rows = row_class(graph, storage, &stage);
        let starts = matches!(
            stage,
            Stage::Attention { .. } | Stage::CachedAttention { .. }
        );
        match (rows, segments.last_mut()) {
            (Some(rows), Some(last)) if open && !starts && last.rows == rows => {
                last.stages.push(stage);
            }
            (Some(rows), _) => {
                segments.push(Segment {
                    stages: vec![stage],
                    rows,
                    block_rows: rows,
                    resident: false,
                });
                open = true;
            }
            (None, _) => {
                segments.push(Segment {
                    stages: vec![stage],
                    rows: 1,
                    block_rows: 1,
                    resident: false,
                });
                open = false;
            }
        }
    }
    segments
}

/// Rows that flow through a stage; `None` where it is carried out at once.
fn row_class(graph: &Graph, storage: &Storage, stage: &Stage) -> Option<usize> {
    match stage {
        Stage::Whole { .. } | Stage::Input { .. } => None,
        Stage::Matmul { node, .. }
        | Stage::Attention { node }
        | Stage::CachedAttention { node } => {
            let place = storage.place(Value::from(*node))?;
            Some(place.rows).filter(|_| is_dense(graph, *node))
        }
        Stage::Rows { nodes } => storage.place(Value::from(*nodes.last()?)).map(|p| p.rows),
    }
}

/// Whether the rows of a node's result depend on the same rows of its first operand only.
fn is_dense(graph: &Graph, node: NodeId) -> bool {
    !graph.types(node)[0].shape.is_empty()
}

/// Moves whole stages that make results of the model, and nothing else, right behind what they read: their
/// operands need not wait for the end.
fn results_first(graph: &Graph, stages: Vec<Stage>) -> Vec<Stage> {
    let is_result = |stage: &Stage| match stage {
        Stage::Whole { node } => {
            graph.is_output((*node).into()) && graph.users((*node).into()).is_empty()
        }
        _ => false,
    };
    let (results, mut order): (Vec<Stage>, Vec<Stage>) = stages.into_iter().partition(is_result);
    for stage in results {
        let nodes = stage.nodes();
        let behind = order.iter().rposition(|other| {
            let made = other.nodes();
            nodes
                .iter()
                .any(|&node| made.iter().any(|&maker| reads(graph, node, maker)))
        });
        order.insert(behind.map_or(0, |place| place + 1), stage);
    }
    order
}

/// Bytes from which on an input is brought in when it is read.
const LARGE_INPUT: u64 = 16 << 10;

/// Splits off the small inputs and the whole stages that depend on nothing else.
fn hoist(graph: &Graph, storage: &Storage, stages: Vec<Stage>) -> (Vec<Stage>, Vec<Stage>) {
    let large = |node: NodeId| {
        storage
            .root_of(node)
            .map(|root| storage.root(root))
            .is_some_and(|root| root.bytes(root.rows) >= LARGE_INPUT)
    };
    let mut early: Vec<NodeId> = Vec::new();
    let mut front = Vec::new();
    let mut late = Vec::new();
    let mut rest = Vec::new();
    for stage in stages {
        let hoisted = match &stage {
            Stage::Input { node } if large(*node) => {
                late.push(*node);
                continue;
            }
            Stage::Input { .. } => true,
            Stage::Whole { node } => depends_on(graph, *node, &early),
            Stage::Matmul { .. }
            | Stage::Attention { .. }
            | Stage::CachedAttention { .. }
            | Stage::Rows { .. } => false,
        };
        if hoisted {
            early.extend(stage.nodes());
            front.push(stage);
        } else {
            rest.push(stage);
        }
    }
    let mut placed = Vec::with_capacity(rest.len() + late.len());
    for stage in rest {
        late.retain(|&input| {
            let read = stage.nodes().iter().any(|&node| reads(graph, node, input));
            if read {
                placed.push(Stage::Input { node: input });
            }
            !read
        });
        placed.push(stage);
    }
    // Inputs that nobody reads are not brought in.
    (front, placed)
}

/// Whether a node reads what another makes, through views.
fn reads(graph: &Graph, node: NodeId, maker: NodeId) -> bool {
    graph.operands(node).into_iter().any(|operand| {
        operand.node == maker
            || (matches!(
                graph.op(operand.node),
                packwright_ir::Op::Reshape { .. } | packwright_ir::Op::Slice { .. }
            ) && reads(graph, operand.node, maker))
    })
}

/// Whether all operands come from the given nodes, through views.
fn depends_on(graph: &Graph, node: NodeId, early: &[NodeId]) -> bool {
    graph.operands(node).into_iter().all(|operand| {
        graph.as_const(operand).is_some()
            || early.contains(&operand.node)
            || (matches!(
                graph.op(operand.node),
                packwright_ir::Op::Reshape { .. } | packwright_ir::Op::Slice { .. }
            ) && depends_on(graph, operand.node, early))
    })
}
