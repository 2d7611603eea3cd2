//! The whole way from an imported graph to a program.

use bytes::Bytes;
use packwright_ir::Graph;
use packwright_ir::diag::Diagnostics;
use packwright_packet::program::{Constants, Program};
use packwright_target::Target;

use crate::bound;
use crate::emit;
use crate::emit::regions::Shared;
use crate::graph::{calibrate, compensate};
use crate::options::CompileOptions;
use crate::pass::PassReport;
use crate::pipeline;
use crate::plan::{self, Plan};

/// What a compilation leaves behind.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub program: Program,
    pub plan: Plan,
    /// The legal graph that the plan is for.
    pub graph: Graph,
    pub passes: Vec<PassReport>,
}

/// Compiles a graph. The constants of the program are absent; [`with_constants`] makes them.
///
/// # Errors
/// Lists everything that stands in the way.
pub fn compile(
    graph: Graph,
    target: &Target,
    options: &CompileOptions,
) -> Result<Compiled, Diagnostics> {
    let (graph, passes) = fuse(graph, options)?;
    lower(graph, passes, target, options)
}

/// The first part of [`compile`], which knows no machine: the graph passes.
///
/// # Errors
/// Lists everything that stands in the way.
pub fn fuse(
    mut graph: Graph,
    options: &CompileOptions,
) -> Result<(Graph, Vec<PassReport>), Diagnostics> {
    let passes = pipeline::run_graph_pipeline(&mut graph, &options.graph)?;
    Ok((graph, passes))
}

/// The second part of [`compile`]: a legal graph is planned for a machine and becomes packets.
///
/// # Errors
/// Lists everything that stands in the way.
pub fn lower(
    mut graph: Graph,
    passes: Vec<PassReport>,
    target: &Target,
    options: &CompileOptions,
) -> Result<Compiled, Diagnostics> {
    let plan = plan::plan(&graph, target, &options.plan)?;
    let bound = bound::bound(&graph, target, &plan.storage, &plan.layout);
    let mut shared = Shared {
        weight_bytes: plan.layout.weight_bytes,
        table_bytes: plan.layout.table_bytes,
        caches: Vec::new(),
    };
    let mut problems = Vec::new();
    shared.add_caches(&graph, &mut problems);
    if !problems.is_empty() {
        return Err(Diagnostics(problems));
    }
    let source = emit::Source {
        name: "main",
        graph: &graph,
        plan: &plan,
        bound: &bound,
    };
    let program = emit::emit(target, &[source], &shared)?;
    if let Some(calibration) = &options.graph.calibration
        && calibration.compensate
        && calibrate::has_weights(&graph)
    {
        compensate::run(&mut graph, &calibration.samples)?;
    }
    Ok(Compiled {
        program,
        plan,
        graph,
        passes,
    })
}

/// Fills in the constants of a program where the graph has values for them.
///
/// # Errors
/// Lists constants whose values cannot be used.
pub fn with_constants(compiled: &mut Compiled) -> Result<bool, Diagnostics> {
    if !emit::constants::available(&compiled.graph, &compiled.plan.layout) {
        return Ok(false);
    }
    let stored = compiled.plan.layout.stored.iter();
    let rows: Vec<_> = stored
        .filter(|stored| stored.is_constant())
        .map(|stored| (&compiled.graph, stored))
        .collect();
    let section = emit::constants::section(&rows, compiled.plan.layout.bytes())?;
    compiled.program.constants = Constants::Present(Bytes::from(section));
    Ok(true)
}
