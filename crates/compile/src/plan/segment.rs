//! Segments: runs of stages that row blocks may travel through together.
//!
//! Attention needs the keys and values of all rows. What makes queries, keys and values forms a segment with
//! the attention that they are for, so that it can be gone through a few heads at a time; between two
//! attentions everything else works row by row. Small inputs and the whole stages that depend on nothing else
//! (masks) go to the front, where they cut nothing; large inputs (caches) are brought in right before
//! they are read.

use packwright_ir::{Graph, NodeId, Op, Value};

use super::cache::Cache;
use super::stage::Stage;
use super::storage::Storage;
use super::{Segment, again, demand};

/// Groups stages into segments, in order of execution.
pub fn segments(graph: &Graph, storage: &Storage, stages: Vec<Stage>) -> Vec<Segment> {
    let (front, rest) = hoist(graph, storage, results_first(graph, stages));
    let rest = gather_heads(graph, storage, late(graph, storage, rest));
    let mut segments: Vec<Segment> = Vec::new();
    if !front.is_empty() {
        segments.push(Segment::new(front, 1));
    }
    // The number of rows of the segment that may still grow.
    let mut open = None;
    for group in rest {
        let rows = match group.as_slice() {
            [stage] if !Segment::is_gathering(stage) => row_class(graph, storage, stage),
            _ => None,
        };
        match (rows, segments.last_mut()) {
            (Some(rows), Some(last)) if open == Some(rows) => last.stages.extend(group),
            _ => {
                let own = group.last().and_then(|s| row_class(graph, storage, s));
                segments.push(Segment::new(group, own.unwrap_or(1)));
            }
        }
        open = rows;
    }
    segments
}

/// Parts segments into one stage each, but leaves those that are carried out at once together.
pub fn singles(graph: &Graph, storage: &Storage, segments: &[Segment]) -> Vec<Segment> {
    let mut parts = Vec::new();
    for segment in segments {
        if segment
            .stages
            .iter()
            .all(|stage| row_class(graph, storage, stage).is_none())
        {
            parts.push(segment.clone());
            continue;
        }
        for stage in &segment.stages {
            let rows = row_class(graph, storage, stage);
            parts.push(Segment::new(vec![stage.clone()], rows.unwrap_or(1)));
        }
    }
    parts
}

/// Parts segments into one product each, together with the row-wise stages before it, and, where `behind` is
/// set, those behind it.
pub fn split(graph: &Graph, segments: &[Segment], behind: bool) -> Vec<Segment> {
    let mut parts = Vec::new();
    for segment in segments {
        if segment.stages.iter().any(Segment::is_gathering) {
            parts.push(segment.clone());
            continue;
        }
        let mut stages: Vec<Stage> = Vec::new();
        let mut complete = false;
        for stage in &segment.stages {
            let product = matches!(stage, Stage::Matmul { .. });
            if complete && (product || !behind || again::is_again(graph, stage)) {
                parts.push(Segment::new(std::mem::take(&mut stages), segment.rows));
                complete = false;
            }
            complete |= product;
            stages.push(stage.clone());
        }
        if !stages.is_empty() {
            parts.push(Segment::new(stages, segment.rows));
        }
    }
    parts
}

/// Parts segments like [`split`], but leaves a product that makes longer rows than it reads together with the one that reads
/// them: the long rows live in SRAM only, a block at a time.
pub fn feed_forward(graph: &Graph, segments: &[Segment]) -> Vec<Segment> {
    let mut parts: Vec<Segment> = Vec::new();
    // Whether the last part has made long rows that nobody has read.
    let mut open = false;
    for part in split(graph, segments, false) {
        let (mut widens, mut narrows) = (false, false);
        for stage in &part.stages {
            if let Stage::Matmul { node, .. } = stage {
                let read = graph.operand(*node, 0);
                let read = read.map_or(0, |value| graph.ty(value).columns());
                let made = graph.types(*node)[0].columns();
                widens |= made > read;
                narrows |= made < read;
            }
        }
        let gathers = part.stages.iter().any(Segment::is_gathering);
        match parts.last_mut() {
            Some(last) if open && !gathers && last.rows == part.rows => {
                last.stages.extend(part.stages);
            }
            _ => parts.push(part),
        }
        open = !gathers && !narrows && (open || widens);
    }
    parts
}

/// Parts attentions from the products that make their queries, keys and values: in little memory these take all rows of a
/// few columns, and weights come once for each block of rows.
pub fn apart(segments: &[Segment]) -> Vec<Segment> {
    let mut parts = Vec::new();
    for segment in segments {
        match &segment.stages[..] {
            [makers @ .., attention @ Stage::Attention { .. }] if !makers.is_empty() => {
                parts.push(Segment::new(makers.to_vec(), segment.rows));
                parts.push(Segment::new(vec![attention.clone()], segment.rows));
            }
            _ => parts.push(segment.clone()),
        }
    }
    parts
}

/// Parts attentions from the quantisation of several heads together, which asks for passes of as many: then one pass may
/// make a single head. None where there is nothing to part.
pub fn single_heads(graph: &Graph, segments: &[Segment]) -> Option<Vec<Segment>> {
    let mut parts: Vec<Segment> = Vec::new();
    let mut parted = false;
    // What goes in front of the next stages of as many rows.
    let mut before: Option<(Stage, usize)> = None;
    for segment in segments {
        let mut segment = segment.clone();
        if let Some((quantize, rows)) = before.take() {
            match segment.rows == rows && !segment.stages.iter().any(Segment::is_gathering) {
                true => segment.stages.insert(0, quantize),
                false => parts.push(Segment::new(vec![quantize], rows)),
            }
        }
        if let Some(Stage::Attention { node, quantize }) = segment.stages.last_mut()
            && quantize.is_some_and(|own| demand::heads_together(graph, *node, own) > 1)
        {
            let nodes = quantize.take().into_iter().collect();
            before = Some((Stage::Rows { nodes }, segment.rows));
            parted = true;
        }
        parts.push(segment);
    }
    parts.extend(before.map(|(quantize, rows)| Segment::new(vec![quantize], rows)));
    parted.then_some(parts)
}

/// Parts products that read longer rows than they make from what is done with whole rows behind them: alone they take
/// more rows at a time.
pub fn long_alone(graph: &Graph, segments: &[Segment]) -> Vec<Segment> {
    let is_long = |stage: &Stage| match stage {
        Stage::Matmul { node, .. } => {
            let read = graph
                .operand(*node, 0)
                .map(|value| graph.ty(value).columns());
            read > Some(graph.types(*node)[0].columns())
        }
        _ => false,
    };
    let mut parts = Vec::new();
    for segment in segments {
        let at = segment.stages.iter().position(is_long);
        let (head, tail) = segment
            .stages
            .split_at(at.map_or(segment.stages.len(), |at| at + 1));
        for stages in [head, tail].into_iter().filter(|stages| !stages.is_empty()) {
            parts.push(Segment::new(stages.to_vec(), segment.rows));
        }
    }
    parts
}

/// Parts segments into runs that can be gone through a few columns at a time: products with the element-wise
/// work on their results, and between them what needs whole rows.
pub fn by_columns(graph: &Graph, storage: &Storage, segments: &[Segment]) -> Vec<Segment> {
    let mut parts = Vec::new();
    for segment in segments {
        if segment.stages.iter().any(Segment::is_gathering) {
            parts.push(segment.clone());
            continue;
        }
        let mut run: Vec<Stage> = Vec::new();
        // What is made again stands with the product that adds it.
        let mut again: Vec<Stage> = Vec::new();
        for stage in &segment.stages {
            if again::is_again(graph, stage) {
                again.push(stage.clone());
                continue;
            }
            if !run.is_empty() && !joins(graph, storage, &run, stage) {
                parts.push(Segment::new(std::mem::take(&mut run), segment.rows));
            }
            if matches!(stage, Stage::Matmul { .. }) {
                run.splice(0..0, again.drain(..));
            }
            run.push(stage.clone());
        }
        for stages in [run, again].into_iter().filter(|stages| !stages.is_empty()) {
            parts.push(Segment::new(stages, segment.rows));
        }
    }
    parts
}

/// Whether a stage takes the columns of a run as they come.
fn joins(graph: &Graph, storage: &Storage, run: &[Stage], stage: &Stage) -> bool {
    let by_columns = |stage: &Stage| match stage {
        Stage::Matmul { .. } => true,
        Stage::Rows { nodes } => nodes.iter().all(|&node| {
            matches!(
                graph.op(node),
                Op::Unary(_)
                    | Op::Binary(_)
                    | Op::Cast { .. }
                    | Op::Quantize { .. }
                    | Op::Rotary { .. }
            )
        }),
        Stage::Attention { .. }
        | Stage::CachedAttention { .. }
        | Stage::Whole { .. }
        | Stage::Input { .. } => false,
    };
    if !by_columns(stage) {
        return run.iter().all(|stage| !by_columns(stage));
    }
    if !run.iter().all(by_columns) {
        return false;
    }
    let place = |value: Value| storage.place(value).map(|place| place.root);
    let left = |stage: &Stage| match stage {
        Stage::Matmul { node, .. } => graph.operand(*node, 0).and_then(place),
        _ => None,
    };
    match stage {
        // Products of the same rows go together.
        Stage::Matmul { .. } => run.iter().any(|other| left(other) == left(stage)),
        _ => run.iter().flat_map(Stage::nodes).any(|maker| {
            let nodes = stage.nodes();
            nodes.iter().any(|&node| reads(graph, node, maker))
        }),
    }
}

/// Puts products that are read behind other attentions right before their readers: keys and values that all
/// layers of a decoder take from one encoder are many times as large as what they are made from.
fn late(graph: &Graph, storage: &Storage, mut stages: Vec<Stage>) -> Vec<Stage> {
    for index in (0..stages.len()).rev() {
        if !matches!(stages[index], Stage::Matmul { .. }) {
            continue;
        }
        let nodes = stages[index].nodes();
        let users: Vec<NodeId> = nodes
            .iter()
            .flat_map(|&node| real_users(graph, storage, node))
            .filter(|user| !nodes.contains(user))
            .collect();
        let behind = &stages[index + 1..];
        let reads = |stage: &Stage| stage.nodes().iter().any(|node| users.contains(node));
        let Some(distance) = behind.iter().position(reads) else {
            continue;
        };
        if behind[..distance].iter().any(Segment::is_gathering) {
            let stage = stages.remove(index);
            stages.insert(index + distance, stage);
        }
    }
    stages
}

/// Puts each attention together with the stages that make its queries, keys and values and nothing else.
fn gather_heads(graph: &Graph, storage: &Storage, stages: Vec<Stage>) -> Vec<Vec<Stage>> {
    let mut groups: Vec<Vec<Stage>> = Vec::new();
    for stage in stages {
        let mut group = Vec::new();
        if let Stage::Attention { node, .. } = stage {
            let singles: Vec<&Stage> = groups
                .iter()
                .filter(|group| group.len() == 1)
                .filter_map(|group| group.first())
                .collect();
            let makers = makers(graph, storage, node, &singles);
            let (mine, others): (Vec<_>, Vec<_>) = groups
                .into_iter()
                .partition(|group| group.len() == 1 && makers.contains(&group[0].nodes()[0]));
            groups = others;
            group = mine.into_iter().flatten().collect();
        }
        group.push(stage);
        groups.push(group);
    }
    groups
}

/// First nodes of the stages that make operands of an attention, row by row, and that nobody else reads.
fn makers(graph: &Graph, storage: &Storage, attention: NodeId, stages: &[&Stage]) -> Vec<NodeId> {
    let rows = storage.place(attention.into()).map(|place| place.rows);
    let mut inside: Vec<NodeId> = vec![attention];
    let mut found = Vec::new();
    for stage in stages.iter().rev() {
        let nodes = stage.nodes();
        let fits = match stage {
            Stage::Matmul { .. } => true,
            Stage::Rows { nodes } => nodes
                .iter()
                .all(|&node| matches!(graph.op(node), Op::Rotary { .. } | Op::Quantize { .. })),
            Stage::Attention { .. }
            | Stage::CachedAttention { .. }
            | Stage::Whole { .. }
            | Stage::Input { .. } => false,
        };
        let users: Vec<NodeId> = nodes
            .iter()
            .flat_map(|&node| real_users(graph, storage, node))
            .filter(|user| !nodes.contains(user))
            .collect();
        let kept = nodes.iter().any(|&node| graph.is_output(node.into()));
        if fits
            && !kept
            && row_class(graph, storage, stage) == rows
            && !users.is_empty()
            && users.iter().all(|user| inside.contains(user))
        {
            found.push(nodes[0]);
            // What a product reads has to be whole, so the search ends at products.
            if matches!(stage, Stage::Rows { .. }) {
                inside.extend(nodes);
            }
        }
    }
    found
}

/// The nodes that read a node's result, through views.
fn real_users(graph: &Graph, storage: &Storage, node: NodeId) -> Vec<NodeId> {
    let mut users = Vec::new();
    for (user, _) in graph.users(node.into()) {
        if storage.root_of(user).is_none() {
            users.extend(real_users(graph, storage, user));
            // A view that is a result of the model is a reader of its own; a cache takes heads as they are made.
            if graph.is_output(user.into()) && Cache::of(graph, user.into()).is_none() {
                users.push(user);
            }
        } else {
            users.push(user);
        }
    }
    users
}

/// Rows that flow through a stage; `None` where it is carried out at once.
fn row_class(graph: &Graph, storage: &Storage, stage: &Stage) -> Option<usize> {
    match stage {
        Stage::Whole { .. } | Stage::Input { .. } => None,
        Stage::Matmul { node, .. }
        | Stage::Attention { node, .. }
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

/// Moves stages that make results of the model, and nothing else, right behind what they read: their
/// operands need not wait for the end.
fn results_first(graph: &Graph, stages: Vec<Stage>) -> Vec<Stage> {
    let is_result = |stage: &Stage| match stage {
        Stage::Whole { node } => {
            graph.is_output((*node).into()) && graph.users((*node).into()).is_empty()
        }
        Stage::Rows { nodes } => match nodes.as_slice() {
            [node] => graph.is_output((*node).into()) && graph.users((*node).into()).is_empty(),
            _ => false,
        },
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
                Op::Reshape { .. } | Op::Slice { .. }
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
                Op::Reshape { .. } | Op::Slice { .. }
            ) && depends_on(graph, operand.node, early))
    })
}
