//! `compare`: two reports side by side.

use std::path::{Path, PathBuf};

use clap::Args;
use packwright::errors::{Failure, Problem};
use packwright::file;
use packwright::report::json::{REPORT_SCHEMA, Report};

use crate::output::{self, Output};
use crate::render::compare;

/// Compare two reports.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  packwright estimate zoo:MiniLM -t e1 --json > a.json
  packwright estimate zoo:MiniLM -t e2 --json > b.json
  packwright compare a.json b.json")]
pub struct Compare {
    /// A report, as `simulate --json` or `estimate --json` prints it.
    #[arg(value_name = "A.json")]
    pub a: PathBuf,
    /// Another one; ratios are its figures over those of the first.
    #[arg(value_name = "B.json")]
    pub b: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Reads both and prints the comparison.
pub fn run(args: &Compare, output: &Output) -> Result<(), Failure> {
    let (a, b) = (read(&args.a)?, read(&args.b)?);
    let comparison = compare::Comparison::of(&a, &b);
    match args.json {
        true => output::print_json(&comparison),
        false => output::print(&compare::draw(&comparison, output.width())),
    }
}

fn read(path: &Path) -> Result<Report, Failure> {
    let place = file::shown(path);
    let text = file::read_text(path)?;
    let unreadable = |message: String| {
        let help = "`simulate --json` and `estimate --json` print reports";
        Failure::from(
            Problem::error("report-unreadable", message)
                .help(help)
                .at(place.clone()),
        )
    };
    let report: Report =
        serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    if report.schema != REPORT_SCHEMA {
        let schema = &report.schema;
        return Err(unreadable(format!(
            "the schema is `{schema}`, not `{REPORT_SCHEMA}`"
        )));
    }
    Ok(report)
}
