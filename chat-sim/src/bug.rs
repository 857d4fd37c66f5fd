//! Known bugs that a run can be made to have, to prove that the simulation finds them.
//!
//! Bugs of the engine are switches inside it, which exist only with the feature `bugs`; bugs of a store are in the
//! simulation's own store. A bug is on for one thread, since a run takes one.

use std::cell::Cell;

/// A known bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bug {
    /// The store counts up before it writes, so that a failed write leaves a number that nothing has.
    CounterFirst,
    /// The store forgets nonces when the process ends.
    NonceInMemory,
    /// One of the engine's.
    #[cfg(feature = "bugs")]
    Engine(roomcast_core::bugs::Bug),
}

thread_local! {
    static BUG: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Whether this run has the bug.
pub(crate) fn is(bug: Bug) -> bool {
    BUG.get() == Some(bug)
}

/// Gives this thread the bug, until it is dropped.
pub(crate) struct Switched;

impl Switched {
    pub(crate) fn on(bug: Option<Bug>) -> Self {
        BUG.set(bug);
        #[cfg(feature = "bugs")]
        roomcast_core::bugs::set(match bug {
            Some(Bug::Engine(bug)) => Some(bug),
            _ => None,
        });
        Self
    }
}

impl Drop for Switched {
    fn drop(&mut self) {
        BUG.set(None);
        #[cfg(feature = "bugs")]
        roomcast_core::bugs::set(None);
    }
}
