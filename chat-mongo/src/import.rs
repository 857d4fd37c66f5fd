//! Brings messages of an older, plain shape into rooms.

use std::collections::BTreeSet;

use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ClientOptions;
use roomcast_core::{
    Change, Draft, IdSource, MessageStore, NewEntry, Nonce, Outcome, RandomIds, RoomId, StoreError, StoreErrorKind,
    Timestamp, User, UserId, UserName,
};

use crate::error::{refused, unread};

/// How many messages go into one append.
const BATCH: usize = 256;

/// How often a batch is offered again because other writers came between, or the store was busy.
const TRIES: usize = 100;

/// What an import did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ImportReport {
    /// Messages that are now in a room.
    pub imported: u64,
    /// Messages that an earlier run had brought in already.
    pub present: u64,
    /// Documents that are no messages: `_id`, and what is wrong with it. They stay where they are.
    pub skipped: Vec<(String, String)>,
}

/// Brings the messages of a collection of an older system into rooms of a store, be it on MongoDB or not.
///
/// Taken is each document with `room_id` (text), `content` (text, not empty), `created_at` (a date, milliseconds since 1970, or
/// RFC 3339 text) and `user` (a name, or a document with `id` or `_id`, and perhaps `name`). Other fields are left
/// out. The messages of a room go to the end of its log in the order of `created_at` and then `_id`, so import before the
/// room is used. The collection is only read.
///
/// Each message gets a nonce made of its `_id` (`import-…`): an import that was interrupted can be run again, and
/// brings in what is missing.
///
/// # Errors
///
/// [`Refused`](StoreErrorKind::Refused) if the address names no database or access is denied; else the errors of reading and of
/// [`MessageStore::append`]. What was imported before stays.
pub async fn import(uri: &str, collection: &str, store: &dyn MessageStore) -> Result<ImportReport, StoreError> {
    let wrong =
        |error: mongodb::error::Error| refused(format!("the address can't be used: {error}")).with_source(error);
    let options = ClientOptions::parse(uri).await.map_err(wrong)?;
    let Some(database) = options.default_database.clone() else {
        return Err(refused(
            "the address names no database: mongodb://HOST/DATABASE is needed",
        ));
    };
    let client = Client::with_options(options).map_err(wrong)?;
    let source = client.database(&database).collection::<Document>(collection);
    let mut cursor = source
        .find(doc! {})
        .sort(doc! {"room_id": 1, "created_at": 1, "_id": 1})
        .allow_disk_use(true)
        .await
        .map_err(unread)?;
    let mut import = Import {
        store,
        report: ImportReport::default(),
        begun: BTreeSet::new(),
        room: None,
        batch: Vec::new(),
    };
    while cursor.advance().await.map_err(unread)? {
        let document = cursor.deserialize_current().map_err(unread)?;
        match message(&document) {
            Ok((room, entry)) => import.add(room, entry).await?,
            Err(what) => import.report.skipped.push((id_of(&document), what)),
        }
    }
    import.flush().await?;
    // The client waits for its cursors.
    drop(cursor);
    client.shutdown().await;
    Ok(import.report)
}

struct Import<'a> {
    store: &'a dyn MessageStore,
    report: ImportReport,
    begun: BTreeSet<RoomId>,
    room: Option<RoomId>,
    batch: Vec<NewEntry>,
}

impl Import<'_> {
    async fn add(&mut self, room: RoomId, entry: NewEntry) -> Result<(), StoreError> {
        if self.batch.len() >= BATCH || self.room.as_ref().is_some_and(|current| *current != room) {
            self.flush().await?;
        }
        self.room = Some(room);
        self.batch.push(entry);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        let Some(room) = self.room.take() else { return Ok(()) };
        let mut rest = std::mem::take(&mut self.batch);
        let mut head = if self.begun.contains(&room) {
            self.store.room(&room).await?.map_or(0, |head| head.head)
        } else {
            let head = self.store.create_room(&room, RandomIds.epoch()).await?.head;
            self.begun.insert(room.clone());
            head
        };
        for _ in 0..TRIES {
            if rest.is_empty() {
                return Ok(());
            }
            match self.store.append(&room, head, &rest).await {
                Ok(appended) => {
                    head = appended.head;
                    let done = appended.outcomes.len().min(rest.len());
                    for (outcome, entry) in appended.outcomes.iter().zip(rest.drain(..done)) {
                        match outcome {
                            // Perhaps by an earlier try whose outcome wasn't known.
                            Outcome::Duplicate { id, .. } if *id != entry.id => self.report.present += 1,
                            Outcome::Stored { .. } | Outcome::Duplicate { .. } => self.report.imported += 1,
                            Outcome::NonceConflict | Outcome::NoTarget => {
                                let id = nonce_of(&entry).unwrap_or_default();
                                let what = "another message was imported under this _id".to_owned();
                                self.report.skipped.push((id, what));
                            }
                        }
                    }
                }
                // Each message has its nonce, so it may be offered again whatever became of it.
                Err(error) if error.kind() != StoreErrorKind::Refused => {
                    tracing::warn!(%room, %error, "the import waits for the store");
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                    head = self.store.room(&room).await.ok().flatten().map_or(head, |now| now.head);
                }
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::new(
            StoreErrorKind::Unavailable,
            format!("the store doesn't take the messages of {room}"),
        ))
    }
}

fn nonce_of(entry: &NewEntry) -> Option<String> {
    match &entry.change {
        Change::Message {
            nonce: Some((nonce, _)),
            ..
        } => Some(nonce.as_str().to_owned()),
        _ => None,
    }
}

/// A document of the older shape as an entry, or what is wrong with it.
pub(crate) fn message(document: &Document) -> Result<(RoomId, NewEntry), String> {
    let text = |key: &str| match document.get(key) {
        Some(Bson::String(text)) => Ok(text),
        Some(other) => Err(format!("{key} is not a text but {:?}", other.element_type())),
        None => Err(format!("{key} is missing")),
    };
    let room = RoomId::new(text("room_id")?).map_err(|error| error.to_string())?;
    let content = text("content")?;
    if content.is_empty() {
        return Err("content is empty".to_owned());
    }
    let at = match document.get("created_at") {
        Some(Bson::DateTime(at)) => Timestamp::from_millis(at.timestamp_millis()),
        Some(Bson::Int64(at)) => Timestamp::from_millis(*at),
        Some(Bson::String(at)) => at
            .parse()
            .map_err(|_| format!("created_at is {at:?}, which is no time of RFC 3339"))?,
        Some(other) => return Err(format!("created_at is not a date but {:?}", other.element_type())),
        None => return Err("created_at is missing".to_owned()),
    };
    let user = user(document.get("user"))?;
    let draft = Draft::text(content);
    let change = Change::Message {
        content: draft.content.clone(),
        data: None,
        reply_to: None,
        nonce: Some((nonce(&id_of(document)), draft.fingerprint())),
    };
    let id = RandomIds.message_id();
    Ok((room, NewEntry { id, user, at, change }))
}

/// Who said it: a name, or a document that has one.
fn user(user: Option<&Bson>) -> Result<User, String> {
    let wrong = |error: roomcast_core::InvalidName| error.to_string();
    match user {
        Some(Bson::String(name)) => User::named(name).map_err(wrong),
        Some(Bson::Document(user)) => {
            let name = match user.get("name") {
                Some(Bson::String(name)) => Some(name.clone()),
                Some(other) => return Err(format!("user.name is not a text but {:?}", other.element_type())),
                None => None,
            };
            let id = match user.get("id").or_else(|| user.get("_id")) {
                Some(Bson::String(id)) => id.clone(),
                Some(Bson::ObjectId(id)) => id.to_hex(),
                Some(Bson::Int32(id)) => id.to_string(),
                Some(Bson::Int64(id)) => id.to_string(),
                Some(other) => return Err(format!("the user's id is a {:?}", other.element_type())),
                None => name.clone().ok_or("user has neither id nor name")?,
            };
            let name = UserName::new(name.as_ref().unwrap_or(&id)).map_err(wrong)?;
            Ok(User::new(UserId::new(id).map_err(wrong)?, name))
        }
        Some(other) => Err(format!(
            "user is neither a text nor a document but {:?}",
            other.element_type()
        )),
        None => Err("user is missing".to_owned()),
    }
}

fn id_of(document: &Document) -> String {
    match document.get("_id") {
        Some(Bson::ObjectId(id)) => id.to_hex(),
        Some(Bson::String(id)) => id.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

/// The nonce of what had this `_id`: it must have no control characters and not be long.
fn nonce(id: &str) -> Nonce {
    Nonce::new(format!("import-{id}")).unwrap_or_else(|_| {
        let hash = Draft::text(id).fingerprint().as_u128();
        Nonce::new(format!("import-{hash:032x}")).expect("39 characters that nonces may have")
    })
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{DateTime, oid::ObjectId};

    use super::*;

    fn old() -> Document {
        doc! {
            "_id": ObjectId::parse_str("65f0c0ffee65f0c0ffee65f0").unwrap(),
            "room_id": "lobby",
            "content": "hi",
            "created_at": DateTime::from_millis(1_795_338_000_123),
            "user": "ann",
        }
    }

    fn with(key: &str, value: impl Into<Bson>) -> Document {
        let mut document = old();
        document.insert(key, value);
        document
    }

    #[test]
    fn the_older_shape_is_read() {
        let (room, entry) = message(&old()).unwrap();
        assert_eq!(room.as_str(), "lobby");
        assert_eq!(entry.user, User::named("ann").unwrap());
        assert_eq!(entry.at.as_millis(), 1_795_338_000_123);
        assert_eq!(nonce_of(&entry).unwrap(), "import-65f0c0ffee65f0c0ffee65f0");
    }

    #[test]
    fn times_and_users_have_several_forms() {
        for at in [
            Bson::Int64(1_795_338_000_123),
            Bson::String("2026-11-22T09:00:00.123Z".into()),
            Bson::String("2026-11-22T10:00:00.123+01:00".into()),
        ] {
            assert_eq!(
                message(&with("created_at", at)).unwrap().1.at.as_millis(),
                1_795_338_000_123
            );
        }
        for (user, id, name) in [
            (doc! {"id": "u1", "name": "Ann"}, "u1", "Ann"),
            (doc! {"_id": 7, "name": "Ann"}, "7", "Ann"),
            (doc! {"name": "Ann"}, "Ann", "Ann"),
            (doc! {"id": 8_i64}, "8", "8"),
        ] {
            let user = message(&with("user", user)).unwrap().1.user;
            assert_eq!((user.id().as_str(), user.name()), (id, name));
        }
    }

    #[test]
    fn what_is_no_message_is_named() {
        for (document, what) in [
            (with("content", ""), "content is empty"),
            (with("content", 1), "content is not a text"),
            (with("room_id", "a/b"), "room id"),
            (with("created_at", "soon"), "RFC 3339"),
            (with("created_at", true), "created_at is not a date"),
            (with("user", doc! {}), "neither id nor name"),
            (with("user", 1), "user is neither"),
            (with("user", ""), "user"),
        ] {
            let error = message(&document).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
        for key in ["room_id", "content", "created_at", "user"] {
            let mut document = old();
            document.remove(key);
            assert_eq!(message(&document).unwrap_err(), format!("{key} is missing"));
        }
    }

    #[test]
    fn any_id_makes_a_nonce() {
        for id in ["", "x", "\0", &"é".repeat(100)] {
            assert!(nonce(id).as_str().starts_with("import-"));
        }
        assert_ne!(nonce(&"x".repeat(100)), nonce(&"x".repeat(101)));
    }
}
