//! What MongoDB's errors mean to a caller.

use mongodb::error::{Error, ErrorKind, InsertManyError, WriteFailure};
use roomcast_core::{StoreError, StoreErrorKind};

/// A unique index has this key already.
pub(crate) const DUPLICATE_KEY: i32 = 11000;

/// Codes of the server's error list with which trying again is of no use until somebody acts.
const HOPELESS: &[i32] = &[
    2,     // BadValue
    9,     // FailedToParse
    13,    // Unauthorized
    14,    // TypeMismatch
    18,    // AuthenticationFailed
    20,    // IllegalOperation
    59,    // CommandNotFound
    67,    // CannotCreateIndex
    72,    // InvalidOptions
    85,    // IndexOptionsConflict
    86,    // IndexKeySpecsConflict
    121,   // DocumentValidationFailure
    166,   // CommandNotSupportedOnView
    8000,  // AtlasError: no access
    10334, // BSONObjectTooLarge
    14031, // OutOfDiskSpace
    17280, // KeyTooLong
];

/// A read failed. It had no effect; what matters is whether to try again.
pub(crate) fn unread(error: Error) -> StoreError {
    let kind = if is_hopeless(&error) {
        StoreErrorKind::Refused
    } else {
        StoreErrorKind::Unavailable
    };
    wrap(kind, "MongoDB can't be read", error)
}

/// A write failed as a whole. Unless the server or the driver said no before it began, it may have had its effect, or
/// have it yet.
pub(crate) fn unwritten(error: Error) -> StoreError {
    let kind = match *error.kind {
        _ if is_hopeless(&error) => StoreErrorKind::Refused,
        // The driver found no server to send it to. (It gives the first error back if that was a second try.)
        ErrorKind::ServerSelection { .. } | ErrorKind::DnsResolve { .. } => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::OutcomeUnknown,
    };
    wrap(kind, "MongoDB can't be written", error)
}

/// Whether only a unique index stood against the write.
pub(crate) fn is_duplicate(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::Write(WriteFailure::WriteError(error)) => error.code == DUPLICATE_KEY,
        ErrorKind::Command(error) => error.code == DUPLICATE_KEY,
        _ => false,
    }
}

/// Which document of an ordered insert wasn't taken and why, if that is all that went wrong: those before it are
/// stored as durably as asked, those after it were not tried.
pub(crate) fn first_refused(error: &Error) -> Option<(usize, i32, String)> {
    match &*error.kind {
        ErrorKind::InsertMany(InsertManyError {
            write_errors: Some(errors),
            write_concern_error: None,
            ..
        }) => errors
            .first()
            .map(|first| (first.index, first.code, first.message.clone())),
        _ => None,
    }
}

/// A document wasn't taken, for a reason that is no duplicate.
pub(crate) fn document_refused(code: i32, message: &str) -> StoreError {
    let kind = if HOPELESS.contains(&code) {
        StoreErrorKind::Refused
    } else {
        StoreErrorKind::Unavailable
    };
    StoreError::new(kind, format!("MongoDB doesn't take the entry: {message} (code {code})"))
}

fn is_hopeless(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::InvalidArgument { .. }
        | ErrorKind::Authentication { .. }
        | ErrorKind::Bson(_)
        | ErrorKind::InvalidTlsConfig { .. }
        | ErrorKind::IncompatibleServer { .. }
        | ErrorKind::SessionsNotSupported
        | ErrorKind::Shutdown => true,
        ErrorKind::Command(error) => HOPELESS.contains(&error.code),
        ErrorKind::Write(WriteFailure::WriteError(error)) => HOPELESS.contains(&error.code),
        _ => false,
    }
}

fn wrap(kind: StoreErrorKind, what: &str, error: Error) -> StoreError {
    StoreError::new(kind, format!("{what}: {error}")).with_source(error)
}

pub(crate) fn refused(what: impl Into<std::borrow::Cow<'static, str>>) -> StoreError {
    StoreError::new(StoreErrorKind::Refused, what)
}

pub(crate) fn unavailable(what: impl Into<std::borrow::Cow<'static, str>>) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, what)
}

pub(crate) fn closed() -> StoreError {
    refused("the store is closed")
}

/// The database holds what this crate never writes.
pub(crate) fn damaged(what: impl std::fmt::Display) -> StoreError {
    refused(format!("the database is damaged: {what}"))
}
