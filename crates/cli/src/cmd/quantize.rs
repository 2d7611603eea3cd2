//! `quantize`: samples become a recipe.

use std::path::PathBuf;

use clap::Args;
use packwright::calibration::{self, Outcome, Times};
use packwright::errors::{Failure, Problem, ProblemJson};
use packwright::{file, model, options, recipe};
use serde::Serialize;

use crate::args::{BindArgs, RecipeArgs};
use crate::output::{self, Output};
use crate::progress::Progress;
use crate::render::table;

/// Measure how a model is best quantised, and write the recipe.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  packwright quantize model.onnx --seq 128 --calibrate data.npz -o model.toml
  packwright quantize model.onnx --seq 128 --calibrate data.npz --min-cosine 0.9995 -t e2
  packwright quantize model.onnx --seq 128 --calibrate data.npz --activations static --observer mse
  packwright compile model.onnx --seq 128 --recipe model.toml --calibrate data.npz")]
pub struct Quantize {
    /// An ONNX file, a graph in text form (.graph) or an embedded model (zoo:NAME).
    pub model: String,
    #[command(flatten)]
    pub axes: BindArgs,
    #[command(flatten)]
    pub choices: RecipeArgs,
    /// Give sensitive layers sixteen bits until the first result has this mean cosine to floats.
    #[arg(long, value_name = "COSINE")]
    pub min_cosine: Option<f64>,
    /// Tell too what sixteen bits in each layer alone would cost, or cost, in time on a machine: a preset or a
    /// TOML file.
    #[arg(short, long, value_name = "NAME|FILE")]
    pub target: Option<String>,
    /// Where the recipe goes [default: the name of the model, with .toml, in the current folder].
    #[arg(short, long, value_name = "FILE.toml")]
    pub output: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Summary {
    schema: &'static str,
    file: String,
    samples: usize,
    mean_cosine: f64,
    worst_cosine: f64,
    layers: Vec<LayerSummary>,
    warnings: Vec<ProblemJson>,
}

#[derive(Serialize)]
struct LayerSummary {
    name: String,
    activations: String,
    /// Signal over noise of the result where only this input is rounded, at the start.
    own_decibels: f64,
    /// Signal over noise of the result, with all that earlier layers have lost.
    decibels: f64,
    /// What sixteen bits in this layer alone add to a pass.
    wide_seconds: Option<f64>,
}

/// Measures and writes.
pub fn run(args: &Quantize, output: &Output) -> Result<(), Failure> {
    if args.choices.calibrate.is_none() {
        let problem = Problem::error(
            "calibration-missing",
            "there are no samples to measure with",
        );
        return Err(problem
            .help("give an .npz of inputs with --calibrate")
            .into());
    }
    let progress = Progress::spinner(output, "importing");
    let imported = model::import(&args.model, &args.axes.resolve())?;
    let options = args.choices.resolve().resolve(&imported.graph)?;
    let say = |what: &str| progress.say(what.to_owned());
    let outcome = calibration::quantize(&imported.graph, &options, args.min_cosine, &say)?;
    let times = match &args.target {
        Some(name) => {
            progress.say("timing layers");
            let target = options::target(name, &[])?;
            calibration::times(&imported.graph, &outcome, &target)?
        }
        None => Times::new(),
    };
    let path = super::output_path(
        args.output.as_deref(),
        &super::compile::input_name(&args.model),
        "toml",
    );
    let text = recipe::write(&outcome.recipe);
    file::write_atomically(&path, |out| out.write_all(text.as_bytes()))?;
    drop(progress);
    let summary = summary(
        &outcome,
        &times,
        file::shown(&path),
        outcome.distance.results.len(),
    );
    if args.json {
        return output::print_json(&summary);
    }
    output.warn(&outcome.warnings);
    if output.quiet {
        return Ok(());
    }
    output::print(&draw(&summary, output))
}

fn summary(outcome: &Outcome, times: &Times, file: String, samples: usize) -> Summary {
    let layers = outcome
        .distance
        .layers
        .iter()
        .map(|(name, error)| LayerSummary {
            name: name.clone(),
            activations: outcome
                .layers
                .iter()
                .find(|layer| layer.name == *name)
                .map_or_else(String::new, |layer| {
                    calibration::shown(&outcome.recipe, layer)
                }),
            own_decibels: outcome.own.get(name).map_or(f64::NAN, |own| own.decibels()),
            decibels: error.decibels(),
            wide_seconds: times.get(name).copied(),
        });
    Summary {
        schema: "packwright.quantize/1",
        file,
        samples,
        mean_cosine: outcome.distance.mean_cosine(),
        worst_cosine: outcome.distance.worst_cosine(),
        layers: layers.collect(),
        warnings: outcome.warnings.iter().map(ProblemJson::from).collect(),
    }
}

fn draw(summary: &Summary, output: &Output) -> String {
    let mut titles = vec!["<layer", "<activations", "alone dB", "in all dB"];
    let timed = summary.layers.iter().any(|l| l.wide_seconds.is_some());
    titles.extend(timed.then_some("16 bits µs"));
    let mut list = table::table(&titles, output.width());
    for layer in &summary.layers {
        let mut row = vec![
            layer.name.clone(),
            layer.activations.clone(),
            format!("{:.1}", layer.own_decibels),
            format!("{:.1}", layer.decibels),
        ];
        row.extend(layer.wide_seconds.map(|s| format!("{:+.1}", s * 1e6)));
        list.add_row(row);
    }
    format!(
        "{}\n\n{} samples: cosine to floats {:.5} on average, {:.5} at worst\n{}\n",
        table::text(&list).trim_end(),
        summary.samples,
        summary.mean_cosine,
        summary.worst_cosine,
        summary.file,
    )
}
