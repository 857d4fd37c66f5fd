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

/// How many may wait; what comes then is lost. A notice has 128 KiB at most, and a signal far less.
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
    sender: Mutex<Option<mpsc::Sender<Notice>>>,
    writer: tokio::sync::Mutex<Option<JoinHandle<()>>>,
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
        let (sender, receiver) = mpsc::channel(WAITING);
        // It ends when the sender is gone.
        let writer = tokio::spawn(write(database, collection, receiver));
        Ok(Self {
            sender: Mutex::new(Some(sender)),
            writer: tokio::sync::Mutex::new(Some(writer)),
        })
    }

    /// Has a notice written soon, or drops it.
    pub(super) fn send(&self, notice: &Notice) {
        let sender = self.sender.lock();
        if sender
            .as_ref()
            .is_none_or(|sender| sender.try_send(notice.clone()).is_err())
        {
            tracing::warn!("a signal to other hubs is lost: too many wait, or the bus is closed");
        }
    }

    /// Waits until what was sent is written, for a while.
    pub(super) async fn close(&self) {
        self.sender.lock().take();
        if let Some(mut writer) = self.writer.lock().await.take()
            && tokio::time::timeout(LAST, &mut writer).await.is_err()
        {
            writer.abort();
            let _ = writer.await;
        }
    }
}

async fn write(database: Arc<Database>, collection: Collection<Document>, mut notices: mpsc::Receiver<Notice>) {
    let mut some = Vec::with_capacity(TOGETHER);
    while notices.recv_many(&mut some, TOGETHER).await > 0 {
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
