//! A client: it is in one room, comes back whatever happens, with its cursor and with what wasn't acknowledged, and looks
//! whether it sees everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use chat_driver::sight::Sight;
use fastrand::Rng;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::book::{Book, Check, Phase};
use super::visit::{End, Visit};

/// What it doesn't know to be stored, at most. Then it says nothing new.
const UNSURE: usize = 10;

/// How a client behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// How long it is between two messages, on the average, if it says anything.
    pub(crate) pace: Option<Duration>,
    /// How long it stays on one connection at most, in seconds, if it leaves by itself.
    pub(crate) stays: Option<u64>,
}

pub(crate) struct Client {
    pub(crate) book: Arc<Book>,
    pub(crate) rng: Rng,
    pub(crate) name: Arc<str>,
    pub(crate) room: usize,
    pub(crate) manner: Manner,
    pub(crate) sight: Sight,
    /// How far it has seen its room, for the others.
    pub(crate) seen: Arc<AtomicU64>,
    pub(crate) unsure: Vec<Unsure>,
    /// A nonce that was acknowledged.
    pub(crate) used: Option<String>,
    /// Numbers requests.
    requests: u64,
    /// How often in a row it couldn't come in.
    failures: u32,
}

/// Something that it said, and of which it doesn't know what became.
pub(crate) struct Unsure {
    /// What its content begins with.
    pub(crate) number: usize,
    pub(crate) nonce: String,
    pub(crate) frame: Value,
    /// If the server has to refuse it: with this code.
    pub(crate) refusal: Option<&'static str>,
    /// Not sent before this time.
    pub(crate) due: Instant,
}

impl Client {
    pub(crate) fn new(book: &Arc<Book>, seed: u64, name: String, room: usize, manner: Manner) -> Self {
        Self {
            seen: book.client(room),
            book: Arc::clone(book),
            rng: Rng::with_seed(seed),
            name: name.into(),
            room,
            manner,
            sight: Sight::default(),
            unsure: Vec::new(),
            used: None,
            requests: 0,
            failures: 0,
        }
    }

    /// Lives until the trial is finished and it has seen all there is.
    pub(crate) async fn run(mut self) {
        loop {
            let (end, after) = match Visit::enter(&mut self).await {
                Ok(visit) => visit.run(&mut self).await,
                Err(refused) => (End::Refused(refused), None),
            };
            self.sight.leave();
            if end == End::Done {
                return;
            }
            self.ended(&end);
            let wait = match (&end, after) {
                (End::Left, _) => Duration::from_millis(self.rng.u64(0..500)),
                (_, Some(after)) => after,
                _ => self.back_off(),
            };
            sleep(wait).await;
        }
    }

    /// It is in.
    pub(crate) fn greeted(&mut self) {
        self.failures = 0;
    }

    /// As the protocol says, but sooner, so that it is the servers that are measured: 0.2 s, doubled each time up to 3 s.
    fn back_off(&mut self) -> Duration {
        let longest = Duration::from_millis(200 << self.failures.min(4)).min(Duration::from_secs(3));
        self.failures += 1;
        longest.mul_f64(self.rng.f64() / 2.0 + 0.5)
    }

    fn ended(&self, end: &End) {
        // While nothing fails there is no excuse.
        let troubled = !self.book.quiet.load(Relaxed);
        let (how, excused) = match end {
            End::Done | End::Left => ("left".to_owned(), true),
            End::Cut => ("cut off".to_owned(), troubled),
            End::Silent(what) => (format!("silent: no {what}"), troubled),
            End::Closed(code) => (code.to_string(), troubled && matches!(code, 4000 | 4003 | 4004)),
            End::Refused(what) => {
                let excused = ["status 502", "status 503", "status 504"].contains(&what.as_str());
                // A balancer that takes no connection, or one whose server ended in the midst of it.
                let excused = excused || !what.starts_with("status");
                (format!("refused: {what}"), troubled && excused)
            }
        };
        if !excused {
            self.book.wrong(Check::Answers, format_args!("{}: {how}", self.name));
        }
        self.book.closes.add(how);
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(*self.book.phase.borrow(), Phase::Run)
    }

    pub(crate) fn request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    /// Thinks of something to say, unless it knows of too little what became of it.
    pub(crate) fn say(&mut self) {
        if self.unsure.len() >= UNSURE {
            return;
        }
        let number = self.book.say(self.room, &self.name);
        let pad = "x".repeat(self.rng.usize(0..200));
        let content = format!("{number} {pad}");
        let nonce = format!("n{number}");
        let mut frame =
            json!({ "t": "send", "room_id": self.book.rooms[self.room], "nonce": nonce, "content": content });
        // Now and then, what has to be refused.
        let mut refusal = None;
        match (self.rng.u32(0..40), &self.used) {
            (0, Some(used)) => {
                frame["nonce"] = json!(used);
                refusal = Some("nonce_conflict");
            }
            (1, _) => {
                frame["reply_to"] = json!("01890000-0000-7000-8000-000000000000");
                refusal = Some("not_found");
            }
            _ => {}
        }
        self.unsure.push(Unsure {
            number,
            nonce,
            frame,
            refusal,
            due: Instant::now(),
        });
    }
}
