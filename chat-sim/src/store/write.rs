//! What reaches the log.

use std::sync::Arc;

use roomcast_core::{
    Appended, Change, Clock, MessageId, MessageStore, NewEntry, Outcome, PageLimit, RoomId, StoreError, User,
};
use serde_json::Value;

use super::at_once;
use crate::oracle::facts::{self, Record, Said};
use crate::oracle::{Event, HubId};
use crate::world::World;

/// A write on its way.
pub(super) struct Write {
    pub(super) world: Arc<World>,
    pub(super) hub: HubId,
    pub(super) room: RoomId,
    pub(super) expected: u64,
    pub(super) entries: Vec<NewEntry>,
    /// The id of what another writer stores right after.
    pub(super) rival: Option<MessageId>,
}

impl Write {
    /// It happens now, as a whole or not at all.
    pub(super) fn land(&self) -> Result<Appended, StoreError> {
        let disk = &self.world.disk;
        let mut appended = at_once(disk.log.append(&self.room, self.expected, &self.entries))?;
        for (entry, outcome) in self.entries.iter().zip(&appended.outcomes) {
            self.tell(Some(self.hub), entry, outcome);
        }
        if let Some(id) = self.rival {
            let rival = User::named("rival").unwrap_or_else(|error| unreachable!("{error}"));
            let entry = NewEntry {
                id,
                user: rival,
                at: self.world.clock.now(),
                change: Change::Message {
                    content: Some("from elsewhere".into()),
                    data: None,
                    reply_to: None,
                    nonce: None,
                },
            };
            let other = at_once(disk.log.append(&self.room, appended.head, std::slice::from_ref(&entry)))?;
            for outcome in &other.outcomes {
                self.tell(None, &entry, outcome);
            }
            appended.head = other.head;
        }
        if !appended.outcomes.is_empty() {
            let written = at_once(disk.log.log(&self.room, self.expected, PageLimit::entries(usize::MAX)))?;
            self.world.wire.saw(&self.world, &self.room, written.entries);
        }
        if let Some(head) = at_once(disk.log.room(&self.room))? {
            let room = self.room.as_str();
            self.world.see(&Event::Trimmed {
                room,
                floor: head.floor,
            });
        }
        Ok(appended)
    }

    fn tell(&self, hub: Option<HubId>, entry: &NewEntry, outcome: &Outcome) {
        let Outcome::Stored { seq, target } = *outcome else {
            return;
        };
        let target = target.unwrap_or_default();
        let change = match &entry.change {
            Change::Message {
                content,
                data,
                reply_to,
                nonce,
            } => facts::Change::Message {
                // Without what a bug has added to it.
                nonce: nonce
                    .as_ref()
                    .map(|(nonce, _)| nonce.as_str().split('@').next().unwrap_or_default().to_owned()),
                said: Said {
                    content: content.clone(),
                    data: data.clone().map(Value::Object),
                    reply_to: reply_to.map(|id| id.to_string()),
                },
                versions: Vec::new(),
            },
            Change::Edit { message, content } => facts::Change::Edit {
                target,
                msg: message.to_string(),
                content: content.clone(),
            },
            Change::Delete { message } => facts::Change::Delete {
                target,
                msg: message.to_string(),
            },
        };
        let record = Record {
            id: entry.id.to_string(),
            user: entry.user.id().as_str().to_owned(),
            change,
        };
        self.world.see(&Event::Committed {
            hub,
            room: self.room.as_str(),
            seq,
            record: &record,
        });
    }
}
