//! One connection of a member, from its opening to its end.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;

use crate::book::{Open, Phase};
use crate::hearing::Ask;
use crate::member::{Manner, Member};
use crate::plan::bounds;
use crate::socket::{WebSocket, enter};

/// How a visit ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It has seen all there is.
    Done,
    Left,
    /// The member broke the connection itself.
    Vanished,
    /// The server closed it with this code.
    Closed(u16),
    /// It broke, or the server ended it without a code.
    Cut,
    Refused(String),
    Unanswered(&'static str),
}

/// A slow reader's pause after each frame: about a third of what is said in the room of large messages.
const TRICKLE: Duration = Duration::from_millis(500);

pub(crate) struct Visit {
    socket: WebSocket,
    _open: Open,
    pub(crate) asked: HashMap<u64, (Ask, Instant)>,
    pub(crate) greeted: bool,
    phase: watch::Receiver<Phase>,
    /// When it next does something.
    pub(crate) due: Instant,
    /// It doesn't read before this time.
    deaf: Option<Instant>,
    /// When it stopped being deaf: answers may have waited until then.
    listens_since: Instant,
    leaves: Option<Instant>,
    leaving: bool,
}

impl Visit {
    /// Opens a connection: to the room, or to none and then joins.
    pub(crate) async fn enter(member: &mut Member, stay: Option<Duration>) -> Result<Self, String> {
        let (name, since) = (&member.name, member.sight.since());
        let directly = member.rng.bool();
        let path = if directly {
            let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
            format!("/ws/{}?user={name}{since}", member.book.rooms[member.room])
        } else {
            format!("/ws?user={name}")
        };
        let (socket, open) = enter(&member.book, &path, true, member.manner.is_too_slow()).await?;
        let now = Instant::now();
        let mut visit = Self {
            socket,
            _open: open,
            asked: HashMap::new(),
            greeted: false,
            phase: member.book.phase.subscribe(),
            due: now,
            deaf: None,
            listens_since: now,
            leaves: stay.map(|stay| now + stay),
            leaving: false,
        };
        if !directly {
            visit.join(member).await.map_err(|_| "a join couldn't be sent")?;
        }
        Ok(visit)
    }

    pub(crate) async fn run(mut self, member: &mut Member) -> End {
        let mut stage = self.phase.borrow_and_update().clone();
        loop {
            if let Phase::Finish(heads) = &stage
                && member.unsure.is_empty()
                && member.sight.seq() >= Some(heads[member.room])
            {
                let _ = timeout(Duration::from_secs(2), self.socket.close(None)).await;
                return End::Done;
            }
            let busy = !member.unsure.is_empty() || !self.asked.is_empty() || !member.sight.inside;
            member.rest(!busy && !matches!(stage, Phase::Run));
            if self.leaving && self.asked.is_empty() {
                return self.leave().await;
            }
            tokio::select! {
                biased;
                received = self.socket.next(), if self.deaf.is_none() => match received {
                    Some(Ok(Message::Text(text))) => {
                        self.take(member, &text);
                        if member.manner == Manner::Trickling && matches!(stage, Phase::Run) {
                            self.stop_reading(TRICKLE);
                        }
                    }
                    Some(Ok(Message::Close(close))) => {
                        return End::Closed(close.map_or(1005, |close| close.code.into()));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return End::Cut,
                },
                _ = self.phase.changed() => {
                    stage = self.phase.borrow_and_update().clone();
                    self.due = Instant::now();
                    self.deaf = None;
                    self.listens_since = self.due;
                }
                () = sleep_until(self.due) => {
                    let acted = self.act(member, matches!(stage, Phase::Run));
                    if let Err(end) = timeout(bounds::ANSWER, acted).await.unwrap_or(Err(End::Unanswered("a write"))) {
                        return end;
                    }
                }
            }
        }
    }

    /// Says goodbye and waits for the answer.
    async fn leave(mut self) -> End {
        let until = Instant::now() + bounds::ANSWER;
        if self.socket.close(None).await.is_err() {
            return End::Cut;
        }
        loop {
            match timeout_at(until, self.socket.next()).await {
                Err(_) => return End::Unanswered("a close"),
                Ok(Some(Ok(Message::Close(_))) | None) => return End::Left,
                Ok(Some(Err(_))) => return End::Cut,
                Ok(Some(Ok(_))) => {}
            }
        }
    }

    /// The time has come to do something.
    async fn act(&mut self, member: &mut Member, running: bool) -> Result<(), End> {
        let now = Instant::now();
        self.due = now + member.pause();
        if self.deaf.take().is_some() {
            self.listens_since = now;
        }
        let overdue = |(_, at): &&(Ask, Instant)| now - (*at).max(self.listens_since) > bounds::ANSWER;
        if let Some((ask, _)) = self.asked.values().find(overdue) {
            return Err(End::Unanswered(ask.name()));
        }
        if self.leaving {
            return Ok(());
        }
        if self.greeted && !member.sight.inside && self.asked.is_empty() {
            return self.join(member).await;
        }
        // Once it has asked to leave, the server takes it for gone.
        let goes = self.asked.values().any(|(ask, _)| matches!(ask, Ask::Leave));
        if member.sight.inside && !goes {
            if running {
                self.think(member).await?;
            }
            self.send_unsure(member).await?;
        }
        if self.leaves.is_some_and(|at| at <= now) && running {
            if member.manner == Manner::Vanishing {
                return Err(End::Vanished);
            }
            self.leaving = true;
        }
        Ok(())
    }

    /// Does one thing.
    async fn think(&mut self, member: &mut Member) -> Result<(), End> {
        if member.fill > 0 {
            member.fill -= 1;
            member.say();
            if member.fill == 0 {
                member.book.filling.fetch_sub(1, Relaxed);
            }
            return Ok(());
        }
        if !member.feels_like_it() {
            return Ok(());
        }
        let deaf = match member.manner {
            Manner::Pausing => Some(1_000..3_000),
            Manner::Stalling => Some(8_000..20_000),
            _ => None,
        };
        if let Some(span) = deaf
            && member.rng.bool()
        {
            self.stop_reading(Duration::from_millis(member.rng.u64(span)));
            member.book.count("times that somebody stopped reading");
            return Ok(());
        }
        match member.rng.u32(0..100) {
            // Who doesn't read its acks goes silent, so that what it sends again when it comes back isn't too much at once.
            0..80 if member.unsure.len() < 10 => member.say(),
            80..84 => {
                if let Some(msg) = member.own.last().cloned() {
                    let number = member.number();
                    let content = format!("{}-{number} 0 edited", member.name);
                    self.ask(
                        member,
                        Ask::Edit,
                        json!({ "t": "edit", "msg": msg, "content": content }),
                    )
                    .await?;
                }
            }
            84..86 => {
                if let Some(msg) = member.own.pop() {
                    self.ask(member, Ask::Delete, json!({ "t": "delete", "msg": msg }))
                        .await?;
                }
            }
            86..90 => self.ask(member, Ask::Ping, json!({ "t": "ping" })).await?,
            90..95 => {
                let before = member.sight.seq().unwrap_or(1).max(1);
                self.ask(
                    member,
                    Ask::History,
                    json!({ "t": "history", "before": before, "limit": 20 }),
                )
                .await?;
            }
            // Once what was asked is answered: it is asked in the room.
            _ if self.asked.is_empty() && member.unsure.is_empty() => {
                self.ask(member, Ask::Leave, json!({ "t": "leave" })).await?;
            }
            _ => {}
        }
        Ok(())
    }

    fn stop_reading(&mut self, span: Duration) {
        self.due = Instant::now() + span;
        self.deaf = Some(self.due);
    }

    /// Sends what it doesn't know to be stored, unless an answer is awaited.
    async fn send_unsure(&mut self, member: &mut Member) -> Result<(), End> {
        let now = Instant::now();
        for at in 0..member.unsure.len() {
            let said = &mut member.unsure[at];
            let is_asked = |(ask, _): &(Ask, Instant)| matches!(ask, Ask::Send(nonce) if *nonce == said.nonce);
            if said.due > now || self.asked.values().any(is_asked) {
                continue;
            }
            said.tries += 1;
            let frame = json!({ "t": "send", "nonce": said.nonce, "content": said.content });
            let ask = Ask::Send(said.nonce.clone());
            member.book.count(if said.tries > 1 {
                "messages sent again"
            } else {
                "messages sent"
            });
            self.ask(member, ask, frame).await?;
        }
        Ok(())
    }

    async fn join(&mut self, member: &mut Member) -> Result<(), End> {
        let mut frame = json!({ "t": "join" });
        if let Some(since) = member.sight.since() {
            frame["since"] = json!(since);
        }
        self.ask(member, Ask::Join, frame).await
    }

    async fn ask(&mut self, member: &mut Member, ask: Ask, mut frame: Value) -> Result<(), End> {
        let id = member.number();
        frame["id"] = json!(id);
        frame["room_id"] = json!(member.book.rooms[member.room]);
        self.asked.insert(id, (ask, Instant::now()));
        self.socket
            .send(Message::text(frame.to_string()))
            .await
            .map_err(|_| End::Cut)
    }
}
