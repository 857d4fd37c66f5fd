//! What a hub asks of its surroundings: the time, names, and what users may do.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use roomcast_core::{Clock, Denied, Draft, Epoch, IdSource, Message, MessageId, Policy, RoomId, Timestamp, User};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::time::Instant;

use crate::oracle::facts::{Level, Said};
use crate::rng::{Rng, mix};

/// A clock that jumps in both directions.
#[derive(Debug, Clone)]
pub(crate) struct JumpingClock {
    began: Instant,
    offset_ms: Arc<AtomicI64>,
}

/// 2026-11-22T09:00:00Z.
const BEGINNING_MS: i64 = 1_795_338_000_000;

impl JumpingClock {
    pub(crate) fn new(began: Instant) -> Self {
        Self {
            began,
            offset_ms: Arc::default(),
        }
    }

    pub(crate) fn jump(&self, ms: i64) {
        self.offset_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for JumpingClock {
    fn now(&self) -> Timestamp {
        let passed = self.began.elapsed().as_millis() as i64;
        Timestamp::from_millis(BEGINNING_MS + passed + self.offset_ms.load(Ordering::Relaxed))
    }
}

/// Names that no other hub gives, before or after a restart. Their lower bits are mixed, since hubs take chance from them.
#[derive(Debug, Clone)]
pub(crate) struct Ids {
    next: Arc<AtomicU64>,
    seed: u64,
}

impl Ids {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            next: Arc::new(AtomicU64::new(1)),
            seed,
        }
    }
}

impl IdSource for Ids {
    fn message_id(&self) -> MessageId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        MessageId::from_u128((u128::from(number) << 64) | u128::from(mix(number ^ self.seed)))
    }

    fn epoch(&self) -> Epoch {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Epoch::new(format!("e{number}")).unwrap_or_else(|error| unreachable!("{error}"))
    }
}

/// A policy that changes its mind and what is said, and takes its time.
#[derive(Debug, Clone)]
pub(crate) struct Moody {
    levels: Arc<Mutex<BTreeMap<(String, String), Level>>>,
    /// What it puts in place of a word, as an index.
    mask: Arc<AtomicUsize>,
    rng: Rng,
}

impl Moody {
    pub(crate) fn new(rng: Rng) -> Self {
        Self {
            levels: Arc::default(),
            mask: Arc::default(),
            rng,
        }
    }

    /// From now on it puts something else in place of the word.
    pub(crate) fn other_mask(&self) {
        self.mask.fetch_xor(1, Ordering::Relaxed);
    }

    fn mask(&self) -> &'static str {
        MASKS[self.mask.load(Ordering::Relaxed)]
    }

    pub(crate) fn set(&self, user: &str, room: &str, level: Level) {
        self.levels.lock().insert((user.to_owned(), room.to_owned()), level);
    }

    async fn needs(&self, user: &User, room: &RoomId, level: Level) -> Result<(), Denied> {
        self.think().await;
        let key = (user.id().as_str().to_owned(), room.as_str().to_owned());
        let has = self.levels.lock().get(&key).is_some_and(|has| *has >= level);
        self.think().await;
        if has { Ok(()) } else { Err(Denied::forbidden("not now")) }
    }

    async fn think(&self) {
        match self.rng.below(40) {
            0 => tokio::time::sleep(Duration::from_millis(self.rng.below(60))).await,
            1 | 2 => tokio::task::yield_now().await,
            _ => {}
        }
    }
}

#[async_trait]
impl Policy for Moody {
    async fn join(&self, user: &User, room: &RoomId) -> Result<(), Denied> {
        self.needs(user, room, Level::Live).await
    }

    async fn send(&self, _: &User, _: &RoomId, draft: &mut Draft) -> Result<(), Denied> {
        self.think().await;
        let mask = self.mask();
        if let Some(content) = &mut draft.content
            && content.contains(WORD)
        {
            *content = masked(content, mask);
            draft
                .data
                .get_or_insert_default()
                .insert("masked".to_owned(), mask.into());
        }
        self.think().await;
        Ok(())
    }

    async fn edit(&self, user: &User, message: &Message, content: &mut String) -> Result<(), Denied> {
        self.think().await;
        *content = masked(content, self.mask());
        author(user, message)
    }

    async fn delete(&self, user: &User, message: &Message) -> Result<(), Denied> {
        self.think().await;
        author(user, message)
    }

    async fn history(&self, user: &User, room: &RoomId) -> Result<(), Denied> {
        self.needs(user, room, Level::History).await
    }

    async fn presence(&self, user: &User, room: &RoomId) -> Result<(), Denied> {
        self.needs(user, room, Level::Live).await
    }
}

/// The word that the policy lets nobody say.
pub(crate) const WORD: &str = "darn";

const MASKS: [&str; 2] = ["****", "!!"];

fn masked(content: &str, mask: &str) -> String {
    content.replace(WORD, mask)
}

/// Whether the policy may have made this of what was sent.
pub(crate) fn may_become(sent: &Said, stored: &Said) -> bool {
    let Some(content) = sent.content.as_ref().filter(|content| content.contains(WORD)) else {
        return sent == stored;
    };
    MASKS.iter().any(|mask| {
        let mut data = sent.data.clone().unwrap_or_else(|| json!({}));
        data["masked"] = Value::from(*mask);
        let made = Said {
            content: Some(masked(content, mask)),
            data: Some(data),
            reply_to: sent.reply_to.clone(),
        };
        made == *stored
    })
}

/// The same of a message's new content.
pub(crate) fn may_be_edited_to(sent: &str, stored: &str) -> bool {
    MASKS.iter().any(|mask| masked(sent, mask) == stored)
}

fn author(user: &User, message: &Message) -> Result<(), Denied> {
    if user.id() == message.user.id() {
        Ok(())
    } else {
        Err(Denied::forbidden("only the author may"))
    }
}
