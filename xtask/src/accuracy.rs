//! Accuracy of models with real weights: what packets compute, against floats.
//!
//! MiniLM: embeddings of 32 sentences (mean of attended rows) against those of a float run of ONNX Runtime,
//! and the similarity of 100 graded pairs. SmolLM2: perplexity of a text. Token ids and float embeddings are
//! kept in `xtask/data`; the models are fetched ([`fetch`]).

mod fetch;

pub use fetch::cache_folder;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow, ensure};
use indexmap::IndexMap;
use packwright::arrays::{self, Array};
use packwright::compile::compile::{Compiled, compile, with_constants};
use packwright::compile::graph::calibrate::Calibration;
use packwright::compile::graph::compensate::{Clip, Rounding};
use packwright::compile::graph::observe::Observer;
use packwright::compile::graph::recipe::{self, Activations, Equalize, Recipe, Weights};
use packwright::compile::graph::samples::Sample;
use packwright::compile::options::CompileOptions;
use packwright::compile::pipeline::{self, GraphOptions};
use packwright::feed::{self, FeedOptions};
use packwright::ir::eval;
use packwright::ir::tensor::{Data, Tensor};
use packwright::model::{self, Binding};
use packwright::{options, score};

use crate::root;
use fetch::Missing;

/// Positions of a sentence.
const SENTENCE: u64 = 128;
/// Sentences of the pairs that weights are rounded for and scales are measured on.
const CALIBRATION: usize = 32;

/// Fetches the models, runs them and prints the figures, of the ways with a text in their names; `write` keeps them in `docs/accuracy.md`.
///
/// # Errors
/// When a model cannot be fetched, or a figure is worse than what this version reaches.
pub fn run(folder: &Path, only: &str, write: bool, skip_missing: bool) -> anyhow::Result<()> {
    let fetched = fetch::model(&fetch::MINILM, folder)
        .and_then(|small| Ok((small, fetch::model(&fetch::SMOLLM2, folder)?)));
    let (small, large) = match fetched {
        Err(error) if skip_missing && error.downcast_ref::<Missing>().is_some() => {
            eprintln!("accuracy: skipped, the models are not there: {error:#}");
            return Ok(());
        }
        Err(error) => {
            let help = "the models are not there; --skip-missing goes on without";
            return Err(error.context(help));
        }
        Ok(paths) => paths,
    };
    let mut page = String::from(PREFACE);
    minilm(&small, only, &mut page)?;
    smollm2(&large, only, &mut page)?;
    print!("{page}");
    if write {
        fs::write(root().join("docs/accuracy.md"), page)?;
    }
    Ok(())
}

const PREFACE: &str = "\
# Accuracy

Written by `cargo xtask accuracy --write`, which fetches both models, compiles them and runs the packets. The
figures of ONNX Runtime 1.23.2 were measured on the same files and inputs.
";

/// One way to quantise, and the least that it has to reach.
struct Way {
    name: &'static str,
    recipe: Recipe,
    rounding: Rounding,
    /// Whether there are samples to calibrate with.
    samples: bool,
    /// For MiniLM the least mean and worst cosine; without them it is not measured.
    cosines: Option<[f64; 2]>,
    /// For SmolLM2 the most that perplexity may be above floats; without it it is not measured.
    loss: Option<f64>,
}

fn way(name: &'static str, recipe: Recipe) -> Way {
    Way {
        name,
        recipe,
        rounding: Rounding::default(),
        samples: false,
        cosines: None,
        loss: None,
    }
}

impl Way {
    fn rounding(self, rounding: Rounding) -> Self {
        Self { rounding, ..self }
    }

    fn samples(self) -> Self {
        Self {
            samples: true,
            ..self
        }
    }

    fn cosines(self, mean: f64, worst: f64) -> Self {
        Self {
            cosines: Some([mean, worst]),
            ..self
        }
    }

    fn loss(self, most: f64) -> Self {
        Self {
            loss: Some(most),
            ..self
        }
    }

    fn options(&self, samples: &[Sample]) -> GraphOptions {
        GraphOptions {
            recipe: self.recipe.clone(),
            calibration: self.samples.then(|| Calibration {
                samples: samples.to_vec().into(),
                observer: Observer::MinMax,
            }),
            rounding: self.rounding,
            ..GraphOptions::default()
        }
    }
}

/// All ways, in the order of the page.
fn ways() -> Vec<Way> {
    let norms_equalised = Recipe {
        equalize: Equalize::Norms,
        ..behind_norms()
    };
    vec![
        way("eight bits (default)", Recipe::default())
            .cosines(0.9985, 0.99)
            .loss(0.025),
        way(
            "eight bits, scales of weights for least error",
            Recipe::default(),
        )
        .rounding(CLIPPED)
        .cosines(0.9985, 0.99)
        .loss(0.03),
        way("eight bits, biases corrected", Recipe::default())
            .rounding(CORRECTED)
            .samples()
            .cosines(0.9985, 0.99),
        way("eight bits, samples", Recipe::default())
            .samples()
            .cosines(0.999, 0.993)
            .loss(0.03),
        way(
            "eight bits, samples, norms equalised",
            equalized(Equalize::Norms),
        )
        .samples()
        .cosines(0.999, 0.993)
        .loss(0.03),
        way(
            "eight bits, samples, all equalised",
            equalized(Equalize::All),
        )
        .samples()
        .cosines(0.999, 0.993)
        .loss(0.03),
        way("sixteen bits behind norms", behind_norms()).loss(0.015),
        way("sixteen bits behind norms, samples", behind_norms())
            .samples()
            .cosines(0.999, 0.996)
            .loss(0.02),
        way(
            "sixteen bits behind norms, samples, norms equalised",
            norms_equalised,
        )
        .samples()
        .cosines(0.999, 0.996)
        .loss(0.02),
        way("sixteen bits", wide()).loss(0.015),
        way("sixteen bits, samples", wide())
            .samples()
            .cosines(0.9995, 0.997),
        way("static scales, samples", Recipe::fixed())
            .samples()
            .cosines(0.999, 0.997),
        way(
            "int4 weights in blocks of 64, int8 head, groups of 64",
            int4(64),
        )
        .loss(0.2),
        way(
            "int4 weights in blocks of 32, int8 head, groups of 64",
            int4(32),
        )
        .loss(0.2),
    ]
}

/// Eight bits, with the magnitudes of channels moved into weights.
fn equalized(equalize: Equalize) -> Recipe {
    Recipe {
        equalize,
        ..Recipe::default()
    }
}

/// Sixteen bits for what norms give to products, where outliers sit.
fn behind_norms() -> Recipe {
    Recipe {
        norms: Some(Activations::WideRow),
        ..Recipe::default()
    }
}

fn wide() -> Recipe {
    Recipe {
        default: Activations::WideRow,
        ..Recipe::default()
    }
}

fn int4(group: usize) -> Recipe {
    Recipe {
        weights: Weights::Int4 { group },
        hidden_group: recipe::GROUP,
        ..Recipe::default()
    }
}

const CLIPPED: Rounding = Rounding {
    clip: Clip::Mse,
    nearest: false,
    correct_bias: false,
};
const CORRECTED: Rounding = Rounding {
    clip: Clip::Largest,
    nearest: true,
    correct_bias: true,
};

fn minilm(path: &Path, only: &str, page: &mut String) -> anyhow::Result<()> {
    let sentences = read("minilm.npz")?;
    let pairs = read("minilm_pairs.npz")?;
    let (expected, expected_pairs) = (floats(&sentences)?, floats(&pairs)?);
    let graph = import(path, SENTENCE)?;
    page.push_str(MINILM);
    let samples = feed::tensors(&graph, &inputs(&pairs)).map_err(complaint)?;
    for way in ways().into_iter().filter(|way| way.name.contains(only)) {
        let Some([least, least_worst]) = way.cosines else {
            continue;
        };
        let options = way.options(&samples[..CALIBRATION.min(samples.len())]);
        let compiled = compiled(graph.clone(), "e2", options)?;
        equal_to_graph(&compiled, &samples[0])?;
        let found = embeddings(&compiled, &sentences)?;
        let cosines: Vec<f64> = found
            .iter()
            .zip(&expected)
            .map(|(a, b)| score::cosine(a, b))
            .collect();
        let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
        let worst = cosines.iter().copied().fold(f64::INFINITY, f64::min);
        let list = couples(&pairs)?;
        let meant = similarities(&expected_pairs, &list);
        let close = similarities(&embeddings(&compiled, &pairs)?, &list);
        let grades = grades(&pairs)?;
        let (to_floats, to_grades) = (
            score::spearman(&close, &meant),
            score::spearman(&close, &grades),
        );
        writeln!(
            page,
            "| {} | {mean:.5} | {worst:.5} | {to_floats:.5} | {to_grades:.5} |",
            way.name
        )?;
        eprintln!("MiniLM, {}: mean {mean:.5}, worst {worst:.5}", way.name);
        ensure!(
            mean >= least && worst >= least_worst,
            "{}: cosine {mean:.5} (worst {worst:.5}) is below {least} ({least_worst})",
            way.name
        );
    }
    page.push_str(MINILM_PEERS);
    Ok(())
}

const MINILM: &str = "
## MiniLM (all-MiniLM-L6-v2)

32 sentences and 100 graded pairs, padded to 128 positions, target e2. Cosine: of the mean of the attended rows
to that of a float run. Spearman: of the pairs' similarities, with those of floats and with the grades. With
samples (32 sentences of the pairs, `--calibrate`) weights are rounded for inputs like these. Eight bits: scales a row
and group, found at run time. Sixteen bits: `--activations row16`, or `norms16` behind norms alone. Static scales:
`--activations static`, sixteen bits with no scale found at run time in front of products. Scales for least error:
`--clip mse`; biases corrected: `--correct-bias --nearest`; equalised: `--equalize norms` or `all`.

| | mean cosine | worst | Spearman to floats | to grades |
|---|---|---|---|---|
| floats | 1.00000 | 1.00000 | 1.00000 | 0.93166 |
";

const MINILM_PEERS: &str = "\
| ONNX Runtime, dynamic int8 by channel | 0.99348 | 0.97380 | 0.99892 | 0.92960 |
| ONNX Runtime, static int8, best | 0.94127 | 0.83578 | 0.99314 | 0.92211 |
| weights alone in int8 (a published package) | 0.99950 | 0.99641 | 0.99983 | 0.93159 |
";

fn smollm2(path: &Path, only: &str, page: &mut String) -> anyhow::Result<()> {
    let text = read("smollm2.npz")?;
    let (Some(Array::I32(ids)), Some(Array::I32(lengths))) =
        (text.get("input_ids"), text.get("lengths"))
    else {
        return Err(anyhow!("smollm2.npz holds no ids and lengths"));
    };
    let positions = ids.shape()[1];
    let graph = import(path, positions as u64)?;
    let tokens: Vec<Vec<i64>> = ids
        .outer_iter()
        .zip(lengths)
        .map(|(ids, &n)| {
            ids.iter()
                .take(n as usize)
                .map(|&id| i64::from(id))
                .collect()
        })
        .collect();
    let arrays = IndexMap::from([("input_ids".to_owned(), Array::I32(ids.clone()))]);
    let samples = feed::tensors(&graph, &arrays).map_err(complaint)?;
    let mut meant = graph.clone();
    pipeline::fuse(&mut meant)?;
    let mut losses = Vec::new();
    for (sample, tokens) in samples.iter().zip(&tokens) {
        let results = eval::run(&meant, sample)?;
        let Some((
            _,
            Tensor {
                data: Data::F32(logits),
                ..
            },
        )) = results.first()
        else {
            return Err(anyhow!("the first result is not logits"));
        };
        let logits: Vec<f32> = logits.iter().copied().collect();
        losses.extend(score::losses(&logits, logits.len() / positions, tokens));
    }
    let floats = score::perplexity(&losses);
    page.push_str(SMOLLM2);
    writeln!(page, "| floats | {floats:.3} | |")?;
    ensure!(
        (floats - 34.089).abs() < 0.01,
        "floats have {floats:.4}, not 34.089"
    );
    let other = feed::tensors(&graph, &read("smollm2_samples.npz")?).map_err(complaint)?;
    for way in ways().into_iter().filter(|way| way.name.contains(only)) {
        let (name, Some(most)) = (way.name, way.loss) else {
            continue;
        };
        let options = way.options(&other);
        let compiled = compiled(graph.clone(), "e6", options)?;
        let logits = results(&compiled, &arrays)?;
        let size = logits.len() / samples.len();
        let mut losses = Vec::new();
        for (logits, tokens) in logits.chunks_exact(size).zip(&tokens) {
            losses.extend(score::losses(logits, size / positions, tokens));
        }
        let found = score::perplexity(&losses);
        let more = found / floats - 1.0;
        writeln!(page, "| {name} | {found:.3} | {:+.2} % |", more * 100.0)?;
        eprintln!(
            "SmolLM2, {name}: perplexity {found:.3}, {:+.2} %",
            more * 100.0
        );
        ensure!(
            more <= most,
            "{name}: {found:.3} is {:.2} % above floats",
            more * 100.0
        );
    }
    page.push_str(SMOLLM2_PEERS);
    Ok(())
}

const SMOLLM2: &str = "
## SmolLM2-135M-Instruct

Perplexity of 274 tokens in three paragraphs, target e6, prefill. Samples: 218 other tokens, prompts and what floats
continue them with. Of so few tokens half a percent is chance.

| | perplexity | above floats |
|---|---|---|
";

const SMOLLM2_PEERS: &str = "\
| ONNX Runtime, dynamic int8 by channel | 52.083 | +52.79 % |
| another runtime's int4 in blocks of 32 | 41.331 | +21.25 % |
";

fn import(path: &Path, positions: u64) -> anyhow::Result<packwright::ir::Graph> {
    let binding = Binding {
        seq: Some(positions),
        ..Binding::default()
    };
    let imported = model::import(&path.display().to_string(), &binding).map_err(complaint)?;
    Ok(imported.graph)
}

fn compiled(
    graph: packwright::ir::Graph,
    target: &str,
    graph_options: GraphOptions,
) -> anyhow::Result<Compiled> {
    let target = options::target(target, &[]).map_err(complaint)?;
    let options = CompileOptions {
        graph: graph_options,
        ..CompileOptions::default()
    };
    let mut compiled = compile(graph, &target, &options)?;
    ensure!(with_constants(&mut compiled)?, "the model has no weights");
    Ok(compiled)
}

/// The first result of the packets for every sample, in one row.
fn results(compiled: &Compiled, arrays: &IndexMap<String, Array>) -> anyhow::Result<Vec<f32>> {
    let entry = &compiled.program.entries[0];
    let options = FeedOptions {
        each: true,
        default_inputs: true,
    };
    let samples = feed::samples(&entry.inputs, arrays, &options).map_err(complaint)?;
    let registers: Vec<u64> = entry.registers.iter().map(|r| r.max).collect();
    let target = packwright::job::own_target(&compiled.program).map_err(complaint)?;
    let outputs = feed::run(
        &compiled.program,
        entry,
        &target,
        &samples,
        &registers,
        true,
        &|| {},
    )
    .map_err(complaint)?;
    let first = outputs.first().context("the program has an output")?;
    Ok(first
        .bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&x| f32::from_le_bytes(x))
        .collect())
}

/// Checks that packets compute what the graph means, to the bit.
fn equal_to_graph(compiled: &Compiled, sample: &Sample) -> anyhow::Result<()> {
    let meant = eval::run(&compiled.graph, sample)?;
    let bytes: Vec<(String, Vec<u8>)> = sample
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.to_le_bytes()))
        .collect();
    let ports: Vec<(&str, &[u8])> = bytes.iter().map(|(n, b)| (n.as_str(), &b[..])).collect();
    let target = packwright::job::own_target(&compiled.program).map_err(complaint)?;
    let entry = &compiled.program.entries[0];
    let found = packwright_sim::func::run(&compiled.program, entry, &target, &ports, &[])?;
    let equal = meant
        .iter()
        .zip(&found)
        .all(|((_, a), b)| a.to_le_bytes() == b.bytes);
    ensure!(equal, "the packets compute other bits than the graph means");
    Ok(())
}

fn embeddings(
    compiled: &Compiled,
    arrays: &IndexMap<String, Array>,
) -> anyhow::Result<Vec<Vec<f64>>> {
    let Some(Array::Bool(mask)) = arrays.get("attention_mask") else {
        return Err(anyhow!("there is no mask of truth values"));
    };
    let all = results(compiled, &inputs(arrays))?;
    let size = all.len() / mask.shape()[0].max(1);
    let width = size / mask.shape()[1].max(1);
    let masks = mask
        .outer_iter()
        .map(|m| m.iter().copied().collect::<Vec<_>>());
    Ok(all
        .chunks_exact(size)
        .zip(masks)
        .map(|(rows, mask)| score::mean_row(rows, width, &mask))
        .collect())
}

fn similarities(embeddings: &[Vec<f64>], pairs: &[(usize, usize)]) -> Vec<f64> {
    let of = |&(a, b): &(usize, usize)| score::cosine(&embeddings[a], &embeddings[b]);
    pairs.iter().map(of).collect()
}

fn read(name: &str) -> anyhow::Result<IndexMap<String, Array>> {
    arrays::read(&root().join("xtask/data").join(name)).map_err(complaint)
}

/// The arrays that are inputs of the model.
fn inputs(arrays: &IndexMap<String, Array>) -> IndexMap<String, Array> {
    let inputs = arrays
        .iter()
        .filter(|(name, _)| ["input_ids", "attention_mask"].contains(&name.as_str()));
    inputs.map(|(n, a)| (n.clone(), a.clone())).collect()
}

fn floats(arrays: &IndexMap<String, Array>) -> anyhow::Result<Vec<Vec<f64>>> {
    let Some(Array::F32(rows)) = arrays.get("embeddings") else {
        return Err(anyhow!("there are no embeddings in float32"));
    };
    let rows = rows.outer_iter();
    Ok(rows
        .map(|row| row.iter().map(|&x| f64::from(x)).collect())
        .collect())
}

fn couples(arrays: &IndexMap<String, Array>) -> anyhow::Result<Vec<(usize, usize)>> {
    let Some(Array::I32(pairs)) = arrays.get("pairs") else {
        return Err(anyhow!("there are no pairs in int32"));
    };
    let rows = pairs.outer_iter();
    Ok(rows.map(|row| (row[0] as usize, row[1] as usize)).collect())
}

fn grades(arrays: &IndexMap<String, Array>) -> anyhow::Result<Vec<f64>> {
    let Some(Array::F64(grades)) = arrays.get("grades") else {
        return Err(anyhow!("there are no grades in float64"));
    };
    Ok(grades.iter().copied().collect())
}

fn complaint(failure: packwright::errors::Failure) -> anyhow::Error {
    anyhow!("{failure}")
}
