//! One change stream, read reply by reply.
//!
//! The driver's own change streams go on silently after an error. Here it has to be known, since what was stored meanwhile may
//! have been changed meanwhile as well; so this is the aggregation below them.

use std::fmt;
use std::time::Duration;

use futures_util::StreamExt;
use mongodb::bson::{Document, RawDocument, RawDocumentBuf, Timestamp, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{DatabaseOptions, ReadConcern, ReadPreference, SelectionCriteria};
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};
use roomcast_core::StoreError;

use super::signals;
use crate::database::Database;
use crate::error::{refused, unavailable, unread};

/// How long the server waits for something to tell before it says that there is nothing. Not longer, so that a connection
/// that is dead is noticed.
const AWAIT: Duration = Duration::from_secs(2);

/// The server stands alone.
const NO_REPLICA_SET: i32 = 40573;
/// The server doesn't know the cursor any more: it was restarted, or has waited too long for the next question.
const NO_CURSOR: i32 = 43;

/// How far a stream was read.
pub(super) struct Token(RawDocumentBuf);

pub(super) struct Stream {
    cursor: RawBatchCursor,
    patience: Duration,
    /// Of a stream that goes on after a token: what was stored up to here may have been changed since.
    stale: Option<Timestamp>,
    first: bool,
}

impl Stream {
    /// Opens a stream of what is stored from now on, or after the token.
    pub(super) async fn open(database: &Database, after: Option<&Token>) -> Result<Self, Failure> {
        let mut stage = Document::new();
        if let Some(Token(after)) = after {
            let after = Document::try_from(after.as_ref()).map_err(|error| Failure::Lost(error.to_string()))?;
            stage.insert("resumeAfter", after);
        }
        let collections = [database.entries.name(), &signals::name(database)];
        let mut pipeline = vec![
            doc! {"$changeStream": stage},
            doc! {"$match": {"operationType": "insert", "ns.coll": {"$in": &collections[..]}}},
        ];
        if database.search {
            pipeline.push(doc! {"$unset": "fullDocument.words"});
        }
        let options = DatabaseOptions::builder()
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .read_concern(ReadConcern::majority())
            .build();
        let source = database.client.database_with_options(database.database.name(), options);
        let opening = source.aggregate(pipeline).max_await_time(AWAIT).batch();
        let cursor = match tokio::time::timeout(database.operation_timeout, opening).await {
            Ok(cursor) => cursor?,
            Err(_) => return Err(Failure::Late),
        };
        Ok(Self {
            cursor,
            patience: AWAIT + database.operation_timeout,
            stale: None,
            first: after.is_some(),
        })
    }

    /// What has come meanwhile, perhaps nothing; waits for a while if that is nothing.
    pub(super) async fn next(&mut self) -> Result<Reply, Failure> {
        let batch = match tokio::time::timeout(self.patience, self.cursor.next()).await {
            Ok(Some(batch)) => batch?,
            // The database was dropped, say.
            Ok(None) => return Err(Failure::Lost("the server has ended the change stream".to_owned())),
            Err(_) => return Err(Failure::Late),
        };
        if std::mem::take(&mut self.first) {
            self.stale = batch.as_raw_document().get_timestamp("operationTime").ok();
        }
        Ok(Reply {
            batch,
            stale: self.stale,
        })
    }
}

/// Some events.
pub(super) struct Reply {
    batch: RawBatch,
    stale: Option<Timestamp>,
}

/// A document was inserted.
pub(super) struct Event<'a> {
    pub(super) collection: &'a str,
    pub(super) document: &'a RawDocument,
    pub(super) at: Timestamp,
    /// Whether it was so long ago that the document may be another one now.
    pub(super) is_stale: bool,
}

impl Reply {
    /// The events in their order. What is none is passed over.
    pub(super) fn events(&self) -> impl Iterator<Item = Event<'_>> {
        let events = self.batch.doc_slices().into_iter().flatten();
        events.filter_map(|event| {
            let event = event.ok()?.as_document()?;
            let at = event.get_timestamp("clusterTime").ok()?;
            Some(Event {
                collection: event.get_document("ns").ok()?.get_str("coll").ok()?,
                document: event.get_document("fullDocument").ok()?,
                at,
                is_stale: self.stale.is_some_and(|stale| at <= stale),
            })
        })
    }

    /// How far the stream is read with it.
    pub(super) fn token(&self) -> Option<Token> {
        let cursor = self.batch.as_raw_document().get_document("cursor").ok()?;
        let token = cursor.get_document("postBatchResumeToken").ok()?;
        Some(Token(token.to_owned()))
    }
}

/// Why a stream broke, or can't be opened.
#[derive(Debug)]
pub(super) enum Failure {
    /// It can go on where it was.
    Passing(Error),
    /// The server didn't answer in time. It can go on where it was.
    Late,
    /// It can't go on where it was.
    Refused(Error),
    Lost(String),
}

impl Failure {
    /// Whether a new stream is to be opened without the token.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Lost(_))
    }

    /// Whether there is no use in trying again: the store is closed.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Refused(error) if matches!(*error.kind, ErrorKind::Shutdown))
    }

    fn code(&self) -> Option<i32> {
        match self {
            Self::Passing(error) | Self::Refused(error) => code(error),
            _ => None,
        }
    }

    pub(super) fn into_store_error(self) -> StoreError {
        if self.code() == Some(NO_REPLICA_SET) {
            return refused(self.to_string());
        }
        match self {
            Self::Passing(error) | Self::Refused(error) => unread(error),
            Self::Late | Self::Lost(_) => unavailable(self.to_string()),
        }
    }
}

impl From<Error> for Failure {
    /// Only of what is known to harm nothing is it said that the stream can go on: else everything is compared.
    fn from(error: Error) -> Self {
        let harmless = match *error.kind {
            ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. } | ErrorKind::ServerSelection { .. } => true,
            _ => code(&error) == Some(NO_CURSOR) || error.contains_label("ResumableChangeStreamError"),
        };
        if harmless {
            Self::Passing(error)
        } else {
            Self::Refused(error)
        }
    }
}

fn code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(error) => Some(error.code),
        _ => None,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            _ if self.code() == Some(NO_REPLICA_SET) => f.write_str(
                "change streams need a replica set, and this MongoDB server stands alone: start mongod with \
                 --replSet NAME, and call rs.initiate() in the shell once",
            ),
            Self::Passing(error) | Self::Refused(error) => write!(f, "MongoDB's change stream: {error}"),
            Self::Late => f.write_str("MongoDB doesn't answer the change stream"),
            Self::Lost(what) => f.write_str(what),
        }
    }
}
