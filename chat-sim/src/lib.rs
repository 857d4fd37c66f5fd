//! A seeded simulation of [roomcast](roomcast_core): hubs, clients, a store and a network in one thread and in simulated
//! time. A seed decides everything, so a failure can be had again, the same to the last event.
//!
//! | what | where |
//! |---|---|
//! | what a seed decides beforehand | `plan.rs` |
//! | hubs, and the run as a whole | `world.rs` |
//! | what goes wrong | `faults.rs`, `store/`, `network/`, `sources.rs` |
//! | the bus between the hubs | `bus/` |
//! | connections of whole frames, and real WebSockets | `network/whole.rs`, `network/socket.rs`, `network/pipe.rs` |
//! | clients that keep cursors and nonces, plain ones, and the embedding server | `client/` |
//! | what must hold: one file per promise | `oracle/` |
//! | known bugs, to prove that they are found | `bug.rs` |
//!
//! ```
//! let run = chat_sim::run(7, None);
//! assert!(run.violation.is_none(), "{run}");
//! ```

mod bug;
mod bus;
mod client;
mod faults;
mod frame;
mod many;
mod network;
mod oracle;
mod plan;
mod rng;
mod run;
mod sources;
mod store;
mod tally;
mod trace;
mod world;

pub use bug::Bug;
pub use many::{Many, many};
pub use oracle::Violation;
pub use run::{Run, run, run_printed};
pub use tally::Tally;
