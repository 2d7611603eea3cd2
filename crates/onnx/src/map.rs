//! Files as bytes without reading them.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use memmap2::Mmap;

/// All maps of this process; those that nobody reads any more are gone.
static MAPS: Mutex<Vec<Weak<Mmap>>> = Mutex::new(Vec::new());

/// A map that several views share.
struct Shared(Arc<Mmap>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

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
    let map = Arc::new(map_file(&file)?);
    let mut maps = MAPS.lock().unwrap_or_else(PoisonError::into_inner);
    maps.retain(|map| map.strong_count() > 0);
    maps.push(Arc::downgrade(&map));
    Ok(Bytes::from_owner(Shared(map)))
}

#[allow(unsafe_code)]
fn map_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: the map is read-only. Its bytes are only ever read as plain numbers, so a process that
    // writes the file at the same time can change values, not validity; truncating a file in use is
    // outside what a program can defend against and ends it with a signal, as for every reader of maps.
    unsafe { Mmap::map(file) }
}

/// Lets go of the pages of mapped models that were read: they are read again where somebody needs them.
/// Models that are compared or quantised one after the other then need memory for one at a time.
pub fn let_go_of_pages() {
    let maps = MAPS.lock().unwrap_or_else(PoisonError::into_inner);
    for map in maps.iter().filter_map(Weak::upgrade) {
        let_go(&map);
    }
}

#[cfg(unix)]
#[allow(unsafe_code)]
fn let_go(map: &Mmap) {
    // SAFETY: the map is of a file and read-only, so its pages hold nothing but what the file has. It is
    // advice: where it is not taken nothing changes.
    let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
}

#[cfg(not(unix))]
fn let_go(_map: &Mmap) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model");
        let contents: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &contents).expect("a file");
        let bytes = map(&path).expect("a map");
        assert_eq!(bytes, contents);
        let_go_of_pages();
        assert_eq!(bytes, contents);
    }
}
