//! The jobs of `quantize`: from samples to a recipe that meets a target.

use indexmap::IndexMap;
use packwright_compile::compile;
use packwright_compile::graph::calibrate;
use packwright_compile::graph::compensate;
use packwright_compile::graph::observe::Observer;
use packwright_compile::graph::recipe::{self, Activations, Layer, Recipe};
use packwright_compile::graph::samples::Samples;
use packwright_compile::graph::sensitivity::{self, Distance, Error};
use packwright_compile::options::CompileOptions;
use packwright_compile::pipeline::{self, GraphOptions};
use packwright_ir::Graph;
use packwright_target::Target;
use rayon::prelude::*;

use crate::errors::{Failure, Problem};
use crate::job::{self, SimulateChoices};

/// What a recipe costs.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub recipe: Recipe,
    /// The layers that it is for.
    pub layers: Vec<Layer>,
    /// Whole error at each product's result, and at the results of the model.
    pub distance: Distance,
    /// What rounding one product's input alone does to its result.
    pub own: IndexMap<String, Error>,
    pub warnings: Vec<Problem>,
    /// How often layers were raised.
    pub rounds: usize,
}

/// Most rounds of raising layers, a quarter of those that are left each time.
const MOST_ROUNDS: usize = 64;

/// Measures static scales with the samples of the options, and raises layers of their recipe until the mean
/// cosine of the first result to floats is reached.
///
/// # Errors
/// When a sample cannot be evaluated, or weights have no values.
pub fn quantize(
    graph: &Graph,
    options: &GraphOptions,
    target: Option<f64>,
    say: &dyn Fn(&str),
) -> Result<Outcome, Failure> {
    let mut meant = graph.clone();
    pipeline::fuse(&mut meant)?;
    if !calibrate::has_weights(&meant) {
        let problem = Problem::error("weights-absent", "the model has no weights to measure with");
        return Err(problem
            .help("calibrate a file that holds its weights")
            .into());
    }
    let mut options = options.clone();
    let calibration = options.calibration.clone().unwrap_or_default();
    let samples = &calibration.samples;
    say("measuring");
    pipeline::equalize(&mut meant, &options)?;
    let mut recipe = options.recipe.clone();
    let mut warnings = measured(&meant, &mut recipe, calibration.observer, samples)?;
    let own = sensitivity::own_errors(&meant, &recipe, samples)?;
    let mut rounds = 0;
    loop {
        say("comparing with floats");
        options.recipe = recipe.clone();
        let quantized = quantized(graph, &options)?;
        let distance = sensitivity::distance(&meant, &quantized, samples, &mut |_, _, _| {})?;
        let reached = target.is_none_or(|target| distance.mean_cosine() >= target);
        let errors = match reached {
            true => IndexMap::new(),
            false => sensitivity::own_errors(&meant, &recipe, samples)?,
        };
        if reached || rounds == MOST_ROUNDS || sensitivity::raise(&meant, &mut recipe, &errors) == 0
        {
            if !reached {
                let message = format!("the mean cosine stays at {:.5}", distance.mean_cosine());
                warnings.push(
                    Problem::warning("target-missed", message)
                        .help("no layer can be wider: calibrate with more samples"),
                );
            }
            return Ok(Outcome {
                layers: recipe::layers(&meant),
                recipe,
                distance,
                own,
                warnings,
                rounds,
            });
        }
        rounds += 1;
    }
}

/// What sixteen bits in one layer alone add to a pass on a machine, in seconds, by the name of the layer.
///
/// # Errors
/// When a recipe cannot be compiled for the machine.
pub fn times(graph: &Graph, outcome: &Outcome, target: &Target) -> Result<Times, Failure> {
    let seconds = |recipe: &Recipe| -> Result<f64, Failure> {
        let options = CompileOptions {
            graph: GraphOptions {
                recipe: recipe.clone(),
                calibration: None,
                ..GraphOptions::default()
            },
            ..CompileOptions::default()
        };
        let compiled = compile::compile(graph.clone(), target, &options)?;
        let report = job::simulate(&compiled.program, target, &SimulateChoices::default())?;
        Ok(report.entries.iter().map(|entry| entry.seconds).sum())
    };
    let now = seconds(&outcome.recipe)?;
    let added = outcome.layers.par_iter().map(|layer| {
        let own = outcome.recipe.of(layer);
        let mut other = outcome.recipe.clone();
        let (exchanged, sign) = match own.wider() {
            Some(wider) => (wider, 1.0),
            None => (own.narrower(), -1.0),
        };
        other.layers.insert(layer.name.clone(), exchanged);
        Ok((layer.name.clone(), sign * (seconds(&other)? - now)))
    });
    let added: Result<Vec<(String, f64)>, Failure> = added.collect();
    Ok(added?.into_iter().collect())
}

/// Seconds by the name of a layer.
pub type Times = IndexMap<String, f64>;

/// Adds measured scales to a recipe and gives the warnings.
fn measured(
    meant: &Graph,
    recipe: &mut Recipe,
    observer: Observer,
    samples: &Samples,
) -> Result<Vec<Problem>, Failure> {
    let measured = calibrate::measure(meant, recipe, observer, samples)?;
    recipe.scales.extend(measured.scales);
    Ok(measured.warnings.into_iter().map(Problem::from).collect())
}

/// The quantised graph of a recipe, its weights rounded as the options say.
///
/// # Errors
/// What stands in the way of quantisation.
fn quantized(graph: &Graph, options: &GraphOptions) -> Result<Graph, Failure> {
    let mut quantized = graph.clone();
    pipeline::run_graph_pipeline(&mut quantized, options)?;
    compensate::run_with(&mut quantized, options)?;
    Ok(quantized)
}

/// How a layer is quantised, in a word.
pub fn shown(recipe: &Recipe, layer: &Layer) -> String {
    let fixed = |bits: &str| match recipe.scales.get(&layer.name) {
        Some(scale) => format!("static{bits}({scale:.3e})"),
        None => format!("static{bits}"),
    };
    match recipe.of(layer) {
        Activations::Row { group } => format!("row({group})"),
        Activations::WideRow => "row16".to_owned(),
        Activations::Static => fixed(""),
        Activations::WideStatic => fixed("16"),
    }
}
