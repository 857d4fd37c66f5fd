//! What the server sends, encoded once and shared.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::RequestId;
use crate::presence::Change;
use crate::{
    CloseCode, Deletion, Edit, Epoch, HistoryPage, Limits, Message, MessageId, Refusal, RoomId, Timestamp, User, UserId,
};

/// How a join took its cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Resume {
    /// None was given.
    Fresh,
    /// Everything after it follows.
    Ok,
    /// A gap frame follows, then what there is.
    Gap,
}

/// Why numbers are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GapReason {
    Retention,
    Epoch,
}

/// What most frames take besides the text that somebody wrote.
const FRAME: usize = 256;

/// What a user takes in most of them.
const USER: usize = 64;

fn encode<T: Serialize>(frame: &T) -> Bytes {
    encode_about(frame, FRAME)
}

/// Encodes a frame that takes about so many bytes: a buffer that has to grow is copied each time.
fn encode_about<T: Serialize>(frame: &T, bytes: usize) -> Bytes {
    let mut out = Vec::with_capacity(bytes);
    // These types hold no map with keys that aren't strings, the one thing that serde_json can't write.
    match serde_json::to_writer(&mut out, frame) {
        Ok(()) => Bytes::from(out),
        Err(_) => Bytes::new(),
    }
}

/// A message has no `t`: it is the same for plain connections.
pub(crate) fn message(message: &Message) -> Bytes {
    encode_about(message, FRAME + message.content.as_ref().map_or(0, String::len))
}

pub(crate) fn edit(edit: &Edit) -> Bytes {
    #[derive(Serialize)]
    struct Frame<'a> {
        t: &'static str,
        room_id: &'a RoomId,
        seq: u64,
        msg: MessageId,
        target: u64,
        user: &'a User,
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<&'a str>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        deleted: bool,
        at: Timestamp,
    }
    encode(&Frame {
        t: "edit",
        room_id: &edit.room_id,
        seq: edit.seq,
        msg: edit.message,
        target: edit.target,
        user: &edit.user,
        content: edit.content.as_deref(),
        deleted: edit.content.is_none(),
        at: edit.at,
    })
}

pub(crate) fn deletion(deletion: &Deletion) -> Bytes {
    #[derive(Serialize)]
    struct Frame<'a> {
        t: &'static str,
        room_id: &'a RoomId,
        seq: u64,
        msg: MessageId,
        target: u64,
        user: &'a User,
        at: Timestamp,
    }
    encode(&Frame {
        t: "delete",
        room_id: &deletion.room_id,
        seq: deletion.seq,
        msg: deletion.message,
        target: deletion.target,
        user: &deletion.user,
        at: deletion.at,
    })
}

/// A room that a connection is in from the beginning.
#[derive(Debug, Serialize)]
pub(crate) struct HelloRoom<'a> {
    pub(crate) room_id: &'a RoomId,
    pub(crate) epoch: &'a Epoch,
    pub(crate) head: u64,
    pub(crate) resume: Resume,
}

pub(crate) fn hello(user: &User, limits: &Limits, rooms: &[HelloRoom<'_>]) -> Bytes {
    #[derive(Serialize)]
    struct WireLimits {
        message_bytes: usize,
        rooms: usize,
        ping_s: u64,
    }
    #[derive(Serialize)]
    struct Frame<'a> {
        t: &'static str,
        v: u32,
        user: &'a User,
        limits: WireLimits,
        rooms: &'a [HelloRoom<'a>],
    }
    encode(&Frame {
        t: "hello",
        v: 1,
        user,
        limits: WireLimits {
            message_bytes: limits.message_bytes,
            rooms: limits.rooms_per_connection,
            ping_s: limits.ping.as_secs(),
        },
        rooms,
    })
}

pub(crate) fn joined(id: Option<&RequestId>, room_id: &RoomId, epoch: &Epoch, head: u64, resume: Resume) -> Bytes {
    #[derive(Serialize)]
    struct Frame<'a> {
        t: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
        room_id: &'a RoomId,
        epoch: &'a Epoch,
        head: u64,
        resume: Resume,
    }
    encode(&Frame {
        t: "joined",
        id,
        room_id,
        epoch,
        head,
        resume,
    })
}

pub(crate) fn left(id: Option<&RequestId>, room_id: &RoomId) -> Bytes {
    #[derive(Serialize)]
    struct Frame<'a> {
        t: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
        room_id: &'a RoomId,
    }
    encode(&Frame { t: "left", id, room_id })
}

/// `range` is what is missing; none if the cursor was of another log.
pub(crate) fn gap(room_id: &RoomId, range: Option<(u64, u64)>, reason: GapReason) -> Bytes {
    #[derive(Serialize)]
    struct Frame<'a> {
        t: &'static str,
        room_id: &'a RoomId,
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<u64>,
        reason: GapReason,
    }
    let (from, to) = range.unzip();
    encode(&Frame {
        t: "gap",
        room_id,
        from,
        to,
        reason,
    })
}

/// Who is in a room.
pub(crate) fn presence(room_id: &RoomId, online: usize, users: &[&User]) -> Bytes {
    #[derive(Serialize)]
    struct Frame<'a> {
        t: &'static str,
        room_id: &'a RoomId,
        online: usize,
        users: &'a [&'a User],
        more: bool,
    }
    let frame = Frame {
        t: "presence",
        room_id,
        online,
        users,
        more: online > users.len(),
    };
    encode_about(&frame, FRAME + USER * users.len())
}

/// Who came and who left since.
pub(crate) fn presence_change(room_id: &RoomId, change: &Change) -> Bytes {
    #[derive(Serialize)]
    struct Frame<'a> {
        t: &'static str,
        room_id: &'a RoomId,
        online: usize,
        came: &'a [User],
        left: &'a [UserId],
    }
    let frame = Frame {
        t: "presence",
        room_id,
        online: change.online,
        came: &change.came,
        left: &change.left,
    };
    encode_about(&frame, FRAME + USER * (change.came.len() + change.left.len()))
}

pub(crate) fn ack(id: Option<&RequestId>, room_id: &RoomId, msg: MessageId, seq: u64, dup: bool) -> Bytes {
    #[derive(Serialize)]
    struct Frame<'a> {
        t: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
        room_id: &'a RoomId,
        msg: MessageId,
        seq: u64,
        dup: bool,
    }
    encode(&Frame {
        t: "ack",
        id,
        room_id,
        msg,
        seq,
        dup,
    })
}

pub(crate) fn history(id: Option<&RequestId>, room_id: &RoomId, page: &HistoryPage) -> Bytes {
    #[derive(Serialize)]
    struct Frame<'a> {
        t: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
        room_id: &'a RoomId,
        messages: &'a [Message],
        more: bool,
    }
    encode(&Frame {
        t: "history",
        id,
        room_id,
        messages: &page.messages,
        more: page.more,
    })
}

pub(crate) fn pong(id: Option<&RequestId>) -> Bytes {
    #[derive(Serialize)]
    struct Frame<'a> {
        t: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
    }
    encode(&Frame { t: "pong", id })
}

pub(crate) fn err(id: Option<&RequestId>, refusal: &Refusal) -> Bytes {
    #[derive(Serialize)]
    struct Frame<'a> {
        t: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
        code: &'static str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_ms: Option<u64>,
    }
    // On a connection, a room that doesn't exist is one of the things that are not found.
    let code = match refusal.code {
        crate::ErrorCode::UnknownRoom => crate::ErrorCode::NotFound,
        code => code,
    };
    encode(&Frame {
        t: "err",
        id,
        code: code.as_str(),
        message: &refusal.message,
        retry_ms: refusal.retry_after.map(whole_millis),
    })
}

pub(crate) fn bye(code: CloseCode, after: Option<Duration>) -> Bytes {
    #[derive(Serialize)]
    struct Frame {
        t: &'static str,
        code: u16,
        reason: &'static str,
        reconnect: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        after_ms: Option<u64>,
    }
    encode(&Frame {
        t: "bye",
        code: code.number(),
        reason: code.reason(),
        reconnect: code.reconnect(),
        after_ms: after.map(whole_millis),
    })
}

/// Rounded up, so that who waits that long has waited long enough.
fn whole_millis(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(frame: Bytes) -> String {
        String::from_utf8(frame.to_vec()).unwrap()
    }

    #[test]
    fn frames_are_as_the_protocol_writes_them() {
        let room = RoomId::new("r").unwrap();
        let epoch = Epoch::new("e1").unwrap();
        let ann = User::named("ann").unwrap();
        let id = RequestId::Unsigned(7);
        assert_eq!(
            text(hello(
                &ann,
                &Limits::default(),
                &[HelloRoom {
                    room_id: &room,
                    epoch: &epoch,
                    head: 57,
                    resume: Resume::Fresh
                }]
            )),
            r#"{"t":"hello","v":1,"user":{"id":"ann","name":"ann"},"limits":{"message_bytes":65536,"rooms":128,"ping_s":25},"rooms":[{"room_id":"r","epoch":"e1","head":57,"resume":"fresh"}]}"#
        );
        assert_eq!(
            text(ack(Some(&id), &room, MessageId::from_u128(1), 58, false)),
            r#"{"t":"ack","id":7,"room_id":"r","msg":"00000000-0000-0000-0000-000000000001","seq":58,"dup":false}"#
        );
        assert_eq!(
            text(gap(&room, Some((42, 50)), GapReason::Retention)),
            r#"{"t":"gap","room_id":"r","from":42,"to":50,"reason":"retention"}"#
        );
        assert_eq!(
            text(gap(&room, None, GapReason::Epoch)),
            r#"{"t":"gap","room_id":"r","reason":"epoch"}"#
        );
        let refusal =
            Refusal::new(crate::ErrorCode::RateLimited, "slower").retry_after(Duration::from_micros(1_199_001));
        assert_eq!(
            text(err(Some(&id), &refusal)),
            r#"{"t":"err","id":7,"code":"rate_limited","message":"slower","retry_ms":1200}"#
        );
        assert_eq!(
            text(bye(CloseCode::Draining, Some(Duration::from_millis(3100)))),
            r#"{"t":"bye","code":4000,"reason":"draining","reconnect":true,"after_ms":3100}"#
        );
        let change = Change {
            online: 1204,
            came: vec![ann.clone()],
            left: vec![UserId::new("bob").unwrap()],
        };
        assert_eq!(
            text(presence(&room, 1203, &[&ann])),
            r#"{"t":"presence","room_id":"r","online":1203,"users":[{"id":"ann","name":"ann"}],"more":true}"#
        );
        assert_eq!(
            text(presence_change(&room, &change)),
            r#"{"t":"presence","room_id":"r","online":1204,"came":[{"id":"ann","name":"ann"}],"left":["bob"]}"#
        );
        assert_eq!(text(left(None, &room)), r#"{"t":"left","room_id":"r"}"#);
        assert_eq!(
            text(pong(Some(&RequestId::Text("x".into())))),
            r#"{"t":"pong","id":"x"}"#
        );
    }
}
