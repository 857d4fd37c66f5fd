//! Change streams as a bus: the commit itself is the notice.
//!
//! What hubs tell each other of commits isn't carried at all: the server tells every hub of each entry that a majority has.
//! Only signals, which are of nothing that is stored, need a collection of their own.

mod intake;
mod signals;
mod stream;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use roomcast_core::{Bus, BusError, IdSource, Inbox, Notice, RandomIds, RoomId, StoreError};
use tokio::sync::watch;

use crate::database::Database;
use signals::Signals;
use stream::{Failure, Stream, Token};

/// The pause before a stream that broke is opened again; doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A [`Bus`] by MongoDB's change streams, made by [`MongoStore::bus`](crate::MongoStore::bus): a hub hears from the server
/// itself what other hubs have stored, as soon as a majority of the replica set has it. Nothing but the replica set is needed,
/// and one of a single server will do.
///
/// It goes on by itself after whatever happens to the connection or to the server: from the place in the server's operations where
/// it was, or, if the server doesn't have that any more, by having all rooms' heads compared.
pub struct MongoBus {
    database: Arc<Database>,
    signals: Signals,
    state: watch::Sender<State>,
}

/// Whether the stream is open.
#[derive(Debug, Clone)]
enum State {
    /// Not yet, but it is being tried.
    Opening,
    Open,
    Broken(String),
}

impl MongoBus {
    pub(crate) async fn start(database: Arc<Database>) -> Result<Self, StoreError> {
        // Finds out whether there can be one, and what is wrong if there can't.
        Stream::open(&database, None).await.map_err(Failure::into_store_error)?;
        Ok(Self {
            signals: Signals::start(database.clone()).await?,
            database,
            state: watch::Sender::new(State::Opening),
        })
    }

    /// Hands over what the stream brings, until it breaks. `place` is how far that is done.
    async fn follow(&self, inbox: &Inbox, place: &mut Option<Token>, pause: &mut Duration) -> Failure {
        let mut stream = match Stream::open(&self.database, place.as_ref()).await {
            Ok(stream) => stream,
            Err(failure) => return failure,
        };
        let was = self.state.send_replace(State::Open);
        if matches!(was, State::Broken(_)) {
            tracing::info!("the change stream is open again");
        }
        if place.is_none() {
            inbox.missed();
        }
        loop {
            let reply = match stream.next().await {
                Ok(reply) => reply,
                Err(failure) => return failure,
            };
            intake::take_in(inbox, &self.database, &reply).await;
            *place = reply.token().or(place.take());
            *pause = FIRST_PAUSE;
        }
    }
}

impl fmt::Debug for MongoBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoBus").finish_non_exhaustive()
    }
}

#[async_trait]
impl Bus for MongoBus {
    async fn run(&self, inbox: Inbox) {
        let (mut place, mut pause) = (None, FIRST_PAUSE);
        loop {
            let failure = self.follow(&inbox, &mut place, &mut pause).await;
            if failure.is_lost() {
                place = None;
            }
            let was = self.state.send_replace(State::Broken(failure.to_string()));
            if failure.is_final() {
                return;
            }
            // Once for each time that it breaks.
            if matches!(was, State::Broken(_)) {
                tracing::debug!(error = %failure, "the change stream can't be opened");
            } else {
                tracing::warn!(error = %failure, resumes = place.is_some(), "the change stream is broken");
            }
            // So that not all nodes come back at the same moment.
            let chance = RandomIds.message_id().as_u128() as u32;
            tokio::time::sleep(pause.mul_f64(0.5 + 0.5 * f64::from(chance) / f64::from(u32::MAX))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn watch(&self, _: &[RoomId]) {
        // All rooms' entries come; the inbox says which are wanted.
        let _ = self
            .state
            .subscribe()
            .wait_for(|state| !matches!(state, State::Opening))
            .await;
    }

    fn unwatch(&self, _: &[RoomId]) {}

    fn publish(&self, notice: &Notice) {
        if !notice.is_of_commit() {
            self.signals.send(notice);
        }
    }

    async fn health(&self) -> Result<(), BusError> {
        match &*self.state.borrow() {
            State::Open => Ok(()),
            State::Opening => Err(BusError::new("the change stream isn't open yet")),
            State::Broken(error) => Err(BusError::new(error.as_str())),
        }
    }

    async fn close(&self) {
        self.signals.close().await;
        self.state.send_replace(State::Broken("the bus is closed".to_owned()));
    }
}
