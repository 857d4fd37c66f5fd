//! The outbox in every order in which its rooms, the hub and the connection's task can meet.

use super::*;
use crate::log::Frame;
use crate::sync::interleavings::{block_on, check, thread};

fn outbox(messages: usize) -> Arc<Outbox> {
    Arc::new(Outbox::new(QueueLimit { messages, bytes: 100 }))
}

fn batch(seq: u64) -> Arc<Batch> {
    let frame = Frame {
        seq,
        bytes: Bytes::from_static(b"entry"),
        plain: true,
    };
    Arc::new(Batch::new(vec![frame]))
}

const REPLY: Bytes = Bytes::from_static(b"reply");

const AWAY: Closing = Closing {
    code: CloseCode::Draining,
    after: None,
    finish: true,
};

/// A part of a connection's task, as if it were all of it.
pub(crate) async fn alone<T>(outbox: &Outbox, part: impl Future<Output = T>) -> T {
    let mut part = std::pin::pin!(part);
    poll_fn(|cx| {
        let _ = outbox.poll_phase(cx);
        part.as_mut().poll(cx)
    })
    .await
}

/// What a writer was given.
#[derive(Default)]
struct Given {
    /// The last seq of each room, and whether it lags since.
    rooms: [(u64, bool); 2],
    replies: usize,
}

impl Given {
    fn take(&mut self, items: &mut Items) {
        for item in std::mem::take(items) {
            match item {
                Item::Batch { slot, batch } => {
                    let (last, lagging) = &mut self.rooms[slot as usize];
                    assert!(!*lagging, "a batch after the mark");
                    assert_eq!(batch.frames()[0].seq, *last + 1);
                    *last += 1;
                }
                Item::Lagging { slot } => {
                    let (_, lagging) = &mut self.rooms[slot as usize];
                    assert!(!std::mem::replace(lagging, true), "a second mark");
                }
                Item::Reply(_) => self.replies += 1,
                other => panic!("nobody pushed {other:?}"),
            }
        }
    }
}

/// Two rooms and an answer, with place for two messages: each room's batches come in order, up to the mark if one didn't fit;
/// and the writer, which waits for all of it, isn't left asleep.
#[test]
fn what_is_pushed_comes_in_order_or_the_room_lags() {
    check(Some(2), || {
        let outbox = outbox(2);
        let rooms = [0, 1].map(|slot| {
            let outbox = outbox.clone();
            thread(move || (1..=2).all(|seq| outbox.push_batch(slot, &batch(seq))))
        });
        let answer = thread({
            let outbox = outbox.clone();
            move || outbox.push(Item::Reply(REPLY))
        });
        let mut given = Given::default();
        let mut items = Items::default();
        let all = |given: &Given| given.replies == 1 && given.rooms.iter().all(|(last, lags)| *last == 2 || *lags);
        while !all(&given) {
            assert_eq!(block_on(alone(&outbox, outbox.take(&mut items, true))), Taken::Items);
            let held = items.iter().filter(|item| matches!(item, Item::Batch { .. })).count();
            assert!(held <= 2, "the limit is 2, and there are {held}");
            given.take(&mut items);
        }
        for (room, (_, lags)) in rooms.into_iter().zip(given.rooms) {
            assert_eq!(room.join().unwrap(), !lags);
        }
        answer.join().unwrap();
        assert_eq!(block_on(outbox.take(&mut items, false)), Taken::Nothing);
        let state = outbox.state.lock();
        assert_eq!((state.live.messages, state.live.bytes, state.replies), (0, 0, 0));
    });
}

/// The connection is closed while a room pushes and a message is settled: the writer ends, not before the message is answered,
/// and nothing of the room is queued any more once it is closed.
#[test]
fn a_closing_connection_answers_and_ends() {
    check(Some(2), || {
        let outbox = outbox(9);
        outbox.begin();
        let room = thread({
            let outbox = outbox.clone();
            move || outbox.push_batch(0, &batch(1))
        });
        let settled = thread({
            let outbox = outbox.clone();
            move || outbox.finish(Some(REPLY))
        });
        let closed = thread({
            let outbox = outbox.clone();
            move || {
                outbox.close(AWAY);
                let queue = &outbox.state.lock().queue;
                assert!(queue.iter().all(|item| matches!(item, Item::Reply(_))), "{queue:?}");
            }
        });
        let mut given = Given::default();
        let mut items = Items::default();
        while block_on(alone(&outbox, outbox.take(&mut items, true))) == Taken::Items {
            given.take(&mut items);
        }
        assert_eq!(given.replies, 1, "it is ended, and the message has no answer");
        for thread in [settled, closed] {
            thread.join().unwrap();
        }
        room.join().unwrap();
        assert!(outbox.state.lock().queue.is_empty());
    });
}

/// What a closing connection waits for never comes: it ends all the same once it is hurried, and again if it was told to stay
/// away meanwhile.
#[test]
fn a_hurried_connection_ends() {
    check(Some(3), || {
        let outbox = outbox(9);
        outbox.begin();
        let hurried = thread({
            let outbox = outbox.clone();
            move || {
                outbox.close(AWAY);
                outbox.hurry();
            }
        });
        let kicked = thread({
            let outbox = outbox.clone();
            move || {
                outbox.push(Item::Reply(REPLY));
                outbox.close(Closing {
                    code: CloseCode::Kicked,
                    ..AWAY
                });
            }
        });
        let mut items = Items::default();
        while block_on(alone(&outbox, outbox.take(&mut items, true))) == Taken::Items {
            drop(std::mem::take(&mut items));
        }
        hurried.join().unwrap();
        kicked.join().unwrap();
        assert_eq!(outbox.closing().map(|closing| closing.code), Some(CloseCode::Kicked));
    });
}

/// The connection's task as `session::run` has it: the phase, by which it is woken, and then its parts, which register nobody.
/// Returns once it is that far from its end; its part was then given up.
async fn task(outbox: &Outbox, end: Phase) {
    let mut part = std::pin::pin!(std::future::pending::<()>());
    poll_fn(|cx| {
        let (phase, _) = outbox.poll_phase(cx);
        let part = std::pin::pin!(outbox.before(Phase::Ending, part.as_mut())).poll(cx);
        match (phase, part) {
            (Phase::Cut, _) => Poll::Ready(()),
            (_, Poll::Ready(given_up)) if end == Phase::Ending => {
                assert_eq!(given_up, None);
                Poll::Ready(())
            }
            _ => Poll::Pending,
        }
    })
    .await;
}

#[test]
fn a_connection_that_is_cut_ends() {
    check(Some(3), || {
        let outbox = outbox(9);
        let cuts = thread({
            let outbox = outbox.clone();
            move || outbox.cut()
        });
        let pushes = thread({
            let outbox = outbox.clone();
            move || outbox.push(Item::Ping)
        });
        block_on(task(&outbox, Phase::Cut));
        cuts.join().unwrap();
        pushes.join().unwrap();
    });
}

#[test]
fn a_part_is_given_up_when_the_connection_is_to_end() {
    check(None, || {
        let outbox = outbox(9);
        let closed = thread({
            let outbox = outbox.clone();
            move || {
                outbox.close(Closing { finish: false, ..AWAY });
            }
        });
        block_on(task(&outbox, Phase::Ending));
        closed.join().unwrap();
    });
}

/// A request waits for a place: for the message before it to be settled, and for its answer to be written. Its task is the writer's
/// as well, and there is one waker for both.
#[test]
fn a_request_gets_its_place() {
    check(Some(3), || {
        let outbox = Arc::new(Outbox::new(QueueLimit { messages: 9, bytes: 5 }));
        outbox.begin();
        let settled = thread({
            let outbox = outbox.clone();
            move || outbox.finish(Some(REPLY))
        });
        let room = thread({
            let outbox = outbox.clone();
            move || outbox.push_batch(0, &batch(1))
        });
        let mut items = Items::default();
        block_on(async {
            let mut request = std::pin::pin!(outbox.capacity(1));
            let mut write = std::pin::pin!(async {
                loop {
                    assert_eq!(outbox.take(&mut items, true).await, Taken::Items);
                    drop(std::mem::take(&mut items));
                }
            });
            poll_fn(|cx| {
                let (_, rung) = outbox.poll_phase(cx);
                if rung && request.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                write.as_mut().poll(cx)
            })
            .await;
        });
        settled.join().unwrap();
        room.join().unwrap();
    });
}

#[cfg(feature = "bugs")]
mod it_can_fail {
    use crate::bugs::Bug;
    use crate::sync::interleavings::finds;

    const CUT: &str = "outbox::interleavings::a_connection_that_is_cut_ends";

    #[test]
    fn a_task_that_says_too_late_whom_to_wake() {
        finds(Bug::RegistersLate, CUT, "deadlock");
    }

    #[test]
    fn a_wake_before_what_it_is_about() {
        finds(Bug::WakesEarly, CUT, "deadlock");
    }

    #[test]
    fn a_request_that_is_held_back_for_ever() {
        let test = "outbox::interleavings::a_request_gets_its_place";
        finds(Bug::AnswersUntold, test, "deadlock");
    }
}
