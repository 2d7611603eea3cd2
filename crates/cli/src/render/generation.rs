//! Costs of generation as text.

use packwright::cost::{GenerationReport, TokenCost};

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
