//! A plain client: it sends text and reads messages, and knows no more.

use std::sync::Arc;
use std::time::Duration;

use roomcast_core::Protocol;
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Wish, dial, words};
use crate::network::{ClientEnd, Down, Leave, Up};
use crate::oracle::Event;
use crate::oracle::facts::{Ask, Request, Said, Start};
use crate::rng::Rng;
use crate::world::World;

pub(super) struct Plain {
    world: Arc<World>,
    rng: Rng,
    number: usize,
    user: String,
    room: String,
    sent: u64,
}

impl Plain {
    pub(super) fn new(world: Arc<World>, rng: Rng, number: usize, user: String) -> Self {
        let room = rng.pick(&world.plan.rooms).clone();
        Self {
            world,
            rng,
            number,
            user,
            room,
            sent: 0,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            self.world.todo(self.number, 1);
            let calm = self.world.is_calm();
            let start = if calm || self.rng.chance(400) {
                Start::Last(3)
            } else {
                Start::Live
            };
            let wish = Wish {
                protocol: Protocol::Plain,
                room: &self.room,
                start: &start,
                presence: false,
            };
            let wait = match dial(&self.world, &self.rng, &self.user, wish).await {
                Ok(end) => {
                    self.talk(end).await;
                    self.rng.millis(10, 500)
                }
                Err(wait) => wait,
            };
            sleep(wait).await;
        }
    }

    async fn talk(&mut self, mut end: ClientEnd) {
        let pace = self.world.plan.pace * 4;
        let mut due = Instant::now();
        loop {
            tokio::select! {
                biased;
                down = end.recv() => match down {
                    Down::Frame(_) => self.world.todo(self.number, 0),
                    Down::Close(_) | Down::Gone => return,
                },
                () = sleep_until(due) => {
                    due = Instant::now() + pace.mul_f64(self.rng.below(1000) as f64 / 500.0) + Duration::from_millis(1);
                    if !self.world.is_calm() {
                        if self.rng.chance(20) {
                            let how = [Leave::Abruptly, Leave::Politely, Leave::ByHalf, Leave::MidFrame];
                            return end.leave(*self.rng.pick(&how)).await;
                        }
                        if self.rng.chance(20) {
                            sleep(self.rng.millis(100, 4_000)).await;
                        }
                        self.say(&mut end);
                    }
                }
            }
        }
    }

    fn say(&mut self, end: &mut ClientEnd) {
        self.sent += 1;
        let content = words::text(&self.rng, &self.user, self.sent);
        // What the protocol doesn't know is ignored: by the number the simulation knows it again.
        let frame = json!({ "content": content, "id": self.sent }).to_string();
        let said = Said {
            content: Some(content),
            ..Said::default()
        };
        let request = Request::new(self.sent, &self.room, Ask::Send { nonce: None, said });
        let conn = end.id();
        self.world.see(&Event::Sent {
            conn,
            request: &request,
        });
        end.send(Up::Text(frame));
    }
}
