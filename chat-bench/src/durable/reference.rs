//! What is written without an engine: one insert for each message, each awaited.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use mongodb::bson::{DateTime, Document, Uuid, doc};
use mongodb::options::WriteConcern;
use mongodb::{Client, Collection, IndexModel};
use roomcast_core::{IdSource, RandomIds};
use rusqlite::{Connection, params};

use super::senders::Rate;
use super::{CONTENT, MEASURED};

/// What a message has, whose number is unique in its room.
const SCHEMA: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE messages (
    id BLOB PRIMARY KEY,
    room TEXT NOT NULL,
    seq INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    content TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (room, seq)
) STRICT;
";
const INSERT: &str = "INSERT INTO messages VALUES (?1, 'r', ?2, 'ann', 'ann', ?3, ?4)";

/// On a file, by one connection: a statement is a transaction, and done when its commit is on the disk.
pub(super) fn sqlite(path: &Path) -> Result<Rate, Box<dyn Error>> {
    let database = Connection::open(path)?;
    database.execute_batch(SCHEMA)?;
    let mut insert = database.prepare(INSERT)?;
    let (began, mut times) = (Instant::now(), Vec::new());
    for seq in 1_i64.. {
        let said = Instant::now();
        if began.elapsed() >= MEASURED {
            break;
        }
        let id = RandomIds.message_id().as_u128().to_be_bytes();
        insert.execute(params![id, seq, CONTENT, DateTime::now().timestamp_millis()])?;
        times.push(said.elapsed().as_secs_f64());
    }
    Ok(Rate::of(began, times))
}

/// By so many senders, each of which waits for its own inserts.
pub(super) async fn mongodb(uri: &str, senders: usize) -> Result<Rate, Box<dyn Error>> {
    let client = Client::with_uri_str(uri).await?;
    let collection = client
        .database("plain")
        .collection::<Document>(&format!("by_{senders}"));
    // A first round may have left something.
    collection.drop().await?;
    let unique = IndexModel::builder().keys(doc! { "room_id": 1, "seq": 1 }).build();
    collection.create_index(unique).await?;
    let began = Instant::now();
    let tasks: Vec<_> = (0..senders)
        .map(|sender| tokio::spawn(insert_all(collection.clone(), sender, began)))
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.append(&mut task.await??);
    }
    let rate = Rate::of(began, times);
    client.shutdown().await;
    Ok(rate)
}

async fn insert_all(
    collection: Collection<Document>,
    sender: usize,
    began: Instant,
) -> Result<Vec<f64>, mongodb::error::Error> {
    let mut concern = WriteConcern::majority();
    concern.journal = Some(true);
    let mut times = Vec::new();
    while began.elapsed() < MEASURED {
        let said = Instant::now();
        // Numbers of its own, so that nobody has to agree on them.
        let seq = (sender as i64) << 32 | times.len() as i64;
        let message = doc! {
            "_id": Uuid::from_bytes(RandomIds.message_id().as_u128().to_be_bytes()),
            "room_id": "r",
            "seq": seq,
            "user": { "id": "ann", "name": "ann" },
            "content": CONTENT,
            "created_at": DateTime::now(),
        };
        collection.insert_one(message).write_concern(concern.clone()).await?;
        times.push(said.elapsed().as_secs_f64());
    }
    Ok(times)
}
