//! Layering, file sizes, module docs: what rustc and clippy do not see.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use walkdir::WalkDir;

use crate::root;

/// The arrows between crates. A new arrow is a deliberate edit of this table.
const ARROWS: &[(&str, &[&str])] = &[
    ("numerics", &[]),
    ("target", &[]),
    ("ir", &["numerics"]),
    ("packet", &["target"]),
    ("onnx", &["ir"]),
    ("zoo", &["ir", "onnx"]),
    ("compile", &["numerics", "ir", "target", "packet"]),
    ("sim", &["numerics", "target", "packet"]),
    (
        "cli",
        &[
            "numerics", "target", "ir", "packet", "onnx", "zoo", "compile", "sim",
        ],
    ),
];

/// Longest file in lines; generated code is not counted.
const HARD_LIMIT: usize = 800;

/// Module names that name no concept.
const NAMELESS: &[&str] = &[
    "utils", "util", "common", "support", "misc", "prelude", "helpers",
];

/// Checks the tree and lists all that is wrong.
pub fn run() -> anyhow::Result<()> {
    let mut complaints = Vec::new();
    arrows(&mut complaints)?;
    files(&mut complaints)?;
    for complaint in &complaints {
        eprintln!("tidy: {complaint}");
    }
    anyhow::ensure!(
        complaints.is_empty(),
        "tidy found {} things",
        complaints.len()
    );
    Ok(())
}

fn arrows(complaints: &mut Vec<String>) -> anyhow::Result<()> {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for entry in fs::read_dir(root().join("crates"))? {
        let folder = entry?.path();
        let name = folder
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default()
            .to_string();
        let Some(allowed) = allowed.get(name.as_str()) else {
            complaints.push(format!("crates/{name} is not in the table of arrows"));
            continue;
        };
        let manifest = fs::read_to_string(folder.join("Cargo.toml"))
            .with_context(|| format!("crates/{name}/Cargo.toml"))?;
        let manifest: toml::Table = toml::from_str(&manifest)?;
        let dependencies = manifest.get("dependencies").and_then(|d| d.as_table());
        for dependency in dependencies.into_iter().flat_map(|d| d.keys()) {
            if let Some(other) = dependency.strip_prefix("packwright-")
                && !allowed.contains(&other)
            {
                complaints.push(format!("crates/{name} must not use {dependency}"));
            }
        }
        if let Some(dependencies) = dependencies {
            for (dependency, value) in dependencies {
                if value
                    .as_table()
                    .is_none_or(|t| !t.contains_key("workspace"))
                {
                    complaints.push(format!(
                        "crates/{name}: the version of {dependency} belongs into the workspace manifest"
                    ));
                }
            }
        }
    }
    Ok(())
}

fn files(complaints: &mut Vec<String>) -> anyhow::Result<()> {
    for part in ["crates", "examples", "tests", "xtask"] {
        for entry in WalkDir::new(root().join(part)).sort_by_file_name() {
            let entry = entry?;
            let path = entry.path();
            if path.extension().is_none_or(|e| e != "rs") {
                continue;
            }
            let text = fs::read_to_string(path)?;
            let shown = path
                .strip_prefix(root())
                .unwrap_or(path)
                .display()
                .to_string();
            if is_generated(path, &text) {
                continue;
            }
            let lines = text.lines().count();
            if lines > HARD_LIMIT {
                complaints.push(format!(
                    "{shown}: {lines} lines, {HARD_LIMIT} are the limit"
                ));
            }
            let first = text
                .lines()
                .find(|l| !l.starts_with("#!"))
                .unwrap_or_default();
            if !first.starts_with("//!") {
                complaints.push(format!("{shown}: the first line is no module doc"));
            }
            let stem = path
                .file_stem()
                .and_then(|s| s.to_str())
                .unwrap_or_default();
            if NAMELESS.contains(&stem) {
                complaints.push(format!("{shown}: the name names no concept"));
            }
        }
    }
    Ok(())
}

fn is_generated(path: &Path, text: &str) -> bool {
    text.starts_with("// This file is @generated")
        || path.components().any(|c| c.as_os_str() == "generated")
}
