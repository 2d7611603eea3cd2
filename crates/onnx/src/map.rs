//! Files as bytes without reading them.

use std::fs::File;
use std::io;
use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

/// The contents of a file. Large files are mapped, so that only the pages in use are read.
pub(crate) fn map(path: &Path) -> io::Result<Bytes> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    if meta.len() == 0 {
        return Ok(Bytes::new());
    }
    Ok(Bytes::from_owner(map_file(&file)?))
}

#[allow(unsafe_code)]
fn map_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: the map is read-only. Its bytes are only ever read as plain numbers, so a process that
    // writes the file at the same time can change values, not validity; truncating a file in use is
    // outside what a program can defend against and ends it with a signal, as for every reader of maps.
    unsafe { Mmap::map(file) }
}
