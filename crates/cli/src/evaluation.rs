//! The job of `evaluate`: floats, the quantised graph and the packets, side by side on samples.

use packwright_compile::compile::Compiled;
use packwright_compile::graph::samples::{Sample, Samples};
use packwright_compile::graph::sensitivity::{self, Distance};
use packwright_compile::pipeline;
use packwright_ir::Graph;
use packwright_ir::tensor::{Data, Tensor};
use packwright_packet::program::Entry;
use packwright_sim::func::Machine;

use crate::errors::{Failure, Problem};
use crate::{job, score};

/// What an evaluation found.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    pub distance: Distance,
    /// Samples whose packets gave the bits of the quantised graph.
    pub equal: usize,
    pub score: Option<Scored>,
}

/// A score of the task, in floats and quantised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    pub task: Task,
    pub floats: f64,
    pub quantized: f64,
}

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Similarity of sentences: the correlation of ranks of all pairs of samples with that of floats.
    Similarity,
    /// Prediction of the next token: perplexity.
    Perplexity,
}

/// Compares a compiled model with the floats of the graph that it was compiled from.
///
/// # Errors
/// When a sample cannot be evaluated, or the task does not fit the model.
pub fn evaluate(
    graph: &Graph,
    compiled: &Compiled,
    samples: &Samples,
    task: Option<Task>,
    done: &dyn Fn(),
) -> Result<Evaluation, Failure> {
    let mut meant = graph.clone();
    pipeline::fuse(&mut meant)?;
    let target = job::own_target(&compiled.program)?;
    let Some(entry) = compiled.program.entries.first() else {
        return Err(Problem::error("entry-unknown", "the program has no entry").into());
    };
    let mut machine = Machine::new(&compiled.program, &target)?;
    let mut evaluation = Evaluation::default();
    let mut tasks = task.map(|task| (task, Tally::default(), Tally::default()));
    let mut failure = None;
    evaluation.distance = sensitivity::distance(
        &meant,
        &compiled.graph,
        samples,
        &mut |sample, floats, found| {
            match packets(&mut machine, entry, sample) {
                Ok(bytes) => {
                    let same = found
                        .iter()
                        .zip(&bytes)
                        .all(|((_, a), b)| a.to_le_bytes() == *b);
                    evaluation.equal += usize::from(same);
                }
                Err(error) => failure = failure.take().or(Some(error)),
            }
            if let Some((task, of_floats, of_found)) = &mut tasks
                && let (Some((_, floats)), Some((_, found))) = (floats.first(), found.first())
            {
                of_floats.add(*task, sample, floats);
                of_found.add(*task, sample, found);
            }
            done();
        },
    )?;
    if let Some(failure) = failure {
        return Err(failure);
    }
    if let Some((task, floats, quantized)) = tasks {
        evaluation.score = Some(Scored {
            task,
            floats: floats.score(task, &floats)?,
            quantized: quantized.score(task, &floats)?,
        });
    }
    Ok(evaluation)
}

/// The bytes of all results of the packets.
fn packets(
    machine: &mut Machine<'_>,
    entry: &Entry,
    sample: &Sample,
) -> Result<Vec<Vec<u8>>, Failure> {
    let bytes: Vec<(&str, Vec<u8>)> = sample
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor.to_le_bytes()))
        .collect();
    let ports: Vec<(&str, &[u8])> = bytes.iter().map(|(n, b)| (*n, &b[..])).collect();
    let registers: Vec<u64> = entry.registers.iter().map(|r| r.max).collect();
    machine.clear_state();
    let outputs = machine.run(entry, &ports, &registers)?;
    Ok(outputs.into_iter().map(|output| output.bytes).collect())
}

/// What a task needs of each sample.
#[derive(Clone, Debug, Default)]
struct Tally {
    embeddings: Vec<Vec<f64>>,
    losses: Vec<f64>,
}

impl Tally {
    fn add(&mut self, task: Task, sample: &Sample, result: &Tensor) {
        let (Data::F32(values) | Data::F16(values)) = &result.data else {
            return;
        };
        let values: Vec<f32> = values.iter().copied().collect();
        let width = result.shape().last().copied().unwrap_or(1).max(1);
        let rows = values.len() / width;
        let mask = integers(sample, "attention_mask").filter(|mask| mask.len() == rows);
        let seen: Vec<bool> = match mask {
            Some(mask) => mask.iter().map(|&m| m != 0).collect(),
            None => vec![true; rows],
        };
        match task {
            Task::Similarity => self.embeddings.push(score::mean_row(&values, width, &seen)),
            Task::Perplexity => {
                if let Some(ids) = integers(sample, "input_ids") {
                    let known = seen.iter().filter(|&&seen| seen).count();
                    let ids = &ids[..known.min(ids.len())];
                    self.losses.extend(score::losses(&values, width, ids));
                }
            }
        }
    }

    fn score(&self, task: Task, floats: &Tally) -> Result<f64, Failure> {
        let missing = |what: &str| {
            let message = format!("the score needs {what}");
            Failure::from(Problem::error("score-impossible", message))
        };
        match task {
            Task::Similarity if self.embeddings.len() < 3 => Err(missing("three samples or more")),
            Task::Similarity => Ok(score::spearman(
                &self.similarities(),
                &floats.similarities(),
            )),
            Task::Perplexity if self.losses.is_empty() => Err(missing(
                "an input called input_ids and logits as the first result",
            )),
            Task::Perplexity => Ok(score::perplexity(&self.losses)),
        }
    }

    /// Cosines of all pairs of samples.
    fn similarities(&self) -> Vec<f64> {
        let pairs = self.embeddings.iter().enumerate().flat_map(|(i, a)| {
            self.embeddings[i + 1..]
                .iter()
                .map(move |b| score::cosine(a, b))
        });
        pairs.collect()
    }
}

/// The whole numbers of an input.
fn integers(sample: &Sample, name: &str) -> Option<Vec<i64>> {
    let (_, tensor) = sample.iter().find(|(own, _)| own == name)?;
    match &tensor.data {
        Data::I64(a) => Some(a.iter().copied().collect()),
        Data::I32(a) => Some(a.iter().map(|&x| i64::from(x)).collect()),
        _ => None,
    }
}
