//! Traffic from the smallest SRAM to the largest, beside the attainable curve and the bound.

use packwright_compile::options::PlanMode;
use rayon::prelude::*;

use super::Selection;
use super::point::{LONGEST_RUN, Point, WIDE, Wide, megabytes, size};

/// KiB of SRAM.
const SIZES: [u64; 12] = [
    64, 96, 128, 192, 256, 384, 512, 1024, 2048, 4096, 8192, 16384,
];

/// What stands in a row.
struct Row {
    bytes: u64,
    attainable: u64,
    bound: u64,
}

pub fn section(selection: &Selection) -> anyhow::Result<String> {
    let mut text = String::from(
        "Machine e2 with other sizes of SRAM. A cell is MB without the packet stream, and × the attainable curve; \
         below 1, the curve's families of schedules were too few. Aims: never more bytes with more SRAM, geometric \
         mean at most 1.10 ×, worst at most 1.30 ×. A dash: the smallest plan needs more, or has \
         more packets than the check follows. `--plan least` gives no weight to time; its bytes, and those at 2,048 \
         positions and of models of a billion parameters, are those of the plan, which is not carried out.\n\n",
    );
    text += &format!(
        "| model | positions |{}\n|---|---|{}\n",
        SIZES.map(|kib| format!(" {} |", size(kib << 10))).concat(),
        "---|".repeat(SIZES.len())
    );
    let mut summaries = [PlanMode::Best, PlanMode::Least].map(Summary::of);
    for wide in WIDE.iter().filter(|wide| selection.has(wide.model)) {
        let model = wide.model;
        for &seq in wide.lengths {
            let mut label = format!("{model} | {seq}");
            let mut bounds = String::new();
            for summary in &mut summaries {
                let rows: Vec<Option<Row>> = SIZES
                    .par_iter()
                    .map(|&kib| row(wide, seq, kib, summary.mode))
                    .collect();
                text += &format!("| {label} |{}\n", rows.iter().map(cell).collect::<String>());
                " | `--plan least`".clone_into(&mut label);
                let curve = rows.iter().flatten().map(|row| megabytes(row.attainable));
                bounds = format!("| | attainable | {} |\n", aligned(&rows, curve));
                let least = rows.iter().flatten().map(|row| megabytes(row.bound));
                bounds += &format!("| | bound | {} |\n", aligned(&rows, least));
                summary.add(&format!("{model} {seq}"), &rows);
            }
            text += &bounds;
        }
    }
    text += "\n";
    for summary in &summaries {
        text += &summary.text();
    }
    Ok(text)
}

/// What all points of a kind of plan come to.
struct Summary {
    mode: PlanMode,
    name: &'static str,
    factors: Vec<f64>,
    /// Where traffic grows with SRAM.
    grown: Vec<String>,
}

impl Summary {
    fn of(mode: PlanMode) -> Self {
        Self {
            mode,
            name: match mode {
                PlanMode::Least => "With `--plan least`",
                _ => "As planned by default",
            },
            factors: Vec::new(),
            grown: Vec::new(),
        }
    }

    fn add(&mut self, label: &str, rows: &[Option<Row>]) {
        let made: Vec<&Row> = rows.iter().flatten().collect();
        self.factors.extend(made.iter().map(|row| row.factor()));
        let grows = made.windows(2).filter(|two| two[1].bytes > two[0].bytes);
        let most = grows.map(|two| two[1].bytes as f64 / two[0].bytes as f64);
        if let Some(most) = most.reduce(f64::max) {
            let percent = (most - 1.0) * 100.0;
            self.grown.push(format!("{label} by {percent:.3} %"));
        }
    }

    fn text(&self) -> String {
        let count = self.factors.len();
        let mean = self.factors.iter().map(|f| f.ln()).sum::<f64>() / count.max(1) as f64;
        let worst = self.factors.iter().copied().fold(0.0, f64::max);
        let grown = match self.grown.is_empty() {
            true => "nowhere".to_owned(),
            false => self.grown.join(", "),
        };
        format!(
            "{}: geometric mean {:.3} × the attainable curve over {count} points, worst {worst:.2} ×; traffic grows \
             with SRAM: {grown}.\n",
            self.name,
            mean.exp(),
        )
    }
}

impl Row {
    fn factor(&self) -> f64 {
        self.bytes as f64 / self.attainable as f64
    }
}

fn row(wide: &Wide, seq: u64, kib: u64, mode: PlanMode) -> Option<Row> {
    let point = Point {
        model: wide.model.to_owned(),
        target: "e2",
        seq: Some(seq),
        sram: Some(kib << 10),
        mode,
        ..Point::default()
    };
    let is_carried_out = mode == PlanMode::Best && seq <= LONGEST_RUN && !wide.is_large;
    let (bytes, bound) = match is_carried_out {
        true => {
            let report = point.report().ok()?;
            let bytes = report.dram_bytes.without_packets();
            (
                bytes,
                [report.bound.dram_bytes, report.bound.attainable_dram_bytes],
            )
        }
        false => {
            let (bytes, bound) = point.planned().ok()?;
            (bytes, [bound.dram_bytes, bound.attainable_dram_bytes])
        }
    };
    let [bound, attainable] = bound;
    Some(Row {
        bytes,
        attainable,
        bound,
    })
}

fn cell(row: &Option<Row>) -> String {
    match row {
        Some(row) => format!(" {} ({:.2}) |", megabytes(row.bytes), row.factor()),
        None => " – |".to_owned(),
    }
}

/// Figures of the rows that there are, with dashes at the others.
fn aligned(rows: &[Option<Row>], figures: impl Iterator<Item = String>) -> String {
    let mut figures = figures;
    let cells = rows.iter().map(|row| match row {
        Some(_) => figures.next().unwrap_or_default(),
        None => "–".to_owned(),
    });
    cells.collect::<Vec<_>>().join(" | ")
}
