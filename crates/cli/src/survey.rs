//! The main job: every embedded model, compiled and simulated from its structure.
//!
//! A model is a row, and each part of it (prefill and decode, or an encoder and both steps of its
//! decoder) is an entry of the row's report. Parts are worked on in parallel and reported in the order
//! of the catalogue. What keeps one from compiling is its row's reason; the other rows do not notice.

use std::panic::{AssertUnwindSafe, catch_unwind};

use packwright_onnx::axis::Role;
use packwright_target::Target;
use packwright_zoo::{ModelFile, Phase, Slm, Zoo};
use rayon::prelude::*;

use crate::errors::{Failure, Problem};
use crate::job;
use crate::model::{self, Binding};
use crate::options::CompileChoices;
use crate::report::json::{REPORT_SCHEMA, Report, SLMS_SCHEMA, SlmRow, Slms};

/// The models that the project answers for, in the order of the table, and below them those that
/// people deploy today.
pub const NAMES: [&str; 13] = [
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
    "GPT-2",
    "SmolLM2-135M",
    "Llama-3.2-1B",
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
    let parts: Vec<(usize, &ModelFile)> = slms
        .iter()
        .enumerate()
        .flat_map(|(row, slm)| slm.main_files().map(move |file| (row, file)))
        .collect();
    let reports: Vec<Result<Report, Failure>> = parts
        .par_iter()
        .map(|&(_, file)| {
            let report = guarded(file, target, choices, seq);
            done();
            report
        })
        .collect();
    let mut rows: Vec<SlmRow> = slms.iter().map(|slm| empty(slm)).collect();
    for ((row, file), report) in parts.into_iter().zip(reports) {
        add_part(&mut rows[row], file, report);
    }
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

/// How many parts the models of these names have.
///
/// # Errors
/// When a name is unknown.
pub fn part_count(names: &[String]) -> Result<usize, Failure> {
    let slms = chosen(names)?;
    Ok(slms.iter().map(|slm| slm.main_files().count()).sum())
}

fn empty(slm: &Slm) -> SlmRow {
    let file = slm.main_files().next();
    SlmRow {
        name: slm.name.into(),
        status: OK.into(),
        file: file.map_or_else(String::new, |file| file.file.into()),
        phase: file.map_or_else(String::new, |file| model::phase_name(file.phase).into()),
        ..SlmRow::default()
    }
}

/// Adds a part to its row: an entry, or a reason why the row is not complete.
fn add_part(row: &mut SlmRow, file: &ModelFile, report: Result<Report, Failure>) {
    match (report, &mut row.report) {
        (Ok(report), None) => {
            debug_assert_eq!(report.schema, REPORT_SCHEMA);
            row.report = Some(report);
        }
        (Ok(report), Some(whole)) => whole.entries.extend(report.entries),
        (Err(failure), _) => {
            if row.reason.is_none() {
                let first = failure.first();
                let text = first.map_or_else(String::new, |problem| problem.to_string());
                row.reason = Some(format!("{}: {text}", model::phase_name(file.phase)));
                row.code = first.map(|problem| problem.code.to_owned());
            }
            row.status = NOT_YET.into();
            row.problems += failure.0.len() as u64;
        }
    }
}

/// A defect that one model brings to light must not cost the rows of the others.
fn guarded(
    file: &ModelFile,
    target: &Target,
    choices: &CompileChoices,
    seq: u64,
) -> Result<Report, Failure> {
    let work = || report(file, target, choices, seq);
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Problem::error("internal-error", "the compiler or simulator has a defect").into())
    })
}

fn report(
    file: &ModelFile,
    target: &Target,
    choices: &CompileChoices,
    seq: u64,
) -> Result<Report, Failure> {
    let axes = file.model()?.axes();
    // Exports of a fixed length keep theirs.
    let free = |role: Role, length: u64| axes.iter().any(|a| a.role == role).then_some(length);
    let (positions, past) = match file.phase {
        Phase::Encoder | Phase::Classifier | Phase::MaskedLm | Phase::Prefill => (seq, 0),
        Phase::Decoder => (1, 0),
        // The last of as many positions as a prefill takes.
        Phase::Decode | Phase::DecoderPast => (1, seq - 1),
    };
    let binding = Binding {
        seq: free(Role::Sequence, positions),
        past: free(Role::Past, past),
        encoder: free(Role::Encoder, seq),
        ..Binding::default()
    };
    let imported = model::import_embedded(file, &binding, &[])?;
    let mut report = job::estimate(imported.graph, target, choices)?;
    for entry in &mut report.entries {
        entry.name = model::phase_name(file.phase).into();
    }
    Ok(report)
}
