//! The locks and atomics that several tasks share by the core's own rules.
//!
//! They are what they are called. For the tests in the files `interleavings.rs`, which are built with `--cfg roomcast_loom`, they
//! are loom's, which then runs a test with its threads in every order that could make a difference.

#[cfg(not(all(test, roomcast_loom)))]
mod real {
    pub(crate) use std::sync::atomic::{AtomicU8, AtomicUsize};

    pub(crate) use parking_lot::{Mutex, MutexGuard};
    pub(crate) use tokio::time::sleep as pause;

    /// A type that loom knows nothing of: its tests take each use of it for one step.
    pub(crate) type Seen<T> = T;

    pub(crate) fn seen<T>(value: T) -> Seen<T> {
        value
    }
}

#[cfg(all(test, roomcast_loom))]
mod checked {
    use std::ops::Deref;
    use std::sync::PoisonError;
    use std::sync::atomic::Ordering;

    pub(crate) use loom::sync::MutexGuard;
    pub(crate) use loom::sync::atomic::{AtomicU8, AtomicUsize};

    /// Time stands still in these tests: a pause is over at once, and any other thread may come first.
    pub(crate) async fn pause(_: std::time::Duration) {}

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    #[derive(Debug)]
    pub(crate) struct Seen<T> {
        value: T,
        uses: AtomicUsize,
    }

    pub(crate) fn seen<T>(value: T) -> Seen<T> {
        let uses = AtomicUsize::new(0);
        Seen { value, uses }
    }

    impl<T> Deref for Seen<T> {
        type Target = T;

        fn deref(&self) -> &T {
            // Loom runs other threads before this, or after.
            self.uses.fetch_add(1, Ordering::SeqCst);
            &self.value
        }
    }
}

#[cfg(all(test, roomcast_loom))]
pub(crate) use checked::*;
#[cfg(not(all(test, roomcast_loom)))]
pub(crate) use real::*;

#[cfg(all(test, roomcast_loom))]
pub(crate) mod interleavings;
