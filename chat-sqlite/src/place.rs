//! Where the file is. SQLite goes on with a file that was deleted or moved, and what it stores there is gone with the
//! process, so the store looks before and after each commit whether the file is still in its place: two calls to the
//! system, of about a microsecond each.
//!
//! On systems other than Unix there is nothing to do: Windows doesn't let go of a file that is open.

use std::path::{Path, PathBuf};

use roomcast_core::StoreError;

use crate::error::refused;

/// The files that hold what was committed: the database and its write-ahead log.
#[derive(Debug)]
pub(crate) struct Place {
    files: Vec<(PathBuf, FileId)>,
}

/// What tells a file from every other one that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(unix), allow(dead_code, reason = "nothing is looked for there"))]
pub(crate) struct FileId(#[cfg(unix)] (u64, u64));

/// Which file is there; `None` if none is, or if that can't be told.
pub(crate) fn look(path: &Path) -> Option<FileId> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let file = std::fs::metadata(path).ok()?;
        Some(FileId((file.dev(), file.ino())))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

impl Place {
    /// The files of a database that was just opened. `before` is what was there before it was opened.
    pub(crate) fn of(path: &Path, before: Option<FileId>) -> Result<Self, StoreError> {
        // As SQLite does: with another working directory it would be another file, and the log is beside the file that
        // a symbolic link leads to.
        let path = std::fs::canonicalize(path)
            .map_err(|error| refused(format!("{} can't be found", path.display())).with_source(error))?;
        let mut log = path.clone().into_os_string();
        log.push("-wal");
        let files: Vec<_> = [path.clone(), log.into()]
            .into_iter()
            .filter_map(|path| look(&path).map(|id| (path, id)))
            .collect();
        if before.is_some() && files.first().map(|(_, id)| *id) != before {
            return Err(lost(&path));
        }
        Ok(Self { files })
    }

    /// Whether the files are still in their place.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match self.files.iter().find(|(path, id)| look(path) != Some(*id)) {
            Some((path, _)) => Err(lost(path)),
            None => Ok(()),
        }
    }
}

fn lost(path: &Path) -> StoreError {
    refused(format!(
        "{} was deleted, moved or replaced while it was open; put it back, or start again",
        path.display()
    ))
}
