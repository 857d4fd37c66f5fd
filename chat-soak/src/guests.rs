//! Those that are there when the server is stopped, and talk to the last.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::sync::Barrier;
use tokio::time::sleep;

use crate::book::{Ack, Book, Check};
use crate::plan::bounds;
use crate::socket::{Raw, TEXT, frame, until_end};
use chat_driver::frame::{Entry, Kind, message_id};

/// Enters, waits for the others, and talks until the server says goodbye.
pub(crate) async fn guest(book: Arc<Book>, seed: u64, number: usize, ready: Arc<Barrier>) {
    let room = number % book.plan.talk_rooms;
    let name: Arc<str> = format!("guest-{number}").into();
    let path = format!("/ws/{}?user={name}", book.rooms[room]);
    let entered = Raw::enter(&book, &path, true, false).await;
    ready.wait().await;
    let result = match entered {
        Ok(raw) => stay(&book, seed, raw, room, &name).await,
        Err(error) => Err(format!("isn't let in: {error}")),
    };
    if let Err(what) = result {
        book.wrong(Check::Stop, format_args!("{name}: {what}"));
    }
}

async fn stay(book: &Arc<Book>, seed: u64, mut raw: Raw, room: usize, name: &Arc<str>) -> Result<(), String> {
    let mut rng = Rng::with_seed(seed);
    let mut last = 0_u64;
    let Raw { write, read, .. } = &mut raw;
    let talk = async {
        loop {
            last += 1;
            let content = format!("{name}-{last} 0 goodbye");
            let send = json!({ "t": "send", "id": last, "nonce": format!("n{last}"), "content": content });
            if write
                .write_all(&frame(TEXT, send.to_string().as_bytes()))
                .await
                .is_err()
            {
                std::future::pending::<()>().await;
            }
            sleep(Duration::from_millis(rng.u64(200..1_000))).await;
        }
    };
    let ended = tokio::select! {
        ended = until_end(read, 2 * bounds::STOP) => ended,
        () = talk => return Err("talked for ever".to_owned()),
    };
    let acks = ended.frames.iter().filter(|frame| frame.t == "ack");
    for ack in acks {
        let message = message_id(&ack.msg).ok_or("an ack without an id")?;
        book.acked(Ack {
            room,
            seq: ack.seq,
            entry: Entry {
                kind: Kind::Message,
                message,
            },
            user: Arc::clone(name),
            nonce: Some(format!("n{}", ack.id)),
        });
    }
    for seen in &ended.frames {
        if let Some(entry) = seen.entry() {
            book.saw(room, seen.seq, entry);
        }
    }
    book.closed(ended.code.map_or("cut off".to_owned(), |code| code.to_string()));
    let bye = ended.frames.iter().find(|frame| frame.t == "bye");
    let spread = bye.is_some_and(|bye| bye.after_ms.is_some_and(|after| after <= 11_000));
    if (ended.code, ended.bye(), spread) == (Some(4000), Some(4000), true) {
        Ok(())
    } else {
        Err(format!("ended with {:?} after {bye:?} instead of 4000", ended.code))
    }
}
