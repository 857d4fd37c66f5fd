//! Somebody who is in the room, goes away now and then, and comes back with a cursor.

use std::time::Duration;

use roomcast_core::{Client, Cursor, Hub, RoomId, Start, User};
use serde_json::Value;
use tokio::sync::watch;

use crate::pipe::{Peer, pipe};

/// An entry as a member saw it: its kind, what it is about, and what it said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) kind: &'static str,
    pub(crate) id: String,
    pub(crate) content: Option<String>,
}

/// What one member saw: the entries from 1 on, without a hole.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) entries: Vec<Seen>,
    pub(crate) visits: u64,
}

/// Stays until it has seen the entry that `until` names at last; `stay` is how many entries it sees in one visit.
pub(crate) async fn watch(hub: Hub, user: User, from: Cursor, stay: usize, mut until: watch::Receiver<u64>) -> Log {
    let mut log = Log::default();
    loop {
        let cursor = Cursor {
            epoch: from.epoch.clone(),
            seq: log.entries.len() as u64,
        };
        let room = RoomId::new(crate::load::ROOM).unwrap();
        let client = Client::v1(user.clone()).room(room).start(Start::Since(cursor));
        let (connection, peer) = pipe();
        let done = {
            let serve = hub.serve(client, connection);
            let visit = visit(&mut log, peer, stay, &mut until);
            tokio::pin!(serve, visit);
            tokio::select! {
                // The hub refuses it or lets it go, perhaps since the store doesn't answer; what it said to the last is read.
                _ = &mut serve => visit.await,
                done = &mut visit => done,
            }
        };
        if done {
            return log;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// True if there is nothing more to see.
async fn visit(log: &mut Log, mut peer: Peer, stay: usize, until: &mut watch::Receiver<u64>) -> bool {
    log.visits += 1;
    let mut left = stay;
    loop {
        if log.entries.len() as u64 >= *until.borrow() {
            return true;
        }
        let frame = tokio::select! {
            frame = peer.frames.recv() => frame,
            _ = until.changed() => continue,
        };
        let Some(frame) = frame else { return false };
        if take(log, &frame) {
            left -= 1;
        }
        if left == 0 {
            return false;
        }
    }
}

/// Whether the frame is an entry. Anything that no member should see is a panic.
fn take(log: &mut Log, frame: &Value) -> bool {
    let text = |name: &str| frame[name].as_str().unwrap_or_default().to_owned();
    let (kind, id) = match frame.get("t").and_then(Value::as_str) {
        None => ("message", text("id")),
        Some("edit") => ("edit", text("msg")),
        Some("delete") => ("delete", text("msg")),
        Some("hello") => {
            assert_eq!(frame["rooms"][0]["resume"], "ok", "{frame}");
            return false;
        }
        Some("bye") => return false,
        Some(_) => panic!("a member gets {frame}"),
    };
    let next = log.entries.len() as u64 + 1;
    assert_eq!(frame["seq"], next, "{next} is next, not {frame}");
    let content = frame["content"].as_str().map(str::to_owned);
    log.entries.push(Seen { kind, id, content });
    true
}
