//! A door for fuzzing, of builds with `--cfg fuzzing` alone: what becomes of documents as a database holds them, without one.

use mongodb::bson::{Document, RawDocument, RawDocumentBuf};
use roomcast_core::{Entry, Message, NewEntry, RoomHead, RoomId, StoreError};

use crate::document::{self, EntryDocument};
use crate::error::damaged;
use crate::{import, read, room};

fn raw(bytes: &[u8]) -> Result<&RawDocument, StoreError> {
    RawDocument::from_bytes(bytes).map_err(damaged)
}

/// The entries of a page of a log that begins after `after`, as far as they are stored beside each other: an edit's content is
/// its message's.
///
/// # Errors
///
/// What is wrong with a document, or with their places.
pub fn log(room: &RoomId, after: u64, documents: &[Vec<u8>]) -> Result<Vec<Entry>, StoreError> {
    let documents: Result<Vec<_>, _> = documents.iter().map(|bytes| EntryDocument::read(raw(bytes)?)).collect();
    let documents = documents?;
    if !read::is_dense(&documents, after)? {
        return Err(damaged("there is a hole"));
    }
    documents
        .into_iter()
        .map(|document| document.into_entry(room))
        .collect()
}

/// A document as history, search and single reads give it out, and how much of a page it takes.
///
/// # Errors
///
/// What is wrong with it.
pub fn message(room: &RoomId, document: &[u8]) -> Result<(Message, usize), StoreError> {
    let document = EntryDocument::read(raw(document)?)?;
    let weight = document.weight();
    Ok((document.into_message(room)?, weight))
}

/// A room's document as it is joined with its newest entry.
///
/// # Errors
///
/// What is wrong with it.
pub fn head(document: &[u8]) -> Result<RoomHead, StoreError> {
    document::read::<room::RoomDocument>(raw(document)?)?.head()
}

/// The document of an entry.
///
/// # Errors
///
/// What can't be written.
pub fn stored(room: &RoomId, seq: u64, entry: &NewEntry, target: Option<u64>) -> Result<Vec<u8>, StoreError> {
    let document = EntryDocument::new(room, seq, entry, target, true)?;
    document.to_raw().map(RawDocumentBuf::into_bytes)
}

/// A document of an older system, as an import takes it.
///
/// # Errors
///
/// What is wrong with it.
pub fn imported(document: &Document) -> Result<(RoomId, NewEntry), String> {
    import::message(document)
}
