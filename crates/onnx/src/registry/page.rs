//! The page of supported operators.

use super::Import::Refused;
use super::{MS, Row, rows};
use crate::load::OPSETS;

/// The page `docs/supported-ops.md`.
pub fn supported_ops_md() -> String {
    let mut page = format!(
        "# Supported operators\n\nGenerated from `crates/onnx/src/registry.rs`. \
         Operator sets {} to {} of ONNX. All shapes are static: axes are bound when a model is compiled.\n",
        OPSETS.start(),
        OPSETS.end()
    );
    for (domain, title) in [("", "ai.onnx"), (MS, MS)] {
        page += &format!(
            "\n## {title}\n\n| operator | opsets | limits | in the graph |\n|---|---|---|---|\n"
        );
        for row in sorted(domain, false) {
            let opsets = opsets(row);
            page += &format!(
                "| {} | {opsets} | {} | {} |\n",
                row.name,
                row.limits,
                row.form()
            );
        }
        page += "\nKnown and not supported:\n\n| operator | reason | instead |\n|---|---|---|\n";
        for row in sorted(domain, true) {
            if let Refused(reason, help) = &row.import {
                page += &format!("| {} | {reason} | {help} |\n", row.name);
            }
        }
    }
    page
}

fn sorted(domain: &str, refused: bool) -> Vec<&'static Row> {
    let wanted = |r: &&Row| r.domain == domain && matches!(r.import, Refused(..)) == refused;
    let mut rows: Vec<&Row> = rows().filter(wanted).collect();
    rows.sort_unstable_by_key(|r| r.name);
    rows
}

/// The operator sets in which a row holds.
fn opsets(row: &Row) -> String {
    if row.domain.is_empty() {
        format!("{}–{}", row.since.max(*OPSETS.start()), OPSETS.end())
    } else {
        row.since.to_string()
    }
}
