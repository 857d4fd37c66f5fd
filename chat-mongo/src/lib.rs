//! A [`MessageStore`](roomcast_core::MessageStore) on MongoDB: durable, with as many servers on one database as you like.
//!
//! ```no_run
//! # async fn open() -> Result<(), Box<dyn std::error::Error>> {
//! use roomcast_core::{Hub, OpenPolicy};
//! use roomcast_mongo::MongoStore;
//!
//! let store = MongoStore::connect("mongodb://127.0.0.1:27017/chat").await?;
//! let hub = Hub::builder(store, OpenPolicy).build()?;
//! # Ok(())
//! # }
//! ```
//!
//! [`MongoStore::builder`] has the settings: durability, names, time limits, connection pools, retention, search.
//!
//! It needs MongoDB 4.2 or newer, as a replica set or as a server that stands alone; there are no transactions.
//!
//! # What is promised
//!
//! - With [`Durability::Majority`], the default, an entry is acknowledged once a majority of the replica set has it in its
//!   journals, and only such entries are read. So what anybody saw survives the loss of any minority of the servers.
//! - The place of an entry is given by a unique index: several hubs on one database write one room without holes,
//!   and none of them ever overwrites another's entry.
//! - After a time-out or a lost connection, the error is
//!   [`OutcomeUnknown`](roomcast_core::StoreErrorKind::OutcomeUnknown): the hub then reads what was stored before it writes again.
//! - All operations have a time limit, and see everything that this store was told to be stored before, even right after
//!   another server has become primary.
//!
//! # Documents
//!
//! Two collections, to be read by people as well. `roomcast_rooms` has one document for each room:
//!
//! | field | type | holds |
//! |---|---|---|
//! | `_id` | string | the room's id |
//! | `epoch` | string | which log it is; cursors of clients have it |
//! | `floor` | long | the highest seq that retention has removed |
//! | `removed` | long | up to where the removed entries are deleted as well |
//! | `floor_raised_at` | date | when `floor` was last raised |
//! | `created_at` | date | when the room began |
//!
//! `roomcast_entries` has one document for each entry of a log: a message, an edit, or a deletion.
//!
//! | field | type | holds |
//! |---|---|---|
//! | `_id` | UUID | the entry's id |
//! | `room_id` | string | the room |
//! | `seq` | long | the place in the room's log, dense from 1 |
//! | `kind` | string | `message`, `edit` or `delete` |
//! | `user` | `{id, name}` | who said or did it |
//! | `created_at` | date | when the hub accepted it |
//! | `content` | string | of a message: the text as it now is |
//! | `data` | document, or string | of a message: what the application added. A string of JSON where BSON has no such value |
//! | `reply_to` | UUID | of a message: the one that it answers |
//! | `edited_at`, `revision` | date, long | of a message: when it was last edited, and by the entry at which place |
//! | `deleted` | bool | of a message: nothing else is left of it |
//! | `nonce`, `fingerprint` | string, UUID | of a message: what makes its sending repeatable |
//! | `words` | array of strings | of a message: its words, if they can be searched |
//! | `message`, `target` | UUID, long | of an edit or a deletion: which message, and its seq |
//! | `unfinished` | bool | of an edit or a deletion: the message may not say so yet; the next who looks at the room sees to it |
//!
//! So the last messages of a room, in the shell:
//!
//! ```js
//! db.roomcast_entries.find({room_id: "lobby", kind: "message"}, {words: 0}).sort({seq: -1}).limit(50)
//! ```
//!
//! Don't write to these collections by hand: places, words and edits belong together.
//!
//! # Cost
//!
//! One append is one ordered insert, however many entries it carries, while a room is busy; one look-up more if it
//! was quiet for a while, and two more if there are edits or deletions. A read is two queries, each answered from an index. With
//! [`search`](Builder::search), each word of a message is an entry of an index.
//!
//! # Several nodes
//!
//! Any number of hubs may use one database without knowing of each other. Members see what another node stores when their own hub
//! next writes to the room or compares heads, which it does every 30 seconds. With the feature `change-streams`,
//! `MongoStore::bus` makes a bus by which they see it at once:
//!
//! ```no_run
//! # #[cfg(feature = "change-streams")]
//! # async fn open() -> Result<(), Box<dyn std::error::Error>> {
//! # use roomcast_core::{Hub, OpenPolicy};
//! # use roomcast_mongo::MongoStore;
//! let store = MongoStore::connect("mongodb://127.0.0.1:27017/chat?replicaSet=rs0").await?;
//! let bus = store.bus().await?;
//! let hub = Hub::builder(store, OpenPolicy).bus(bus).build()?;
//! # Ok(())
//! # }
//! ```
//!
//! It needs a replica set, of one server at least (`mongod --replSet rs0`, and `rs.initiate()` once in the shell), and a user who may
//! read the database. Nothing is published for an entry: its commit is the notice, and the server tells all hubs of it by a
//! [change stream] once a majority has it. What isn't stored (a user who is to be sent away from all nodes, say) goes by a
//! small collection, named after that of the entries (`roomcast_entries.signals`), where the server removes it after a minute:
//!
//! | field | type | holds |
//! |---|---|---|
//! | `at` | date | when it was told |
//! | `room` | string | the room whose members it is about; not there if it is for all |
//! | `notice` | string | what is told |
//!
//! After an error the stream goes on where it was. What was stored meanwhile is then read from the collection and not taken from the
//! stream, so that nobody is shown what was edited or deleted since. If the server doesn't have that part of its operations any more,
//! or the database was dropped, all rooms with members are compared with the store.
//!
//! Every node gets every entry of the database, and passes over those of rooms in which nobody is on it. So a node's cost rises with
//! what all nodes together store: see `examples/nodes_rate.rs`. Where nodes have
//! few of the rooms each, a bus that sends each node its own rooms alone, as NATS does, is the better choice.
//!
//! [change stream]: https://www.mongodb.com/docs/manual/changeStreams/
//!
//! # From an older system
//!
//! [`import`] brings a collection of plain messages (`{_id, room_id, content, created_at, user}`) into rooms.

mod append;
mod builder;
#[cfg(feature = "change-streams")]
mod bus;
mod data;
mod database;
mod document;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
mod import;
mod read;
mod retention;
mod room;
mod search;
mod store;
mod words;

pub use builder::{Builder, Durability, Retention};
#[cfg(feature = "change-streams")]
pub use bus::MongoBus;
pub use import::{ImportReport, import};
pub use store::MongoStore;
