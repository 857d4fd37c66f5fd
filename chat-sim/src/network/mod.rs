//! Connections that are slow, stop, and break: some carry whole frames, which shows what the engine makes of it; the others
//! are the real WebSocket over a stream of bytes.

mod odd;
mod pipe;
mod socket;
mod whole;

use std::sync::Arc;
use std::time::Duration;

use roomcast_core::{Admission, Bytes, ConnectionError};
use serde::Deserialize;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::frame::Frame;
use crate::oracle::{ConnId, Event, HubId};
use crate::rng::Rng;
use crate::world::{Node, World};

/// How long a client that says goodbye waits for the answer.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a client gets.
#[derive(Debug)]
pub(crate) enum Down {
    Frame(Box<Frame>),
    Close(u16),
    /// The connection is no more.
    Gone,
}

/// What a client sends.
#[derive(Debug)]
pub(crate) enum Up {
    Text(String),
    /// A binary frame, which no protocol of the hub has.
    Binary,
    /// More than one message may have.
    TooLarge,
    /// What is no WebSocket frame, or not where it stands.
    Broken,
    /// A ping of the transport.
    Ping,
}

/// How a client ends a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Leave {
    /// It hangs up: what is on its way may be lost.
    Abruptly,
    /// With a close frame, and then it waits for the answer.
    Politely,
    /// It ends its own direction and listens on.
    ByHalf,
    /// The same in the middle of a frame.
    MidFrame,
}

/// The client's end.
pub(crate) enum ClientEnd {
    Whole(whole::Client),
    Socket(Box<socket::Client>),
}

/// Opens the connection of a client that was let in, of whichever kind.
pub(crate) fn connect(world: &Arc<World>, conn: ConnId, node: &Node, admission: Admission, rng: Rng) -> ClientEnd {
    let line = Line {
        world: world.clone(),
        hub: node.id,
        conn,
    };
    let socket = rng.chance(world.plan.sockets);
    world.see(&Event::Served { conn, socket });
    if socket {
        ClientEnd::Socket(Box::new(socket::connect(line, node, admission, rng)))
    } else {
        ClientEnd::Whole(whole::connect(line, node, admission, rng))
    }
}

impl ClientEnd {
    pub(crate) fn id(&self) -> ConnId {
        self.line().conn
    }

    fn line(&self) -> &Line {
        match self {
            Self::Whole(client) => client.line(),
            Self::Socket(client) => client.line(),
        }
    }

    /// Sends what may never arrive.
    pub(crate) fn send(&mut self, up: Up) {
        match up {
            Up::Binary => self.line().provoked(&[4505]),
            // What comes behind an unfinished message isn't the protocol either.
            Up::TooLarge => self.line().provoked(&[1009, 1002]),
            Up::Broken => self.line().provoked(&[1002, 1007, 1009]),
            Up::Text(_) | Up::Ping => {}
        }
        match self {
            Self::Whole(client) => client.send(&up),
            Self::Socket(client) => client.send(&up),
        }
    }

    /// What comes next. Cancel safe.
    pub(crate) async fn recv(&mut self) -> Down {
        let down = match self {
            Self::Whole(client) => client.recv().await,
            Self::Socket(client) => client.recv().await,
        };
        let (world, conn) = (&self.line().world, self.id());
        match &down {
            Down::Frame(frame) => world.see(&Event::Received { conn, frame }),
            Down::Close(code) => world.see(&Event::Closed { conn, code: *code }),
            Down::Gone => {}
        }
        down
    }

    /// Ends the connection.
    pub(crate) async fn leave(mut self, how: Leave) {
        if matches!(how, Leave::Abruptly) {
            return;
        }
        self.line().provoked(&[1000, 1005]);
        match &mut self {
            Self::Whole(client) => client.leave(),
            Self::Socket(client) => client.leave(how),
        }
        let until_gone = async { while matches!(self.recv().await, Down::Frame(_)) {} };
        let _ = timeout(GOODBYE, until_gone).await;
    }
}

impl Drop for ClientEnd {
    fn drop(&mut self) {
        let line = self.line();
        line.world.see(&Event::Ended { conn: line.conn });
    }
}

/// What both ends of a connection know.
#[derive(Clone)]
struct Line {
    world: Arc<World>,
    hub: HubId,
    conn: ConnId,
}

impl Line {
    /// The client does what it may be sent away for with one of these codes.
    fn provoked(&self, codes: &[u16]) {
        let conn = self.conn;
        self.world.see(&Event::Provoked { conn, codes });
    }

    /// The hub takes a frame: it may be a request.
    fn read(&self, text: &[u8]) {
        #[derive(Deserialize)]
        struct Numbered {
            id: Option<u64>,
        }
        if let Ok(Numbered { id: Some(request) }) = serde_json::from_slice(text) {
            let conn = self.conn;
            self.world.see(&Event::Read { conn, request });
        }
    }

    /// The hub gives frames to the transport.
    fn handed(&self, frames: &[Bytes]) {
        let conn = self.conn;
        self.world.see(&Event::Handed { conn, frames });
        self.world.look(self.hub);
    }

    /// The hub says goodbye.
    fn closing(&self, code: u16) {
        let conn = self.conn;
        self.world.see(&Event::Closing { conn, code });
    }

    fn frame(&self, bytes: &Bytes) -> Result<Box<Frame>, ConnectionError> {
        serde_json::from_slice(bytes).map_err(ConnectionError::new)
    }

    /// Notes how long the write takes that begins now, unless the connection is cut meanwhile.
    fn writing(&self, cut: &CancellationToken) -> Took {
        Took {
            line: self.clone(),
            cut: cut.clone(),
            since: Instant::now(),
        }
    }
}

/// How long a write took, also if the hub gave up waiting.
struct Took {
    line: Line,
    /// The hub of a broken connection may be gone itself.
    cut: CancellationToken,
    since: Instant,
}

impl Drop for Took {
    fn drop(&mut self) {
        let took = self.since.elapsed();
        if took > Duration::ZERO && !self.cut.is_cancelled() {
            let conn = self.line.conn;
            self.line.world.see(&Event::WriteTook { conn, took });
        }
    }
}

fn broken() -> ConnectionError {
    ConnectionError::new("the connection broke")
}
