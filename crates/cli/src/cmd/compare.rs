//! `compare`: reports side by side.

use std::path::{Path, PathBuf};

use clap::Args;
use packwright::errors::{Failure, Problem};
use packwright::file;
use packwright::report::json::{REPORT_SCHEMA, Report};

use crate::output::{self, Output};
use crate::render::compare;

/// Compare reports.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  packwright estimate zoo:MiniLM -t e1 --json > a.json
  packwright estimate zoo:MiniLM -t e2 --json > b.json
  packwright compare a.json b.json
  for plan in layer-wise fused-ops best; do
    packwright estimate zoo:MiniLM --plan $plan --json > $plan.json
  done
  packwright compare layer-wise.json fused-ops.json best.json")]
pub struct Compare {
    /// Reports, as `simulate --json` or `estimate --json` prints them, two or more; ratios are figures over
    /// those of the first.
    #[arg(value_name = "REPORT.json", required = true, num_args = 2..=26)]
    pub reports: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Reads them and prints the comparison.
pub fn run(args: &Compare, output: &Output) -> Result<(), Failure> {
    let mut reports = Vec::new();
    let mut problems = Vec::new();
    for path in &args.reports {
        match read(path) {
            Ok(report) => reports.push(report),
            Err(failure) => problems.extend(failure.0),
        }
    }
    if !problems.is_empty() {
        return Err(Failure(problems));
    }
    let comparison = compare::Comparison::of(&reports);
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
