//! The order of graph passes.

use packwright_ir::Graph;
use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_ir::verify::{self, Stage};

use crate::graph::calibrate::{self, Calibration};
use crate::graph::compensate::Rounding;
use crate::graph::eliminate_dead;
use crate::graph::equalize;
use crate::graph::narrow_logits;
use crate::graph::quantize;
use crate::graph::recipe::{Equalize, Recipe};
use crate::graph::samples::Samples;
use crate::pass::{self, Pass, PassReport};

/// Of which positions a program computes logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Logits {
    /// Of all positions of a pass.
    #[default]
    All,
    /// Of the one that an input names.
    One,
}

/// What the graph passes may choose.
#[derive(Clone, Debug, Default)]
pub struct GraphOptions {
    /// How activations in front of products are quantised.
    pub recipe: Recipe,
    /// Samples for scales that the recipe leaves open, and for the rounding of weights. They change values
    /// only: packets and time do not depend on them.
    pub calibration: Option<Calibration>,
    /// How weights become integers. It changes values only, as calibration does.
    pub rounding: Rounding,
    pub logits: Logits,
}

/// Passes that tidy up, run until nothing changes.
const TIDY: &[&str] = &[
    "fold-constants",
    "eliminate-no-ops",
    "narrow-broadcast",
    "merge-common",
    "share-constants",
    "eliminate-dead",
];

/// Passes that recognise patterns, with tidying between them.
const FUSE: &[&str] = &[
    // Patterns are those of floats.
    "fold-quantization",
    "lift-reshape",
    // Sequences come first: windows and caches are looked for there.
    "lift-transpose",
    "fuse-norm",
    "fuse-gelu",
    "fuse-embedding",
    "fuse-rotary",
    "fuse-cache",
    "fuse-attention",
    "fuse-relative-bias",
    "fuse-window-attention",
    "fuse-replaced-rows",
    "fuse-hash-sort",
    "fuse-chunk-attention",
    // Attention gives rows again: reshapes behind it can move on.
    "lift-reshape",
    "lift-transpose",
    "fold-scale",
    "fuse-bias",
    "fuse-activation",
    "fuse-residual",
    "merge-projections",
];

/// Most rounds of tidying; each makes the graph smaller or moves something towards the results.
const MOST_ROUNDS: usize = 32;

/// Runs all passes up to a graph that the planner accepts.
///
/// # Errors
/// Everything in the way: shape rules and laws that the result breaks.
pub fn run_graph_pipeline(
    graph: &mut Graph,
    options: &GraphOptions,
) -> Result<Vec<PassReport>, Diagnostics> {
    if options.logits == Logits::One {
        // First, so that what only other positions need is never looked at.
        narrow_logits::run(graph)?;
    }
    let mut reports = fuse(graph)?;
    reports.extend(equalize(graph, options)?);
    let quantize = pass::find("quantize").expect("is in the table");
    let mut recipe = options.recipe.clone();
    let mut warnings = Vec::new();
    if let Some(calibration) = &options.calibration
        && calibrate::has_weights(graph)
    {
        let samples = &calibration.samples;
        let measured = calibrate::measure(graph, &recipe, calibration.observer, samples)?;
        for (layer, scale) in measured.scales {
            recipe.scales.entry(layer).or_insert(scale);
        }
        warnings = measured.warnings;
    }
    calibrate::complete(graph, &mut recipe);
    let run = |graph: &mut Graph| quantize::run_with(graph, &recipe);
    reports.push(PassReport {
        warnings,
        ..step(graph, quantize, run)?
    });
    for name in [
        "legalize",
        "block-attention",
        "eliminate-no-ops",
        "share-constants",
        "merge-common",
        "eliminate-dead",
    ] {
        reports.push(named(graph, name)?);
    }
    graph.compact();
    complain(verify::verify(graph, Stage::Legal))?;
    Ok(reports)
}

/// Runs the passes that recognise patterns: the graph still computes floats.
///
/// # Errors
/// Shape rules and laws that the result breaks.
pub fn fuse(graph: &mut Graph) -> Result<Vec<PassReport>, Diagnostics> {
    let mut reports = Vec::new();
    tidy(graph, &mut reports)?;
    for name in FUSE {
        reports.push(named(graph, name)?);
        tidy(graph, &mut reports)?;
    }
    Ok(reports)
}

/// Gives activations of a fused graph their factors, where the recipe asks for it.
///
/// # Errors
/// When a sample cannot be evaluated, or weights cannot be read.
pub fn equalize(
    graph: &mut Graph,
    options: &GraphOptions,
) -> Result<Option<PassReport>, Diagnostics> {
    let reach = options.recipe.equalize;
    if reach == Equalize::Nothing {
        return Ok(None);
    }
    let known = calibrate::has_weights(graph);
    let samples = options.calibration.as_ref().filter(|_| known);
    let samples = samples.map_or_else(Samples::default, |found| found.samples.clone());
    let mut warnings = Vec::new();
    if known && samples.is_empty() {
        let message = "norms are not equalised: there are no samples to measure them with";
        let warning = Diagnostic::warning("equalize-unmeasured", message);
        warnings.push(warning.help("give inputs with --calibrate"));
    }
    let pass = pass::find("equalize").expect("is in the table");
    let run = |graph: &mut Graph| equalize::run_with(graph, reach, &samples);
    let report = PassReport {
        warnings,
        ..step(graph, pass, run)?
    };
    graph.compact();
    Ok(Some(report))
}

/// Runs one pass, and drops what it left behind.
///
/// # Errors
/// When there is no such pass, or a rule or law is broken.
pub fn run_pass(name: &str, graph: &mut Graph) -> Result<PassReport, Diagnostics> {
    if pass::find(name).is_none() {
        return Err(Diagnostic::error("pass-unknown", format!("there is no pass `{name}`")).into());
    }
    let report = named(graph, name)?;
    graph.compact();
    complain(verify::verify(graph, Stage::Imported))?;
    Ok(report)
}

fn tidy(graph: &mut Graph, reports: &mut Vec<PassReport>) -> Result<(), Diagnostics> {
    for _ in 0..MOST_ROUNDS {
        let mut rewrites = 0;
        for name in TIDY {
            let report = named(graph, name)?;
            rewrites += report.rewrites;
            if report.rewrites > 0 {
                reports.push(report);
            }
        }
        if rewrites == 0 {
            break;
        }
    }
    graph.compact();
    Ok(())
}

fn named(graph: &mut Graph, name: &str) -> Result<PassReport, Diagnostics> {
    let pass = pass::find(name).expect("the pipeline names passes of the table");
    step(graph, pass, pass.run)
}

fn step(
    graph: &mut Graph,
    pass: &Pass,
    run: impl FnOnce(&mut Graph) -> Result<usize, Diagnostics>,
) -> Result<PassReport, Diagnostics> {
    let before = graph.node_count();
    let rewrites = run(graph)?;
    if rewrites > 0 && pass.name != "eliminate-dead" {
        eliminate_dead::run(graph)?;
    }
    if cfg!(debug_assertions) && rewrites > 0 {
        complain(verify::verify(graph, Stage::Imported))?;
    }
    Ok(PassReport {
        name: pass.name,
        rewrites,
        nodes: (before, graph.node_count()),
        warnings: Vec::new(),
    })
}

/// Complaints worse than warnings end the pipeline.
fn complain(found: Diagnostics) -> Result<(), Diagnostics> {
    if found.has_errors() {
        Err(found)
    } else {
        Ok(())
    }
}
