//! `dis`: a program in its text form.

use std::path::PathBuf;

use clap::Args;
use packwright::errors::{Failure, Problem};
use packwright::packet::disasm::{self, DisasmOptions};
use packwright::packet::program::Constants;
use packwright::{file, job};

use crate::output::{self, Output};

/// Print a program in its text form.
#[derive(Debug, Args)]
#[command(after_help = "\
With -o, constants that are too large for the text go to a file beside it. `packwright asm`
makes the same program again, byte for byte.

Examples:
  packwright dis model.npu | less
  packwright dis model.npu -o model.packets")]
pub struct Dis {
    /// The program.
    #[arg(value_name = "FILE.npu")]
    pub input: PathBuf,
    /// Where the text goes [default: standard output].
    #[arg(short, long, value_name = "FILE.packets")]
    pub output: Option<PathBuf>,
}

/// Prints or writes the text.
pub fn run(args: &Dis, output: &Output) -> Result<(), Failure> {
    let program = job::load(file::read(&args.input)?, &file::shown(&args.input))?;
    let Some(path) = &args.output else {
        return output::print(&disasm::disassemble(&program, &DisasmOptions::default()));
    };
    let constants = path.with_extension("constants");
    let name = constants
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| {
            let problem = Problem::error(
                "file-unwritable",
                "the output has no name that text can hold",
            );
            Failure::from(problem.at(file::shown(path)))
        })?;
    let text = disasm::disassemble(
        &program,
        &DisasmOptions {
            constants_file: name,
        },
    );
    if let Constants::Present(bytes) = &program.constants
        && bytes.len() > disasm::INLINE_CONSTANTS
    {
        file::write_atomically(&constants, |out| out.write_all(bytes))?;
        output.note(&format!("{}: {} bytes", constants.display(), bytes.len()));
    }
    file::write_atomically(path, |out| out.write_all(text.as_bytes()))?;
    output.note(&format!(
        "{}: {} lines",
        path.display(),
        text.lines().count()
    ));
    Ok(())
}
