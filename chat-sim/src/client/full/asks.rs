//! What a client asks for.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{About, Full, Place};
use crate::client::ops::Op;
use crate::client::words;
use crate::network::{ClientEnd, Up};
use crate::oracle::Event;
use crate::oracle::facts::{Ask, Request, Start};

/// How much a client wants to have stored at the same time.
const MOST_OPS: usize = 40;

impl Full {
    pub(super) fn ask(&mut self, end: &mut ClientEnd) {
        let names = self.world.plan.rooms.clone();
        let room = self.rng.pick(&names).clone();
        match self.rng.below(100) {
            0..50 => self.say(&room),
            50..55 => (0..self.rng.below(12)).for_each(|_| self.say(&room)),
            55..72 => self.change(),
            72..80 => self.history(end, &room),
            80..84 => self.leave(end, &room),
            // Joined again without having left.
            84..87 => self.join(end, &room),
            87..92 => {
                if let Some(place) = self.rooms.get_mut(&room) {
                    place.wanted = true;
                }
            }
            _ => self.ping(end),
        }
    }

    pub(super) fn say(&mut self, room: &str) {
        if self.ops.len() >= MOST_OPS || self.has_quit(room) {
            return;
        }
        let number = self.next_id();
        let mut said = words::said(&self.rng, &self.user, number);
        let nonce = (!self.rng.chance(60)).then(|| format!("n{number}"));
        if !self.own.is_empty() && self.rng.chance(60) {
            let (other, msg) = self.rng.pick(&self.own);
            said.reply_to = (other == room).then(|| msg.clone());
        }
        self.ops.insert(number, Op::new(room, Ask::Send { nonce, said }));
    }

    /// Edits or deletes one of its own.
    fn change(&mut self) {
        if self.own.is_empty() || self.ops.len() >= MOST_OPS {
            return;
        }
        let number = self.next_id();
        let (room, msg) = self.rng.pick(&self.own).clone();
        let content = format!("{} edited", words::text(&self.rng, &self.user, number));
        let edit = Op::new(
            &room,
            Ask::Edit {
                msg: msg.clone(),
                content,
            },
        );
        let delete = Op::new(&room, Ask::Delete { msg });
        match self.rng.below(10) {
            0..6 => drop(self.ops.insert(number, edit)),
            6..8 => drop(self.ops.insert(number, delete)),
            // Right after each other: a reader may come between.
            _ => {
                self.ops.insert(number, edit);
                let number = self.next_id();
                self.ops.insert(number, delete);
            }
        }
    }

    /// Asks for what the hub refuses to go on behind, and for something more.
    pub(super) fn spoil(&mut self, end: &mut ClientEnd, up: Up) {
        end.send(up);
        if self.rng.chance(700) {
            self.ping(end);
        }
    }

    /// Asks for more than it can take at a time.
    pub(super) fn page_through(&mut self, end: &mut ClientEnd) {
        let room = self.rng.pick(&self.world.plan.rooms).clone();
        (0..self.rng.between(5, 60)).for_each(|_| self.history(end, &room));
    }

    pub(super) fn ping(&mut self, end: &mut ClientEnd) {
        self.request(end, "", Ask::Ping, About::Other, |id| json!({"t": "ping", "id": id}));
    }

    fn history(&mut self, end: &mut ClientEnd, room: &str) {
        let most = self.world.plan.limits.history_page_max as u64;
        let limit = self.rng.between(1, most);
        let place = self.rng.below(60);
        let which = self.rng.below(3);
        self.request(end, room, Ask::History, About::Other, |id| {
            let mut frame = json!({"t": "history", "id": id, "room_id": room, "limit": limit});
            match which {
                0 => frame["before"] = json!(place),
                1 => frame["after"] = json!(place),
                _ => {}
            }
            frame
        });
    }

    pub(super) fn leave(&mut self, end: &mut ClientEnd, room: &str) {
        if !self.rooms[room].joined {
            return;
        }
        let again = self.rng.millis(0, 2_000);
        if let Some(place) = self.rooms.get_mut(room) {
            place.due = Instant::now() + again;
        }
        self.request(
            end,
            room,
            Ask::Leave,
            About::Leave,
            |id| json!({"t": "leave", "id": id, "room_id": room}),
        );
    }

    fn join(&mut self, end: &mut ClientEnd, room: &str) {
        if self.has_quit(room) {
            return;
        }
        let start = self.start(room);
        if let Some(place) = self.rooms.get_mut(room) {
            place.joining = true;
        }
        let presence = self.wants_presence();
        let about = About::Join(room.to_owned());
        let ask = Ask::Join {
            start: start.clone(),
            presence,
        };
        self.request(end, room, ask, about, |id| {
            let mut frame = json!({"t": "join", "id": id, "room_id": room});
            if presence {
                frame["presence"] = json!(true);
            }
            match &start {
                Start::Live => {}
                Start::Since(epoch, seq) => frame["since"] = json!(format!("{epoch}:{seq}")),
                Start::Last(count) => frame["last"] = json!(count),
            }
            frame
        });
    }

    pub(super) fn join_wanted(&mut self, end: &mut ClientEnd) {
        let now = Instant::now();
        let wanted = |place: &Place| place.wanted && !place.joined && !place.joining && place.due <= now;
        let rooms: Vec<_> = self
            .rooms
            .iter()
            .filter(|(_, place)| wanted(place))
            .map(|(room, _)| room.clone())
            .collect();
        for room in rooms {
            self.join(end, &room);
        }
    }

    /// Sends what waits, in rooms that it is in.
    pub(super) fn send_due(&mut self, end: &mut ClientEnd) {
        let now = Instant::now();
        let due: Vec<u64> = self
            .ops
            .iter()
            .filter(|(_, op)| op.request.is_none() && op.due <= now && self.rooms[&op.room].joined)
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            let id = self.next_id();
            let Some(op) = self.ops.get_mut(&number) else { continue };
            op.request = Some(id);
            let (frame, room, ask) = (op.frame(id), op.room.clone(), op.ask.clone());
            self.asked.insert(id, About::Op(number, now));
            self.put(end, id, &room, ask, &frame);
        }
    }

    fn request(&mut self, end: &mut ClientEnd, room: &str, ask: Ask, about: About, frame: impl FnOnce(u64) -> Value) {
        let id = self.next_id();
        self.asked.insert(id, about);
        self.put(end, id, room, ask, &frame(id));
    }

    fn put(&self, end: &mut ClientEnd, id: u64, room: &str, ask: Ask, frame: &Value) {
        let request = Request::new(id, room, ask);
        let conn = end.id();
        self.world.see(&Event::Sent {
            conn,
            request: &request,
        });
        end.send(Up::Text(frame.to_string()));
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}
