//! What is in the collections: what a person sees in the shell, what the server reads to answer, and what becomes of documents
//! that aren't as they should be.

mod common;

use std::time::Duration;

use common::make::{delete, edit, entry, epoch, room, say, stored};
use common::shared::{self, Database};
use futures_util::TryStreamExt;
use mongodb::Collection;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{self, Bson, DateTime, Document, doc};
use mongodb::options::IndexOptions;
use roomcast_core::{
    Change, Fingerprint, HistoryRange, MessageId, MessageStore, NewEntry, PageLimit, RoomId, StoreError, StoreErrorKind,
};
use roomcast_mongo::{MongoStore, Retention};

/// A store, and its collections as the shell has them.
struct Fixture {
    store: MongoStore,
    rooms: Collection<Document>,
    entries: Collection<Document>,
    mongo: mongodb::Database,
    database: Database,
}

impl Fixture {
    async fn new() -> Self {
        let database = Database::on(shared::standalone());
        let mongo = database.open().await;
        Self {
            store: connect(&database).await,
            rooms: mongo.collection("roomcast_rooms"),
            entries: mongo.collection("roomcast_entries"),
            mongo,
            database,
        }
    }

    async fn room_of(&self, entries: &[NewEntry]) -> RoomId {
        let room = room("r");
        self.store.create_room(&room, epoch()).await.unwrap();
        self.append(&room, entries).await;
        room
    }

    async fn append(&self, room: &RoomId, entries: &[NewEntry]) {
        let head = self.store.room(room).await.unwrap().unwrap().head;
        let appended = self.store.append(room, head, entries).await.unwrap();
        assert_eq!(appended.head, head + entries.len() as u64);
    }

    async fn document(&self, seq: i64) -> Document {
        let found = self
            .entries
            .find_one(doc! { "room_id": "r", "seq": seq })
            .await
            .unwrap();
        found.unwrap_or_else(|| panic!("the collection has no entry {seq}"))
    }

    async fn change(&self, seq: i64, change: Document) {
        let changed = self
            .entries
            .update_one(doc! { "room_id": "r", "seq": seq }, change)
            .await
            .unwrap();
        assert_eq!(changed.modified_count, 1);
    }
}

async fn connect(database: &Database) -> MongoStore {
    let store = MongoStore::builder(&database.uri).database(&database.name).search(true);
    store.connect().await.unwrap()
}

/// The id as a person writes it, if it is stored as a UUID.
fn uuid(value: Option<&Bson>) -> String {
    match value {
        Some(Bson::Binary(binary)) if binary.subtype == BinarySubtype::Uuid => {
            bson::Uuid::from_bytes(binary.bytes.as_slice().try_into().unwrap()).to_string()
        }
        other => panic!("{other:?} is no UUID"),
    }
}

#[tokio::test]
async fn a_person_can_read_them() {
    let fixture = Fixture::new().await;
    let first = say("hello");
    let second = entry(Change::Message {
        content: Some("and hello to you".to_owned()),
        data: serde_json::from_str(r#"{"mood":"fine","list":[1,2.5,null]}"#).unwrap(),
        reply_to: Some(first.id),
        nonce: Some(("n-1".parse().unwrap(), Fingerprint::from_u128(7))),
    });
    fixture.room_of(&[first.clone(), second.clone()]).await;

    let document = fixture.document(2).await;
    assert_eq!(uuid(document.get("_id")), second.id.to_string());
    assert_eq!(document.get_str("room_id").unwrap(), "r");
    assert_eq!(document.get_i64("seq").unwrap(), 2);
    assert_eq!(document.get_str("kind").unwrap(), "message");
    assert_eq!(
        document.get_document("user").unwrap(),
        &doc! { "id": "ann", "name": "ann" }
    );
    let created = document.get_datetime("created_at").unwrap();
    assert_eq!(*created, DateTime::from_millis(second.at.as_millis()));
    assert_eq!(document.get_str("content").unwrap(), "and hello to you");
    let data = document.get_document("data").unwrap();
    assert_eq!(
        (data.get_str("mood").unwrap(), data.get_array("list").unwrap().len()),
        ("fine", 3)
    );
    assert_eq!(uuid(document.get("reply_to")), first.id.to_string());
    assert_eq!(document.get_str("nonce").unwrap(), "n-1");
    assert!(
        !document.contains_key("unfinished") && !document.contains_key("deleted"),
        "{document}"
    );

    let room = fixture.rooms.find_one(doc! { "_id": "r" }).await.unwrap().unwrap();
    assert_eq!(room.get_str("epoch").unwrap(), "e1");
    assert_eq!(room.get_i64("floor").unwrap(), 0);
    for (name, value) in &room {
        assert!(
            !name.ends_with("_at") || matches!(value, Bson::DateTime(_)),
            "{name} is {value}"
        );
    }
    println!("{room}\n{document}");
}

#[tokio::test]
async fn a_change_shows_in_its_message() {
    let fixture = Fixture::new().await;
    let message = say("first");
    let change = edit(message.id, "second");
    fixture.room_of(std::slice::from_ref(&message)).await;
    fixture.append(&room("r"), std::slice::from_ref(&change)).await;
    let document = fixture.document(1).await;
    assert_eq!(document.get_str("content").unwrap(), "second");
    let edited = document.get_datetime("edited_at").unwrap();
    assert_eq!(*edited, DateTime::from_millis(change.at.as_millis()));
    let document = fixture.document(2).await;
    assert_eq!(document.get_str("kind").unwrap(), "edit");
    assert_eq!(uuid(document.get("message")), message.id.to_string());
    assert_eq!(document.get_i64("target").unwrap(), 1);

    fixture.append(&room("r"), &[delete(message.id)]).await;
    let document = fixture.document(1).await;
    assert!(document.get_bool("deleted").unwrap());
    for gone in ["content", "data", "reply_to", "edited_at", "words"] {
        assert!(!document.contains_key(gone), "{document}");
    }
    assert_eq!(fixture.document(3).await.get_str("kind").unwrap(), "delete");
    // What the message had said is in no document any more, in any version.
    let all: Vec<Document> = fixture
        .entries
        .find(doc! {})
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let all = all.iter().map(ToString::to_string).collect::<String>();
    assert!(!all.contains("first") && !all.contains("second"), "{all}");
}

#[tokio::test]
async fn connecting_makes_the_indexes_once() {
    let database = Database::on(shared::standalone());
    // Many servers that start at the same time, on a database without anything in it.
    let _ = tokio::join!(connect(&database), connect(&database), connect(&database));
    let again = connect(&database).await;
    again.health().await.unwrap();
    let entries: Collection<Document> = database.open().await.collection("roomcast_entries");
    let indexes: Vec<_> = entries.list_indexes().await.unwrap().try_collect().await.unwrap();
    let unique = |keys: &[&str]| {
        indexes.iter().any(|index| {
            let unique = index.options.as_ref().and_then(|options: &IndexOptions| options.unique);
            unique == Some(true) && index.keys.keys().eq(keys)
        })
    };
    assert!(unique(&["room_id", "seq"]), "{indexes:?}");
    assert!(unique(&["room_id", "user.id", "nonce"]), "{indexes:?}");
    println!("{:?}", entries.list_index_names().await.unwrap());
}

#[tokio::test]
async fn names_can_be_chosen() {
    let database = Database::on(shared::standalone());
    let store = MongoStore::builder(&database.uri)
        .search(true)
        .database(&database.name)
        .rooms_collection("channels")
        .entries_collection("lines")
        .connect()
        .await
        .unwrap();
    store.create_room(&room("r"), epoch()).await.unwrap();
    store.append(&room("r"), 0, &[say("hi")]).await.unwrap();
    let mut names = database.open().await.list_collection_names().await.unwrap();
    names.sort_unstable();
    assert_eq!(names, ["channels", "lines"]);
}

/// What the server did for the store's own queries, by its profiler.
#[tokio::test]
async fn reading_a_large_room_uses_the_index() {
    const MESSAGES: u64 = 20_000;
    let fixture = Fixture::new().await;
    let r = fixture.room_of(&[]).await;
    let mut some = None;
    for batch in 0..MESSAGES / 1000 {
        let entries: Vec<_> = (0..1000)
            .map(|n| say(&format!("message {n} of batchnumber{batch}")))
            .collect();
        some = Some(entries[500].id);
        fixture.append(&r, &entries).await;
    }
    fixture.mongo.run_command(doc! { "profile": 2 }).await.unwrap();
    let profile: Collection<Document> = fixture.mongo.collection("system.profile");
    let store = &fixture.store;
    let page = PageLimit::entries(50);
    let search = store.search().unwrap();
    macro_rules! look {
        ($what:literal, $read:expr) => {
            look!($what, $read, 110)
        };
        ($what:literal, $read:expr, $most:literal) => {
            let since = DateTime::now();
            let _ = $read.await.unwrap();
            let filter = doc! { "ts": { "$gte": since }, "ns": { "$not": { "$regex": "system.profile$" } } };
            let found: Vec<Document> = profile.find(filter).await.unwrap().try_collect().await.unwrap();
            assert!(!found.is_empty(), "the profiler saw nothing of {}", $what);
            for operation in found {
                let number = |name: &str| {
                    operation
                        .get(name)
                        .map_or(0, |value| value.as_i32().unwrap_or(i32::MAX))
                };
                let plan = operation.get_str("planSummary").unwrap_or_default();
                let (documents, keys) = (number("docsExamined"), number("keysExamined"));
                println!(
                    "{}: {plan}, {keys} keys and {documents} documents examined",
                    $what
                );
                assert!(!plan.contains("COLLSCAN"), "{}: {operation}", $what);
                assert!(documents <= $most && keys <= 2 * $most, "{}: {operation}", $what);
            }
            // The profiler's clock is in milliseconds.
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
    }
    look!("the last 50", store.history(&r, HistoryRange::Newest, 50));
    look!("50 in the middle", store.history(&r, HistoryRange::Before(10_000), 50));
    look!("50 after", store.history(&r, HistoryRange::After(10_000), 50));
    look!("the end of the log", store.log(&r, MESSAGES - 50, page));
    look!("the middle of the log", store.log(&r, 10_000, page));
    look!("nothing new", store.log(&r, MESSAGES, page));
    look!("the head", store.room(&r));
    look!("one message", store.message(&r, some.unwrap()));
    look!("an append", store.append(&r, MESSAGES, &[say("hi")]));
    look!("an edit", store.append(&r, MESSAGES + 1, &[edit(some.unwrap(), "new")]));
    look!("the list of rooms", store.rooms(None, 10));
    // No more is looked at than what holds the rarest word, however long the others are.
    look!("a search", search.search(&r, "message 17", None, 50), 1000);
    look!("a search", search.search(&r, "batchnumber7 message", None, 50), 1000);
    look!("a search", search.search(&r, "message batchnumber7", None, 50), 1000);
    look!(
        "a search in vain",
        search.search(&r, "message nowheretobefound", None, 50),
        1000
    );
}

fn assert_names<T: std::fmt::Debug>(what: &dyn std::fmt::Debug, name: &str, result: Result<T, StoreError>) {
    match result {
        Ok(value) => panic!("{what:?} gives {value:?}"),
        Err(error) => {
            assert_eq!(error.kind(), StoreErrorKind::Refused, "{what:?}: {error}");
            assert!(error.to_string().contains(name), "{what:?} is told as {error}");
        }
    }
}

#[tokio::test]
async fn a_damaged_entry_is_named_and_nothing_panics() {
    for damage in [
        doc! { "$set": { "kind": 9 } },
        doc! { "$set": { "kind": "note" } },
        doc! { "$unset": { "kind": "" } },
        doc! { "$unset": { "user": "" } },
        doc! { "$set": { "user": "ann" } },
        doc! { "$set": { "user.id": "" } },
        doc! { "$set": { "user.id": 5 } },
        doc! { "$set": { "created_at": "yesterday" } },
        doc! { "$unset": { "created_at": "" } },
        doc! { "$set": { "content": 5 } },
        doc! { "$set": { "data": [1] } },
        doc! { "$set": { "data": "{" } },
        doc! { "$set": { "data": { "a": { "$numberDecimal": "1" }, "b": DateTime::now() } } },
        doc! { "$set": { "reply_to": "somebody" } },
        doc! { "$set": { "edited_at": true } },
        doc! { "$set": { "deleted": "yes" } },
    ] {
        let fixture = Fixture::new().await;
        let messages = [say("one message"), say("two message"), say("three message")];
        let r = fixture.room_of(&messages).await;
        fixture.change(2, damage.clone()).await;
        let (store, name) = (&fixture.store, messages[1].id.to_string());
        assert_names(&damage, &name, store.log(&r, 0, PageLimit::entries(10)).await);
        assert_names(&damage, &name, store.log(&r, 1, PageLimit::entries(1)).await);
        // These may or may not come upon it.
        let _ = store.history(&r, HistoryRange::Newest, 10).await;
        let _ = store.message(&r, messages[1].id).await;
        let _ = store.search().unwrap().search(&r, "message", None, 10).await;
        let _ = store.append(&r, 3, &[edit(messages[1].id, "new")]).await;
        let _ = store.append(&r, 3, &[say("four")]).await;
        // What isn't damaged can be read.
        assert_eq!(store.log(&r, 0, PageLimit::entries(1)).await.unwrap().entries.len(), 1);
    }
}

#[tokio::test]
async fn a_damaged_seq_is_no_hole_that_nobody_notices() {
    for damage in [
        doc! { "$unset": { "seq": "" } },
        doc! { "$set": { "seq": "two" } },
        doc! { "$set": { "seq": 2.5 } },
        doc! { "$set": { "seq": -2_i64 } },
        doc! { "$set": { "room_id": 5 } },
    ] {
        let fixture = Fixture::new().await;
        let r = fixture.room_of(&[say("one"), say("two"), say("three")]).await;
        fixture.change(2, damage.clone()).await;
        let log = fixture.store.log(&r, 0, PageLimit::entries(10)).await;
        assert_names(&damage, "", log);
    }
}

#[tokio::test]
async fn a_damaged_room_is_named() {
    for damage in [
        doc! { "$set": { "epoch": "" } },
        doc! { "$set": { "epoch": 5 } },
        doc! { "$unset": { "epoch": "" } },
        doc! { "$set": { "floor": "ground" } },
        doc! { "$set": { "floor": -1_i64 } },
        doc! { "$unset": { "floor": "" } },
    ] {
        let fixture = Fixture::new().await;
        let r = fixture.room_of(&[say("one"), say("two")]).await;
        fixture
            .rooms
            .update_one(doc! { "_id": "r" }, damage.clone())
            .await
            .unwrap();
        // As a server has it that never saw the room before.
        let store = connect(&fixture.database).await;
        assert_names(&damage, "\"r\"", store.room(&r).await);
        assert_names(&damage, "\"r\"", store.log(&r, 0, PageLimit::entries(10)).await);
        assert_names(&damage, "\"r\"", store.append(&r, 2, &[say("three")]).await);
        assert_names(&damage, "\"r\"", store.rooms(None, 10).await);
        let _ = store.history(&r, HistoryRange::Newest, 10).await;
    }
}

/// How a server that was killed between the two writes of an edit or a deletion left things.
async fn interrupted(fixture: &Fixture, change: fn(MessageId) -> NewEntry) -> MessageId {
    let message = say("kwyjibo before");
    let r = fixture.room_of(&[message.clone(), say("another")]).await;
    let before = fixture.document(1).await;
    let change = change(message.id);
    fixture.append(&r, std::slice::from_ref(&change)).await;
    // The first write is the entry, with a mark. The second, which brings the message up to date and takes
    // the mark away, never was.
    fixture
        .entries
        .replace_one(doc! { "_id": before.get("_id").unwrap() }, before)
        .await
        .unwrap();
    let mut entry = doc! { "unfinished": true };
    if let Change::Edit { content, .. } = change.change {
        entry.insert("content", content);
    }
    fixture.change(3, doc! { "$set": entry }).await;
    message.id
}

#[tokio::test]
async fn whoever_comes_next_finishes_an_edit() {
    for reader in 0..6 {
        let fixture = Fixture::new().await;
        let id = interrupted(&fixture, |id| edit(id, "kwyjibo after")).await;
        // Another server, which knows nothing of it.
        let (store, r) = (connect(&fixture.database).await, room("r"));
        let search = store.search().unwrap();
        let told = match reader {
            0 => format!("{:?}", store.message(&r, id).await.unwrap()),
            1 => format!("{:?}", store.history(&r, HistoryRange::Newest, 10).await.unwrap()),
            2 => format!("{:?}", store.log(&r, 0, PageLimit::entries(10)).await.unwrap()),
            3 => format!("{:?}", search.search(&r, "kwyjibo after", None, 10).await.unwrap()),
            4 => format!("{:?}", store.history(&r, HistoryRange::Before(2), 10).await.unwrap()),
            _ => {
                let appended = store.append(&r, 3, &[say("a writer")]).await.unwrap();
                assert_eq!(appended.outcomes, [stored(4)]);
                format!("{:?}", store.message(&r, id).await.unwrap())
            }
        };
        assert!(
            told.contains("after") && !told.contains("before"),
            "reader {reader}: {told}"
        );
        assert!(!fixture.document(3).await.contains_key("unfinished"));
        assert_eq!(fixture.document(1).await.get_str("content").unwrap(), "kwyjibo after");
    }
}

#[tokio::test]
async fn whoever_comes_next_finishes_a_deletion() {
    for reader in 0..6 {
        let fixture = Fixture::new().await;
        let id = interrupted(&fixture, delete).await;
        let (store, r) = (connect(&fixture.database).await, room("r"));
        let search = store.search().unwrap();
        let told = match reader {
            0 => format!("{:?}", store.message(&r, id).await.unwrap()),
            1 => format!("{:?}", store.history(&r, HistoryRange::Newest, 10).await.unwrap()),
            2 => format!("{:?}", store.log(&r, 0, PageLimit::entries(10)).await.unwrap()),
            3 => format!("{:?}", search.search(&r, "kwyjibo", None, 10).await.unwrap()),
            4 => format!("{:?}", store.history(&r, HistoryRange::Before(2), 10).await.unwrap()),
            _ => {
                let appended = store
                    .append(&r, 3, &[edit(id, "too late"), say("a writer")])
                    .await
                    .unwrap();
                assert_eq!(appended.outcomes, [roomcast_core::Outcome::NoTarget, stored(4)]);
                format!("{:?}", store.message(&r, id).await.unwrap())
            }
        };
        assert!(!told.contains("kwyjibo"), "reader {reader}: {told}");
        assert!(!fixture.document(3).await.contains_key("unfinished"));
        assert!(fixture.document(1).await.get_bool("deleted").unwrap());
    }
}

/// Two servers finish the same edit, and one of them is late: in between, the message was edited once more.
#[tokio::test]
async fn an_old_edit_that_is_finished_late_changes_nothing() {
    let fixture = Fixture::new().await;
    let message = say("first");
    let r = fixture.room_of(std::slice::from_ref(&message)).await;
    fixture
        .append(&r, &[edit(message.id, "second"), edit(message.id, "third")])
        .await;
    fixture
        .change(2, doc! { "$set": { "unfinished": true, "content": "second" } })
        .await;
    let found = connect(&fixture.database)
        .await
        .message(&r, message.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.content.as_deref(), Some("third"));
    assert!(!fixture.document(2).await.contains_key("unfinished"));
}

#[tokio::test]
async fn what_retention_removed_leaves_the_collection() {
    let database = Database::on(shared::standalone());
    let retention = Retention {
        max_entries: Some(10),
        max_age: None,
    };
    let store = MongoStore::builder(&database.uri)
        .search(true)
        .database(&database.name)
        .retention(retention)
        .retention_grace(Duration::from_millis(500))
        .connect()
        .await
        .unwrap();
    let r = room("r");
    store.create_room(&r, epoch()).await.unwrap();
    let entries: Vec<_> = (0..500).map(|n| say(&format!("message {n}"))).collect();
    store.append(&r, 0, &entries).await.unwrap();
    let collection: Collection<Document> = database.open().await.collection("roomcast_entries");
    for _ in 0..600 {
        let left = collection.count_documents(doc! {}).await.unwrap();
        if left < 20 {
            let floor = store.room(&r).await.unwrap().unwrap().floor;
            assert_eq!(floor, 500 - left, "nothing of what is kept was removed");
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("what retention removed stays in the collection");
}
