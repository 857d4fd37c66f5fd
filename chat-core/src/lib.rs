//! The engine of **roomcast**.

mod connection;
mod cursor;
mod id;
mod memory;
mod message;
mod policy;
mod store;
mod time;

pub use bytes::Bytes;
pub use connection::{CloseFrame, Connection, ConnectionError, ConnectionReader, ConnectionWriter, Inbound};
pub use cursor::{Cursor, Start};
pub use id::{Epoch, IdSource, InvalidName, MAX_SEQ, MessageId, Nonce, RandomIds, RoomId, User, UserId, UserName};
pub use memory::MemoryStore;
pub use message::{Deletion, Draft, Edit, Entry, Fingerprint, JsonObject, Message};
pub use policy::{Denied, OpenPolicy, Policy};
pub use store::{
    Appended, Change, HistoryPage, HistoryRange, LogPage, MessageSearch, MessageStore, NewEntry, Outcome, PageLimit,
    RoomHead, RoomInfo, StoreError, StoreErrorKind,
};
pub use time::{Clock, SystemClock, Timestamp};
