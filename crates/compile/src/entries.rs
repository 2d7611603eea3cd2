//! Several graphs as the entries of one program: prefill and decode, encoder and decoder.

use bytes::Bytes;
use packwright_ir::Graph;
use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_packet::program::{Bound, Constants, Program};
use packwright_target::Target;

use crate::bound;
use crate::emit::constants::{self, Section};
use crate::emit::share::{self, Row};
use crate::emit::{self, Source};
use crate::graph::{calibrate, compensate};
use crate::options::CompileOptions;
use crate::pass::PassReport;
use crate::pipeline;
use crate::plan::{self, Plan};

/// A graph that is to be an entry.
#[derive(Clone, Debug)]
pub struct EntrySource {
    pub name: String,
    pub graph: Graph,
}

/// What the compilation of an entry leaves behind.
#[derive(Clone, Debug)]
pub struct CompiledEntry {
    pub name: String,
    /// The legal graph that the plan is for.
    pub graph: Graph,
    pub plan: Plan,
    /// The least that any plan moves, and that it takes.
    pub bound: Bound,
    pub passes: Vec<PassReport>,
}

/// A program with what its entries were made from.
#[derive(Clone, Debug)]
pub struct CompiledProgram {
    pub program: Program,
    pub entries: Vec<CompiledEntry>,
    /// The constants section, each constant once.
    rows: Vec<Row>,
}

/// Compiles graphs to one program. Equal constants are stored once, caches of one name are one. The
/// constants of the program are absent; [`CompiledProgram::with_constants`] makes them.
///
/// # Errors
/// Lists everything that stands in the way, in all entries.
pub fn compile_entries(
    sources: Vec<EntrySource>,
    target: &Target,
    options: &CompileOptions,
) -> Result<CompiledProgram, Diagnostics> {
    let mut problems = Vec::new();
    if sources.len() > 1 && options.graph.calibration.is_some() {
        let message = "samples fit the inputs of one model, and there are several";
        let problem = Diagnostic::unsupported("entry-calibration", message);
        problems.push(problem.help("give a recipe with the scales, or leave --calibrate out"));
    }
    let mut entries: Vec<CompiledEntry> = Vec::new();
    for source in sources {
        if entries.iter().any(|entry| entry.name == source.name) {
            let message = format!("two entries are called `{}`", source.name);
            problems.push(Diagnostic::error("entry-repeated", message));
            continue;
        }
        let name = source.name.clone();
        match compile_entry(source, target, options) {
            Ok(entry) => entries.push(entry),
            Err(found) => problems.extend(found.0.into_iter().map(|mut problem| {
                let place = problem.place.take().unwrap_or_default();
                problem.at(format!("entry {name} {place}").trim_end().to_owned())
            })),
        }
    }
    if !problems.is_empty() {
        return Err(Diagnostics(problems));
    }
    let mut parts: Vec<(&Graph, &mut Plan)> = entries
        .iter_mut()
        .map(|entry| (&entry.graph, &mut entry.plan))
        .collect();
    let (shared, rows) = share::share(&mut parts, options.between)?;
    let sources: Vec<Source<'_>> = entries
        .iter()
        .map(|entry| Source {
            name: &entry.name,
            graph: &entry.graph,
            plan: &entry.plan,
            bound: &entry.bound,
        })
        .collect();
    let program = emit::emit(target, &sources, &shared)?;
    for entry in &mut entries {
        if calibrate::has_weights(&entry.graph) {
            compensate::run_with(&mut entry.graph, &options.graph)?;
            (options.between)();
        }
    }
    Ok(CompiledProgram {
        program,
        entries,
        rows,
    })
}

fn compile_entry(
    source: EntrySource,
    target: &Target,
    options: &CompileOptions,
) -> Result<CompiledEntry, Diagnostics> {
    let EntrySource { name, mut graph } = source;
    let passes = pipeline::run_graph_pipeline(&mut graph, &options.graph)?;
    let bound = bound::of(&graph, target)?;
    let plan = plan::plan(&mut graph, target, &options.plan)?;
    Ok(CompiledEntry {
        name,
        bound,
        graph,
        plan,
        passes,
    })
}

impl CompiledProgram {
    /// The constants of the program, where all graphs have values for them.
    pub fn constants(&self) -> Option<Section<'_>> {
        let mut entries = self.entries.iter();
        if !entries.all(|entry| constants::available(&entry.graph, &entry.plan.layout)) {
            return None;
        }
        let rows = self.rows.iter().map(|&(part, id)| {
            let entry = &self.entries[part];
            (&entry.graph, entry.plan.layout.get(id))
        });
        Some(Section {
            rows: rows.collect(),
            bytes: self.program.constants.len(),
        })
    }

    /// Fills in the constants where all graphs have values for them, and says whether they have.
    ///
    /// # Errors
    /// Lists constants whose values cannot be used.
    pub fn with_constants(&mut self) -> Result<bool, Diagnostics> {
        let Some(section) = self.constants() else {
            return Ok(false);
        };
        let bytes = section.whole()?;
        self.program.constants = Constants::Present(Bytes::from(bytes));
        Ok(true)
    }
}
