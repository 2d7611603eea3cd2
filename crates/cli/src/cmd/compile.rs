//! `compile`: a model becomes a program for the NPU.

use std::path::{Path, PathBuf};

use clap::Args;
use packwright::compile::compile::Compiled;
use packwright::compile::emit::constants::Section;
use packwright::compile::entries::CompiledProgram;
use packwright::errors::{Failure, Problem, ProblemJson};
use packwright::job::EntryChoices;
use packwright::packet::container;
use packwright::packet::program::Program;
use packwright::report::json::DramBytes;
use packwright::target::Target;
use packwright::{file, job, model};
use serde::Serialize;

use crate::args::{BindArgs, ChoiceArgs, TargetArgs};
use crate::output::{self, Output};
use crate::progress::Progress;
use crate::render::{table, unit};

/// Compile a model to a program for the NPU.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  packwright compile model.onnx --seq 128 -o model.npu
  packwright compile model.onnx -t e6 --bind sequence_length=256,batch_size=4
  packwright compile zoo:MiniLM --set sram.bytes=1MiB -o minilm.npu
  packwright compile --entry prefill=a.onnx --entry decode=b.onnx --capacity 1024 -o lm.npu")]
pub struct Compile {
    /// An ONNX file, a graph in text form (.graph) or an embedded model (zoo:NAME).
    #[arg(required_unless_present = "entry")]
    pub model: Option<String>,
    /// A model as one of several entries, which share weights and caches; repeatable. `prefill@16` has 16
    /// positions, whatever `--seq` says: a prompt goes through the shortest prefill that holds it.
    #[arg(long, value_name = "NAME=MODEL", value_parser = entry, conflicts_with = "model")]
    pub entry: Vec<(String, String)>,
    /// Positions that the caches of entries have room for.
    #[arg(long, value_name = "N", requires = "entry", value_parser = clap::value_parser!(u64).range(2..))]
    pub capacity: Option<u64>,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub axes: BindArgs,
    #[command(flatten)]
    pub choices: ChoiceArgs,
    /// Leave the weights out of the program: it can be simulated, not run.
    #[arg(long, help_heading = "Compilation")]
    pub no_weights: bool,
    /// Where the program goes [default: the name of the model, with .npu, in the current folder].
    #[arg(short, long, value_name = "FILE.npu")]
    pub output: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What was made, in figures.
#[derive(Serialize)]
struct Summary {
    schema: &'static str,
    file: String,
    bytes: u64,
    model: String,
    target: String,
    precision: String,
    weights: &'static str,
    weight_bytes: u64,
    entries: Vec<EntrySummary>,
    warnings: Vec<ProblemJson>,
}

#[derive(Serialize)]
struct EntrySummary {
    name: String,
    packets: u64,
    sram_peak_bytes: u64,
    dram_bytes: DramBytes,
    bound_dram_bytes: u64,
}

/// Reads `NAME=MODEL`.
pub fn entry(text: &str) -> Result<(String, String), String> {
    let (name, model) = text
        .split_once('=')
        .ok_or("an entry is given as NAME=MODEL")?;
    Ok((name.trim().to_owned(), model.trim().to_owned()))
}

/// Compiles and writes.
pub fn run(args: &Compile, output: &Output) -> Result<(), Failure> {
    let target = args.target.resolve()?;
    let progress = Progress::spinner(output, "importing");
    let (made, warnings) = match &args.model {
        Some(model) => one(args, model, &target, &progress)?,
        None => several(args, &target, &progress)?,
    };
    let program = made.program();
    progress.say("checking");
    job::judge(program, &target)?;
    let name = args.model.as_deref().unwrap_or(&program.model);
    let path = super::output_path(args.output.as_deref(), &input_name(name), "npu");
    let section = match args.no_weights {
        true => None,
        false => made.constants(),
    };
    match &section {
        Some(section) => {
            progress.say("quantising weights");
            job::write_with(program, section, &path)?;
        }
        None => {
            progress.say("writing");
            file::write_atomically(&path, |mut out| container::write(program, &mut out))?;
        }
    }
    drop(progress);

    let entries = program.entries.iter().map(|entry| {
        let registers: Vec<_> = entry
            .registers
            .iter()
            .map(|register| register.max)
            .collect();
        EntrySummary {
            name: entry.name.clone(),
            packets: entry.packets.len() as u64,
            sram_peak_bytes: entry.facts.sram_peak,
            dram_bytes: job::predicted_traffic(entry, &registers),
            bound_dram_bytes: entry.bound.dram_bytes,
        }
    });
    let summary = Summary {
        schema: "packwright.compile/1",
        bytes: std::fs::metadata(&path).map_or(0, |facts| facts.len()),
        file: file::shown(&path),
        model: program.model.clone(),
        target: target.name.clone(),
        precision: program.precision.clone(),
        weights: match section {
            Some(_) => "present",
            None => "absent",
        },
        weight_bytes: program.constants.len(),
        entries: entries.collect(),
        warnings: warnings.iter().map(ProblemJson::from).collect(),
    };
    if args.json {
        return output::print_json(&summary);
    }
    output.warn(&warnings);
    if output.quiet {
        Ok(())
    } else {
        output::print(&draw(&summary, output))
    }
}

/// What a compilation has made; the constants of its program are not there yet.
enum Made {
    One(Box<Compiled>),
    Several(Box<CompiledProgram>),
}

impl Made {
    fn program(&self) -> &Program {
        match self {
            Made::One(compiled) => &compiled.program,
            Made::Several(compiled) => &compiled.program,
        }
    }

    fn constants(&self) -> Option<Section<'_>> {
        match self {
            Made::One(compiled) => compiled.constants(),
            Made::Several(compiled) => compiled.constants(),
        }
    }
}

/// A program of one model.
fn one(
    args: &Compile,
    model: &str,
    target: &Target,
    progress: &Progress,
) -> Result<(Made, Vec<Problem>), Failure> {
    let imported = model::import_fixed(model, &args.axes.resolve(), &args.axes.files())?;
    progress.say("compiling");
    let compiled = job::compile(imported.graph, target, &args.choices.resolve()?)?;
    let mut warnings = imported.warnings;
    warnings.extend(job::warnings(&compiled.passes));
    Ok((Made::One(Box::new(compiled)), warnings))
}

/// A program of several models.
fn several(
    args: &Compile,
    target: &Target,
    progress: &Progress,
) -> Result<(Made, Vec<Problem>), Failure> {
    progress.say("compiling");
    let entries = EntryChoices {
        models: args.entry.clone(),
        capacity: args.capacity,
        binding: args.axes.resolve(),
    };
    let (compiled, warnings) = job::compile_entries(&entries, target, &args.choices.resolve()?)?;
    Ok((Made::Several(Box::new(compiled)), warnings))
}

fn draw(summary: &Summary, output: &Output) -> String {
    let text = format!(
        "{} → {} ({})\ntarget {}, {}, weights {} ({})\n\n",
        summary.model,
        summary.file,
        unit::bytes(summary.bytes),
        summary.target,
        summary.precision,
        summary.weights,
        unit::bytes(summary.weight_bytes),
    );
    let titles = ["<entry", "packets", "SRAM peak", "DRAM", "bound", "ratio"];
    let mut list = table::table(&titles, output.width());
    for entry in &summary.entries {
        let moved = entry.dram_bytes.without_packets();
        list.add_row([
            entry.name.clone(),
            entry.packets.to_string(),
            unit::binary_bytes(entry.sram_peak_bytes),
            unit::bytes(entry.dram_bytes.total),
            unit::bytes(entry.bound_dram_bytes),
            unit::ratio(moved as f64 / entry.bound_dram_bytes as f64),
        ]);
    }
    text + &table::text(&list)
}

/// The name of a model as a path, whether it is one or not.
pub fn input_name(model: &str) -> PathBuf {
    let name = model.strip_prefix("zoo:").unwrap_or(model);
    if name == model {
        Path::new(model).to_path_buf()
    } else {
        format!("{}.onnx", name.replace(':', "-")).into()
    }
}
