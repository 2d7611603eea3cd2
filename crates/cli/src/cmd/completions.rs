//! `completions`: a script that completes the command line in a shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use packwright::errors::Failure;

use crate::args::Cli;
use crate::output;

/// Print a completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  packwright completions bash > ~/.local/share/bash-completion/completions/packwright
  packwright completions zsh > ~/.zfunc/_packwright")]
pub struct Completions {
    /// The shell.
    pub shell: Shell,
}

/// Prints the script.
pub fn run(args: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "packwright", &mut script);
    output::print_bytes(&script)
}
