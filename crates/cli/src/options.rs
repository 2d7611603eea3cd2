//! Choices as people make them, turned into what the crates take.

use std::fs;
use std::path::{Path, PathBuf};

use packwright_compile::graph::calibrate::Calibration;
use packwright_compile::graph::compensate::Rounding;
use packwright_compile::graph::observe::Observer;
use packwright_compile::graph::recipe::{self, Caches, Equalize, Recipe, Weights};
use packwright_compile::options::{CompileOptions, PlanMode, PlanOptions};
use packwright_compile::pipeline::{GraphOptions, Logits};
use packwright_ir::Graph;
use packwright_target::{Target, config::TargetError, unit};

use crate::errors::{Failure, Problem};
use crate::{file, recipe as text, samples};

/// How a model is quantised and planned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CompileChoices {
    pub quantization: QuantizeChoices,
    /// Most bytes of one weight tile.
    pub tile_bytes: Option<u64>,
    /// What may stay in SRAM between operators.
    pub plan: PlanMode,
    /// Of which positions logits are computed.
    pub logits: Logits,
}

/// How a model is quantised.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QuantizeChoices {
    pub activations: Activations,
    /// Most elements of a row that share a scale.
    pub group: Option<usize>,
    /// How weights become integers, and those of products that give results.
    pub weights: Option<Weights>,
    pub head: Option<Weights>,
    /// How caches keep keys and values.
    pub caches: Option<Caches>,
    /// A file to start from.
    pub recipe: Option<PathBuf>,
    /// Inputs to calibrate with.
    pub calibration: Option<PathBuf>,
    /// How static scales are chosen.
    pub observer: Observer,
    /// How weights become integers.
    pub rounding: Rounding,
    /// Which activations have the magnitudes of their channels moved into weights.
    pub equalize: Option<Equalize>,
}

/// Scales of activations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activations {
    /// A scale for each row, found at run time.
    #[default]
    Row,
    /// Rows in sixteen bits, in two parts of eight.
    Row16,
    /// Sixteen bits behind norms alone, where outliers sit.
    Norms16,
    /// A scale for each tensor, fixed by calibration.
    Static,
}

impl QuantizeChoices {
    /// The recipe that is meant.
    ///
    /// # Errors
    /// When the file cannot be read, or says what makes no sense.
    pub fn recipe(&self) -> Result<Recipe, Failure> {
        let mut recipe = match &self.recipe {
            Some(path) => text::read(&file::read_text(path)?)
                .map_err(|failure| failure.at(&file::shown(path)))?,
            None => Recipe::default(),
        };
        match self.activations {
            Activations::Row => {}
            Activations::Row16 => recipe.default = recipe::Activations::WideRow,
            Activations::Norms16 => recipe.norms = Some(recipe::Activations::WideRow),
            Activations::Static => recipe.default = Recipe::fixed().default,
        }
        if let Some(group) = self.group {
            recipe.default = recipe::Activations::Row { group };
            recipe.hidden_group = group;
        }
        recipe.equalize = self.equalize.unwrap_or(recipe.equalize);
        recipe.weights = self.weights.unwrap_or(recipe.weights);
        recipe.head = self.head.unwrap_or(recipe.head);
        recipe.caches = self.caches.unwrap_or(recipe.caches);
        Ok(recipe)
    }

    /// The options of the graph passes.
    ///
    /// # Errors
    /// When the recipe cannot be read, or the samples do not fit the inputs.
    pub fn resolve(&self, graph: &Graph) -> Result<GraphOptions, Failure> {
        Ok(GraphOptions {
            recipe: self.recipe()?,
            calibration: self.calibration(graph)?,
            rounding: self.rounding,
            ..GraphOptions::default()
        })
    }

    /// The samples for a graph, if there are any.
    ///
    /// # Errors
    /// When they cannot be read, or do not fit the inputs.
    fn calibration(&self, graph: &Graph) -> Result<Option<Calibration>, Failure> {
        let Some(path) = &self.calibration else {
            return Ok(None);
        };
        Ok(Some(Calibration {
            samples: samples::open(graph, path)?,
            observer: self.observer,
        }))
    }
}

impl CompileChoices {
    /// The options of the compiler for a graph.
    ///
    /// # Errors
    /// When a choice is not possible, or the samples to calibrate with do not fit the inputs.
    pub fn resolve(&self, graph: &Graph) -> Result<CompileOptions, Failure> {
        Ok(CompileOptions {
            graph: GraphOptions {
                logits: self.logits,
                ..self.quantization.resolve(graph)?
            },
            plan: PlanOptions {
                tile_bytes: self.tile_bytes,
                mode: self.plan,
                ..PlanOptions::default()
            },
            between: packwright_onnx::let_go_of_pages,
        })
    }
}

/// A target by preset or TOML file, with overrides of its numbers.
///
/// # Errors
/// When there is none, or its numbers make no machine.
pub fn target(name: &str, overrides: &[String]) -> Result<Target, Failure> {
    let path = Path::new(name);
    let is_file =
        path.extension().is_some() || fs::metadata(path).is_ok_and(|facts| facts.is_file());
    let target = if is_file && !Target::preset_names().contains(&name) {
        Target::from_toml(&file::read_text(path)?).map_err(|error| failure(&error).at(name))?
    } else {
        Target::preset(name).map_err(|error| failure(&error))?
    };
    adjust(target, overrides)
}

/// A target with overrides of its numbers, checked.
///
/// # Errors
/// When an override names no number, or the numbers make no machine.
pub fn adjust(mut target: Target, overrides: &[String]) -> Result<Target, Failure> {
    let mut problems = Vec::new();
    for setting in overrides {
        if let Err(error) = target.set(setting) {
            problems.extend(failure(&error).0);
        }
    }
    problems.extend(target.problems().iter().flat_map(|error| failure(error).0));
    if problems.is_empty() {
        Ok(target)
    } else {
        Err(Failure(problems))
    }
}

/// A size as people write it: `64KiB`, `1.5MiB`, `4096`.
///
/// # Errors
/// When it is none.
pub fn byte_count(text: &str) -> Result<u64, Failure> {
    let bytes = unit::parse_quantity(text).filter(|n| n.fract() == 0.0 && *n >= 1.0 && *n < 1e15);
    bytes.map(|bytes| bytes as u64).ok_or_else(|| {
        Problem::error("size-unreadable", format!("`{text}` is no size in bytes"))
            .help("write a whole number of bytes, or one with a unit: 64KiB, 1.5MiB")
            .into()
    })
}

fn failure(error: &TargetError) -> Failure {
    let problem = Problem::error(error.code(), error.to_string());
    let help = match error {
        TargetError::Unknown { .. } => "name a preset or a TOML file",
        TargetError::Syntax { .. } => {
            "`packwright targets e2` prints a complete file to start from"
        }
        TargetError::Setting { .. } => "write e.g. --set sram.bytes=4MiB",
        TargetError::Invalid { .. } => "choose another value",
    };
    problem.help(help).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_number_is_named() {
        let settings = [
            "sram.size=1".to_owned(),
            "cores=0".to_owned(),
            "sram.alignment=3".to_owned(),
        ];
        let failure = target("e2", &settings).expect_err("is no machine");
        let codes: Vec<_> = failure.0.iter().map(|problem| problem.code).collect();
        assert_eq!(
            codes,
            ["target-setting", "target-invalid", "target-invalid"]
        );
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(byte_count("1.5MiB"), Ok(1_572_864));
        assert_eq!(
            byte_count("many").expect_err("is no size").0[0].code,
            "size-unreadable"
        );
    }
}
