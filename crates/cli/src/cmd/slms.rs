//! `slms`: the table of all embedded models on one machine.

use clap::Args;
use packwright::cost::Length;
use packwright::errors::Failure;
use packwright::{survey, survey_generation};

use crate::args::{ChoiceArgs, TargetArgs};
use crate::output::{self, Output};
use crate::progress::Progress;
use crate::render::{generation, slms};

/// Estimate every embedded model and print one table.
#[derive(Debug, Args)]
#[command(after_help = "\
Each part of a model has a row: an encoder; prefill of --seq positions and decode of the last of
them; for T5 the encoder, the decoder's first step and a later one. Exports of a fixed sequence
keep theirs. One part alone: `packwright estimate zoo:NAME:PHASE`.

Examples:
  packwright slms
  packwright slms -t e6 --seq 256
  packwright slms --generate 128+128          decoders, token by token
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
    /// Costs of generation too: a prompt and new tokens, on the decoders.
    #[arg(long, value_name = "PROMPT+NEW")]
    pub generate: Option<Length>,
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
    let decoders = usize::from(args.generate.is_some());
    let progress = Progress::steps(output, count + decoders as u64, "parts");
    // The longest model of either is waited for once.
    let (table, rows) = rayon::join(
        || {
            survey::survey(&args.models, &target, &choices, args.seq, &|| {
                progress.step()
            })
        },
        || {
            let rows = args.generate.map(|length| {
                survey_generation::generation(&args.models, &target, &choices, length)
            });
            rows.inspect(|_| progress.step()).unwrap_or_default()
        },
    );
    drop(progress);
    let mut table = table?;
    table.generation = rows;
    if args.json {
        return output::print_json(&table);
    }
    let mut text = slms::draw(&table, &target, output.width());
    if let Some(length) = args.generate {
        text.push('\n');
        let rows = &table.generation;
        text.push_str(&generation::draw_rows(rows, length, output.width()));
    }
    output::print(&text)
}
