//! `asm`: a program from its text form.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use packwright::errors::{self, Failure};
use packwright::file;
use packwright::packet::{asm, container};

use crate::output::Output;
use crate::render::unit;

/// Make a program from its text form.
#[derive(Debug, Args)]
#[command(after_help = "\
The text of a program whose constants are large names the file that holds them; it is
looked for in the folder of the text.

Examples:
  packwright dis model.npu -o model.packets && packwright asm model.packets -o again.npu")]
pub struct Asm {
    /// The text, as `packwright dis` prints it.
    #[arg(value_name = "FILE.packets")]
    pub input: PathBuf,
    /// Where the program goes [default: the name of the text, with .npu, in the current folder].
    #[arg(short, long, value_name = "FILE.npu")]
    pub output: Option<PathBuf>,
}

/// Assembles and writes.
pub fn run(args: &Asm, output: &Output) -> Result<(), Failure> {
    let text: Arc<str> = file::read_text(&args.input)?.into();
    let constants = match asm::constants_file(&text) {
        Some(name) => Some(file::read(
            &args.input.parent().unwrap_or(Path::new("")).join(name),
        )?),
        None => None,
    };
    let name = file::shown(&args.input);
    let program = asm::assemble(&text, constants)
        .map_err(|errors| errors::assembler_failure(&name, &text, errors))?;
    let path = super::output_path(args.output.as_deref(), &args.input, "npu");
    let mut bytes = 0;
    file::write_atomically(&path, |mut out| {
        let mut whole = Vec::new();
        container::write(&program, &mut whole)?;
        bytes = whole.len() as u64;
        std::io::Write::write_all(&mut out, &whole)
    })?;
    let packets: usize = program
        .entries
        .iter()
        .map(|entry| entry.packets.len())
        .sum();
    output.note(&format!(
        "{}: {packets} packets, {}",
        path.display(),
        unit::bytes(bytes)
    ));
    Ok(())
}
