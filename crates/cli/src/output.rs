//! Standard output and error, and what is known of the terminal.

use std::io::{self, IsTerminal, Write};

use packwright::errors::{Failure, Problem};
use packwright::ir::diag::Severity;
use serde::Serialize;

use crate::args::{Color, Global};

/// How the command talks to its user.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub quiet: bool,
    /// Whether standard error takes colours.
    pub error_colors: bool,
}

impl Output {
    /// What the global options and the terminal say.
    pub fn new(global: &Global) -> Self {
        let wished = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let colors = |terminal: bool| match global.color {
            Color::Auto => terminal && wished,
            Color::Always => true,
            Color::Never => false,
        };
        Self {
            quiet: global.quiet,
            error_colors: colors(io::stderr().is_terminal()),
        }
    }

    /// Columns of the terminal; `None` where output goes elsewhere.
    pub fn width(&self) -> Option<u16> {
        if io::stdout().is_terminal() {
            comfy_table::Table::new().width()
        } else {
            None
        }
    }

    /// Says something on standard error unless it is to be quiet.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            complain(text);
        }
    }

    /// Shows warnings on standard error unless it is to be quiet.
    pub fn warn(&self, warnings: &[Problem]) {
        for warning in warnings {
            debug_assert_eq!(warning.severity, Severity::Warning);
            self.note(&format!("warning: {warning}"));
        }
    }
}

/// Writes a result to standard output; a reader that has gone away is no error.
pub fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// Writes bytes to standard output; a reader that has gone away is no error.
pub fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let message = format!("standard output cannot be written: {error}");
            Err(Problem::error("file-unwritable", message).into())
        }
        _ => Ok(()),
    }
}

/// Writes a value as JSON to standard output.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| {
        Failure::from(Problem::error(
            "internal-error",
            format!("the report is no JSON: {error}"),
        ))
    })?;
    print(&(text + "\n"))
}

/// Writes a line to standard error, if anybody still listens.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end());
}
