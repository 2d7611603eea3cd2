//! `simulate`: what a program costs on a machine.

use std::path::PathBuf;

use clap::Args;
use packwright::errors::Failure;
use packwright::job::{self, SimulateChoices};
use packwright::{file, html, options, trace, why};

use crate::args::OverrideArgs;
use crate::output::{self, Output};
use crate::progress::Progress;
use crate::render::report;

/// Simulate a program: cycles, DRAM traffic, energy.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  packwright simulate model.npu
  packwright simulate model.npu --set dram.channels=2 --layers
  packwright simulate model.npu --why
  packwright simulate model.npu --trace trace.json    open it in Perfetto
  packwright simulate model.npu --html report.html")]
pub struct Simulate {
    /// The program.
    #[arg(value_name = "FILE.npu")]
    pub program: PathBuf,
    /// Another machine than the one that the program was compiled for: a preset or a TOML file.
    #[arg(short, long, value_name = "NAME|FILE", help_heading = "Target")]
    pub target: Option<String>,
    #[command(flatten)]
    pub overrides: OverrideArgs,
    /// The entry to simulate [default: all].
    #[arg(long, value_name = "NAME")]
    pub entry: Option<String>,
    /// Value of a register; repeatable [default: its declared maximum].
    #[arg(long, value_name = "NAME=N", value_parser = register)]
    pub register: Vec<(String, u64)>,
    /// Say what the time hangs on, and what more of each resource would save.
    #[arg(long)]
    pub why: bool,
    /// Let the memory controllers choose every burst, also where closed forms would do: slow.
    #[arg(long)]
    pub exact: bool,
    /// Write a trace in Chrome's event format.
    #[arg(long, value_name = "FILE.json")]
    pub trace: Option<PathBuf>,
    /// Write a page with pictures: timeline, roofline, traffic, SRAM.
    #[arg(long, value_name = "FILE.html")]
    pub html: Option<PathBuf>,
    /// A sweep to show in the page, as `sweep -o` writes it.
    #[arg(long, value_name = "FILE.csv", requires = "html")]
    pub html_sweep: Option<PathBuf>,
    /// Show every layer.
    #[arg(long)]
    pub layers: bool,
    /// Say what each packet cost, and what SRAM is in use over time, in the JSON.
    #[arg(long, requires = "json")]
    pub packets: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Reads `NAME=N`.
pub fn register(text: &str) -> Result<(String, u64), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("a register is set as NAME=VALUE")?;
    let value = value
        .trim()
        .parse()
        .map_err(|_| format!("`{value}` is no value"))?;
    Ok((name.trim().to_owned(), value))
}

/// Simulates and prints the report.
pub fn run(args: &Simulate, output: &Output) -> Result<(), Failure> {
    let program = job::load(file::read(&args.program)?, &file::shown(&args.program))?;
    let target = match &args.target {
        Some(name) => options::target(name, &args.overrides.set)?,
        None => options::adjust(job::own_target(&program)?, &args.overrides.set)?,
    };
    let choices = SimulateChoices {
        entry: args.entry.clone(),
        registers: args.register.clone(),
        exact: args.exact,
        packets: args.packets,
    };
    let progress = Progress::spinner(output, "simulating");
    let mut result = job::simulate(&program, &target, &choices)?;
    if let Some(path) = &args.trace {
        progress.say("tracing");
        let cycles: Vec<u64> = result.entries.iter().map(|entry| entry.cycles).collect();
        file::write_atomically(path, |out| {
            trace::write(&program, &target, &choices, &cycles, out)
        })?;
        let place = path.display();
        output.note(&format!("{place}: open it in https://ui.perfetto.dev"));
    }
    if args.why || args.html.is_some() {
        let runs = trace::simulate(&program, &target, &choices)?;
        if args.why {
            progress.say("changing the machine");
            for (report, (entry, _, run)) in result.entries.iter_mut().zip(&runs) {
                report.why = Some(why::why(&program, entry, &target, &choices, run, None));
            }
        }
        if let Some(path) = &args.html {
            let sweep = args
                .html_sweep
                .as_deref()
                .map(file::read_text)
                .transpose()?;
            let page = html::page(&program, &target, &result, &runs, sweep.as_deref());
            file::write_atomically(path, |out| out.write_all(page.as_bytes()))?;
        }
    }
    drop(progress);
    match args.json {
        true => output::print_json(&result),
        false => output::print(&report::draw(&result, args.layers, output.width())),
    }
}
