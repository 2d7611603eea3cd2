//! One page with pictures, complete in itself: timeline, roofline, traffic by layer, SRAM, a sweep.
//!
//! Pictures are inline SVG made by [`chart`]; the page loads nothing.

use packwright_packet::program::{Entry, Program};
use packwright_sim::occupancy::occupancy;
use packwright_sim::report::Span;
use packwright_sim::{Options, Report as Run};
use packwright_target::Target;

use crate::report::json::{EntryReport, LayerReport, Report};
use crate::trace::bandwidth;

mod chart;

use chart::{Chart, Scale, escape};

/// Colours of the categories of traffic, in their order.
const COLOURS: [&str; 9] = [
    "#4e79a7", "#a0cbe8", "#59a14f", "#8cd17d", "#e15759", "#ff9d9a", "#b07aa1", "#d4a6c8",
    "#79706e",
];

/// The page for a report and the runs behind it; `sweep` is the text of a CSV file.
pub fn page(
    program: &Program,
    target: &Target,
    report: &Report,
    runs: &[(&Entry, Options, Run)],
    sweep: Option<&str>,
) -> String {
    let title = format!("{} on {}", escape(&report.model), escape(&report.target));
    let mut body = format!("<h1>{title}</h1>\n<p>{}</p>\n", escape(&target.description));
    for (entry, (program_entry, options, run)) in report.entries.iter().zip(runs) {
        body += &headline(entry);
        body += &timeline(run, target);
        body += &rates(run, target);
        let used = occupancy(
            program_entry,
            &options.registers,
            &run.spans,
            target.sram.bytes,
        );
        body += &sram(&used, run.cycles, target);
        body += &roofline(entry, target);
        body += &traffic(&entry.layers);
    }
    if let Some(sweep) = sweep {
        body += &points(sweep);
    }
    let tool = escape(&program.tool);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n<style>\
         body{{font:14px/1.4 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#222}}\
         svg{{width:100%;height:auto;background:#fff}}text{{font:11px system-ui,sans-serif;fill:#333;\
         paint-order:stroke;stroke:#fff;stroke-width:3px;stroke-linejoin:round}}\
         table{{border-collapse:collapse}}td{{padding:1px 12px 1px 0}}</style></head>\n<body>\n{body}\
         <p>{tool}. The numbers of presets are ours, not a vendor's.</p>\n</body></html>\n"
    )
}

fn headline(entry: &EntryReport) -> String {
    let attainable = entry.bound.attainable_ratios();
    let rows = [
        (
            "time",
            format!("{:.3} ms, {} cycles", entry.seconds * 1e3, entry.cycles),
        ),
        ("limited by", entry.limited_by.clone()),
        (
            "DRAM",
            format!(
                "{:.2} MB, {:.2} of {:.2} GB/s",
                entry.dram_bytes.total as f64 / 1e6,
                entry.dram_bytes_per_second / 1e9,
                entry.dram_peak_bytes_per_second / 1e9
            ),
        ),
        (
            "bound",
            format!(
                "{:.3} × its bytes, {:.3} × its time",
                entry.bound.dram_ratio, entry.bound.time_ratio
            ),
        ),
        (
            "known schedules",
            format!(
                "{:.3} × their bytes, {:.3} × their time",
                attainable.0, attainable.1
            ),
        ),
        ("energy", format!("{:.3} mJ", entry.energy_joules * 1e3)),
    ];
    let rows =
        rows.map(|(name, value)| format!("<tr><td>{name}</td><td>{}</td></tr>\n", escape(&value)));
    format!(
        "<h2>Entry {}</h2>\n<table>{}</table>\n",
        escape(&entry.name),
        rows.concat()
    )
}

/// Stretches of a run that the timeline tells apart.
const STRETCHES: u64 = 240;

/// A row for each unit, darker where it is busier.
fn timeline(run: &Run, target: &Target) -> String {
    let mut units: Vec<String> = run.spans.iter().map(|span| span.unit.to_string()).collect();
    units.sort_unstable();
    units.dedup();
    let width = run.cycles.div_ceil(STRETCHES).max(1);
    let mut chart = Chart::new(
        "Timeline: share of the time that a unit is at work",
        30.0 + 18.0 * units.len() as f64,
        Scale::linear(0.0, target.seconds(run.cycles) * 1e3),
        Scale::linear(0.0, units.len() as f64),
    );
    for (row, unit) in units.iter().enumerate() {
        let mut busy = vec![0u64; run.cycles.div_ceil(width) as usize];
        for span in run
            .spans
            .iter()
            .filter(|span| span.unit.to_string() == *unit)
        {
            spread(&mut busy, width, span);
        }
        let y = (units.len() - row) as f64;
        chart.row_label(y - 0.5, unit);
        for (place, &cycles) in busy.iter().enumerate().filter(|&(_, &cycles)| cycles > 0) {
            let x = |place: u64| target.seconds(place * width) * 1e3;
            let share = cycles as f64 / width as f64;
            let colour = format!("rgba(78,121,167,{share:.2})");
            chart.rectangle(
                x(place as u64),
                x(place as u64 + 1),
                y - 0.9,
                y - 0.1,
                &colour,
                "",
            );
        }
    }
    chart.finish("ms", "")
}

fn spread(busy: &mut [u64], width: u64, span: &Span) {
    let first = span.start / width;
    for place in first..span.end.div_ceil(width).max(first) {
        let (start, end) = (place * width, (place + 1) * width);
        if let Some(sum) = busy.get_mut(place as usize) {
            *sum += span.end.min(end) - span.start.max(start);
        }
    }
}

fn rates(run: &Run, target: &Target) -> String {
    let peak = target.peak_bytes_per_second() / 1e9;
    let mut chart = Chart::new(
        "DRAM bandwidth; the line is the peak",
        180.0,
        Scale::linear(0.0, target.seconds(run.cycles) * 1e3),
        Scale::linear(0.0, peak * 1.1),
    );
    let ms = |cycle: u64| target.seconds(cycle) * 1e3;
    let bandwidth = bandwidth(&run.spans, run.cycles);
    let steps = bandwidth
        .stretches()
        .map(|(start, end, bytes)| (ms(start), bytes / target.seconds(end - start) / 1e9));
    chart.area(steps, ms(run.cycles), COLOURS[0]);
    chart.line(&[(0.0, peak), (ms(run.cycles), peak)], "#e15759");
    chart.finish("ms", "GB/s")
}

fn sram(used: &[(u64, u64)], cycles: u64, target: &Target) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let mut chart = Chart::new(
        "SRAM in use; the line is its size",
        180.0,
        Scale::linear(0.0, target.seconds(cycles) * 1e3),
        Scale::linear(0.0, mib(target.sram.bytes) * 1.1),
    );
    let ms = |cycle: u64| target.seconds(cycle) * 1e3;
    chart.area(
        used.iter().map(|&(at, bytes)| (ms(at), mib(bytes))),
        ms(cycles),
        COLOURS[2],
    );
    let size = mib(target.sram.bytes);
    chart.line(&[(0.0, size), (ms(cycles), size)], "#e15759");
    chart.finish("ms", "MiB")
}

/// Layers by products a byte of DRAM traffic, under what memory and array allow.
fn roofline(entry: &EntryReport, target: &Target) -> String {
    let peak = target.peak_macs_per_second() / 1e9;
    let rate = target.sustained_bytes_per_second() / 1e9;
    let (left, right) = (0.1, 1e5);
    let mut chart = Chart::new(
        "Roofline: each layer's products a DRAM byte, at the rate of its busiest unit; the whole entry in red",
        260.0,
        Scale::log(left, right),
        Scale::log(peak / 1e5, peak * 2.0),
    );
    chart.line(
        &[(left, left * rate), (peak / rate, peak), (right, peak)],
        "#333",
    );
    let mut dot = |macs: u64, bytes: u64, seconds: f64, colour: &str, name: &str| {
        if macs > 0 && seconds > 0.0 {
            let intensity = macs as f64 / bytes.max(1) as f64;
            chart.dot(intensity, macs as f64 / seconds / 1e9, colour, name);
        }
    };
    for layer in &entry.layers {
        let cycles = layer.busy.values().copied().max().unwrap_or(0);
        let name = format!("{} {}", layer.layer, layer.what);
        dot(
            layer.macs,
            layer.dram_bytes.total,
            target.seconds(cycles),
            COLOURS[0],
            &name,
        );
    }
    let bytes = entry.dram_bytes.total;
    dot(
        entry.macs_executed,
        bytes,
        entry.seconds,
        "#e15759",
        "entry",
    );
    chart.finish("multiply-adds a byte", "GMAC/s")
}

/// Bars of the layers with most traffic, by category.
fn traffic(layers: &[LayerReport]) -> String {
    const MOST: usize = 40;
    let mut order: Vec<&LayerReport> = layers.iter().filter(|l| l.dram_bytes.total > 0).collect();
    order.sort_by_key(|layer| std::cmp::Reverse(layer.dram_bytes.total));
    order.truncate(MOST);
    let most = order.first().map_or(1, |layer| layer.dram_bytes.total) as f64 / 1e6;
    let mut chart = Chart::new(
        "DRAM traffic by layer, the most first",
        30.0 + 16.0 * order.len() as f64,
        Scale::linear(0.0, most),
        Scale::linear(0.0, order.len() as f64),
    );
    for (row, layer) in order.iter().enumerate() {
        let y = (order.len() - row) as f64;
        let mut from = 0.0;
        for ((name, bytes), colour) in layer.dram_bytes.categories().into_iter().zip(COLOURS) {
            let to = from + bytes as f64 / 1e6;
            if bytes > 0 {
                chart.rectangle(
                    from,
                    to,
                    y - 0.9,
                    y - 0.1,
                    colour,
                    &format!("{name}: {bytes}"),
                );
            }
            from = to;
        }
        chart.label(0.0, y - 0.65, &format!("{} {}", layer.layer, layer.what));
    }
    let legend = crate::report::json::DramBytes::default().categories();
    let legend = legend.into_iter().zip(COLOURS).map(|((name, _), colour)| {
        format!(
            "<span style=\"color:{colour}\">■</span> {} ",
            name.replace('_', " ")
        )
    });
    chart.finish("MB", "") + &format!("<p>{}</p>\n", legend.collect::<String>())
}

/// Time over the first thing that a sweep varies.
fn points(csv: &str) -> String {
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next().unwrap_or("").split(',').collect();
    let Some(seconds) = header.iter().position(|&name| name == "seconds") else {
        return String::new();
    };
    let pareto = header.iter().position(|&name| name == "pareto");
    let rows = lines.filter_map(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        let x: f64 = cells.first()?.parse().ok()?;
        let y: f64 = cells.get(seconds)?.parse().ok()?;
        let front = pareto.and_then(|at| cells.get(at)) == Some(&"true");
        (y > 0.0).then(|| (x, y * 1e3, front, cells[..seconds].join(", ")))
    });
    let rows: Vec<_> = rows.collect();
    let bounds = |of: fn(&(f64, f64, bool, String)) -> f64| {
        let values = rows.iter().map(of);
        let (low, high) = values.fold((f64::MAX, 0.0f64), |(low, high), v| {
            (low.min(v), high.max(v))
        });
        Scale::log(low * 0.8, high * 1.25)
    };
    if rows.is_empty() {
        return String::new();
    }
    let title = format!("Sweep: time over {}; red is the front", header[0]);
    let mut chart = Chart::new(&title, 260.0, bounds(|row| row.0), bounds(|row| row.1));
    for (x, y, front, name) in &rows {
        chart.dot(*x, *y, if *front { "#e15759" } else { COLOURS[0] }, name);
    }
    chart.finish(header[0], "ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_becomes_dots() {
        let svg = points(
            "sram.bytes,cycles,seconds,pareto\n1024,7,0.5,true\n2048,3,0.25,false\nx,y,z,w\n",
        );
        assert_eq!(svg.matches("<circle").count(), 2);
        assert_eq!(points("no figures\n"), "");
    }
}
