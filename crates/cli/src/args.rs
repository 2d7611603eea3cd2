//! The command line: global options, groups of options that several subcommands share.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use packwright::compile::graph::compensate::{Clip, Rounding};
use packwright::compile::graph::observe::Observer;
use packwright::compile::graph::recipe::{BLOCK, Caches, Equalize, Weights};
use packwright::compile::options::PlanMode;
use packwright::compile::pipeline::Logits;
use packwright::constants::{Choice, InputFile};
use packwright::errors::Failure;
use packwright::model::{Binding, Given, Random};
use packwright::options::{self, Activations, CompileChoices, QuantizeChoices};
use packwright::target::Target;

use crate::cmd;

/// Compiles small language models for a packet NPU and says what they cost.
#[derive(Debug, Parser)]
#[command(
    name = "packwright",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
#[command(after_help = "\
Examples:
  packwright slms                             the table of all embedded models
  packwright estimate model.onnx --seq 128    cost of a model, weights not needed
  packwright compile model.onnx --seq 128 -o model.npu
  packwright simulate model.npu

Exit codes:
  0  done
  1  bad input
  2  bad usage
  3  a limit of this version")]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every subcommand.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// When to use colours; `auto` means on a terminal.
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Global options"
    )]
    pub color: Color,
    /// Print results and errors only.
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub quiet: bool,
    /// Threads to work with; results do not depend on it [default: one for each core].
    #[arg(short = 'j', long, global = true, value_name = "N", help_heading = "Global options",
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    Slms(cmd::slms::Slms),
    Estimate(cmd::estimate::Estimate),
    Plan(cmd::plan::Plan),
    Sweep(cmd::sweep::Sweep),
    Compile(cmd::compile::Compile),
    Quantize(cmd::quantize::Quantize),
    Evaluate(cmd::evaluate::Evaluate),
    Simulate(cmd::simulate::Simulate),
    Run(cmd::run::Run),
    Generate(cmd::generate::Generate),
    Inspect(cmd::inspect::Inspect),
    Compare(cmd::compare::Compare),
    Targets(cmd::targets::Targets),
    Opt(cmd::opt::Opt),
    Asm(cmd::asm::Asm),
    Dis(cmd::dis::Dis),
    Explain(cmd::explain::Explain),
    Completions(cmd::completions::Completions),
}

impl Command {
    /// Whether errors go to standard output as JSON.
    pub fn json(&self) -> bool {
        match self {
            Command::Slms(args) => args.json,
            Command::Estimate(args) => args.json,
            Command::Sweep(args) => args.json,
            Command::Compile(args) => args.json,
            Command::Quantize(args) => args.json,
            Command::Evaluate(args) => args.json,
            Command::Simulate(args) => args.json,
            Command::Run(args) => args.json,
            Command::Generate(args) => args.json,
            Command::Inspect(args) => args.json,
            Command::Compare(args) => args.json,
            Command::Targets(args) => args.json,
            Command::Explain(args) => args.json,
            Command::Plan(_)
            | Command::Opt(_)
            | Command::Asm(_)
            | Command::Dis(_)
            | Command::Completions(_) => false,
        }
    }
}

/// Which machine.
#[derive(Clone, Debug, Args)]
pub struct TargetArgs {
    /// A preset (`packwright targets` lists them) or a TOML file.
    #[arg(
        help_heading = "Target",
        short,
        long,
        value_name = "NAME|FILE",
        default_value = "e2"
    )]
    pub target: String,
    #[command(flatten)]
    pub overrides: OverrideArgs,
}

/// Changes to a machine.
#[derive(Clone, Debug, Default, Args)]
pub struct OverrideArgs {
    /// Override a number of the target, e.g. sram.bytes=4MiB; repeatable.
    #[arg(long = "set", value_name = "PATH=VALUE", help_heading = "Target")]
    pub set: Vec<String>,
}

impl TargetArgs {
    /// The machine that is meant.
    pub fn resolve(&self) -> Result<Target, Failure> {
        options::target(&self.target, &self.overrides.set)
    }
}

/// Lengths of axes.
#[derive(Clone, Debug, Default, Args)]
pub struct BindArgs {
    /// Positions of one pass, for every axis of that role.
    #[arg(help_heading = "Axes", long, value_name = "N")]
    pub seq: Option<u64>,
    /// Sequences of one pass [default: 1].
    #[arg(help_heading = "Axes", long, value_name = "N")]
    pub batch: Option<u64>,
    /// Positions that are cached already.
    #[arg(help_heading = "Axes", long, value_name = "N")]
    pub past: Option<u64>,
    /// Positions of the encoder that a decoder looks at.
    #[arg(help_heading = "Axes", long, value_name = "N")]
    pub encoder: Option<u64>,
    /// Length of an axis by the model's own name; repeatable or comma-separated.
    #[arg(help_heading = "Axes", long, value_name = "NAME=N", value_delimiter = ',', value_parser = axis_binding)]
    pub bind: Vec<(String, u64)>,
    /// An input that is a constant: NAME= a whole number, true, false, ones or zeros everywhere, `first` for
    /// 1 at the first place of each row, or an .npz file that holds it; repeatable.
    #[arg(help_heading = "Axes", long = "const", value_name = "NAME=VALUE", value_parser = constant)]
    pub constants: Vec<(String, Choice)>,
    /// What becomes of operators that draw random numbers: the seed to draw from, or `refuse` [default: 0].
    #[arg(help_heading = "Axes", long, value_name = "SEED|refuse", value_parser = random)]
    pub random: Option<Random>,
}

fn random(text: &str) -> Result<Random, String> {
    if text == "refuse" {
        return Ok(Random::Refuse);
    }
    let seed = text.parse().map(Random::Seed);
    seed.map_err(|_| format!("`{text}` is neither a seed nor `refuse`"))
}

fn constant(text: &str) -> Result<(String, Choice), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("a constant is given as NAME=VALUE")?;
    let choice = match value.trim() {
        "true" | "ones" => Choice::Given(Given::All(1)),
        "false" | "zeros" => Choice::Given(Given::All(0)),
        "first" => Choice::Given(Given::First),
        file if file.ends_with(".npz") => Choice::File(file.into()),
        number => Choice::Given(Given::All(number.parse().map_err(|_| {
            format!(
                "`{number}` is neither a whole number nor true, false, ones, zeros, first or an .npz file"
            )
        })?)),
    };
    Ok((name.trim().to_owned(), choice))
}

fn axis_binding(text: &str) -> Result<(String, u64), String> {
    let (name, length) = text
        .split_once('=')
        .ok_or("an axis is bound as NAME=LENGTH")?;
    let length = length
        .trim()
        .parse()
        .map_err(|_| format!("`{length}` is no length"))?;
    Ok((name.trim().to_owned(), length))
}

impl BindArgs {
    /// The binding for the front end.
    pub fn resolve(&self) -> Binding {
        Binding {
            names: self.bind.iter().cloned().collect(),
            batch: self.batch,
            seq: self.seq,
            past: self.past,
            encoder: self.encoder,
            consts: self.constants.iter().filter_map(given).collect(),
            random: self.random.unwrap_or_default(),
        }
    }

    /// The files of inputs that are constants.
    pub fn files(&self) -> Vec<InputFile> {
        self.constants.iter().filter_map(file).collect()
    }
}

fn given((name, choice): &(String, Choice)) -> Option<(String, Given)> {
    match choice {
        Choice::Given(given) => Some((name.clone(), *given)),
        Choice::File(_) => None,
    }
}

fn file((name, choice): &(String, Choice)) -> Option<InputFile> {
    match choice {
        Choice::Given(_) => None,
        Choice::File(path) => Some((name.clone(), path.clone())),
    }
}

/// How a model is quantised and planned.
#[derive(Clone, Debug, Default, Args)]
pub struct ChoiceArgs {
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// Most bytes of one weight tile [default: chosen from the SRAM size].
    #[arg(help_heading = "Compilation", long, value_name = "BYTES")]
    pub tile_bytes: Option<String>,
    /// What the plan is to be good at; the last two are baselines to compare with.
    #[arg(
        help_heading = "Compilation",
        long,
        value_name = "HOW",
        default_value = "best"
    )]
    pub plan: PlanArg,
    /// Of which positions logits are computed.
    #[arg(
        help_heading = "Compilation",
        long,
        value_name = "WHICH",
        default_value = "all"
    )]
    pub logits: LogitsArg,
}

/// What may stay in SRAM between operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PlanArg {
    /// Whatever moves few bytes, and does not take long for the last few of them.
    #[default]
    Best,
    /// Whatever moves the fewest bytes, however long it takes.
    Least,
    /// Whatever keeps the arrays busiest, if it moves more bytes too.
    Fast,
    /// Fused operators, with DRAM between them.
    FusedOps,
    /// Every operator through DRAM.
    LayerWise,
}

/// Of which positions logits are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogitsArg {
    /// Of all positions of a pass.
    #[default]
    All,
    /// Of one that the input `logits_position` names: enough to generate, and the head has one row.
    One,
}

/// How a model is quantised.
#[derive(Clone, Debug, Default, Args)]
pub struct RecipeArgs {
    /// How each layer is quantised, as `packwright quantize` writes it.
    #[arg(help_heading = "Quantisation", long, value_name = "FILE.toml")]
    pub recipe: Option<PathBuf>,
    /// Inputs to calibrate with, an .npz with a leading axis of samples: static scales follow from them,
    /// and weights are rounded for inputs like these.
    #[arg(help_heading = "Quantisation", long, value_name = "FILE.npz")]
    pub calibrate: Option<PathBuf>,
    /// Scales of activations: found for each row at run time, for eight bits, for sixteen, or for sixteen behind
    /// norms alone; or fixed by calibration.
    #[arg(
        help_heading = "Quantisation",
        long,
        value_name = "HOW",
        default_value = "row"
    )]
    pub activations: ActivationsArg,
    /// Most elements of a row that share a scale, for layers that the recipe does not name [default: 64].
    #[arg(help_heading = "Quantisation", long, value_name = "N",
          value_parser = clap::value_parser!(u32).range(16..=131072))]
    pub group: Option<u32>,
    /// Bits of weights, for layers that the recipe does not name [default: int8].
    #[arg(help_heading = "Quantisation", long, value_name = "TYPE")]
    pub weights: Option<WeightsArg>,
    /// Weights of a channel that share a step in int4 [default: 64].
    #[arg(
        help_heading = "Quantisation",
        long,
        value_name = "N",
        value_parser = ["32", "64", "128"]
    )]
    pub weight_group: Option<String>,
    /// Bits of the weights of products that give results of the model, a head over the vocabulary say
    /// [default: int8].
    #[arg(help_heading = "Quantisation", long, value_name = "TYPE")]
    pub head: Option<WeightsArg>,
    /// How caches keep keys and values: int8 with a scale a head and position, or f16 [default: int8].
    #[arg(help_heading = "Quantisation", long, value_name = "TYPE")]
    pub kv: Option<CachesArg>,
    /// How static scales are chosen.
    #[arg(
        help_heading = "Quantisation",
        long,
        value_name = "HOW",
        default_value = "min-max"
    )]
    pub observer: ObserverArg,
    /// Move magnitudes of channels into the weights that read them: of norms, or of products as well.
    #[arg(help_heading = "Quantisation", long, value_name = "REACH")]
    pub equalize: Option<EqualizeArg>,
    /// How scales of int8 weights are chosen: by the largest of a channel, or for the least square error.
    #[arg(
        help_heading = "Quantisation",
        long,
        value_name = "HOW",
        default_value = "largest"
    )]
    pub clip: ClipArg,
    /// Round each weight to its nearest value, whatever the samples say.
    #[arg(help_heading = "Quantisation", long)]
    pub nearest: bool,
    /// Take what rounded weights lose on average over the samples into biases.
    #[arg(help_heading = "Quantisation", long)]
    pub correct_bias: bool,
}

/// Which activations are equalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EqualizeArg {
    Norms,
    All,
}

/// How scales of int8 weights are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ClipArg {
    #[default]
    Largest,
    Mse,
}

/// Bits of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WeightsArg {
    Int8,
    Int4,
}

/// How caches keep keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CachesArg {
    Int8,
    F16,
}

/// Scales of activations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ActivationsArg {
    #[default]
    Row,
    Row16,
    Norms16,
    Static,
}

/// How static scales are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ObserverArg {
    #[default]
    MinMax,
    Percentile,
    Entropy,
    Mse,
}

impl RecipeArgs {
    /// The choices for the library.
    pub fn resolve(&self) -> QuantizeChoices {
        let group = self.weight_group.as_deref().and_then(|n| n.parse().ok());
        let weights = |arg: WeightsArg| match arg {
            WeightsArg::Int8 => Weights::Int8,
            WeightsArg::Int4 => Weights::Int4 {
                group: group.unwrap_or(BLOCK),
            },
        };
        QuantizeChoices {
            activations: match self.activations {
                ActivationsArg::Row => Activations::Row,
                ActivationsArg::Row16 => Activations::Row16,
                ActivationsArg::Norms16 => Activations::Norms16,
                ActivationsArg::Static => Activations::Static,
            },
            group: self.group.map(|group| group as usize),
            weights: self.weights.map(weights),
            head: self.head.map(weights),
            caches: self.kv.map(|kv| match kv {
                CachesArg::Int8 => Caches::Int8,
                CachesArg::F16 => Caches::F16,
            }),
            recipe: self.recipe.clone(),
            calibration: self.calibrate.clone(),
            observer: match self.observer {
                ObserverArg::MinMax => Observer::MinMax,
                ObserverArg::Percentile => Observer::Percentile,
                ObserverArg::Entropy => Observer::Entropy,
                ObserverArg::Mse => Observer::Mse,
            },
            rounding: Rounding {
                clip: match self.clip {
                    ClipArg::Largest => Clip::Largest,
                    ClipArg::Mse => Clip::Mse,
                },
                nearest: self.nearest,
                correct_bias: self.correct_bias,
            },
            equalize: self.equalize.map(|reach| match reach {
                EqualizeArg::Norms => Equalize::Norms,
                EqualizeArg::All => Equalize::All,
            }),
        }
    }
}

impl ChoiceArgs {
    /// The choices for the compiler.
    pub fn resolve(&self) -> Result<CompileChoices, Failure> {
        let tile_bytes = self
            .tile_bytes
            .as_deref()
            .map(options::byte_count)
            .transpose()?;
        Ok(CompileChoices {
            quantization: self.recipe.resolve(),
            tile_bytes,
            plan: match self.plan {
                PlanArg::Best => PlanMode::Best,
                PlanArg::Least => PlanMode::Least,
                PlanArg::Fast => PlanMode::Fast,
                PlanArg::FusedOps => PlanMode::FusedOps,
                PlanArg::LayerWise => PlanMode::LayerWise,
            },
            logits: match self.logits {
                LogitsArg::All => Logits::All,
                LogitsArg::One => Logits::One,
            },
        })
    }
}
