//! The way from a sender to the committer in every order in which they can meet. The committer is the real one, on the store in
//! memory; a committer is run by the thread that started it.

use std::pin::pin;
use std::task::Poll;

use tokio::sync::oneshot;

use super::*;
use crate::MessageId;
use crate::engine::RoomLease;
use crate::engine::interleavings::{engine, opened};
use crate::sync::interleavings::{block_on, check, run, thread};
use crate::{Change, Limits, NewEntry, Timestamp, User};

type Told = oneshot::Receiver<Result<Receipt, Refusal>>;

fn message(n: u8) -> (Submission, Told) {
    let (sender, told) = Sender::caller();
    let change = Change::Message {
        content: Some(n.to_string()),
        data: None,
        reply_to: None,
        nonce: None,
    };
    let entry = NewEntry {
        id: MessageId::from_u128(n.into()),
        user: User::named("ann").unwrap(),
        at: Timestamp::default(),
        change,
    };
    let submission = Submission {
        entry,
        bytes: 1,
        deadline: Instant::now() + Duration::from_secs(10),
        sender,
    };
    (submission, told)
}

/// A room whose queue has place for so many, of which a committer takes one at a time.
fn place_for(messages: usize) -> RoomLease {
    let mut limits = Limits::default();
    limits.commit_queue.messages = messages;
    limits.commit_batch.messages = 1;
    opened(&engine(limits))
}

/// So many send one message each. Returns what they were told.
fn all_send(lease: &RoomLease, senders: u8) -> Vec<Told> {
    let (submissions, told): (Vec<_>, Vec<_>) = (1..=senders).map(message).unzip();
    let threads: Vec<_> = submissions
        .into_iter()
        .map(|submission| {
            let lease = lease.clone();
            thread(move || run(lease.submit(submission)))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    told
}

/// All were told, each of a place of its own; and nobody works or waits any more.
fn all_is_settled(lease: RoomLease, told: Vec<Told>) {
    let count = told.len() as u64;
    let mut seqs: Vec<_> = told
        .into_iter()
        .map(|mut told| told.try_recv().expect("a sender was told nothing").unwrap().seq)
        .collect();
    seqs.sort_unstable();
    assert!(seqs.into_iter().eq(1..=count));
    {
        let state = lease.log().state.lock();
        assert_eq!((state.head, state.waiting, state.committing), (count, 0, false));
    }
    is_forgotten(lease);
}

fn is_forgotten(lease: RoomLease) {
    let engine = lease.log().engine.clone();
    drop(lease);
    assert_eq!(engine.rooms_in_use(), 0, "somebody keeps the room in use");
}

#[test]
fn nobody_is_left_without_a_committer() {
    check(None, || {
        let lease = place_for(9);
        let told = all_send(&lease, 2);
        all_is_settled(lease, told);
    });
}

#[test]
fn all_who_wait_get_a_place() {
    check(Some(2), || {
        let lease = place_for(1);
        let told = all_send(&lease, 3);
        all_is_settled(lease, told);
    });
}

/// One gives up while it waits for a place. It may have been told of one: then the next is told.
#[test]
fn who_gives_up_passes_its_place_on() {
    check(Some(2), || {
        let lease = place_for(1);
        let (first, told) = message(1);
        let (given_up, mut told_nothing) = message(2);
        let (last, told_last) = message(3);
        let others = [first, last].map(|submission| {
            let lease = lease.clone();
            thread(move || run(lease.submit(submission)))
        });
        {
            let mut submit = Box::pin(lease.submit(given_up));
            let mut once = true;
            // Polled once, and perhaps again if it was woken by then.
            let polled = std::future::poll_fn(|cx| {
                let polled = submit.as_mut().poll(cx);
                if polled.is_pending() && std::mem::replace(&mut once, false) {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(())
            });
            block_on(polled);
        }
        run(async {});
        for other in others {
            other.join().unwrap();
        }
        run(async {});
        for mut told in [told, told_last] {
            told.try_recv().expect("a sender was told nothing").unwrap();
        }
        told_nothing
            .try_recv()
            .expect("a sender that gave up was told nothing")
            .ok();
        {
            let state = lease.log().state.lock();
            assert_eq!((state.waiting, state.committing), (0, false));
        }
        is_forgotten(lease);
    });
}

/// The time of one is over while it waits for a place; then it is told of one, and has to tell the next.
#[test]
fn who_comes_too_late_passes_its_place_on() {
    check(Some(2), || {
        let lease = place_for(1);
        let (mut late, mut told_late) = message(1);
        late.deadline = Instant::now() + Duration::from_secs(1);
        let late = thread({
            let lease = lease.clone();
            move || {
                run(async {
                    let mut submit = pin!(lease.submit(late));
                    if std::future::poll_fn(|cx| Poll::Ready(submit.as_mut().poll(cx)))
                        .await
                        .is_pending()
                    {
                        tokio::time::advance(Duration::from_secs(1)).await;
                        submit.await;
                    }
                });
            }
        });
        let told = all_send(&lease, 2);
        late.join().unwrap();
        run(async {});
        for mut told in told {
            told.try_recv().expect("a sender was told nothing").unwrap();
        }
        told_late
            .try_recv()
            .expect("one that came too late was told nothing")
            .ok();
        assert_eq!(lease.log().state.lock().waiting, 0);
        is_forgotten(lease);
    });
}

/// The log is given up meanwhile: all are told that what they sent is stored, or that it isn't known; none is left waiting.
#[test]
fn a_log_that_breaks_up_lets_all_go() {
    check(Some(2), || {
        let lease = place_for(1);
        let breaks = thread({
            let log = lease.log().clone();
            move || log.break_up()
        });
        let told = all_send(&lease, 2);
        breaks.join().unwrap();
        for mut told in told {
            told.try_recv().expect("a sender was told nothing").ok();
        }
        assert_eq!(lease.log().state.lock().waiting, 0);
        is_forgotten(lease);
    });
}

#[cfg(feature = "bugs")]
mod it_can_fail {
    use crate::bugs::Bug;
    use crate::sync::interleavings::finds;

    #[test]
    fn a_committer_that_says_late_that_it_rests() {
        let test = "log::interleavings::nobody_is_left_without_a_committer";
        finds(Bug::RestsLate, test, "a sender was told nothing");
    }

    #[test]
    fn a_place_that_is_kept_by_who_is_too_late() {
        let test = "log::interleavings::who_comes_too_late_passes_its_place_on";
        finds(Bug::PlaceKept, test, "deadlock");
    }

    #[test]
    fn a_place_of_which_nobody_is_told() {
        let test = "log::interleavings::all_who_wait_get_a_place";
        finds(Bug::SpaceUntold, test, "deadlock");
    }
}
