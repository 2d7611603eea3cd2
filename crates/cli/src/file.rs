//! Files: read whole with clear complaints, written whole or not at all.

use std::fs;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::Path;

use bytes::Bytes;

use crate::errors::{Failure, Problem};

/// The bytes of a file that must hold something.
///
/// # Errors
/// When it is missing, a folder, empty or cannot be read.
pub fn read(path: &Path) -> Result<Bytes, Failure> {
    let bytes = fs::read(path).map_err(|error| unreadable(path, &error))?;
    if bytes.is_empty() {
        let problem = Problem::error("file-empty", "the file is empty");
        return Err(problem
            .help("the copy or the export was cut short")
            .at(shown(path))
            .into());
    }
    Ok(Bytes::from(bytes))
}

/// The text of a file.
///
/// # Errors
/// As [`read`], and when the bytes are no UTF-8.
pub fn read_text(path: &Path) -> Result<String, Failure> {
    let bytes = read(path)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => {
            let at = error.valid_up_to();
            let message = format!("byte {at} is not UTF-8, so this is no text");
            Err(Problem::error("file-not-text", message)
                .at(shown(path))
                .into())
        }
    }
}

/// Complains unless there is a file that holds something, without reading it.
///
/// # Errors
/// When it is missing, a folder, or empty.
pub fn check(path: &Path) -> Result<(), Failure> {
    let facts = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if facts.is_dir() || facts.len() == 0 {
        read(path)?;
    }
    Ok(())
}

/// Whether a file begins with these bytes.
///
/// # Errors
/// When it cannot be read.
pub fn starts_with(path: &Path, bytes: &[u8]) -> Result<bool, Failure> {
    let mut start = Vec::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(bytes.len() as u64).read_to_end(&mut start));
    read.map_err(|error| unreadable(path, &error))?;
    Ok(start == bytes)
}

/// A file that is being written.
pub trait Output: Write + Seek {}

impl<T: Write + Seek> Output for T {}

/// Writes a file beside its final place and moves it there once it is complete.
///
/// # Errors
/// When the folder is missing or cannot be written; nothing is left behind then.
pub fn write_atomically(
    path: &Path,
    fill: impl FnOnce(&mut dyn Output) -> io::Result<()>,
) -> Result<(), Failure> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if path.is_dir() {
        let problem = Problem::error("file-unwritable", "the output is a folder");
        return Err(problem.help("name a file with -o").at(shown(path)).into());
    }
    let write = || -> io::Result<()> {
        let file = tempfile::Builder::new()
            .prefix(".packwright-")
            .tempfile_in(folder)?;
        let mut buffer = BufWriter::new(file);
        fill(&mut buffer)?;
        let file = buffer.into_inner().map_err(|error| error.into_error())?;
        share_as_usual(file.as_file())?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|error| {
        let help = "check that the folder exists, can be written and has room";
        let message = format!("the file cannot be written: {error}");
        Problem::error("file-unwritable", message)
            .help(help)
            .at(shown(path))
            .into()
    })
}

/// Gives a temporary file the permissions that new files usually have.
#[cfg(unix)]
fn share_as_usual(file: &fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn share_as_usual(_: &fs::File) -> io::Result<()> {
    Ok(())
}

/// A path as messages show it.
pub fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let problem = match error.kind() {
        io::ErrorKind::NotFound => Problem::error("file-missing", "there is no such file")
            .help("check the spelling and the current folder"),
        _ if path.is_dir() => Problem::error("file-is-folder", "this is a folder, not a file")
            .help("name the file in it"),
        _ => Problem::error(
            "file-unreadable",
            format!("the file cannot be read: {error}"),
        ),
    };
    problem.at(shown(path)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<Bytes, Failure>) -> &'static str {
        result.expect_err("is no file").0[0].code
    }

    #[test]
    fn complaints_name_the_kind() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let empty = folder.path().join("empty");
        fs::write(&empty, b"").expect("writes");
        assert_eq!(code(read(&folder.path().join("none"))), "file-missing");
        assert_eq!(code(read(folder.path())), "file-is-folder");
        assert_eq!(code(read(&empty)), "file-empty");
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("out");
        let result = write_atomically(&path, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("stopped"))
        });
        assert!(result.is_err());
        assert_eq!(fs::read_dir(folder.path()).expect("lists").count(), 0);
        write_atomically(&path, |out| out.write_all(b"whole")).expect("writes");
        assert_eq!(fs::read(&path).expect("reads"), b"whole");
    }
}
