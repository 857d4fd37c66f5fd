//! Events as lines of the trace.

use std::fmt;

use super::Event;
use crate::frame::Frame;

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created { room, epoch } => write!(f, "store: {room} begins as {epoch}"),
            Self::Committed { hub, room, seq, record } => {
                write!(
                    f,
                    "store: {room} {seq} by {} for hub {hub:?}: {:?}",
                    record.user, record.change
                )
            }
            Self::Trimmed { room, floor } => write!(f, "store: {room} is cut off at {floor}"),
            Self::Started { hub } => write!(f, "hub {hub} starts"),
            Self::Opening {
                user,
                plain,
                hub,
                room,
                start,
            } => {
                write!(f, "{user} (plain {plain}) opens hub {hub}, {room} from {start:?}")
            }
            Self::Sent { conn, request } => write!(f, "c{conn} > {} {} {:?}", request.id, request.room, request.ask),
            Self::Read { conn, request } => write!(f, "c{conn} read {request}"),
            Self::Wrote { conn, frame } => write!(f, "c{conn} wrote {frame}"),
            Self::WriteTook { conn, took } => write!(f, "c{conn} write took {took:?}"),
            Self::Closing { conn, code } => write!(f, "c{conn} closing {code}"),
            Self::Received { conn, frame } => write!(f, "c{conn} < {frame}"),
            Self::Ended { conn } => write!(f, "c{conn} ended"),
            Self::Level { user, room, level } => write!(f, "policy: {user} in {room}: {level:?}"),
            Self::StoreCall { hub } => write!(f, "store: called by hub {hub}"),
            Self::StoreFault { hub } => write!(f, "store: fails hub {hub}"),
            Self::Draining { hub } => write!(f, "hub {hub} drains"),
            Self::Drained { hub, clean, late } => write!(f, "hub {hub} drained, clean {clean}, late {late}"),
            Self::Crashed { hub } => write!(f, "hub {hub} crashes"),
        }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = if self.is_message() { "message" } else { &self.t };
        write!(f, "{t} {} {}", self.id, self.room_id)?;
        if self.is_entry() || self.t == "ack" {
            write!(f, " {} {:?} {} {}", self.seq, self.content, self.msg, self.target)?;
        }
        match self.t.as_str() {
            "hello" => self
                .rooms
                .iter()
                .try_for_each(|room| write!(f, " [{room} {} {}]", room.head, room.resume)),
            "joined" => write!(f, " {} {} {}", self.epoch, self.head, self.resume),
            "gap" => write!(f, " {:?}..{:?} {}", self.from, self.to, self.reason),
            "history" => write!(f, " {} messages, more {}", self.messages.len(), self.more),
            "err" | "bye" => write!(f, " {} {:?}{:?}", self.code, self.retry_ms, self.after_ms),
            _ => Ok(()),
        }
    }
}
