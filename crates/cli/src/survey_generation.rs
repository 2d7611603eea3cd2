//! What a text costs on every embedded decoder, from structures alone.

use packwright_packet::program::Program;
use packwright_target::Target;
use packwright_zoo::{Phase, Slm, Zoo};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::cost::{self, GenerationReport, Length};
use crate::errors::{Failure, Problem};
use crate::job::{self, EntryChoices};
use crate::model::{self, Binding};
use crate::options::CompileChoices;
use crate::survey::{NOT_YET, OK};

/// The decoders, in the order of the table.
pub const DECODERS: [&str; 7] = [
    "Ada",
    "Babbage",
    "T5-Small",
    "T5-Base",
    "GPT-2",
    "SmolLM2-135M",
    "Llama-3.2-1B",
];

/// Points of the curve of costs.
const POINTS: usize = 4;

/// One decoder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GenerationRow {
    pub name: String,
    /// `ok` or `not yet`.
    pub status: String,
    /// Why there is no report, or why the prompt goes position by position.
    pub reason: Option<String>,
    pub report: Option<GenerationReport>,
}

/// Costs of a text on the decoders among these names; on all of [`DECODERS`] where there is none.
pub fn generation(
    names: &[String],
    target: &Target,
    choices: &CompileChoices,
    length: Length,
) -> Vec<GenerationRow> {
    let all = DECODERS.iter().filter_map(|name| Zoo::get(name));
    let slms: Vec<&'static Slm> = all
        .filter(|slm| {
            let mut named = names.iter();
            names.is_empty() || named.any(|name| slm.name.eq_ignore_ascii_case(name))
        })
        .collect();
    let rows = slms.par_iter().map(|slm| {
        let mut row = GenerationRow {
            name: slm.name.into(),
            status: NOT_YET.into(),
            ..GenerationRow::default()
        };
        match costs(slm, target, choices, length) {
            Ok((report, reason)) => {
                row.status = OK.into();
                row.report = Some(report);
                row.reason = reason;
            }
            Err(failure) => row.reason = failure.first().map(Problem::to_string),
        }
        row
    });
    rows.collect()
}

/// The costs, and why a prompt has no pass of its own.
fn costs(
    slm: &Slm,
    target: &Target,
    choices: &CompileChoices,
    length: Length,
) -> Result<(GenerationReport, Option<String>), Failure> {
    let encoder = slm.main_files().any(|file| file.phase == Phase::Encoder);
    let compiled = |capacity: u64, alone: bool| -> Result<Program, Failure> {
        let files = slm
            .main_files()
            .filter(|file| !alone || matches!(file.phase, Phase::Decode));
        let entries = EntryChoices {
            models: files
                .map(|file| {
                    (
                        model::phase_name(file.phase).into(),
                        format!("zoo:{}", file.file),
                    )
                })
                .collect(),
            capacity: Some(capacity),
            binding: Binding {
                seq: Some(length.prompt),
                ..Binding::default()
            },
        };
        Ok(job::compile_entries(&entries, target, choices)?.0.program)
    };
    // Behind an encoder the caches hold the answer alone.
    let capacity = match encoder {
        true => length.new.max(2),
        false => length.prompt + length.new,
    };
    let (program, reason) = match compiled(capacity, false) {
        Ok(program) => (program, None),
        Err(failure) if !encoder => {
            let reason = failure.first().map(Problem::to_string);
            (compiled(capacity, true)?, reason)
        }
        Err(failure) => return Err(failure),
    };
    Ok((cost::cost(&program, target, length, POINTS)?, reason))
}
