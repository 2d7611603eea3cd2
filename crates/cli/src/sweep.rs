//! Sweeps: the same model at many points of machine, binding and plan.
//!
//! Points are worked on in parallel and listed in the order of their values. The graph is imported and fused
//! once for each binding; it is planned for each point, because the planner sees the machine. A point whose job
//! cannot be done has its reason in the row.

use std::collections::HashMap;
use std::sync::Mutex;

use packwright_compile::compile::{self as pipeline};
use packwright_compile::options::CompileOptions;
use packwright_ir::Graph;
use packwright_target::Target;
use packwright_target::unit::parse_quantity;
use rayon::prelude::*;
use serde::Serialize;

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
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    pub schema: &'static str,
    pub model: String,
    pub target: String,
    /// What is varied.
    pub axes: Vec<String>,
    pub points: Vec<Point>,
}

/// One point.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
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
    let graphs = Graphs::default();
    let rows = points.par_iter().map(|at| {
        if let Some(point) = known.iter().find(|point| point.at == *at) {
            return point.clone();
        }
        let point = figures(job, axes, at, &graphs).unwrap_or_else(|failure| Point {
            reason: Some(
                failure
                    .first()
                    .map_or_else(String::new, ToString::to_string),
            ),
            ..Point::default()
        });
        let point = Point {
            at: at.clone(),
            ..point
        };
        done(&point);
        point
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

/// Fused graphs by binding.
#[derive(Default)]
struct Graphs(Mutex<HashMap<String, Graph>>);

impl Graphs {
    fn get(
        &self,
        job: &Job,
        binding: &Binding,
        options: &CompileChoices,
    ) -> Result<Graph, Failure> {
        let key = format!("{binding:?}");
        // The lock is held while a graph is made: other points wait for it instead of making it too.
        let mut graphs = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(graph) = graphs.get(&key) {
            return Ok(graph.clone());
        }
        let graph = model::import(&job.model, binding)?.graph;
        let options = options.resolve(&graph)?;
        let (graph, _) = pipeline::fuse(graph, &options)?;
        graphs.insert(key, graph.clone());
        Ok(graph)
    }
}

/// The machine, the binding and the plan at a point.
fn setting(job: &Job, axes: &[Axis], at: &[f64]) -> Result<(Target, Binding, Plan), Failure> {
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

fn figures(job: &Job, axes: &[Axis], at: &[f64], graphs: &Graphs) -> Result<Point, Failure> {
    let (target, binding, plan) = setting(job, axes, at)?;
    let graph = graphs.get(job, &binding, &job.choices)?;
    let mut options = job.choices.resolve(&graph)?;
    for (name, value) in &plan {
        apply(&mut options, name, *value)?;
    }
    let compiled = pipeline::lower(graph, Vec::new(), &target, &options)?;
    let report = job::simulate(&compiled.program, &target, &SimulateChoices::default())?;
    let sum =
        |of: fn(&crate::report::json::EntryReport) -> u64| report.entries.iter().map(of).sum();
    let total =
        |of: fn(&crate::report::json::EntryReport) -> f64| report.entries.iter().map(of).sum();
    Ok(Point {
        at: at.to_vec(),
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

/// A row of the CSV form.
pub fn csv_row(p: &Point) -> String {
    let at: Vec<String> = p.at.iter().map(ToString::to_string).collect();
    let reason = p.reason.as_deref().unwrap_or("").replace(['"', '\n'], "'");
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
    Some(Point {
        at: at
            .iter()
            .map(|cell| cell.parse().ok())
            .collect::<Option<_>>()?,
        cycles: cycles.parse().ok()?,
        seconds: seconds.parse().ok()?,
        energy_joules: energy.parse().ok()?,
        dram_bytes: dram.parse().ok()?,
        spill_bytes: spill.parse().ok()?,
        sram_peak_bytes: peak.parse().ok()?,
        bound_seconds: bound.parse().ok()?,
        limited_by: (*limited).to_owned(),
        pareto: *pareto == "true",
        reason: (!reason.is_empty()).then(|| reason.to_owned()),
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
        let point = Point {
            at: vec![2.0],
            cycles: 7,
            seconds: 0.25,
            limited_by: "dram".into(),
            reason: Some("too small, far".into()),
            ..Point::default()
        };
        let text = format!("{}\n{}\n", csv_header(&axes), csv_row(&point));
        assert_eq!(parse_csv(&text, &axes), [point]);
        assert_eq!(parse_csv("else\n", &axes), []);
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
