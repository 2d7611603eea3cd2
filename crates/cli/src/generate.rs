//! Greedy generation on the simulated machine: prefill, then a position a pass, with caches that last.
//!
//! A program that can generate has an entry whose caches grow at the register `pos`. Entries without it
//! take a prompt in one pass, each as many positions as it was compiled for: the shortest that holds a prompt takes
//! it. Where a prompt is longer, or there is no such entry, the rest of it goes through the other one position by
//! position. An entry called `encoder` runs before both; of its text the register `encoded` says how long it is.

use packwright_compile::graph::narrow_logits::LOGITS_POSITION;
use packwright_compile::plan::cache::{ENCODED, POSITION};
use packwright_packet::operand::Elem;
use packwright_packet::program::{Entry, Port, Program};
use packwright_sim::func::Machine;
use packwright_sim::func::machine::Output;
use packwright_target::Target;

use crate::errors::{Failure, Problem};

/// Name of the entry that runs before a decoder.
pub const ENCODER: &str = "encoder";

/// A machine in the middle of a text.
#[derive(Debug)]
pub struct Session<'p> {
    machine: Machine<'p>,
    /// Entries that take a prompt in one pass.
    prefills: Vec<&'p Entry>,
    encoder: Option<&'p Entry>,
    decode: &'p Entry,
    /// Rows that the caches hold.
    position: u64,
    /// Positions of the encoder's text.
    text: u64,
    /// What the encoder left for the others, by the name of their inputs.
    encoded: Vec<(String, Vec<u8>)>,
}

impl<'p> Session<'p> {
    /// A machine with empty caches.
    ///
    /// # Errors
    /// When the program has no entry whose caches grow.
    pub fn new(program: &'p Program, target: &Target) -> Result<Self, Failure> {
        let grows = |entry: &&Entry| entry.registers.iter().any(|r| r.name == POSITION);
        let decode = program.entries.iter().find(grows).ok_or_else(|| {
            Problem::error(
                "generate-no-decode",
                "no entry of the program has caches that grow at run time",
            )
            .help(
                "compile the model's export with pasts as inputs: \
                 packwright compile --entry prefill=a.onnx --entry decode=b.onnx",
            )
        })?;
        let encoder = program.entries.iter().find(|entry| entry.name == ENCODER);
        let prefills = program.entries.iter();
        let prefills = prefills.filter(|entry| !grows(entry) && takes_prompts(entry));
        Ok(Self {
            machine: Machine::new(program, target)?,
            prefills: prefills.collect(),
            encoder,
            decode,
            position: 0,
            text: 0,
            encoded: Vec::new(),
        })
    }

    /// Positions that the caches have room for.
    pub fn capacity(&self) -> u64 {
        capacity(self.decode)
    }

    /// Positions that the caches hold.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Begins a new text.
    pub fn clear(&mut self) {
        self.machine.clear_state();
        self.position = 0;
    }

    /// Runs the encoder over a text.
    ///
    /// # Errors
    /// When there is no encoder, or the text is too long for it.
    pub fn encode(&mut self, tokens: &[i64]) -> Result<(), Failure> {
        let Some(encoder) = self.encoder else {
            return Err(Problem::error("generate-no-encoder", "the program has no encoder").into());
        };
        let room = positions(encoder);
        if tokens.len() as u64 > room {
            return Err(too_long("text", tokens.len() as u64, room));
        }
        let found = run(&mut self.machine, encoder, tokens, 0, &[], &[])?;
        self.text = tokens.len() as u64;
        self.encoded = vec![(
            "encoder_attention_mask".to_owned(),
            integers(
                Elem::I64,
                (0..room).map(|i| i64::from(i < tokens.len() as u64)),
            ),
        )];
        if let Some(hidden) = found.into_iter().next() {
            self.encoded
                .push(("encoder_hidden_states".to_owned(), hidden.bytes));
        }
        Ok(())
    }

    /// Takes tokens and returns a row of logits for each position that the last pass computed: the last
    /// row belongs to the last token.
    ///
    /// # Errors
    /// When the caches have no room for them.
    pub fn feed(&mut self, tokens: &[i64]) -> Result<Vec<Vec<f32>>, Failure> {
        let end = self.position + tokens.len() as u64;
        if end > self.capacity() {
            return Err(too_long("text", end, self.capacity()));
        }
        let mut rest = tokens;
        let mut logits = Vec::new();
        let prefill = prefill_for(self.prefills.iter().copied(), tokens.len() as u64);
        if let Some(prefill) = prefill.filter(|_| self.position == 0) {
            let taken = rest.len().min(positions(prefill) as usize);
            let (now, later) = rest.split_at(taken);
            let found = run(&mut self.machine, prefill, now, 0, &[], &self.encoded)?;
            logits = rows_of_logits(prefill, &found, now.len())?;
            self.position = taken as u64;
            rest = later;
        }
        for token in rest {
            let registers = registers(self.decode, self.position, self.text);
            let one = std::slice::from_ref(token);
            let found = run(
                &mut self.machine,
                self.decode,
                one,
                self.position,
                &registers,
                &self.encoded,
            )?;
            logits = rows_of_logits(self.decode, &found, 1)?;
            self.position += 1;
        }
        Ok(logits)
    }
}

/// The tokens that follow a prompt, each the most likely one; `each` sees them as they come.
///
/// # Errors
/// When prompt and answer together are longer than the caches.
pub fn greedy(
    session: &mut Session<'_>,
    prompt: &[i64],
    most: usize,
    stop: &[i64],
    each: &mut dyn FnMut(i64),
) -> Result<Vec<i64>, Failure> {
    let needed = session.position() + (prompt.len() + most.saturating_sub(1)) as u64;
    if needed > session.capacity() {
        return Err(too_long(
            "prompt with its answer",
            needed,
            session.capacity(),
        ));
    }
    if prompt.is_empty() {
        return Err(Problem::error("prompt-empty", "the prompt holds no token").into());
    }
    let mut tokens = Vec::new();
    let mut next = prompt.to_vec();
    while tokens.len() < most {
        let logits = session.feed(&next)?;
        let Some(token) = logits.last().map(|row| largest(row)) else {
            break;
        };
        each(token);
        tokens.push(token);
        if stop.contains(&token) {
            break;
        }
        next = vec![token];
    }
    Ok(tokens)
}

/// Minus the log of the probability of each token but the first, given those before it.
///
/// # Errors
/// When the text is longer than the caches.
pub fn surprise(session: &mut Session<'_>, tokens: &[i64]) -> Result<Vec<f64>, Failure> {
    session.clear();
    let mut found: Vec<f64> = Vec::new();
    let mut at = 0;
    while at + 1 < tokens.len() {
        // The prompt's entry gives a row for each position, the other one at a time.
        let first = at == 0 && !session.prefills.is_empty();
        let rows = session.prefills.iter().map(|entry| positions(entry));
        let most = rows.max().unwrap_or(1) as usize;
        let end = if first {
            (tokens.len() - 1).min(most)
        } else {
            at + 1
        };
        let rows = session.feed(&tokens[at..end])?;
        // An entry that computes only the last row says nothing of the others.
        let skipped = (end - at).saturating_sub(rows.len());
        for (row, &token) in rows.iter().zip(&tokens[at + skipped + 1..]) {
            found.push(-log_probability(row, token));
        }
        at = end;
    }
    Ok(found)
}

/// The index of the largest number, the first where several are.
fn largest(row: &[f32]) -> i64 {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = index;
        }
    }
    best as i64
}

fn log_probability(row: &[f32], token: i64) -> f64 {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let most = f64::from(most);
    let sum: f64 = row.iter().map(|&x| (f64::from(x) - most).exp()).sum();
    let own = usize::try_from(token).ok().and_then(|at| row.get(at));
    own.map_or(f64::NEG_INFINITY, |&x| f64::from(x) - most - sum.ln())
}

fn too_long(what: &str, tokens: u64, room: u64) -> Failure {
    Problem::error(
        "generate-too-long",
        format!("the {what} takes {tokens} positions, the program has room for {room}"),
    )
    .help("compile with a larger --capacity, or ask for fewer tokens")
    .into()
}

/// Whether an entry takes a prompt and tells what follows: it does unless it is an encoder.
pub fn takes_prompts(entry: &Entry) -> bool {
    entry.name != ENCODER && logits_port(&entry.outputs).is_some()
}

/// The entry that takes a prompt in one pass: the shortest that holds it, or the longest, where it takes the beginning.
pub fn prefill_for<'p>(
    prefills: impl Iterator<Item = &'p Entry>,
    prompt: u64,
) -> Option<&'p Entry> {
    prefills.min_by_key(|entry| {
        let rows = positions(entry);
        let holds = rows >= prompt;
        (!holds, if holds { rows } else { u64::MAX - rows })
    })
}

/// Positions that the caches of an entry have room for.
pub fn capacity(entry: &Entry) -> u64 {
    let position = entry.registers.iter().find(|r| r.name == POSITION);
    position.map_or(0, |register| register.max) + 1
}

/// The registers of an entry behind `position` rows, for an encoder's text of some positions: all that it takes, where
/// there is none.
pub fn registers(entry: &Entry, position: u64, text: u64) -> Vec<u64> {
    let registers = entry.registers.iter();
    registers
        .map(|register| match register.name.as_str() {
            POSITION => position,
            ENCODED if text > 0 => text.min(register.max),
            _ => register.max,
        })
        .collect()
}

/// Positions of one pass of an entry.
pub fn positions(entry: &Entry) -> u64 {
    let ids = entry.inputs.iter().find(|port| is_ids(&port.name));
    ids.and_then(|port| port.shape.last().copied()).unwrap_or(1)
}

fn is_ids(name: &str) -> bool {
    name.ends_with("input_ids")
}

/// The output that holds a row of numbers for each token of the vocabulary.
fn logits_port(outputs: &[Port]) -> Option<&Port> {
    outputs.iter().find(|port| port.name == "logits")
}

/// Runs an entry on tokens from a position on; what is behind them is filled up and hidden.
fn run(
    machine: &mut Machine<'_>,
    entry: &Entry,
    tokens: &[i64],
    position: u64,
    registers: &[u64],
    more: &[(String, Vec<u8>)],
) -> Result<Vec<Output>, Failure> {
    let mut inputs: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut problems = Vec::new();
    for port in &entry.inputs {
        if let Some((_, bytes)) = more.iter().find(|(name, _)| *name == port.name) {
            inputs.push((&port.name, bytes.clone()));
            continue;
        }
        let count = port.shape.iter().product::<u64>();
        let seen = position + tokens.len() as u64;
        let name = port.name.as_str();
        let values: Option<Vec<i64>> = if is_ids(name) {
            let padded = tokens.iter().copied().chain(std::iter::repeat(0));
            Some(padded.take(count as usize).collect())
        } else if name.ends_with("attention_mask") {
            Some((0..count).map(|i| i64::from(i < seen)).collect())
        } else if name == LOGITS_POSITION {
            Some(vec![tokens.len() as i64 - 1])
        } else if name.ends_with("position_ids") {
            Some((0..count).map(|i| (position + i) as i64).collect())
        } else {
            None
        };
        match (values, port.elem) {
            (Some(values), Elem::I64 | Elem::I32 | Elem::F32) => {
                inputs.push((name, integers(port.elem, values)));
            }
            (_, elem) => problems.push(
                Problem::unsupported(
                    "generate-input",
                    format!("nothing is known to give to the input `{name}` of {elem}"),
                )
                .at(format!("entry {}", entry.name))
                .help("run the entry with `packwright run`"),
            ),
        }
    }
    if !problems.is_empty() {
        return Err(Failure(problems));
    }
    let ports: Vec<(&str, &[u8])> = inputs.iter().map(|(n, b)| (*n, b.as_slice())).collect();
    Ok(machine.run(entry, &ports, registers)?)
}

/// Whole numbers in an element type.
fn integers(elem: Elem, values: impl IntoIterator<Item = i64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in values {
        match elem {
            Elem::I64 => bytes.extend(value.to_le_bytes()),
            Elem::I32 => bytes.extend((value as i32).to_le_bytes()),
            Elem::F32 => bytes.extend((value as f32).to_le_bytes()),
            Elem::I8 | Elem::F16 => {}
        }
    }
    bytes
}

/// The rows of logits that belong to `count` tokens.
fn rows_of_logits(
    entry: &Entry,
    outputs: &[Output],
    count: usize,
) -> Result<Vec<Vec<f32>>, Failure> {
    let port = logits_port(&entry.outputs);
    let output = port.and_then(|port| outputs.iter().find(|o| o.name == port.name));
    let found = output.filter(|output| output.elem == Elem::F32);
    let Some(output) = found else {
        let message = format!("entry `{}` has no float32 output `logits`", entry.name);
        return Err(Problem::unsupported("generate-logits", message).into());
    };
    let width = output.shape.last().copied().unwrap_or(1).max(1) as usize;
    let rows = output.bytes.chunks_exact(width * 4).take(count);
    Ok(rows
        .map(|row| {
            let numbers = row.as_chunks::<4>().0.iter();
            numbers.map(|&word| f32::from_le_bytes(word)).collect()
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_numbers_is_the_largest() {
        assert_eq!(largest(&[0.5, 2.0, -1.0, 2.0]), 1);
        assert_eq!(largest(&[-3.0]), 0);
    }

    #[test]
    fn probabilities_add_up_to_one() {
        let row = [1.0, -2.0, 0.25];
        let sum: f64 = (0..3).map(|t| log_probability(&row, t).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-12, "{sum}");
        assert_eq!(log_probability(&row, 9), f64::NEG_INFINITY);
    }
}
