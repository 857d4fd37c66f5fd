//! How it is written who is in a room.
//!
//! Below the head there is a line for each user that is named.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Notice;
use super::notice::{News, NoNotice, WrittenKind, line};
use crate::presence::{Span, Tell};
use crate::{MessageId, RoomId, User, UserId};

/// The head of what a hub tells, as it is written.
#[derive(Serialize)]
pub(super) struct WrittenTell<'a> {
    room: &'a RoomId,
    no: u64,
    online: usize,
    for_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    span: Option<WrittenSpan<'a>>,
}

#[derive(Serialize)]
struct WrittenSpan<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a UserId>,
}

/// A user that is named, as it is written.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum WrittenNamed<'a> {
    Here(&'a User),
    Left(&'a UserId),
}

/// That a hub asks, as it is written.
#[derive(Serialize)]
pub(super) struct WrittenAsk<'a> {
    room: &'a RoomId,
    for_ms: u64,
    now: bool,
}

impl Notice {
    /// Who is in the room on this hub.
    pub(crate) fn tell(from: MessageId, room: &RoomId, tell: &Tell) -> Self {
        let head = WrittenTell {
            room,
            no: tell.no,
            online: tell.online,
            for_ms: whole_millis(tell.lasts),
            span: tell.span.as_ref().map(|span| WrittenSpan {
                after: span.after.as_ref(),
                to: span.to.as_ref(),
            }),
        };
        let mut below = Vec::with_capacity(96 * (tell.here.len() + tell.left.len()));
        let here = tell.here.iter().map(WrittenNamed::Here);
        let left = tell.left.iter().map(WrittenNamed::Left);
        here.chain(left).for_each(|named| line(&mut below, &named));
        Self::of_no_commit(from, Some(room), WrittenKind::Presence(head), &below)
    }

    /// For so long this hub wants to know who is in the room, and perhaps at once.
    pub(crate) fn ask(from: MessageId, room: &RoomId, lasts: Duration, at_once: bool) -> Self {
        let ask = WrittenAsk {
            room,
            for_ms: whole_millis(lasts),
            now: at_once,
        };
        Self::of_no_commit(from, Some(room), WrittenKind::PresenceAsked(ask), &[])
    }
}

fn whole_millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The head of what a hub tells.
#[derive(Deserialize)]
pub(super) struct ReadTell {
    room: RoomId,
    no: u64,
    online: u64,
    for_ms: u64,
    span: Option<ReadSpan>,
}

#[derive(Deserialize)]
struct ReadSpan {
    after: Option<UserId>,
    to: Option<UserId>,
}

/// A user that is named. What a later version says beside that is passed over.
#[derive(Deserialize)]
struct ReadNamed {
    here: Option<User>,
    left: Option<UserId>,
}

impl ReadTell {
    pub(super) fn news<'a>(self, lines: impl Iterator<Item = &'a [u8]>) -> Result<News, NoNotice> {
        let mut tell = Tell {
            no: self.no,
            online: usize::try_from(self.online).unwrap_or(usize::MAX),
            lasts: Duration::from_millis(self.for_ms),
            span: self.span.map(|ReadSpan { after, to }| Span { after, to }),
            here: Vec::new(),
            left: Vec::new(),
        };
        for line in lines {
            let ReadNamed { here, left } = serde_json::from_slice(line)?;
            tell.here.extend(here);
            tell.left.extend(left);
        }
        Ok(News::Presence { room: self.room, tell })
    }
}

/// That a hub asks.
#[derive(Deserialize)]
pub(super) struct ReadAsk {
    room: RoomId,
    for_ms: u64,
    #[serde(default)]
    now: bool,
}

impl ReadAsk {
    pub(super) fn news(self) -> News {
        News::PresenceAsked {
            room: self.room,
            lasts: Duration::from_millis(self.for_ms),
            at_once: self.now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::notice::Heard;
    use super::*;

    fn room() -> RoomId {
        RoomId::new("r").unwrap()
    }

    fn id() -> MessageId {
        MessageId::from_u128(99)
    }

    #[test]
    fn what_is_told_comes_as_it_was() {
        let user = |name: &str| User::named(name).unwrap();
        let whole = Tell {
            no: 7,
            online: 1203,
            lasts: Duration::from_secs(30),
            span: Some(Span {
                after: None,
                to: Some(user("\"bob\"").id().clone()),
            }),
            here: vec![user("ann"), user("\"bob\"")],
            left: Vec::new(),
        };
        let change = Tell {
            no: u64::MAX,
            span: None,
            left: vec![user("carl\u{2028}").id().clone()],
            ..whole.clone()
        };
        for told in [whole, change] {
            let notice = Notice::tell(id(), &room(), &told);
            assert!(!notice.is_of_commit());
            assert_eq!(notice.room(), Some(&room()));
            let heard = Heard::read(notice.bytes()).unwrap();
            assert_eq!(heard.from, id());
            match heard.news {
                News::Presence { room: of, tell } => assert_eq!((of, tell), (room(), told)),
                news => panic!("{news:?}"),
            }
        }
    }

    #[test]
    fn so_does_what_is_asked() {
        let notice = Notice::ask(id(), &room(), Duration::from_secs(30), true);
        match Heard::read(notice.bytes()).unwrap().news {
            News::PresenceAsked {
                room: of,
                lasts,
                at_once,
            } => {
                assert_eq!((of, lasts, at_once), (room(), Duration::from_secs(30), true));
            }
            news => panic!("{news:?}"),
        }
    }

    #[test]
    fn nonsense_is_refused_and_what_is_new_is_passed_over() {
        let head =
            r#"{"from":"00000000-0000-0000-0000-000000000063","t":"presence","room":"r","no":1,"online":5,"for_ms":9"#;
        let read = |text: String| Heard::read(text.as_bytes());
        for text in [
            head.to_owned(),
            head.replace("\"no\":1,", "") + "}",
            head.replace(":5", ":-5") + "}",
            head.replace("\"r\"", "\"\"") + "}",
            format!("{head},\"span\":1}}"),
            format!("{head}}}\n{{\"left\":\"\"}}"),
            format!("{head}}}\n{{\"here\":{{\"id\":\"a\"}}}}"),
        ] {
            assert!(read(text.clone()).is_err(), "{text}");
        }
        let later = format!("{head},\"mood\":[1]}}\n{{\"away\":\"ann\"}}\n");
        assert!(matches!(read(later).unwrap().news, News::Presence { .. }));
    }
}
