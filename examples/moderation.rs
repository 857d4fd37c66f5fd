//! A policy that moderates: some words are muted, some users are kept out, moderators may delete what others said, and what
//! was said before is for members only.
//!
//! ```text
//! cargo run -p roomcast-examples --example moderation
//! websocat ws://127.0.0.1:8080/ws/lobby?user=guest             # may talk, without muted words
//! websocat 'ws://127.0.0.1:8080/ws/lobby?user=guest&last=9'    # 403: history is for members
//! websocat 'ws://127.0.0.1:8080/ws/lobby?user=ann&last=9'      # a member
//! websocat ws://127.0.0.1:8080/ws/lobby?user=mallory           # 403: banned
//! websocat --protocol chat.v1.json ws://127.0.0.1:8080/ws/lobby?user=mo
//! ```
//!
//! Say `{"content":"what a darn day"}`. The last one is a moderator: `{"t":"delete","room_id":"lobby","msg":"ID"}` with the
//! id of any message deletes it.

use std::collections::HashSet;

use roomcast_core::{Denied, Draft, Hub, MemoryStore, Message, Policy, RoomId, User, async_trait};
use roomcast_ws::Listener;

/// Users by their ids. A real policy asks a database: it may take its time, since only the one connection waits.
struct Moderated {
    muted: HashSet<&'static str>,
    banned: HashSet<&'static str>,
    moderators: HashSet<&'static str>,
    members: HashSet<&'static str>,
}

impl Moderated {
    /// The text with stars in place of muted words, in whatever case they are written.
    fn clean(&self, text: &str) -> String {
        let mut clean = String::with_capacity(text.len());
        for piece in text.split_inclusive(|c: char| !c.is_alphanumeric()) {
            let word = piece.trim_end_matches(|c: char| !c.is_alphanumeric());
            if self.muted.contains(word.to_lowercase().as_str()) {
                clean.extend(word.chars().map(|_| '*'));
                clean.push_str(&piece[word.len()..]);
            } else {
                clean.push_str(piece);
            }
        }
        clean
    }

    fn is_moderator(&self, user: &User) -> bool {
        self.moderators.contains(user.id().as_str())
    }
}

#[async_trait]
impl Policy for Moderated {
    async fn join(&self, user: &User, _: &RoomId) -> Result<(), Denied> {
        if self.banned.contains(user.id().as_str()) {
            return Err(Denied::forbidden("you are banned"));
        }
        Ok(())
    }

    async fn send(&self, _: &User, _: &RoomId, draft: &mut Draft) -> Result<(), Denied> {
        if draft.data.is_some() {
            return Err(Denied::forbidden("only text may be sent here"));
        }
        if let Some(content) = &mut draft.content {
            *content = self.clean(content);
        }
        Ok(())
    }

    async fn edit(&self, user: &User, message: &Message, content: &mut String) -> Result<(), Denied> {
        if user.id() != message.user.id() {
            return Err(Denied::forbidden("only the author may change a message"));
        }
        *content = self.clean(content);
        Ok(())
    }

    async fn delete(&self, user: &User, message: &Message) -> Result<(), Denied> {
        if user.id() == message.user.id() || self.is_moderator(user) {
            return Ok(());
        }
        Err(Denied::forbidden("only the author or a moderator may delete a message"))
    }

    async fn history(&self, user: &User, _: &RoomId) -> Result<(), Denied> {
        if self.members.contains(user.id().as_str()) || self.is_moderator(user) {
            return Ok(());
        }
        Err(Denied::forbidden("what was said before is for members only"))
    }

    async fn presence(&self, _: &User, _: &RoomId) -> Result<(), Denied> {
        Ok(()) // Who may join may see who is there.
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let policy = Moderated {
        muted: HashSet::from(["darn", "heck"]),
        banned: HashSet::from(["mallory"]),
        moderators: HashSet::from(["mo"]),
        members: HashSet::from(["ann", "bob"]),
    };
    let hub = Hub::builder(MemoryStore::new(), policy).build()?;
    let listener = Listener::bind(
        roomcast_examples::address(),
        hub.clone(),
        roomcast_examples::name_in_query,
    )
    .await?;
    roomcast_examples::run(listener, &hub).await?;
    Ok(())
}
