//! The store: hands calls to its threads.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use parking_lot::Mutex;
use roomcast_core::{
    Appended, Epoch, HistoryPage, HistoryRange, LogPage, Message, MessageId, MessageSearch, MessageStore, NewEntry,
    Nonce, PageLimit, RoomHead, RoomId, RoomInfo, Sent, StoreError, StoreErrorKind, UserId,
};
use rusqlite::Connection;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};

use crate::builder::Builder;
use crate::error::{closed, refused};
use crate::readers::{self, Read, Reads};
use crate::shared::Shared;
use crate::writer::{self, Write};
use crate::{read, search};

/// A [`MessageStore`] in one file, on SQLite.
///
/// Several of them, in one process or several on one machine, may use one file: each room keeps one order, and what is
/// acknowledged by one is read by all. But nothing tells a hub what another one has written: its members hear of it when
/// somebody next joins or writes to that room by their own hub, or when heads are compared
/// ([`Limits::head_check`](roomcast_core::Limits::head_check)). So this is for a tool beside a server, or for a server that
/// takes over from another. Retention is each store's own: the strictest counts.
///
/// [`health`](MessageStore::health) fails while the file can't be read or isn't in its place any more, and for half a
/// minute after a write has failed for a reason that stays, such as a full disk or a damaged file, unless another one
/// succeeds before.
///
/// Its threads end when it is closed or dropped; only [`close`](MessageStore::close) waits for them.
pub struct SqliteStore {
    shared: Arc<Shared>,
    /// `None` once closed. The threads end when all senders are gone.
    queues: Mutex<Option<Queues>>,
    threads: AsyncMutex<Threads>,
}

#[derive(Clone)]
struct Queues {
    write: mpsc::Sender<Write>,
    /// Reads of one row. They go before pages, of which many may wait while members catch up: a join needs only a row.
    point: mpsc::Sender<Read>,
    page: mpsc::Sender<Read>,
    search: mpsc::Sender<Read>,
}

#[derive(Default)]
struct Threads {
    readers: Vec<Owned>,
    writer: Vec<Owned>,
}

/// A thread, and what tells of its end to those who can't block.
struct Owned {
    handle: JoinHandle<()>,
    ended: oneshot::Receiver<()>,
}

impl Owned {
    /// Starts a thread, which reports how its opening went.
    async fn start(
        name: &str,
        body: impl FnOnce(oneshot::Sender<Result<(), StoreError>>) + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (opened, is_open) = oneshot::channel();
        let (guard, ended) = oneshot::channel::<()>();
        let handle = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let _guard = guard; // Dropped at the end, be it by a panic.
                body(opened);
            })
            .map_err(|error| refused("a thread of the store can't be started").with_source(error))?;
        match is_open.await {
            Ok(result) => result.map(|()| Self { handle, ended }),
            Err(_) => Err(refused("a thread of the store ended while opening")),
        }
    }
}

/// Waits for the threads. One stays in the list until it has ended, so that a dropped call loses none.
async fn join(threads: &mut Vec<Owned>) {
    while let Some(last) = threads.last_mut() {
        let _ = (&mut last.ended).await;
        if let Some(Owned { handle, .. }) = threads.pop()
            && handle.join().is_err()
        {
            tracing::error!("a thread of the store panicked");
        }
    }
}

impl SqliteStore {
    /// Opens the file with the default settings, or makes it.
    ///
    /// # Errors
    ///
    /// As [`Builder::open`].
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::builder(path).open().await
    }

    /// Settings for a store in this file.
    #[must_use]
    pub fn builder(path: impl Into<PathBuf>) -> Builder {
        Builder::new(path.into())
    }

    pub(crate) async fn start(settings: Builder) -> Result<Self, StoreError> {
        check_path(&settings.path)?;
        let (queue, readers) = (settings.queue, settings.readers);
        let shared = Arc::new(Shared::new(settings));
        let (write, writes) = mpsc::channel(queue);
        let (point, points) = mpsc::channel(queue);
        let (page, pages) = mpsc::channel(queue);
        let (search, searches) = mpsc::channel(queue);
        let mut threads = Threads::default();
        // First, for it makes the file.
        let own = shared.clone();
        let writer = Owned::start("sqlite-write", move |opened| writer::run(&own, writes, opened)).await?;
        threads.writer.push(writer);
        let (reads, searches) = (Reads::queue([points, pages]), Reads::queue([searches]));
        let readers = std::iter::repeat_n(("sqlite-read", reads), readers);
        for (name, queue) in readers.chain([("sqlite-search", searches)]) {
            let own = shared.clone();
            let reader = Owned::start(name, move |opened| readers::run(&own, &queue, opened)).await?;
            threads.readers.push(reader);
        }
        Ok(Self {
            shared,
            queues: Mutex::new(Some(Queues {
                write,
                point,
                page,
                search,
            })),
            threads: AsyncMutex::new(threads),
        })
    }

    fn queues(&self) -> Result<Queues, StoreError> {
        self.queues.lock().clone().ok_or_else(closed)
    }

    async fn point<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let queue = self.queues()?.point;
        self.ask(queue, move |connection, _| read(connection)).await
    }

    async fn page<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let queue = self.queues()?.page;
        self.ask(queue, move |connection, _| read(connection)).await
    }

    /// Has a reading thread do it. It is told how to find out that nobody waits for the answer any more.
    async fn ask<T: Send + 'static>(
        &self,
        queue: mpsc::Sender<Read>,
        read: impl FnOnce(&Connection, &dyn Fn() -> bool) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, result) = oneshot::channel();
        let shared = self.shared.clone();
        let job: Read = Box::new(move |connection| {
            if !reply.is_closed() {
                let result = shared
                    .check_place()
                    .and_then(|()| read(connection, &|| reply.is_closed()));
                drop(reply.send(result));
            }
        });
        queue.send(job).await.map_err(|_| lost())?;
        result.await.map_err(|_| lost())?
    }

    async fn write<T>(
        &self,
        call: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Write,
    ) -> Result<T, StoreError> {
        let (reply, result) = oneshot::channel();
        self.queues()?.write.send(call(reply)).await.map_err(|_| lost())?;
        result.await.map_err(|_| {
            StoreError::new(
                StoreErrorKind::OutcomeUnknown,
                "the writing thread ended during the call",
            )
        })?
    }
}

/// SQLite takes some names for something else than a file. Each connection would have a database of its own then.
fn check_path(path: &Path) -> Result<(), StoreError> {
    let name = path.as_os_str().as_encoded_bytes();
    if name.is_empty() || name == b":memory:" {
        return Err(refused(
            "the store needs a file; for one in memory there is roomcast_core::MemoryStore",
        ));
    }
    if name.starts_with(b"file:") {
        return Err(refused(format!(
            "{} is an address; the store needs the path of a file, and for one in memory there is \
             roomcast_core::MemoryStore",
            path.display()
        )));
    }
    Ok(())
}

/// A thread has ended by a panic.
fn lost() -> StoreError {
    refused("a thread of the store has ended")
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.shared.settings.path)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl MessageStore for SqliteStore {
    async fn room(&self, room: &RoomId) -> Result<Option<RoomHead>, StoreError> {
        let room = room.clone();
        self.point(move |connection| read::head(connection, &room)).await
    }

    async fn create_room(&self, room: &RoomId, epoch: Epoch) -> Result<RoomHead, StoreError> {
        let room = room.clone();
        self.write(move |reply| Write::Create { room, epoch, reply }).await
    }

    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomInfo>, StoreError> {
        let after = after.cloned();
        self.page(move |connection| read::rooms(connection, after.as_ref().map(RoomId::as_str), limit))
            .await
    }

    async fn append(&self, room: &RoomId, expected_head: u64, entries: &[NewEntry]) -> Result<Appended, StoreError> {
        let (room, entries) = (room.clone(), entries.to_vec());
        self.write(move |reply| Write::Append {
            room,
            expected_head,
            entries,
            reply,
        })
        .await
    }

    async fn log(&self, room: &RoomId, after: u64, limit: PageLimit) -> Result<LogPage, StoreError> {
        let room = room.clone();
        self.page(move |connection| read::log(connection, &room, after, limit))
            .await
    }

    async fn history(&self, room: &RoomId, range: HistoryRange, limit: usize) -> Result<HistoryPage, StoreError> {
        let room = room.clone();
        self.page(move |connection| read::history(connection, &room, range, limit))
            .await
    }

    async fn message(&self, room: &RoomId, id: MessageId) -> Result<Option<Message>, StoreError> {
        let room = room.clone();
        self.point(move |connection| read::message(connection, &room, id)).await
    }

    async fn sent(&self, room: &RoomId, user: &UserId, nonce: &Nonce) -> Result<Option<Sent>, StoreError> {
        let (room, user, nonce) = (room.clone(), user.clone(), nonce.clone());
        self.point(move |connection| read::sent(connection, &room, &user, &nonce))
            .await
    }

    async fn health(&self) -> Result<(), StoreError> {
        if self.queues()?.write.is_closed() {
            return Err(lost());
        }
        self.shared.check_writes()?;
        self.point(read::health).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        let queues = self.queues.lock().take();
        let mut threads = self.threads.lock().await;
        if let Some(Queues {
            write,
            point,
            page,
            search,
        }) = queues
        {
            // The writer last: whoever closes the file last tidies it, which a reader can't. (A call that is dropped
            // here lets go of all.)
            drop((point, page, search));
            join(&mut threads.readers).await;
            drop(write);
        }
        join(&mut threads.readers).await;
        join(&mut threads.writer).await;
        Ok(())
    }

    fn search(&self) -> Option<&dyn MessageSearch> {
        Some(self)
    }
}

#[async_trait]
impl MessageSearch for SqliteStore {
    async fn search(
        &self,
        room: &RoomId,
        query: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<HistoryPage, StoreError> {
        let (room, query) = (room.clone(), query.to_owned());
        let queue = self.queues()?.search;
        self.ask(queue, move |connection, gone| {
            search::search(connection, &room, &query, before, limit, gone)
        })
        .await
    }
}
