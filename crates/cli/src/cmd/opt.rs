//! `opt`: single graph passes on a graph in text form.

use std::path::{Path, PathBuf};

use clap::Args;
use packwright::errors::{Failure, Problem};
use packwright::ir::text;
use packwright::{file, model, passes};

use crate::args::BindArgs;
use crate::output::{self, Output};
use crate::render::table;

/// Run graph passes on a graph and print it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  packwright opt --list
  packwright opt --pass fuse-activation g.graph
  packwright opt --pass fold-constants --pass fuse-layer-norm zoo:TinyBERT --seq 8
  packwright opt model.onnx --seq 128 -o model.graph      only import it")]
pub struct Opt {
    /// A graph in text form (.graph), an ONNX file or an embedded model (zoo:NAME).
    #[arg(required_unless_present = "list")]
    pub graph: Option<String>,
    /// A pass to run; repeatable, in this order.
    #[arg(short, long = "pass", value_name = "NAME")]
    pub pass: Vec<String>,
    /// List the passes.
    #[arg(long, conflicts_with_all = ["pass", "graph"])]
    pub list: bool,
    /// Print origins and figures too.
    #[arg(long)]
    pub full: bool,
    #[command(flatten)]
    pub axes: BindArgs,
    /// Where the graph goes [default: standard output].
    #[arg(short, long, value_name = "FILE.graph")]
    pub output: Option<PathBuf>,
}

/// Runs the passes and prints the graph.
pub fn run(args: &Opt, output: &Output) -> Result<(), Failure> {
    if args.list {
        return list(output);
    }
    let Some(spec) = &args.graph else {
        return Err(Problem::error("file-missing", "no graph is given").into());
    };
    for name in &args.pass {
        passes::known(name)?;
    }
    let imported = model::import_fixed(spec, &args.axes.resolve(), &args.axes.files())?;
    output.warn(&imported.warnings);
    let mut graph = imported.graph;
    for name in &args.pass {
        passes::run(name, &mut graph)?;
    }
    // Weights of a model file would be megabytes of digits.
    let data = model::is_text(Path::new(spec));
    let options = text::Options {
        provenance: args.full,
        data,
    };
    let text = text::print_with(&graph, &options);
    match &args.output {
        Some(path) => file::write_atomically(path, |out| out.write_all(text.as_bytes())),
        None => output::print(&text),
    }
}

fn list(output: &Output) -> Result<(), Failure> {
    let mut list = table::table(&["<pass", "<what it does"], output.width());
    for pass in passes::all() {
        list.add_row([pass.name, pass.what]);
    }
    output::print(&table::text(&list))
}
