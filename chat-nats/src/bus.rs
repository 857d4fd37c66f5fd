//! The bus, as a hub uses it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};
use roomcast_core::{Bus, BusError, Inbox, Notice, RoomId, async_trait};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::answer::{Answer, answer};
use crate::builder::{Builder, InvalidSetting};
use crate::link::{Command, Link};
use crate::shared::{Shared, State};
use crate::subject::Subjects;

/// How long a watch waits at most: with a connection it is there sooner.
const WATCHING: Duration = Duration::from_millis(1200);

/// How long the server may take to say that it is well, or half as long again where somebody listens to everything. Less than a
/// second, which is what health checks are given.
const HEALTH: Duration = Duration::from_millis(500);

/// A [`Bus`] on NATS, for one hub. Dropped, it ends its connection.
#[derive(Debug)]
pub struct NatsBus {
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
}

impl NatsBus {
    /// Connects with default settings: see [`Builder::connect`].
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] if the address can't be used.
    pub async fn connect(servers: impl Into<String>) -> Result<Self, InvalidSetting> {
        Self::builder(servers).connect().await
    }

    /// The settings of a bus on these servers: `nats://HOST:PORT`, or `tls://HOST:PORT` for TLS; several of one cluster with
    /// commas between them. The port is 4222 if none is given. `nats://USER:PASSWORD@HOST` and `nats://TOKEN@HOST` sign in.
    #[must_use]
    pub fn builder(servers: impl Into<String>) -> Builder {
        Builder::new(servers.into())
    }

    /// Starts the connection's task, and waits for its first try.
    pub(crate) async fn start(options: ConnectOptions, servers: Vec<ServerAddr>, subjects: Subjects) -> Self {
        let shared = Arc::new(Shared::new(subjects));
        let (commands, received) = mpsc::unbounded_channel();
        tokio::spawn(Link::new(shared.clone(), options, servers, received).run());
        let bus = Self { shared, commands };
        bus.shared.tried.cancelled().await;
        bus
    }
}

impl Drop for NatsBus {
    fn drop(&mut self) {
        self.shared.closing.cancel();
    }
}

/// Takes the inbox away when the hub drops its future.
struct Attached<'a>(&'a Shared);

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        self.0.inbox.lock().take();
    }
}

#[async_trait]
impl Bus for NatsBus {
    async fn run(&self, inbox: Inbox) {
        *self.shared.inbox.lock() = Some(inbox);
        let _attached = Attached(&self.shared);
        self.shared.ended.cancelled().await;
    }

    async fn watch(&self, rooms: &[RoomId]) {
        let (done, watched) = oneshot::channel();
        // It fails when the bus is closed.
        if self.commands.send(Command::Watch(rooms.to_vec(), done)).is_ok() {
            let _ = timeout(WATCHING, watched).await;
        }
    }

    fn unwatch(&self, rooms: &[RoomId]) {
        let _ = self.commands.send(Command::Unwatch(rooms.to_vec()));
    }

    fn publish(&self, notice: &Notice) {
        // Without a connection, what is passing would be past when it goes out.
        let late = notice.is_passing() && matches!(*self.shared.state.lock(), State::Down(_));
        if !late && !self.shared.closing.is_cancelled() {
            self.shared.dropped(self.shared.outgoing.push(notice.clone()));
        }
    }

    async fn health(&self) -> Result<(), BusError> {
        let client = match &*self.shared.state.lock() {
            State::Up(client) => client.clone(),
            State::Down(reason) => return Err(BusError::new(format!("no connection to NATS: {reason}"))),
        };
        if let Some(complaint) = &*self.shared.complaint.lock() {
            return Err(BusError::new(format!("NATS complains: {complaint}")));
        }
        // However long the client itself waits for room for its question.
        match timeout(2 * HEALTH, answer(&client, &self.shared.subjects, HEALTH)).await {
            Ok(Answer::Exact | Answer::Alive) => Ok(()),
            Ok(Answer::None) | Err(_) => Err(BusError::new(format!("NATS doesn't answer within {HEALTH:?}"))),
        }
    }

    async fn close(&self) {
        self.shared.closing.cancel();
        self.shared.ended.cancelled().await;
    }
}
