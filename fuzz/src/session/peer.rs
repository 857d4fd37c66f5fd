//! The client's end of one connection, and what it holds the hub to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use roomcast_core::{Ended, Hub, Inbound, Refusal};
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::pipe::{Pipe, Seen};
use super::script::Start;

/// Where a join said that the client stands.
#[derive(Debug, Clone)]
pub enum Asked {
    Live,
    Since { epoch: String, seq: u64 },
    Last(u64),
}

/// What was asked, by the types of frames that answer it.
#[derive(Debug, Clone)]
pub struct Pending {
    pub answers: &'static [&'static str],
    pub join: Option<Asked>,
    /// Of a send: who, where and what.
    pub nonce: Option<(String, String, String)>,
}

/// What comes next in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Entry(u64),
    /// The gap that was announced: of numbers from here on, or of the whole log.
    Gap {
        from: u64,
        head: u64,
    },
    /// Whatever it is, up to this: the last few.
    UpTo(u64),
    Unknown,
}

pub struct Peer {
    pub user: &'static str,
    pub plain: bool,
    to_server: Option<mpsc::UnboundedSender<Inbound>>,
    from_server: mpsc::UnboundedReceiver<Seen>,
    pub window: Arc<Semaphore>,
    pub task: JoinHandle<Result<Ended, Refusal>>,
    first: Option<Asked>,
    greeted: bool,
    pub pending: HashMap<String, Pending>,
    rooms: HashMap<String, Next>,
    /// Who is in each room, as far as the client was told.
    rosters: HashMap<String, BTreeMap<String, String>>,
    last_plain: u64,
    said_bye: bool,
    pub closed: Option<u16>,
}

/// What a frame tells the world.
pub enum News {
    Entry {
        room: String,
        seq: u64,
        id: Option<String>,
        frame: Value,
    },
    Room {
        room: String,
        epoch: String,
    },
    Acked {
        room: String,
        seq: u64,
        message: String,
        dup: bool,
        nonce: Option<(String, String, String)>,
    },
}

fn text(frame: &Value, key: &str) -> String {
    frame[key]
        .as_str()
        .unwrap_or_else(|| panic!("no {key} in {frame}"))
        .to_owned()
}

fn number(frame: &Value, key: &str) -> u64 {
    frame[key].as_u64().unwrap_or_else(|| panic!("no {key} in {frame}"))
}

impl Peer {
    pub fn connect(
        hub: &Hub,
        client: roomcast_core::Client,
        window: usize,
        first: Option<Asked>,
        user: &'static str,
    ) -> Self {
        let (to_server, from_client) = mpsc::unbounded_channel();
        let (to_client, from_server) = mpsc::unbounded_channel();
        let window = Arc::new(Semaphore::new(window));
        let pipe = Pipe {
            from_client,
            to_client,
            window: window.clone(),
        };
        let plain = client.protocol() == roomcast_core::Protocol::Plain;
        let hub = hub.clone();
        let task = tokio::spawn(async move { hub.serve(client, pipe).await });
        Self {
            user,
            plain,
            to_server: Some(to_server),
            from_server,
            window,
            task,
            first,
            greeted: false,
            pending: HashMap::new(),
            rooms: HashMap::new(),
            rosters: HashMap::new(),
            last_plain: 0,
            said_bye: false,
            closed: None,
        }
    }

    pub fn send(&self, inbound: Inbound) {
        if let Some(to_server) = &self.to_server {
            // A hub that has hung up hears nothing.
            let _ = to_server.send(inbound);
        }
    }

    pub fn hang_up(&mut self) {
        self.to_server = None;
    }

    pub fn hung_up(&self) -> bool {
        self.to_server.is_none()
    }

    /// The rooms that the client knows to be in, and the seq that is due in each.
    pub fn due(&self) -> impl Iterator<Item = (&str, u64)> {
        self.rooms.iter().filter_map(|(room, next)| match next {
            Next::Entry(seq) => Some((room.as_str(), *seq)),
            _ => None,
        })
    }

    /// Looks at all that came.
    pub fn look(&mut self, news: &mut Vec<News>) {
        while let Ok(seen) = self.from_server.try_recv() {
            assert!(self.closed.is_none(), "{seen:?} behind the close frame");
            match seen {
                Seen::Frame(frame) if self.plain => self.plain_frame(&frame, news),
                Seen::Frame(frame) => self.frame(&frame, news),
                Seen::Ping => self.send(Inbound::Pong),
                Seen::Close(code) => self.closed = Some(code),
            }
        }
    }

    fn plain_frame(&mut self, frame: &Value, news: &mut Vec<News>) {
        assert!(
            frame.get("t").is_none(),
            "a plain client is shown messages alone: {frame}"
        );
        let seq = number(frame, "seq");
        assert!(seq > self.last_plain, "{seq} after {}", self.last_plain);
        self.last_plain = seq;
        news.push(News::Entry {
            room: text(frame, "room_id"),
            seq,
            id: None,
            frame: frame.clone(),
        });
    }

    fn frame(&mut self, frame: &Value, news: &mut Vec<News>) {
        assert!(!self.said_bye, "{frame} behind the bye");
        let t = frame.get("t").map(|_| text(frame, "t"));
        let t = t.as_deref();
        assert_eq!(
            t == Some("hello"),
            !self.greeted,
            "hello is the first frame and comes once: {frame}"
        );
        let asked = match frame.get("id").filter(|_| t.is_some()) {
            // None of ours is asked for twice, and what was garbled has another id.
            Some(id) => id.as_str().filter(|id| id.starts_with("q-")).map(|id| {
                let asked = self.pending.remove(id);
                asked.unwrap_or_else(|| panic!("nothing is owed to {id}: {frame}"))
            }),
            None => None,
        };
        if let Some(asked) = &asked {
            let t = t.unwrap_or_default();
            assert!(
                t == "err" || asked.answers.contains(&t),
                "{asked:?} is answered with {frame}"
            );
        }
        match t {
            Some("hello") => {
                self.greeted = true;
                for room in frame["rooms"].as_array().into_iter().flatten() {
                    let first = self.first.take();
                    self.joined(room, first, news);
                }
            }
            Some("joined") => self.joined(frame, asked.and_then(|asked| asked.join), news),
            Some("left") => {
                let room = text(frame, "room_id");
                assert!(self.rooms.remove(&room).is_some(), "the client wasn't in {room}");
                self.rosters.remove(&room);
            }
            None | Some("edit" | "delete") => self.entry(frame, news),
            Some("gap") => self.gap(frame),
            Some("presence") => self.presence(frame),
            Some("ack") => news.push(News::Acked {
                room: text(frame, "room_id"),
                seq: number(frame, "seq"),
                message: text(frame, "msg"),
                dup: frame["dup"] == true,
                nonce: asked.and_then(|asked| asked.nonce),
            }),
            Some("history") => {
                let messages = frame["messages"].as_array().expect("messages");
                let seqs: Vec<u64> = messages.iter().map(|message| number(message, "seq")).collect();
                assert!(seqs.is_sorted_by(|a, b| a < b), "{frame}");
            }
            Some("bye") => self.said_bye = true,
            Some("err") => assert!(!text(frame, "message").is_empty()),
            Some("pong") => {}
            Some(_) => panic!("there is no such frame: {frame}"),
        }
    }

    fn joined(&mut self, frame: &Value, asked: Option<Asked>, news: &mut Vec<News>) {
        let (room, epoch, head) = (text(frame, "room_id"), text(frame, "epoch"), number(frame, "head"));
        let next = match (frame["resume"].as_str(), asked) {
            (Some("fresh"), Some(Asked::Live)) => Next::Entry(head + 1),
            (Some("fresh"), Some(Asked::Last(0))) => Next::Entry(head + 1),
            (Some("fresh"), Some(Asked::Last(_))) => Next::UpTo(head + 1),
            (Some("ok"), Some(Asked::Since { epoch: known, seq })) => {
                assert!(known == epoch && seq <= head, "{known}:{seq} is not of {frame}");
                Next::Entry(seq + 1)
            }
            (Some("gap"), Some(Asked::Since { seq, .. })) => Next::Gap { from: seq + 1, head },
            (Some("fresh" | "ok" | "gap"), None) => Next::Unknown,
            (_, asked) => panic!("{asked:?} is answered with {frame}"),
        };
        self.rooms.insert(room.clone(), next);
        self.rosters.remove(&room);
        news.push(News::Room { room, epoch });
    }

    fn entry(&mut self, frame: &Value, news: &mut Vec<News>) {
        let (room, seq) = (text(frame, "room_id"), number(frame, "seq"));
        let next = self
            .rooms
            .get_mut(&room)
            .unwrap_or_else(|| panic!("the client isn't in {room}: {frame}"));
        match *next {
            Next::Entry(due) => assert_eq!(seq, due, "{frame}"),
            Next::UpTo(most) => assert!(seq <= most, "the last of {most} begin with {frame}"),
            Next::Gap { .. } => panic!("a gap was announced, and this comes: {frame}"),
            Next::Unknown => {}
        }
        *next = Next::Entry(seq + 1);
        let id = frame.get("t").is_none().then(|| text(frame, "id"));
        if frame["deleted"] == true {
            assert!(
                frame.get("content").is_none() && frame.get("data").is_none(),
                "what was deleted is told: {frame}"
            );
        }
        news.push(News::Entry {
            room,
            seq,
            id,
            frame: frame.clone(),
        });
    }

    /// A whole state, or a change that fits the state before.
    fn presence(&mut self, frame: &Value) {
        let (room, online) = (text(frame, "room_id"), number(frame, "online"));
        assert!(self.rooms.contains_key(&room), "the client isn't in {room}: {frame}");
        let lists = (
            frame["users"].as_array(),
            frame["came"].as_array(),
            frame["left"].as_array(),
        );
        let listed = |users: &[Value]| -> Vec<_> {
            let user = |user| (text(user, "id"), text(user, "name"));
            users.iter().map(user).collect()
        };
        match lists {
            (Some(users), None, None) => {
                assert!(online >= users.len() as u64, "{frame}");
                assert_eq!(frame["more"], online > users.len() as u64, "{frame}");
                let users = listed(users);
                assert!(users.is_sorted_by(|(a, _), (b, _)| a < b), "{frame}");
                self.rosters.insert(room, users.into_iter().collect());
            }
            (None, Some(came), Some(left)) => {
                let roster = self.rosters.get_mut(&room);
                let roster = roster.unwrap_or_else(|| panic!("a change of nothing: {frame}"));
                for id in left {
                    let id = id.as_str().expect("an id");
                    assert!(roster.remove(id).is_some(), "{id} wasn't there: {frame}");
                }
                for (id, name) in listed(came) {
                    let before = roster.insert(id, name.clone());
                    assert_ne!(before, Some(name), "came twice: {frame}");
                }
                assert!(online >= roster.len() as u64, "{frame}");
            }
            _ => panic!("neither a state nor a change: {frame}"),
        }
    }

    fn gap(&mut self, frame: &Value) {
        let room = text(frame, "room_id");
        let next = self
            .rooms
            .get_mut(&room)
            .unwrap_or_else(|| panic!("the client isn't in {room}: {frame}"));
        *next = match (frame["reason"].as_str(), *next) {
            (Some("epoch"), Next::Gap { head, .. }) => Next::Entry(head + 1),
            (Some("epoch"), Next::Unknown) => Next::Unknown,
            (Some("retention"), known) => {
                let (from, to) = (number(frame, "from"), number(frame, "to"));
                assert!(from <= to, "{frame}");
                match known {
                    Next::Entry(due) | Next::Gap { from: due, .. } => assert_eq!(from, due, "{frame}"),
                    Next::UpTo(_) | Next::Unknown => {}
                }
                Next::Entry(to + 1)
            }
            (_, next) => panic!("{frame} while {next:?} is due"),
        };
    }
}

/// How a start is said, given what the client knows of the room.
pub fn asked(start: Start, known: Option<&(String, u64)>) -> Asked {
    match start {
        Start::Live => Asked::Live,
        Start::Last(count) => Asked::Last(u64::from(count)),
        Start::Since { back, other_log } => {
            let (epoch, seq) = known.cloned().unwrap_or_else(|| ("none".to_owned(), 0));
            Asked::Since {
                epoch: if other_log { "other".to_owned() } else { epoch },
                seq: seq.saturating_add_signed(-i64::from(back)),
            }
        }
    }
}
