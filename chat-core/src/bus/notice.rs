//! What hubs tell each other, and how it is written.
//!
//! A notice is lines of JSON: a head that says what it is about, and below it one line for each entry. Lines, and not one
//! object around all, since a reader of JSON follows only so many levels, and a message's `data` may use them all.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::presence::{ReadAsk, ReadTell, WrittenAsk, WrittenTell};
use crate::log::Frame;
use crate::presence::Tell;
use crate::{Deletion, Edit, Entry, Epoch, MAX_SEQ, Message, MessageId, RoomId, Timestamp, User, UserId};

/// How large the entries of one notice are together, about. More travels in several.
const MOST: usize = 64 << 10;

/// What one hub tells the others. A [`Bus`](super::Bus) carries its bytes to the hubs that watch its room, and hands
/// them to [`Inbox::deliver`](super::Inbox::deliver) there.
#[derive(Debug, Clone)]
pub struct Notice {
    room: Option<RoomId>,
    kind: Kind,
    bytes: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Commit,
    Kick,
    Passing,
}

impl Notice {
    /// The room that it is about; `None` if it is for all hubs.
    #[must_use]
    pub fn room(&self) -> Option<&RoomId> {
        self.room.as_ref()
    }

    /// Whether it tells of entries in the store's log. A bus that sees what the store writes needs not carry it.
    #[must_use]
    pub fn is_of_commit(&self) -> bool {
        self.kind == Kind::Commit
    }

    /// Whether it is soon told anew, or of no use a moment later: a turn that is asked for, who is in a room. What a bus can't
    /// carry now it drops of these first.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.kind == Kind::Passing
    }

    /// What travels: UTF-8 text without NUL, at most about 128 KiB.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The log has got these entries, of which there is at least one. In as many notices as they need; an entry that is too
    /// large for one is read from the store by whoever needs it.
    pub(crate) fn committed(from: MessageId, room: &RoomId, epoch: &Epoch, entries: &[(Entry, Frame)]) -> Vec<Self> {
        let mut notices = Vec::new();
        let mut rest = entries;
        while let Some((last, _)) = rest.last() {
            let mut bytes = 0;
            let fit = rest.iter().take_while(|(_, frame)| {
                bytes += frame.bytes.len();
                bytes <= MOST
            });
            let (lines, after) = match fit.count() {
                // Too large: only that it is there is said.
                0 => (&[][..], &rest[1..]),
                count => rest.split_at(count),
            };
            let head = after.first().map_or(last.seq(), |(next, _)| next.seq() - 1);
            notices.push(Self::of_commit(from, room, epoch, head, lines));
            rest = after;
        }
        notices
    }

    /// The log has a new head.
    pub(crate) fn head(from: MessageId, room: &RoomId, epoch: &Epoch, head: u64) -> Self {
        Self::of_commit(from, room, epoch, head, &[])
    }

    /// The log has got these entries, all of which fit, and goes up to this head.
    pub(crate) fn of_commit(
        from: MessageId,
        room: &RoomId,
        epoch: &Epoch,
        head: u64,
        entries: &[(Entry, Frame)],
    ) -> Self {
        let size: usize = entries.iter().map(|(_, frame)| frame.bytes.len() + 16).sum();
        let mut out = Vec::with_capacity(256 + size);
        let kind = WrittenKind::Committed { room, epoch, head };
        line(&mut out, &Written { from, kind });
        for (entry, frame) in entries {
            match entry {
                // As it was encoded for the members.
                Entry::Message(_) => {
                    out.extend_from_slice(br#"{"message":"#);
                    out.extend_from_slice(&frame.bytes);
                    out.extend_from_slice(b"}\n");
                }
                Entry::Edit(edit) => line(&mut out, &Line::Edit(Changed::of_edit(edit))),
                Entry::Delete(deletion) => line(&mut out, &Line::Delete(Changed::of_deletion(deletion))),
            }
        }
        Self {
            room: Some(room.clone()),
            kind: Kind::Commit,
            bytes: out.into(),
        }
    }

    /// This user's connections are to be closed, on all nodes; by the id, who is told again knows it.
    pub(crate) fn kick(from: MessageId, id: MessageId, user: &UserId) -> Self {
        Self::of_no_commit(from, None, WrittenKind::Kick { id, user }, &[])
    }

    /// This hub asks for a turn in writing the room.
    pub(crate) fn knock(from: MessageId, room: &RoomId) -> Self {
        Self::of_no_commit(from, None, WrittenKind::Knock { room }, &[])
    }

    /// To those who watch the room, or to all; with the lines below its head.
    pub(super) fn of_no_commit(from: MessageId, room: Option<&RoomId>, kind: WrittenKind<'_>, below: &[u8]) -> Self {
        let is_kick = matches!(kind, WrittenKind::Kick { .. });
        let mut out = Vec::with_capacity(256 + below.len());
        line(&mut out, &Written { from, kind });
        out.extend_from_slice(below);
        Self {
            room: room.cloned(),
            kind: if is_kick { Kind::Kick } else { Kind::Passing },
            bytes: out.into(),
        }
    }
}

/// Appends a line. These types hold no map with keys that aren't strings, the one thing that serde_json can't write.
pub(super) fn line(out: &mut Vec<u8>, value: &impl Serialize) {
    let _ = serde_json::to_writer(&mut *out, value);
    out.push(b'\n');
}

#[derive(Serialize)]
struct Written<'a> {
    from: MessageId,
    #[serde(flatten)]
    kind: WrittenKind<'a>,
}

#[derive(Serialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub(super) enum WrittenKind<'a> {
    Committed {
        room: &'a RoomId,
        epoch: &'a Epoch,
        head: u64,
    },
    Kick {
        id: MessageId,
        user: &'a UserId,
    },
    Knock {
        room: &'a RoomId,
    },
    Presence(WrittenTell<'a>),
    #[serde(rename = "presence?")]
    PresenceAsked(WrittenAsk<'a>),
}

/// What a notice says.
#[derive(Debug, PartialEq)]
pub(crate) struct Heard {
    /// The hub that says it.
    pub(crate) from: MessageId,
    pub(crate) news: News,
}

/// What a hub has to tell.
#[derive(Debug, PartialEq)]
pub(crate) enum News {
    /// The room's log has these entries, in order and without holes, perhaps none that are told, and goes up to this head.
    Committed {
        room: RoomId,
        epoch: Epoch,
        head: u64,
        entries: Vec<Entry>,
    },
    /// The user's connections are to be closed, unless this kick is known.
    Kick { id: MessageId, user: UserId },
    /// The hub has lost a race for the next place in a room's log, and asks for a turn.
    Knock { room: RoomId },
    /// Who is in a room there.
    Presence { room: RoomId, tell: Tell },
    /// For so long the hub wants to know who is in a room, and perhaps at once.
    PresenceAsked {
        room: RoomId,
        lasts: Duration,
        at_once: bool,
    },
    /// What a later version says.
    Unknown,
}

/// Why something isn't a notice.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoNotice {
    #[error("a line of the notice can't be read")]
    Line(#[from] serde_json::Error),
    #[error("the notice's numbers can't be those of a log")]
    Numbers,
    #[error("the notice holds an entry of another room, or one that says nothing")]
    Entry,
}

impl Heard {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, NoNotice> {
        #[derive(Deserialize)]
        struct Head {
            from: MessageId,
            #[serde(flatten)]
            kind: Kind,
        }
        #[derive(Deserialize)]
        #[serde(tag = "t", rename_all = "lowercase")]
        enum Kind {
            Committed {
                room: RoomId,
                epoch: Epoch,
                head: u64,
            },
            Kick {
                id: MessageId,
                user: UserId,
            },
            Knock {
                room: RoomId,
            },
            Presence(ReadTell),
            #[serde(rename = "presence?")]
            PresenceAsked(ReadAsk),
            #[serde(other)]
            Unknown,
        }
        let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or_default();
        let Head { from, kind } = serde_json::from_slice(first)?;
        let news = match kind {
            Kind::Unknown => News::Unknown,
            Kind::Kick { id, user } => News::Kick { id, user },
            Kind::Knock { room } => News::Knock { room },
            Kind::Presence(head) => head.news(lines)?,
            Kind::PresenceAsked(ask) => ask.news(),
            Kind::Committed { room, epoch, head } => {
                let entries = lines.map(|line| read_entry(line, &room));
                let entries = entries.collect::<Result<Vec<_>, _>>()?;
                if !(1..=MAX_SEQ).contains(&head) || !are_dense(&entries, head) {
                    return Err(NoNotice::Numbers);
                }
                News::Committed {
                    room,
                    epoch,
                    head,
                    entries,
                }
            }
        };
        Ok(Self { from, news })
    }
}

/// Whether the entries could be a piece of a log with that head.
pub(super) fn are_dense(entries: &[Entry], head: u64) -> bool {
    let Some(first) = entries.first() else { return true };
    let first = first.seq();
    let is_before = |target, entry: &Entry| target > 0 && target < entry.seq();
    first > 0
        && entries.iter().map(Entry::seq).eq((first..=head).take(entries.len()))
        && entries
            .iter()
            .all(|entry| entry.target().is_none_or(|target| is_before(target, entry)))
}

fn read_entry(line: &[u8], room: &RoomId) -> Result<Entry, NoNotice> {
    match serde_json::from_slice(line)? {
        Line::Message(message) if message.room_id != *room => Err(NoNotice::Entry),
        Line::Message(message) if !message.deleted && message.content.is_none() && message.data.is_none() => {
            Err(NoNotice::Entry)
        }
        Line::Message(message) => Ok(Entry::Message(message)),
        Line::Edit(edit) => Ok(Entry::Edit(edit.into_edit(room))),
        Line::Delete(deletion) => Ok(Entry::Delete(deletion.into_deletion(room))),
    }
}

/// One entry. The room is the notice's.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Message(Message),
    Edit(Changed),
    Delete(Changed),
}

/// An edit or a deletion.
#[derive(Serialize, Deserialize)]
struct Changed {
    id: MessageId,
    seq: u64,
    message: MessageId,
    target: u64,
    user: User,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    at: Timestamp,
}

impl Changed {
    fn of_edit(edit: &Edit) -> Self {
        Self {
            id: edit.id,
            seq: edit.seq,
            message: edit.message,
            target: edit.target,
            user: edit.user.clone(),
            content: edit.content.clone(),
            at: edit.at,
        }
    }

    fn of_deletion(deletion: &Deletion) -> Self {
        Self {
            id: deletion.id,
            seq: deletion.seq,
            message: deletion.message,
            target: deletion.target,
            user: deletion.user.clone(),
            content: None,
            at: deletion.at,
        }
    }

    fn into_edit(self, room: &RoomId) -> Edit {
        let message = (self.message, self.target);
        let mut edit = Edit::new(self.id, room.clone(), self.seq, message, self.user, self.at);
        edit.content = self.content;
        edit
    }

    fn into_deletion(self, room: &RoomId) -> Deletion {
        let message = (self.message, self.target);
        Deletion::new(self.id, room.clone(), self.seq, message, self.user, self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JsonObject;

    fn room() -> RoomId {
        RoomId::new("r").unwrap()
    }

    fn epoch() -> Epoch {
        Epoch::new("e").unwrap()
    }

    fn id(n: u64) -> MessageId {
        MessageId::from_u128(n.into())
    }

    fn message(seq: u64, content: &str) -> Entry {
        let user = User::named("ann").unwrap();
        let mut message = Message::new(id(seq), room(), seq, user, Timestamp::from_millis(1));
        message.content = Some(content.into());
        Entry::Message(message)
    }

    fn told(entries: Vec<Entry>) -> Vec<Notice> {
        let entries: Vec<_> = entries
            .into_iter()
            .map(|entry| (entry.clone(), Frame::of(&entry)))
            .collect();
        Notice::committed(id(99), &room(), &epoch(), &entries)
    }

    fn heard(notice: &Notice) -> (u64, Vec<Entry>) {
        let heard = Heard::read(notice.bytes()).unwrap();
        assert_eq!(heard.from, id(99));
        match heard.news {
            News::Committed { head, entries, .. } => (head, entries),
            news => panic!("{news:?}"),
        }
    }

    #[test]
    fn entries_come_as_they_were() {
        let user = User::named("bob").unwrap();
        let mut edit = Edit::new(id(8), room(), 8, (id(7), 7), user.clone(), Timestamp::from_millis(2));
        edit.content = Some("a\nline \u{2028}".into());
        let deletion = Deletion::new(id(9), room(), 9, (id(7), 7), user, Timestamp::from_millis(3));
        let entries = vec![message(7, "\"hi\"\n"), Entry::Edit(edit), Entry::Delete(deletion)];
        let notices = told(entries.clone());
        assert_eq!(notices.len(), 1);
        assert_eq!(heard(&notices[0]), (9, entries));
    }

    /// As deep as a message's `data` may be: a reader of JSON follows 127 levels.
    #[test]
    fn the_deepest_data_gets_through() {
        let mut deep = serde_json::json!({});
        for _ in 0..123 {
            deep = serde_json::json!({ "a": deep });
        }
        let mut entry = message(1, "x");
        if let Entry::Message(message) = &mut entry {
            message.data = Some(JsonObject::from_iter([("a".to_owned(), deep)]));
        }
        assert_eq!(heard(&told(vec![entry.clone()])[0]), (1, vec![entry]));
    }

    #[test]
    fn many_travel_in_several_and_the_largest_not_at_all() {
        let large = "x".repeat(30 << 10);
        let entries: Vec<_> = (1..=5).map(|seq| message(seq, &large)).collect();
        let heads: Vec<_> = told(entries)
            .iter()
            .map(|notice| (heard(notice).0, heard(notice).1.len()))
            .collect();
        assert_eq!(heads, [(2, 2), (4, 2), (5, 1)]);
        let huge = "x".repeat(65 << 10);
        let notices = told(vec![message(1, "x"), message(2, &huge), message(3, "x")]);
        let heads: Vec<_> = notices
            .iter()
            .map(|notice| (heard(notice).0, heard(notice).1.len()))
            .collect();
        assert_eq!(heads, [(1, 1), (2, 0), (3, 1)]);
        assert!(notices.iter().all(|notice| notice.bytes().len() < 128 << 10));
    }

    #[test]
    fn what_is_no_notice_is_refused_and_what_is_new_is_passed_over() {
        let from = r#""from":"00000000-0000-0000-0000-000000000063""#;
        let read = |text: &str| Heard::read(text.as_bytes());
        for text in [
            String::new(),
            "x".into(),
            format!("{{{from}}}"),
            format!(r#"{{{from},"t":"committed","room":"r","epoch":"e","head":0}}"#),
            format!(r#"{{{from},"t":"committed","room":"r","epoch":"e","head":9007199254740992}}"#),
            format!(r#"{{{from},"t":"committed","room":"","epoch":"e","head":1}}"#),
        ] {
            assert!(read(&text).is_err(), "{text}");
        }
        assert!(matches!(
            read(&format!(r#"{{{from},"t":"later","a":[1]}}"#)).unwrap().news,
            News::Unknown
        ));
        let head = format!(r#"{{{from},"t":"committed","room":"r","epoch":"e","head":2}}"#);
        let line = |seq: u64, room: &str, content: &str| {
            format!(
                r#"{{"message":{{"id":"00000000-0000-0000-0000-000000000001","room_id":"{room}","seq":{seq},"user":{{"id":"a","name":"a"}}{content},"created_at":"2026-01-01T00:00:00.000Z"}}}}"#
            )
        };
        let hi = r#","content":"hi""#;
        assert!(read(&format!("{head}\n{}\n{}\n", line(1, "r", hi), line(2, "r", hi))).is_ok());
        for lines in [
            vec![line(1, "r", hi), line(3, "r", hi)],
            vec![line(0, "r", hi)],
            vec![line(2, "r", hi), line(3, "r", hi)],
            vec![line(1, "s", hi)],
            vec![line(1, "r", "")],
            vec!["{}".into()],
        ] {
            assert!(read(&format!("{head}\n{}\n", lines.join("\n"))).is_err(), "{lines:?}");
        }
    }
}
