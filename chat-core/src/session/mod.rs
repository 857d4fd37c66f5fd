//! One connection, served by one task: it reads requests, sends what its rooms say, and watches the time.

mod feed;
mod requests;
mod send;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::Instrument;

use crate::engine::{Engine, Place, RoomLease};
use crate::outbox::{Closing, Item, Outbox};
use crate::rate::TokenBucket;
use crate::{
    Client, CloseCode, Connection, ConnectionReader, ConnectionWriter, ErrorCode, Inbound, Limits, Protocol, Start,
    User, metrics, wire,
};
use requests::Requests;
use send::{Finish, Sending};

/// How long a client that was told goodbye has to hang up.
const HANG_UP: Duration = Duration::from_secs(1);

/// How long a client that was closed for a flood is told to stay away, at least.
const FLOOD_PAUSE: Duration = Duration::from_secs(1);

/// What others know of a connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) user: User,
    pub(crate) protocol: Protocol,
    pub(crate) outbox: Outbox,
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
    /// Since when a pong is waited for.
    pinged: Option<Instant>,
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
    run(engine, place, client, room, connection).instrument(span)
}

async fn run<C: Connection>(
    engine: Arc<Engine>,
    place: Place,
    client: Client,
    room: Option<RoomLease>,
    connection: C,
) -> Ended {
    let Client {
        user,
        protocol,
        start,
        remote: _,
        expires_in,
        room: _,
    } = client;
    let outbox = Outbox::new(engine.limits.send_queue);
    let session = Arc::new(Session { user, protocol, outbox });
    if !place.fill(session.clone()) {
        session.outbox.close(Closing {
            code: CloseCode::Draining,
            after: Some(Duration::from_secs(1)),
            finish: true,
        });
    }
    tracing::debug!(?protocol, "connected");
    let (mut reader, mut writer) = connection.split();
    let now = Instant::now();
    let pulse = Mutex::new(Pulse {
        heard: now,
        listening: false,
        pinged: None,
    });
    let mut requests = Requests::new(engine.clone(), session.clone(), now);
    let end = {
        let read = pin!(read(
            &mut reader,
            &mut requests,
            room,
            start,
            &session,
            &pulse,
            &engine.limits
        ));
        let mut sending = Sending::new(&engine, &session, &pulse);
        let write = pin!(sending.run(&mut writer));
        let watch = pin!(watch(&engine, &session, &pulse, expires_in));
        // Writing first: what is queued goes out before more is taken in.
        tokio::select! {
            biased;
            end = write => end,
            end = read => end,
            end = watch => end,
            () = session.outbox.cut_off() => Finish::Gone,
        }
    };
    // The rooms forget the connection before it says goodbye.
    drop(requests);
    let code = match end {
        Finish::Gone => None,
        Finish::Close(closing) => {
            Box::pin(goodbye(
                engine.limits.write,
                protocol,
                closing,
                &mut reader,
                &mut writer,
            ))
            .await;
            Some(closing.code)
        }
    };
    metrics::closed(code);
    tracing::debug!(code = code.map(CloseCode::number), "disconnected");
    drop(place);
    Ended { code }
}

/// Tells the client that it is closed, and waits a moment for it to hang up: closing a socket with unread data in
/// it would reset the connection, and the goodbye with it.
async fn goodbye<R: ConnectionReader, W: ConnectionWriter>(
    limit: Duration,
    protocol: Protocol,
    closing: Closing,
    reader: &mut R,
    writer: &mut W,
) {
    let write = async {
        if protocol == Protocol::V1 {
            writer.send(&[wire::bye(closing.code, closing.after)]).await?;
        }
        writer.close(&closing.code.frame()).await
    };
    let hang_up = async { while !matches!(reader.recv().await, Err(_) | Ok(Inbound::Closed)) {} };
    let mut hang_up = pin!(hang_up);
    // A client that is still sending must be read from, or it may never come to read.
    tokio::select! {
        () = &mut hang_up => {}
        written = tokio::time::timeout(limit, write) => {
            if matches!(written, Ok(Ok(()))) {
                let _ = tokio::time::timeout(HANG_UP, hang_up).await;
            }
        }
    }
}

/// Takes requests one after the other, as fast as they are answered.
async fn read<R: ConnectionReader>(
    reader: &mut R,
    requests: &mut Requests,
    room: Option<RoomLease>,
    start: Start,
    session: &Session,
    pulse: &Mutex<Pulse>,
    limits: &Limits,
) -> Finish {
    if let Err(closing) = Box::pin(requests.begin(room, start)).await {
        session.outbox.close(closing);
        return std::future::pending().await;
    }
    // Of frames that ask for nothing, a few keep a connection alive; millions would keep a core busy.
    let mut control = limits.control_rate.map(|rate| TokenBucket::new(rate, Instant::now()));
    loop {
        requests.capacity().await;
        pulse.lock().listening = true;
        let inbound = reader.recv().await;
        let now = Instant::now();
        *pulse.lock() = Pulse {
            heard: now,
            listening: false,
            pinged: None,
        };
        if session.outbox.is_closing() {
            // What comes now isn't accepted; only a client that hangs up is of interest.
            match inbound {
                Err(_) | Ok(Inbound::Closed | Inbound::TooLarge) => return Finish::Gone,
                Ok(_) => continue,
            }
        }
        let close = |code| Closing {
            code,
            after: None,
            finish: true,
        };
        let closing = match inbound {
            Ok(Inbound::Text(text)) => match Box::pin(requests.handle(&text, now)).await {
                Ok(()) => continue,
                Err(closing) => closing,
            },
            Ok(Inbound::Ping | Inbound::Pong | Inbound::Fragment) => {
                match control.as_mut().map_or(Ok(()), |bucket| bucket.take(now)) {
                    Ok(()) => continue,
                    Err(wait) => {
                        metrics::refused(ErrorCode::RateLimited);
                        tracing::debug!("a flood of frames that ask for nothing");
                        Closing {
                            after: Some(wait.max(FLOOD_PAUSE)),
                            ..close(CloseCode::RateLimited)
                        }
                    }
                }
            }
            Ok(Inbound::Binary) => close(CloseCode::Unsupported),
            Ok(Inbound::TooLarge) => {
                // The stream can't be read any further.
                session.outbox.close(close(CloseCode::TooLarge));
                return std::future::pending().await;
            }
            Ok(Inbound::Closed) => return Finish::Gone,
            Err(error) => {
                tracing::debug!(error = %crate::engine::Chain(&error), "the connection broke");
                return Finish::Gone;
            }
        };
        session.outbox.close(closing);
    }
}

/// Pings a silent client, and closes one that doesn't answer or whose identity expires. One timer, looked at
/// only when it rings: nothing is done for each message.
async fn watch(engine: &Engine, session: &Session, pulse: &Mutex<Pulse>, expires_in: Option<Duration>) -> Finish {
    let limits = &engine.limits;
    let expires = expires_in.and_then(|span| Instant::now().checked_add(span));
    loop {
        let Pulse { heard, pinged, .. } = *pulse.lock();
        let due = pinged.map_or(heard + limits.ping, |pinged| pinged + limits.pong);
        tokio::time::sleep_until(expires.map_or(due, |expires| due.min(expires))).await;
        let now = Instant::now();
        if expires.is_some_and(|expires| expires <= now) {
            session.outbox.close(Closing {
                code: CloseCode::Unauthenticated,
                after: None,
                finish: true,
            });
            return std::future::pending().await;
        }
        let mut pulse = pulse.lock();
        if !pulse.listening {
            // A request is under way, or the client doesn't take what it is sent; the time-out of writing sees to that.
            *pulse = Pulse {
                heard: now,
                listening: false,
                pinged: None,
            };
            continue;
        }
        match pulse.pinged {
            Some(pinged) if pinged + limits.pong <= now => {
                session.outbox.close(Closing {
                    code: CloseCode::Timeout,
                    after: None,
                    finish: false,
                });
                break;
            }
            None if pulse.heard + limits.ping <= now => {
                pulse.pinged = Some(now);
                session.outbox.push(Item::Ping);
            }
            _ => {}
        }
    }
    std::future::pending().await
}
