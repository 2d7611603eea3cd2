//! Models by path or by name, as graphs.
//!
//! A model is an ONNX file, a graph in text form (`.graph`), or an embedded one: `zoo:MiniLM` is the
//! first file of its main job, `zoo:GPT-2:decode` the one of a phase, `zoo:FILE` any.

use std::path::Path;
use std::sync::Arc;

use packwright_ir::Graph;
use packwright_ir::text;
use packwright_onnx::axis::Role;
use packwright_onnx::{ImportOptions, Model};
use packwright_zoo::{ModelFile, Phase, Zoo};

use crate::constants::{self, InputFile};
use crate::errors::{Failure, Problem};
use crate::file;

pub use packwright_onnx::{Binding, Given, Random};

/// What embedded models are called on the command line.
const ZOO: &str = "zoo:";
/// Graph names that exporters give to every model.
const GENERIC_NAMES: [&str; 6] = [
    "",
    "main",
    "main_graph",
    "torch_jit",
    "torch-jit-export",
    "graph",
];

/// A graph, and what the front end wants the user to know.
#[derive(Clone, Debug)]
pub struct Imported {
    pub graph: Graph,
    pub warnings: Vec<Problem>,
}

/// The graph of a model given by path or by name.
///
/// # Errors
/// Everything that stands in the way.
pub fn import(spec: &str, binding: &Binding) -> Result<Imported, Failure> {
    import_fixed(spec, binding, &[])
}

/// The graph of a model some of whose inputs are constants.
///
/// # Errors
/// Everything that stands in the way.
pub fn import_fixed(
    spec: &str,
    binding: &Binding,
    constants: &[InputFile],
) -> Result<Imported, Failure> {
    if let Some(name) = spec.strip_prefix(ZOO) {
        return import_embedded(embedded(name)?, binding, constants);
    }
    let path = Path::new(spec);
    if is_text(path) {
        return Ok(Imported {
            graph: parse(path)?,
            warnings: Vec::new(),
        });
    }
    let model = open(spec)?;
    let options = ImportOptions {
        binding: binding.clone(),
        fixed: constants::fixed(&model, binding, constants)?,
        ..ImportOptions::default()
    };
    import_model(&model, &options, &stem(path)).map_err(|failure| failure.at(spec))
}

/// The decoded ONNX file given by path or by name.
///
/// # Errors
/// When there is no such file or it is no model.
pub fn open(spec: &str) -> Result<Model, Failure> {
    if let Some(name) = spec.strip_prefix(ZOO) {
        return Ok(embedded(name)?.model()?);
    }
    let path = Path::new(spec);
    file::check(path)?;
    Ok(Model::open(path)?)
}

/// Whether a path names a graph in text form.
pub fn is_text(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "graph")
}

/// A graph from its text form.
///
/// # Errors
/// Every complaint about the text, each under its line.
pub fn parse(path: &Path) -> Result<Graph, Failure> {
    let source: Arc<str> = file::read_text(path)?.into();
    let name = file::shown(path);
    text::parse(&source).map_err(|errors| {
        let problems = errors.into_iter().map(|error| {
            Problem::error(error.code, error.message).pointing(
                &name,
                &source,
                error.line,
                error.column,
            )
        });
        Failure(problems.collect())
    })
}

/// An embedded file by model, by model and phase, or by its own name.
///
/// # Errors
/// When there is none; the complaint lists those that there are.
pub fn embedded(name: &str) -> Result<&'static ModelFile, Failure> {
    let (model, phase) = match name.split_once(':') {
        Some((model, phase)) => (model, Some(phase)),
        None => (name, None),
    };
    let of_model = Zoo::get(model).and_then(|slm| match phase {
        None => slm.main_files().next(),
        Some(phase) => {
            let fits = |file: &&ModelFile| phase_name(file.phase) == phase;
            slm.main_files()
                .find(fits)
                .or_else(|| slm.files.iter().find(fits))
        }
    });
    of_model.or_else(|| Zoo::file(name)).ok_or_else(|| {
        let known: Vec<_> = Zoo::all().iter().map(|slm| slm.name).collect();
        let message = format!("there is no embedded model `{name}`");
        let help = format!(
            "models are {}; NAME:PHASE picks a part, e.g. decode",
            known.join(", ")
        );
        Problem::error("zoo-unknown", message).help(help).into()
    })
}

/// The graph of an embedded file. Axes that the binding leaves open get their default lengths.
///
/// # Errors
/// What stands in the way.
pub fn import_embedded(
    file: &ModelFile,
    binding: &Binding,
    constants: &[InputFile],
) -> Result<Imported, Failure> {
    let model = file.model()?;
    let mut options = match file.cases.first() {
        Some(case) => file.options(&model, case),
        None => ImportOptions::default(),
    };
    let named = |role: Role| {
        let axes = model.axes();
        let mut of_role = axes.iter().filter(|axis| axis.role == role);
        of_role.any(|axis| binding.names.contains_key(&axis.name))
    };
    let default = options.binding;
    let pick = |given: Option<u64>, default: Option<u64>, role: Role| {
        given.or(if named(role) { None } else { default })
    };
    options.binding = Binding {
        names: binding.names.clone(),
        batch: binding.batch,
        seq: pick(binding.seq, default.seq, Role::Sequence),
        past: pick(binding.past, default.past, Role::Past),
        encoder: pick(binding.encoder, default.encoder, Role::Encoder),
        consts: binding.consts.clone(),
        random: binding.random,
    };
    // What the user says takes the place of the default.
    options
        .fixed
        .retain(|name, _| !binding.consts.contains_key(name));
    let fixed = constants::fixed(&model, &options.binding, constants)?;
    options.fixed.extend(fixed);
    let name = file.file.strip_suffix(".onnx").unwrap_or(file.file);
    import_model(&model, &options, name).map_err(|failure| failure.at(file.file))
}

/// The word for a phase, as in file names.
pub fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Encoder => "encoder",
        Phase::Classifier => "classifier",
        Phase::MaskedLm => "masked-lm",
        Phase::Prefill => "prefill",
        Phase::Decode => "decode",
        Phase::Decoder => "decoder",
        Phase::DecoderPast => "decoder-past",
    }
}

fn import_model(model: &Model, options: &ImportOptions, name: &str) -> Result<Imported, Failure> {
    let packwright_onnx::Imported {
        mut graph,
        warnings,
    } = packwright_onnx::import(model, options)?;
    if GENERIC_NAMES.contains(&graph.name.as_str()) {
        graph.name = name.to_owned();
    }
    Ok(Imported {
        graph,
        warnings: warnings.into_iter().map(Problem::from).collect(),
    })
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_models_have_three_names() {
        let by_model = embedded("t5-small").expect("is embedded");
        assert_eq!(by_model.phase, Phase::Encoder);
        let by_phase = embedded("T5-Small:decoder").expect("is embedded");
        assert_eq!(by_phase.phase, Phase::Decoder);
        let by_file = embedded(by_phase.file).expect("is embedded");
        assert_eq!(by_file.file, by_phase.file);
        assert_eq!(
            embedded("nonsense").expect_err("is not there").0[0].code,
            "zoo-unknown"
        );
    }
}
