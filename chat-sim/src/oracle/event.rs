//! Events as lines of the trace.

use std::fmt;

use super::Event;
use super::facts::Call;
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
                presence,
                expires,
            } => {
                write!(
                    f,
                    "{user} (plain {plain}) opens hub {hub}, {room} from {start:?}, presence {presence}, for {expires:?}"
                )
            }
            Self::Served { conn, socket } => write!(f, "c{conn} is served, WebSocket {socket}"),
            Self::Sent { conn, request } => write!(f, "c{conn} > {} {} {:?}", request.id, request.room, request.ask),
            Self::Read { conn, request } => write!(f, "c{conn} read {request}"),
            Self::Handed { conn, frames } => write!(f, "c{conn} to be sent: {}", frames.len()),
            Self::Bytes { conn, bytes } => write!(f, "c{conn} bytes {}", bytes.len()),
            Self::Garbled { conn, what } => write!(f, "c{conn} garbled: {what}"),
            Self::Wrote { conn, frame } => write!(f, "c{conn} wrote {frame}"),
            Self::WriteTook { conn, took } => write!(f, "c{conn} write took {took:?}"),
            Self::Closing { conn, code } => write!(f, "c{conn} closing {code}"),
            Self::Received { conn, frame } => write!(f, "c{conn} < {frame}"),
            Self::Closed { conn, code } => write!(f, "c{conn} closed {code}"),
            Self::Ended { conn } => write!(f, "c{conn} ended"),
            Self::Provoked { conn, codes } => write!(f, "c{conn} provokes {codes:?}"),
            Self::Kicked { hub, user } => write!(f, "hub {hub} sends {user} away"),
            Self::Asked { call } => {
                let Call {
                    hub,
                    user,
                    room,
                    ask,
                    own,
                    ..
                } = call;
                write!(f, "{user} (own {own}) calls hub {hub}, {room}: {ask:?}")
            }
            Self::Told { call, answer } => write!(f, "call {call}: {answer:?}"),
            Self::Level { user, room, level } => write!(f, "policy: {user} in {room}: {level:?}"),
            Self::StoreCall { hub } => write!(f, "store: called by hub {hub}"),
            Self::Appending { hub, count, bytes } => write!(f, "store: hub {hub} offers {count}, {bytes} bytes"),
            Self::Held { hub, .. } => write!(f, "hub {hub} is looked through"),
            Self::StoreFault { hub } => write!(f, "store: fails hub {hub}"),
            Self::BusIsGood => write!(f, "bus: good from now on"),
            Self::Announced { hub, what } => write!(f, "bus: hub {hub} tells {what}"),
            Self::Noticed { hub, what } => write!(f, "bus: hub {hub} is told {what}"),
            Self::SentAway { hub, user } => write!(f, "bus: hub {hub} is to send {user} away"),
            Self::BusFault { hub, what } => write!(f, "bus: {what:?} for hub {hub}"),
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
            "presence" => write!(f, " {} {:?} +{:?} -{:?}", self.online, self.users, self.came, self.left),
            "err" | "bye" => write!(f, " {} {:?}{:?}", self.code, self.retry_ms, self.after_ms),
            _ => Ok(()),
        }
    }
}
