//! `estimate`: what a model costs on a machine, from its structure alone.

use clap::Args;
use packwright::errors::Failure;
use packwright::{job, model};

use crate::args::{BindArgs, ChoiceArgs, TargetArgs};
use crate::output::{self, Output};
use crate::progress::Progress;
use crate::render::report;

/// Estimate the cost of a model: compile and simulate it, without its weights.
#[derive(Debug, Args)]
#[command(after_help = "\
Cost never depends on values: the same model has the same cycles and bytes with its weights
absent, synthetic or real.

Examples:
  packwright estimate model.onnx --seq 128
  packwright estimate zoo:DistilBERT -t e6 --layers
  packwright estimate model.onnx --seq 128 --set sram.bytes=1MiB --json > report.json")]
pub struct Estimate {
    /// An ONNX file, a graph in text form (.graph) or an embedded model (zoo:NAME).
    pub model: String,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub axes: BindArgs,
    #[command(flatten)]
    pub choices: ChoiceArgs,
    /// Say what the time hangs on, and what more of each resource would save: compiles for each.
    #[arg(long)]
    pub why: bool,
    /// Show every layer.
    #[arg(long)]
    pub layers: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Estimates and prints the report.
pub fn run(args: &Estimate, output: &Output) -> Result<(), Failure> {
    let target = args.target.resolve()?;
    let progress = Progress::spinner(output, "importing");
    let imported = model::import_fixed(&args.model, &args.axes.resolve(), &args.axes.files())?;
    progress.say("compiling and simulating");
    let choices = args.choices.resolve()?;
    let result = match args.why {
        true => job::estimate_why(&imported.graph, &target, &choices)?,
        false => job::estimate(imported.graph, &target, &choices)?,
    };
    drop(progress);
    if args.json {
        return output::print_json(&result);
    }
    output.warn(&imported.warnings);
    output::print(&report::draw(&result, args.layers, output.width()))
}
