//! What a model costs before there is silicon: an embedded export, a target, a report.
#![allow(clippy::print_stdout)]

use anyhow::anyhow;
use packwright::job;
use packwright::model::{self, Binding};
use packwright::options::{self, CompileChoices};

fn main() -> anyhow::Result<()> {
    let binding = Binding {
        seq: Some(128),
        ..Binding::default()
    };
    let graph = model::import("zoo:MiniLM", &binding)
        .map_err(|e| anyhow!("{e}"))?
        .graph;
    let target = options::target("e2", &[]).map_err(|e| anyhow!("{e}"))?;
    let report = job::estimate(graph, &target, &CompileChoices::default());
    for entry in report.map_err(|e| anyhow!("{e}"))?.entries {
        println!(
            "{}: {:.2} MB of DRAM traffic, bound {:.2} MB; {:.0} µs, limited by {}",
            entry.name,
            entry.dram_bytes.total as f64 / 1e6,
            entry.bound.dram_bytes as f64 / 1e6,
            entry.seconds * 1e6,
            entry.limited_by,
        );
    }
    Ok(())
}
