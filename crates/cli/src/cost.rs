//! What generation costs: the time to the first token, then each token by the rows in the caches.
//!
//! The entries of a program are simulated, not run: a prefill for the prompt, and the entry whose caches
//! grow at some positions. Between two of them costs are taken to be straight lines: traffic is one
//! exactly, time nearly.

use packwright_compile::plan::cache::POSITION;
use packwright_packet::defs::Command;
use packwright_packet::program::{Entry, Program};
use packwright_sim::Options;
use packwright_target::Target;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::errors::{Failure, Problem};
use crate::generate::{self, ENCODER};
use crate::report::build;
use crate::report::json::{DramBytes, EntryReport};

/// Schema of [`GenerationReport`].
pub const GENERATION_SCHEMA: &str = "packwright.generation/1";

/// A prompt and the tokens that follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    pub prompt: u64,
    pub new: u64,
}

impl std::str::FromStr for Length {
    type Err = String;

    /// Reads `128+32`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('+');
        let parsed = parts.and_then(|(prompt, new)| {
            Some((prompt.trim().parse().ok()?, new.trim().parse().ok()?))
        });
        match parsed {
            Some((prompt, new)) if prompt > 0 && new > 0 => Ok(Self { prompt, new }),
            _ => Err(format!("`{text}` is not PROMPT+NEW, two numbers above 0")),
        }
    }
}

/// What a text costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GenerationReport {
    pub schema: String,
    pub model: String,
    pub target: String,
    pub precision: String,
    pub prompt: u64,
    pub new_tokens: u64,
    /// Positions that the caches have room for.
    pub capacity: u64,
    /// How the prompt goes through the machine: in one pass, or position by position.
    pub prefill: String,
    /// From the prompt to the first token.
    pub first_token_seconds: f64,
    pub first_token_joules: f64,
    /// Over all new tokens but the first.
    pub tokens_per_second: f64,
    pub joules_per_token: f64,
    pub total_seconds: f64,
    pub total_joules: f64,
    /// A token in the middle of the answer.
    pub token: TokenCost,
    /// Tokens by the rows that the caches hold.
    pub curve: Vec<TokenCost>,
}

/// What one token costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenCost {
    /// Rows in the caches with the token's own.
    pub context: u64,
    pub seconds: f64,
    pub tokens_per_second: f64,
    pub joules: f64,
    pub dram_bytes: DramBytes,
    /// The part of the weights that the output head reads.
    pub head_bytes: u64,
    /// Bytes of weights, caches read once and rows written once: what no schedule can do without.
    pub least_dram_bytes: u64,
    /// Seconds over the time that the bytes take at the bandwidth that can be sustained.
    pub over_bandwidth: f64,
}

/// Simulates a text on a program.
///
/// # Errors
/// When the program has no entry whose caches grow, or the text is longer than they are.
pub fn cost(
    program: &Program,
    target: &Target,
    length: Length,
    points: usize,
) -> Result<GenerationReport, Failure> {
    let decode = growing(program)?;
    let most = generate::capacity(decode) - 1;
    let start = first_position(program, length);
    let needed = start + length.new - 1;
    if needed > most + 1 {
        let Length { prompt, new } = length;
        let message = format!(
            "{prompt} + {new} tokens need {needed} positions, the program has room for {}",
            most + 1
        );
        return Err(Problem::error("generate-too-long", message)
            .help("compile with a larger --capacity")
            .into());
    }
    let mut positions = samples(most, points);
    positions.extend(ends(start, length).map(|p| p.min(most)));
    positions.sort_unstable();
    positions.dedup();
    let curve = positions.par_iter().map(|&position| {
        let registers = generate::registers(decode, position, length.prompt);
        token(program, decode, target, &registers, position)
    });
    let curve = curve.collect::<Result<_, Failure>>()?;
    assemble(program, decode, target, length, most + 1, curve)
}

/// The positions between which the tokens behind the first lie, and one in the middle.
fn ends(start: u64, length: Length) -> [u64; 3] {
    let last = start + length.new.saturating_sub(2);
    [start, (start + last) / 2, last]
}

/// The position of the first token that is made with caches: behind an encoder, a decoder begins anew.
fn first_position(program: &Program, length: Length) -> u64 {
    let encoder = program.entries.iter().any(|entry| entry.name == ENCODER);
    if encoder { 1 } else { length.prompt }
}

/// Adds passes and tokens up.
fn assemble(
    program: &Program,
    decode: &Entry,
    target: &Target,
    length: Length,
    capacity: u64,
    curve: Vec<TokenCost>,
) -> Result<GenerationReport, Failure> {
    let start = first_position(program, length);
    let span = |from: u64, to: u64, of: fn(&TokenCost) -> f64| -> f64 {
        (from..to)
            .map(|position| between(&curve, position + 1, of))
            .sum()
    };
    let others = || program.entries.iter().filter(|e| e.name != decode.name);
    let encodes = others().any(|entry| entry.name == ENCODER);
    // Behind an encoder, a decoder begins with one position.
    let prompt = if encodes { 1 } else { length.prompt };
    let prefills = others().filter(|entry| generate::takes_prompts(entry));
    let prefill = generate::prefill_for(prefills, prompt);
    let taken = prefill.map_or(0, |entry| generate::positions(entry).min(prompt));
    let (mut first_seconds, mut first_joules) = (0.0, 0.0);
    let passes = others().filter(|entry| !generate::takes_prompts(entry));
    for entry in passes.chain(prefill) {
        let options = Options {
            registers: entry.registers.iter().map(|r| r.max).collect(),
            ..Options::default()
        };
        let pass = build::entry(program, entry, target, &options)?;
        first_seconds += pass.seconds;
        first_joules += pass.energy_joules;
    }
    first_seconds += span(taken, prompt, |t| t.seconds);
    first_joules += span(taken, prompt, |t| t.joules);
    let steps = length.new - 1;
    let seconds = span(start, start + steps, |t| t.seconds);
    let joules = span(start, start + steps, |t| t.joules);
    let middle = ends(start, length)[1] + 1;
    let token = curve.iter().find(|t| t.context >= middle).or(curve.last());
    Ok(GenerationReport {
        schema: GENERATION_SCHEMA.into(),
        model: program.model.clone(),
        target: target.name.clone(),
        precision: program.precision.clone(),
        prompt: length.prompt,
        new_tokens: length.new,
        capacity,
        prefill: match taken {
            0 => "position by position".to_owned(),
            _ if taken < prompt => format!("{taken} positions in one pass, then one by one"),
            _ => "one pass".to_owned(),
        },
        first_token_seconds: first_seconds,
        first_token_joules: first_joules,
        tokens_per_second: if steps > 0 {
            steps as f64 / seconds
        } else {
            0.0
        },
        joules_per_token: if steps > 0 {
            joules / steps as f64
        } else {
            0.0
        },
        total_seconds: first_seconds + seconds,
        total_joules: first_joules + joules,
        token: token.cloned().unwrap_or_default(),
        curve,
    })
}

fn grows(entry: &Entry) -> bool {
    entry.registers.iter().any(|r| r.name == POSITION)
}

/// The entry whose caches grow.
///
/// # Errors
/// When there is none.
fn growing(program: &Program) -> Result<&Entry, Failure> {
    program
        .entries
        .iter()
        .find(|e| grows(e))
        .ok_or_else(no_decode)
}

fn no_decode() -> Failure {
    Problem::error(
        "generate-no-decode",
        "no entry of the program has caches that grow at run time",
    )
    .help("compile an export that has pasts as inputs")
    .into()
}

/// Positions from the first to the last: doubling, so that short texts are seen as well as long ones.
fn samples(most: u64, points: usize) -> Vec<u64> {
    let mut list = vec![0, most];
    let mut position = most;
    while list.len() < points.max(2) && position > 1 {
        position /= 2;
        list.push(position);
    }
    list
}

fn token(
    program: &Program,
    decode: &Entry,
    target: &Target,
    registers: &[u64],
    position: u64,
) -> Result<TokenCost, Failure> {
    let options = Options {
        registers: registers.to_vec(),
        ..Options::default()
    };
    let report = build::entry(program, decode, target, &options)?;
    let bytes = report.dram_bytes;
    Ok(TokenCost {
        context: position + 1,
        seconds: report.seconds,
        tokens_per_second: 1.0 / report.seconds,
        joules: report.energy_joules,
        dram_bytes: bytes,
        head_bytes: head_bytes(program, decode, &report),
        least_dram_bytes: bytes.weights + bytes.kv_read + bytes.kv_write,
        over_bandwidth: report.seconds * target.sustained_bytes_per_second() / bytes.total as f64,
    })
}

/// Weights that the last product reads: the head.
fn head_bytes(program: &Program, entry: &Entry, report: &EntryReport) -> u64 {
    let product = |packet: &&packwright_packet::packet::Packet| {
        let mut commands = packet.commands.iter();
        commands.any(|command| matches!(command, Command::Matmul(_)))
    };
    let last = entry.packets.iter().rfind(product);
    let origin = last.and_then(|packet| program.origins.get(packet.origin.0 as usize));
    let layer = origin.and_then(|origin| {
        let own = |l: &&crate::report::json::LayerReport| {
            l.layer == origin.layer && l.what == origin.what
        };
        report.layers.iter().find(own)
    });
    layer.map_or(0, |layer| {
        layer.dram_bytes.weights + layer.dram_bytes.embeddings
    })
}

/// A figure between two points of the curve.
fn between(curve: &[TokenCost], context: u64, of: fn(&TokenCost) -> f64) -> f64 {
    let at = curve.partition_point(|token| token.context < context);
    match (at.checked_sub(1).and_then(|i| curve.get(i)), curve.get(at)) {
        (Some(a), Some(b)) => {
            let share = (context - a.context) as f64 / (b.context - a.context) as f64;
            of(a) + share * (of(b) - of(a))
        }
        (None, Some(only)) | (Some(only), None) => of(only),
        (None, None) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_between_points_lie_on_a_line() {
        let point = |context, seconds| TokenCost {
            context,
            seconds,
            ..TokenCost::default()
        };
        let curve = [point(1, 1.0), point(5, 3.0)];
        let at = |context| between(&curve, context, |t| t.seconds);
        assert_eq!([at(1), at(3), at(5), at(9)], [1.0, 2.0, 3.0, 3.0]);
    }

    #[test]
    fn a_length_is_two_numbers() {
        assert_eq!(
            "128+32".parse(),
            Ok(Length {
                prompt: 128,
                new: 32
            })
        );
        assert!("128".parse::<Length>().is_err());
        assert!("0+4".parse::<Length>().is_err());
    }

    #[test]
    fn samples_reach_from_the_first_to_the_last() {
        let mut list = samples(1023, 6);
        list.sort_unstable();
        assert_eq!(list, [0, 63, 127, 255, 511, 1023]);
    }
}
