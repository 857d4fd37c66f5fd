//! Far more than the rate, at once. These go on whatever they are told.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use super::{Rogue, SOON, expect};
use crate::book::Ack;
use crate::socket::{PING, Raw, TEXT, frame, until_end};
use chat_driver::frame::{Entry, Frame, Kind, message_id};

pub(crate) struct Flood {
    pub(super) name: &'static str,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Sends,
    Requests,
    Plain,
    Pings,
}

pub(super) static ALL: &[Flood] = &[
    Flood {
        name: "flood: messages",
        what: What::Sends,
    },
    Flood {
        name: "flood: requests",
        what: What::Requests,
    },
    Flood {
        name: "flood: plain messages",
        what: What::Plain,
    },
    Flood {
        name: "flood: WebSocket pings",
        what: What::Pings,
    },
];

/// Frames at once: more than a burst of 40 and the five bursts whose refusal is borne.
const FRAMES: u64 = 400;

/// And as many again, if the connection isn't closed.
const AGAIN: Duration = Duration::from_millis(500);

impl Flood {
    pub(super) async fn perform(&self, rogue: &mut Rogue) -> Result<(), String> {
        let text = |error: std::io::Error| error.to_string();
        let plain = matches!(self.what, What::Plain);
        let mut raw = Raw::enter(&rogue.book, &rogue.path(), !plain, false)
            .await
            .map_err(text)?;
        let Raw { write, read, .. } = &mut raw;
        let flooding = async {
            loop {
                let bytes = self.frames(rogue);
                if write.write_all(&bytes).await.is_err() {
                    std::future::pending::<()>().await;
                }
                sleep(AGAIN).await;
            }
        };
        let ended = tokio::select! {
            biased;
            ended = until_end(read, SOON) => ended,
            () = flooding => return Err("flooded for ever".to_owned()),
        };
        for ack in ended.frames.iter().filter(|frame| frame.t == "ack") {
            note(rogue, ack)?;
        }
        let refused = ended
            .frames
            .iter()
            .filter(|frame| frame.error() == "rate_limited")
            .count();
        if matches!(self.what, What::Sends | What::Requests) && refused == 0 {
            return Err("no frame was refused before the end".to_owned());
        }
        expect(&ended, Some(4002), !plain)
    }

    fn frames(&self, rogue: &mut Rogue) -> Vec<u8> {
        if let What::Pings = self.what {
            return frame(PING, b"").repeat(1_500);
        }
        let first = rogue.said + 1;
        rogue.said += FRAMES;
        let numbers = first..first + FRAMES;
        numbers
            .flat_map(|n| frame(TEXT, self.text(rogue, n).as_bytes()))
            .collect()
    }

    fn text(&self, rogue: &Rogue, n: u64) -> String {
        let content = format!("{}-{n} 0 flood", rogue.name);
        match self.what {
            What::Sends => json!({ "t": "send", "id": n, "nonce": format!("n{n}"), "content": content }),
            What::Plain => json!({ "content": content }),
            What::Requests | What::Pings => json!({ "t": "ping", "id": n }),
        }
        .to_string()
    }
}

/// What of a flood was acknowledged has to be stored like anything else.
fn note(rogue: &Rogue, ack: &Frame) -> Result<(), String> {
    let message = message_id(&ack.msg).ok_or("an ack without an id")?;
    rogue.book.acked(Ack {
        room: rogue.book.plan.rogue_room(),
        seq: ack.seq,
        entry: Entry {
            kind: Kind::Message,
            message,
        },
        user: Arc::clone(&rogue.name),
        nonce: Some(format!("n{}", ack.id)),
    });
    Ok(())
}
