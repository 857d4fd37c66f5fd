//! Carries out a script, and holds what the clients see together.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use roomcast_core::{
    Client, Denied, Draft, Hub, Inbound, Limits, MemoryStore, Message, MessageId, MessageStore, OpenPolicy, Policy,
    QueueLimit, Rate, RoomId, User, async_trait,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::crowd::{Crowd, USERS};
use super::peer::{Asked, News, Pending};
use super::script::{self, Request, Script, Start, Step};
use crate::sources::{Ids, SimulatedClock, in_simulated_time, narrow};

/// The last one is closed to everybody; what was said in the one before isn't told to who comes later.
const ROOMS: [&str; 4] = ["a", "b", "quiet", "closed"];

/// Everything that is asked for has its answer by then, and every connection that was left has ended.
const SETTLED: Duration = Duration::from_secs(90);

const SHUTDOWN: Duration = Duration::from_secs(20);

struct House;

#[async_trait]
impl Policy for House {
    async fn join(&self, _: &User, room: &RoomId) -> Result<(), Denied> {
        if room.as_str() == "closed" {
            Err(Denied::unknown_room())
        } else {
            Ok(())
        }
    }
    async fn send(&self, user: &User, room: &RoomId, draft: &mut Draft) -> Result<(), Denied> {
        OpenPolicy.send(user, room, draft).await
    }
    async fn edit(&self, user: &User, message: &Message, content: &mut String) -> Result<(), Denied> {
        OpenPolicy.edit(user, message, content).await
    }
    async fn delete(&self, user: &User, message: &Message) -> Result<(), Denied> {
        OpenPolicy.delete(user, message).await
    }
    async fn history(&self, _: &User, room: &RoomId) -> Result<(), Denied> {
        if room.as_str() == "quiet" {
            Err(Denied::forbidden("nothing is told"))
        } else {
            Ok(())
        }
    }
    async fn presence(&self, _: &User, room: &RoomId) -> Result<(), Denied> {
        if room.as_str() == "quiet" {
            Err(Denied::forbidden("nothing is told"))
        } else {
            Ok(())
        }
    }
}

fn limits(script: &Script) -> Limits {
    let mut limits = narrow(script.queue);
    limits.message_bytes = 1024;
    limits.rate = script.rated.then_some(Rate {
        per_second: 5.0,
        burst: 8,
    });
    limits.control_rate = Some(Rate {
        per_second: 5.0,
        burst: 20,
    });
    limits.rooms_per_connection = 2;
    limits.in_flight = 3;
    limits.commit_queue = QueueLimit {
        messages: 8,
        bytes: 8192,
    };
    limits
}

fn pick<'a, T>(from: &'a [T], at: u8) -> &'a T {
    &from[usize::from(at) % from.len()]
}

struct World {
    hub: Hub,
    store: Arc<MemoryStore>,
    keeps_all: bool,
    crowd: Crowd,
    asked: u64,
    messages: Vec<String>,
    /// What each nonce of a user in a room became.
    nonces: HashMap<(String, String, String), (String, u64, bool)>,
    acked: Vec<(String, u64)>,
}

/// Carries the script out, in simulated time.
pub fn run(script: &Script) {
    in_simulated_time(async {
        let mut world = World::new(script);
        for step in script.steps.iter().take(400) {
            world.step(step).await;
            tokio::task::yield_now().await;
            world.look();
        }
        world.settle().await;
        world.end().await;
    });
}

impl World {
    fn new(script: &Script) -> Self {
        let retention = script.retention % 6;
        let keeps_all = retention == 0;
        let store = Arc::new(match retention {
            0 => MemoryStore::new(),
            entries => MemoryStore::with_retention(usize::from(entries)),
        });
        let hub = Hub::builder(store.clone(), House)
            .limits(limits(script))
            .ids(Ids::default())
            .clock(SimulatedClock::new())
            .seed(1)
            .build()
            .expect("the limits make sense");
        Self {
            hub,
            store,
            keeps_all,
            crowd: Crowd::default(),
            asked: 0,
            messages: Vec::new(),
            nonces: HashMap::new(),
            acked: Vec::new(),
        }
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Connect {
                place,
                plain,
                room,
                start,
                window,
            } => self.connect(*place, *plain, *room, *start, *window),
            Step::Ask { place, request } => {
                let Some(place) = self.place(*place) else { return };
                self.asked += 1;
                // Nobody hits upon it by chance.
                let id = format!("q-{:016x}", self.asked.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let (mut frame, pending) = self.request(place, request);
                frame["id"] = id.as_str().into();
                let peer = self.crowd.at(place).expect("it is there");
                if let Some(pending) = pending
                    && !peer.plain
                {
                    peer.pending.insert(id, pending);
                }
                peer.send(Inbound::Text(frame.to_string().into()));
            }
            Step::Garbled {
                place,
                request,
                at,
                byte,
            } => {
                let Some(place) = self.place(*place) else { return };
                let mut bytes = self.request(place, request).0.to_string().into_bytes();
                let at = usize::from(*at) % bytes.len();
                bytes[at] = *byte;
                self.send(place, Inbound::Text(bytes.into()));
            }
            Step::Text { place, bytes } => {
                if let Some(place) = self.place(*place) {
                    self.send(place, Inbound::Text(bytes.clone().into()));
                }
            }
            Step::Inbound { place, what } => {
                if let Some(place) = self.place(*place) {
                    self.send(
                        place,
                        match what {
                            script::Inbound::Binary => Inbound::Binary,
                            script::Inbound::TooLarge => Inbound::TooLarge,
                            script::Inbound::Ping => Inbound::Ping,
                            script::Inbound::Pong => Inbound::Pong,
                            script::Inbound::Fragment => Inbound::Fragment,
                            script::Inbound::Closed => Inbound::Closed,
                        },
                    );
                    if let (script::Inbound::Closed, Some(peer)) = (what, self.crowd.at(place)) {
                        peer.hang_up();
                    }
                }
            }
            Step::Take { place, frames } => {
                if let Some(peer) = self.crowd.at(Crowd::place(*place)) {
                    peer.window.add_permits(usize::from(*frames));
                }
            }
            Step::Break { place } => {
                if let Some(peer) = self.crowd.at(Crowd::place(*place)) {
                    peer.hang_up();
                }
            }
            Step::Wait { ms } => sleep(Duration::from_millis(u64::from(*ms))).await,
            Step::Publish { room, content } => {
                let room = self.hub.room(RoomId::new(pick(&ROOMS, *room)).expect("a name"));
                let bot = User::named("bot").expect("a name");
                let said = room.publish(&bot, Draft::text(format!("bot {content}")));
                let said = timeout(SETTLED, said).await.expect("it is said or not");
                self.acked
                    .extend(said.ok().map(|receipt| (room.id().to_string(), receipt.seq)));
            }
            Step::Kick { user } => {
                let user = User::named(USERS[usize::from(*user)]).expect("a name");
                self.hub.kick(user.id());
            }
        }
    }

    /// The place that is meant, if a client is in it.
    fn place(&mut self, place: u8) -> Option<usize> {
        let place = Crowd::place(place);
        self.crowd.at(place).map(|_| place)
    }

    fn send(&mut self, place: usize, inbound: Inbound) {
        if let Some(peer) = self.crowd.at(place) {
            peer.send(inbound);
        }
    }

    fn connect(&mut self, place: u8, plain: bool, room: Option<u8>, start: Start, window: Option<u8>) {
        let place = Crowd::place(place);
        let user = User::named(USERS[place]).expect("a name");
        let room = match room {
            None if !plain => None,
            room => Some(*pick(&ROOMS, room.unwrap_or_default())),
        };
        let room_id = room.map(|room| RoomId::new(room).expect("a name"));
        let client = match &room_id {
            Some(room) if plain => Client::plain(user, room.clone()),
            Some(room) => Client::v1(user).room(room.clone()),
            None => Client::v1(user),
        };
        let begins = room.map(|room| (room, start));
        self.crowd.connect(&self.hub, place, client, begins, window);
    }

    /// The frame, and what has to answer it.
    fn request(&mut self, place: usize, request: &Request) -> (Value, Option<Pending>) {
        let plain = self.crowd.at(place).is_some_and(|peer| peer.plain);
        let message = |at: u8| match self.messages.len() {
            0 => MessageId::from_u128(u128::from(at)).to_string(),
            _ => pick(&self.messages, at).clone(),
        };
        let mut pending = Pending {
            answers: &["ack"],
            join: None,
            nonce: None,
        };
        let mut set_room = None;
        let mut frame = match request {
            Request::Join { room, start } => {
                let room = *pick(&ROOMS, *room);
                let asked = self.crowd.asked(room, *start);
                pending.answers = &["joined"];
                let mut frame = json!({"t": "join", "room_id": room});
                match &asked {
                    Asked::Live => {}
                    Asked::Since { epoch, seq } => frame["since"] = format!("{epoch}:{seq}").into(),
                    Asked::Last(count) => frame["last"] = (*count).into(),
                }
                pending.join = Some(asked);
                frame
            }
            Request::Leave { room } => {
                set_room = *room;
                pending.answers = &["left"];
                json!({"t": "leave"})
            }
            Request::Send {
                room,
                content,
                large,
                data,
                nonce,
                reply,
            } => {
                set_room = *room;
                let mut text = format!("said {content}");
                if *large {
                    text.push_str(&"x".repeat(usize::from(*content) * 5));
                }
                let mut frame = json!({"t": "send", "content": text});
                if *data {
                    frame["data"] = json!({"n": content, "list": [1, 2.5, null]});
                }
                if let Some(reply) = reply {
                    frame["reply_to"] = message(*reply).into();
                }
                if let Some(nonce) = nonce {
                    let nonce = format!("n{}", nonce % 8);
                    frame["nonce"] = nonce.as_str().into();
                    let user = USERS[place].to_owned();
                    // The answer says in which room.
                    pending.nonce = Some((user, String::new(), nonce));
                }
                frame
            }
            Request::Edit {
                room,
                message: about,
                content,
            } => {
                set_room = *room;
                json!({"t": "edit", "msg": message(*about), "content": format!("now {content}")})
            }
            Request::Delete { room, message: about } => {
                set_room = *room;
                json!({"t": "delete", "msg": message(*about)})
            }
            Request::History {
                room,
                before,
                after,
                limit,
            } => {
                set_room = *room;
                pending.answers = &["history"];
                json!({"t": "history", "before": before, "after": after, "limit": limit})
            }
            Request::Ping => {
                pending.answers = &["pong"];
                json!({"t": "ping"})
            }
            Request::Later => json!({"t": "later"}),
        };
        if let Some(room) = set_room {
            frame["room_id"] = (*pick(&ROOMS, room)).into();
        }
        if plain {
            frame = json!({"content": frame.to_string()});
        }
        let unanswered = matches!(request, Request::Later);
        (frame, (!unanswered).then_some(pending))
    }

    /// Looks at what every client got.
    fn look(&mut self) {
        for news in self.crowd.look() {
            match news {
                News::Entry { id, .. } => self.messages.extend(id),
                News::Room { .. } => {}
                News::Acked {
                    room,
                    seq,
                    message,
                    dup,
                    nonce,
                } => {
                    if let Some((user, _, nonce)) = nonce
                        && self.keeps_all
                    {
                        let key = (user, room.clone(), nonce);
                        let first = self.nonces.entry(key).or_insert_with(|| (message.clone(), seq, false));
                        assert_eq!((&first.0, first.1), (&message, seq), "one nonce makes one message");
                        assert!(dup || !std::mem::replace(&mut first.2, true), "stored twice: {message}");
                    }
                    self.acked.push((room, seq));
                }
            }
        }
    }

    /// Everybody takes all; then nothing is owed any more.
    async fn settle(&mut self) {
        self.crowd.take_all();
        let until = Instant::now() + SETTLED;
        while Instant::now() < until {
            sleep(Duration::from_secs(3)).await;
            self.look();
        }
        let mut heads = HashMap::new();
        for room in ROOMS {
            let head = self
                .store
                .room(&RoomId::new(room).expect("a name"))
                .await
                .expect("memory doesn't fail");
            heads.insert(room, head.map_or(0, |head| head.head));
        }
        for (room, seq) in &self.acked {
            assert!(
                *seq <= heads[room.as_str()],
                "{seq} of {room} was acknowledged and isn't stored"
            );
        }
        for peer in self.crowd.living(|room| heads[room]) {
            assert!(peer.pending.is_empty(), "no answer came: {:?}", peer.pending);
        }
    }

    async fn end(mut self) {
        let report = self.hub.shutdown(SHUTDOWN).await;
        assert!(report.is_clean(), "{report:?}");
        self.look();
        self.crowd.end().await;
    }
}
