//! A connection in every order in which its task can meet its rooms and the hub. All of it is the real code; the client takes what it
//! is sent at once.

use std::task::Waker;

use super::*;
use crate::engine::interleavings::{engine, opened};
use crate::outbox::Attach;
use crate::outbox::interleavings::alone;
use crate::sync::interleavings::{block_on, check, run, thread};
use crate::{Bytes, CloseFrame, ConnectionError, Draft, Hub, Limits, MemoryStore, OpenPolicy, QueueLimit};

fn user() -> User {
    User::named("ann").unwrap()
}

/// A client that has seen the room's entries up to a number, and goes once it has seen them up to another.
struct Member {
    seen: u64,
    until: u64,
}

impl ConnectionWriter for Member {
    async fn send(&mut self, frames: &[Bytes]) -> Result<(), ConnectionError> {
        for frame in frames {
            let frame: serde_json::Value = serde_json::from_slice(frame).unwrap();
            assert_eq!(frame["seq"], self.seen + 1, "an entry is missing, or came twice");
            self.seen += 1;
        }
        match self.seen < self.until {
            true => Ok(()),
            false => Err(ConnectionError::new("that was all")),
        }
    }

    async fn ping(&mut self) -> Result<bool, ConnectionError> {
        Ok(true)
    }

    async fn close(&mut self, _: &CloseFrame) -> Result<(), ConnectionError> {
        Ok(())
    }
}

/// Says something, and doesn't wait for what becomes of it.
fn speak(engine: &Engine, lease: &RoomLease) {
    let (sender, _) = crate::log::Sender::caller();
    run(engine.send(lease, &user(), Draft::text("x"), true, sender));
}

/// Somebody joins with a cursor while another one speaks. The queue has place for one message, so that the member may begin to lag
/// at once. It sees every entry, in order, and is not left waiting for one.
#[test]
fn a_replay_meets_the_live_stream() {
    check(Some(3), || {
        let send_queue = QueueLimit {
            messages: 1,
            bytes: 1 << 20,
        };
        let engine = engine(Limits {
            send_queue,
            ..Limits::default()
        });
        let lease = opened(&engine);
        speak(&engine, &lease);
        let speaks = thread({
            let (engine, lease) = (engine.clone(), lease.clone());
            move || (0..2).for_each(|_| speak(&engine, &lease))
        });
        let session = Arc::new(Session {
            user: user(),
            protocol: Protocol::V1,
            outbox: Outbox::new(engine.limits.send_queue),
        });
        let log = lease.log().clone();
        let (member, head) = log.attach(session.clone(), 0, false).unwrap();
        session.outbox.push(Item::Attach(Box::new(Attach {
            slot: 0,
            room: log.clone(),
            member,
            next: 1,
            goal: head,
            presence: false,
            frames: Vec::new(),
        })));
        let now = Instant::now();
        let pulse = Mutex::new(Pulse {
            heard: now,
            listening: false,
            ping: Ping::No,
        });
        let mut client = Member { seen: 0, until: 3 };
        let mut sending = Sending::new(&engine, &session, &pulse);
        let end = block_on(alone(&session.outbox, sending.run(&mut client)));
        assert_eq!((end, client.seen), (End::Gone, 3));
        log.detach(member);
        speaks.join().unwrap();
        run(async {});
        drop(lease);
        assert_eq!(engine.rooms_in_use(), 0);
    });
}

/// A client that says nothing, and hangs up once the server says goodbye.
#[derive(Clone, Default)]
struct Silent(Arc<Mutex<(bool, Option<Waker>)>>);

impl Connection for Silent {
    type Reader = Self;
    type Writer = Self;

    fn split(self) -> (Self, Self) {
        (self.clone(), self)
    }
}

impl ConnectionReader for Silent {
    async fn recv(&mut self) -> Result<Inbound, ConnectionError> {
        poll_fn(|cx| {
            let (closed, waker) = &mut *self.0.lock();
            *waker = Some(cx.waker().clone());
            match closed {
                true => Poll::Ready(Ok(Inbound::Closed)),
                false => Poll::Pending,
            }
        })
        .await
    }
}

impl Silent {
    fn hang_up(&self) {
        let waker = {
            let mut state = self.0.lock();
            state.0 = true;
            state.1.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

impl ConnectionWriter for Silent {
    async fn send(&mut self, _: &[Bytes]) -> Result<(), ConnectionError> {
        Ok(())
    }

    async fn ping(&mut self) -> Result<bool, ConnectionError> {
        Ok(true)
    }

    async fn close(&mut self, _: &CloseFrame) -> Result<(), ConnectionError> {
        self.hang_up();
        Ok(())
    }
}

/// A client comes while the hub stops and its user is sent away: it gets no place, or its connection is closed.
#[test]
fn a_client_that_comes_while_the_hub_stops() {
    check(Some(2), || {
        let hub = Hub::builder(MemoryStore::new(), OpenPolicy).seed(0).build().unwrap();
        let engine = hub.engine().clone();
        let kicks = thread({
            let engine = engine.clone();
            move || engine.kick(user().id())
        });
        let stops = thread(move || drop(hub));
        if let Ok(place) = engine.place(user().id()) {
            let client = Client::v1(user());
            let ended = block_on(serve(engine.clone(), place, client, None, Silent::default()));
            assert!(
                matches!(ended.code, Some(CloseCode::Draining | CloseCode::Kicked)),
                "{ended:?}"
            );
        }
        kicks.join().unwrap();
        stops.join().unwrap();
        assert_eq!((engine.connections(), engine.users()), (0, 0));
    });
}

/// A client hangs up while its room speaks: both wake the connection's task, each for a part of it, and it ends.
#[test]
fn a_client_hangs_up_while_it_is_spoken_to() {
    check(Some(2), || {
        let engine = engine(Limits::default());
        let lease = opened(&engine);
        let client = Silent::default();
        let served = {
            let place = engine.place(user().id()).unwrap();
            let admitted = Client::plain(user(), lease.log().id.clone());
            serve(engine.clone(), place, admitted, Some(lease.clone()), client.clone())
        };
        let speaks = thread({
            let (engine, lease) = (engine.clone(), lease.clone());
            move || speak(&engine, &lease)
        });
        let hangs_up = thread(move || client.hang_up());
        assert_eq!(block_on(served).code, None);
        speaks.join().unwrap();
        hangs_up.join().unwrap();
        run(async {});
        drop(lease);
        assert_eq!((engine.connections(), engine.rooms_in_use()), (0, 0));
    });
}

#[cfg(feature = "bugs")]
mod it_can_fail {
    use crate::bugs::Bug;
    use crate::sync::interleavings::finds;

    const TEST: &str = "session::interleavings::a_replay_meets_the_live_stream";

    #[test]
    fn a_member_that_gets_the_live_stream_too_early() {
        finds(Bug::LiveBeforeReplay, TEST, "an entry is missing");
    }

    #[test]
    fn a_client_that_is_not_heard_because_its_room_speaks() {
        let test = "session::interleavings::a_client_hangs_up_while_it_is_spoken_to";
        finds(Bug::RingsLate, test, "deadlock");
    }

    #[test]
    fn a_batch_that_has_no_place_and_is_dropped() {
        finds(Bug::OverflowDrops, TEST, "panicked");
    }
}
