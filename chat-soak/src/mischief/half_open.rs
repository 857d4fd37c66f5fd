//! Connections at whose other end nobody is.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use super::{Rogue, expect};
use crate::http::get;
use crate::socket::{Ended, Raw, until_end};

pub(crate) struct HalfOpen {
    pub(super) name: &'static str,
    how: How,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// Connected, and says nothing.
    Silent,
    /// Begins a request.
    Beginning,
    /// Reads, and answers no ping.
    NoPongs,
    /// Neither reads nor answers, as if its machine had lost the network.
    Vanished,
    /// The same where so much is said that the server can't write any more.
    Deaf,
}

pub(super) static ALL: &[HalfOpen] = &[
    HalfOpen {
        name: "half open: no request",
        how: How::Silent,
    },
    HalfOpen {
        name: "half open: half a request",
        how: How::Beginning,
    },
    HalfOpen {
        name: "half open: no pongs",
        how: How::NoPongs,
    },
    HalfOpen {
        name: "half open: vanished",
        how: How::Vanished,
    },
    HalfOpen {
        name: "half open: vanished where much is said",
        how: How::Deaf,
    },
];

/// What a client has for its request, and what it may take more under load.
const REQUEST: Duration = Duration::from_secs(10);

/// Pinged after 25 s of silence, given up 10 s later.
const PING_PONG: Duration = Duration::from_secs(35);

/// How much later than promised something may happen under load.
const LATE: Duration = Duration::from_secs(6);

/// How long it takes to read what the system kept meanwhile.
const DRAIN: Duration = Duration::from_secs(20);

impl HalfOpen {
    pub(super) fn deaf(&self) -> bool {
        self.how == How::Deaf
    }

    pub(super) async fn perform(&self, rogue: &Rogue) -> Result<(), String> {
        let text = |error: std::io::Error| error.to_string();
        // Before the server can count from: what it does too early is early indeed.
        let (book, begun) = (&rogue.book, Instant::now());
        match self.how {
            How::Silent | How::Beginning => {
                let mut raw = Raw::connect(book).await.map_err(text)?;
                if self.how == How::Beginning {
                    raw.write
                        .write_all(b"GET /ws/rogues HTTP/1.1\r\nHost: loc")
                        .await
                        .map_err(text)?;
                }
                let ended = until_end(&mut raw.read, REQUEST + LATE).await;
                in_time(&ended, begun.elapsed(), REQUEST)?;
                expect(&ended, None, false)
            }
            How::NoPongs => {
                let mut raw = Raw::enter(book, &rogue.path(), true, false).await.map_err(text)?;
                let ended = until_end(&mut raw.read, PING_PONG + LATE).await;
                in_time(&ended, begun.elapsed(), PING_PONG)?;
                if ended.pings != 1 {
                    return Err(format!("pinged {} times", ended.pings));
                }
                expect(&ended, Some(4004), true)
            }
            How::Vanished => lie_dead(rogue, book.plan.rogue_room()).await,
            How::Deaf => lie_dead(rogue, book.plan.loud()).await,
        }
    }
}

/// Enters the room and never does anything again, until the server has to have let go.
async fn lie_dead(rogue: &Rogue, room: usize) -> Result<(), String> {
    let (book, name) = (&rogue.book, &rogue.name);
    let room = &book.rooms[room];
    let entered = Raw::enter(book, &format!("/ws/{room}?user={name}"), true, false).await;
    let mut raw = entered.map_err(|error| error.to_string())?;
    sleep(PING_PONG + LATE).await;
    let there = get(book, &format!("/api/rooms/{room}/members?user={name}"))
        .await?
        .expect(200)?;
    let there = there.json()?;
    let users = there["users"].as_array().ok_or("no list of members")?;
    if users.iter().any(|user| user["id"] == **name) {
        return Err("still a member".to_owned());
    }
    gone(&until_end(&mut raw.read, DRAIN).await)
}

fn in_time(ended: &Ended, took: Duration, due: Duration) -> Result<(), String> {
    if ended.still_open || took >= due {
        Ok(())
    } else {
        Err(format!(
            "ended after {} ms, where it has {} s",
            took.as_millis(),
            due.as_secs()
        ))
    }
}

/// Behind what the server sent before there is an end. Where it couldn't write, it couldn't say why
/// either.
fn gone(ended: &Ended) -> Result<(), String> {
    match ended.code {
        Some(code) if code != 4004 && code != 4001 => expect(ended, Some(4004), true),
        code => expect(ended, code, ended.bye().is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_kept_or_dropped_too_early_is_noticed() {
        let ended = Ended::default;
        in_time(&ended(), Duration::from_secs(9), REQUEST).unwrap_err();
        in_time(&ended(), REQUEST, REQUEST).unwrap();
        gone(&ended()).unwrap();
        gone(&Ended {
            still_open: true,
            ..ended()
        })
        .unwrap_err();
        gone(&Ended {
            code: Some(4002),
            ..ended()
        })
        .unwrap_err();
    }
}
