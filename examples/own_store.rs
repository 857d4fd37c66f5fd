//! An own store: every write is a line of JSON in a file, and reads are answered from memory.
//!
//! ```text
//! cargo run -p roomcast-examples --example own_store 8080 chat.jsonl
//! websocat 'ws://127.0.0.1:8080/ws/lobby?user=ann&last=10'     # in a second terminal
//! ```
//!
//! Type `{"content":"hello"}`, stop the server with Ctrl-C (or kill it), start it again and connect again: the message is
//! still there. One process may use the file at a time; it grows for ever, and what is deleted stays in it, though no
//! method gives it out. For more there is `roomcast-sqlite`.
//!
//! `tests/run.rs` holds it against the contract, with the crate `roomcast-testkit`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use roomcast_core::{
    Appended, Change, Epoch, Fingerprint, HistoryPage, HistoryRange, JsonObject, LogPage, MemoryStore, Message,
    MessageId, MessageSearch, MessageStore, NewEntry, Nonce, PageLimit, RoomHead, RoomId, RoomInfo, Sent, StoreError,
    StoreErrorKind, Timestamp, User, UserId, async_trait,
};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::Mutex;

/// A store in a file. The memory store decides what becomes of each entry; since it decides the same again, it is enough
/// to write down what it was asked.
pub(crate) struct FileStore {
    memory: Arc<MemoryStore>,
    /// `None` if a write went wrong in a way that leaves the file in doubt.
    file: Arc<Mutex<Option<File>>>,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
enum Line {
    Room(RoomId, Epoch),
    Append(RoomId, Vec<SavedEntry>),
}

#[derive(Serialize, Deserialize)]
struct SavedEntry {
    id: MessageId,
    user: User,
    at: Timestamp,
    change: SavedChange,
}

#[derive(Serialize, Deserialize)]
enum SavedChange {
    Message(
        Option<String>,
        Option<JsonObject>,
        Option<MessageId>,
        Option<(Nonce, String)>,
    ),
    Edit(MessageId, String),
    Delete(MessageId),
}

impl FileStore {
    /// Opens the file, and reads all of it.
    ///
    /// # Errors
    ///
    /// The system's, and what is wrong with the file.
    pub(crate) async fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let memory = MemoryStore::with_retention(usize::MAX);
        let mut file = File::options().read(true).append(true).create(true).open(path)?;
        let mut reader = BufReader::new(&mut file);
        let (mut whole, mut line) = (0, Vec::new());
        // The last line may have been cut short by a crash, inside of a character too: bytes, until the line is whole.
        // Nobody was told that it is stored.
        while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            replay(&memory, serde_json::from_slice(&line)?)
                .await
                .map_err(io::Error::other)?;
            whole += line.len() as u64;
            line.clear();
        }
        file.set_len(whole)?;
        Ok(Self {
            memory: Arc::new(memory),
            file: Arc::new(Mutex::new(Some(file))),
        })
    }

    /// Does this with the file locked, to its end even if nobody waits for it any more.
    async fn write<T: Send + 'static>(
        &self,
        work: impl AsyncFnOnce(&MemoryStore, &mut Option<File>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (memory, file, runtime) = (Arc::clone(&self.memory), Arc::clone(&self.file), Handle::current());
        let task = tokio::task::spawn_blocking(move || {
            let mut file = file.blocking_lock();
            runtime.block_on(work(&memory, &mut file))
        });
        task.await.unwrap_or_else(|error| {
            Err(StoreError::new(StoreErrorKind::OutcomeUnknown, "the write was cut off").with_source(error))
        })
    }
}

async fn replay(memory: &MemoryStore, line: Line) -> Result<(), StoreError> {
    match line {
        Line::Room(room, epoch) => drop(memory.create_room(&room, epoch).await?),
        Line::Append(room, entries) => {
            let head = memory.room(&room).await?.map_or(0, |room| room.head);
            let entries: Vec<_> = entries.into_iter().map(NewEntry::from).collect();
            memory.append(&room, head, &entries).await?;
        }
    }
    Ok(())
}

/// Adds a line and waits until the disk has it. A line that is there in part is taken away again.
fn add_line(slot: &mut Option<File>, line: &Line) -> Result<(), StoreError> {
    let Some(file) = slot else {
        return Err(StoreError::new(
            StoreErrorKind::Refused,
            "the file is in doubt; open it again",
        ));
    };
    let refused = |error| StoreError::new(StoreErrorKind::Refused, "the file can't be written").with_source(error);
    let before = file.seek(SeekFrom::End(0)).map_err(refused)?;
    let mut text = serde_json::to_vec(line).map_err(|error| refused(error.into()))?;
    text.push(b'\n');
    let Err(error) = file.write_all(&text).and_then(|()| file.sync_data()) else {
        return Ok(());
    };
    if file.set_len(before).and_then(|()| file.sync_data()).is_ok() {
        return Err(refused(error));
    }
    *slot = None;
    Err(StoreError::new(StoreErrorKind::OutcomeUnknown, "the file is in doubt").with_source(error))
}

#[async_trait]
impl MessageStore for FileStore {
    async fn create_room(&self, room: &RoomId, epoch: Epoch) -> Result<RoomHead, StoreError> {
        let room = room.clone();
        self.write(async move |memory, file| {
            if memory.room(&room).await?.is_none() {
                add_line(file, &Line::Room(room.clone(), epoch.clone()))?;
            }
            memory.create_room(&room, epoch).await
        })
        .await
    }

    async fn append(&self, room: &RoomId, expected_head: u64, entries: &[NewEntry]) -> Result<Appended, StoreError> {
        let (room, entries) = (room.clone(), entries.to_vec());
        self.write(async move |memory, file| {
            // The file first: nothing may be seen that a crash could take back.
            if memory.room(&room).await?.is_some_and(|room| room.head == expected_head) {
                add_line(
                    file,
                    &Line::Append(room.clone(), entries.iter().map(SavedEntry::from).collect()),
                )?;
            }
            memory.append(&room, expected_head, &entries).await
        })
        .await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.write(async |memory, _| memory.close().await).await
    }

    async fn room(&self, room: &RoomId) -> Result<Option<RoomHead>, StoreError> {
        self.memory.room(room).await
    }
    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomInfo>, StoreError> {
        self.memory.rooms(after, limit).await
    }
    async fn log(&self, room: &RoomId, after: u64, limit: PageLimit) -> Result<LogPage, StoreError> {
        self.memory.log(room, after, limit).await
    }
    async fn history(&self, room: &RoomId, range: HistoryRange, limit: usize) -> Result<HistoryPage, StoreError> {
        self.memory.history(room, range, limit).await
    }
    async fn message(&self, room: &RoomId, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.memory.message(room, id).await
    }
    async fn sent(&self, room: &RoomId, user: &UserId, nonce: &Nonce) -> Result<Option<Sent>, StoreError> {
        self.memory.sent(room, user, nonce).await
    }
    async fn health(&self) -> Result<(), StoreError> {
        self.memory.health().await
    }
    fn search(&self) -> Option<&dyn MessageSearch> {
        self.memory.search()
    }
}

impl From<&NewEntry> for SavedEntry {
    fn from(entry: &NewEntry) -> Self {
        let change = match entry.change.clone() {
            Change::Message {
                content,
                data,
                reply_to,
                nonce,
            } => {
                let nonce = nonce.map(|(nonce, print)| (nonce, print.as_u128().to_string()));
                SavedChange::Message(content, data, reply_to, nonce)
            }
            Change::Edit { message, content } => SavedChange::Edit(message, content),
            Change::Delete { message } => SavedChange::Delete(message),
        };
        let (id, user, at) = (entry.id, entry.user.clone(), entry.at);
        Self { id, user, at, change }
    }
}

impl From<SavedEntry> for NewEntry {
    fn from(SavedEntry { id, user, at, change }: SavedEntry) -> Self {
        let change = match change {
            SavedChange::Message(content, data, reply_to, nonce) => {
                let nonce = nonce.map(|(nonce, print)| (nonce, Fingerprint::from_u128(print.parse().unwrap_or(0))));
                Change::Message {
                    content,
                    data,
                    reply_to,
                    nonce,
                }
            }
            SavedChange::Edit(message, content) => Change::Edit { message, content },
            SavedChange::Delete(message) => Change::Delete { message },
        };
        Self { id, user, at, change }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(2).unwrap_or_else(|| "chat.jsonl".to_owned());
    let store = FileStore::open(&path).await?;
    let hub = roomcast_core::Hub::builder(store, roomcast_core::OpenPolicy).build()?;
    let auth = roomcast_examples::name_in_query;
    let listener = roomcast_ws::Listener::bind(roomcast_examples::address(), hub.clone(), auth).await?;
    roomcast_examples::run(listener, &hub).await?;
    Ok(())
}
