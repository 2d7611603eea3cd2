//! The independent judge of programs: shares no code with what emits them.
//!
//! [`check`] returns every breach of the [`RULES`], as data. Registers are taken at their declared
//! maxima. Packets are ordered by tokens alone: neither their place in the stream nor the window
//! of the sequencer orders anything. Only where the tokens, registers and extents of an entry are
//! sound is the flow of data through its memories followed.

mod commands;
mod extents;
mod flow;
mod ledger;
mod order;
mod packets;
mod regions;
mod rule;

use packwright_target::Target;

pub use rule::{RULES, Rule};

use crate::program::{Entry, Program};

/// One breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable name of the rule.
    pub slug: &'static str,
    /// Index of the entry.
    pub entry: usize,
    /// Index of the packet in its entry.
    pub packet: Option<usize>,
    /// Index of the command in its packet.
    pub command: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: &'static str,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: entry {}", self.slug, self.entry)?;
        if let Some(packet) = self.packet {
            write!(f, ", p{packet}")?;
        }
        if let Some(command) = self.command {
            write!(f, ", command {command}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// All that is wrong with a program on a target; nothing where it is sound.
pub fn check(program: &Program, target: &Target) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, entry) in program.entries.iter().enumerate() {
        let maxima: Vec<_> = entry
            .registers
            .iter()
            .map(|register| register.max)
            .collect();
        let place = (None, None);
        let problems = &mut problems;
        let mut scope = Scope {
            program,
            target,
            index,
            entry,
            maxima: &maxima,
            place,
            problems,
        };
        check_entry(&mut scope);
    }
    regions::check_sharing(program, &mut problems);
    problems
}

/// What the rules of an entry look at, and where they put what they find.
struct Scope<'a> {
    program: &'a Program,
    target: &'a Target,
    index: usize,
    entry: &'a Entry,
    /// The declared maxima of the registers.
    maxima: &'a [u64],
    /// The packet and command that are looked at.
    place: (Option<usize>, Option<usize>),
    problems: &'a mut Vec<Problem>,
}

impl Scope<'_> {
    /// Notes a breach.
    fn breach(&mut self, rule: &Rule, message: String) {
        let Rule { slug, help, .. } = *rule;
        let (packet, command) = self.place;
        self.problems.push(Problem {
            slug,
            entry: self.index,
            packet,
            command,
            message,
            help,
        });
    }
}

/// All rules of one entry, in the order in which they rely on each other.
fn check_entry(scope: &mut Scope<'_>) {
    regions::check_regions(scope);
    regions::check_ports(scope);
    let before = scope.problems.len();
    packets::check_origins(scope);
    packets::check_frees(scope);
    packets::check_tokens(scope);
    for (at, packet) in scope.entry.packets.iter().enumerate() {
        for (number, command) in packet.commands.iter().enumerate() {
            scope.place = (Some(at), Some(number));
            if packets::check_registers(scope, command) {
                extents::check_extents(scope, command);
                commands::check_command(scope, command);
            }
        }
    }
    scope.place = (None, None);
    let steps: &[&str] = &[
        rule::REGISTER.slug,
        rule::TOKEN_SIGNALS.slug,
        rule::TOKEN_WAITS.slug,
        rule::DRAM_BOUNDS.slug,
        rule::SRAM_BOUNDS.slug,
        rule::FREE_BOUNDS.slug,
    ];
    if !scope.problems[before..]
        .iter()
        .any(|problem| steps.contains(&problem.slug))
    {
        flow::check_flow(scope);
    }
}
