//! `plan`: how a model would be cut, placed and ordered on a machine.

use clap::Args;
use packwright::compile::plan::text;
use packwright::errors::Failure;
use packwright::{job, model};

use crate::args::{BindArgs, ChoiceArgs, TargetArgs};
use crate::output::{self, Output};
use crate::progress::Progress;

/// Print the plan of a model: segments, what stays in SRAM and why, bytes against the bound.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  packwright plan model.onnx --seq 128
  packwright plan zoo:MiniLM -t e2 --set sram.bytes=256KiB")]
pub struct Plan {
    /// An ONNX file, a graph in text form (.graph) or an embedded model (zoo:NAME).
    pub model: String,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub axes: BindArgs,
    #[command(flatten)]
    pub choices: ChoiceArgs,
}

/// Plans and prints.
pub fn run(args: &Plan, output: &Output) -> Result<(), Failure> {
    let target = args.target.resolve()?;
    let progress = Progress::spinner(output, "importing");
    let imported = model::import(&args.model, &args.axes.resolve())?;
    progress.say("planning");
    let planned = job::plan(imported.graph, &target, &args.choices.resolve()?)?;
    drop(progress);
    output.warn(&imported.warnings);
    output::print(&text::print(&planned.graph, &planned.plan, &planned.bound))
}
