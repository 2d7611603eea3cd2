//! `run`: what a program computes.

use std::path::PathBuf;

use clap::Args;
use packwright::errors::{Failure, Problem};
use packwright::feed::{self, FeedOptions};
use packwright::packet::program::Constants;
use packwright::{arrays, file, job, options};
use serde::Serialize;

use crate::args::OverrideArgs;
use crate::output::{self, Output};
use crate::progress::Progress;
use crate::render::unit;

/// Run a program on inputs, to the bit.
#[derive(Debug, Args)]
#[command(after_help = "\
Inputs and outputs are .npz files that hold an array for each input or output, under its name.

Examples:
  packwright run model.npu --inputs in.npz --outputs out.npz
  packwright run model.npu --inputs in.npz --outputs out.npz --default-inputs
  packwright run model.npu --inputs many.npz --outputs out.npz --each")]
pub struct Run {
    /// The program.
    #[arg(value_name = "FILE.npu")]
    pub program: PathBuf,
    /// Arrays by name of input.
    #[arg(short, long, value_name = "IN.npz")]
    pub inputs: PathBuf,
    /// Where the outputs go.
    #[arg(short, long, value_name = "OUT.npz")]
    pub outputs: PathBuf,
    /// Run once for each index of the first axis of all arrays.
    #[arg(long)]
    pub each: bool,
    /// Make inputs that are left out: masks of ones, token types of zeros, positions from zero.
    #[arg(long)]
    pub default_inputs: bool,
    /// The entry to run [default: the first].
    #[arg(long, value_name = "NAME")]
    pub entry: Option<String>,
    /// Value of a register; repeatable [default: its declared maximum].
    #[arg(long, value_name = "NAME=N", value_parser = super::simulate::register)]
    pub register: Vec<(String, u64)>,
    /// Another machine than the one that the program was compiled for: a preset or a TOML file.
    #[arg(short, long, value_name = "NAME|FILE", help_heading = "Target")]
    pub target: Option<String>,
    #[command(flatten)]
    pub overrides: OverrideArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Summary {
    schema: &'static str,
    file: String,
    samples: usize,
    outputs: Vec<OutputSummary>,
}

#[derive(Serialize)]
struct OutputSummary {
    name: String,
    elem: String,
    shape: Vec<u64>,
}

/// Runs and writes the outputs.
pub fn run(args: &Run, output: &Output) -> Result<(), Failure> {
    let place = file::shown(&args.program);
    let program = job::load(file::read(&args.program)?, &place)?;
    let target = match &args.target {
        Some(name) => options::target(name, &args.overrides.set)?,
        None => options::adjust(job::own_target(&program)?, &args.overrides.set)?,
    };
    if matches!(program.constants, Constants::Absent { bytes } if bytes > 0) {
        let problem = Problem::error("weights-absent", "the program holds no weights");
        let help = "compile a model that has its weights, without --no-weights";
        return Err(problem.help(help).at(place).into());
    }
    let entries = job::entries(&program, args.entry.as_deref())?;
    let Some(&entry) = entries.first() else {
        return Err(Problem::error("entry-unknown", "the program has no entry")
            .at(place)
            .into());
    };
    let registers = job::registers(entry, &args.register)?;
    let given = arrays::read(&args.inputs)?;
    let choices = FeedOptions {
        each: args.each,
        default_inputs: args.default_inputs,
    };
    let samples = feed::samples(&entry.inputs, &given, &choices)
        .map_err(|failure| failure.at(&file::shown(&args.inputs)))?;
    job::judge(&program, &target)?;

    let progress = Progress::steps(output, samples.len() as u64, "samples");
    let outputs = feed::run(
        &program,
        entry,
        &target,
        &samples,
        &registers,
        args.each,
        &|| progress.step(),
    )?;
    let bytes = arrays::write(&outputs)?;
    file::write_atomically(&args.outputs, |out| out.write_all(&bytes))?;
    drop(progress);

    let summary = Summary {
        schema: "packwright.run/1",
        file: file::shown(&args.outputs),
        samples: samples.len(),
        outputs: outputs
            .iter()
            .map(|o| OutputSummary {
                name: o.name.clone(),
                elem: o.elem.to_string(),
                shape: o.shape.clone(),
            })
            .collect(),
    };
    if args.json {
        return output::print_json(&summary);
    }
    for one in &summary.outputs {
        let shape: Vec<_> = one.shape.iter().map(u64::to_string).collect();
        output.note(&format!("{} : {}[{}]", one.name, one.elem, shape.join(",")));
    }
    output.note(&format!(
        "{}: {}",
        summary.file,
        unit::bytes(bytes.len() as u64)
    ));
    Ok(())
}
