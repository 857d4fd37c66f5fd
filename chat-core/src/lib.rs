//! The engine of **roomcast**.

mod client;
mod connection;
mod cursor;
mod engine;
mod hub;
mod id;
<<<<<<< HEAD
mod limits;
mod log;
=======
>>>>>>> sqlite
mod memory;
mod message;
mod metrics;
mod outbox;
mod policy;
mod rate;
mod refusal;
mod room;
mod session;
mod store;
mod time;
mod verbs;
mod wire;

pub use bytes::Bytes;
pub use client::{Client, Protocol};
pub use connection::{CloseFrame, Connection, ConnectionError, ConnectionReader, ConnectionWriter, Inbound};
pub use cursor::{Cursor, Start};
pub use hub::{Admission, Hub, HubBuilder, HubStats, ShutdownReport};
pub use id::{Epoch, IdSource, InvalidName, MAX_SEQ, MessageId, Nonce, RandomIds, RoomId, User, UserId, UserName};
<<<<<<< HEAD
pub use limits::{InvalidLimit, Limits, QueueLimit, Rate};
pub use log::Receipt;
=======
>>>>>>> sqlite
pub use memory::MemoryStore;
pub use message::{Deletion, Draft, Edit, Entry, Fingerprint, JsonObject, Message};
pub use policy::{Denied, OpenPolicy, Policy};
pub use refusal::{CloseCode, ErrorCode, Refusal};
pub use room::{Room, RoomAsUser};
pub use session::Ended;
pub use store::{
    Appended, Change, HistoryPage, HistoryRange, LogPage, MessageSearch, MessageStore, NewEntry, Outcome, PageLimit,
    RoomHead, RoomInfo, StoreError, StoreErrorKind,
};
pub use time::{Clock, SystemClock, Timestamp};
