//! What is told while missing entries are being read, in every order in which the two can meet.

use super::*;
use crate::bus::Link;
use crate::engine::interleavings::{engine_on, opened, room};
use crate::outbox::Outbox;
use crate::session::Session;
use crate::sync::interleavings::{block_on, check, run, thread};
use crate::{Change, Limits, LocalBus, MessageId, NewEntry, Protocol, User};

/// Another hub stores an entry, at the head.
fn is_stored(log: &RoomLog, n: u8) {
    let user = User::named("bob").unwrap();
    let change = Change::Message {
        content: Some(n.to_string()),
        data: None,
        reply_to: None,
        nonce: None,
    };
    let (id, at) = (MessageId::from_u128(n.into()), crate::Timestamp::default());
    let store = &log.engine.store;
    block_on(async {
        let head = store.room(&room()).await.unwrap().unwrap().head;
        let appended = store.append(&room(), head, &[NewEntry { id, user, at, change }]).await;
        assert_eq!(appended.unwrap().outcomes.len(), 1);
    });
}

/// Two hubs store something, and the bus says of each that heads are to be compared: the second may come before, while or after
/// the store is read for the first, or as the task that reads comes to its end.
#[test]
fn what_is_told_while_the_store_is_read_is_read_as_well() {
    check(None, || {
        let bus = Link::new(std::sync::Arc::new(LocalBus::new().end()), MessageId::from_u128(99));
        let lease = opened(&engine_on(Limits::default(), Some(bus)));
        let session = Session {
            user: User::named("ann").unwrap(),
            protocol: Protocol::V1,
            outbox: Outbox::new(Limits::default().send_queue),
        };
        lease.log().state.lock().attach(Arc::new(session), 0, false).unwrap();
        let others = [1, 2].map(|n| {
            let log = lease.log().clone();
            thread(move || {
                is_stored(&log, n);
                log.compare_soon();
                run(async {});
            })
        });
        others.into_iter().for_each(|other| other.join().unwrap());
        let state = lease.log().state.lock();
        assert_eq!(state.head, 2, "something that was told is not here");
        assert!(!state.heard.repairing && !state.is_behind(), "somebody still reads");
    });
}

#[cfg(feature = "bugs")]
mod it_can_fail {
    use crate::bugs::Bug;
    use crate::sync::interleavings::finds;

    const TEST: &str = "log::heard::interleavings::what_is_told_while_the_store_is_read_is_read_as_well";

    #[test]
    fn what_is_told_meanwhile_is_forgotten() {
        finds(Bug::ToldMeanwhileForgotten, TEST, "something that was told is not here");
    }

    #[test]
    fn nobody_reads_a_second_time() {
        finds(Bug::RepairsOnce, TEST, "something that was told is not here");
    }
}
