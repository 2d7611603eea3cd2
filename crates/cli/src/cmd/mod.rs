//! The subcommands, one file each: its options, and what it does with them.

pub mod asm;
pub mod compare;
pub mod compile;
pub mod completions;
pub mod dis;
pub mod estimate;
pub mod evaluate;
pub mod explain;
pub mod generate;
pub mod inspect;
pub mod opt;
pub mod plan;
pub mod quantize;
pub mod run;
pub mod simulate;
pub mod slms;
pub mod sweep;
pub mod targets;

use std::path::{Path, PathBuf};

/// Where a result goes: where it was asked to, else into the current folder under the input's name.
pub fn output_path(asked: Option<&Path>, input: &Path, extension: &str) -> PathBuf {
    if let Some(path) = asked {
        return path.to_path_buf();
    }
    let mut name = input.file_stem().unwrap_or("out".as_ref()).to_os_string();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}
