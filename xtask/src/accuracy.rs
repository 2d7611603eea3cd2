//! Accuracy on reference data: packets against the quantised graph, to the bit, and both against f32.
//!
//! The folder holds `inputs.npz` (arrays with a leading axis of samples, `attention_mask` among them) and
//! `fp32.npz` with `embeddings`: for each sample the mean of the first result over attended positions.

use std::path::Path;

use anyhow::{Context, anyhow, ensure};
use packwright::arrays::{self, Array};
use packwright::feed;
use packwright::job;
use packwright::model::{self, Binding};
use packwright::options::{self, CompileChoices};
use packwright_ir::eval;
use packwright_ir::tensor::{Data, Tensor};

/// Compiles a model with its weights and compares its results with the reference.
pub fn run(model: &Path, reference: &Path, target: &str, seq: u64) -> anyhow::Result<()> {
    let target = options::target(target, &[]).map_err(complaint)?;
    let binding = Binding {
        seq: Some(seq),
        ..Binding::default()
    };
    let spec = model.display().to_string();
    let graph = model::import(&spec, &binding).map_err(complaint)?.graph;
    let mut compiled =
        job::compile(graph, &target, &CompileChoices::default()).map_err(complaint)?;
    let present = job::add_constants(&mut compiled).map_err(complaint)?;
    ensure!(present, "{spec} has no weights");

    let inputs = arrays::read(&reference.join("inputs.npz")).map_err(complaint)?;
    let expected = arrays::read(&reference.join("fp32.npz")).map_err(complaint)?;
    let samples = feed::tensors(&compiled.graph, &inputs).map_err(complaint)?;
    let Some(Array::F32(expected)) = expected.get("embeddings") else {
        return Err(anyhow!("fp32.npz has no embeddings in float32"));
    };
    let mut cosines = Vec::new();
    for (number, (sample, expected)) in samples.iter().zip(expected.outer_iter()).enumerate() {
        let meant = eval::run(&compiled.graph, sample)?;
        let found = packets(&compiled, &target, sample)?;
        let (_, tensor) = meant.first().context("the model has a result")?;
        ensure!(
            tensor.to_le_bytes() == found,
            "sample {number}: the packets compute other bits than the graph means"
        );
        let expected: Vec<f32> = expected.iter().copied().collect();
        cosines.push(cosine(&embedding(tensor, sample)?, &expected));
    }
    let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
    let worst = cosines.iter().copied().fold(f64::INFINITY, f64::min);
    println!(
        "{} samples: packets equal the quantised graph bit for bit",
        cosines.len()
    );
    println!("cosine to f32: mean {mean:.5}, worst {worst:.5}");
    Ok(())
}

fn complaint(failure: packwright::errors::Failure) -> anyhow::Error {
    anyhow!("{failure}")
}

/// The first result of the packets.
fn packets(
    compiled: &packwright_compile::compile::Compiled,
    target: &packwright_target::Target,
    sample: &[(String, Tensor)],
) -> anyhow::Result<Vec<u8>> {
    let bytes: Vec<(String, Vec<u8>)> = sample
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.to_le_bytes()))
        .collect();
    let ports: Vec<(&str, &[u8])> = bytes.iter().map(|(n, b)| (n.as_str(), &b[..])).collect();
    let entry = &compiled.program.entries[0];
    let outputs = packwright_sim::func::run(&compiled.program, entry, target, &ports, &[])?;
    Ok(outputs
        .into_iter()
        .next()
        .context("the program has an output")?
        .bytes)
}

/// The mean of the rows of attended positions.
fn embedding(hidden: &Tensor, sample: &[(String, Tensor)]) -> anyhow::Result<Vec<f32>> {
    let mask = sample.iter().find(|(name, _)| name == "attention_mask");
    let (
        Some((
            _,
            Tensor {
                data: Data::I64(mask),
                ..
            },
        )),
        Data::F32(hidden),
    ) = (mask, &hidden.data)
    else {
        return Err(anyhow!(
            "no attention_mask in int64, or no result in float32"
        ));
    };
    let width = hidden.shape().last().copied().unwrap_or(1);
    let rows: Vec<f32> = hidden.iter().copied().collect();
    let mut sum = vec![0.0f32; width];
    for (row, _) in rows
        .chunks_exact(width)
        .zip(mask)
        .filter(|(_, seen)| **seen != 0)
    {
        for (sum, x) in sum.iter_mut().zip(row) {
            *sum += x;
        }
    }
    Ok(sum)
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(&a, &b)| f64::from(a) * f64::from(b))
            .sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
