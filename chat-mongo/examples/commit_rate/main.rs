//! What durable messages cost on MongoDB: `cargo run --release -p roomcast-mongo --example commit_rate [URI]`.
//!
//! Without an address it starts servers of its own (see `cargo xtask mongod`): one that stands alone, and a replica set of
//! one. On each, in one run:
//! - one insert per message, each awaited before the next, by the plain driver with the same write concern: the reference;
//! - the same messages in ordered batches of 256, by the plain driver: what the server can do;
//! - 64 senders in one room through a hub, each with one message under way at a time, and with up to 64, where a
//!   connection may have 256; with the index for search and without;
//! - the time to read the last 50 messages of a room with a million;
//! - how often the store is read when 5,000 members of that room come back at the same time.

#[path = "../../tests/common/mod.rs"]
mod common;
mod counted;
#[path = "../../tests/faults/pipe.rs"]
mod pipe;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::make::{epoch, room, say, user};
use common::mongod::Mongod;
use common::replica_set::ReplicaSet;
use common::shared::Database;
use counted::Counted;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use mongodb::bson::{DateTime, Document, Uuid, doc};
use mongodb::options::WriteConcern;
use roomcast_core::{
    Client, Cursor, Draft, HistoryRange, Hub, IdSource, Limits, MessageStore, OpenPolicy, Outcome, RandomIds, Start,
};
use roomcast_mongo::MongoStore;

const MEASURED: Duration = Duration::from_secs(8);
const SENDERS: usize = 64;
const LARGE: usize = 1_000_000;
const MEMBERS: usize = 5_000;
/// About as long as people write.
const CONTENT: &str =
    "A message of a length that people write, say a hundred characters or so, with a few words to search.";

#[tokio::main]
async fn main() {
    if let Some(uri) = std::env::args().nth(1) {
        return measure("the given server", uri).await;
    }
    let mongod = Mongod::standalone();
    measure("a server that stands alone", mongod.uri()).await;
    drop(mongod);
    let set = ReplicaSet::of(1).await;
    measure("a replica set of one", set.uri()).await;
}

async fn measure(what: &str, uri: String) {
    println!("{what}: {uri}");
    let database = Database::on(uri);
    let reference = by_the_driver(&database, 1).await;
    println!("  one insert per message, awaited: {reference:.0}/s");
    let rate = by_the_driver(&database, 256).await;
    println!(
        "  batches of 256 by the plain driver: {rate:.0}/s, {:.1} x",
        rate / reference
    );
    for (search, window) in [(true, 1), (true, 64), (false, 1), (false, 64)] {
        let rate = through_a_hub(&database, search, window).await;
        println!(
            "  {SENDERS} senders in one room, {window} under way each, {} search: {rate:.0}/s, {:.1} x",
            if search { "with" } else { "without" },
            rate / reference
        );
    }
    let store = connect(&database).await;
    let began = Instant::now();
    fill(&store).await;
    let rate = LARGE as f64 / began.elapsed().as_secs_f64();
    println!("  {LARGE} messages in batches of 1,000: {rate:.0}/s");
    read(&store).await;
    storm(store).await;
}

async fn connect(database: &Database) -> MongoStore {
    let store = MongoStore::builder(&database.uri).database(&database.name);
    store.connect().await.expect("a server")
}

async fn by_the_driver(database: &Database, batch: i64) -> f64 {
    let collection = database
        .open()
        .await
        .collection::<Document>(&format!("batches_of_{batch}"));
    let unique = doc! { "room_id": 1, "seq": 1 };
    let unique = mongodb::IndexModel::builder().keys(unique).build();
    collection.create_index(unique).await.unwrap();
    let message = |seq: i64| {
        doc! {
            "_id": Uuid::from_bytes(RandomIds.message_id().as_u128().to_be_bytes()),
            "room_id": "r",
            "seq": seq,
            "user": { "id": "ann", "name": "ann" },
            "content": CONTENT,
            "created_at": DateTime::now(),
        }
    };
    let mut concern = WriteConcern::majority();
    concern.journal = Some(true);
    let began = Instant::now();
    let mut head = 0;
    while began.elapsed() < MEASURED {
        let messages: Vec<Document> = (head + 1..=head + batch).map(message).collect();
        let insert = collection.insert_many(messages).write_concern(concern.clone());
        insert.await.unwrap();
        head += batch;
    }
    head as f64 / began.elapsed().as_secs_f64()
}

async fn through_a_hub(database: &Database, search: bool, window: usize) -> f64 {
    let store = MongoStore::builder(&database.uri)
        .database(&database.name)
        .search(search);
    // In a collection that never had an index for search.
    let store = store.entries_collection(if search { "searched" } else { "unsearched" });
    let hub = hub(store.connect().await.expect("a server"));
    let target = room(&format!("search-{search}-window-{window}"));
    let stored = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let senders = (0..SENDERS).map(|number| {
        let (room, user, stored) = (hub.room(target.clone()), user(&format!("user{number}")), stored.clone());
        tokio::spawn(async move {
            let mut under_way = FuturesUnordered::new();
            while began.elapsed() < MEASURED {
                while under_way.len() < window {
                    under_way.push(room.publish(&user, Draft::text(CONTENT)));
                }
                under_way.next().await.expect("one is under way").expect("it is stored");
                stored.fetch_add(1, Ordering::Relaxed);
            }
            while let Some(receipt) = under_way.next().await {
                receipt.expect("it is stored");
                stored.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    let rate = stored.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    assert!(hub.shutdown(Duration::from_secs(10)).await.is_clean());
    rate
}

fn hub(store: impl MessageStore) -> Hub {
    Hub::builder(store, OpenPolicy)
        .limits(Limits::default())
        .build()
        .unwrap()
}

async fn fill(store: &MongoStore) {
    let large = room("large");
    store.create_room(&large, epoch()).await.unwrap();
    let mut head = 0;
    while head < LARGE as u64 {
        let entries: Vec<_> = (0..1000).map(|_| say(CONTENT)).collect();
        let appended = store.append(&large, head, &entries).await.unwrap();
        assert!(
            appended
                .outcomes
                .iter()
                .all(|outcome| matches!(outcome, Outcome::Stored { .. }))
        );
        head = appended.head;
    }
}

async fn read(store: &MongoStore) {
    let large = room("large");
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..500 {
        let began = Instant::now();
        let page = store.history(&large, HistoryRange::Newest, 50).await.unwrap();
        times.push(began.elapsed());
        assert_eq!(page.messages.len(), 50);
    }
    times.sort_unstable();
    let (middle, late, last) = (
        times[times.len() / 2],
        times[times.len() * 99 / 100],
        times[times.len() - 1],
    );
    println!("  the last 50 of {LARGE}: median {middle:.2?}, 99th percentile {late:.2?}, longest {last:.2?}");
}

/// All members of a room come back at the same time, each having missed the last 20 messages.
async fn storm(store: MongoStore) {
    let (large, store) = (room("large"), Counted::new(store));
    let counts = store.counts();
    let head = store.room(&large).await.unwrap().unwrap().head;
    let cursor = Cursor {
        epoch: epoch(),
        seq: head - 20,
    };
    let hub = hub(store);
    counts.forget();
    let began = Instant::now();
    let members = (0..MEMBERS).map(|number| {
        let client = Client::v1(user(&format!("user{number}"))).room(large.clone());
        let client = client.start(Start::Since(cursor.clone()));
        let hub = hub.clone();
        tokio::spawn(async move {
            let (connection, mut peer) = pipe::pipe();
            let serve = tokio::spawn(async move { hub.serve(client, connection).await.map(drop) });
            let mut missed = 0;
            while missed < 20 {
                let frame = peer.frames.recv().await.expect("a member is served");
                if frame.get("t").is_none() {
                    missed += 1;
                }
            }
            (peer, serve)
        })
    });
    let members: Vec<_> = members.collect();
    // All stay until the last one is there.
    let mut here = Vec::with_capacity(MEMBERS);
    for member in members {
        here.push(member.await.unwrap());
    }
    println!(
        "  {MEMBERS} members came back in {:.2?}; the store was asked {}",
        began.elapsed(),
        counts.told()
    );
    for (peer, serve) in here {
        drop(peer);
        serve.await.unwrap().expect("nobody was turned away");
    }
}
