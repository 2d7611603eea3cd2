//! `targets`: the preset machines, or one of them in full.

use clap::Args;
use packwright::errors::Failure;
use packwright::options;
use packwright::target::Target;
use serde::Serialize;

use crate::args::OverrideArgs;
use crate::output::{self, Output};
use crate::render::{table, unit};

/// List the preset machines, or print one as TOML.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  packwright targets
  packwright targets e2 > mine.toml            a file to start from
  packwright targets e2 --set sram.bytes=4MiB  with a number changed")]
pub struct Targets {
    /// A preset or a TOML file.
    pub name: Option<String>,
    #[command(flatten)]
    pub overrides: OverrideArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// A target in numbers and in derived rates.
#[derive(Serialize)]
struct TargetJson {
    name: String,
    fingerprint: String,
    macs_per_cycle: u64,
    dram_bytes_per_second: f64,
    numbers: Target,
}

impl From<Target> for TargetJson {
    fn from(numbers: Target) -> Self {
        Self {
            name: numbers.name.clone(),
            fingerprint: format!("{:016x}", numbers.fingerprint()),
            macs_per_cycle: numbers.peak_macs_per_cycle(),
            dram_bytes_per_second: numbers.peak_bytes_per_second(),
            numbers,
        }
    }
}

/// Prints the table, or one target.
pub fn run(args: &Targets, output: &Output) -> Result<(), Failure> {
    if let Some(name) = &args.name {
        let target = options::target(name, &args.overrides.set)?;
        return match args.json {
            true => output::print_json(&TargetJson::from(target)),
            false => output::print(&target.to_toml()),
        };
    }
    let mut targets = Vec::new();
    for name in Target::preset_names() {
        targets.push(options::target(name, &args.overrides.set)?);
    }
    if args.json {
        let list: Vec<_> = targets.into_iter().map(TargetJson::from).collect();
        return output::print_json(&list);
    }
    let titles = [
        "<target",
        "MAC/cycle",
        "clock",
        "SRAM",
        "<DRAM",
        "bandwidth",
        "cores",
    ];
    let mut list = table::table(&titles, output.width());
    for target in &targets {
        list.add_row([
            target.name.clone(),
            target.peak_macs_per_cycle().to_string(),
            format!("{} MHz", target.clock_hz / 1_000_000),
            unit::binary_bytes(target.sram.bytes),
            format!(
                "{} × {} bit",
                target.dram.standard,
                target.dram.channels * target.dram.channel_bits
            ),
            unit::rate(target.peak_bytes_per_second()),
            target.cores.to_string(),
        ]);
    }
    let note = "\nThe numbers of presets are ours; they describe no vendor's product.\n";
    output::print(&(table::text(&list) + note))
}
