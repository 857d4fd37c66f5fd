//! Promise 4: acknowledged means durable, and a nonce makes one message, however often it is sent.

use std::collections::BTreeMap;

use super::facts::{Ask, Change, Facts, Request};
use super::{Event, Promise};
use crate::frame::Frame;

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
    let log = facts.log(&request.room)?;
    let record = log.record(frame.seq);
    let stored = record.is_some_and(|record| {
        record.user == user
            && match (&record.change, &request.ask) {
                (Change::Message { nonce, versions }, Ask::Send { nonce: asked, content }) => {
                    nonce == asked
                        && record.id == frame.msg
                        && versions.first().is_some_and(|(_, said)| said.as_ref() == Some(content))
                }
                (
                    Change::Edit { msg, content, .. },
                    Ask::Edit {
                        msg: asked,
                        content: wanted,
                    },
                ) => msg == asked && *msg == frame.msg && content == wanted,
                (Change::Delete { msg, .. }, Ask::Delete { msg: asked }) => msg == asked && *msg == frame.msg,
                _ => false,
            }
    });
    if stored && frame.room_id == request.room {
        return Ok(());
    }
    Err(format!(
        "{user} asked {request:?} and got {frame:?}, stored is {record:?}"
    ))
}
