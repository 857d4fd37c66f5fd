//! Promise 4: acknowledged means durable, and a nonce makes one message, however often it is sent.

use std::collections::BTreeMap;

use super::facts::{Ask, Change, Facts, Request, Said};
use super::{Event, Promise};
use crate::frame::Frame;
use crate::sources;

#[derive(Default)]
pub(crate) struct Durable {
    /// What was stored under (room, user, nonce), and where last.
    nonces: BTreeMap<(String, String, String), u64>,
}

impl Promise for Durable {
    fn name(&self) -> &'static str {
        "acknowledged means durable"
    }

    fn see(&mut self, event: &Event<'_>, facts: &Facts) -> Result<(), String> {
        match event {
            Event::Committed { room, seq, record, .. } => {
                let Change::Message { nonce: Some(nonce), .. } = &record.change else {
                    return Ok(());
                };
                let key = ((*room).to_owned(), record.user.clone(), nonce.clone());
                // A nonce is remembered as long as its message is kept.
                match self.nonces.insert(key, *seq) {
                    Some(first) if first > facts.log(room)?.floor => Err(format!(
                        "the nonce {nonce} of {} made {first} and {seq} of {room}",
                        record.user
                    )),
                    _ => Ok(()),
                }
            }
            Event::Received { conn, frame } if frame.t == "ack" => {
                let conn = facts.conn(*conn);
                match frame.answers().and_then(|id| conn.requests.get(&id)) {
                    Some(request) if request.ask.is_write() => acked(&conn.user, request, frame, facts),
                    other => Err(format!("{} got {frame:?} to {other:?}", conn.user)),
                }
            }
            _ => Ok(()),
        }
    }
}

fn acked(user: &str, request: &Request, frame: &Frame, facts: &Facts) -> Result<(), String> {
    let Request { room, ask, .. } = request;
    if frame.room_id == *room && is_stored(user, room, ask, false, &frame.msg, frame.seq, facts) {
        return Ok(());
    }
    let record = facts.log(room)?.record(frame.seq);
    Err(format!(
        "{user} asked {request:?} and got {frame:?}, stored is {record:?}"
    ))
}

/// Whether what was asked for is stored under this number, about this message: as it was said, or, unless it is the server's
/// `own`, as the policy makes it.
pub(super) fn is_stored(user: &str, room: &str, ask: &Ask, own: bool, msg: &str, seq: u64, facts: &Facts) -> bool {
    let record = facts.logs.get(room).and_then(|log| log.record(seq));
    let becomes = |asked: &Said, stored: &Said| match own {
        true => asked == stored,
        false => sources::may_become(asked, stored),
    };
    record.is_some_and(|record| {
        record.user == user
            && match (&record.change, ask) {
                (
                    Change::Message { nonce, said, .. },
                    Ask::Send {
                        nonce: asked,
                        said: wanted,
                    },
                ) => nonce == asked && record.id == msg && becomes(wanted, said),
                (
                    Change::Edit { msg: of, content, .. },
                    Ask::Edit {
                        msg: asked,
                        content: wanted,
                    },
                ) => of == asked && of == msg && sources::may_be_edited_to(wanted, content),
                (Change::Delete { msg: of, .. }, Ask::Delete { msg: asked }) => of == asked && of == msg,
                _ => false,
            }
    })
}
