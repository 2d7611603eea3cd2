//! Sweeps: the same model at many points of machine, binding and plan.
//!
//! Points are worked on in parallel and listed in the order of their values. What a varied number does not touch
//! is done once: the graph is imported and fused once for each binding, and planned, emitted and judged once for
//! each machine as the planner sees it ([`planned`]); what only the simulator reads asks for a simulation and no
//! more. A point whose job cannot be done has its reason in the row.

use std::collections::HashMap;

use indexmap::IndexMap;
use packwright_compile::compile::{self as pipeline};
use packwright_compile::options::CompileOptions;
use packwright_ir::Graph;
use packwright_packet::program::Program;
use packwright_target::Target;
use packwright_target::unit::parse_quantity;
use rayon::prelude::*;
use serde_json::{Map, Value};

use crate::errors::{Failure, Problem};
use crate::job::{self, SimulateChoices};
use crate::model::{self, Binding};
use crate::options::{self, CompileChoices};

/// Schema of [`Sweep`].
pub const SWEEP_SCHEMA: &str = "packwright.sweep/1";

/// Something that is varied: a number of the target, `bind.seq` and the like, or `plan.tile_bytes` and the
/// like, with its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    pub path: String,
    pub values: Vec<f64>,
}

/// What stays the same.
#[derive(Clone, Debug)]
pub struct Job {
    pub model: String,
    pub binding: Binding,
    pub target: Target,
    pub choices: CompileChoices,
}

/// All points.
#[derive(Clone, Debug)]
pub struct Sweep {
    pub schema: &'static str,
    pub model: String,
    pub target: String,
    /// What is varied.
    pub axes: Vec<String>,
    pub points: Vec<Point>,
}

impl Sweep {
    /// A flat row for each point, with the columns of the CSV form: numbers, null where there are none.
    pub fn rows(&self) -> Vec<Map<String, Value>> {
        let rows = self.points.iter().map(|p| {
            let mut row = Map::new();
            for (axis, &value) in self.axes.iter().zip(&p.at) {
                row.insert(axis.clone(), value.into());
            }
            let figures: [(&str, Value); 8] = [
                ("cycles", p.cycles.into()),
                ("seconds", p.seconds.into()),
                ("energy_joules", p.energy_joules.into()),
                ("dram_bytes", p.dram_bytes.into()),
                ("spill_bytes", p.spill_bytes.into()),
                ("sram_peak_bytes", p.sram_peak_bytes.into()),
                ("bound_seconds", p.bound_seconds.into()),
                ("limited_by", p.limited_by.clone().into()),
            ];
            for (name, value) in figures {
                let value = if p.reason.is_some() {
                    Value::Null
                } else {
                    value
                };
                row.insert(name.to_owned(), value);
            }
            row.insert("pareto".to_owned(), p.pareto.into());
            row.insert("reason".to_owned(), p.reason.clone().into());
            row
        });
        rows.collect()
    }
}

/// One point.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    /// Values of what is varied, in the order of the axes.
    pub at: Vec<f64>,
    pub cycles: u64,
    pub seconds: f64,
    pub energy_joules: f64,
    pub dram_bytes: u64,
    pub spill_bytes: u64,
    pub sram_peak_bytes: u64,
    pub bound_seconds: f64,
    pub limited_by: String,
    /// Whether no other point is as fast with no more of anything that is varied, and better in one of them.
    pub pareto: bool,
    /// Why there are no figures.
    pub reason: Option<String>,
}

impl Axis {
    /// Reads `path=a,b,c`, `path=a..b` (doubling) or `path=a..b+step`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| -> Failure {
            Problem::error("sweep-axis", format!("cannot vary {text:?}: {why}"))
                .help("write e.g. --vary sram.bytes=256KiB..8MiB, --vary bind.seq=64,128 or --vary cores=1..4+1")
                .into()
        };
        let (path, list) = text.split_once('=').ok_or_else(|| wrong("there is no ="))?;
        let number = |text: &str| {
            let value = parse_quantity(text).filter(|value| value.is_finite() && *value > 0.0);
            value.ok_or_else(|| wrong(&format!("{text:?} is no positive number")))
        };
        let mut values = Vec::new();
        for part in list.split(',') {
            let Some((first, last)) = part.split_once("..") else {
                values.push(number(part)?);
                continue;
            };
            let (last, step) = match last.split_once('+') {
                Some((last, step)) => (last, Some(number(step)?)),
                None => (last, None),
            };
            let (mut value, last) = (number(first)?, number(last)?);
            while value <= last * (1.0 + 1e-9) && values.len() < MOST_VALUES {
                values.push(value);
                value = step.map_or(2.0 * value, |step| value + step);
            }
        }
        if values.is_empty() {
            return Err(wrong("there are no values"));
        }
        Ok(Self {
            path: path.trim().to_owned(),
            values,
        })
    }
}

/// Most values of one axis.
const MOST_VALUES: usize = 4096;

/// All combinations, the last axis fastest.
pub fn points(axes: &[Axis]) -> Vec<Vec<f64>> {
    let mut list = vec![Vec::new()];
    for axis in axes {
        list = list
            .iter()
            .flat_map(|point| {
                axis.values
                    .iter()
                    .map(move |&value| [&point[..], &[value]].concat())
            })
            .collect();
    }
    list
}

/// Works through the points that are not `known`; `done` is told of each.
///
/// # Errors
/// When an axis names nothing, or the model cannot be read.
pub fn sweep(
    job: &Job,
    axes: &[Axis],
    known: &[Point],
    done: &(dyn Fn(&Point) + Sync),
) -> Result<Sweep, Failure> {
    let points = points(axes);
    if let Some(first) = points.first() {
        setting(job, axes, first)?;
    }
    let settings: Vec<Setting> = points.par_iter().map(|at| setting(job, axes, at)).collect();
    let known: Vec<Option<&Point>> = points
        .iter()
        .map(|at| known.iter().find(|point| point.at == *at))
        .collect();
    let mut graphs: IndexMap<String, Binding> = IndexMap::new();
    let mut groups: IndexMap<String, Vec<usize>> = IndexMap::new();
    for (place, setting) in settings.iter().enumerate() {
        if known[place].is_some() {
            continue;
        }
        let key = match setting {
            Ok((target, binding, plan)) => {
                graphs.insert(format!("{binding:?}"), binding.clone());
                let seen = planned(target, &job.target).to_toml();
                format!("{binding:?} {plan:?} {seen}")
            }
            Err(_) => String::new(),
        };
        groups.entry(key).or_default().push(place);
    }
    let graphs: Vec<(String, Binding)> = graphs.into_iter().collect();
    let graphs: Graphs = graphs
        .par_iter()
        .map(|(key, binding)| (key.clone(), fused(job, binding)))
        .collect();
    let groups: Vec<Vec<usize>> = groups.into_values().collect();
    let rows = groups.par_iter().flat_map(|members| {
        let program = program(job, &settings[members[0]], &graphs);
        let simulated = members.par_iter().map(|&place| {
            let point = match (&program, &settings[place]) {
                (Ok(program), Ok((target, ..))) => figures(program, target),
                (Err(failure), _) | (_, Err(failure)) => Err(failure.clone()),
            };
            let point = Point {
                at: points[place].clone(),
                ..point.unwrap_or_else(|failure| without_figures(&failure))
            };
            done(&point);
            (place, point)
        });
        simulated.collect::<Vec<_>>()
    });
    let made: HashMap<usize, Point> = rows.collect();
    let rows = known.iter().enumerate().filter_map(|(place, known)| {
        let known = known.cloned();
        known.or_else(|| made.get(&place).cloned())
    });
    let mut points: Vec<Point> = rows.collect();
    mark_pareto(&mut points);
    Ok(Sweep {
        schema: SWEEP_SCHEMA,
        model: job.model.clone(),
        target: job.target.name.clone(),
        axes: axes.iter().map(|axis| axis.path.clone()).collect(),
        points,
    })
}

/// The machine, the binding and the plan at a point.
type Setting = Result<(Target, Binding, Plan), Failure>;

/// Fused graphs by binding.
type Graphs = HashMap<String, Result<Graph, Failure>>;

fn without_figures(failure: &Failure) -> Point {
    let first = failure
        .first()
        .map_or_else(String::new, ToString::to_string);
    Point {
        reason: Some(first),
        ..Point::default()
    }
}

fn fused(job: &Job, binding: &Binding) -> Result<Graph, Failure> {
    let graph = model::import(&job.model, binding)?.graph;
    let options = job.choices.resolve(&graph)?;
    Ok(pipeline::fuse(graph, &options)?.0)
}

/// The program of the points that share one, judged.
fn program(job: &Job, setting: &Setting, graphs: &Graphs) -> Result<Program, Failure> {
    let (target, binding, plan) = setting.clone()?;
    let seen = planned(&target, &job.target);
    let graph = match graphs.get(&format!("{binding:?}")) {
        Some(graph) => graph.clone()?,
        None => fused(job, &binding)?,
    };
    let mut options = job.choices.resolve(&graph)?;
    for (name, value) in &plan {
        apply(&mut options, name, *value)?;
    }
    let compiled = pipeline::lower(graph, Vec::new(), &seen, &options)?;
    job::judge(&compiled.program, &seen)?;
    Ok(compiled.program)
}

/// The machine as a compilation sees it: numbers that only the simulator reads are those of `base`, so that
/// machines that differ in them alone share a program.
pub fn planned(target: &Target, base: &Target) -> Target {
    let mut seen = target.clone();
    seen.energy = base.energy.clone();
    seen.dma = base.dma.clone();
    seen.sram.banks = base.sram.banks;
    seen.sram.bank_bytes_per_cycle = base.sram.bank_bytes_per_cycle;
    let window = target.sequencer.window;
    seen.sequencer = base.sequencer.clone();
    seen.sequencer.window = window;
    seen.matrix.dataflow = base.matrix.dataflow;
    seen.matrix.double_buffered_weights = base.matrix.double_buffered_weights;
    seen.matrix.weight_rows_per_cycle = base.matrix.weight_rows_per_cycle;
    seen.matrix.taps = base.matrix.taps;
    seen.matrix.startup_cycles = base.matrix.startup_cycles;
    seen.vector.startup_cycles = base.vector.startup_cycles;
    let (own, dram) = (&target.dram, &mut seen.dram);
    *dram = base.dram.clone();
    // What the sustained rate follows from.
    dram.channels = own.channels;
    dram.channel_bits = own.channel_bits;
    dram.transfers_per_second = own.transfers_per_second;
    dram.refresh = own.refresh;
    dram.timing.refi = own.timing.refi;
    dram.timing.rfc = own.timing.rfc;
    seen
}

/// The machine, the binding and the plan at a point.
fn setting(job: &Job, axes: &[Axis], at: &[f64]) -> Setting {
    let (mut target, mut binding, mut plan) = (job.target.clone(), job.binding.clone(), Vec::new());
    let mut settings = Vec::new();
    for (axis, &value) in axes.iter().zip(at) {
        let path = axis.path.as_str();
        let whole = Some(value as u64);
        match path.split_once('.') {
            Some(("bind", "seq")) => binding.seq = whole,
            Some(("bind", "batch")) => binding.batch = whole,
            Some(("bind", "past")) => binding.past = whole,
            Some(("bind", "encoder")) => binding.encoder = whole,
            Some(("bind", name)) => {
                binding.names.insert(name.to_owned(), value as u64);
            }
            Some(("plan", name)) => plan.push((name.to_owned(), value as u64)),
            Some(("dram", "bandwidth")) => target.set_bandwidth(value),
            _ => settings.push(format!("{path}={value}")),
        }
    }
    let target = options::adjust(target, &settings)?;
    let mut options = CompileOptions::default();
    for (name, value) in &plan {
        apply(&mut options, name, *value)?;
    }
    Ok((target, binding, plan))
}

type Plan = Vec<(String, u64)>;

/// Sets an option of the planner.
fn apply(options: &mut CompileOptions, name: &str, value: u64) -> Result<(), Failure> {
    match name {
        "tile_bytes" => options.plan.tile_bytes = Some(value),
        "tile_share" => options.plan.tile_share = value,
        "row_chunk" => options.plan.row_chunk = value as usize,
        "score_rows" => options.plan.score_rows = Some(value as usize),
        _ => {
            let message = format!("the planner has no option `{name}`");
            return Err(Problem::error("sweep-axis", message)
                .help("its options are tile_bytes, tile_share, row_chunk and score_rows")
                .into());
        }
    }
    Ok(())
}

fn figures(program: &Program, target: &Target) -> Result<Point, Failure> {
    let report = job::simulate_judged(program, target, &SimulateChoices::default())?;
    // The program names the machine as it was planned for, and so the simulator does not compare times.
    if let Some(entry) = report.entries.iter().find(|e| e.seconds < e.bound.seconds) {
        let (found, bound) = (entry.seconds, entry.bound.seconds);
        let message = format!("a run of {found:e} s is below its bound of {bound:e} s");
        return Err(Problem::error("bound-violated", message).into());
    }
    let sum =
        |of: fn(&crate::report::json::EntryReport) -> u64| report.entries.iter().map(of).sum();
    let total =
        |of: fn(&crate::report::json::EntryReport) -> f64| report.entries.iter().map(of).sum();
    Ok(Point {
        at: Vec::new(),
        cycles: sum(|e| e.cycles),
        seconds: total(|e| e.seconds),
        energy_joules: total(|e| e.energy_joules),
        dram_bytes: sum(|e| e.dram_bytes.total),
        spill_bytes: sum(|e| e.dram_bytes.spill_read + e.dram_bytes.spill_write),
        sram_peak_bytes: report
            .entries
            .iter()
            .map(|e| e.sram_peak_bytes)
            .max()
            .unwrap_or(0),
        bound_seconds: total(|e| e.bound.seconds),
        limited_by: report
            .entries
            .first()
            .map_or_else(String::new, |e| e.limited_by.clone()),
        pareto: false,
        reason: None,
    })
}

/// Marks the points that no other one beats.
pub fn mark_pareto(points: &mut [Point]) {
    let costs = |point: &Point| [&[point.seconds], &point.at[..]].concat();
    let beats = |a: &Point, b: &Point| {
        let (a, b) = (costs(a), costs(b));
        a.iter().zip(&b).all(|(a, b)| a <= b) && a != b
    };
    let marks: Vec<bool> = points
        .iter()
        .map(|point| {
            let mut others = points.iter().filter(|other| other.reason.is_none());
            point.reason.is_none() && !others.any(|other| beats(other, point))
        })
        .collect();
    for (point, mark) in points.iter_mut().zip(marks) {
        point.pareto = mark;
    }
}

/// Columns of the CSV form behind those of the axes.
const COLUMNS: &str = "cycles,seconds,energy_joules,dram_bytes,spill_bytes,sram_peak_bytes,bound_seconds,limited_by,pareto,reason";

/// The header of the CSV form.
pub fn csv_header(axes: &[Axis]) -> String {
    let paths: Vec<&str> = axes.iter().map(|axis| axis.path.as_str()).collect();
    format!("{},{COLUMNS}", paths.join(","))
}

/// A row of the CSV form; a point without figures has empty cells.
pub fn csv_row(p: &Point) -> String {
    let at: Vec<String> = p.at.iter().map(ToString::to_string).collect();
    let reason = p.reason.as_deref().unwrap_or("").replace(['"', '\n'], "'");
    if p.reason.is_some() {
        return format!("{},,,,,,,,,false,\"{reason}\"", at.join(","));
    }
    format!(
        "{},{},{},{},{},{},{},{},{},{},\"{reason}\"",
        at.join(","),
        p.cycles,
        p.seconds,
        p.energy_joules,
        p.dram_bytes,
        p.spill_bytes,
        p.sram_peak_bytes,
        p.bound_seconds,
        p.limited_by,
        p.pareto
    )
}

/// Points of a CSV form with this header; other text gives none, broken rows are left out.
pub fn parse_csv(text: &str, axes: &[Axis]) -> Vec<Point> {
    let mut lines = text.lines();
    if lines.next() != Some(&csv_header(axes)) {
        return Vec::new();
    }
    lines
        .filter_map(|line| parse_row(line, axes.len()))
        .collect()
}

fn parse_row(line: &str, axes: usize) -> Option<Point> {
    let cells: Vec<&str> = line.splitn(axes + 10, ',').collect();
    let (at, rest) = cells.split_at_checked(axes)?;
    let [
        cycles,
        seconds,
        energy,
        dram,
        spill,
        peak,
        bound,
        limited,
        pareto,
        reason,
    ] = rest
    else {
        return None;
    };
    let reason = reason.strip_prefix('"')?.strip_suffix('"')?;
    let at = at.iter().map(|cell| cell.parse().ok());
    let at = at.collect::<Option<Vec<f64>>>()?;
    if !reason.is_empty() {
        return Some(Point {
            at,
            reason: Some(reason.to_owned()),
            ..Point::default()
        });
    }
    Some(Point {
        at,
        cycles: cycles.parse().ok()?,
        seconds: seconds.parse().ok()?,
        energy_joules: energy.parse().ok()?,
        dram_bytes: dram.parse().ok()?,
        spill_bytes: spill.parse().ok()?,
        sram_peak_bytes: peak.parse().ok()?,
        bound_seconds: bound.parse().ok()?,
        limited_by: (*limited).to_owned(),
        pareto: *pareto == "true",
        reason: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_double_step_or_list() {
        let values = |text: &str| {
            Axis::parse(text)
                .map(|axis| axis.values)
                .unwrap_or_default()
        };
        assert_eq!(
            values("sram.bytes=256KiB..1MiB"),
            [262_144.0, 524_288.0, 1_048_576.0]
        );
        assert_eq!(values("cores=1..3+1"), [1.0, 2.0, 3.0]);
        assert_eq!(values("bind.seq=64,128"), [64.0, 128.0]);
        assert!(Axis::parse("sram.bytes=many").is_err());
        assert!(Axis::parse("cores=3..1").is_err());
    }

    #[test]
    fn rows_come_back_as_they_were_written() {
        let axes = [Axis::parse("cores=1,2").expect("is an axis")];
        let good = Point {
            at: vec![2.0],
            cycles: 7,
            seconds: 0.25,
            limited_by: "dram".into(),
            ..Point::default()
        };
        let bad = Point {
            at: vec![1.0],
            reason: Some("too small, far".into()),
            ..Point::default()
        };
        let text = format!(
            "{}\n{}\n{}\n",
            csv_header(&axes),
            csv_row(&good),
            csv_row(&bad)
        );
        assert_eq!(parse_csv(&text, &axes), [good, bad]);
        assert_eq!(parse_csv("else\n", &axes), []);
    }

    #[test]
    fn rows_are_flat_and_have_the_columns_of_the_csv_form() {
        let axes = [Axis::parse("cores=1,2").expect("is an axis")];
        let sweep = Sweep {
            schema: SWEEP_SCHEMA,
            model: String::new(),
            target: String::new(),
            axes: vec!["cores".into()],
            points: vec![Point {
                at: vec![1.0],
                reason: Some("no".into()),
                ..Point::default()
            }],
        };
        let rows = sweep.rows();
        let names: Vec<&str> = rows[0].keys().map(String::as_str).collect();
        assert_eq!(names.join(","), csv_header(&axes));
        assert!(rows[0]["cycles"].is_null());
    }

    /// Numbers of a machine that a compilation does not read may change, and the packets stay the same.
    #[test]
    fn what_only_the_simulator_reads_does_not_change_the_program() {
        let graph = model::import(
            "zoo:TinyBERT",
            &Binding {
                seq: Some(64),
                ..Binding::default()
            },
        );
        let graph = graph.expect("is embedded").graph;
        let options = CompileChoices::default()
            .resolve(&graph)
            .expect("are sound");
        let (graph, _) = pipeline::fuse(graph, &options).expect("fuses");
        let entries = |target: &Target| {
            let compiled = pipeline::lower(graph.clone(), Vec::new(), target, &options);
            compiled.expect("fits").program.entries
        };
        for preset in ["e1", "e2", "evo"] {
            let base = Target::preset(preset).expect("is a preset");
            let changed = planned(&Target::preset("tiny").expect("is a preset"), &base);
            // The other way round: a machine that differs from the preset in all that only the simulator reads.
            let mut other = Target::preset("tiny").expect("is a preset");
            other.sequencer.fetch_bytes = 96;
            other.dram.timing.cl += 7;
            let mixed = planned(&base, &other);
            assert_ne!(changed, base);
            assert_ne!(mixed, base);
            assert!(entries(&mixed) == entries(&base), "{preset}");
        }
    }

    #[test]
    fn the_front_is_what_nothing_beats() {
        let point = |at: f64, seconds: f64| Point {
            at: vec![at],
            seconds,
            ..Point::default()
        };
        let mut points = [
            point(1.0, 3.0),
            point(2.0, 2.0),
            point(3.0, 2.0),
            point(4.0, 1.0),
        ];
        mark_pareto(&mut points);
        assert_eq!(points.map(|point| point.pareto), [true, true, false, true]);
    }
}
