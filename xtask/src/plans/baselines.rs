//! What packets through several layers save against the two baselines of the same machinery.

use packwright_compile::options::PlanMode;
use rayon::prelude::*;

use super::Selection;
use super::point::{Point, SLOW, WIDE, megabytes};

pub fn section(selection: &Selection) -> anyhow::Result<String> {
    let jobs: Vec<(&str, u64)> = WIDE
        .iter()
        .filter(|(model, _)| selection.has(model) && !SLOW.contains(model))
        .map(|&(model, longest)| (model, longest.min(1024)))
        .collect();
    let rows: Vec<String> = jobs
        .par_iter()
        .map(|&(model, seq)| row(model, seq))
        .collect();
    Ok(format!(
        "One pass over the longest sequence up to 1024 positions, w8a8, e6 (8 MiB). `layer-wise`: each \
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
