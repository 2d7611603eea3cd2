//! `inspect`: what is in a model or a program.

use std::path::{Path, PathBuf};

use clap::Args;
use packwright::errors::{Failure, Problem};
use packwright::packet::container::MAGIC;
use packwright::{file, inspect, job};

use crate::args::BindArgs;
use crate::output::{self, Output};
use crate::progress::Progress;
use crate::render::inspect as draw;

/// Say what is in a model or a program.
#[derive(Debug, Args)]
#[command(after_help = "\
Of a model: its inputs with the axes to bind, its operators, and all that stands in the way of
compiling it. Axes that are left open are given a length for this check.

Examples:
  packwright inspect model.onnx
  packwright inspect zoo:T5-Small:decoder-past
  packwright inspect model.npu --json")]
pub struct Inspect {
    /// An ONNX file, an embedded model (zoo:NAME) or a program (.npu).
    pub file: String,
    #[command(flatten)]
    pub axes: BindArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Inspects and prints.
pub fn run(args: &Inspect, output: &Output) -> Result<(), Failure> {
    let path = Path::new(&args.file);
    if !args.file.starts_with("zoo:") {
        file::check(path)?;
        if is_program(path)? {
            return program(args, path.to_path_buf(), output);
        }
    }
    if packwright::model::is_text(path) {
        let help = "`packwright opt` reads graphs in text form";
        let problem = Problem::error("file-kind", "this is a graph in text form").help(help);
        return Err(problem.at(&args.file).into());
    }
    let progress = Progress::spinner(output, "reading");
    let facts = inspect::model(&args.file, &args.axes.resolve(), &args.axes.files())?;
    drop(progress);
    match args.json {
        true => output::print_json(&facts),
        false => output::print(&draw::model(&facts, output.width())),
    }
}

/// Whether a file is a program: by its first bytes, or by its name where they are damaged.
fn is_program(path: &Path) -> Result<bool, Failure> {
    let named = path.extension().is_some_and(|extension| extension == "npu");
    Ok(named || file::starts_with(path, &MAGIC)?)
}

fn program(args: &Inspect, path: PathBuf, output: &Output) -> Result<(), Failure> {
    let bytes = file::read(&path)?;
    let size = bytes.len() as u64;
    let program = job::load(bytes, &file::shown(&path))?;
    let facts = inspect::program(&program, size);
    match args.json {
        true => output::print_json(&facts),
        false => output::print(&draw::program(&facts, output.width())),
    }
}
