//! The file: whose it is, which version, and how connections to it are set up.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use roomcast_core::StoreError;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::builder::{Builder, Synchronous};
use crate::error::{failed, refused};

/// Marks the file as ours: "room" in ASCII.
const APPLICATION_ID: i32 = 0x726F_6F6D;

/// What leads from one version of the schema to the next; the version is how many of them were run. Those that have
/// been released never change.
const MIGRATIONS: &[&str] = &[V1];

/// `entries.key` rises with `seq` within a room, so that the rowids of `words` sort as the log does. An edit has no
/// content: it is read from the message, so that neither a later edit nor a deletion can miss a copy.
const V1: &str = "
CREATE TABLE rooms (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    epoch TEXT NOT NULL,
    head INTEGER NOT NULL,
    floor INTEGER NOT NULL
) STRICT;
CREATE TABLE entries (
    key INTEGER PRIMARY KEY,
    room INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind INTEGER NOT NULL, -- 0 message, 1 edit, 2 deletion
    id BLOB NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    at INTEGER NOT NULL,
    message BLOB, -- of an edit or deletion: the id of its message
    target INTEGER, -- and that message's seq
    content TEXT,
    data TEXT,
    reply_to BLOB,
    edited_at INTEGER,
    deleted INTEGER NOT NULL DEFAULT 0,
    nonce TEXT,
    fingerprint BLOB,
    UNIQUE (room, seq)
) STRICT;
CREATE UNIQUE INDEX nonces ON entries (room, user_id, nonce) WHERE nonce IS NOT NULL;
CREATE VIRTUAL TABLE words USING fts5 (
    room, content, content = '', tokenize = 'unicode61 remove_diacritics 2'
);
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
";

/// Opens the connection that writes, and brings the file up to date.
pub(crate) fn open_writer(settings: &Builder) -> Result<Connection, StoreError> {
    let new = check_owner(&settings.path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = connect(&settings.path, flags, settings.busy_timeout)?;
    let cannot = |error| failed("the database can't be opened", error);
    let version = version(&connection).map_err(cannot)?;
    check_version(version)?;
    if new {
        // Before the change to WAL, so that the mark is in the file itself from the first byte on.
        connection
            .pragma_update(None, "application_id", APPLICATION_ID)
            .map_err(cannot)?;
    }
    use_wal(&connection, settings.busy_timeout).map_err(cannot)?;
    let synchronous = match settings.synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    connection
        .pragma_update(None, "synchronous", synchronous)
        .map_err(cannot)?;
    connection.pragma_update(None, "secure_delete", true).map_err(cannot)?;
    migrate(&mut connection)?;
    if let Some(pages) = settings.max_page_count {
        connection
            .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
            .map_err(cannot)?;
    }
    Ok(connection)
}

/// Opens a connection that can't write.
pub(crate) fn open_reader(settings: &Builder) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    connect(&settings.path, flags, settings.busy_timeout)
}

fn connect(path: &Path, flags: OpenFlags, busy_timeout: Duration) -> Result<Connection, StoreError> {
    let cannot = |error| failed("the database can't be opened", error);
    let connection = Connection::open_with_flags(path, flags).map_err(cannot)?;
    connection.busy_timeout(busy_timeout).map_err(cannot)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Looks at the file's header without SQLite, which might write to a file that isn't ours. Tells whether the file is
/// yet to be made.
fn check_owner(path: &Path) -> Result<bool, StoreError> {
    let mut header = Vec::new();
    match File::open(path) {
        Ok(file) => file
            .take(100)
            .read_to_end(&mut header)
            .map_err(|error| refused(format!("{} can't be read", path.display())).with_source(error))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(refused(format!("{} can't be read", path.display())).with_source(error)),
    };
    if header.is_empty() {
        return Ok(true);
    }
    if header.len() < 100 || !header.starts_with(b"SQLite format 3\0") {
        return Err(refused(format!("{} is not a database of SQLite", path.display())));
    }
    if header[68..72] != APPLICATION_ID.to_be_bytes() {
        return Err(refused(format!("{} belongs to another application", path.display())));
    }
    Ok(false)
}

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn check_version(version: usize) -> Result<(), StoreError> {
    if version > MIGRATIONS.len() {
        return Err(refused(format!(
            "the database has schema version {version}; this program knows versions up to {}",
            MIGRATIONS.len()
        )));
    }
    Ok(())
}

/// The change to WAL needs the file for itself and doesn't wait on its own: another process may be at the same.
fn use_wal(connection: &Connection, patience: Duration) -> rusqlite::Result<()> {
    let start = std::time::Instant::now();
    loop {
        let changed = connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()));
        match changed {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && start.elapsed() < patience => {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let cannot = |error| failed("the database's schema can't be brought up to date", error);
    if version(connection).map_err(cannot)? == MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(cannot)?;
    // Read again: another process may have been faster.
    let version = version(&transaction).map_err(cannot)?;
    check_version(version)?;
    for migration in &MIGRATIONS[version..] {
        transaction.execute_batch(migration).map_err(cannot)?;
    }
    transaction
        .pragma_update(None, "user_version", MIGRATIONS.len())
        .map_err(cannot)?;
    transaction.commit().map_err(cannot)
}
