//! What the store and all of its threads know.

use std::sync::OnceLock;

use roomcast_core::StoreError;

use crate::builder::Builder;
use crate::place::Place;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Builder,
    /// Set by the writer when it has opened the file.
    pub(crate) place: OnceLock<Place>,
}

impl Shared {
    pub(crate) fn new(settings: Builder) -> Self {
        Self {
            settings,
            place: OnceLock::new(),
        }
    }

    /// Fails if the file is no longer in its place.
    pub(crate) fn check_place(&self) -> Result<(), StoreError> {
        self.place.get().map_or(Ok(()), Place::check)
    }
}
