//! The engine of **roomcast**.

mod client;
mod connection;
mod cursor;
mod hub;
mod id;
mod limits;
mod message;
mod policy;
mod refusal;
mod store;
mod time;

pub use bytes::Bytes;
pub use client::{Client, Protocol};
pub use connection::{CloseFrame, Connection, ConnectionError, ConnectionReader, ConnectionWriter, Inbound};
pub use cursor::{Cursor, Start};
pub use hub::{Admission, Ended, Hub};
pub use id::{Epoch, IdSource, InvalidName, MAX_SEQ, MessageId, Nonce, RandomIds, RoomId, User, UserId, UserName};
pub use limits::{InvalidLimit, Limits, QueueLimit, Rate};
pub use message::{Deletion, Draft, Edit, Entry, Fingerprint, JsonObject, Message};
pub use policy::{Denied, OpenPolicy, Policy};
pub use refusal::{CloseCode, ErrorCode, Refusal};
pub use store::{
    Appended, Change, HistoryPage, HistoryRange, LogPage, MessageSearch, MessageStore, NewEntry, Outcome, PageLimit,
    RoomHead, RoomInfo, StoreError, StoreErrorKind,
};
pub use time::{Clock, SystemClock, Timestamp};
