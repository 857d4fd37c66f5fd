//! What hubs tell each other that is in no log: a small collection, which the change stream watches as well.
//!
//! A document is of use at the moment when it is inserted, and the server removes it a while later. An index by time does
//! that; a capped collection would need a size and couldn't be sharded.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{DateTime, Document, doc};
use mongodb::options::{CollectionOptions, IndexOptions, WriteConcern};
use mongodb::{Collection, IndexModel};
use parking_lot::Mutex;
use roomcast_core::{Notice, StoreError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::database::Database;
use crate::error::unwritten;

/// How many may wait, of those that are passing and of the others; what comes then is lost. A signal has a few kilobytes at most.
const WAITING: usize = 256;
/// How many are written at once.
const TOGETHER: usize = 64;
/// How long they stay, for people to look at.
const KEPT: Duration = Duration::from_secs(60);
/// How long the end of a bus waits for the last ones.
const LAST: Duration = Duration::from_secs(2);

/// The collection's name.
pub(super) fn name(database: &Database) -> String {
    format!("{}.signals", database.entries.name())
}

/// What a document's bytes are, and the room that it is about.
pub(super) const NOTICE: &str = "notice";
pub(super) const ROOM: &str = "room";

/// The way out for signals.
pub(super) struct Signals {
    /// `None` once closed.
    senders: Mutex<Option<Senders>>,
    writer: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

/// Two ways, so that kicks don't wait behind who is in which room, and aren't lost for it.
struct Senders {
    lasting: mpsc::Sender<Notice>,
    passing: mpsc::Sender<Notice>,
}

impl Signals {
    pub(super) async fn start(database: Arc<Database>) -> Result<Self, StoreError> {
        let options = CollectionOptions::builder()
            .write_concern(WriteConcern::nodes(1))
            .build();
        let collection = database.database.collection_with_options(&name(&database), options);
        let expires = IndexOptions::builder()
            .name("age".to_owned())
            .expire_after(KEPT)
            .build();
        let index = IndexModel::builder().keys(doc! {"at": 1}).options(expires).build();
        database
            .write(collection.create_index(index).into_future())
            .await?
            .map_err(unwritten)?;
        let (lasting, kicks) = mpsc::channel(WAITING);
        let (passing, others) = mpsc::channel(WAITING);
        // It ends when the senders are gone.
        let writer = tokio::spawn(write(database, collection, kicks, others));
        Ok(Self {
            senders: Mutex::new(Some(Senders { lasting, passing })),
            writer: tokio::sync::Mutex::new(Some(writer)),
        })
    }

    /// Has a notice written soon, or drops it.
    pub(super) fn send(&self, notice: &Notice) {
        let is_lost = match &*self.senders.lock() {
            Some(senders) if notice.is_passing() => senders.passing.try_send(notice.clone()).is_err(),
            Some(senders) => senders.lasting.try_send(notice.clone()).is_err(),
            None => true,
        };
        if is_lost && notice.is_passing() {
            // It is told anew in seconds, and while MongoDB is away there are many of them.
            tracing::debug!("a passing signal to other hubs is lost: too many wait, or the bus is closed");
        } else if is_lost {
            tracing::warn!("a signal to other hubs is lost: too many wait, or the bus is closed");
        }
    }

    /// Waits until what was sent is written, for a while.
    pub(super) async fn close(&self) {
        self.senders.lock().take();
        if let Some(mut writer) = self.writer.lock().await.take()
            && tokio::time::timeout(LAST, &mut writer).await.is_err()
        {
            writer.abort();
            let _ = writer.await;
        }
    }
}

async fn write(
    database: Arc<Database>,
    collection: Collection<Document>,
    mut lasting: mpsc::Receiver<Notice>,
    mut passing: mpsc::Receiver<Notice>,
) {
    let mut some = Vec::with_capacity(TOGETHER);
    loop {
        let first = tokio::select! {
            biased;
            Some(notice) = lasting.recv() => notice,
            Some(notice) = passing.recv() => notice,
            else => return,
        };
        some.push(first);
        while some.len() < TOGETHER
            && let Ok(notice) = lasting.try_recv().or_else(|_| passing.try_recv())
        {
            some.push(notice);
        }
        let documents = some.drain(..).map(|notice| document(&notice));
        let insert = collection.insert_many(documents.collect::<Vec<_>>()).into_future();
        if let Err(error) = database
            .write(insert)
            .await
            .and_then(|result| result.map_err(unwritten))
        {
            tracing::warn!(%error, "signals to other hubs are lost");
        }
    }
}

fn document(notice: &Notice) -> Document {
    let mut document = doc! {
        "at": DateTime::now(),
        NOTICE: String::from_utf8_lossy(notice.bytes()).into_owned(),
    };
    if let Some(room) = notice.room() {
        document.insert(ROOM, room.as_str());
    }
    document
}
