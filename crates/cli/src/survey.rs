//! The main job: every embedded model, compiled and simulated from its structure.
//!
//! Models are worked on in parallel and reported in the order of the catalogue. What keeps one from
//! compiling is its row's reason; the other rows do not notice.

use std::panic::{AssertUnwindSafe, catch_unwind};

use packwright_onnx::axis::Role;
use packwright_target::Target;
use packwright_zoo::{ModelFile, Slm, Zoo};
use rayon::prelude::*;

use crate::errors::{Failure, Problem};
use crate::job;
use crate::model::{self, Binding};
use crate::options::CompileChoices;
use crate::report::json::{REPORT_SCHEMA, Report, SLMS_SCHEMA, SlmRow, Slms};

/// The models that the project answers for, in the order of the table.
pub const NAMES: [&str; 10] = [
    "DistilBERT",
    "TinyBERT",
    "ALBERT",
    "MiniLM",
    "Reformer",
    "Longformer",
    "Ada",
    "Babbage",
    "T5-Small",
    "T5-Base",
];

/// Status of a row with a report.
pub const OK: &str = "ok";
/// Status of a row without one.
pub const NOT_YET: &str = "not yet";

/// Surveys the models of these names; all of [`NAMES`] where there is none.
///
/// # Errors
/// When a name is unknown.
pub fn survey(
    names: &[String],
    target: &Target,
    choices: &CompileChoices,
    seq: u64,
    done: &(dyn Fn() + Sync),
) -> Result<Slms, Failure> {
    let slms = chosen(names)?;
    let rows = slms.par_iter().map(|slm| {
        let row = row(slm, target, choices, seq);
        done();
        row
    });
    let rows: Vec<SlmRow> = rows.collect();
    let precision = rows
        .iter()
        .find_map(|row| row.report.as_ref())
        .map(|r| r.precision.clone());
    Ok(Slms {
        schema: SLMS_SCHEMA.into(),
        target: target.name.clone(),
        precision: precision.unwrap_or_else(|| "w8a8".into()),
        sequence_length: seq,
        rows,
        generation: Vec::new(),
    })
}

/// The models of these names.
///
/// # Errors
/// When a name is unknown.
pub fn chosen(names: &[String]) -> Result<Vec<&'static Slm>, Failure> {
    if names.is_empty() {
        return Ok(NAMES.iter().filter_map(|name| Zoo::get(name)).collect());
    }
    let find = |name: &String| {
        Zoo::get(name).ok_or_else(|| {
            let known: Vec<_> = Zoo::all().iter().map(|slm| slm.name).collect();
            Problem::error(
                "zoo-unknown",
                format!("there is no embedded model `{name}`"),
            )
            .help(format!("models are {}", known.join(", ")))
        })
    };
    names
        .iter()
        .map(|name| find(name).map_err(Failure::from))
        .collect()
}

fn row(slm: &Slm, target: &Target, choices: &CompileChoices, seq: u64) -> SlmRow {
    let mut row = SlmRow {
        name: slm.name.into(),
        status: NOT_YET.into(),
        ..SlmRow::default()
    };
    let Some(file) = slm.main_files().next() else {
        row.reason = Some("no file of it is embedded".into());
        return row;
    };
    row.file = file.file.into();
    row.phase = model::phase_name(file.phase).into();
    let work = || report(file, target, choices, seq);
    // A defect that one model brings to light must not cost the rows of the others.
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Problem::error("internal-error", "the compiler or simulator has a defect").into())
    });
    match result {
        Ok(report) => {
            debug_assert_eq!(report.schema, REPORT_SCHEMA);
            row.status = OK.into();
            row.report = Some(report);
        }
        Err(failure) => {
            let first = failure.first();
            row.reason = Some(first.map_or_else(String::new, |problem| problem.to_string()));
            row.code = first.map(|problem| problem.code.to_owned());
            row.problems = failure.0.len() as u64;
        }
    }
    row
}

fn report(
    file: &ModelFile,
    target: &Target,
    choices: &CompileChoices,
    seq: u64,
) -> Result<Report, Failure> {
    // Exports of a fixed length keep theirs.
    let free = file
        .model()?
        .axes()
        .iter()
        .any(|axis| axis.role == Role::Sequence);
    let binding = Binding {
        seq: free.then_some(seq),
        ..Binding::default()
    };
    let imported = model::import_embedded(file, &binding)?;
    job::estimate(imported.graph, target, choices)
}
