//! The `packwright` command: parses, dispatches, draws errors, sets the exit code.
//!
//! One subcommand is one file of [`cmd`]. What a subcommand does beyond files and terminals stands
//! in the library, so that programs can do the same.

mod args;
mod cmd;
mod output;
mod progress;
mod render;

use std::process::ExitCode;

use clap::Parser;
use packwright::errors::{Failure, Problem};

use args::{Cli, Command};
use output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(&cli.global);
    let result = thread_pool(cli.global.threads).and_then(|()| dispatch(&cli.command, &output));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            show(&failure, cli.command.json(), &output);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn dispatch(command: &Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Slms(args) => cmd::slms::run(args, output),
        Command::Estimate(args) => cmd::estimate::run(args, output),
        Command::Plan(args) => cmd::plan::run(args, output),
        Command::Sweep(args) => cmd::sweep::run(args, output),
        Command::Compile(args) => cmd::compile::run(args, output),
        Command::Evaluate(args) => cmd::evaluate::run(args, output),
        Command::Quantize(args) => cmd::quantize::run(args, output),
        Command::Simulate(args) => cmd::simulate::run(args, output),
        Command::Run(args) => cmd::run::run(args, output),
        Command::Generate(args) => cmd::generate::run(args, output),
        Command::Inspect(args) => cmd::inspect::run(args, output),
        Command::Compare(args) => cmd::compare::run(args, output),
        Command::Targets(args) => cmd::targets::run(args, output),
        Command::Opt(args) => cmd::opt::run(args, output),
        Command::Asm(args) => cmd::asm::run(args, output),
        Command::Dis(args) => cmd::dis::run(args, output),
        Command::Explain(args) => cmd::explain::run(args, output),
        Command::Completions(args) => cmd::completions::run(args),
    }
}

/// Sets the number of threads that all parallel work shares.
fn thread_pool(threads: Option<u16>) -> Result<(), Failure> {
    let Some(threads) = threads else {
        return Ok(());
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(usize::from(threads));
    pool.build_global().map_err(|error| {
        Problem::error(
            "no-threads",
            format!("{threads} threads cannot be started: {error}"),
        )
        .help("ask for fewer with -j")
        .into()
    })
}

/// Shows what stands in the way: JSON on standard output, or drawn on standard error.
fn show(failure: &Failure, json: bool, output: &Output) {
    if json {
        // The exit code says that it failed, even where nobody can read why.
        let _ = output::print_json(&failure.to_json());
    } else {
        output::complain(&render::problem::draw(failure, output.error_colors));
    }
}
