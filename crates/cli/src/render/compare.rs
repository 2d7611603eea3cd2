//! Reports side by side: each figure, and each of them over the first.

use packwright::report::json::{DramBytes, EntryReport, Report, Units};
use serde::Serialize;

use super::{table, unit};

/// Reports, entry by entry.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub schema: &'static str,
    pub reports: Vec<Side>,
    pub entries: Vec<Row>,
}

/// What a report speaks of.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    /// `a` for the first one, `b` for the second, ….
    pub letter: char,
    pub model: String,
    pub target: String,
    pub precision: String,
    /// Entries that are not in all of the others.
    pub only_here: Vec<String>,
}

/// An entry of the same name in all of them.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub name: String,
    pub figures: Vec<Figure>,
}

/// One figure of all.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub name: String,
    pub values: Vec<f64>,
    /// Each over the first; null where that is zero.
    pub ratios: Vec<Option<f64>>,
    #[serde(skip)]
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Count,
    Bytes,
    Seconds,
    Joules,
    Ratio,
}

impl Comparison {
    /// Puts the entries of reports together by name; where each has just one, those.
    pub fn of(reports: &[Report]) -> Self {
        let single = reports.iter().all(|report| report.entries.len() == 1);
        let like = |report: &'_ Report, name: &str| {
            let same = |entry: &&EntryReport| single || entry.name == name;
            report.entries.iter().find(same).cloned()
        };
        let all_have = |name: &str| -> Option<Vec<EntryReport>> {
            reports.iter().map(|report| like(report, name)).collect()
        };
        let first = reports.first().map_or(&[][..], |report| &report.entries);
        let entries = first.iter().filter_map(|entry| {
            let found = all_have(&entry.name)?;
            Some(Row {
                name: entry.name.clone(),
                figures: figures(&found),
            })
        });
        let sides = ('a'..).zip(reports).map(|(letter, report)| Side {
            letter,
            model: report.model.clone(),
            target: report.target.clone(),
            precision: report.precision.clone(),
            only_here: report
                .entries
                .iter()
                .filter(|entry| all_have(&entry.name).is_none())
                .map(|entry| entry.name.clone())
                .collect(),
        });
        Self {
            schema: "packwright.compare/2",
            reports: sides.collect(),
            entries: entries.collect(),
        }
    }
}

fn figures(entries: &[EntryReport]) -> Vec<Figure> {
    let mut list = Vec::new();
    let mut add = |name: &str, kind: Kind, value: &dyn Fn(&EntryReport) -> f64| {
        let values: Vec<f64> = entries.iter().map(value).collect();
        let over = |&value: &f64| (values[0] != 0.0).then(|| value / values[0]);
        list.push(Figure {
            name: name.to_owned(),
            ratios: values.iter().map(over).collect(),
            values,
            kind,
        });
    };
    add("seconds", Kind::Seconds, &|e| e.seconds);
    add("cycles", Kind::Count, &|e| e.cycles as f64);
    add("energy_joules", Kind::Joules, &|e| e.energy_joules);
    add("dram_bytes.total", Kind::Bytes, &|e| {
        e.dram_bytes.total as f64
    });
    for (index, (name, _)) in DramBytes::default().categories().iter().enumerate() {
        let of = |e: &EntryReport| e.dram_bytes.categories()[index].1 as f64;
        if entries.iter().any(|e| of(e) != 0.0) {
            add(&format!("dram_bytes.{name}"), Kind::Bytes, &of);
        }
    }
    add("bound.dram_bytes", Kind::Bytes, &|e| {
        e.bound.dram_bytes as f64
    });
    add("bound.dram_ratio", Kind::Ratio, &|e| e.bound.dram_ratio);
    add("bound.seconds", Kind::Seconds, &|e| e.bound.seconds);
    add("bound.time_ratio", Kind::Ratio, &|e| e.bound.time_ratio);
    add("sram_peak_bytes", Kind::Bytes, &|e| {
        e.sram_peak_bytes as f64
    });
    add("packets", Kind::Count, &|e| e.packets as f64);
    for (index, (name, _)) in Units::default().all().iter().enumerate() {
        add(&format!("units.{name}.busy"), Kind::Count, &|e| {
            e.units.all()[index].1.busy as f64
        });
    }
    list
}

/// The comparison as text.
pub fn draw(comparison: &Comparison, width: Option<u16>) -> String {
    let mut text = String::new();
    for side in &comparison.reports {
        text.push_str(&format!(
            "{}: {} on {}, {}\n",
            side.letter, side.model, side.target, side.precision
        ));
    }
    let letters: Vec<String> = comparison
        .reports
        .iter()
        .map(|side| side.letter.to_string())
        .collect();
    let ratios: Vec<String> = letters
        .iter()
        .skip(1)
        .map(|letter| format!("{letter} / a"))
        .collect();
    for row in &comparison.entries {
        let title = format!("<{}", row.name);
        let head = std::iter::once(&title).chain(&letters).chain(&ratios);
        let head: Vec<&str> = head.map(String::as_str).collect();
        let mut list = table::table(&head, width);
        for figure in &row.figures {
            let values = figure.values.iter().map(|&x| value(x, figure.kind));
            let over = figure.ratios.iter().skip(1);
            let over = over.map(|ratio| ratio.map_or("–".to_owned(), unit::ratio));
            list.add_row(
                std::iter::once(figure.name.clone())
                    .chain(values)
                    .chain(over),
            );
        }
        text.push('\n');
        text.push_str(&table::text(&list));
    }
    for side in &comparison.reports {
        if !side.only_here.is_empty() {
            let names = side.only_here.join(", ");
            text.push_str(&format!("\nonly in {}: {names}\n", side.letter));
        }
    }
    text
}

fn value(value: f64, kind: Kind) -> String {
    match kind {
        Kind::Count => unit::count(value as u64),
        Kind::Bytes => unit::bytes(value as u64),
        Kind::Seconds => unit::seconds(value),
        Kind::Joules => unit::joules(value),
        Kind::Ratio => unit::ratio(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_side_by_side() {
        let entry = |seconds, total| {
            let mut entry = EntryReport {
                name: "main".into(),
                seconds,
                ..Default::default()
            };
            entry.dram_bytes.total = total;
            entry.dram_bytes.weights = total;
            entry
        };
        let a = Report {
            model: "m".into(),
            target: "e1".into(),
            entries: vec![entry(0.002, 2_000_000)],
            ..Default::default()
        };
        let b = Report {
            model: "m".into(),
            target: "e2".into(),
            entries: vec![entry(0.001, 2_100_000)],
            ..Default::default()
        };
        insta::assert_snapshot!(draw(&Comparison::of(&[a, b]), None));
    }
}
