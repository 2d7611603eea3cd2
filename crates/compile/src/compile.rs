//! The whole way from an imported graph to a program.

use bytes::Bytes;
use packwright_ir::Graph;
use packwright_ir::diag::Diagnostics;
use packwright_packet::program::{Bound, Constants, Program};
use packwright_target::Target;

use crate::bound;
use crate::emit;
use crate::emit::constants::Section;
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

/// A legal graph with its plan for a machine, before there are packets.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The graph that the plan is for.
    pub graph: Graph,
    pub plan: Plan,
    pub bound: Bound,
}

/// The second part of [`compile`]: a legal graph is planned for a machine.
///
/// # Errors
/// Lists everything that stands in the way.
pub fn plan(
    mut graph: Graph,
    target: &Target,
    options: &CompileOptions,
) -> Result<Planned, Diagnostics> {
    let bound = bound::of(&graph, target)?;
    let plan = plan::plan(&mut graph, target, &options.plan)?;
    Ok(Planned { graph, plan, bound })
}

/// All of [`compile`] behind its first part: a legal graph is planned and becomes packets.
///
/// # Errors
/// Lists everything that stands in the way.
pub fn lower(
    graph: Graph,
    passes: Vec<PassReport>,
    target: &Target,
    options: &CompileOptions,
) -> Result<Compiled, Diagnostics> {
    let Planned {
        mut graph,
        plan,
        bound,
    } = plan(graph, target, options)?;
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
    if calibrate::has_weights(&graph) {
        compensate::run_with(&mut graph, &options.graph)?;
    }
    Ok(Compiled {
        program,
        plan,
        graph,
        passes,
    })
}

impl Compiled {
    /// The constants of the program, where the graph has values for all of them.
    pub fn constants(&self) -> Option<Section<'_>> {
        let layout = &self.plan.layout;
        if !emit::constants::available(&self.graph, layout) {
            return None;
        }
        let stored = layout.stored.iter();
        let rows = stored
            .filter(|stored| stored.is_constant())
            .map(|stored| (&self.graph, stored))
            .collect();
        Some(Section {
            rows,
            bytes: layout.bytes(),
        })
    }
}

/// Fills in the constants of a program where the graph has values for them, and says whether it has.
///
/// # Errors
/// Lists constants whose values cannot be used.
pub fn with_constants(compiled: &mut Compiled) -> Result<bool, Diagnostics> {
    let Some(section) = compiled.constants() else {
        return Ok(false);
    };
    let bytes = section.whole()?;
    compiled.program.constants = Constants::Present(Bytes::from(bytes));
    Ok(true)
}
