//! External data: weights in files beside the model, and only there.

use std::io;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use indexmap::IndexMap;
use packwright_ir::Type;
use packwright_ir::diag::Diagnostic;

use crate::codes;
use crate::map::map;
use crate::proto::TensorProto;
use crate::proto::tensor_proto::DataLocation;

/// The data files of one model, each mapped once.
#[derive(Debug)]
pub(crate) struct DataFiles {
    /// The model's folder; without one, no data file exists.
    folder: Option<PathBuf>,
    files: IndexMap<String, Option<Bytes>>,
}

/// Whether the values of a tensor lie in another file.
pub(crate) fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location() == DataLocation::External
}

impl DataFiles {
    pub(crate) fn new(folder: Option<&Path>) -> Self {
        Self {
            folder: folder.map(Path::to_path_buf),
            files: IndexMap::new(),
        }
    }

    /// The bytes of an external tensor; `None` where its file does not exist.
    ///
    /// # Errors
    /// A location outside the model's folder, an unreadable file, or one without these bytes.
    pub(crate) fn bytes(
        &mut self,
        tensor: &TensorProto,
        ty: &Type,
    ) -> Result<Option<Bytes>, Diagnostic> {
        let what = tensor.name();
        let entry = |key: &str| {
            tensor
                .external_data
                .iter()
                .find(|e| e.key() == key)
                .map(|e| e.value())
        };
        let number = |key: &str| match entry(key) {
            None | Some("") => Ok(None),
            Some(text) => text
                .parse::<usize>()
                .map(Some)
                .map_err(|_| codes::external_entry(what, format!("{key} is {text:?}"))),
        };
        let location = entry("location")
            .filter(|l| !l.is_empty())
            .ok_or_else(|| codes::external_entry(what, "the location is missing"))?;
        let offset = number("offset")?.unwrap_or(0);
        let need = ty.bytes();
        let length = number("length")?.unwrap_or(need);
        if length != need {
            return Err(codes::tensor_size(what, ty, length));
        }
        let end = offset
            .checked_add(length)
            .ok_or_else(|| codes::external_entry(what, format!("offset is {offset}")))?;
        let Some(file) = self.file(location, what)? else {
            return Ok(None);
        };
        if end > file.len() {
            return Err(codes::external_short(what, location, end, file.len()));
        }
        Ok(Some(file.slice(offset..end)))
    }

    fn file(&mut self, location: &str, what: &str) -> Result<Option<Bytes>, Diagnostic> {
        check_location(location, what)?;
        if let Some(file) = self.files.get(location) {
            return Ok(file.clone());
        }
        let file = match &self.folder {
            None => None,
            Some(folder) => open(folder, location, what)?,
        };
        self.files.insert(location.to_owned(), file.clone());
        Ok(file)
    }
}

/// A relative path that never goes up; holds for files that do not exist too.
fn check_location(location: &str, what: &str) -> Result<(), Diagnostic> {
    let inside = Path::new(location)
        .components()
        .all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    // A path that another system would read differently is refused on every system.
    let portable = !location.contains(['\\', ':', '\0']);
    if inside && portable {
        Ok(())
    } else {
        Err(codes::external_outside(what, location))
    }
}

fn open(folder: &Path, location: &str, what: &str) -> Result<Option<Bytes>, Diagnostic> {
    let unreadable = |e: io::Error| codes::unreadable(location, &e);
    let path = match folder.join(location).canonicalize() {
        Ok(path) => path,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(e)),
    };
    // Links may lead anywhere: what counts is where they end.
    if !path.starts_with(folder.canonicalize().map_err(unreadable)?) {
        return Err(codes::external_outside(what, location));
    }
    map(&path).map(Some).map_err(unreadable)
}
