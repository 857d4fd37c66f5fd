//! What SQLite's errors mean to a caller. The context says what failed, the source why.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use roomcast_core::{StoreError, StoreErrorKind};
use rusqlite::ErrorCode;

/// A failure of anything but a commit: it had no effect.
pub(crate) fn failed(what: impl Into<Cow<'static, str>>, error: rusqlite::Error) -> StoreError {
    let kind = match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory
            | ErrorCode::OperationInterrupted
            | ErrorCode::SchemaChanged,
        ) => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::Refused,
    };
    StoreError::new(kind, what).with_source(Cause::from(error))
}

/// A failed commit that was rolled back. SQLite writes the mark that makes a transaction count last, so a disk that was
/// full or a lock that wasn't given means that nothing counts. After any other failure, of a sync above all, the mark
/// may be on the disk and count after a crash. The index of words looks at its own tables as the first thing in a
/// commit, and may find them damaged; nothing is written then.
pub(crate) fn commit_failed(error: rusqlite::Error) -> StoreError {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreErrorKind::Unavailable,
        Some(ErrorCode::DiskFull | ErrorCode::ReadOnly | ErrorCode::DatabaseCorrupt) => StoreErrorKind::Refused,
        _ => StoreErrorKind::OutcomeUnknown,
    };
    StoreError::new(kind, "the commit failed").with_source(Cause::from(error))
}

/// The file holds what this crate never writes.
pub(crate) fn damaged(what: impl fmt::Display) -> StoreError {
    StoreError::new(StoreErrorKind::Refused, format!("the database is damaged: {what}"))
}

pub(crate) fn refused(what: impl Into<Cow<'static, str>>) -> StoreError {
    StoreError::new(StoreErrorKind::Refused, what)
}

pub(crate) fn closed() -> StoreError {
    refused("the store is closed")
}

/// Whether it is the file or the disk that failed, and likely goes on failing; not what was asked for.
pub(crate) fn stays(error: &StoreError) -> bool {
    match error.source().and_then(|source| source.downcast_ref::<Cause>()) {
        Some(Cause::Sqlite(error)) => matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::DiskFull
                    | ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::ReadOnly
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::CannotOpen
                    | ErrorCode::PermissionDenied
            )
        ),
        _ => false,
    }
}

/// The same error for each of several calls.
pub(crate) fn copy(error: &StoreError) -> StoreError {
    let copy = StoreError::new(error.kind(), error.to_string());
    match error.source().and_then(|source| source.downcast_ref::<Cause>()) {
        Some(cause) => copy.with_source(cause.clone()),
        None => copy,
    }
}

/// Why something failed, for as many calls as it concerns.
#[derive(Debug, Clone)]
pub(crate) enum Cause {
    /// In SQLite's own words. An error of rusqlite says the same once more in its source.
    Sqlite(Arc<rusqlite::Error>),
    Store(Arc<StoreError>),
}

impl From<rusqlite::Error> for Cause {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(Arc::new(error))
    }
}

impl From<StoreError> for Cause {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = match self {
            Self::Sqlite(error) => error,
            Self::Store(error) => return error.fmt(f),
        };
        error.fmt(f)?;
        match error.sqlite_error() {
            // The first byte is the class, which the words tell; the others say what exactly it was.
            Some(error) if error.extended_code > 0xFF => write!(f, " (SQLite's code {})", error.extended_code),
            _ => Ok(()),
        }
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Sqlite(_) => None,
            Self::Store(error) => error.source(),
        }
    }
}

/// An error with its causes, for a log line.
pub(crate) struct Chain<'a>(pub(crate) &'a StoreError);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> rusqlite::Error {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        rusqlite::Error::SqliteFailure(code, Some("database or disk is full".to_owned()))
    }

    #[test]
    fn what_failed_and_why_are_said_once() {
        let error = commit_failed(full());
        assert_eq!(Chain(&error).to_string(), "the commit failed: database or disk is full");
        assert_eq!(Chain(&copy(&error)).to_string(), Chain(&error).to_string());
        assert_eq!(copy(&error).kind(), StoreErrorKind::Refused);
    }
}
