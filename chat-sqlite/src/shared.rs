//! What the store and all of its threads know.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use roomcast_core::StoreError;

use crate::builder::Builder;
use crate::error::{copy, stays};
use crate::place::Place;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Builder,
    /// Set by the writer when it has opened the file.
    pub(crate) place: OnceLock<Place>,
    /// When the last write failed, if it did so for a reason that stays, and what the reason was.
    trouble: Mutex<Option<(Instant, StoreError)>>,
}

/// For how long a failed write counts. Whoever is taken out of service for it gets no more writes by which it could show
/// that all is well again.
const TROUBLE: Duration = Duration::from_secs(30);

impl Shared {
    pub(crate) fn new(settings: Builder) -> Self {
        Self {
            settings,
            place: OnceLock::new(),
            trouble: Mutex::new(None),
        }
    }

    /// A commit came to its end, or a call within one did.
    pub(crate) fn note(&self, failure: Option<&StoreError>) {
        match failure {
            None => *self.trouble.lock() = None,
            Some(error) if stays(error) => *self.trouble.lock() = Some((Instant::now(), copy(error))),
            Some(_) => {}
        }
    }

    /// Fails if the last write did, a short time ago and for a reason that stays.
    pub(crate) fn check_writes(&self) -> Result<(), StoreError> {
        match &*self.trouble.lock() {
            Some((at, error)) if at.elapsed() < TROUBLE => Err(copy(error)),
            _ => Ok(()),
        }
    }

    /// Fails if the file is no longer in its place.
    pub(crate) fn check_place(&self) -> Result<(), StoreError> {
        self.place.get().map_or(Ok(()), Place::check)
    }
}
