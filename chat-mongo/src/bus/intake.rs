//! From events to entries.

use std::collections::HashSet;
use std::collections::hash_map::{Entry as Slot, HashMap};

use mongodb::bson::RawDocument;
use roomcast_core::{Entry, Inbox, RoomId, StoreError};

use super::signals;
use super::stream::Reply;
use crate::database::Database;
use crate::document::{self, EntryDocument};

/// How much is handed over together at most.
const ENTRIES: usize = 1024;
const BYTES: usize = 4 << 20;

/// Hands over what is in the reply.
pub(super) async fn take_in(inbox: &Inbox, database: &Database, reply: &Reply) {
    if let Some(last) = reply.events().last() {
        // What the hub hears it may ask for at once, perhaps of another primary.
        database.saw(last.at);
    }
    let entries = database.entries.name();
    let mut intake = Intake::new(inbox);
    for event in reply.events() {
        if event.collection != entries {
            signal(inbox, event.document).await;
        } else if intake.note(event.document, event.is_stale) {
            intake.hand_over().await;
        }
    }
    intake.hand_over().await;
}

async fn signal(inbox: &Inbox, document: &RawDocument) {
    let wanted = |room| RoomId::new(room).is_ok_and(|room| inbox.wants(&room));
    if document.get_str(signals::ROOM).map_or(true, wanted)
        && let Ok(notice) = document.get_str(signals::NOTICE)
    {
        inbox.deliver(notice.as_bytes()).await;
    }
}

/// Entries of some rooms, in each room in their order.
struct Intake<'a> {
    inbox: &'a Inbox,
    /// By the rooms' ids; `None` for those that nobody wants.
    rooms: HashMap<&'a str, Option<Piece>>,
    count: usize,
    bytes: usize,
}

/// What a room's log has got.
struct Piece {
    room: RoomId,
    entries: Vec<Entry>,
    /// How far the log goes at least.
    head: u64,
}

impl<'a> Intake<'a> {
    fn new(inbox: &'a Inbox) -> Self {
        Self {
            inbox,
            rooms: HashMap::new(),
            count: 0,
            bytes: 0,
        }
    }

    /// Takes an entry's document. True if it is time to hand over.
    fn note(&mut self, document: &'a RawDocument, is_stale: bool) -> bool {
        let Ok(room) = document.get_str("room_id") else {
            return false;
        };
        let piece = match self.rooms.entry(room) {
            Slot::Occupied(piece) => piece.into_mut(),
            Slot::Vacant(place) => {
                let room = RoomId::new(room).ok().filter(|room| self.inbox.wants(room));
                place.insert(room.map(Piece::new))
            }
        };
        let Some(piece) = piece else { return false };
        piece.note(document, is_stale);
        self.count += 1;
        self.bytes += document.as_bytes().len();
        self.count >= ENTRIES || self.bytes >= BYTES
    }

    async fn hand_over(&mut self) {
        (self.count, self.bytes) = (0, 0);
        for (_, piece) in self.rooms.drain() {
            if let Some(piece) = piece {
                piece.hand_over(self.inbox).await;
            }
        }
    }
}

impl Piece {
    fn new(room: RoomId) -> Self {
        Self {
            room,
            entries: Vec::new(),
            head: 0,
        }
    }

    fn note(&mut self, document: &RawDocument, is_stale: bool) {
        if let Some(seq) = document.get_i64("seq").ok().and_then(document::seq) {
            self.head = self.head.max(seq);
        }
        if is_stale {
            return; // How it is now says the store.
        }
        match entry(document, &self.room) {
            Ok(entry) => self.entries.push(entry),
            Err(error) => tracing::warn!(room = %self.room, %error, "an entry that was stored can't be read"),
        }
    }

    async fn hand_over(mut self, inbox: &Inbox) {
        bury(&mut self.entries);
        let mut entries = self.entries.into_iter().peekable();
        let mut told = 0;
        while let Some(first) = entries.next() {
            let mut dense = vec![first];
            told = dense[0].seq();
            while let Some(next) = entries.next_if(|next| next.seq() == told + 1) {
                told += 1;
                dense.push(next);
            }
            inbox.committed(&self.room, dense).await;
        }
        if self.head > told {
            inbox.head(&self.room, self.head);
        }
    }
}

/// The entry as it was stored.
fn entry(document: &RawDocument, room: &RoomId) -> Result<Entry, StoreError> {
    let mut document = EntryDocument::read(document)?;
    let content = document.content.take_if(|_| document.kind == document::Kind::Edit);
    let mut entry = document.into_entry(room)?;
    if let Entry::Edit(edit) = &mut entry {
        edit.content = content;
    }
    Ok(entry)
}

/// What is deleted by one of these entries is shown by none of them.
fn bury(entries: &mut [Entry]) {
    let deleted: HashSet<u64> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Delete(deletion) => Some(deletion.target),
            _ => None,
        })
        .collect();
    if deleted.is_empty() {
        return;
    }
    for entry in entries {
        match entry {
            Entry::Message(message) if deleted.contains(&message.seq) => message.bury(),
            Entry::Edit(edit) if deleted.contains(&edit.target) => edit.content = None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use roomcast_core::{Deletion, Edit, Message, MessageId, Timestamp, User};

    use super::*;

    fn id(n: u64) -> MessageId {
        MessageId::from_u128(n.into())
    }

    fn message(seq: u64) -> Entry {
        let (room, user) = (RoomId::new("r").unwrap(), User::named("ann").unwrap());
        let mut message = Message::new(id(seq), room, seq, user, Timestamp::default());
        message.content = Some(format!("secret {seq}"));
        Entry::Message(message)
    }

    fn edit(seq: u64, target: u64) -> Entry {
        let (room, user) = (RoomId::new("r").unwrap(), User::named("ann").unwrap());
        let mut edit = Edit::new(id(seq), room, seq, (id(target), target), user, Timestamp::default());
        edit.content = Some(format!("secret {target}, edited"));
        Entry::Edit(edit)
    }

    fn delete(seq: u64, target: u64) -> Entry {
        let (room, user) = (RoomId::new("r").unwrap(), User::named("ann").unwrap());
        let about = (id(target), target);
        Entry::Delete(Deletion::new(id(seq), room, seq, about, user, Timestamp::default()))
    }

    /// A hub that is slow gets a message, its edits and its deletion together.
    #[test]
    fn nothing_is_shown_of_what_is_deleted_in_the_same_breath() {
        let mut entries = vec![edit(3, 1), message(4), message(5), edit(6, 4), edit(7, 5), delete(8, 4)];
        let kept = entries[2].clone();
        bury(&mut entries);
        let text = format!("{entries:?}");
        assert!(!text.contains("secret 4"), "{text}");
        assert!(
            text.contains("secret 1, edited") && text.contains("secret 5, edited"),
            "{text}"
        );
        assert_eq!(entries[2], kept);
        assert_eq!(entries.len(), 6);
    }
}
