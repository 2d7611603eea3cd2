//! The table of all embedded models.

use packwright::report::json::{EntryReport, SlmRow, Slms};
use packwright::target::Target;

use super::{table, unit};

/// Columns that the table with all traffic takes; narrower terminals get two tables.
const WIDE: u16 = 150;

/// The table with what it stands under.
pub fn draw(slms: &Slms, target: &Target, width: Option<u16>) -> String {
    let mut text = format!(
        "Embedded models on {}: {} MAC/cycle at {} MHz, {} SRAM, {} {}\n\
         {}, batch 1, sequence {} where it is free, one cold pass; the numbers of presets are ours\n\n",
        target.name,
        target.peak_macs_per_cycle(),
        target.clock_hz / 1_000_000,
        unit::binary_bytes(target.sram.bytes),
        target.dram.standard,
        unit::rate(target.peak_bytes_per_second()),
        slms.precision,
        slms.sequence_length,
    );
    let rows: Vec<_> = slms
        .rows
        .iter()
        .flat_map(|row| entries(row).iter().map(move |entry| (row, entry)))
        .collect();
    if !rows.is_empty() {
        match width {
            Some(width) if width < WIDE => {
                text.push_str(&grid(&rows, &[&MODEL[..], &COST[..]], Some(width)));
                text.push('\n');
                text.push_str(&grid(&rows, &[&MODEL[..1], &TRAFFIC[..]], Some(width)));
            }
            _ => text.push_str(&grid(&rows, &[&MODEL[..], &TRAFFIC[..], &COST[..]], width)),
        }
    }
    let missing: Vec<_> = slms
        .rows
        .iter()
        .filter(|row| row.reason.is_some() || entries(row).is_empty())
        .collect();
    if !missing.is_empty() && !rows.is_empty() {
        text.push('\n');
    }
    for row in missing {
        let reason = row.reason.as_deref().unwrap_or("unknown");
        let more = match row.problems {
            0 | 1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        text.push_str(&format!("{}  {}: {reason}{more}\n", row.name, row.status));
    }
    text
}

/// The parts of a model that have figures.
fn entries(row: &SlmRow) -> &[EntryReport] {
    row.report
        .as_ref()
        .map_or(&[], |report| report.entries.as_slice())
}

/// A column: its title and the text of a row.
type Column = (&'static str, fn(&SlmRow, &EntryReport) -> String);

const MODEL: [Column; 5] = [
    ("<model", name),
    ("params M", |_, e| unit::megabytes(e.parameters)),
    ("seq", |_, e| sequence(e)),
    ("GMAC", |_, e| unit::digits(e.macs as f64 / 1e9)),
    ("int8 MB", |_, e| unit::megabytes(e.weight_bytes)),
];

const TRAFFIC: [Column; 7] = [
    ("DRAM MB", |_, e| unit::megabytes(e.dram_bytes.total)),
    ("weights", |_, e| unit::megabytes(e.dram_bytes.weights)),
    ("embed", |_, e| unit::megabytes(e.dram_bytes.embeddings)),
    ("in+out", |_, e| {
        unit::megabytes(e.dram_bytes.inputs + e.dram_bytes.outputs)
    }),
    ("spill", |_, e| {
        unit::megabytes(e.dram_bytes.spill_read + e.dram_bytes.spill_write)
    }),
    ("kv", |_, e| {
        unit::megabytes(e.dram_bytes.kv_read + e.dram_bytes.kv_write)
    }),
    ("packets", |_, e| unit::megabytes(e.dram_bytes.packets)),
];

const COST: [Column; 6] = [
    ("bound MB", |_, e| unit::megabytes(e.bound.dram_bytes)),
    ("ratio", |_, e| unit::ratio(e.bound.dram_ratio)),
    ("ms", |_, e| unit::digits(e.seconds * 1e3)),
    ("× least", |_, e| unit::ratio(e.bound.time_ratio)),
    ("<limit", |_, e| e.limited_by.clone()),
    ("mJ", |_, e| unit::digits(e.energy_joules * 1e3)),
];

fn grid(rows: &[(&SlmRow, &EntryReport)], groups: &[&[Column]], width: Option<u16>) -> String {
    let columns = || groups.iter().flat_map(|group| group.iter());
    let titles: Vec<_> = columns().map(|(title, _)| *title).collect();
    let mut list = table::table(&titles, width);
    for (row, entry) in rows {
        list.add_row(columns().map(|(_, text)| text(row, entry)));
    }
    table::text(&list)
}

/// The model, and its part where it has several.
fn name(row: &SlmRow, entry: &EntryReport) -> String {
    if entries(row).len() > 1 || row.reason.is_some() {
        format!("{} {}", row.name, entry.name)
    } else {
        row.name.clone()
    }
}

/// The positions of an entry, whatever its axis is called, and those that are cached before them.
fn sequence(entry: &EntryReport) -> String {
    let mut axes = entry.binding.iter();
    let past = axes.find(|(name, _)| name.starts_with("past") && !name.contains('+'));
    match (entry.sequence_length, past) {
        (0, _) => "–".to_owned(),
        (n, None) => n.to_string(),
        (n, Some((_, past))) => format!("{past}+{n}"),
    }
}

#[cfg(test)]
mod tests {
    use packwright::report::json::{DramBytes, Report};

    use super::*;

    fn slms() -> Slms {
        let entry = EntryReport {
            parameters: 66_000_000,
            macs: 5_600_000_000,
            weight_bytes: 67_000_000,
            sequence_length: 128,
            seconds: 0.004_2,
            limited_by: "dram".into(),
            dram_bytes: DramBytes {
                weights: 43_000_000,
                total: 44_000_000,
                ..Default::default()
            },
            ..Default::default()
        };
        let report = Report {
            entries: vec![entry],
            ..Default::default()
        };
        let ok = SlmRow {
            name: "DistilBERT".into(),
            status: "ok".into(),
            report: Some(report),
            ..Default::default()
        };
        let missing = SlmRow {
            name: "Reformer".into(),
            status: "not yet".into(),
            reason: Some("no sorting [emit-operator]".into()),
            problems: 3,
            ..Default::default()
        };
        Slms {
            precision: "w8a8".into(),
            sequence_length: 128,
            rows: vec![ok, missing],
            ..Default::default()
        }
    }

    #[test]
    fn rows_stand_under_their_conditions() {
        let target = Target::preset("e2").expect("preset");
        insta::assert_snapshot!(draw(&slms(), &target, None));
    }

    #[test]
    fn narrow_terminals_get_two_tables() {
        let target = Target::preset("e2").expect("preset");
        insta::assert_snapshot!(draw(&slms(), &target, Some(100)));
    }
}
