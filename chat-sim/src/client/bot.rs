//! A part of the embedding server: it says, changes, reads and searches in rooms without a connection, and sends users away.

use std::sync::Arc;
use std::time::Duration;

use roomcast_core::{
    Draft, ErrorCode, HistoryPage, HistoryRange, Message, MessageId, Nonce, Receipt, Refusal, Room, RoomAsUser, RoomId,
    User, UserId,
};
use serde_json::Value;
use tokio::time::sleep;

use super::words;
use crate::frame::Frame;
use crate::oracle::Event;
use crate::oracle::facts::{Answer, Ask, Call, Said};
use crate::rng::Rng;
use crate::world::{Node, World};

pub(super) struct Bot {
    world: Arc<World>,
    rng: Rng,
    number: usize,
    user: String,
    said: u64,
    /// Own messages that are known to be stored.
    own: Vec<(String, String)>,
    /// What isn't known to be stored, and can be said again.
    again: Option<(String, Ask, bool)>,
}

impl Bot {
    pub(super) fn new(world: Arc<World>, rng: Rng, number: usize, user: String) -> Self {
        Self {
            world,
            rng,
            number,
            user,
            said: 0,
            own: Vec::new(),
            again: None,
        }
    }

    pub(super) async fn run(mut self) {
        let pace = self.world.plan.pace * 3;
        while !self.world.is_calm() || self.again.is_some() {
            sleep(pace.mul_f64(self.rng.below(1000) as f64 / 500.0) + Duration::from_millis(1)).await;
            let place = self.rng.size(0, self.world.plan.hubs - 1);
            let Some(node) = self.world.node(place) else { continue };
            if !self.world.is_calm() && self.rng.chance(25) {
                self.kick(&node);
                continue;
            }
            let (room, ask, own) = self.next();
            self.call(&node, room, ask, own).await;
        }
        self.world.todo(self.number, 0);
    }

    fn kick(&self, node: &Node) {
        let users = self.world.users();
        let user = self.rng.pick(&users);
        self.world.see(&Event::Kicked { hub: node.id, user });
        if let Ok(id) = user.parse::<UserId>() {
            node.hub.kick(&id);
        }
    }

    /// What it does next, and whether in its own right.
    fn next(&mut self) -> (String, Ask, bool) {
        if let Some(again) = self.again.take_if(|_| self.world.is_calm() || self.rng.chance(700)) {
            return again;
        }
        let mut room = self.rng.pick(&self.world.plan.rooms).clone();
        let draw = self.rng.below(100);
        let ask = match draw {
            0..45 => self.send(&room),
            45..65 if !self.own.is_empty() => {
                let msg;
                (room, msg) = self.rng.pick(&self.own).clone();
                self.change(msg)
            }
            45..75 => Ask::Search {
                query: self.query(),
                before: self.rng.chance(300).then(|| self.rng.below(100)),
                limit: self.rng.size(1, self.world.plan.limits.history_page_max),
            },
            75..90 => Ask::History,
            _ => Ask::Head,
        };
        (room, ask, draw < 15)
    }

    fn send(&mut self, room: &str) -> Ask {
        self.said += 1;
        let mut said = words::said(&self.rng, &self.user, self.said);
        if !self.own.is_empty() && self.rng.chance(60) {
            let (other, msg) = self.rng.pick(&self.own);
            said.reply_to = (other == room).then(|| msg.clone());
        }
        let nonce = self.rng.chance(700).then(|| format!("n{}", self.said));
        Ask::Send { nonce, said }
    }

    fn change(&mut self, msg: String) -> Ask {
        if self.rng.chance(300) {
            return Ask::Delete { msg };
        }
        self.said += 1;
        let content = words::text(&self.rng, &self.user, self.said);
        Ask::Edit { msg, content }
    }

    fn query(&self) -> String {
        let (one, two) = (self.rng.pick(&words::WORDS), self.rng.pick(&words::WORDS));
        match self.rng.below(3) {
            0 => one.to_lowercase(),
            1 => format!("({one}) AND-{two}*").replace("AND", ""),
            _ => {
                let users = self.world.users();
                format!("{} {}", self.rng.pick(&users), two.to_uppercase())
            }
        }
    }

    async fn call(&mut self, node: &Node, room: String, ask: Ask, own: bool) {
        let number = self.world.next_call();
        let call = Call {
            hub: node.id,
            user: self.user.clone(),
            room: room.clone(),
            ask: ask.clone(),
            own,
            asked: Default::default(),
        };
        self.world.see(&Event::Asked { call: &call });
        let answer = tokio::select! {
            biased;
            () = node.power.cancelled() => Answer::Refused("killed"),
            answer = self.answer(node, &room, &ask, own) => answer.unwrap_or_else(|refusal| Answer::Refused(refusal.code.as_str())),
        };
        let told = Event::Told {
            call: number,
            answer: &answer,
        };
        self.world.see(&told);
        match (ask, answer) {
            (Ask::Send { .. }, Answer::Stored { msg, .. }) => {
                self.own.push((room, msg));
                if self.own.len() > 12 {
                    self.own.remove(0);
                }
            }
            (ask @ Ask::Send { nonce: Some(_), .. }, Answer::Refused("killed" | "unavailable")) => {
                self.again = Some((room, ask, own));
            }
            _ => {}
        }
    }

    async fn answer(&self, node: &Node, room: &str, ask: &Ask, own: bool) -> Result<Answer, Refusal> {
        let (Ok(id), Ok(user)) = (RoomId::new(room), User::named(&self.user)) else {
            unreachable!("{room} and {} are names", self.user);
        };
        let room: Room = node.hub.room(id);
        let me: RoomAsUser = room.as_user(user.clone());
        match ask {
            Ask::Send { nonce, said } => {
                let draft = draft(nonce.as_deref(), said);
                let receipt = if own {
                    room.publish(&user, draft).await?
                } else {
                    me.send(draft).await?
                };
                Ok(stored(&receipt))
            }
            Ask::Edit { msg, content } => Ok(stored(&me.edit(id_of(msg), content.as_str()).await?)),
            Ask::Delete { msg } => Ok(stored(&me.delete(id_of(msg)).await?)),
            Ask::Search { query, before, limit } => Ok(page(&me.search(query, *before, Some(*limit)).await?)),
            Ask::History => {
                let range = match self.rng.below(3) {
                    0 => HistoryRange::Newest,
                    1 => HistoryRange::Before(self.rng.below(60)),
                    _ => HistoryRange::After(self.rng.below(60)),
                };
                Ok(page(&me.history(range, None).await?))
            }
            _ => match room.head().await? {
                Some(head) => Ok(Answer::Head {
                    epoch: head.epoch.as_str().to_owned(),
                    head: head.head,
                    floor: head.floor,
                }),
                None => Ok(Answer::Refused(ErrorCode::UnknownRoom.as_str())),
            },
        }
    }
}

fn draft(nonce: Option<&str>, said: &Said) -> Draft {
    let mut draft = Draft::new();
    draft.content.clone_from(&said.content);
    draft.data = match &said.data {
        Some(Value::Object(data)) => Some(data.clone()),
        _ => None,
    };
    draft.reply_to = said.reply_to.as_deref().map(id_of);
    draft.nonce = nonce.and_then(|nonce| Nonce::new(nonce).ok());
    draft
}

fn id_of(msg: &str) -> MessageId {
    msg.parse()
        .unwrap_or_else(|error| unreachable!("{msg} was given by a hub: {error}"))
}

fn stored(receipt: &Receipt) -> Answer {
    Answer::Stored {
        msg: receipt.id.to_string(),
        seq: receipt.seq,
        dup: receipt.duplicate,
    }
}

fn page(page: &HistoryPage) -> Answer {
    let frame = |message: &Message| -> Frame {
        let json = serde_json::to_value(message).and_then(serde_json::from_value);
        json.unwrap_or_else(|error| unreachable!("a message is a frame: {error}"))
    };
    Answer::Page {
        messages: page.messages.iter().map(frame).collect(),
        more: page.more,
    }
}
