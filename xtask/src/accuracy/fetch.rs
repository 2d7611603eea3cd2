//! Models with real weights: packages from the registry, checked and turned into ONNX files by the scripts of
//! `xtask/scripts`, once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use packwright::zoo::Zoo;

use crate::root;

/// A model that a script makes.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    script: &'static str,
    /// The file that is wanted.
    file: &'static str,
    /// The export without weights.
    structure: &'static str,
}

pub const MINILM: Recipe = Recipe {
    script: "make_minilm.py",
    file: "model.onnx",
    structure: "minilm-l6.encoder.ts14.dyn.onnx",
};

pub const SMOLLM2: Recipe = Recipe {
    script: "make_smollm2.py",
    file: "prefill.onnx",
    structure: "smollm2-135m.prefill.ts14.dyn.onnx",
};

/// The path of a model, made if it is not there yet.
///
/// # Errors
/// When Python, the registry or the package is not there, or the package is not what it was.
pub fn model(recipe: &Recipe, folder: &Path) -> anyhow::Result<PathBuf> {
    let own = folder.join(recipe.script.trim_end_matches(".py"));
    let file = own.join(recipe.file);
    if file.exists() {
        return Ok(file);
    }
    let structures = folder.join("structures");
    fs::create_dir_all(&structures)?;
    let embedded = Zoo::file(recipe.structure).context("the export is embedded")?;
    fs::write(structures.join(recipe.structure), embedded.bytes()?)?;
    let script = root().join("xtask/scripts").join(recipe.script);
    call(Command::new(python(folder)?).arg(script).arg(&own).args([
        "--only".as_ref(),
        recipe.file.as_ref(),
        "--structures".as_ref(),
        structures.as_os_str(),
    ]))?;
    ensure!(file.exists(), "{} was not made", file.display());
    Ok(file)
}

/// A Python with what the scripts need.
fn python(folder: &Path) -> anyhow::Result<PathBuf> {
    let venv = folder.join("venv");
    let python = venv.join("bin/python");
    let marker = venv.join("complete");
    if !marker.exists() {
        call(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        let needs = root().join("xtask/scripts/requirements.txt");
        call(
            Command::new(&python)
                .args(["-m", "pip", "install", "--quiet", "-r"])
                .arg(needs),
        )?;
        fs::write(marker, "")?;
    }
    Ok(python)
}

fn call(command: &mut Command) -> anyhow::Result<()> {
    eprintln!("$ {command:?}");
    let status = command
        .status()
        .with_context(|| format!("{command:?} cannot be started"))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}
