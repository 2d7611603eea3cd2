//! Bytes where a layer's live state fits in SRAM: they are to be those of the bound.

use rayon::prelude::*;

use super::Selection;
use super::point::{DECODES, Point, megabytes};

pub fn section(selection: &Selection) -> anyhow::Result<String> {
    let mut points = Vec::new();
    for (model, target, seqs) in [
        ("MiniLM", "e2", &[128, 256, 512][..]),
        ("TinyBERT", "e2", &[128, 256, 512]),
        ("DistilBERT", "e2", &[128, 256]),
        ("T5-Base:encoder", "e2", &[128, 256]),
        ("MiniLM", "e6", &[512]),
        ("TinyBERT", "e6", &[512]),
        ("DistilBERT", "e6", &[512]),
        ("T5-Small:encoder", "e6", &[512]),
        ("T5-Base:encoder", "e6", &[512]),
        ("Reformer", "e2", &[512]),
        ("Longformer", "e6", &[1024]),
        ("T5-Small:decoder", "e2", &[1]),
        ("T5-Base:decoder", "e2", &[1]),
    ] {
        points.extend(seqs.iter().map(|&seq| Point {
            model: model.to_owned(),
            target,
            seq: Some(seq),
            ..Point::default()
        }));
    }
    points.extend(DECODES.iter().flat_map(|&(model, longest)| {
        [0, 127, 1023, 2047]
            .into_iter()
            .filter(move |&past| past <= longest)
            .map(move |past| Point {
                model: model.to_owned(),
                target: "e2",
                past: Some(past),
                ..Point::default()
            })
    }));
    points.retain(|point| selection.has(&point.model));
    let rows: Vec<String> = points.par_iter().map(row).collect();
    Ok(format!(
        "Aim: DRAM bytes at most 1.02 × the bound without the packet stream, 1.05 × with it.\n\n\
         | model | machine | positions | MB | bound | without packets | with packets |\n|---|---|---|---|---|---|---|\n{}",
        rows.concat()
    ))
}

fn row(point: &Point) -> String {
    let positions = match (point.seq, point.past) {
        (Some(seq), _) => format!("{seq}"),
        (None, past) => format!("1 behind {}", past.unwrap_or_default()),
    };
    let head = format!("| {} | {} | {positions} |", point.model, point.target);
    match point.report() {
        Ok(report) => {
            let (total, bound) = (report.dram_bytes.total, report.bound.dram_bytes);
            format!(
                "{head} {} | {} | {:.3} | {:.3} |\n",
                megabytes(total),
                megabytes(bound),
                report.bound.dram_ratio,
                total as f64 / bound as f64
            )
        }
        Err(reason) => format!("{head} – | – | – | {reason} |\n"),
    }
}
