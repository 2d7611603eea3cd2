//! The jobs of the command: compile, simulate, and both.

use std::io::{self, Write};
use std::path::Path;

use packwright_compile::compile::{self as pipeline, Compiled, Planned};
use packwright_compile::emit::constants::{Section, SectionError};
use packwright_compile::entries::{CompiledProgram, EntrySource};
use packwright_compile::pass::PassReport;
use packwright_ir::Graph;
use packwright_onnx::axis::Role;
use packwright_packet::container::{self, ReadOptions, read_with};
use packwright_packet::program::{Entry, Program, RegionKind};
use packwright_packet::{access, check};
use packwright_sim::occupancy::occupancy;
use packwright_sim::report::Bytes;
use packwright_target::Target;

use crate::errors::{Failure, Problem};
use crate::file;
use crate::model::{self, Binding, Given, Imported};
use crate::options::CompileChoices;
use crate::report::build;
use crate::report::json::{DramBytes, Report};
use crate::{trace, why};

/// Compiles a graph; the constants of the program are absent.
///
/// # Errors
/// Everything that stands in the way.
pub fn compile(
    graph: Graph,
    target: &Target,
    choices: &CompileChoices,
) -> Result<Compiled, Failure> {
    let options = choices.resolve(&graph)?;
    Ok(pipeline::compile(graph, target, &options)?)
}

/// Plans a graph: what [`compile`] makes packets of.
///
/// # Errors
/// Everything that stands in the way.
pub fn plan(graph: Graph, target: &Target, choices: &CompileChoices) -> Result<Planned, Failure> {
    let options = choices.resolve(&graph)?;
    let (graph, _) = pipeline::fuse(graph, &options)?;
    Ok(pipeline::plan(graph, target, &options)?)
}

/// What the passes of a compilation have noticed.
pub fn warnings(passes: &[PassReport]) -> impl Iterator<Item = Problem> {
    let all = passes.iter().flat_map(|pass| &pass.warnings);
    all.cloned().map(Problem::from)
}

/// Models that become the entries of one program: names, and models by path or by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryChoices {
    pub models: Vec<(String, String)>,
    /// Positions that caches have room for.
    pub capacity: Option<u64>,
    pub binding: Binding,
}

/// Compiles several models to one program; its constants are absent.
///
/// # Errors
/// Everything that stands in the way, in all of them.
pub fn compile_entries(
    entries: &EntryChoices,
    target: &Target,
    choices: &CompileChoices,
) -> Result<(CompiledProgram, Vec<Problem>), Failure> {
    let mut problems = Vec::new();
    let (mut sources, mut warnings) = (Vec::new(), Vec::new());
    for (name, spec) in &entries.models {
        match import_entry(entries, name, spec) {
            Ok(imported) => {
                warnings.extend(imported.warnings);
                sources.push(EntrySource {
                    name: name.clone(),
                    graph: imported.graph,
                });
            }
            Err(failure) => problems.extend(failure.at(&format!("entry {name}")).0),
        }
    }
    if !problems.is_empty() {
        return Err(Failure(problems));
    }
    let Some(first) = sources.first() else {
        return Err(Problem::error("entry-unknown", "no entry is given").into());
    };
    let options = choices.resolve(&first.graph)?;
    let compiled = packwright_compile::entries::compile_entries(sources, target, &options)?;
    Ok((compiled, warnings))
}

/// The input by which a merged export chooses between its branches: whether there is a past.
const MERGED: &str = "use_cache_branch";
/// Entries that begin a text: of a merged export they are the branch without a past.
const BEGINNING: [&str; 2] = ["prefill", "decoder"];

/// The graph of an entry. A model with a past computes one position behind it; a decoder behind an
/// encoder begins with one. A merged export is both, and the name of the entry says which. A name may end in `@` and the
/// positions of a pass, so that a program has prefills of several lengths.
fn import_entry(entries: &EntryChoices, name: &str, spec: &str) -> Result<Imported, Failure> {
    let given = &entries.binding;
    let (role, positions) = role_and_positions(name)?;
    if model::is_text(Path::new(spec)) {
        return model::import(spec, &Binding::default());
    }
    let model = model::open(spec)?;
    let axes = model.axes();
    let has = |role: Role| axes.iter().any(|axis| axis.role == role);
    let merged = model.inputs().iter().any(|port| port.name == MERGED);
    let begins = merged && BEGINNING.contains(&role);
    let (past, encoder) = (has(Role::Past) && !begins, has(Role::Encoder));
    let mut binding = given.clone();
    binding.past = begins.then_some(0);
    binding.encoder = None;
    if merged {
        let cached = Given::All(i64::from(!begins));
        binding.consts.entry(MERGED.to_owned()).or_insert(cached);
    }
    if past {
        let room = entries.capacity.map(|rows| rows.saturating_sub(1));
        binding.past = given.past.or(room);
    }
    if encoder {
        binding.encoder = given.encoder.or(given.seq);
    }
    binding.seq = match has(Role::Sequence) {
        false => None,
        true if past || encoder => Some(1),
        true => positions.or(given.seq).or(entries.capacity),
    };
    model::import(spec, &binding)
}

/// What the name of an entry says: `prefill@16` is a prefill of 16 positions.
fn role_and_positions(name: &str) -> Result<(&str, Option<u64>), Failure> {
    let Some((role, positions)) = name.split_once('@') else {
        return Ok((name, None));
    };
    match positions.parse() {
        Ok(positions) if positions > 0 => Ok((role, Some(positions))),
        _ => {
            let message = format!("`{positions}` is no number of positions");
            let help = "write e.g. --entry prefill@16=model.onnx";
            Err(Problem::error("entry-length", message).help(help).into())
        }
    }
}

/// Fills in the constants where the graph has values for all of them, and says whether it has.
///
/// # Errors
/// Lists constants whose values cannot be used.
pub fn add_constants(compiled: &mut Compiled) -> Result<bool, Failure> {
    Ok(pipeline::with_constants(compiled)?)
}

/// Writes a program with the constants of a section, which are made while they are written.
///
/// # Errors
/// Lists constants whose values cannot be used; when the file cannot be written.
pub fn write_with(program: &Program, section: &Section<'_>, path: &Path) -> Result<(), Failure> {
    let mut unusable = None;
    let written = file::write_atomically(path, |mut out| {
        let mut constants = |out: &mut dyn Write| {
            let written = section.write(packwright_onnx::let_go_of_pages, out);
            written.map_err(|error| match error {
                SectionError::Output(error) => error,
                SectionError::Unusable(problems) => {
                    unusable = Some(problems);
                    io::ErrorKind::InvalidData.into()
                }
            })
        };
        container::write_with(program, &mut constants, &mut out)
    });
    match unusable {
        Some(problems) => Err(problems.into()),
        None => written,
    }
}

/// Compiles and simulates a graph; its weights are not needed.
///
/// # Errors
/// Everything that stands in the way.
pub fn estimate(
    graph: Graph,
    target: &Target,
    choices: &CompileChoices,
) -> Result<Report, Failure> {
    let compiled = compile(graph, target, choices)?;
    simulate(&compiled.program, target, &SimulateChoices::default())
}

/// As [`estimate`], with what the time hangs on; the model is compiled for each changed machine.
///
/// # Errors
/// Everything that stands in the way.
pub fn estimate_why(
    graph: &Graph,
    target: &Target,
    choices: &CompileChoices,
) -> Result<Report, Failure> {
    let recompile = |target: &Target| Ok(compile(graph.clone(), target, choices)?.program);
    let program = recompile(target)?;
    let simulate_choices = SimulateChoices::default();
    let mut report = simulate(&program, target, &simulate_choices)?;
    let runs = trace::simulate(&program, target, &simulate_choices)?;
    for (report, (entry, _, run)) in report.entries.iter_mut().zip(&runs) {
        let recompile = Some(&recompile as why::Recompile<'_>);
        report.why = Some(why::why(
            &program,
            entry,
            target,
            &simulate_choices,
            run,
            recompile,
        ));
    }
    Ok(report)
}

/// What a simulation may choose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SimulateChoices {
    /// The only entry to simulate; all of them where there is none.
    pub entry: Option<String>,
    /// Values of registers by name; the others have their declared maxima.
    pub registers: Vec<(String, u64)>,
    /// Let the memory controllers choose every burst, also where closed forms would do.
    pub exact: bool,
    /// Whether the report says what each packet cost.
    pub packets: bool,
}

impl SimulateChoices {
    /// The options of the simulator for an entry.
    ///
    /// # Errors
    /// When a register is unknown or its value above the maximum.
    pub fn options(&self, entry: &Entry, spans: bool) -> Result<packwright_sim::Options, Failure> {
        Ok(packwright_sim::Options {
            registers: registers(entry, &self.registers)?,
            spans,
            exact: self.exact,
        })
    }
}

/// Simulates the entries of a program, after the check that it is sound on the target.
///
/// # Errors
/// What makes the program unsound, or the choices impossible.
pub fn simulate(
    program: &Program,
    target: &Target,
    choices: &SimulateChoices,
) -> Result<Report, Failure> {
    judge(program, target)?;
    simulate_judged(program, target, choices)
}

/// As [`simulate`], for a program that has been judged on a machine with the same SRAM.
///
/// # Errors
/// What makes the choices impossible, or the program end otherwise than at its end.
pub fn simulate_judged(
    program: &Program,
    target: &Target,
    choices: &SimulateChoices,
) -> Result<Report, Failure> {
    let mut report = build::report(program, target);
    for entry in entries(program, choices.entry.as_deref())? {
        let options = choices.options(entry, choices.packets)?;
        let run = build::run(program, entry, target, &options)?;
        let registers = &options.registers;
        let mut costs = build::entry_report(program, entry, target, &run, registers);
        if choices.packets {
            costs.packet_costs = build::packet_reports(program, entry, &run);
            costs.sram_over_time = occupancy(entry, registers, &run.spans, target.sram.bytes);
        }
        report.entries.push(costs);
    }
    Ok(report)
}

/// A program from the bytes of a `.npu` file.
///
/// # Errors
/// When it is none, or damaged.
pub fn load(bytes: bytes::Bytes, place: &str) -> Result<Program, Failure> {
    let options = ReadOptions::default();
    read_with(bytes, &options).map_err(|error| Failure::from(error).at(place))
}

/// The target that a program was compiled for.
///
/// # Errors
/// When the program holds none that can be read.
pub fn own_target(program: &Program) -> Result<Target, Failure> {
    Target::from_toml(&program.target_toml).map_err(|error| {
        Problem::error(error.code(), error.to_string())
            .help("name a target with -t")
            .at("the target in the program")
            .into()
    })
}

/// Runs the independent check over a program.
///
/// # Errors
/// Every breach of its rules.
pub fn judge(program: &Program, target: &Target) -> Result<(), Failure> {
    let problems = check::check(program, target);
    if problems.is_empty() {
        return Ok(());
    }
    let problems = problems.into_iter().map(|problem| {
        let entry = program
            .entries
            .get(problem.entry)
            .map_or("", |entry| entry.name.as_str());
        let mut place = format!("entry {entry}");
        if let Some(packet) = problem.packet {
            place.push_str(&format!(", packet p{packet}"));
        }
        if let Some(command) = problem.command {
            place.push_str(&format!(", command {command}"));
        }
        Problem::error(problem.slug, problem.message)
            .help(problem.help)
            .at(place)
    });
    Err(Failure(problems.collect()))
}

/// The entries that are meant.
///
/// # Errors
/// When there is none of that name.
pub fn entries<'p>(program: &'p Program, name: Option<&str>) -> Result<Vec<&'p Entry>, Failure> {
    let Some(name) = name else {
        return Ok(program.entries.iter().collect());
    };
    let found = program.entries.iter().find(|entry| entry.name == name);
    found.map(|entry| vec![entry]).ok_or_else(|| {
        let known: Vec<_> = program
            .entries
            .iter()
            .map(|entry| entry.name.as_str())
            .collect();
        Problem::error(
            "entry-unknown",
            format!("the program has no entry `{name}`"),
        )
        .help(format!("its entries are {}", known.join(", ")))
        .into()
    })
}

/// The values of an entry's registers: those given by name, else the declared maxima.
///
/// # Errors
/// When a name is unknown or a value above its maximum.
pub fn registers(entry: &Entry, given: &[(String, u64)]) -> Result<Vec<u64>, Failure> {
    let mut values: Vec<u64> = entry
        .registers
        .iter()
        .map(|register| register.max)
        .collect();
    let mut problems = Vec::new();
    for (name, value) in given {
        match entry
            .registers
            .iter()
            .position(|register| register.name == *name)
        {
            Some(at) if *value <= entry.registers[at].max => values[at] = *value,
            Some(at) => {
                let max = entry.registers[at].max;
                let message = format!("register `{name}` is {value}, above its maximum {max}");
                problems.push(Problem::error("register-too-large", message));
            }
            None => {
                let known: Vec<_> = entry.registers.iter().map(|r| r.name.as_str()).collect();
                let message = format!("entry `{}` has no register `{name}`", entry.name);
                let help = match known.is_empty() {
                    true => "it has none at all".to_owned(),
                    false => format!("its registers are {}", known.join(", ")),
                };
                problems.push(Problem::error("register-unknown", message).help(help));
            }
        }
    }
    if problems.is_empty() {
        Ok(values)
    } else {
        Err(Failure(problems))
    }
}

/// The DRAM traffic of an entry as its commands say it, without a simulation. The packet stream
/// counts with the size of its region.
pub fn predicted_traffic(entry: &Entry, registers: &[u64]) -> DramBytes {
    let mut bytes = Bytes::default();
    for command in entry.packets.iter().flat_map(|packet| &packet.commands) {
        for access in access::accesses(command, registers) {
            let access::Place::Dram(region) = access.place else {
                continue;
            };
            if let Some(region) = entry.regions.get(usize::from(region.0)) {
                let sum = bytes.of(region.kind, access.mode == access::Mode::Write);
                *sum = sum.saturating_add(access.bytes);
            }
        }
    }
    let streams = entry
        .regions
        .iter()
        .filter(|region| region.kind == RegionKind::Packets);
    bytes.packets = streams.map(|region| region.bytes).sum();
    build::dram_bytes(&bytes)
}
