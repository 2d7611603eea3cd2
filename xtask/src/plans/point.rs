//! One compilation and simulation of an embedded model.

use packwright::errors::Failure;
use packwright::job;
use packwright::model::{self, Binding};
use packwright::options::{self, CompileChoices};
use packwright::report::json::EntryReport;
use packwright_compile::options::PlanMode;
use packwright_compile::plan::text;
use packwright_ir::Graph;
use packwright_packet::program::Bound;
use packwright_target::Target;

/// A model at a length on a machine.
#[derive(Clone, Debug, Default)]
pub struct Point {
    /// As in `zoo:NAME`, e.g. `Ada:prefill`.
    pub model: String,
    pub seq: Option<u64>,
    pub past: Option<u64>,
    pub target: &'static str,
    /// Bytes of SRAM; the target's own where there are none.
    pub sram: Option<u64>,
    pub mode: PlanMode,
}

impl Point {
    /// The report of its only entry.
    ///
    /// # Errors
    /// Why there is none, in one line.
    pub fn report(&self) -> Result<EntryReport, String> {
        let (graph, target, choices) = self.job()?;
        let report = job::estimate(graph, &target, &choices).map_err(one_line)?;
        report
            .entries
            .into_iter()
            .next()
            .ok_or_else(|| "there is no entry".to_owned())
    }

    /// Bytes that its plan moves, without the packet stream, and the bound; no packets are made.
    ///
    /// # Errors
    /// Why there is no plan, in one line.
    pub fn planned(&self) -> Result<(u64, Bound), String> {
        let (graph, target, choices) = self.job()?;
        let planned = job::plan(graph, &target, &choices).map_err(one_line)?;
        let traffic = text::traffic(&planned.graph, &planned.plan);
        Ok((traffic.total(), planned.bound))
    }

    /// What there is to compile.
    fn job(&self) -> Result<(Graph, Target, CompileChoices), String> {
        let overrides: Vec<String> = self
            .sram
            .iter()
            .map(|bytes| format!("sram.bytes={bytes}"))
            .collect();
        let target = options::target(self.target, &overrides).map_err(one_line)?;
        let binding = Binding {
            seq: self.seq,
            past: self.past,
            ..Binding::default()
        };
        let imported = model::import(&format!("zoo:{}", self.model), &binding).map_err(one_line)?;
        let choices = CompileChoices {
            plan: self.mode,
            ..CompileChoices::default()
        };
        Ok((imported.graph, target, choices))
    }
}

fn one_line(failure: Failure) -> String {
    let text = failure.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

/// A model that computes many positions at once.
#[derive(Clone, Copy, Debug)]
pub struct Wide {
    pub model: &'static str,
    /// How many positions it is shown with.
    pub lengths: &'static [u64],
    /// The most positions that it has.
    pub longest: u64,
    /// Whether it has a billion parameters.
    pub is_large: bool,
}

const fn wide(model: &'static str, lengths: &'static [u64], longest: u64) -> Wide {
    Wide {
        model,
        lengths,
        longest,
        is_large: false,
    }
}

const fn large(model: &'static str, longest: u64) -> Wide {
    Wide {
        is_large: true,
        ..wide(model, &[128], longest)
    }
}

/// Models that compute many positions at once. Those of a billion parameters are shown at 128 positions.
pub const WIDE: &[Wide] = &[
    wide("DistilBERT", &[128, 512], 512),
    wide("TinyBERT", &[128, 512], 512),
    wide("ALBERT", &[128, 512], 512),
    wide("MiniLM", &[128, 512], 512),
    wide("Reformer", &[512], 512),
    wide("Longformer", &[1024], 1024),
    wide("Ada:prefill", &[128, 512, 2048], 2048),
    large("Babbage:prefill", 2048),
    wide("T5-Small:encoder", &[128, 512], 512),
    wide("T5-Base:encoder", &[128, 512], 512),
    wide("GPT-2:prefill", &[128, 512], 1024),
    wide("SmolLM2-135M:prefill", &[128, 512, 2048], 2048),
    large("Llama-3.2-1B:prefill", 2048),
];

/// Most positions of a pass that is carried out: in little memory longer ones become millions of commands.
pub const LONGEST_RUN: u64 = 1024;

/// Models that compute one position behind a past, with the longest past that they have.
pub const DECODES: &[(&str, u64)] = &[
    ("Ada:decode", 2047),
    ("Babbage:decode", 2047),
    ("T5-Small:decoder-past", 511),
    ("T5-Base:decoder-past", 511),
    ("GPT-2:decode", 1023),
    ("SmolLM2-135M:decode", 2047),
    ("Llama-3.2-1B:decode", 2047),
];

/// Sizes as people write them.
pub fn size(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes >> 10),
        mebi => format!("{mebi} MiB"),
    }
}

/// Megabytes with four digits at least.
pub fn megabytes(bytes: u64) -> String {
    let mega = bytes as f64 / 1e6;
    match mega {
        mega if mega < 100.0 => format!("{mega:.2}"),
        mega => format!("{mega:.1}"),
    }
}
