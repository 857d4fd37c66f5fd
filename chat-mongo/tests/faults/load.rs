//! A room at work while the server below it fails, and what must be true of it in the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use roomcast_core::{
    Draft, Entry, Hub, Limits, MessageId, MessageStore, OpenPolicy, PageLimit, RoomHead, RoomId, User,
};
use roomcast_mongo::MongoStore;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::member::{self, Log};
use crate::sender::{self, Left, REFUSED, Sent, Signals};

pub(crate) const ROOM: &str = "load";
const SENDERS: usize = 24;
const MEMBERS: usize = 4;
/// Far more than anything takes: whatever takes longer hangs.
const TOO_LONG: Duration = Duration::from_secs(90);

/// A hub on a store of its own, which tries for so long to commit a message before it tells the sender to try again.
pub(crate) fn hub(store: MongoStore, commit: Duration) -> Hub {
    let mut limits = Limits::default();
    limits.commit = commit;
    Hub::builder(store, OpenPolicy).limits(limits).build().unwrap()
}

/// The same, which hears of what other hubs store.
#[cfg(feature = "change-streams")]
pub(crate) async fn hub_with_bus(store: MongoStore, commit: Duration) -> Hub {
    let bus = store.bus().await.unwrap();
    let mut limits = Limits::default();
    limits.commit = commit;
    Hub::builder(store, OpenPolicy).limits(limits).bus(bus).build().unwrap()
}

/// Senders and members of one room, spread over the hubs.
pub(crate) struct Load {
    hubs: Vec<Hub>,
    signals: Arc<Signals>,
    senders: Vec<JoinHandle<Sent>>,
    members: Vec<JoinHandle<Log>>,
    until: watch::Sender<u64>,
}

impl Load {
    pub(crate) async fn start(hubs: Vec<Hub>) -> Self {
        // The first entry makes the room.
        let room = room();
        let first = hubs[0].publish(&room, &user("first"), Draft::text("first")).await;
        assert_eq!(first.unwrap().seq, 1);
        let RoomHead { epoch, .. } = hubs[0].room(room.clone()).head().await.unwrap().unwrap();
        let start: roomcast_core::Cursor = format!("{epoch}:0").parse().unwrap();
        let (until, _) = watch::channel(u64::MAX);
        let signals = Arc::new(Signals::default());
        let of = |number: usize| hubs[number % hubs.len()].clone();
        let members = (0..MEMBERS).map(|number| {
            let user = user(&format!("member{number}"));
            let stay = 150 + 400 * number;
            tokio::spawn(member::watch(of(number), user, start.clone(), stay, until.subscribe()))
        });
        let senders = (0..SENDERS).map(|number| {
            let user = user(&format!("sender{number}"));
            tokio::spawn(sender::send(of(number).room(room.clone()), user, signals.clone()))
        });
        Self {
            senders: senders.collect(),
            members: members.collect(),
            hubs,
            signals,
            until,
        }
    }

    /// Waits until so many more messages are acknowledged: the room is at work again.
    pub(crate) async fn progress(&self, messages: u64) {
        let from = self.signals.acknowledged.load(Ordering::Relaxed);
        let began = Instant::now();
        while self.signals.acknowledged.load(Ordering::Relaxed) < from + messages {
            assert!(began.elapsed() < TOO_LONG, "nothing is acknowledged any more");
            if let Some(sender) = self.senders.iter().find(|sender| sender.is_finished()) {
                panic!("a sender has given up: {sender:?}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends it, and checks that every promise was kept. The store is read through another connection.
    pub(crate) async fn finish(self, what: &str, store: MongoStore) {
        self.signals.stop.store(true, Ordering::Relaxed);
        let mut sent = Vec::new();
        for sender in self.senders {
            let ended = tokio::time::timeout(TOO_LONG, sender)
                .await
                .expect("every sender is answered");
            sent.push(ended.expect("no sender was told anything wrong"));
        }
        // A hub learns of what others stored when it writes itself. Once each has written after the last message, all know
        // the log up to there.
        let mut ends = Vec::new();
        for hub in self.hubs.iter().chain(&self.hubs) {
            ends.push(
                hub.publish(&room(), &user("last"), Draft::text("last"))
                    .await
                    .unwrap()
                    .seq,
            );
        }
        let end = ends[self.hubs.len() - 1];
        self.until.send_replace(end);
        let mut seen = Vec::new();
        for member in self.members {
            let ended = tokio::time::timeout(TOO_LONG, member)
                .await
                .expect("every member sees the end");
            seen.push(ended.expect("no member was shown anything wrong"));
        }
        let log = whole_log(&store).await;

        let sum = |of: fn(&Sent) -> u64| sent.iter().map(of).sum::<u64>();
        let messages = sum(|sent| sent.said.len() as u64);
        let visits: u64 = seen.iter().map(|log| log.visits).sum();
        println!(
            "{what}: sent {} entries, {messages} of them messages, {} times again; acknowledged all; \
             {} repeated and found, {} refused; stored {}; each of {MEMBERS} members saw {end}, in {visits} visits",
            sum(|sent| sent.asked - sent.found - sent.refused),
            sum(|sent| sent.again),
            sum(|sent| sent.found),
            sum(|sent| sent.refused),
            log.len(),
        );
        check_log(&log, &sent);
        check_members(&log, &seen, end);
        for hub in self.hubs {
            let report = hub.shutdown(Duration::from_secs(20)).await;
            assert!(report.is_clean(), "{report:?}");
        }
        store.close().await.unwrap();
    }
}

/// The log, read page by page; its numbers rise by one from 1.
async fn whole_log(store: &MongoStore) -> Vec<Entry> {
    let mut log: Vec<Entry> = Vec::new();
    loop {
        let page = store
            .log(&room(), log.len() as u64, PageLimit::entries(1000))
            .await
            .unwrap();
        for entry in page.entries {
            assert_eq!(entry.seq(), log.len() as u64 + 1, "numbers are contiguous");
            log.push(entry);
        }
        if log.len() as u64 >= page.head {
            return log;
        }
    }
}

/// Every acknowledged message is in the log once, at the place that its sender was told, as it was left.
fn check_log(log: &[Entry], sent: &[Sent]) {
    let mut messages = HashMap::new();
    for entry in log {
        let Entry::Message(message) = entry else { continue };
        assert!(
            messages.insert(message.id, message).is_none(),
            "{message:?} is there twice"
        );
        let content = message.content.as_deref().unwrap_or_default();
        assert!(!content.starts_with(REFUSED), "{message:?} was refused");
    }
    for said in sent.iter().flat_map(|sent| &sent.said) {
        let message = messages.remove(&said.id).unwrap_or_else(|| panic!("{said:?} is lost"));
        assert_eq!(message.seq, said.seq, "{said:?}");
        let expected = match said.left {
            Left::AsSaid => Some(said.content.clone()),
            Left::Edited => Some(format!("{}, or rather not", said.content)),
            Left::Deleted => None,
        };
        assert_eq!(message.content, expected, "{said:?} is {message:?}");
        assert_eq!(message.deleted, said.left == Left::Deleted);
    }
    // Everything was acknowledged at last, so there is nothing else: no message was stored a second time.
    messages.retain(|_, message| !["first", "last"].contains(&message.user.id().as_str()));
    assert!(messages.is_empty(), "nobody was told of {messages:?}");
}

/// All members saw the log, in its order. One that came early may have seen what was changed later.
fn check_members(log: &[Entry], seen: &[Log], end: u64) {
    let about = |entry: &Entry| -> (&str, MessageId) {
        match entry {
            Entry::Message(message) => ("message", message.id),
            Entry::Edit(edit) => ("edit", edit.message),
            Entry::Delete(deletion) => ("delete", deletion.message),
            _ => panic!("{entry:?} is of a new kind"),
        }
    };
    for member in seen {
        let seen = &member.entries[..usize::try_from(end).unwrap()];
        for (seen, entry) in seen.iter().zip(log) {
            let (kind, id) = about(entry);
            assert_eq!(
                (seen.kind, &*seen.id),
                (kind, &*id.to_string()),
                "{seen:?} for {entry:?}"
            );
            let Entry::Message(message) = entry else { continue };
            if message.edited_at.is_none() && !message.deleted {
                assert_eq!(seen.content, message.content, "{seen:?} for {entry:?}");
            }
        }
    }
}

fn room() -> RoomId {
    RoomId::new(ROOM).unwrap()
}

fn user(name: &str) -> User {
    User::named(name).unwrap()
}
