//! Runs of the command.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What a run left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A folder that goes away after the test.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("temporary folder"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file and gives its path.
    pub fn write(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.path(name), bytes).expect("writes");
        self.path(name).display().to_string()
    }

    /// Names of all files, hidden ones too.
    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).expect("lists");
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry
                .expect("lists")
                .file_name()
                .to_string_lossy()
                .into_owned()
        };
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        names
    }

    /// Runs the command in the folder.
    pub fn run(&self, args: &[&str]) -> Ran {
        run_in(self.0.path(), args)
    }

    /// Runs the command in the folder, and expects it to succeed.
    pub fn done(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}\n{}{}", ran.stdout, ran.stderr);
        ran.stdout
    }
}

/// Runs the command somewhere.
pub fn run(args: &[&str]) -> Ran {
    run_in(&std::env::temp_dir(), args)
}

fn run_in(folder: &Path, args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_packwright"));
    command
        .args(args)
        .current_dir(folder)
        .env_remove("COLUMNS")
        .env_remove("NO_COLOR");
    let output = command.output().expect("the command starts");
    Ran {
        code: output.status.code().expect("no signal ends it"),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

impl Ran {
    /// The codes of the errors that `--json` printed.
    pub fn codes(&self) -> Vec<String> {
        let json: serde_json::Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr));
        let errors = json["errors"].as_array().expect("a list of errors");
        errors
            .iter()
            .map(|error| error["code"].as_str().expect("a code").to_owned())
            .collect()
    }
}
