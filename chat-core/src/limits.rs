//! How much anybody may use, and for how long.

use std::time::Duration;

use crate::{RoomId, presence};

/// How much anybody may use, and for how long. Every limit is on by default.
///
/// A count is 1 to 2,147,483,647, a span at most a year: [`HubBuilder::build`](crate::HubBuilder::build) refuses others.
///
/// ```
/// # use roomcast_core::Limits;
/// let mut limits = Limits::default();
/// limits.message_bytes = 4 * 1024;
/// limits.connections_per_user = 4;
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// The largest inbound frame, and the most that content and data of one message may take. Bytes; 64 KiB.
    pub message_bytes: usize,
    /// How fast one connection may send frames; 20 a second with a burst of 40. What goes beyond is refused, and a connection
    /// that goes on is closed with [`CloseCode::RateLimited`](crate::CloseCode): once five bursts more were refused than let
    /// through, counted until it keeps still for a while. `None` is no limit.
    pub rate: Option<Rate>,
    /// How fast one connection may send what asks for nothing: pings, pongs, and pieces of messages that aren't whole yet.
    /// 200 a second with a burst of 1,000; what goes beyond is closed with [`CloseCode::RateLimited`](crate::CloseCode).
    /// `None` is no limit.
    pub control_rate: Option<Rate>,
    /// Rooms that one connection may be in; 128.
    pub rooms_per_connection: usize,
    /// Connections in all; 100,000.
    pub connections: usize,
    /// Connections of one user; 64.
    pub connections_per_user: usize,
    /// Messages of one connection that wait for their commit; further frames are not read until one is committed. 256.
    pub in_flight: usize,
    /// How much may wait to be sent to one connection; 256 messages and 1 MiB, whichever is first. A room whose messages
    /// don't fit is caught up from the log.
    pub send_queue: QueueLimit,
    /// How long a connection may lag behind the live stream before it is closed as too slow, and how long the store that it
    /// catches up from may fail before it is closed as unavailable; 30 s.
    pub catch_up: Duration,
    /// How long a connection may stay silent before it is pinged; 25 s.
    pub ping: Duration,
    /// How long it has to answer a ping; 10 s.
    pub pong: Duration,
    /// How long one write may take: of up to 64 KiB, and as long again for each further 64 KiB of a frame that is larger; then
    /// the client is taken for dead. What counts is when the transport takes it. Linux says that a socket has room again when a
    /// third of its buffer is free, and lets that grow to megabytes: a client that is far behind may then need 100 KB a second.
    /// The entrances of `roomcast-ws` set `TCP_NOTSENT_LOWAT` to 128 KiB against that, where the stream is TCP or the listener's
    /// TLS, and some 26 KB a second are enough; so can a transport of your own. 5 s.
    pub write: Duration,
    /// How long a client has from being accepted to being admitted: TLS, the request, authentication and the policy's
    /// answer. 10 s.
    pub handshake: Duration,
    /// Which characters room ids may have, within what [`RoomId::new`] allows; [`RoomId::is_plain_char`].
    pub room_id_char: fn(char) -> bool,
    /// Messages in a history page for which no limit was given; 50.
    pub history_page: usize,
    /// Messages in a history page at most, and of `last`; 200.
    pub history_page_max: usize,
    /// How much of each room that has members is kept in memory, so that most resumes need no store; 1,024 entries
    /// and 1 MiB, whichever is first.
    pub tail: QueueLimit,
    /// How much may wait for its commit in one room; 4,096 messages and 16 MiB. Senders wait for a place.
    pub commit_queue: QueueLimit,
    /// How much one append to the store carries; 1,024 messages and 1 MiB. What is more than half of a
    /// [`send_queue`](Self::send_queue) is broadcast in parts.
    pub commit_batch: QueueLimit,
    /// How long a message may wait for its commit before its sender is told that it is unknown whether it is stored; 10 s.
    /// A connection that is to be closed waits as long for the answers to what was asked on it.
    pub commit: Duration,
    /// How long one read of the store may take; 10 s.
    pub store_read: Duration,
    /// How many users of one room are known by name where somebody asked for its [presence](crate::Presence); the others are
    /// counted. 1,000.
    pub presence_users: usize,
    /// How often hubs tell each other who is in the rooms whose presence somebody asked for, a little less at random; a hub
    /// that isn't heard of for three times as long is taken for dead, and its users leave. 10 s, and at most 20 minutes.
    pub presence_heartbeat: Duration,
    /// How often the head of each room that has members is compared with the store's, so that entries that another hub
    /// wrote to the same store are seen even if nobody tells this one; a join looks as well. Rooms are looked at one after the
    /// other, and this is the pause after all of them. 30 s.
    pub head_check: Duration,
    /// How long the policy may take for one answer; 10 s. Then the request is refused as
    /// [`Unavailable`](crate::ErrorCode::Unavailable).
    pub policy: Duration,
    /// Over how long a stopping hub spreads the return of its clients; 10 s.
    pub drain_spread: Duration,
}

/// A rate as a token bucket: so many a second in the long run, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Frames a second.
    pub per_second: f64,
    /// Frames at once.
    pub burst: u32,
}

/// How much a queue may hold: it is full at whichever bound is met first.
///
/// Bytes are those of the frames in [`Limits::send_queue`], which are shared by all who get them. In [`Limits::tail`],
/// [`Limits::commit_queue`] and [`Limits::commit_batch`] they are about what the messages take in memory: `data` that is made
/// of many small values takes up to a hundred times its length as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimit {
    /// Messages.
    pub messages: usize,
    /// Bytes.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 64 << 10,
            rate: Some(Rate {
                per_second: 20.0,
                burst: 40,
            }),
            control_rate: Some(Rate {
                per_second: 200.0,
                burst: 1000,
            }),
            rooms_per_connection: 128,
            connections: 100_000,
            connections_per_user: 64,
            in_flight: 256,
            send_queue: QueueLimit {
                messages: 256,
                bytes: 1 << 20,
            },
            catch_up: Duration::from_secs(30),
            ping: Duration::from_secs(25),
            pong: Duration::from_secs(10),
            write: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            room_id_char: RoomId::is_plain_char,
            history_page: 50,
            history_page_max: 200,
            tail: QueueLimit {
                messages: 1024,
                bytes: 1 << 20,
            },
            commit_queue: QueueLimit {
                messages: 4096,
                bytes: 16 << 20,
            },
            commit_batch: QueueLimit {
                messages: 1024,
                bytes: 1 << 20,
            },
            commit: Duration::from_secs(10),
            store_read: Duration::from_secs(10),
            presence_users: 1000,
            presence_heartbeat: Duration::from_secs(10),
            head_check: Duration::from_secs(30),
            policy: Duration::from_secs(10),
            drain_spread: Duration::from_secs(10),
        }
    }
}

/// A setting that makes no sense. The text names it and says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidLimit(String);

/// The most that may be counted, messages and bytes alike.
const MOST: usize = i32::MAX as usize;

/// The longest span: so that every moment can be reckoned with.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

impl Limits {
    /// Checks that the hub could work with these.
    pub(crate) fn check(&self) -> Result<(), InvalidLimit> {
        let counts = [
            ("message_bytes", self.message_bytes),
            ("rooms_per_connection", self.rooms_per_connection),
            ("connections", self.connections),
            ("connections_per_user", self.connections_per_user),
            ("in_flight", self.in_flight),
            ("send_queue.messages", self.send_queue.messages),
            ("send_queue.bytes", self.send_queue.bytes),
            ("history_page", self.history_page),
            ("history_page_max", self.history_page_max),
            ("presence_users", self.presence_users),
            ("tail.messages", self.tail.messages),
            ("tail.bytes", self.tail.bytes),
            ("commit_queue.messages", self.commit_queue.messages),
            ("commit_queue.bytes", self.commit_queue.bytes),
            ("commit_batch.messages", self.commit_batch.messages),
            ("commit_batch.bytes", self.commit_batch.bytes),
        ];
        for (name, count) in counts {
            if !(1..=MOST).contains(&count) {
                return Err(InvalidLimit(format!(
                    "the limit {name} is {count}; allowed are 1 to {MOST}"
                )));
            }
        }
        let spans = [
            ("catch_up", self.catch_up),
            ("ping", self.ping),
            ("pong", self.pong),
            ("write", self.write),
            ("handshake", self.handshake),
            ("commit", self.commit),
            ("store_read", self.store_read),
            ("presence_heartbeat", self.presence_heartbeat),
            ("head_check", self.head_check),
            ("policy", self.policy),
        ];
        for (name, span) in spans {
            if span.is_zero() {
                return Err(InvalidLimit(format!("the limit {name} is 0 s; it must be longer")));
            }
        }
        for (name, span) in spans.into_iter().chain([("drain_spread", self.drain_spread)]) {
            if span > LONGEST {
                return Err(InvalidLimit(format!(
                    "the limit {name} is {} s; allowed are at most {} (a year)",
                    span.as_secs(),
                    LONGEST.as_secs()
                )));
            }
        }
        let (beat, most) = (self.presence_heartbeat, presence::LONGEST_HEARTBEAT);
        if beat > most {
            return Err(InvalidLimit(format!(
                "the limit presence_heartbeat is {} s; allowed are at most {}",
                beat.as_secs(),
                most.as_secs()
            )));
        }
        let (page, most) = (self.history_page, self.history_page_max);
        if page > most {
            return Err(InvalidLimit(format!(
                "the limit history_page is {page}; allowed are at most history_page_max, {most}"
            )));
        }
        for (name, rate) in [("rate", self.rate), ("control_rate", self.control_rate)] {
            if let Some(rate) = rate
                && !(rate.burst >= 1 && rate.per_second > 0.0 && rate.per_second.is_finite())
            {
                return Err(InvalidLimit(format!(
                    "the limit {name} is {} a second with a burst of {}; allowed are more than 0, and at least 1",
                    rate.per_second, rate.burst
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(set: impl FnOnce(&mut Limits)) -> String {
        let mut limits = Limits::default();
        set(&mut limits);
        limits.check().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_sound_and_nonsense_is_named() {
        Limits::default().check().unwrap();
        let cases = [
            (
                refused(|limits| limits.in_flight = 0),
                "the limit in_flight is 0; allowed are 1 to 2147483647",
            ),
            (
                refused(|limits| limits.send_queue.messages = 1 << 31),
                "the limit send_queue.messages is 2147483648; allowed are 1 to 2147483647",
            ),
            (
                refused(|limits| limits.write = Duration::ZERO),
                "the limit write is 0 s; it must be longer",
            ),
            (
                refused(|limits| limits.ping = Duration::from_secs(40_000_000)),
                "the limit ping is 40000000 s; allowed are at most 31536000 (a year)",
            ),
            (
                refused(|limits| limits.history_page = 201),
                "the limit history_page is 201; allowed are at most history_page_max, 200",
            ),
            (
                refused(|limits| limits.presence_users = 0),
                "the limit presence_users is 0; allowed are 1 to 2147483647",
            ),
            (
                refused(|limits| limits.presence_heartbeat = Duration::from_secs(1201)),
                "the limit presence_heartbeat is 1201 s; allowed are at most 1200",
            ),
        ];
        for (got, expected) in cases {
            assert_eq!(got, expected);
        }
        for per_second in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
            refused(|limits| limits.rate = Some(Rate { per_second, burst: 1 }));
        }
    }

    #[test]
    fn no_span_is_too_long_to_reckon_with() {
        let set: [fn(&mut Limits); 9] = [
            |limits| limits.catch_up = Duration::MAX,
            |limits| limits.ping = Duration::MAX,
            |limits| limits.pong = Duration::MAX,
            |limits| limits.write = Duration::MAX,
            |limits| limits.handshake = Duration::MAX,
            |limits| limits.commit = Duration::MAX,
            |limits| limits.store_read = Duration::MAX,
            |limits| limits.policy = Duration::MAX,
            |limits| limits.drain_spread = Duration::MAX,
        ];
        for set in set {
            assert!(refused(set).contains("at most 31536000"));
        }
    }
}
