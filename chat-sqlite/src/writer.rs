//! The thread that writes: what waits in its queue goes into one transaction.

use std::time::{Duration, Instant};

use roomcast_core::{Appended, Epoch, NewEntry, Outcome, RoomHead, RoomId, StoreError, StoreErrorKind};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::append::{Added, append, create, unwritten};
use crate::checkpoint::Checkpoint;
use crate::error::{Cause, Chain, commit_failed, copy, refused, stays};
use crate::place::{self, Place};
use crate::retention::Sweep;
use crate::schema;
use crate::shared::Shared;
use crate::words::{Changes, Removal};

/// The most calls that one transaction takes, and about the most entries.
const CALLS_PER_COMMIT: usize = 512;
const ENTRIES_PER_COMMIT: usize = 4096;

/// A call that waits for its turn.
#[derive(Debug)]
pub(crate) enum Write {
    Create {
        room: RoomId,
        epoch: Epoch,
        reply: oneshot::Sender<Result<RoomHead, StoreError>>,
    },
    Append {
        room: RoomId,
        expected_head: u64,
        entries: Vec<NewEntry>,
        reply: oneshot::Sender<Result<Appended, StoreError>>,
    },
}

/// What a call is to be told once the transaction is committed.
enum Done {
    Created(RoomHead),
    Appended(Added),
}

impl Done {
    fn is_written(&self) -> bool {
        match self {
            Self::Created(_) => false, // It may have been there.
            Self::Appended(added) => added
                .appended
                .outcomes
                .iter()
                .any(|outcome| matches!(outcome, Outcome::Stored { .. })),
        }
    }
}

impl Write {
    fn weight(&self) -> usize {
        match self {
            Self::Create { .. } => 1,
            Self::Append { entries, .. } => entries.len(),
        }
    }

    /// Whether nobody waits for the answer any more; then nothing needs to be written.
    fn is_dropped(&self) -> bool {
        match self {
            Self::Create { reply, .. } => reply.is_closed(),
            Self::Append { reply, .. } => reply.is_closed(),
        }
    }

    fn run(&self, connection: &Connection, index: &mut Changes) -> Result<Done, StoreError> {
        match self {
            Self::Create { room, epoch, .. } => create(connection, room, epoch).map(Done::Created),
            Self::Append {
                room,
                expected_head,
                entries,
                ..
            } => append(connection, room, *expected_head, entries, index).map(Done::Appended),
        }
    }

    /// Answers. Whoever dropped the call doesn't care.
    fn answer(self, result: Result<Done, StoreError>) {
        match (self, result) {
            (Self::Create { reply, .. }, Ok(Done::Created(head))) => drop(reply.send(Ok(head))),
            (Self::Append { reply, .. }, Ok(Done::Appended(added))) => drop(reply.send(Ok(added.appended))),
            (Self::Create { reply, .. }, Err(error)) => drop(reply.send(Err(error))),
            (Self::Append { reply, .. }, Err(error)) => drop(reply.send(Err(error))),
            // Not reached: each call makes its own kind of result.
            (Self::Create { .. }, Ok(Done::Appended(_))) | (Self::Append { .. }, Ok(Done::Created(_))) => {}
        }
    }
}

/// Runs until no sender is left and the queue is empty.
pub(crate) fn run(shared: &Shared, mut queue: mpsc::Receiver<Write>, opened: oneshot::Sender<Result<(), StoreError>>) {
    // Only for waiting with a time limit.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(opened.send(Err(refused("no runtime for the writer").with_source(error)))),
    };
    let mut connection = match open(shared) {
        Ok(connection) => connection,
        Err(error) => return drop(opened.send(Err(error))),
    };
    if opened.send(Ok(())).is_err() {
        return;
    }
    let sweep = Sweep::new(shared.settings.retention, shared.settings.clock.clone());
    let checkpoint = Checkpoint::new(shared.settings.busy_timeout);
    let mut chores = Chores { sweep, checkpoint };
    let mut batch = Vec::new();
    loop {
        let now = Instant::now();
        let patience = [chores.sweep.patience(now), chores.checkpoint.patience(now)];
        let idle = match wait(&runtime, &mut queue, patience.into_iter().flatten().min()) {
            Waited::Call(first) => {
                collect(first, &mut queue, &mut batch);
                commit_all(shared, &mut connection, &mut batch, &mut chores);
                false
            }
            Waited::Nothing => true,
            Waited::Closed => return,
        };
        chores.sweep.run(shared, &mut connection, idle);
        chores.checkpoint.run(&connection, idle);
    }
}

/// What is done between the commits.
struct Chores {
    sweep: Sweep,
    checkpoint: Checkpoint,
}

impl Chores {
    /// What a commit leaves to do.
    fn note(&mut self, added: &Added) {
        let (mut count, mut changed) = (0, false);
        for outcome in &added.appended.outcomes {
            if let Outcome::Stored { target, .. } = outcome {
                count += 1;
                changed |= target.is_some();
            }
        }
        self.sweep.grew(added.room, added.kept, count);
        if changed {
            self.checkpoint.note(Instant::now());
        }
    }
}

fn open(shared: &Shared) -> Result<Connection, StoreError> {
    let before = place::look(&shared.settings.path);
    let connection = schema::open_writer(&shared.settings)?;
    let place = Place::of(&shared.settings.path, before)?;
    shared.place.get_or_init(|| place);
    Ok(connection)
}

enum Waited {
    Call(Write),
    Nothing,
    Closed,
}

fn wait(runtime: &tokio::runtime::Runtime, queue: &mut mpsc::Receiver<Write>, patience: Option<Duration>) -> Waited {
    let received = match patience {
        None => Ok(queue.blocking_recv()),
        Some(time) => runtime.block_on(async { tokio::time::timeout(time, queue.recv()).await }),
    };
    match received {
        Ok(Some(call)) => Waited::Call(call),
        Ok(None) => Waited::Closed,
        Err(_) => Waited::Nothing,
    }
}

/// Takes what waits, up to the bounds.
fn collect(first: Write, queue: &mut mpsc::Receiver<Write>, batch: &mut Vec<Write>) {
    let mut weight = 0;
    let mut next = Some(first);
    while let Some(call) = next {
        if !call.is_dropped() {
            weight += call.weight();
            batch.push(call);
        }
        if batch.len() >= CALLS_PER_COMMIT || weight >= ENTRIES_PER_COMMIT {
            return;
        }
        next = queue.try_recv().ok();
    }
}

/// Commits the calls together; one by one if that fails for certain, so that the call to blame fails alone.
fn commit_all(shared: &Shared, connection: &mut Connection, batch: &mut Vec<Write>, chores: &mut Chores) {
    match commit(shared, connection, batch) {
        Ok(results) => {
            let failure = results
                .iter()
                .find_map(|result| result.as_ref().err().filter(|error| stays(error)));
            // A call that stored nothing shows nothing.
            if failure.is_some() || results.iter().flatten().any(Done::is_written) {
                shared.note(failure);
            }
            for (call, result) in batch.drain(..).zip(results) {
                if let Ok(Done::Appended(added)) = &result {
                    chores.note(added);
                }
                call.answer(result);
            }
        }
        Err(Failure::Broken(_)) if batch.len() > 1 => {
            for call in batch.drain(..) {
                commit_all(shared, connection, &mut vec![call], chores);
            }
        }
        Err(Failure::Broken(error) | Failure::Whole(error)) => {
            shared.note(Some(&error));
            tracing::warn!(error = %Chain(&error), calls = batch.len(), "a commit failed");
            for call in batch.drain(..) {
                call.answer(Err(copy(&error)));
            }
        }
    }
}

/// Why nothing of a batch was committed.
enum Failure {
    /// It may be because of one of the calls.
    Broken(StoreError),
    /// None of the calls is to blame.
    Whole(StoreError),
}

fn commit(
    shared: &Shared,
    connection: &mut Connection,
    batch: &[Write],
) -> Result<Vec<Result<Done, StoreError>>, Failure> {
    shared.check_place().map_err(Failure::Whole)?;
    // Left from a rollback that failed.
    roll_back(connection);
    let batch_sql = |sql: &str| connection.execute_batch(sql);
    batch_sql("BEGIN IMMEDIATE").map_err(|error| Failure::Whole(unwritten(error)))?;
    let mut results = Vec::with_capacity(batch.len());
    let mut index = Changes::default();
    for call in batch {
        let before = index.len();
        let result = batch_sql("SAVEPOINT call")
            .map_err(unwritten)
            .and_then(|()| call.run(connection, &mut index));
        if result.is_err() {
            index.truncate(before);
        }
        let ended = match &result {
            Ok(_) => batch_sql("RELEASE call"),
            Err(_) if connection.is_autocommit() => Ok(()),
            Err(_) => batch_sql("ROLLBACK TO call; RELEASE call"),
        };
        // Some errors, such as a full disk, may roll back the whole transaction.
        if connection.is_autocommit() {
            let lost = || refused("the transaction was rolled back");
            return Err(Failure::Broken(result.err().unwrap_or_else(lost)));
        }
        if let Err(error) = ended {
            roll_back(connection);
            return Err(Failure::Broken(unwritten(error)));
        }
        results.push(result);
    }
    if let Err(error) = index.apply(connection, Removal::Overwrite) {
        roll_back(connection);
        return Err(Failure::Broken(error));
    }
    if let Err(error) = batch_sql("COMMIT") {
        roll_back(connection);
        let error = commit_failed(error);
        // What fills the disk may be one large call, and there may be room for the others.
        return Err(match error.kind() {
            StoreErrorKind::Refused => Failure::Broken(error),
            _ => Failure::Whole(error),
        });
    }
    // It may have been moved meanwhile, and come back. Nobody reads from it until then, so that nobody takes it for stored.
    shared.check_place().map_err(|error| {
        let unknown = StoreError::new(StoreErrorKind::OutcomeUnknown, "it was stored where it may be lost");
        Failure::Whole(unknown.with_source(Cause::from(error)))
    })?;
    Ok(results)
}

/// Ends the transaction, if one is open, without effect. If that fails, the next commit tries again.
fn roll_back(connection: &Connection) {
    if !connection.is_autocommit()
        && let Err(error) = connection.execute_batch("ROLLBACK")
    {
        tracing::warn!(%error, "the rollback failed");
    }
}
