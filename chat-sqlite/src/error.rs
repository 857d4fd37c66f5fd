//! What SQLite's errors mean to a caller.

use roomcast_core::{StoreError, StoreErrorKind};
use rusqlite::ErrorCode;

/// A failure of anything but a commit: it had no effect.
pub(crate) fn failed(what: &'static str, error: rusqlite::Error) -> StoreError {
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
    StoreError::new(kind, format!("{what}: {error}")).with_source(error)
}

/// A failed commit that was rolled back. SQLite writes the mark that makes a transaction count last, so a disk that was
/// full or a lock that wasn't given means that nothing counts. After any other failure, of a sync above all, the mark may
/// be on the disk and count after a crash.
pub(crate) fn commit_failed(error: rusqlite::Error) -> StoreError {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreErrorKind::Unavailable,
        Some(ErrorCode::DiskFull | ErrorCode::ReadOnly) => StoreErrorKind::Refused,
        _ => StoreErrorKind::OutcomeUnknown,
    };
    StoreError::new(kind, format!("the commit failed: {error}")).with_source(error)
}

/// The file holds what this crate never writes.
pub(crate) fn damaged(what: impl std::fmt::Display) -> StoreError {
    StoreError::new(StoreErrorKind::Refused, format!("the database is damaged: {what}"))
}

pub(crate) fn refused(what: impl Into<std::borrow::Cow<'static, str>>) -> StoreError {
    StoreError::new(StoreErrorKind::Refused, what)
}

pub(crate) fn closed() -> StoreError {
    refused("the store is closed")
}

/// The same error for each of several calls; errors can't be cloned with their source.
pub(crate) fn copy(error: &StoreError) -> StoreError {
    StoreError::new(error.kind(), error.to_string())
}
