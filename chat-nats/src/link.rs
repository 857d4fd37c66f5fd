//! The connection: a task that makes it, again and again, and carries notices both ways while it holds.
//!
//! async-nats can connect anew by itself, but then neither stops when its client is dropped, nor bounds how much waits
//! meanwhile, nor tells the reason. So each connection here has a client of its own, which is let go of when it breaks.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, ServerAddr, Subscriber};
use futures_util::StreamExt;
use futures_util::stream::{AbortHandle, Abortable, FuturesUnordered, SelectAll, abortable};
use parking_lot::Mutex;
use roomcast_core::RoomId;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use crate::answer::{Answer, answer};
use crate::send::{Sent, make_sure, send};
use crate::shared::{Chain, Shared, State};

/// How long a server may take until notices flow: to accept, and to answer after that.
pub(crate) const CONNECTING: Duration = Duration::from_secs(3);

/// A server that keeps silent is asked for a sign of life so often; the connection is given up at the third.
pub(crate) const PING: Duration = Duration::from_secs(2);

/// So many notices may wait for being read from one subscription. More are lost, and made up for by comparing heads.
pub(crate) const UNREAD: usize = 1024;

/// So many commands, notices among them, may wait within async-nats. Few, since what waits there can't be taken back.
pub(crate) const WITHIN: usize = 64;

/// How long it may take to send what waits and to let go, once the bus is closed.
pub(crate) const CLOSING: Duration = Duration::from_secs(2);

/// How long until other hubs have a connection again as well, once this one has.
const OTHERS: Duration = Duration::from_secs(3);

/// How long a watch waits for the server at most.
const WATCHING: Duration = Duration::from_secs(1);

/// In a cluster of servers, how long it takes about until all know what one was asked for.
const SPREADING: Duration = Duration::from_millis(50);

/// How long further losses are waited for before heads are compared.
const LOSING: Duration = Duration::from_millis(50);

/// The pause after the first failure, doubled up to the longest. Up to half of it is left to chance.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A connection that held for so long was a good one: the next failure is the first again.
const GOOD: Duration = Duration::from_secs(5);

/// So many servers that others told of are tried besides those that were named.
const DISCOVERED: usize = 32;

/// What the hub asks of the connection.
pub(crate) enum Command {
    /// Dropped is the sender once the server listens for these rooms, or soon in any case.
    Watch(Vec<RoomId>, oneshot::Sender<()>),
    Unwatch(Vec<RoomId>),
}

/// What async-nats tells of one connection.
#[derive(Default)]
struct Signals {
    lost: Notify,
    slow: Notify,
}

impl Signals {
    fn take(&self, event: &Event, shared: &Shared) {
        match event {
            Event::Disconnected | Event::Closed => self.lost.notify_one(),
            Event::SlowConsumer(_) => self.slow.notify_one(),
            Event::ServerError(error) => shared.complained(error),
            _ => {}
        }
    }
}

/// How a connection ended.
pub(crate) enum End {
    Lost,
    Closed,
}

type Streams = SelectAll<Abortable<Subscriber>>;

pub(crate) struct Link {
    shared: Arc<Shared>,
    options: ConnectOptions,
    servers: Vec<ServerAddr>,
    /// What servers told of their cluster.
    discovered: Vec<ServerAddr>,
    commands: mpsc::UnboundedReceiver<Command>,
    watched: HashSet<RoomId>,
}

impl Link {
    pub(crate) fn new(
        shared: Arc<Shared>,
        options: ConnectOptions,
        servers: Vec<ServerAddr>,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        Self {
            shared,
            options,
            servers,
            discovered: Vec::new(),
            commands,
            watched: HashSet::new(),
        }
    }

    /// Keeps connected until the bus is closed or dropped.
    pub(crate) async fn run(mut self) {
        let shared = self.shared.clone();
        let _ended = shared.ended.clone().drop_guard();
        let overdue = async {
            shared.closing.cancelled().await;
            sleep(CLOSING).await;
        };
        tokio::select! {
            () = self.keep_connected() => {}
            () = overdue => {}
        }
        *shared.state.lock() = State::Down("the bus is closed".to_owned());
    }

    async fn keep_connected(&mut self) {
        let mut failures = 0;
        loop {
            let signals = Arc::new(Signals::default());
            let Some(connected) = self.connect(&signals).await else {
                return;
            };
            let began = Instant::now();
            let reason = match connected {
                Ok(client) => match self.serve(client, &signals).await {
                    Ok(End::Closed) => return,
                    Ok(End::Lost) => "the connection is lost".to_owned(),
                    Err(reason) => reason,
                },
                Err(error) => Chain(&error).to_string(),
            };
            let complaint = self.shared.complaint.lock().take();
            self.shared.is_down(match complaint {
                Some(complaint) if !reason.contains(&complaint) => format!("{reason}: {complaint}"),
                _ => reason,
            });
            failures = if began.elapsed() > GOOD { 0 } else { failures + 1 };
            if self.unless_closed(sleep(pause(failures))).await.is_none() {
                return;
            }
        }
    }

    /// Tries each server once; `None` if the bus is closed meanwhile.
    async fn connect(&mut self, signals: &Arc<Signals>) -> Option<Result<Client, async_nats::ConnectError>> {
        let mut servers = self.servers.clone();
        servers.extend_from_slice(&self.discovered);
        let (signals, shared) = (signals.clone(), self.shared.clone());
        let options = self.options.clone().max_reconnects(servers.len());
        let options = options.event_callback(move |event| {
            signals.take(&event, &shared);
            std::future::ready(())
        });
        self.unless_closed(options.connect(servers)).await
    }

    /// Waits while there is no connection; `None` if the bus is closed meanwhile.
    async fn unless_closed<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let closing = self.shared.closing.clone();
        let mut future = std::pin::pin!(future);
        loop {
            tokio::select! {
                biased;
                () = closing.cancelled() => return None,
                Some(command) = self.commands.recv() => self.note(command),
                value = &mut future => return Some(value),
            }
        }
    }

    /// Takes a command while there is no connection.
    fn note(&mut self, command: Command) {
        match command {
            Command::Watch(rooms, _) => self.watched.extend(rooms),
            Command::Unwatch(rooms) => {
                for room in rooms {
                    self.watched.remove(&room);
                }
            }
        }
    }

    /// Carries notices until the connection breaks. The error says why none ever came.
    async fn serve(&mut self, client: Client, signals: &Signals) -> Result<End, String> {
        let shared = self.shared.clone();
        let info = client.server_info();
        let told = info.connect_urls.iter().filter_map(|url| url.parse().ok());
        self.discovered = told
            .filter(|server| !self.servers.contains(server))
            .take(DISCOVERED)
            .collect();
        let mut streams = Streams::new();
        let mut rooms = HashMap::new();
        let ready = async {
            let all = client.subscribe(shared.subjects.of(None)).await?;
            streams.push(abortable(all).0);
            for room in self.watched.clone() {
                self.listen(&client, room, &mut streams, &mut rooms).await?;
            }
            Ok::<_, async_nats::SubscribeError>(answer(&client, &shared.subjects, CONNECTING).await)
        };
        let ready = timeout(CONNECTING + WATCHING, ready).await;
        if !matches!(ready, Ok(Ok(Answer::Exact | Answer::Alive))) {
            self.let_go(client, streams).await;
            return Err("the server doesn't answer".to_owned());
        }
        tracing::info!(
            server = info.server_name,
            version = info.version,
            "the bus is connected"
        );
        shared.is_up(&client);
        // While there was no connection, others may have told what wasn't heard.
        shared.missed();
        let sent = Mutex::new(Sent::new());
        // Nothing makes up for a kick that the others miss, and after an outage they come back at other moments than this one.
        let held = Mutex::new(shared.outgoing.take_for_all());
        let release = async {
            tokio::select! {
                () = sleep(OTHERS) => {}
                () = shared.closing.cancelled() => {}
            }
            for notice in std::mem::take(&mut *held.lock()) {
                shared.outgoing.push(notice);
            }
            std::future::pending().await
        };
        let end = tokio::select! {
            biased;
            end = self.receive(&client, signals, info.cluster.is_some(), &mut streams, &mut rooms) => end,
            end = release => end,
            end = send(&client, &shared, &sent) => end,
            end = make_sure(&client, &shared, &sent) => end,
        };
        if matches!(end, End::Lost) {
            *shared.state.lock() = State::Down("the connection is lost".to_owned());
            for notice in held.into_inner() {
                shared.outgoing.push(notice);
            }
            shared.outgoing.put_back(sent.into_inner().all());
        }
        self.let_go(client, streams).await;
        Ok(end)
    }

    async fn listen(
        &mut self,
        client: &Client,
        room: RoomId,
        streams: &mut Streams,
        rooms: &mut HashMap<RoomId, AbortHandle>,
    ) -> Result<(), async_nats::SubscribeError> {
        let subscriber = client.subscribe(self.shared.subjects.of(Some(&room))).await?;
        let (stream, handle) = abortable(subscriber);
        streams.push(stream);
        if let Some(earlier) = rooms.insert(room, handle) {
            earlier.abort();
        }
        Ok(())
    }

    /// Hands over what comes, and listens for what the hub wants.
    async fn receive(
        &mut self,
        client: &Client,
        signals: &Signals,
        clustered: bool,
        streams: &mut Streams,
        rooms: &mut HashMap<RoomId, AbortHandle>,
    ) -> End {
        let shared = self.shared.clone();
        let mut watches = FuturesUnordered::new();
        let slow = || async {
            signals.slow.notified().await;
            sleep(LOSING).await;
        };
        let mut losing = Box::pin(slow());
        loop {
            tokio::select! {
                biased;
                () = signals.lost.notified() => return End::Lost,
                command = self.commands.recv() => match command {
                    Some(Command::Watch(wanted, done)) => {
                        for room in wanted {
                            self.watched.insert(room.clone());
                            if self.listen(client, room, streams, rooms).await.is_err() {
                                return End::Lost;
                            }
                        }
                        watches.push(watched(client, &shared, clustered, done));
                    }
                    Some(Command::Unwatch(unwanted)) => {
                        for room in unwanted {
                            self.watched.remove(&room);
                            if let Some(handle) = rooms.remove(&room) {
                                handle.abort();
                            }
                        }
                    }
                    // The bus is dropped, and closed therefore.
                    None => std::future::pending().await,
                },
                Some(()) = watches.next() => {}
                () = &mut losing => {
                    shared.missed();
                    losing = Box::pin(slow());
                }
                message = streams.next() => match message {
                    Some(message) => shared.deliver(&message.payload).await,
                    None => return End::Lost,
                },
            }
        }
    }

    /// Ends the client. Its subscriptions are dropped when it has ended: each of them would start a task, to say that
    /// nobody listens any more, if it couldn't say so at once.
    async fn let_go(&mut self, client: Client, mut streams: Streams) {
        let end = async {
            // It fails if the client has ended by itself.
            let _ = client.drain().await;
            while streams.next().await.is_some() {}
        };
        let mut end = std::pin::pin!(end);
        loop {
            tokio::select! {
                biased;
                Some(command) = self.commands.recv() => self.note(command),
                () = &mut end => return,
            }
        }
    }
}

/// Waits until the server has heard of the subscriptions before this.
async fn watched(client: &Client, shared: &Shared, clustered: bool, done: oneshot::Sender<()>) {
    let answered = answer(client, &shared.subjects, WATCHING).await;
    if clustered {
        sleep(SPREADING).await;
    }
    drop(done);
    if answered == Answer::None {
        // It listens later than the hub thinks.
        answer(client, &shared.subjects, CONNECTING).await;
        shared.missed();
    }
}

fn pause(failures: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(1 << failures.min(6)).min(LONGEST_PAUSE);
    let chance = RandomState::new().hash_one(failures) as u32;
    longest.mul_f64(0.5 + 0.5 * f64::from(chance) / f64::from(u32::MAX))
}
