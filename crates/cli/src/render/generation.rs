//! Costs of generation as text.

use packwright::cost::{GenerationReport, Length, TokenCost};
use packwright::survey_generation::GenerationRow;

use super::{table, unit};

/// The whole report.
pub fn draw(report: &GenerationReport, width: Option<u16>) -> String {
    let mut text = format!(
        "{} on {}, {}: {} + {} tokens, caches for {}\n  first token after {} ({}), then {} tokens/s at {} a token\n  all of it {}, {}\n\n",
        report.model,
        report.target,
        report.precision,
        report.prompt,
        report.new_tokens,
        report.capacity,
        unit::seconds(report.first_token_seconds),
        unit::joules(report.first_token_joules),
        unit::digits(report.tokens_per_second),
        unit::joules(report.joules_per_token),
        unit::seconds(report.total_seconds),
        unit::joules(report.total_joules),
    );
    let titles: Vec<_> = COLUMNS.iter().map(|(title, _)| *title).collect();
    let mut list = table::table(&titles, width);
    for token in &report.curve {
        list.add_row(COLUMNS.iter().map(|(_, text)| text(token)));
    }
    text.push_str(&table::text(&list));
    text
}

/// A column: its title and the text of a token.
type Column = (&'static str, fn(&TokenCost) -> String);

const COLUMNS: [Column; 9] = [
    ("context", |t| t.context.to_string()),
    ("ms", |t| unit::digits(t.seconds * 1e3)),
    ("tokens/s", |t| unit::digits(t.tokens_per_second)),
    ("mJ", |t| unit::digits(t.joules * 1e3)),
    ("DRAM MB", |t| unit::megabytes(t.dram_bytes.total)),
    ("weights", |t| {
        unit::megabytes(t.dram_bytes.weights.saturating_sub(t.head_bytes))
    }),
    ("head", |t| unit::megabytes(t.head_bytes)),
    ("kv", |t| {
        unit::megabytes(t.dram_bytes.kv_read + t.dram_bytes.kv_write)
    }),
    ("× bytes/rate", |t| unit::ratio(t.over_bandwidth)),
];
/// Costs of a text on the decoders.
pub fn draw_rows(rows: &[GenerationRow], length: Length, width: Option<u16>) -> String {
    let Length { prompt, new } = length;
    let mut text = format!(
        "Generation: a prompt of {prompt}, {new} new tokens; a token in the middle of the answer\n\n"
    );
    let done: Vec<_> = rows
        .iter()
        .filter_map(|row| Some((row, row.report.as_ref()?)))
        .collect();
    let titles: Vec<_> = ROW.iter().map(|(title, _)| *title).collect();
    let mut list = table::table(&titles, width);
    for (row, report) in &done {
        list.add_row(ROW.iter().map(|(_, text)| text(&row.name, report)));
    }
    text.push_str(&table::text(&list));
    let mut notes = String::new();
    for row in rows {
        let Some(reason) = &row.reason else { continue };
        let what = match row.report {
            Some(_) => "the prompt goes position by position",
            None => row.status.as_str(),
        };
        notes.push_str(&format!("{}  {what}: {reason}\n", row.name));
    }
    if !notes.is_empty() {
        text.push('\n');
        text.push_str(&notes);
    }
    text
}

/// A column of the decoders: its title and the text of a row.
type RowColumn = (&'static str, fn(&str, &GenerationReport) -> String);

const ROW: [RowColumn; 9] = [
    ("<model", |name, _| name.to_owned()),
    ("first token ms", |_, r| {
        unit::digits(r.first_token_seconds * 1e3)
    }),
    ("tokens/s", |_, r| unit::digits(r.tokens_per_second)),
    ("MB/token", |_, r| unit::megabytes(r.token.dram_bytes.total)),
    ("weights", |_, r| {
        unit::megabytes(
            r.token
                .dram_bytes
                .weights
                .saturating_sub(r.token.head_bytes),
        )
    }),
    ("head", |_, r| unit::megabytes(r.token.head_bytes)),
    ("kv", |_, r| {
        unit::megabytes(r.token.dram_bytes.kv_read + r.token.dram_bytes.kv_write)
    }),
    ("× bytes/rate", |_, r| unit::ratio(r.token.over_bandwidth)),
    ("mJ/token", |_, r| unit::digits(r.joules_per_token * 1e3)),
];
