//! Timings of the main jobs as whole processes, beside the time of copying the same bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context;

use crate::{call, target_folder};

/// Times the release build; every figure is the median of `runs` runs after one that is not counted.
pub fn run(
    model: Option<&Path>,
    only_model: bool,
    python: Option<&Path>,
    runs: usize,
) -> anyhow::Result<()> {
    call("cargo", &["build", "--release", "--quiet"], &[])?;
    let program = target_folder().join("release/packwright");
    let folder = tempfile::tempdir()?;
    println!(
        "{:<44} {:>10} {:>10} {:>10}",
        "job (median of wall seconds)", "seconds", "peak MiB", "ratio"
    );
    if !only_model {
        embedded(&program, runs)?;
    }
    if let Some(model) = model {
        real(&program, model, folder.path(), runs)?;
        passes(
            model,
            &folder.path().join("out.npu"),
            python,
            folder.path(),
            runs,
        )?;
    }
    Ok(())
}

/// Jobs on embedded models.
fn embedded(program: &Path, runs: usize) -> anyhow::Result<()> {
    let help = measure(program, &["--version"], runs)?;
    row("start of the process", help, None);
    for name in ["zoo:DistilBERT", "zoo:MiniLM"] {
        let job = measure(program, &["estimate", name, "--json"], runs)?;
        row(
            &format!("estimate {name}"),
            job,
            Some(("start", help.seconds)),
        );
    }
    let slms = measure(program, &["slms", "--json"], runs)?;
    row("slms", slms, Some(("start", help.seconds)));
    sweep(program)?;
    planning(program, runs)?;
    call(
        "cargo",
        &["bench", "--quiet", "--workspace", "--bench", "simulate"],
        &[],
    )?;
    Ok(())
}

/// A sweep of 200 points on two threads: sizes of SRAM, bandwidths and arrays. It is to take less than a minute.
fn sweep(program: &Path) -> anyhow::Result<()> {
    let axes = [
        "sram.bytes=512KiB,768KiB,1MiB,1536KiB,2MiB,3MiB,4MiB,8MiB",
        "dram.bandwidth=4e9,8e9,17e9,34e9,68e9",
        "matrix.columns=16,32,64,128,256",
    ];
    let mut arguments = vec!["sweep", "zoo:MiniLM", "--csv", "-j", "2"];
    for axis in axes {
        arguments.extend(["--vary", axis]);
    }
    let job = measure(program, &arguments, 1)?;
    row(
        "sweep of 200 points, two threads",
        job,
        Some(("60 s", 60.0)),
    );
    Ok(())
}

/// Models that take long to plan, their positions and machines, and the seconds that they may take.
const PLANS: &[(&str, &str, &str, f64)] = &[
    ("DistilBERT", "512", "e1", 1.0),
    ("MiniLM", "512", "e1", 1.0),
    ("ALBERT", "128", "e2", 1.0),
    ("ALBERT", "512", "e6", 1.0),
    ("T5-Base:encoder", "512", "e2", 1.0),
    ("T5-Base:encoder", "512", "e1", 1.0),
    ("Llama-3.2-1B:prefill", "128", "e2", 5.0),
];

/// Planning, with import and graph passes: what a row takes is to be less than its aim, and less than 1 GB.
fn planning(program: &Path, runs: usize) -> anyhow::Result<()> {
    for &(model, positions, target, aim) in PLANS {
        let name = format!("zoo:{model}");
        let arguments = ["plan", &name, "--seq", positions, "--target", target];
        let job = measure(program, &arguments, runs)?;
        row(
            &format!("plan {model}, {positions}, {target}"),
            job,
            Some((&format!("{aim} s"), aim)),
        );
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
    let mut structure = arguments.to_vec();
    structure.push("--no-weights");
    let bare = measure(program, &structure, runs)?;
    row("compile without weights", bare, Some(("copy", copy)));
    // What is left is reading floats, quantising and writing records.
    let packing = job.seconds - bare.seconds;
    let gigabytes = fs::metadata(model)?.len() as f64 / 1e9;
    println!(
        "{:<44} {packing:>10.3} {:>10} {:>10}",
        "quantising and packing",
        "",
        format!("{:.2} GB/s", gigabytes / packing)
    );
    // The program that was left is the one without weights.
    measure(program, &arguments, 1)?;
    Ok(())
}

/// Times passes over the packets in this process, beside those of ONNX Runtime's int8 on two threads: medians,
/// and the least of each, which other work on the machine disturbs least.
fn passes(
    model: &Path,
    program: &Path,
    python: Option<&Path>,
    folder: &Path,
    runs: usize,
) -> anyhow::Result<()> {
    let failed = |failure: packwright::errors::Failure| anyhow::anyhow!("{failure}");
    let bytes = bytes::Bytes::from(fs::read(program)?);
    let program = packwright::job::load(bytes, "out.npu").map_err(failed)?;
    let target = packwright::job::own_target(&program).map_err(failed)?;
    let entry = program
        .entries
        .first()
        .context("the program has an entry")?;
    let mut machine = packwright_sim::func::Machine::new(&program, &target)?;
    let inputs: Vec<(String, Vec<u8>)> = entry
        .inputs
        .iter()
        .map(|port| {
            let count: u64 = port.shape.iter().product();
            let number = |at: u64| match port.name.as_str() {
                name if name.ends_with("attention_mask") => 1,
                name if name.ends_with("input_ids") => 1000 + at as i64,
                _ => 0,
            };
            let bytes = (0..count).flat_map(|at| number(at).to_le_bytes()).collect();
            (port.name.clone(), bytes)
        })
        .collect();
    let ports: Vec<(&str, &[u8])> = inputs.iter().map(|(n, b)| (n.as_str(), &b[..])).collect();
    let registers: Vec<u64> = entry
        .registers
        .iter()
        .map(|register| register.max)
        .collect();
    let mut seconds = Vec::new();
    for _ in 0..=runs.max(10) * 3 {
        let start = Instant::now();
        machine.run(entry, &ports, &registers)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    let figure = |seconds| Figure {
        seconds,
        peak_mib: None,
    };
    let least = seconds[1..].iter().copied().fold(f64::INFINITY, f64::min);
    let own = [
        ("a pass over the packets", figure(median(&seconds[1..]))),
        ("the least of them", figure(least)),
    ];
    let Some(python) = python else {
        for (name, own) in own {
            row(name, own, None);
        }
        println!("ONNX Runtime is not timed: no --python with onnxruntime is given");
        return Ok(());
    };
    let script = crate::root().join("xtask/scripts/ort_speed.py");
    let output = Command::new(python)
        .arg(script)
        .arg(model)
        .arg("128")
        .arg(folder)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.trim().lines().last().unwrap_or_default();
    let peer: Result<Vec<f64>, _> = line.split_whitespace().map(str::parse).collect();
    let Ok([middle, least]) = peer.as_deref() else {
        let complaint = String::from_utf8_lossy(&output.stderr);
        anyhow::bail!("ONNX Runtime gave no times: {complaint}");
    };
    let peers = [
        ("a pass of ONNX Runtime, int8, two threads", middle / 1e3),
        ("the least of them", least / 1e3),
    ];
    for (name, seconds) in peers {
        println!("{name:<44} {seconds:>10.4}");
    }
    for ((name, own), (_, peer)) in own.into_iter().zip(peers) {
        row(name, own, Some(("ONNX Runtime", peer)));
    }
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
