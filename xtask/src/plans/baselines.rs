//! What packets through several layers save against the two baselines of the same machinery.

use indexmap::IndexSet;
use packwright_compile::options::PlanMode;
use rayon::prelude::*;

use super::Selection;
use super::point::{Point, WIDE, megabytes};

/// Positions of a pass, where a model has as many.
const LENGTHS: [u64; 2] = [1024, 2048];

pub fn section(selection: &Selection) -> anyhow::Result<String> {
    let wide = WIDE.iter().filter(|wide| selection.has(wide.model));
    let jobs: Vec<(&str, u64)> = wide
        .flat_map(|wide| {
            let lengths: IndexSet<u64> = LENGTHS.map(|seq| seq.min(wide.longest)).into();
            lengths.into_iter().map(|seq| (wide.model, seq))
        })
        .collect();
    let rows: Vec<String> = jobs
        .par_iter()
        .map(|&(model, seq)| row(model, seq))
        .collect();
    Ok(format!(
        "One pass over 1,024 and over 2,048 positions, or over as many as a model has, w8a8, e6 (8 MiB). `layer-wise`: each \
         operator reads its operands from DRAM and writes its result there. `fused-ops`: operators are fused, what \
         one hands to the next goes through DRAM.\n\n\
         | model | positions | layer-wise, MB | fused-ops, MB | MB | ÷ layer-wise | ÷ fused-ops | × bound |\n\
         |---|---|---|---|---|---|---|---|\n{}",
        rows.concat()
    ))
}

fn row(model: &str, seq: u64) -> String {
    let of = |mode| {
        let point = Point {
            model: model.to_owned(),
            target: "e6",
            seq: Some(seq),
            mode,
            ..Point::default()
        };
        point.report()
    };
    let reports = [PlanMode::LayerWise, PlanMode::FusedOps, PlanMode::Best].map(of);
    let bytes = reports
        .each_ref()
        .map(|report| report.as_ref().ok().map(|r| r.dram_bytes.total));
    let cell = |bytes: Option<u64>| bytes.map_or_else(|| "–".to_owned(), megabytes);
    let cut = |base: Option<u64>| match (base, bytes[2]) {
        (Some(base), Some(own)) => format!("{:.2}", base as f64 / own as f64),
        _ => "–".to_owned(),
    };
    let ratio = match &reports[2] {
        Ok(report) => format!("{:.2}", report.bound.dram_ratio),
        Err(reason) => reason.clone(),
    };
    format!(
        "| {model} | {seq} | {} | {} | {} | {} | {} | {ratio} |\n",
        cell(bytes[0]),
        cell(bytes[1]),
        cell(bytes[2]),
        cut(bytes[0]),
        cut(bytes[1]),
    )
}
