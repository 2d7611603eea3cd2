//! Arm's Vela beside this planner, for one encoder at four sizes of SRAM.

use rayon::prelude::*;

use super::Selection;
use super::point::{Point, megabytes, size};

/// KiB of SRAM and what Vela 5.2 moves for Ethos-U85-256 with a MiniLM-shaped int8 encoder at 128 positions, in MB.
const VELA: [(u64, u64); 4] = [(256, 79), (512, 44), (1024, 30), (2048, 15)];

pub fn section(selection: &Selection) -> anyhow::Result<String> {
    if !selection.has("MiniLM") {
        return Ok(String::new());
    }
    let rows: Vec<String> = VELA
        .par_iter()
        .map(|&(kib, theirs)| {
            let point = Point {
                model: "MiniLM".to_owned(),
                target: "e2",
                seq: Some(128),
                sram: Some(kib << 10),
                ..Point::default()
            };
            let head = format!("| {} | {theirs} |", size(kib << 10));
            match point.report() {
                Ok(report) => format!(
                    "{head} {} | {:.2} | {:.2} |\n",
                    megabytes(report.dram_bytes.total),
                    report.dram_bytes.total as f64 / report.bound.dram_bytes as f64,
                    theirs as f64 * 1e6 / report.dram_bytes.total as f64,
                ),
                Err(reason) => format!("{head} – | – | {reason} |\n"),
            }
        })
        .collect();
    Ok(format!(
        "Vela 5.2 for Ethos-U85-256, its own estimate of off-chip traffic, for an int8 encoder of MiniLM's shape at 128 \
         positions, which moves 10.3 MB at the least; here MiniLM itself at 128 positions on e2 with its SRAM changed. \
         Aim: 1.05 × the bound, packet stream included.\n\n\
         | SRAM | Vela, MB | Packwright, MB | × bound | Vela ÷ Packwright |\n|---|---|---|---|---|\n{}\n\
         In 256 KiB there is no room for what is alive when the first feed-forward product of a layer ends: its int8 rows, \
         the hidden rows and the f16 stream, about 340 KiB. A plan spills values as a whole.\n",
        rows.concat()
    ))
}
