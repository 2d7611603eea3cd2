//! `sweep`: one model at many points of machine, binding and plan.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;

use clap::Args;
use packwright::errors::Failure;
use packwright::file;
use packwright::sweep::{self, Axis, Job, Point};

use crate::args::{BindArgs, ChoiceArgs, TargetArgs};
use crate::output::{self, Output};
use crate::progress::Progress;
use crate::render::{table, unit};

/// Estimate a model at many points of machine, axes and plan.
#[derive(Debug, Args)]
#[command(after_help = "\
What can be varied: any number of the target (`packwright targets e2` lists them), dram.bandwidth in bytes
a second, bind.seq, bind.batch, bind.past, bind.NAME, plan.tile_bytes, plan.row_chunk, plan.score_rows.
A range a..b doubles, a..b+s steps. The front of Pareto: no other point is as fast with no more of anything.

Examples:
  packwright sweep zoo:MiniLM --vary sram.bytes=256KiB..8MiB --vary dram.bandwidth=8e9..34e9
  packwright sweep model.onnx --seq 128 --vary matrix.columns=16..128 -o points.csv    again: resumes")]
pub struct Sweep {
    /// An ONNX file, a graph in text form (.graph) or an embedded model (zoo:NAME).
    pub model: String,
    /// What to vary, with its values; repeatable.
    #[arg(long, value_name = "PATH=VALUES", required = true)]
    pub vary: Vec<String>,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub axes: BindArgs,
    #[command(flatten)]
    pub choices: ChoiceArgs,
    /// Keep the rows in a CSV file; points that it holds already are not worked on again.
    #[arg(short, long, value_name = "FILE.csv")]
    pub output: Option<PathBuf>,
    /// Print CSV.
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Sweeps and prints the points.
pub fn run(args: &Sweep, output: &Output) -> Result<(), Failure> {
    let axes = args.vary.iter().map(|text| Axis::parse(text));
    let axes: Vec<Axis> = axes.collect::<Result<_, _>>()?;
    let job = Job {
        model: args.model.clone(),
        binding: args.axes.resolve(),
        target: args.target.resolve()?,
        choices: args.choices.resolve()?,
    };
    let known = match &args.output {
        Some(path) if path.exists() => sweep::parse_csv(&file::read_text(path)?, &axes),
        _ => Vec::new(),
    };
    let log = match &args.output {
        Some(path) => Some(Mutex::new(start_log(path, &axes, &known)?)),
        None => None,
    };
    let count = sweep::points(&axes).len() as u64;
    let progress = Progress::steps(output, count, "points");
    let done = |point: &Point| {
        progress.step();
        if let Some(log) = &log {
            let mut log = log
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            // The file is written whole at the end; a row that is lost here is only work to do again.
            let _ = writeln!(log, "{}", sweep::csv_row(point)).and_then(|()| log.flush());
        }
    };
    let result = sweep::sweep(&job, &axes, &known, &done)?;
    drop(progress);
    let csv = || {
        let rows = result
            .points
            .iter()
            .map(|point| sweep::csv_row(point) + "\n");
        sweep::csv_header(&axes) + "\n" + &rows.collect::<String>()
    };
    if let Some(path) = &args.output {
        file::write_atomically(path, |out| out.write_all(csv().as_bytes()))?;
    }
    match (args.json, args.csv) {
        (true, _) => output::print_json(&serde_json::json!({
            "schema": result.schema, "model": result.model, "target": result.target,
            "axes": result.axes, "points": result.rows(),
        })),
        (_, true) => output::print(&csv()),
        _ => output::print(&draw(&result, output.width())),
    }
}

/// The file that rows are added to as they come, with those that are known.
fn start_log(path: &PathBuf, axes: &[Axis], known: &[Point]) -> Result<fs::File, Failure> {
    file::write_atomically(path, |out| {
        writeln!(out, "{}", sweep::csv_header(axes))?;
        known
            .iter()
            .try_for_each(|point| writeln!(out, "{}", sweep::csv_row(point)))
    })?;
    OpenOptions::new().append(true).open(path).map_err(|error| {
        let message = format!("the file cannot be written: {error}");
        packwright::errors::Problem::error("file-unwritable", message)
            .at(file::shown(path))
            .into()
    })
}

fn draw(sweep: &sweep::Sweep, width: Option<u16>) -> String {
    let mut titles: Vec<&str> = sweep.axes.iter().map(String::as_str).collect();
    titles.extend(["ms", "× least", "DRAM", "spill", "mJ", "<limit", "<front"]);
    let mut list = table::table(&titles, width);
    for point in &sweep.points {
        let mut row: Vec<String> = point.at.iter().map(ToString::to_string).collect();
        match &point.reason {
            Some(reason) => {
                row.extend(std::iter::repeat_n("–".to_owned(), 5));
                row.extend([reason.clone(), String::new()]);
            }
            None => row.extend([
                unit::digits(point.seconds * 1e3),
                unit::ratio(point.seconds / point.bound_seconds),
                unit::bytes(point.dram_bytes),
                unit::bytes(point.spill_bytes),
                unit::digits(point.energy_joules * 1e3),
                point.limited_by.clone(),
                if point.pareto { "•" } else { "" }.to_owned(),
            ]),
        }
        list.add_row(row);
    }
    table::text(&list)
}
