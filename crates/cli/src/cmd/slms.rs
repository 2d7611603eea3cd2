//! `slms`: the table of all embedded models on one machine.

use clap::Args;
use packwright::errors::Failure;
use packwright::survey;

use crate::args::{ChoiceArgs, TargetArgs};
use crate::output::{self, Output};
use crate::progress::Progress;
use crate::render::slms;

/// Estimate every embedded model and print one table.
#[derive(Debug, Args)]
#[command(after_help = "\
Each part of a model has a row: an encoder; prefill of --seq positions and decode of the last of
them; for T5 the encoder, the decoder's first step and a later one. Exports of a fixed sequence
keep theirs. One part alone: `packwright estimate zoo:NAME:PHASE`.

Examples:
  packwright slms
  packwright slms -t e6 --seq 256
  packwright slms --set sram.bytes=1MiB --json > slms.json")]
pub struct Slms {
    /// Models by name [default: all].
    #[arg(value_name = "MODEL")]
    pub models: Vec<String>,
    #[command(flatten)]
    pub target: TargetArgs,
    /// Positions of one pass, for models that leave it open.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..))]
    pub seq: u64,
    #[command(flatten)]
    pub choices: ChoiceArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Surveys and prints the table.
pub fn run(args: &Slms, output: &Output) -> Result<(), Failure> {
    let target = args.target.resolve()?;
    let choices = args.choices.resolve()?;
    let count = survey::part_count(&args.models)? as u64;
    let progress = Progress::steps(output, count, "parts");
    let table = survey::survey(&args.models, &target, &choices, args.seq, &|| {
        progress.step()
    })?;
    drop(progress);
    match args.json {
        true => output::print_json(&table),
        false => output::print(&slms::draw(&table, &target, output.width())),
    }
}
