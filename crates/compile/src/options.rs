//! What a compilation may choose; the machine is not among it.

/// What a plan is to be good at, and what may stay in SRAM from one operator to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlanMode {
    /// Whatever moves few bytes; an eighth of those that DRAM could move while it waits for the units count as well.
    #[default]
    Best,
    /// Whatever moves the fewest bytes, however long it takes.
    Least,
    /// Whatever keeps the arrays busiest, if it moves more bytes too.
    Fast,
    /// Operators are fused with their neighbours, but what one fused operator hands to the next goes through
    /// DRAM: a baseline.
    FusedOps,
    /// Every operator reads its operands from DRAM and writes its result there: a baseline.
    LayerWise,
}

/// Options of the plan stage.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanOptions {
    /// Most bytes of one weight tile; `None` lets the planner choose from the SRAM size.
    pub tile_bytes: Option<u64>,
    /// A tile that is larger than that because of its long rows takes at most one part in so many of SRAM;
    /// the planner takes smaller tiles where nothing else fits.
    pub tile_share: u64,
    /// Rows of one fragment of a row-wise stage (norms, quantisation, embeddings).
    pub row_chunk: usize,
    /// Rows of scores that an attention fragment holds at once; `None` lets the planner choose.
    pub score_rows: Option<usize>,
    /// Whether values may stay in SRAM between operators.
    pub mode: PlanMode,
}

impl PlanMode {
    /// Whether values that another operator reads go through DRAM.
    pub fn is_baseline(self) -> bool {
        matches!(self, PlanMode::FusedOps | PlanMode::LayerWise)
    }
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            tile_bytes: None,
            tile_share: 8,
            row_chunk: 32,
            score_rows: None,
            mode: PlanMode::Best,
        }
    }
}

/// Options of a whole compilation.
#[derive(Clone, Debug)]
pub struct CompileOptions {
    pub graph: crate::pipeline::GraphOptions,
    pub plan: PlanOptions,
    /// Called when the values of one of several models have been read: who mapped them may let go of them.
    pub between: fn(),
}

impl Default for CompileOptions {
    fn default() -> Self {
        Self {
            graph: crate::pipeline::GraphOptions::default(),
            plan: PlanOptions::default(),
            between: || {},
        }
    }
}
