//! `evaluate`: what int8 costs in accuracy.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use packwright::errors::{Failure, Problem, ProblemJson};
use packwright::evaluation::{self, Evaluation, Task};
use packwright::{job, model, samples};
use serde::Serialize;

use crate::args::{BindArgs, ChoiceArgs, TargetArgs};
use crate::output::{self, Output};
use crate::progress::Progress;

/// Compare floats, the quantised graph and the packets on inputs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  packwright evaluate model.onnx --seq 128 --inputs data.npz
  packwright evaluate model.onnx --seq 128 --inputs data.npz --score similarity
  packwright evaluate model.onnx --seq 128 --inputs data.npz --recipe model.toml --calibrate other.npz")]
pub struct Evaluate {
    /// An ONNX file, a graph in text form (.graph) or an embedded model (zoo:NAME).
    pub model: String,
    /// Arrays by name of input, with a leading axis of samples.
    #[arg(short, long, value_name = "DATA.npz")]
    pub inputs: PathBuf,
    /// A score of the task.
    #[arg(long, value_name = "TASK")]
    pub score: Option<TaskArg>,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub axes: BindArgs,
    #[command(flatten)]
    pub choices: ChoiceArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// A score of the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TaskArg {
    /// Correlation of the similarities of all pairs of samples with those of floats.
    Similarity,
    /// Perplexity of the samples' tokens.
    Perplexity,
}

#[derive(Serialize)]
struct Summary {
    schema: &'static str,
    samples: usize,
    /// Samples whose packets gave the bits of the quantised graph.
    equal: usize,
    mean_cosine: f64,
    worst_cosine: f64,
    largest_error: f64,
    decibels: f64,
    score: Option<ScoreSummary>,
    layers: Vec<LayerSummary>,
    warnings: Vec<ProblemJson>,
}

#[derive(Serialize)]
struct ScoreSummary {
    task: &'static str,
    floats: f64,
    quantized: f64,
}

#[derive(Serialize)]
struct LayerSummary {
    name: String,
    decibels: f64,
    cosine: f64,
    largest_error: f64,
}

/// Compiles, runs and compares.
pub fn run(args: &Evaluate, output: &Output) -> Result<(), Failure> {
    let target = args.target.resolve()?;
    let progress = Progress::spinner(output, "importing");
    let imported = model::import(&args.model, &args.axes.resolve())?;
    let samples = samples::open(&imported.graph, &args.inputs)?;
    progress.say("compiling");
    let choices = args.choices.resolve()?;
    let mut compiled = job::compile(imported.graph.clone(), &target, &choices)?;
    if !job::add_constants(&mut compiled)? {
        let problem = Problem::error("weights-absent", "the model has no weights");
        return Err(problem
            .help("evaluate a file that holds its weights")
            .at(args.model.clone())
            .into());
    }
    drop(progress);
    let progress = Progress::steps(output, samples.len() as u64, "samples");
    let task = args.score.map(|task| match task {
        TaskArg::Similarity => Task::Similarity,
        TaskArg::Perplexity => Task::Perplexity,
    });
    let step = || progress.step();
    let found = evaluation::evaluate(&imported.graph, &compiled, &samples, task, &step)?;
    drop(progress);
    let mut warnings = imported.warnings;
    warnings.extend(job::warnings(&compiled.passes));
    let shown = warnings.iter().map(ProblemJson::from).collect();
    let summary = summary(&found, samples.len(), shown);
    if args.json {
        return output::print_json(&summary);
    }
    output.warn(&warnings);
    output::print(&draw(&summary, output.width().map_or(100, usize::from)))
}

fn summary(found: &Evaluation, samples: usize, warnings: Vec<ProblemJson>) -> Summary {
    let layers = found
        .distance
        .layers
        .iter()
        .map(|(name, error)| LayerSummary {
            name: name.clone(),
            decibels: error.decibels(),
            cosine: error.cosine(),
            largest_error: error.largest,
        });
    let results = &found.distance.results;
    let decibels = results.iter().map(|r| r.decibels()).sum::<f64>() / samples.max(1) as f64;
    Summary {
        schema: "packwright.evaluate/1",
        samples,
        equal: found.equal,
        mean_cosine: found.distance.mean_cosine(),
        worst_cosine: found.distance.worst_cosine(),
        largest_error: results.iter().fold(0.0, |most, r| r.largest.max(most)),
        decibels,
        score: found.score.map(|score| ScoreSummary {
            task: match score.task {
                Task::Similarity => "similarity",
                Task::Perplexity => "perplexity",
            },
            floats: score.floats,
            quantized: score.quantized,
        }),
        layers: layers.collect(),
        warnings,
    }
}

/// Where a bar of noise is full, and where it is empty, in decibels of signal over noise.
const LOUD: f64 = 10.0;
const SILENT: f64 = 60.0;

fn draw(summary: &Summary, width: usize) -> String {
    let names = summary
        .layers
        .iter()
        .map(|layer| layer.name.chars().count());
    let name_width = names
        .max()
        .unwrap_or(0)
        .min(width.saturating_sub(50).max(20));
    let bar_width = width.saturating_sub(name_width + 32).clamp(8, 40);
    let mut text = format!(
        "{:<name_width$}  {:>8}  {:>8}  noise\n",
        "layer", "dB", "max"
    );
    for layer in &summary.layers {
        let share = ((SILENT - layer.decibels) / (SILENT - LOUD)).clamp(0.0, 1.0);
        let bar = "█".repeat((share * bar_width as f64).round() as usize);
        let skip = layer.name.chars().count().saturating_sub(name_width);
        let name: String = layer.name.chars().skip(skip).collect();
        text.push_str(&format!(
            "{name:<name_width$}  {:>8.1}  {:>8.3}  {bar}\n",
            layer.decibels, layer.largest_error
        ));
    }
    text.push_str(&format!(
        "\n{} samples; packets equal the quantised graph bit for bit on {}\n\
         cosine to floats: {:.5} on average, {:.5} at worst; largest error {:.4}; {:.1} dB\n",
        summary.samples,
        summary.equal,
        summary.mean_cosine,
        summary.worst_cosine,
        summary.largest_error,
        summary.decibels,
    ));
    if let Some(score) = &summary.score {
        text.push_str(&format!(
            "{}: {:.4} in floats, {:.4} quantised\n",
            score.task, score.floats, score.quantized
        ));
    }
    text
}
