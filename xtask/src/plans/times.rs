//! Time against the least time, for encoders, prefill and decode.

use rayon::prelude::*;

use super::Selection;
use super::point::{DECODES, LONGEST_RUN, Point, WIDE};

pub fn section(selection: &Selection) -> anyhow::Result<String> {
    let mut text = String::from(
        "Milliseconds, and × the least time (bandwidth without refresh, matrix work, vector work, dependencies); behind \
         it × the time of schedules that work on one part of a model after the other, as derived in [bounds](bounds.md). \
         Aims for the first: encoders and prefill 1.15 on e1 and e2, 1.30 on e6; decode 1.05.\n\n\
         | model | positions | e1 | e2 | e6 | least time on e2 |\n|---|---|---|---|---|---|\n",
    );
    let wide = WIDE.iter().flat_map(|wide| {
        let lengths = wide.lengths.iter().filter(|&&seq| seq <= LONGEST_RUN);
        lengths.map(|&seq| (wide.model, Some(seq), None))
    });
    let decodes = DECODES.iter().flat_map(|&(model, longest)| {
        [0, 127, 511, 1023, 2047]
            .into_iter()
            .filter(move |&past| past <= longest)
            .map(move |past| (model, None, Some(past)))
    });
    let rows: Vec<(&str, Option<u64>, Option<u64>)> = wide
        .chain(decodes)
        .filter(|(model, ..)| selection.has(model))
        .collect();
    let made: Vec<String> = rows.par_iter().map(|&row| line(row)).collect();
    text += &made.concat();
    Ok(text)
}

fn line((model, seq, past): (&str, Option<u64>, Option<u64>)) -> String {
    let positions = match seq {
        Some(seq) => seq.to_string(),
        None => format!("1 behind {}", past.unwrap_or_default()),
    };
    let mut least = String::from("–");
    let cells: Vec<String> = ["e1", "e2", "e6"]
        .into_iter()
        .map(|target| {
            let point = Point {
                model: model.to_owned(),
                target,
                seq,
                past,
                ..Point::default()
            };
            let Ok(report) = point.report() else {
                return "–".to_owned();
            };
            if target == "e2" {
                least.clone_from(&report.bound.binding_term);
            }
            format!(
                "{:.2} ({:.2} ×; {:.2} ×)",
                report.seconds * 1e3,
                report.bound.time_ratio,
                report.bound.attainable_ratios().1
            )
        })
        .collect();
    format!(
        "| {model} | {positions} | {} | {least} |\n",
        cells.join(" | ")
    )
}
