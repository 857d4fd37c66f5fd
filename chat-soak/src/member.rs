//! A member of a room: it talks, leaves and comes back with its cursor, and looks whether it sees everything.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use fastrand::Rng;

use crate::book::{Book, Check};
use crate::socket::wait;
use crate::visit::{End, Visit};
use chat_driver::sight::Sight;

/// A member that has nothing to do is looked at so often, on the average.
const TURN: Duration = Duration::from_secs(4);

/// How a member behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Stays all the time; the first thing it does is to fill its room.
    Resident,
    /// Leaves after a while, properly, and comes back.
    Steady,
    /// Its connection breaks in the midst of what it does, again and again.
    Vanishing,
    /// Says much and often.
    Loud,
    /// Stops reading for less time than a write may take.
    Pausing,
    /// Reads less than is said. It is sent away in the end, and comes back.
    Trickling,
    /// Stops reading for longer. It may be sent away, and comes back.
    Stalling,
}

impl Manner {
    /// Whether times say nothing, since it doesn't read all the time.
    pub(crate) fn is_slow(self) -> bool {
        self == Self::Pausing || self.is_too_slow()
    }

    /// Whether the server may send it away for being slow. These have a small receive buffer, so that the server soon
    /// can't write; it makes them slow even while they read.
    pub(crate) fn is_too_slow(self) -> bool {
        matches!(self, Self::Trickling | Self::Stalling)
    }

    /// How long it stays at a time, in seconds.
    fn stays(self) -> Option<std::ops::Range<u64>> {
        match self {
            Self::Resident | Self::Loud => None,
            Self::Steady => Some(20..120),
            Self::Vanishing => Some(2..60),
            Self::Trickling => None,
            Self::Pausing | Self::Stalling => Some(60..180),
        }
    }
}

pub(crate) struct Member {
    pub(crate) book: Arc<Book>,
    pub(crate) rng: Rng,
    pub(crate) name: Arc<str>,
    pub(crate) room: usize,
    pub(crate) manner: Manner,
    pub(crate) sight: Sight,
    /// What it said and doesn't know to be stored.
    pub(crate) unsure: Vec<Said>,
    /// Its own messages that it may edit or delete.
    pub(crate) own: Vec<String>,
    /// Numbers requests and nonces.
    last: u64,
    /// Messages that it says before all else.
    pub(crate) fill: usize,
    restless: bool,
}

/// Something that it said.
pub(crate) struct Said {
    pub(crate) nonce: String,
    pub(crate) content: String,
    pub(crate) tries: u32,
    /// Not sent before this time.
    pub(crate) due: tokio::time::Instant,
}

impl Member {
    pub(crate) fn new(book: &Arc<Book>, seed: u64, name: String, room: usize, manner: Manner) -> Self {
        let fill = if manner == Manner::Resident { book.plan.fill } else { 0 };
        if fill > 0 {
            book.filling.fetch_add(1, Relaxed);
        }
        book.restless.fetch_add(1, Relaxed);
        Self {
            book: Arc::clone(book),
            rng: Rng::with_seed(seed),
            name: name.into(),
            room,
            manner,
            sight: Sight::default(),
            unsure: Vec::new(),
            own: Vec::new(),
            last: 0,
            fill,
            restless: true,
        }
    }

    /// Lives until the run is finished and it has seen all there is.
    pub(crate) async fn run(mut self, delay: Duration) {
        wait(&self.book, delay).await;
        if self.sight.since().is_none() && !self.book.is_running() {
            // It never came.
            return self.rest(true);
        }
        loop {
            let stay = self.manner.stays().map(|span| Duration::from_secs(self.rng.u64(span)));
            let end = match Visit::enter(&mut self, stay).await {
                Ok(visit) => visit.run(&mut self).await,
                Err(refused) => End::Refused(refused),
            };
            self.sight.leave();
            if end == End::Done {
                return self.rest(true);
            }
            self.rest(false);
            self.ended(&end);
            wait(&self.book, Duration::from_millis(self.rng.u64(50..5_000))).await;
            // Not in a tight loop, whatever the server answers.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn ended(&self, end: &End) {
        let stopping = self.book.stopping.load(Relaxed);
        let (how, excused) = match end {
            End::Done | End::Left => ("left".to_owned(), true),
            End::Vanished => ("vanished".to_owned(), true),
            End::Cut => ("cut off".to_owned(), self.manner.is_too_slow()),
            End::Closed(code) => (
                code.to_string(),
                stopping || self.manner.is_too_slow() && matches!(code, 4001 | 4004),
            ),
            End::Refused(what) => (format!("refused: {what}"), false),
            // Behind all that it hasn't read yet.
            End::Unanswered(what) => (format!("no answer to {what}"), self.manner.is_too_slow()),
        };
        if !excused {
            let (name, manner) = (&self.name, self.manner);
            self.book
                .wrong(Check::Answers, format_args!("{name}, {manner:?}: {how}"));
        }
        self.book.closed(how);
    }

    /// Says whether it has nothing under way and is where it belongs.
    pub(crate) fn rest(&mut self, rests: bool) {
        if self.restless == rests {
            self.restless = !rests;
            if rests {
                self.book.restless.fetch_sub(1, Relaxed);
            } else {
                self.book.restless.fetch_add(1, Relaxed);
            }
        }
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Thinks of something to say.
    pub(crate) fn say(&mut self) {
        let number = self.number();
        let nonce = format!("n{number}");
        // Those whose connections break would measure how long they were away, and before the load nothing is measured.
        let micros = match self.manner {
            _ if self.fill > 0 => 0,
            Manner::Resident | Manner::Steady | Manner::Loud => self.book.start.elapsed().as_micros(),
            _ => 0,
        };
        let length = match self.manner {
            Manner::Loud => 8 << 10,
            _ => self.rng.usize(0..200),
        };
        let pad = "x".repeat(length);
        let content = format!("{}-{number} {micros} hello {pad}", self.name);
        self.unsure.push(Said {
            nonce,
            content,
            tries: 0,
            due: tokio::time::Instant::now(),
        });
    }

    /// How long it is until it is looked at again.
    pub(crate) fn pause(&mut self) -> Duration {
        self.mean_pause().min(TURN).mul_f64(self.rng.f64() * 2.0)
    }

    /// Whether it does something at this turn; who does so seldom has turns all the same.
    pub(crate) fn feels_like_it(&mut self) -> bool {
        if self.manner == Manner::Trickling {
            // It has a turn after each frame that it reads.
            return self.rng.u32(0..50) == 0;
        }
        self.mean_pause().mul_f64(self.rng.f64()) <= TURN
    }

    /// How long it is between two things that it does, on the average.
    fn mean_pause(&self) -> Duration {
        match self.manner {
            // In bursts, and yet below the rate that a connection has.
            _ if self.fill > 0 => Duration::from_millis(58),
            Manner::Loud => Duration::from_millis(330),
            Manner::Resident | Manner::Steady => self.book.plan.pause,
            Manner::Vanishing => self.book.plan.pause / 2,
            Manner::Pausing | Manner::Trickling | Manner::Stalling => Duration::from_secs(8),
        }
    }
}
