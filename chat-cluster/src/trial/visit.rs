//! One connection of a client, from its opening to its end.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use chat_driver::frame::{Frame, message_id};
use chat_driver::socket::{ENTER, WebSocket, upgrade};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::book::{Check, Phase, Sighting, served_by};
use super::client::Client;

/// How long an answer may take until the client gives the connection up. A commit has ten seconds.
const ANSWER: Duration = Duration::from_secs(15);

/// How often it asks whether the server is there.
const PING: Duration = Duration::from_secs(4);

/// How often it looks whether there is something to do.
const TURN: Duration = Duration::from_millis(50);

/// How a visit ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It has seen all there is.
    Done,
    Left,
    /// The server closed it with this code.
    Closed(u16),
    /// It broke, or was ended without a code.
    Cut,
    Refused(String),
    /// An answer didn't come.
    Silent(&'static str),
}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// To store the message with this number.
    Send(usize),
    Ping,
}

pub(crate) struct Visit {
    socket: WebSocket,
    node: usize,
    asked: HashMap<u64, (Ask, Instant)>,
    phase: watch::Receiver<Phase>,
    leaves: Option<Instant>,
    pings: Instant,
    says: Option<Instant>,
    /// What a `bye` asked for.
    after: Option<Duration>,
}

impl Visit {
    /// Comes in by way of the balancer.
    pub(crate) async fn enter(client: &mut Client) -> Result<Self, String> {
        let book = client.book.clone();
        let (room, name) = (&book.rooms[client.room], &client.name);
        let since = client.sight.since().map(|since| format!("&since={since}"));
        let path = format!("/ws/{room}?user={name}{}", since.unwrap_or_default());
        let entering = async {
            let stream = TcpStream::connect(book.balancer)
                .await
                .map_err(|error| error.to_string())?;
            let _ = stream.set_nodelay(true);
            upgrade(stream, book.balancer, &path, true).await
        };
        let entered = timeout(ENTER, entering).await;
        let (socket, headers) = entered.unwrap_or_else(|_| Err("silence".to_owned()))?;
        let node = headers
            .get("x-served-by")
            .and_then(|node| served_by(node.to_str().ok()?));
        let now = Instant::now();
        let stays = client
            .manner
            .stays
            .map(|most| Duration::from_secs(client.rng.u64(most / 3..most)));
        book.counts.add("connections");
        Ok(Self {
            socket,
            node: node.ok_or("the balancer doesn't say which node it is")?,
            asked: HashMap::new(),
            phase: book.phase.subscribe(),
            leaves: stays.map(|stays| now + stays),
            pings: now + PING,
            says: None,
            after: None,
        })
    }

    /// Stays until it ends. Says after how long the client may come back, if the server said so.
    pub(crate) async fn run(mut self, client: &mut Client) -> (End, Option<Duration>) {
        let end = self.stay(client).await;
        (end, self.after)
    }

    async fn stay(&mut self, client: &mut Client) -> End {
        let mut turn = Instant::now();
        loop {
            let stage = self.phase.borrow().clone();
            if let Phase::Finish(heads) = &stage
                && client.unsure.is_empty()
                && client.sight.seq() >= Some(heads[client.room])
            {
                let _ = timeout(Duration::from_secs(2), self.socket.close(None)).await;
                return End::Done;
            }
            tokio::select! {
                biased;
                received = self.socket.next() => match received {
                    Some(Ok(Message::Text(text))) => self.take(client, &text),
                    Some(Ok(Message::Close(close))) => {
                        return End::Closed(close.map_or(1005, |close| close.code.into()));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return End::Cut,
                },
                () = sleep_until(turn) => {
                    turn = Instant::now() + TURN;
                    match timeout(ANSWER, self.act(client)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(end)) => return end,
                        Err(_) => return End::Silent("write"),
                    }
                }
            }
        }
    }

    /// Does what is due.
    async fn act(&mut self, client: &mut Client) -> Result<(), End> {
        let now = Instant::now();
        if let Some((ask, _)) = self.asked.values().find(|(_, at)| now - *at > ANSWER) {
            return Err(End::Silent(match ask {
                Ask::Send(_) => "ack",
                Ask::Ping => "pong",
            }));
        }
        // Until it is in the room, nothing is sent.
        if !client.sight.inside {
            return Ok(());
        }
        if self.pings <= now {
            self.pings = now + PING;
            self.ask(client, Ask::Ping, json!({ "t": "ping" })).await?;
        }
        if client.is_running() {
            if self.leaves.is_some_and(|at| at <= now) && self.asked.is_empty() {
                let _ = timeout(Duration::from_secs(2), self.socket.close(None)).await;
                return Err(End::Left);
            }
            if let Some(pace) = client.manner.pace {
                let says = *self.says.get_or_insert_with(|| now + pace.mul_f64(client.rng.f64()));
                if says <= now {
                    self.says = Some(now + pace.mul_f64(client.rng.f64() * 2.0));
                    client.say();
                }
            }
        }
        self.send_unsure(client).await
    }

    /// Sends what it doesn't know to be stored, unless an answer is awaited.
    async fn send_unsure(&mut self, client: &mut Client) -> Result<(), End> {
        let now = Instant::now();
        for at in 0..client.unsure.len() {
            let unsure = &client.unsure[at];
            let ask = Ask::Send(unsure.number);
            if unsure.due > now || self.asked.values().any(|(asked, _)| *asked == ask) {
                continue;
            }
            client.book.sent(unsure.number, Some(self.node));
            let frame = unsure.frame.clone();
            self.ask(client, ask, frame).await?;
        }
        Ok(())
    }

    async fn ask(&mut self, client: &mut Client, ask: Ask, mut frame: Value) -> Result<(), End> {
        let id = client.request();
        frame["id"] = json!(id);
        self.asked.insert(id, (ask, Instant::now()));
        let sent = self.socket.send(Message::text(frame.to_string())).await;
        sent.map_err(|_| End::Cut)
    }

    /// Takes in a frame.
    fn take(&mut self, client: &mut Client, text: &str) {
        let (check, taken) = match Frame::parse(text) {
            Ok(frame) if matches!(&*frame.t, "ack" | "err" | "pong") => (Check::Answers, self.answered(client, &frame)),
            Ok(frame) => (Check::Sight, self.understand(client, &frame)),
            Err(what) => (Check::Sight, Err(what)),
        };
        if let Err(what) = taken {
            let (book, name, node) = (&client.book, &client.name, self.node + 1);
            let room = &book.rooms[client.room];
            book.wrong(check, format_args!("{name} in {room}, on node-{node}: {what}"));
        }
    }

    fn understand(&mut self, client: &mut Client, frame: &Frame) -> Result<(), String> {
        if let Some(entry) = frame.entry() {
            let live = client.sight.entry(frame.seq)?;
            let sighting = Sighting {
                node: self.node,
                room: client.room,
                live,
            };
            client.book.saw(sighting, frame, entry)?;
            client.seen.store(frame.seq, Relaxed);
            return Ok(());
        }
        match &*frame.t {
            "hello" => {
                client.greeted();
                for room in &frame.rooms {
                    client.sight.join(room)?;
                }
                client.seen.store(client.sight.seq().unwrap_or_default(), Relaxed);
                Ok(())
            }
            "bye" => {
                self.after = frame.after_ms.map(Duration::from_millis);
                Ok(())
            }
            "gap" => Err(format!("a gap, {}, where all is kept", frame.reason)),
            other => Err(format!("a frame {other:?} that isn't expected")),
        }
    }

    fn answered(&mut self, client: &mut Client, frame: &Frame) -> Result<(), String> {
        let asked = frame.id.as_u64().and_then(|id| self.asked.remove(&id));
        let number = match asked {
            None => return Err(format!("{} {} answers nothing", frame.t, frame.error())),
            Some((Ask::Ping, _)) if frame.t == "pong" => return Ok(()),
            Some((Ask::Send(number), _)) if frame.t != "pong" => number,
            Some((ask, _)) => return Err(format!("{ask:?} was answered with {} {}", frame.t, frame.error())),
        };
        let at = client.unsure.iter().position(|unsure| unsure.number == number);
        let at = at.ok_or_else(|| format!("message {number} is answered twice"))?;
        if frame.t == "ack" {
            let unsure = client.unsure.swap_remove(at);
            let message = message_id(&frame.msg).ok_or("an ack without an id")?;
            client.book.acked(number, frame.seq, message, frame.dup);
            client.used = Some(unsure.nonce);
            return match unsure.refusal {
                None => Ok(()),
                Some(code) => Err(format!(
                    "message {number} was to be refused ({code}) and is acknowledged"
                )),
            };
        }
        match frame.error() {
            // Which says that it be sent again.
            "unavailable" => {
                client.book.counts.add("told that the store is unavailable");
                let wait = Duration::from_millis(frame.retry_ms.unwrap_or(500));
                client.unsure[at].due = Instant::now() + wait;
                Ok(())
            }
            code if client.unsure[at].refusal == Some(code) => {
                client.unsure.swap_remove(at);
                client.book.refused(number);
                Ok(())
            }
            code => {
                client.unsure.swap_remove(at);
                Err(format!("message {number} is refused: {code}"))
            }
        }
    }
}
