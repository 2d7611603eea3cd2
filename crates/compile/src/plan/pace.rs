//! Pace: about how many cycles a segment keeps its units busy, and how far they wait for each other.
//!
//! Closed forms, from which a search chooses; what a plan takes in the end the simulator says. Transfers run beside it:
//! their bytes are counted apart.

use packwright_ir::{NodeId, Op};
use packwright_target::limits::matmul_cycles;

use super::columns::{self, Columns};
use super::cost;
use super::demand::{self, AttentionShape, Scene};
use super::stage::Stage;
use super::wave;
use super::{Alternates, Segment};
use crate::bound::time::lane_operations;

/// Bytes that DRAM could move while it opens a row for a short run.
pub const RUN: u64 = 64;

/// Cycles that a segment takes, about: those of the arrays, and of the vector unit where they wait for it.
pub fn cycles(scene: &Scene<'_>, segment: &Segment) -> u64 {
    let Work {
        products,
        streamed,
        heads,
    } = Work::of(scene, segment);
    let lanes = u64::from(scene.target.vector.lanes.max(1));
    // Scores apart; what is done with the results of attention stands behind them.
    let of_stage = |stage: &Stage| -> u64 {
        let nodes = stage.nodes().into_iter();
        let others = nodes.filter(|&node| !matches!(scene.graph.op(node), Op::Attention(_)));
        let operations = others.map(|node| lane_operations(scene.graph, node));
        operations.sum::<u64>() / lanes
    };
    // Behind scores, beside products, and in stages of their own.
    let (mut behind, mut beside, mut apart) = (0, 0, 0);
    for stage in &segment.stages {
        match stage {
            _ if Segment::is_gathering(stage) => behind += of_stage(stage),
            Stage::Matmul { .. } => beside += of_stage(stage),
            _ => apart += of_stage(stage),
        }
    }
    let scores = heads.softmax + behind;
    let vector = scores + beside + apart;
    let of_products: u64 = products.iter().map(Commands::all).sum();
    // With room for two tiles, each comes when the one before the last has gone.
    let of_products = of_products.max((of_products + streamed) / 2);
    // With one copy of scratch, and with one fragment in each row block of a pass, the units take turns.
    let is_one = match segment.stages[..] {
        [Stage::Matmul { node, .. }] => is_one_fragment(scene, segment, node),
        [_] => segment.block_count() > 1 && heads.fragment_rows >= segment.block_rows,
        _ => false,
    };
    let one_place = is_one && segment.repeats() && segment.alternates == Alternates::Nothing;
    let copies = if one_place {
        1
    } else {
        segment.portions.copies
    };
    let overlaps = segment.repeats() && segment.alternates == Alternates::All;
    let all = match copies {
        1 => of_products + heads.products + vector,
        _ if segment.runs_ahead() => {
            // A long product holds back the scores behind it: the vector unit has those of one fragment meanwhile.
            let waits = |p: &Commands| p.count * p.cycles.saturating_sub(heads.softmax_of_fragment);
            let waits: u64 = products.iter().map(waits).sum();
            // The first products have no scores beside them, the last scores no products.
            let ends = of_products.min(heads.softmax) / segment.passes.count as u64;
            (of_products + heads.products).max(vector + waits) + ends
        }
        _ if overlaps => of_products.max(beside + apart) + scores.max(heads.products),
        // What is done row by row waits for all columns of a product, and the next rows for their place.
        _ => of_products.max(beside) + apart + scores.max(heads.products),
    };
    // Constants that stay for all row blocks of a pass have one place.
    let constants = match segment.resident {
        true => transfer(scene, cost::constants(scene, segment)),
        false => 0,
    };
    // As many cores are at work on scores as have a copy of scratch.
    let busy = match segment.stages.iter().any(Segment::is_gathering) {
        true => u32::from(copies),
        false => u32::MAX,
    };
    all / u64::from(scene.target.cores.clamp(1, busy)) + constants
}

/// Cycles until all tiles of a product are there, each of which is asked for when the one before it has come.
fn of_tiles(
    scene: &Scene<'_>,
    segment: &Segment,
    (stage, node): (&Stage, NodeId),
    columns: Columns,
) -> u64 {
    let all = scene.graph.types(node)[0].columns();
    let loads = columns.loads(all, segment.passes.count);
    let runs = match columns.parts {
        1 => loads,
        parts => (all * parts) as u64,
    };
    let bytes = demand::constant_bytes(scene, segment, stage).1 + runs * RUN;
    segment.visits() * (transfer(scene, bytes) + loads * latency(scene))
}

/// Cycles from the begin of a load to its first bytes.
fn latency(scene: &Scene<'_>) -> u64 {
    let (target, timing) = (scene.target, &scene.target.dram.timing);
    let clocks = timing.rp + timing.rcd + timing.cl + timing.burst;
    let seconds = f64::from(clocks) / target.dram.clock_hz as f64;
    u64::from(target.dma.setup_cycles) + (seconds * target.clock_hz as f64) as u64
}

/// Whether the columns of a product that one pass makes, of all rows of a block, are quantised by one fragment.
fn is_one_fragment(scene: &Scene<'_>, segment: &Segment, node: NodeId) -> bool {
    let root = scene.storage.root_of(node);
    let window = root.and_then(|root| segment.passes.window(root));
    let columns = match window {
        Some(window) => window.columns(),
        None => scene.graph.types(node)[0].columns(),
    };
    columns::of(scene, segment, node).chunk >= columns
        && wave::piece_rows(scene, segment, node) >= segment.block_rows
}

/// Whether the attention of a segment keeps the vector unit busy for longer than all products keep the arrays.
pub fn scores_outlast_products(scene: &Scene<'_>, segment: &Segment) -> bool {
    let work = Work::of(scene, segment);
    work.heads.softmax > work.products.iter().map(Commands::all).sum::<u64>() + work.heads.products
}

/// Cycles that units wait for what a segment exchanges with DRAM.
pub fn waits(scene: &Scene<'_>, exchange: cost::Exchange) -> u64 {
    transfer(scene, exchange.in_one_place)
}

/// Cycles of DRAM for so many bytes.
pub fn transfer(scene: &Scene<'_>, bytes: u64) -> u64 {
    (bytes as f64 / scene.target.peak_bytes_per_cycle()) as u64
}

/// Commands of an array that take as long as each other.
#[derive(Clone, Copy, Debug)]
struct Commands {
    count: u64,
    cycles: u64,
}

impl Commands {
    fn all(&self) -> u64 {
        self.count * self.cycles
    }
}

/// What the arrays, and what the scores of an attention, ask for in a segment.
struct Work {
    products: Vec<Commands>,
    /// Cycles until the tiles of all products are there.
    streamed: u64,
    heads: Heads,
}

impl Work {
    fn of(scene: &Scene<'_>, segment: &Segment) -> Self {
        let mut products = Vec::new();
        let mut streamed = 0;
        let mut heads = Heads::default();
        for stage in &segment.stages {
            match stage {
                Stage::Matmul { node, .. } => {
                    let columns = columns::of(scene, segment, *node);
                    products.extend(of_product(scene, segment, *node, columns));
                    streamed += of_tiles(scene, segment, (stage, *node), columns);
                }
                Stage::Attention { node, .. } => heads = of_attention(scene, segment, stage, *node),
                Stage::CachedAttention { .. }
                | Stage::Rows { .. }
                | Stage::Whole { .. }
                | Stage::Input { .. } => {}
            }
        }
        Self {
            products,
            streamed,
            heads,
        }
    }
}

/// The commands of a product with constant weights.
fn of_product(
    scene: &Scene<'_>,
    segment: &Segment,
    node: NodeId,
    columns: Columns,
) -> Vec<Commands> {
    let Some(operand) = scene.graph.operand(node, 0) else {
        return Vec::new();
    };
    let depth = scene.graph.ty(operand).columns() as u64 / columns.parts as u64;
    let piece = wave::piece_rows(scene, segment, node);
    // Columns side by side, and how often there are as many.
    let window = scene.storage.root_of(node);
    let window = window.and_then(|root| segment.passes.window(root));
    let runs: Vec<(usize, u64)> = match window {
        Some(window) => {
            let widths = window.sections.iter().map(|section| section.width);
            widths.map(|w| (w, segment.passes.count as u64)).collect()
        }
        None => vec![(scene.graph.types(node)[0].columns(), 1)],
    };
    let mut commands = Vec::new();
    for (block, blocks) in parts(segment.rows, segment.block_rows) {
        for (rows, pieces) in parts(block, piece) {
            for &(run, runs) in &runs {
                for (width, tiles) in parts(run, columns.tile) {
                    commands.push(Commands {
                        count: blocks * pieces * runs * tiles * columns.parts as u64,
                        cycles: matmul_cycles(
                            &scene.target.matrix,
                            rows as u64,
                            width as u64,
                            depth,
                        ),
                    });
                }
            }
        }
    }
    commands
}

/// The sizes of which a whole consists when it is cut, each with how many there are.
fn parts(whole: usize, size: usize) -> impl Iterator<Item = (usize, u64)> {
    let size = size.max(1);
    [(size, whole / size), (whole % size, 1)]
        .into_iter()
        .filter(|&(size, count)| size > 0 && count > 0)
        .map(|(size, count)| (size, count as u64))
}

/// Cycles of an attention.
#[derive(Clone, Copy, Debug, Default)]
struct Heads {
    /// Of the arrays, for scores and for their products with values.
    products: u64,
    /// Of the vector unit.
    softmax: u64,
    softmax_of_fragment: u64,
    fragment_rows: usize,
}

fn of_attention(scene: &Scene<'_>, segment: &Segment, stage: &Stage, node: NodeId) -> Heads {
    let Op::Attention(attrs) = scene.graph.op(node) else {
        return Heads::default();
    };
    let shape = AttentionShape::of(scene.graph, node);
    // Columns that a row sees, on average.
    let pairs = attrs.pairs([shape.s, shape.t]);
    let seen = pairs.div_ceil(shape.s.max(1) as u64);
    let most = demand::score_rows(scene, segment, stage, node);
    let (matrix, lanes) = (&scene.target.matrix, u64::from(scene.target.vector.lanes));
    let softmax = |rows: u64| demand::SOFTMAX_OPERATIONS * rows * seen / lanes.max(1);
    let heads = (shape.batch * shape.heads) as u64;
    let fragments = parts(shape.s, most).map(|(rows, count)| {
        let rows = rows as u64;
        let scores = matmul_cycles(matrix, rows, seen, shape.width as u64);
        count * (scores + matmul_cycles(matrix, rows, shape.value_width as u64, seen))
    });
    Heads {
        products: heads * fragments.sum::<u64>(),
        softmax: heads * softmax(shape.s as u64),
        softmax_of_fragment: softmax(most as u64),
        fragment_rows: most,
    }
}
