//! One connection, served by one task: it reads requests, sends what its rooms say, and watches the time.

mod feed;
mod requests;
mod send;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::Instrument;

use crate::client::JoinOptions;
use crate::engine::{Engine, Place, RoomLease};
use crate::outbox::{Closing, Item, Outbox, Phase};
use crate::{
    Client, CloseCode, Connection, ConnectionReader, ConnectionWriter, Inbound, Protocol, User, metrics, wire,
};
use requests::Requests;
use send::{End, Sending};

/// How long a client that was told goodbye has to hang up.
const HANG_UP: Duration = Duration::from_secs(1);

/// What others know of a connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) user: User,
    pub(crate) protocol: Protocol,
    pub(crate) outbox: Outbox,
}

/// Wakes the connection's task for all of its parts. What its rooms push wakes it to send, and for nothing else.
impl Wake for Session {
    fn wake(self: Arc<Self>) {
        self.outbox.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.outbox.ring();
    }
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// Why the server closed it; `None` if the client left or the connection broke.
    pub code: Option<CloseCode>,
}

/// What the reading part of a connection's task tells the watching part. All of one task, so never contended.
#[derive(Debug, Clone, Copy)]
struct Pulse {
    /// When something last came from the client.
    heard: Instant,
    /// Whether the client is being listened to now; else its silence says nothing.
    listening: bool,
    ping: Ping,
}

/// Whether the client was asked for a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ping {
    No,
    /// It is to be asked as soon as it has taken what was sent before.
    Wanted,
    /// It was asked then.
    Sent(Instant),
}

/// Serves a connection to its end.
pub(crate) fn serve<C: Connection>(
    engine: Arc<Engine>,
    place: Place,
    client: Client,
    room: Option<RoomLease>,
    connection: C,
) -> impl Future<Output = Ended> + Send {
    let span = tracing::debug_span!("connection", user = %client.user.id(), remote = ?client.remote);
    let Client {
        user,
        protocol,
        options,
        remote: _,
        expires_in,
        room: _,
    } = client;
    let outbox = Outbox::new(engine.limits.send_queue);
    let session = Arc::new(Session { user, protocol, outbox });
    // Taken apart here, so that the task doesn't have the room of what it needs only at its beginning.
    let first = room.map(|room| Box::new((room, options)));
    run(engine, place, session, first, expires_in, connection).instrument(span)
}

async fn run<C: Connection>(
    engine: Arc<Engine>,
    place: Place,
    session: Arc<Session>,
    first: Option<Box<(RoomLease, JoinOptions)>>,
    expires_in: Option<Duration>,
    connection: C,
) -> Ended {
    let protocol = session.protocol;
    place.fill(&session);
    tracing::debug!(?protocol, "connected");
    let (mut reader, mut writer) = connection.split();
    let now = Instant::now();
    let pulse = Mutex::new(Pulse {
        heard: now,
        listening: false,
        ping: Ping::No,
    });
    let mut requests = Requests::new(engine.clone(), session.clone(), first, now);
    let end = {
        let mut read = pin!(read(&mut reader, &mut requests, &session, &pulse));
        let mut sending = Sending::new(&engine, &session, &pulse);
        let mut write = pin!(sending.run(&mut writer));
        let mut watch = pin!(watch(&engine, &session, &pulse, expires_in));
        let mut write_first = false;
        let mut phase = Phase::Open;
        let bell = Waker::from(session.clone());
        poll_fn(|cx| {
            let (now, rung) = session.outbox.poll_phase(cx);
            let before = std::mem::replace(&mut phase, now);
            if phase == Phase::Cut {
                return Poll::Ready(End::Gone);
            }
            // One waker for all parts: those of a connection may share what they wait for.
            let cx = &mut Context::from_waker(&bell);
            if !rung && phase == before {
                return write.as_mut().poll(cx);
            }
            // In turns: whichever is first may use up what tokio lets a task do at a time. When the connection is to end, a
            // request that is given up is answered before the goodbye.
            write_first = !write_first && phase == before;
            if write_first && let Poll::Ready(end) = write.as_mut().poll(cx) {
                return Poll::Ready(end);
            }
            match watch.as_mut().poll(cx) {
                Poll::Ready(never) => match never {},
                Poll::Pending => {}
            }
            if let Poll::Ready(Gone) = read.as_mut().poll(cx) {
                return Poll::Ready(End::Gone);
            }
            if write_first {
                Poll::Pending
            } else {
                write.as_mut().poll(cx)
            }
        })
        .await
    };
    let hello = requests.late_hello();
    // The rooms forget the connection before it says goodbye.
    drop(requests);
    let closing = session.outbox.closing().filter(|_| end != End::Gone);
    let code = closing.map(|closing| closing.code);
    if let Some(Closing { code, after, .. }) = closing {
        let says = end == End::Goodbye && protocol == Protocol::V1;
        let bye = says.then(|| hello.into_iter().chain([wire::bye(code, after)]).collect());
        let goodbye = goodbye(engine.limits.write, code, bye, &mut reader, &mut writer);
        Box::pin(async {
            tokio::select! {
                biased;
                () = goodbye => {}
                () = session.outbox.cut_off() => {}
            }
        })
        .await;
    }
    metrics::closed(code);
    tracing::debug!(code = code.map(CloseCode::number), "disconnected");
    drop(place);
    Ended { code }
}

/// Tells the client that it is closed, and waits a moment for it to hang up: closing a socket with unread data in
/// it would reset the connection, and the goodbye with it.
async fn goodbye<R: ConnectionReader, W: ConnectionWriter>(
    limit: Duration,
    code: CloseCode,
    bye: Option<Vec<Bytes>>,
    reader: &mut R,
    writer: &mut W,
) {
    let write = async {
        if let Some(bye) = bye {
            writer.send(&bye).await?;
        }
        writer.close(&code.frame()).await
    };
    let mut hang_up = pin!(read_to_end(reader));
    tokio::select! {
        biased;
        written = tokio::time::timeout(limit, write) => {
            if matches!(written, Ok(Ok(()))) {
                let _ = tokio::time::timeout(HANG_UP, hang_up).await;
            }
        }
        () = &mut hang_up => {}
    }
}

/// The client is gone.
struct Gone;

/// Takes requests until the connection is to end, and then reads to the client's end of it.
async fn read<R: ConnectionReader>(
    reader: &mut R,
    requests: &mut Requests,
    session: &Session,
    pulse: &Mutex<Pulse>,
) -> Gone {
    let requested = {
        // Whatever a request is waiting for: a policy, the store, a place among what waits for its commit.
        let requests = pin!(take_requests(reader, requests, session, pulse));
        session.outbox.before(Phase::Ending, requests).await
    };
    requests.leave_all();
    if !matches!(requested, Some(Err(Gone))) {
        read_to_end(reader).await;
    }
    Gone
}

/// A client that is still sending must be read from, or it may never come to read. What it sends isn't looked at.
async fn read_to_end<R: ConnectionReader>(reader: &mut R) {
    while !matches!(reader.recv().await, Err(_) | Ok(Inbound::Closed)) {}
}

/// Takes requests one after the other, as fast as they are answered, until the connection is to end.
async fn take_requests<R: ConnectionReader>(
    reader: &mut R,
    requests: &mut Requests,
    session: &Session,
    pulse: &Mutex<Pulse>,
) -> Result<(), Gone> {
    if let Err(closing) = Box::pin(requests.begin()).await {
        session.outbox.close(closing);
        return Ok(());
    }
    loop {
        let inbound = {
            let next = pin!(async {
                requests.capacity().await;
                pulse.lock().listening = true;
                reader.recv().await
            });
            session.outbox.before(Phase::Finishing, next).await
        };
        let Some(inbound) = inbound else { return Ok(()) };
        let now = Instant::now();
        *pulse.lock() = Pulse {
            heard: now,
            listening: false,
            ping: Ping::No,
        };
        let code = match inbound {
            Ok(Inbound::Text(text)) => {
                if let Err(closing) = Box::pin(requests.handle(&text, now)).await {
                    session.outbox.close(closing);
                }
                continue;
            }
            Ok(Inbound::Ping | Inbound::Pong | Inbound::Fragment) => {
                if let Err(closing) = requests.handle_control(now) {
                    session.outbox.close(closing);
                }
                continue;
            }
            Ok(Inbound::Binary) => CloseCode::Unsupported,
            Ok(Inbound::TooLarge) => CloseCode::TooLarge,
            Ok(Inbound::Closed) => return Err(Gone),
            Err(error) => {
                tracing::debug!(error = %crate::engine::Chain(&error), "the connection broke");
                return Err(Gone);
            }
        };
        session.outbox.close(Closing {
            code,
            after: None,
            finish: true,
        });
    }
}

/// Watches the time: pings a silent client, and closes one that doesn't answer, or whose identity expires, or that is to go and
/// takes too long. One timer, looked at only when it rings: nothing is done for each message.
async fn watch(engine: &Engine, session: &Session, pulse: &Mutex<Pulse>, expires_in: Option<Duration>) -> Infallible {
    let limits = &engine.limits;
    let expires = expires_in.and_then(|span| Instant::now().checked_add(span));
    loop {
        let Pulse { heard, ping, .. } = *pulse.lock();
        let due = match ping {
            Ping::No => heard + limits.ping,
            Ping::Wanted => Instant::now() + limits.pong,
            Ping::Sent(at) => at + limits.pong,
        };
        let rang = {
            let timer = tokio::time::sleep_until(expires.map_or(due, |expires| due.min(expires)));
            let timer = pin!(timer);
            session.outbox.before(Phase::Finishing, timer).await
        };
        let now = Instant::now();
        if rang.is_none() {
            break;
        }
        if expires.is_some_and(|expires| expires <= now) {
            session.outbox.close(Closing {
                code: CloseCode::Unauthenticated,
                after: None,
                finish: false,
            });
            break;
        }
        let mut pulse = pulse.lock();
        if !pulse.listening {
            // A request is under way, or the client doesn't take what it is sent; the time-out of writing sees to that.
            *pulse = Pulse {
                heard: now,
                listening: false,
                ping: Ping::No,
            };
            continue;
        }
        match pulse.ping {
            Ping::Sent(at) if at + limits.pong <= now => {
                session.outbox.close(Closing {
                    code: CloseCode::Timeout,
                    after: None,
                    finish: false,
                });
                break;
            }
            Ping::No if pulse.heard + limits.ping <= now => {
                pulse.ping = Ping::Wanted;
                session.outbox.push(Item::Ping);
            }
            _ => {}
        }
    }
    let finishing = session.outbox.phase() == Phase::Finishing;
    tokio::time::sleep(if finishing { limits.commit } else { limits.write }).await;
    session.outbox.hurry();
    std::future::pending().await
}

#[cfg(all(test, roomcast_loom))]
mod interleavings;
#[cfg(all(test, not(roomcast_loom)))]
mod model;
