//! How much SRAM does a model need? One number of the target is varied.
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
    let graph = model::import("zoo:TinyBERT", &binding)
        .map_err(|e| anyhow!("{e}"))?
        .graph;
    println!(
        "{:>10} {:>10} {:>8} {:>10}",
        "SRAM", "DRAM MB", "× bound", "µs"
    );
    for kib in [384, 512, 768, 1024, 2048, 4096] {
        let setting = format!("sram.bytes={kib}KiB");
        let target = options::target("e2", &[setting]).map_err(|e| anyhow!("{e}"))?;
        match job::estimate(graph.clone(), &target, &CompileChoices::default()) {
            Ok(report) => {
                let entry = &report.entries[0];
                println!(
                    "{kib:>6} KiB {:>10.2} {:>8.2} {:>10.0}",
                    entry.dram_bytes.total as f64 / 1e6,
                    entry.bound.dram_ratio,
                    entry.seconds * 1e6
                );
            }
            Err(failure) => println!("{kib:>6} KiB {failure}"),
        }
    }
    Ok(())
}
