//! Two reports side by side: each figure, and the second over the first.

use packwright::report::json::{EntryReport, Report};
use serde::Serialize;

use super::{table, unit};

/// Two reports, entry by entry.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub schema: &'static str,
    pub a: Side,
    pub b: Side,
    pub entries: Vec<Pair>,
    /// Entries that one report has and the other has not.
    pub only_a: Vec<String>,
    pub only_b: Vec<String>,
}

/// What a report speaks of.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    pub model: String,
    pub target: String,
    pub precision: String,
}

/// An entry of the same name in both.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    pub name: String,
    pub figures: Vec<Figure>,
}

/// One figure of both.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub name: String,
    pub a: f64,
    pub b: f64,
    /// `b` over `a`; null where `a` is zero.
    pub ratio: Option<f64>,
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
    /// Pairs the entries of two reports by name; where each has just one, those two.
    pub fn of(a: &Report, b: &Report) -> Self {
        let single = a.entries.len() == 1 && b.entries.len() == 1;
        let same = |x: &EntryReport, y: &EntryReport| single || x.name == y.name;
        let mut entries = Vec::new();
        for x in &a.entries {
            if let Some(y) = b.entries.iter().find(|y| same(x, y)) {
                entries.push(Pair {
                    name: x.name.clone(),
                    figures: figures(x, y),
                });
            }
        }
        let missing = |of: &[EntryReport], from: &[EntryReport]| {
            let alone = of.iter().filter(|x| !from.iter().any(|y| same(x, y)));
            alone.map(|x| x.name.clone()).collect()
        };
        Self {
            schema: "packwright.compare/1",
            a: side(a),
            b: side(b),
            entries,
            only_a: missing(&a.entries, &b.entries),
            only_b: missing(&b.entries, &a.entries),
        }
    }
}

fn side(report: &Report) -> Side {
    Side {
        model: report.model.clone(),
        target: report.target.clone(),
        precision: report.precision.clone(),
    }
}

fn figures(a: &EntryReport, b: &EntryReport) -> Vec<Figure> {
    let mut list = Vec::new();
    let mut add = |name: &str, a: f64, b: f64, kind: Kind| {
        let ratio = if a == 0.0 { None } else { Some(b / a) };
        list.push(Figure {
            name: name.to_owned(),
            a,
            b,
            ratio,
            kind,
        });
    };
    add("seconds", a.seconds, b.seconds, Kind::Seconds);
    add("cycles", a.cycles as f64, b.cycles as f64, Kind::Count);
    add(
        "energy_joules",
        a.energy_joules,
        b.energy_joules,
        Kind::Joules,
    );
    add(
        "dram_bytes.total",
        a.dram_bytes.total as f64,
        b.dram_bytes.total as f64,
        Kind::Bytes,
    );
    for ((name, x), (_, y)) in a
        .dram_bytes
        .categories()
        .into_iter()
        .zip(b.dram_bytes.categories())
    {
        if x != 0 || y != 0 {
            add(
                &format!("dram_bytes.{name}"),
                x as f64,
                y as f64,
                Kind::Bytes,
            );
        }
    }
    add(
        "bound.dram_bytes",
        a.bound.dram_bytes as f64,
        b.bound.dram_bytes as f64,
        Kind::Bytes,
    );
    add(
        "bound.dram_ratio",
        a.bound.dram_ratio,
        b.bound.dram_ratio,
        Kind::Ratio,
    );
    add(
        "bound.seconds",
        a.bound.seconds,
        b.bound.seconds,
        Kind::Seconds,
    );
    add(
        "bound.time_ratio",
        a.bound.time_ratio,
        b.bound.time_ratio,
        Kind::Ratio,
    );
    add(
        "sram_peak_bytes",
        a.sram_peak_bytes as f64,
        b.sram_peak_bytes as f64,
        Kind::Bytes,
    );
    add("packets", a.packets as f64, b.packets as f64, Kind::Count);
    for ((name, x), (_, y)) in a.units.all().into_iter().zip(b.units.all()) {
        add(
            &format!("units.{name}.busy"),
            x.busy as f64,
            y.busy as f64,
            Kind::Count,
        );
    }
    list
}

/// The comparison as text.
pub fn draw(comparison: &Comparison, width: Option<u16>) -> String {
    let title = |side: &Side| format!("{} on {}, {}", side.model, side.target, side.precision);
    let mut text = format!("a: {}\nb: {}\n", title(&comparison.a), title(&comparison.b));
    for pair in &comparison.entries {
        let mut list = table::table(&[&format!("<{}", pair.name), "a", "b", "b / a"], width);
        for figure in &pair.figures {
            list.add_row([
                figure.name.clone(),
                value(figure.a, figure.kind),
                value(figure.b, figure.kind),
                figure.ratio.map_or("–".to_owned(), unit::ratio),
            ]);
        }
        text.push('\n');
        text.push_str(&table::text(&list));
    }
    for (name, alone) in [("a", &comparison.only_a), ("b", &comparison.only_b)] {
        if !alone.is_empty() {
            text.push_str(&format!("\nonly in {name}: {}\n", alone.join(", ")));
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
        insta::assert_snapshot!(draw(&Comparison::of(&a, &b), None));
    }
}
