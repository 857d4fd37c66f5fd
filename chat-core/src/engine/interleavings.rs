//! Rooms and places in every order in which those who take them and give them back can meet.

use super::*;
use crate::sync::interleavings::{check, thread};
use crate::{Epoch, MemoryStore, MessageId, OpenPolicy, SystemClock};

/// The same ids in each run.
#[derive(Default)]
struct Ids(std::sync::atomic::AtomicU64);

impl IdSource for Ids {
    fn message_id(&self) -> MessageId {
        MessageId::from_u128(self.0.fetch_add(1, Ordering::Relaxed).into())
    }

    fn epoch(&self) -> Epoch {
        Epoch::new("e").unwrap()
    }
}

/// What a hub is made of, with nothing in it.
pub(crate) fn engine(limits: Limits) -> Arc<Engine> {
    engine_on(limits, None)
}

/// The same, and the way to other hubs.
pub(crate) fn engine_on(limits: Limits, bus: Option<Link>) -> Arc<Engine> {
    Arc::new(Engine::new(
        Arc::new(MemoryStore::new()),
        Arc::new(OpenPolicy),
        Arc::new(SystemClock),
        Arc::new(Ids::default()),
        limits,
        bus,
        0,
    ))
}

/// A room that is in use from now on, and was opened.
pub(crate) fn opened(engine: &Arc<Engine>) -> RoomLease {
    let lease = engine.lease(&room());
    crate::sync::interleavings::block_on(lease.log().open()).unwrap();
    lease
}

pub(crate) fn room() -> RoomId {
    RoomId::new("r").unwrap()
}

/// Whether this is the log that others find.
fn is_current(engine: &Engine, lease: &RoomLease) -> bool {
    engine
        .room_in_use(&room())
        .is_some_and(|log| Arc::ptr_eq(&log, lease.log()))
}

/// Three use a room: while any does, no other log of that room is in use. Then there is none.
#[test]
fn a_room_in_use_has_one_log() {
    check(None, || {
        let engine = engine(Limits::default());
        let users = [(); 2].map(|()| {
            let engine = engine.clone();
            thread(move || {
                let lease = engine.lease(&room());
                assert!(is_current(&engine, &lease), "two logs of one room");
            })
        });
        drop(engine.lease(&room()));
        for user in users {
            user.join().unwrap();
        }
        assert_eq!(engine.rooms_in_use(), 0);
    });
}

/// The same with a second lease that is made of the first.
#[test]
fn a_room_is_in_use_through_any_of_its_leases() {
    check(None, || {
        let engine = engine(Limits::default());
        let lease = engine.lease(&room());
        let other = thread({
            let (engine, lease) = (engine.clone(), lease.clone());
            move || {
                let again = lease.clone();
                drop(lease);
                assert!(is_current(&engine, &again), "two logs of one room");
            }
        });
        drop(lease);
        drop(engine.lease(&room()));
        other.join().unwrap();
        assert_eq!(engine.rooms_in_use(), 0);
    });
}

/// A log is given up while one leaves it and another comes: whoever comes after that finds a log that is kept for as long as
/// they hold it, whatever becomes of the leases of the old one.
#[test]
fn a_log_that_is_given_up_takes_no_other_along() {
    check(None, || {
        let engine = engine(Limits::default());
        let old = engine.lease(&room());
        let log = old.log().clone();
        let gives_up = thread({
            let (engine, log) = (engine.clone(), log.clone());
            move || engine.forget(&log)
        });
        let comes = thread({
            let engine = engine.clone();
            move || {
                let lease = engine.lease(&room());
                let kept = is_current(&engine, &lease);
                assert!(kept || Arc::ptr_eq(lease.log(), &log), "a new log was given up as well");
            }
        });
        drop(old);
        gives_up.join().unwrap();
        let lease = engine.lease(&room());
        assert!(is_current(&engine, &lease));
        comes.join().unwrap();
        assert!(is_current(&engine, &lease));
        drop(lease);
        assert_eq!(engine.rooms_in_use(), 0);
    });
}

/// Two connections of one user and one of another, with two places and one a user: the limits hold, and all is given back.
#[test]
fn places_are_limited_and_given_back() {
    check(None, || {
        let mut limits = Limits::default();
        (limits.connections, limits.connections_per_user) = (2, 1);
        let engine = engine(limits);
        let others = ["ann", "ann"].map(|user| {
            let engine = engine.clone();
            thread(move || {
                let place = engine.place(&UserId::new(user).unwrap());
                let one = engine.sessions.lock().per_user.values().all(|count| *count == 1);
                assert!(one, "one user has two");
                drop(place);
            })
        });
        let place = engine.place(&UserId::new("bob").unwrap());
        assert!(place.is_ok(), "bob has none, and ann one at most");
        drop(place);
        for other in others {
            other.join().unwrap();
        }
        assert_eq!((engine.connections(), engine.users()), (0, 0));
    });
}

#[cfg(feature = "bugs")]
mod it_can_fail {
    use crate::bugs::Bug;
    use crate::sync::interleavings::finds;

    #[test]
    fn a_last_lease_that_is_counted_before_the_rooms_are_looked_at() {
        let test = "engine::interleavings::a_room_in_use_has_one_log";
        finds(Bug::LeaseCountedEarly, test, "two logs of one room");
    }
}
