//! Everything that has to hold, in the order in which it fails fastest.

use crate::{call, docs, tidy, validate};

/// Runs all checks.
pub fn run() -> anyhow::Result<()> {
    call("cargo", &["fmt", "--all", "--check"], &[])?;
    tidy::run()?;
    call(
        "cargo",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
        &[],
    )?;
    // Snapshots are read in review, never written by a test run.
    call("cargo", &["test", "--workspace"], &[("INSTA_UPDATE", "no")])?;
    docs::run(true)?;
    validate::run(true)
}
