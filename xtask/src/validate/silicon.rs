//! Decode rates of a board against the two numbers that decide them: bytes a token and bandwidth.
//!
//! The rates are those that the vendor of RK3588 publishes for its own runtime at w8a8 (benchmark.md of
//! rknn-llm: 64 tokens behind a prompt of 128); the sizes of the models are those of their public
//! configurations. A line through two of them predicts the others.

use std::fmt::Write as _;

/// A decoder by its configuration, and how fast the board runs it.
struct Model {
    name: &'static str,
    layers: u64,
    hidden: u64,
    /// Columns of the queries, and of the keys.
    query: u64,
    key: u64,
    inner: u64,
    vocabulary: u64,
    tokens_per_second: f64,
}

const MODELS: [Model; 4] = [
    Model {
        name: "Qwen2-0.5B",
        layers: 24,
        hidden: 896,
        query: 896,
        key: 128,
        inner: 4864,
        vocabulary: 151_936,
        tokens_per_second: 41.6,
    },
    Model {
        name: "Qwen3-0.6B",
        layers: 28,
        hidden: 1024,
        query: 2048,
        key: 1024,
        inner: 3072,
        vocabulary: 151_936,
        tokens_per_second: 32.9,
    },
    Model {
        name: "TinyLlama-1.1B",
        layers: 22,
        hidden: 2048,
        query: 2048,
        key: 256,
        inner: 5632,
        vocabulary: 32_000,
        tokens_per_second: 24.4,
    },
    Model {
        name: "Qwen2.5-1.5B",
        layers: 28,
        hidden: 1536,
        query: 1536,
        key: 256,
        inner: 8960,
        vocabulary: 151_936,
        tokens_per_second: 16.7,
    },
];

/// Rows that caches hold in the middle of the published run: the prompt, and half of the answer.
const ROWS: u64 = 128 + 32;
/// Bytes of an element of a cache: w8a8 names weights and activations of products, caches stay in f16.
const CACHE_ELEMENT: u64 = 2;

/// The models that the line goes through: the smallest and the largest.
const FITTED: [usize; 2] = [0, 3];

impl Model {
    /// What a token reads: weights and caches.
    fn bytes(&self) -> u64 {
        self.weights() + self.caches()
    }

    /// Keys and values of the rows that are held, in all layers.
    fn caches(&self) -> u64 {
        self.layers * 2 * self.key * ROWS * CACHE_ELEMENT
    }

    /// Weights that a token reads, a byte each: all layers and the head.
    fn weights(&self) -> u64 {
        let attention = 2 * self.hidden * (self.query + self.key);
        let layer = attention + 3 * self.hidden * self.inner;
        self.layers * layer + self.vocabulary * self.hidden
    }

    fn seconds(&self) -> f64 {
        1.0 / self.tokens_per_second
    }
}

/// Seconds as `bytes · byte + units · unit`.
struct Line {
    byte: f64,
    unit: f64,
}

impl Line {
    /// The line through the fitted models.
    fn through(units: fn(&Model) -> f64) -> Self {
        let [a, b] = FITTED.map(|index| &MODELS[index]);
        let (x, y) = (a.bytes() as f64, b.bytes() as f64);
        let (u, v) = (units(a), units(b));
        let determinant = x * v - y * u;
        Self {
            byte: (a.seconds() * v - b.seconds() * u) / determinant,
            unit: (x * b.seconds() - y * a.seconds()) / determinant,
        }
    }

    fn tokens_per_second(&self, model: &Model, units: fn(&Model) -> f64) -> f64 {
        1.0 / (model.bytes() as f64 * self.byte + units(model) * self.unit)
    }
}

/// The section of the page.
pub fn section() -> anyhow::Result<String> {
    let mut text = String::from(
        "Rates of RK3588 at w8a8 as its vendor publishes them, sizes from the models' public configurations: all \
         weights of the layers and the head, a byte each, and the rows that caches hold in the middle of the \
         published run (64 tokens behind 128), in f16. A token costs its bytes at one bandwidth, and an overhead: once \
         a token, or once a layer. Two unknowns are fitted on the smallest and the largest model, the other two \
         rates are predicted.\n\n\
         | model | MB of weights | of caches | published | one overhead a token | one a layer |\n|---|---|---|---|---|---|\n",
    );
    let once: fn(&Model) -> f64 = |_| 1.0;
    let layers: fn(&Model) -> f64 = |model| model.layers as f64;
    let (token, layer) = (Line::through(once), Line::through(layers));
    for (index, model) in MODELS.iter().enumerate() {
        let cell = |rate: f64| {
            if FITTED.contains(&index) {
                return format!("{rate:.1} (fitted)");
            }
            let error = 100.0 * (rate / model.tokens_per_second - 1.0);
            format!("{rate:.1} ({error:+.1} %)")
        };
        let _ = writeln!(
            text,
            "| {} | {:.0} | {:.1} | {:.1} | {} | {} |",
            model.name,
            model.weights() as f64 / 1e6,
            model.caches() as f64 / 1e6,
            model.tokens_per_second,
            cell(token.tokens_per_second(model, once)),
            cell(layer.tokens_per_second(model, layers)),
        );
    }
    let _ = writeln!(
        text,
        "\nOne overhead a token: {:.1} GB/s and {:.1} ms. One a layer: {:.1} GB/s and {:.2} ms, {} ms a token of the \
         smallest model. The board's LPDDR4X is rated at 34.1 GB/s, so decoding is bound by the bytes that it \
         reads, as the simulator says; what is left is work of a layer that does not grow with its bytes.",
        1e-9 / token.byte,
        1e3 * token.unit,
        1e-9 / layer.byte,
        1e3 * layer.unit,
        (1e3 * layer.unit * MODELS[0].layers as f64 * 10.0).round() / 10.0,
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rates_that_were_not_fitted_are_predicted() {
        let units: [fn(&Model) -> f64; 2] = [|_| 1.0, |model| model.layers as f64];
        for units in units {
            let line = Line::through(units);
            for model in &MODELS {
                let rate = line.tokens_per_second(model, units);
                let error = (rate / model.tokens_per_second - 1.0).abs();
                assert!(error < 0.10, "{}: {rate}", model.name);
            }
        }
    }

    #[test]
    fn sizes_are_those_of_the_configurations() {
        let sizes: Vec<u64> = MODELS.iter().map(Model::weights).collect();
        assert_eq!(
            sizes,
            [493_961_216, 595_984_384, 1_034_420_224, 1_543_569_408]
        );
    }
}
