//! A report as text: the headline, traffic by category, units, layers.

use packwright::report::json::{EntryReport, LayerReport, Report, UnitReport, WhyReport};

use super::{table, unit};

/// Layers shown where not all are asked for.
const MOST_LAYERS: usize = 12;

/// The whole report.
pub fn draw(report: &Report, all_layers: bool, width: Option<u16>) -> String {
    let mut text = format!(
        "{} on {}, {}\n",
        report.model, report.target, report.precision
    );
    for entry in &report.entries {
        text.push('\n');
        text.push_str(&headline(entry));
        text.push('\n');
        text.push_str(&traffic(entry, width));
        text.push('\n');
        text.push_str(&units(entry, width));
        if let Some(why) = &entry.why {
            text.push('\n');
            text.push_str(&hangs_on(why, entry.cycles, width));
        }
        if !entry.layers.is_empty() {
            text.push('\n');
            text.push_str(&layers(entry, all_layers, width));
        }
    }
    text
}

fn headline(entry: &EntryReport) -> String {
    let binding: Vec<_> = entry
        .binding
        .iter()
        .map(|(name, n)| format!("{name}={n}"))
        .collect();
    let mut lines = vec![format!("entry {} ({})", entry.name, binding.join(", "))];
    lines.push(format!(
        "  {} parameters, {} MAC, {} of weights as stored, {} packets",
        unit::count(entry.parameters),
        unit::count(entry.macs),
        unit::bytes(entry.weight_bytes),
        unit::count(entry.packets),
    ));
    let per_second = if entry.seconds > 0.0 {
        1.0 / entry.seconds
    } else {
        0.0
    };
    lines.push(format!(
        "  {} ({} cycles, {} passes/s), limited by {}, {}",
        unit::seconds(entry.seconds),
        unit::count(entry.cycles),
        unit::digits(per_second),
        entry.limited_by,
        unit::joules(entry.energy_joules),
    ));
    lines.push(format!(
        "  DRAM {} of {} peak, SRAM peak {}",
        unit::rate(entry.dram_bytes_per_second),
        unit::rate(entry.dram_peak_bytes_per_second),
        unit::binary_bytes(entry.sram_peak_bytes),
    ));
    lines.push(format!(
        "  bound {} and {} ({}): {} in bytes, {} in time",
        unit::bytes(entry.bound.dram_bytes),
        unit::seconds(entry.bound.seconds),
        entry.bound.binding_term,
        unit::ratio(entry.bound.dram_ratio),
        unit::ratio(entry.bound.time_ratio),
    ));
    let (in_bytes, in_time) = entry.bound.attainable_ratios();
    lines.push(format!(
        "  known schedules reach {} and {}: {} in bytes, {} in time",
        unit::bytes(entry.bound.attainable_dram_bytes),
        unit::seconds(entry.bound.attainable_seconds),
        unit::ratio(in_bytes),
        unit::ratio(in_time),
    ));
    lines.push(format!(
        "  padding {} of bursts and {} of the array's multiply-adds",
        unit::bytes(entry.padding.dram_bytes),
        unit::share(entry.padding.macs, entry.padding.macs + entry.macs_executed),
    ));
    lines.extend(entry.notes.iter().map(|note| format!("  note: {note}")));
    lines.join("\n") + "\n"
}

fn traffic(entry: &EntryReport, width: Option<u16>) -> String {
    let bytes = &entry.dram_bytes;
    let mut list = table::table(&["<DRAM traffic", "bytes", "share"], width);
    for (name, part) in bytes.categories() {
        if part > 0 {
            list.add_row([
                words(name),
                unit::bytes(part),
                unit::share(part, bytes.total),
            ]);
        }
    }
    list.add_row(["total".to_owned(), unit::bytes(bytes.total), String::new()]);
    table::text(&list)
}

fn units(entry: &EntryReport, width: Option<u16>) -> String {
    let mut list = table::table(&["<unit", "count", "busy", "idle", "<stalled"], width);
    for (name, report) in entry.units.all() {
        let cycles = total(report);
        let stalls = report.stall.iter().filter(|&(_, &cycles)| cycles > 0);
        let stalls: Vec<_> = stalls
            .map(|(cause, &n)| format!("{} {}", words(cause), unit::share(n, cycles)))
            .collect();
        list.add_row([
            name.to_owned(),
            report.count.to_string(),
            unit::share(report.busy, cycles),
            unit::share(report.idle, cycles),
            stalls.join(", "),
        ]);
    }
    table::text(&list)
}

fn total(report: &UnitReport) -> u64 {
    report.busy + report.idle + report.stall.values().sum::<u64>()
}

/// Steps of the critical path that are shown.
const MOST_STEPS: usize = 16;

fn hangs_on(why: &WhyReport, cycles: u64, width: Option<u16>) -> String {
    let titles = ["<time along the critical path", "<layer", "cycles", "share"];
    let mut list = table::table(&titles, width);
    let mut kinds: Vec<(&str, u64)> = Vec::new();
    for step in &why.path {
        match kinds.iter_mut().find(|(what, _)| *what == step.what) {
            Some((_, sum)) => *sum += step.cycles,
            None => kinds.push((&step.what, step.cycles)),
        }
    }
    kinds.sort_by_key(|&(_, cycles)| std::cmp::Reverse(cycles));
    for (what, sum) in kinds {
        let row = [what, "all"].map(str::to_owned);
        let [what, layer] = row;
        list.add_row([what, layer, unit::count(sum), unit::share(sum, cycles)]);
    }
    for step in why.path.iter().take(MOST_STEPS) {
        let layer = step.layer.clone();
        let share = unit::share(step.cycles, cycles);
        list.add_row([step.what.clone(), layer, unit::count(step.cycles), share]);
    }
    let mut text = table::text(&list) + "\n";
    let mut list = table::table(&["<with", "cycles", "saves"], width);
    for more in &why.more {
        let saves = more.saves as f64 / cycles.max(1) as f64 * 100.0;
        let cycles = more.cycles.map_or_else(|| "–".to_owned(), unit::count);
        list.add_row([more.resource.clone(), cycles, format!("{saves:.1} %")]);
    }
    text.push_str(&table::text(&list));
    text.push_str(match why.more.iter().all(|more| more.recompiled) {
        true => "each compiled for the changed machine\n",
        false => "the same packets on the changed machine; `estimate --why` compiles anew, and tries more SRAM\n",
    });
    text
}

fn layers(entry: &EntryReport, all: bool, width: Option<u16>) -> String {
    let mut order: Vec<&LayerReport> = entry.layers.iter().collect();
    if !all && order.len() > MOST_LAYERS {
        // The heaviest first; layers of the same weight stay in the order of the network.
        order.sort_by_key(|layer| std::cmp::Reverse(layer.dram_bytes.total));
        order.truncate(MOST_LAYERS);
    }
    let titles = ["<layer", "<what", "MAC", "DRAM", "dma", "matrix", "vector"];
    let mut list = table::table(&titles, width);
    for layer in &order {
        let busy = |unit: &str| layer.busy.get(unit).copied().unwrap_or(0);
        list.add_row([
            if layer.layer.is_empty() {
                "–".to_owned()
            } else {
                layer.layer.clone()
            },
            layer.what.clone(),
            unit::count(layer.macs),
            unit::bytes(layer.dram_bytes.total),
            unit::share(busy("dma"), entry.cycles),
            unit::share(busy("matrix"), entry.cycles),
            unit::share(busy("vector"), entry.cycles),
        ]);
    }
    let mut text = table::text(&list);
    if order.len() < entry.layers.len() {
        let left = entry.layers.len() - order.len();
        text.push_str(&format!(
            "the {MOST_LAYERS} with most traffic; {left} more with --layers\n"
        ));
    }
    text
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use packwright::report::json::{BoundReport, DramBytes};

    use super::*;

    #[test]
    fn reports_say_what_matters_first() {
        let mut entry = EntryReport {
            name: "main".into(),
            parameters: 22_600_000,
            macs: 1_420_000_000,
            weight_bytes: 22_700_000,
            packets: 4321,
            cycles: 1_500_000,
            seconds: 0.0015,
            energy_joules: 0.000_9,
            limited_by: "dram".into(),
            sram_peak_bytes: 1 << 20,
            dram_bytes: DramBytes {
                weights: 10_700_000,
                packets: 300_000,
                total: 11_000_000,
                ..Default::default()
            },
            bound: BoundReport {
                dram_bytes: 10_600_000,
                attainable_dram_bytes: 10_900_000,
                seconds: 0.001_2,
                attainable_seconds: 0.001_3,
                binding_term: "weights".into(),
                dram_ratio: 1.01,
                time_ratio: 1.25,
                ..Default::default()
            },
            layers: vec![LayerReport {
                layer: "layer.0".into(),
                what: "matmul".into(),
                macs: 7,
                ..Default::default()
            }],
            ..Default::default()
        };
        entry.binding.insert("sequence_length".into(), 128);
        entry.units.dma = UnitReport {
            count: 2,
            busy: 2_800_000,
            idle: 100_000,
            stall: [("sram_full".to_owned(), 100_000)].into(),
            each: Vec::new(),
        };
        let report = Report {
            model: "minilm".into(),
            target: "e2".into(),
            precision: "w8a8".into(),
            entries: vec![entry],
            ..Default::default()
        };
        insta::assert_snapshot!(draw(&report, false, None));
    }
}
