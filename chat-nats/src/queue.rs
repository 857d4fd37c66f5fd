//! What waits to be sent, within bounds.

use std::collections::{HashSet, VecDeque};

use parking_lot::Mutex;
use roomcast_core::Notice;
use tokio::sync::Notify;

/// So much may wait for the connection. A few seconds of a busy hub, so that a short outage loses nothing.
pub(crate) const WAITING: Bound = Bound {
    notices: 4096,
    bytes: 8 << 20,
};

/// So much of what was sent is kept until the server is known to have it.
pub(crate) const SENT: Bound = Bound {
    notices: 1024,
    bytes: 2 << 20,
};

/// How much a queue may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) notices: usize,
    pub(crate) bytes: usize,
}

/// Notices in the order in which they were told.
#[derive(Debug)]
pub(crate) struct Notices {
    queue: VecDeque<Notice>,
    bytes: usize,
    bound: Bound,
}

impl Notices {
    pub(crate) fn new(bound: Bound) -> Self {
        Self {
            queue: VecDeque::new(),
            bytes: 0,
            bound,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Adds a notice. Says how many were dropped so that it fits.
    pub(crate) fn push(&mut self, notice: Notice) -> usize {
        self.bytes += notice.bytes().len();
        self.queue.push_back(notice);
        if self.fits(self.bound) { 0 } else { self.shrink() }
    }

    pub(crate) fn pop(&mut self) -> Option<Notice> {
        let notice = self.queue.pop_front()?;
        self.bytes -= notice.bytes().len();
        Some(notice)
    }

    fn fits(&self, bound: Bound) -> bool {
        self.queue.len() <= bound.notices && self.bytes <= bound.bytes
    }

    /// Drops what is passing, and keeps the last notice of each room: it says how far the log goes, and who lacks what is before
    /// it reads that from the store. If that isn't enough, the oldest go; those of no room at last, since nothing makes up for
    /// a kick. Half of the bound is free then, so that this is rare.
    fn shrink(&mut self) -> usize {
        let before = self.queue.len();
        let mut rooms = HashSet::new();
        let mut kept = VecDeque::new();
        for notice in std::mem::take(&mut self.queue).into_iter().rev() {
            if !notice.is_passing() && notice.room().is_none_or(|room| rooms.insert(room.clone())) {
                kept.push_front(notice);
            }
        }
        let half = Bound {
            notices: self.bound.notices / 2,
            bytes: self.bound.bytes / 2,
        };
        let mut count = kept.len();
        let mut bytes = kept.iter().map(|notice| notice.bytes().len()).sum();
        kept.retain(|notice| {
            let goes = notice.room().is_some() && (count > half.notices || bytes > half.bytes);
            if goes {
                count -= 1;
                bytes -= notice.bytes().len();
            }
            !goes
        });
        (self.queue, self.bytes) = (kept, bytes);
        while !self.fits(half) && self.pop().is_some() {}
        before - self.queue.len()
    }
}

/// The way of notices from the hub to the connection.
#[derive(Debug)]
pub(crate) struct Outgoing {
    waiting: Mutex<Notices>,
    wake: Notify,
}

impl Outgoing {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Mutex::new(Notices::new(WAITING)),
            wake: Notify::new(),
        }
    }

    /// Says how many were dropped so that it fits.
    pub(crate) fn push(&self, notice: Notice) -> usize {
        let dropped = self.waiting.lock().push(notice);
        self.wake.notify_one();
        dropped
    }

    pub(crate) fn pop(&self) -> Option<Notice> {
        self.waiting.lock().pop()
    }

    /// Puts what was sent before, and may be lost, in front of what waits.
    pub(crate) fn put_back(&self, mut sent: Notices) {
        let mut waiting = self.waiting.lock();
        let mut again = Notices::new(WAITING);
        while let Some(notice) = sent.pop().or_else(|| waiting.pop()) {
            again.push(notice);
        }
        *waiting = again;
    }

    /// Takes out what is for all hubs.
    pub(crate) fn take_for_all(&self) -> Vec<Notice> {
        let mut waiting = self.waiting.lock();
        let mut rest = Notices::new(WAITING);
        let mut for_all = Vec::new();
        while let Some(notice) = waiting.pop() {
            if notice.room().is_none() {
                for_all.push(notice);
            } else {
                rest.push(notice);
            }
        }
        *waiting = rest;
        for_all
    }

    /// The next notice, when there is one. Cancel safe.
    pub(crate) async fn next(&self) -> Notice {
        loop {
            if let Some(notice) = self.pop() {
                return notice;
            }
            self.wake.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roomcast_core::{Bus, BusError, Draft, Hub, Inbox, Limits, MemoryStore, OpenPolicy, RoomId, User, async_trait};

    use super::*;

    /// A bus that keeps what it is to carry: only a hub makes notices.
    #[derive(Default)]
    struct Kept(Mutex<Vec<Notice>>);

    #[async_trait]
    impl Bus for Kept {
        async fn run(&self, _inbox: Inbox) {}
        async fn watch(&self, _rooms: &[RoomId]) {}
        fn unwatch(&self, _rooms: &[RoomId]) {}
        fn publish(&self, notice: &Notice) {
            self.0.lock().push(notice.clone());
        }
        async fn health(&self) -> Result<(), BusError> {
            Ok(())
        }
        async fn close(&self) {}
    }

    /// What is told of a message in each of these rooms, and of a kick where there is no room.
    async fn notices(rooms: impl IntoIterator<Item = Option<String>>) -> Vec<Notice> {
        let kept = Arc::new(Kept::default());
        let mut limits = Limits::default();
        limits.rate = None;
        let hub = Hub::builder(MemoryStore::new(), OpenPolicy)
            .limits(limits)
            .bus(kept.clone());
        let hub = hub.build().unwrap();
        let bot = User::named("bot").unwrap();
        for room in rooms {
            match room {
                Some(room) => {
                    let room = RoomId::new(room).unwrap();
                    hub.publish(&room, &bot, Draft::text("hi")).await.unwrap();
                }
                None => {
                    hub.kick(bot.id());
                }
            }
        }
        std::mem::take(&mut *kept.0.lock())
    }

    fn texts(mut queue: Notices) -> Vec<String> {
        std::iter::from_fn(|| queue.pop())
            .map(|notice| String::from_utf8(notice.bytes().to_vec()).unwrap())
            .collect()
    }

    fn bound(notices: usize) -> Bound {
        let bytes = usize::MAX;
        Bound { notices, bytes }
    }

    #[tokio::test]
    async fn what_is_full_keeps_the_last_of_each_room_and_what_is_for_all() {
        let told =
            notices([Some("a"), None, Some("a"), Some("b"), Some("a")].map(|room| room.map(str::to_owned))).await;
        let mut queue = Notices::new(bound(4));
        let dropped: Vec<_> = told.iter().map(|notice| queue.push(notice.clone())).collect();
        // Of the last one of each room and the kick, one had to go so that half of the places are free.
        assert_eq!(dropped, [0, 0, 0, 0, 3]);
        assert_eq!(queue.bytes, told[1].bytes().len() + told[4].bytes().len());
        let texts = texts(queue);
        assert!(texts[0].contains(r#""t":"kick""#), "{texts:?}");
        assert!(
            texts[1].contains(r#""room":"a""#) && texts[1].contains(r#""head":3"#),
            "{texts:?}"
        );
    }

    /// Who is in a room and who asks for a turn pushes out neither kicks nor how far a log goes.
    #[tokio::test]
    async fn what_is_passing_goes_first() {
        let kept = Arc::new(Kept::default());
        let hub = Hub::builder(MemoryStore::new(), OpenPolicy).bus(kept.clone());
        let hub = hub.build().unwrap();
        let room = RoomId::new("a").unwrap();
        hub.publish(&room, &User::named("bot").unwrap(), Draft::text("hi"))
            .await
            .unwrap();
        hub.kick(User::named("ann").unwrap().id());
        // It asks the others, which are none.
        hub.room(room).presence().await;
        let told = std::mem::take(&mut *kept.0.lock());
        let passing: Vec<_> = told.iter().filter(|notice| notice.is_passing()).collect();
        assert!(!passing.is_empty(), "{told:?}");
        let mut queue = Notices::new(bound(8));
        for notice in &told {
            queue.push(notice.clone());
        }
        for _ in 0..100 {
            queue.push(passing[0].clone());
        }
        let texts = texts(queue);
        for kind in ["kick", "committed"] {
            assert!(
                texts.iter().any(|text| text.contains(kind)),
                "{kind} is gone: {texts:?}"
            );
        }
    }

    #[tokio::test]
    async fn bytes_are_bounded_too() {
        let told = notices((0..20).map(|n| Some(format!("r{n}")))).await;
        let one = told[19].bytes().len();
        let mut queue = Notices::new(Bound {
            notices: 100,
            bytes: 8 * one,
        });
        for notice in &told {
            queue.push(notice.clone());
            assert!(queue.bytes <= 8 * one);
        }
        let texts = texts(queue);
        assert!((4..=8).contains(&texts.len()), "{}", texts.len());
        assert!(texts.last().unwrap().contains("r19"));
    }

    #[tokio::test]
    async fn what_may_be_lost_is_sent_again_before_the_rest() {
        let told = notices(["a", "b", "c"].map(|room| Some(room.to_owned()))).await;
        let outgoing = Outgoing::new();
        outgoing.push(told[2].clone());
        let mut sent = Notices::new(SENT);
        sent.push(told[0].clone());
        sent.push(told[1].clone());
        outgoing.put_back(sent);
        for notice in &told {
            assert_eq!(outgoing.next().await.bytes(), notice.bytes());
        }
        assert!(outgoing.pop().is_none());
    }
}
