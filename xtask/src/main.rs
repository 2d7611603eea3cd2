//! Chores of the workspace. `cargo xtask ci` is everything that has to hold.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod accuracy;
mod bench;
mod ci;
mod docs;
mod plans;
mod proto;
mod tidy;
mod validate;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Chores of the workspace")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Format, lints, tidy, tests and generated docs: everything that has to hold.
    Ci,
    /// Layering, file sizes and module docs.
    Tidy,
    /// Writes the generated pages of docs/.
    Docs {
        /// Fail where a page is stale instead of writing it.
        #[arg(long)]
        check: bool,
    },
    /// Writes docs/validation.md: figures of other simulators beside ours.
    Validate {
        /// Fail where the page is stale instead of writing it.
        #[arg(long)]
        check: bool,
    },
    /// Prints how near plans come to their bounds, over models, machines and SRAM sizes.
    Plans {
        /// Only models whose names begin so; repeatable.
        #[arg(long)]
        model: Vec<String>,
        /// Only sections whose titles begin so; repeatable.
        #[arg(long)]
        section: Vec<String>,
        /// Write docs/planner.md.
        #[arg(long)]
        write: bool,
    },
    /// Times the main jobs, as ratios to a plain copy of the same bytes.
    Bench {
        /// A model with real weights to compile; without it only embedded models are timed.
        #[arg(long)]
        model: Option<PathBuf>,
        /// Time that model alone, and no embedded ones.
        #[arg(long, requires = "model")]
        only_model: bool,
        /// A Python with onnxruntime and onnx, to time ONNX Runtime's int8 beside the packets.
        #[arg(long, requires = "model")]
        python: Option<PathBuf>,
        /// Runs of each command; the median counts.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// Fetches models with real weights, runs their packets and compares with floats.
    Accuracy {
        /// Where the models are kept [default: $PACKWRIGHT_CACHE, or packwright in the user's cache folder].
        #[arg(long)]
        folder: Option<PathBuf>,
        /// Write docs/accuracy.md.
        #[arg(long, conflicts_with = "only")]
        write: bool,
        /// Measure only the rows with this text in their names.
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
        /// Go on without figures, and say so, where Python, the registry or a package of it is not there.
        #[arg(long)]
        skip_missing: bool,
    },
    /// Writes the prost code of onnx.proto anew.
    Proto,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().chore {
        Chore::Ci => ci::run(),
        Chore::Tidy => tidy::run(),
        Chore::Docs { check } => docs::run(check),
        Chore::Validate { check } => validate::run(check),
        Chore::Plans {
            model: models,
            section: sections,
            write,
        } => plans::run(&plans::Selection { models, sections }, write),
        Chore::Bench {
            model,
            only_model,
            python,
            runs,
        } => bench::run(model.as_deref(), only_model, python.as_deref(), runs),
        Chore::Accuracy {
            folder,
            write,
            only,
            skip_missing,
        } => {
            let folder = folder.unwrap_or_else(accuracy::cache_folder);
            let only = only.as_deref().unwrap_or_default();
            accuracy::run(&folder, only, write, skip_missing)
        }
        Chore::Proto => proto::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Where cargo builds.
fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Runs a command in the workspace and fails when it does.
fn call(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<()> {
    eprintln!("$ {program} {}", arguments.join(" "));
    let status = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(root())
        .status()?;
    anyhow::ensure!(status.success(), "{program} {} failed", arguments.join(" "));
    Ok(())
}
