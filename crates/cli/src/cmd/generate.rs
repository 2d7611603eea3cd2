//! `generate`: text from a program, token by token, or what that costs.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use packwright::arrays::{self, Array};
use packwright::cost::{self, Length};
use packwright::errors::{Failure, Problem};
use packwright::generate::{self, Session};
use packwright::packet::program::{Constants, Program};
use packwright::target::Target;
use packwright::tokenizer::Tokenizer;
use packwright::{file, job, options};
use serde::Serialize;

use crate::args::OverrideArgs;
use crate::output::{self, Output};
use crate::render::{generation, unit};

/// Generate tokens on the simulated machine, or say what that costs.
#[derive(Debug, Args)]
#[command(after_help = "\
Tokens are numbers, or text with the model's tokenizer; each new one is the most likely one. The
program has an entry whose caches grow (`compile --entry prefill=a.onnx --entry decode=b.onnx`).

Examples:
  packwright generate lm.npu --prompt-ids 1,504,2 --max-new 32
  packwright generate lm.npu --tokenizer tokenizer.json --prompt Hello
  packwright generate lm.npu --score text.npz        how surprised the model is, as perplexity
  packwright generate lm.npu --cost 128+128          time, traffic and energy; needs no weights")]
pub struct Generate {
    /// The program.
    #[arg(value_name = "FILE.npu")]
    pub program: PathBuf,
    /// Tokens to begin with.
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    pub prompt_ids: Vec<i64>,
    /// The model's tokenizer.json, to take and print text.
    #[arg(long, value_name = "FILE.json")]
    pub tokenizer: Option<PathBuf>,
    /// Text to begin with.
    #[arg(
        long,
        value_name = "TEXT",
        requires = "tokenizer",
        conflicts_with = "prompt_ids"
    )]
    pub prompt: Option<String>,
    /// The encoder's text, for programs that have an encoder.
    #[arg(
        long,
        value_name = "TEXT",
        requires = "tokenizer",
        conflicts_with = "encoder_ids"
    )]
    pub encoder_text: Option<String>,
    /// Tokens of the encoder's text, for programs that have an encoder.
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    pub encoder_ids: Vec<i64>,
    /// Most tokens to generate.
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub max_new: usize,
    /// Tokens that end the text.
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    pub stop: Vec<i64>,
    /// Texts to score instead: `ids`, and `offsets` where each text begins.
    #[arg(long, value_name = "IDS.npz", conflicts_with_all = ["prompt_ids", "cost"])]
    pub score: Option<PathBuf>,
    /// What to print beside the score: the log of the probability of each token but the first, as
    /// `logprob`, by another implementation.
    #[arg(long, value_name = "LOGPROB.npz", requires = "score")]
    pub reference: Option<PathBuf>,
    /// Simulate a prompt and an answer of these lengths instead of running them.
    #[arg(long, value_name = "PROMPT+NEW", conflicts_with_all = ["prompt_ids", "score"])]
    pub cost: Option<Length>,
    /// Another machine than the one that the program was compiled for: a preset or a TOML file.
    #[arg(short, long, value_name = "NAME|FILE", help_heading = "Target")]
    pub target: Option<String>,
    #[command(flatten)]
    pub overrides: OverrideArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Generated {
    schema: &'static str,
    prompt: Vec<i64>,
    tokens: Vec<i64>,
    /// With a tokenizer.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Seconds of this computer, not of the machine.
    first_token_seconds: f64,
    tokens_per_second: f64,
}

#[derive(Serialize)]
struct Scored {
    schema: &'static str,
    texts: usize,
    tokens: usize,
    perplexity: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference_perplexity: Option<f64>,
}

/// Points of the curve of costs.
const CURVE: usize = 12;

/// Generates, scores or simulates.
pub fn run(args: &Generate, output: &Output) -> Result<(), Failure> {
    let place = file::shown(&args.program);
    let program = job::load(file::read(&args.program)?, &place)?;
    let target = match &args.target {
        Some(name) => options::target(name, &args.overrides.set)?,
        None => options::adjust(job::own_target(&program)?, &args.overrides.set)?,
    };
    job::judge(&program, &target)?;
    if let Some(length) = args.cost {
        let report = cost::cost(&program, &target, length, CURVE)?;
        return match args.json {
            true => output::print_json(&report),
            false => output::print(&generation::draw(&report, output.width())),
        };
    }
    if matches!(program.constants, Constants::Absent { bytes } if bytes > 0) {
        let problem = Problem::error("weights-absent", "the program holds no weights");
        let help = "compile a model that has its weights, without --no-weights";
        return Err(problem.help(help).at(place).into());
    }
    match &args.score {
        Some(path) => score(args, &program, &target, path),
        None => text(args, &program, &target, output),
    }
}

fn text(
    args: &Generate,
    program: &Program,
    target: &Target,
    output: &Output,
) -> Result<(), Failure> {
    let mut session = Session::new(program, target)?;
    let tokenizer = args.tokenizer.as_deref().map(Tokenizer::read).transpose()?;
    let tokens = |text: &Option<String>, ids: &[i64]| match (text, &tokenizer) {
        (Some(text), Some(tokenizer)) => tokenizer.encode(text),
        _ => Ok(ids.to_vec()),
    };
    let prompt = tokens(&args.prompt, &args.prompt_ids)?;
    let encoded = tokens(&args.encoder_text, &args.encoder_ids)?;
    let start = Instant::now();
    if !encoded.is_empty() {
        session.encode(&encoded)?;
    }
    let mut times = Vec::new();
    let mut each = |token: i64| {
        times.push(start.elapsed().as_secs_f64());
        if !args.json && tokenizer.is_none() {
            output.note(&token.to_string());
        }
    };
    let tokens = generate::greedy(&mut session, &prompt, args.max_new, &args.stop, &mut each)?;
    let first = times.first().copied().unwrap_or(0.0);
    let last = times.last().copied().unwrap_or(0.0);
    let rate = match times.len() {
        0 | 1 => 0.0,
        n => (n - 1) as f64 / (last - first).max(1e-9),
    };
    let generated = Generated {
        schema: "packwright.generate/1",
        prompt,
        text: tokenizer
            .map(|tokenizer| tokenizer.decode(&tokens))
            .transpose()?,
        tokens,
        first_token_seconds: first,
        tokens_per_second: rate,
    };
    if args.json {
        return output::print_json(&generated);
    }
    let list: Vec<String> = generated.tokens.iter().map(i64::to_string).collect();
    output.note(&format!(
        "first token after {}, then {} tokens/s on this computer",
        unit::seconds(first),
        unit::digits(rate),
    ));
    match &generated.text {
        Some(text) => output::print(&format!("{text}\n")),
        None => output::print(&format!("{}\n", list.join(","))),
    }
}

fn score(
    args: &Generate,
    program: &Program,
    target: &Target,
    path: &std::path::Path,
) -> Result<(), Failure> {
    let texts = texts(path).map_err(|failure| failure.at(&file::shown(path)))?;
    let mut session = Session::new(program, target)?;
    let mut surprise = Vec::new();
    for text in &texts {
        surprise.extend(generate::surprise(&mut session, text)?);
    }
    let mean = surprise.iter().sum::<f64>() / surprise.len().max(1) as f64;
    let scored = Scored {
        schema: "packwright.score/1",
        texts: texts.len(),
        tokens: surprise.len(),
        perplexity: mean.exp(),
        reference_perplexity: args.reference.as_deref().map(reference).transpose()?,
    };
    if args.json {
        return output::print_json(&scored);
    }
    let beside = scored
        .reference_perplexity
        .map_or_else(String::new, |other| {
            let more = 100.0 * (scored.perplexity / other - 1.0);
            format!("; the reference has {other:.3} ({more:+.2} %)")
        });
    output::print(&format!(
        "perplexity {:.3} over {} tokens of {} texts{beside}\n",
        scored.perplexity, scored.tokens, scored.texts
    ))
}

/// The perplexity of log-probabilities that another implementation gave.
fn reference(path: &std::path::Path) -> Result<f64, Failure> {
    let arrays = arrays::read(path)?;
    let numbers: Vec<f64> = match arrays.get("logprob") {
        Some(Array::F32(a)) => a.iter().map(|&x| f64::from(x)).collect(),
        Some(Array::F64(a)) => a.iter().copied().collect(),
        _ => {
            return Err(
                Problem::error("score-ids", "the file holds no array `logprob` of floats")
                    .at(file::shown(path))
                    .into(),
            );
        }
    };
    let mean = numbers.iter().sum::<f64>() / numbers.len().max(1) as f64;
    Ok((-mean).exp())
}

/// The texts of a file.
fn texts(path: &std::path::Path) -> Result<Vec<Vec<i64>>, Failure> {
    let arrays = arrays::read(path)?;
    let whole = |name: &str| match arrays.get(name) {
        Some(Array::I64(a)) => Some(a.iter().copied().collect::<Vec<i64>>()),
        Some(Array::I32(a)) => Some(a.iter().map(|&n| i64::from(n)).collect()),
        _ => None,
    };
    let Some(ids) = whole("ids") else {
        return Err(
            Problem::error("score-ids", "the file holds no array `ids` of integers").into(),
        );
    };
    let mut starts: Vec<usize> = whole("offsets")
        .unwrap_or_default()
        .into_iter()
        .map(|n| usize::try_from(n).unwrap_or(0).min(ids.len()))
        .collect();
    starts.extend([0, ids.len()]);
    starts.sort_unstable();
    starts.dedup();
    Ok(starts
        .windows(2)
        .map(|ends| ids[ends[0]..ends[1]].to_vec())
        .collect())
}
