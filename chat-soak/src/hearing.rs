//! What a member hears on a connection: entries of its room, and answers to what it asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::book::{Ack, Book, Check};
use crate::member::Member;
use crate::visit::Visit;
use chat_driver::frame::{Entry, Frame, Kind, message_id};

/// What was asked.
#[derive(Debug)]
pub(crate) enum Ask {
    /// With this nonce.
    Send(String),
    Edit,
    Delete,
    Leave,
    Join,
    Ping,
    History,
}

impl Ask {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Send(_) => "send",
            Self::Edit => "edit",
            Self::Delete => "delete",
            Self::Leave => "leave",
            Self::Join => "join",
            Self::Ping => "ping",
            Self::History => "history",
        }
    }

    /// The frame that answers it.
    fn answer(&self) -> &'static str {
        match self {
            Self::Send(_) | Self::Edit | Self::Delete => "ack",
            Self::Leave => "left",
            Self::Join => "joined",
            Self::Ping => "pong",
            Self::History => "history",
        }
    }
}

impl Visit {
    /// Takes in a frame.
    pub(crate) fn take(&mut self, member: &mut Member, text: &str) {
        let (check, taken) = match Frame::parse(text) {
            Ok(frame) if frame.t == "err" => (Check::Answers, self.answered(member, &frame)),
            Ok(frame) => (Check::Sight, self.understand(member, &frame)),
            Err(what) => (Check::Sight, Err(what)),
        };
        if let Err(what) = taken {
            let room = &member.book.rooms[member.room];
            member
                .book
                .wrong(check, format_args!("{} in {room}: {what}", member.name));
        }
    }

    fn understand(&mut self, member: &mut Member, frame: &Frame) -> Result<(), String> {
        if let Some(entry) = frame.entry() {
            return see(member, frame, entry);
        }
        match frame.t.as_str() {
            "hello" => {
                self.greeted = true;
                frame.rooms.iter().try_for_each(|room| member.sight.join(room))
            }
            "gap" => Err(format!("a gap, {}, where all is kept", frame.reason)),
            "bye" => Ok(()),
            "ack" | "left" | "joined" | "pong" | "history" => self.answered(member, frame),
            other => Err(format!("an unknown frame {other:?}")),
        }
    }

    fn answered(&mut self, member: &mut Member, frame: &Frame) -> Result<(), String> {
        let asked = frame.id.as_u64().and_then(|id| self.asked.remove(&id));
        let Some((ask, at)) = asked else {
            return Err(format!("{} answers nothing", frame.t));
        };
        if frame.t == "err" {
            return self.refused(member, &ask, frame);
        }
        if frame.t != ask.answer() {
            return Err(format!("{} was answered with {}", ask.name(), frame.t));
        }
        match ask {
            Ask::Send(nonce) => {
                let place = member.unsure.iter().position(|said| said.nonce == nonce);
                let said = member.unsure.swap_remove(place.ok_or("an ack of what is known")?);
                if frame.dup && said.tries < 2 {
                    return Err(format!("{nonce} was sent once and is called a repetition"));
                }
                if said.tries == 1 && !member.manner.is_slow() && member.fill == 0 {
                    member.book.acknowledgement.lock().add(at.elapsed());
                }
                member.own.push(frame.msg.clone());
                if member.own.len() > 10 {
                    member.own.remove(0);
                }
                acked(member, frame, Kind::Message, Some(nonce))
            }
            Ask::Edit => acked(member, frame, Kind::Edit, None),
            Ask::Delete => acked(member, frame, Kind::Deletion, None),
            Ask::Leave => {
                member.sight.leave();
                member.book.count("left and joined on one connection");
                // Joined again at the next turn.
                self.due = Instant::now() + Duration::from_millis(member.rng.u64(0..500));
                Ok(())
            }
            Ask::Join => member.sight.join(frame),
            Ask::Ping | Ask::History => Ok(()),
        }
    }

    fn refused(&mut self, member: &mut Member, ask: &Ask, frame: &Frame) -> Result<(), String> {
        let Ask::Send(nonce) = ask else {
            return Err(format!("{} was refused: {}", ask.name(), frame.error()));
        };
        if frame.error() != "unavailable" {
            return Err(format!("{nonce} was refused: {}", frame.error()));
        }
        // Which says that it be sent again.
        member.book.count("told that the store is unavailable");
        let wait = Duration::from_millis(frame.retry_ms.unwrap_or(500));
        if let Some(said) = member.unsure.iter_mut().find(|said| said.nonce == *nonce) {
            said.due = Instant::now() + wait;
        }
        Ok(())
    }
}

fn acked(member: &Member, frame: &Frame, kind: Kind, nonce: Option<String>) -> Result<(), String> {
    let message = message_id(&frame.msg).ok_or("an ack without an id")?;
    member.book.acked(Ack {
        room: member.room,
        seq: frame.seq,
        entry: Entry { kind, message },
        user: Arc::clone(&member.name),
        nonce,
    });
    Ok(())
}

/// An entry of the room.
fn see(member: &mut Member, frame: &Frame, entry: Entry) -> Result<(), String> {
    let book: &Book = &member.book;
    if frame.room_id != book.rooms[member.room] {
        return Err(format!("an entry of {}", frame.room_id));
    }
    let live = member.sight.entry(frame.seq)?;
    book.count(if live {
        "entries seen live"
    } else {
        "entries seen in replays"
    });
    book.saw(member.room, frame.seq, entry);
    if live && !member.manner.is_slow() && entry.kind == Kind::Message {
        let said = frame
            .content
            .as_deref()
            .and_then(|text| text.split(' ').nth(1)?.parse().ok());
        if let Some(micros) = said.filter(|micros| *micros > 0) {
            book.delivery
                .lock()
                .add(book.start.elapsed().saturating_sub(Duration::from_micros(micros)));
        }
    }
    Ok(())
}
