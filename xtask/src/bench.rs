//! Timings of the main jobs as whole processes, beside the time of copying the same bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context;

use crate::{call, target_folder};

/// Times the release build; every figure is the median of `runs` runs after one that is not counted.
pub fn run(model: Option<&Path>, runs: usize) -> anyhow::Result<()> {
    call("cargo", &["build", "--release", "--quiet"], &[])?;
    let program = target_folder().join("release/packwright");
    let folder = tempfile::tempdir()?;
    println!(
        "{:<44} {:>10} {:>10} {:>10}",
        "job (median of wall seconds)", "seconds", "peak MiB", "ratio"
    );
    let help = measure(&program, &["--version"], runs)?;
    row("start of the process", help, None);
    for name in ["zoo:DistilBERT", "zoo:MiniLM"] {
        let job = measure(&program, &["estimate", name, "--json"], runs)?;
        row(
            &format!("estimate {name}"),
            job,
            Some(("start", help.seconds)),
        );
    }
    let slms = measure(&program, &["slms", "--json"], runs)?;
    row("slms", slms, Some(("start", help.seconds)));
    if let Some(model) = model {
        real(&program, model, folder.path(), runs)?;
    }
    Ok(())
}

/// Compiles a model with weights and copies its file in turn.
fn real(program: &Path, model: &Path, folder: &Path, runs: usize) -> anyhow::Result<()> {
    let out = folder.join("out.npu").display().to_string();
    let source = model.display().to_string();
    let arguments = [
        "compile",
        source.as_str(),
        "--seq",
        "128",
        "-o",
        out.as_str(),
    ];
    let copy = folder.join("copy.bin");
    let mut copies = Vec::new();
    for _ in 0..=runs {
        let start = Instant::now();
        fs::copy(model, &copy).context("copy of the model")?;
        copies.push(start.elapsed().as_secs_f64());
    }
    let copy = median(&copies[1..]);
    let job = measure(program, &arguments, runs)?;
    println!("{:<44} {copy:>10.3}", "copy of the model file");
    row("compile with weights", job, Some(("copy", copy)));
    Ok(())
}

/// What one job took.
#[derive(Clone, Copy)]
struct Figure {
    seconds: f64,
    peak_mib: Option<f64>,
}

fn measure(program: &Path, arguments: &[&str], runs: usize) -> anyhow::Result<Figure> {
    let mut seconds = Vec::new();
    let mut peak = None;
    for _ in 0..=runs {
        let start = Instant::now();
        let (status, kib) = timed(program, arguments)?;
        seconds.push(start.elapsed().as_secs_f64());
        anyhow::ensure!(status, "{} failed", arguments.join(" "));
        peak = kib.or(peak);
    }
    Ok(Figure {
        seconds: median(&seconds[1..]),
        peak_mib: peak.map(|kib| kib / 1024.0),
    })
}

/// Runs a command under GNU time where it is there, for the peak of resident memory.
fn timed(program: &Path, arguments: &[&str]) -> anyhow::Result<(bool, Option<f64>)> {
    let time = PathBuf::from("/usr/bin/time");
    if !time.exists() {
        let status = Command::new(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        return Ok((status.success(), None));
    }
    let output = Command::new(time)
        .args(["-f", "peak %M"])
        .arg(program)
        .args(arguments)
        .stdout(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let peak = text
        .lines()
        .rev()
        .find_map(|l| l.strip_prefix("peak "))
        .and_then(|v| v.parse().ok());
    Ok((output.status.success(), peak))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn row(name: &str, figure: Figure, to: Option<(&str, f64)>) {
    let peak = figure
        .peak_mib
        .map_or_else(|| "–".to_string(), |mib| format!("{mib:.0}"));
    let ratio = to.map_or_else(String::new, |(what, seconds)| {
        format!("{:.1} × {what}", figure.seconds / seconds)
    });
    println!("{name:<44} {:>10.3} {peak:>10} {ratio:>10}", figure.seconds);
}
