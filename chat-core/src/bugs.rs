//! Known bugs as switches, to prove that the tests find them. Without the feature `bugs` there is none of this, and
//! `bug!` is `false`.

/// Whether this thread has the bug, or one of them.
macro_rules! bug {
    ($($name:ident)|+) => {{
        #[cfg(feature = "bugs")]
        let on = $(crate::bugs::is(crate::bugs::Bug::$name))||+;
        #[cfg(not(feature = "bugs"))]
        let on = false;
        on
    }};
}
pub(crate) use bug;

#[cfg(feature = "bugs")]
mod switches {
    use std::cell::Cell;

    /// A bug that the engine can be made to have.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum Bug {
        /// Members see a batch before the store has it.
        DeliverBeforeCommit,
        /// Senders are told before the store has their message.
        AckBeforeCommit,
        /// A member gets the live stream while it is still catching up.
        LiveBeforeReplay,
        /// What was fetched for a room that was left is still sent.
        LateAnswer,
        /// What doesn't fit into a member's queue is dropped.
        OverflowDrops,
        /// An edit goes out under the number of the entry before.
        EditWithoutNumber,
        /// What a lagging member lacks is sent newest first.
        RepairOutOfOrder,
        /// A shutdown doesn't wait for the batch in flight.
        DrainForgets,
        /// A join with a cursor doesn't ask whether history may be read.
        HistoryUnasked,
        /// The entries in memory aren't brought up to date by edits and deletions.
        TailKeepsDeleted,
        /// A join doesn't look for what other hubs have stored.
        JoinLooksNowhere,
        /// Any number of requests of one connection are taken.
        UnboundedRequests,
        /// A request that waits for the answers before it isn't told that they are written.
        AnswersUntold,
        /// A connection's task looks whether it is to end, and only then says whom to wake.
        RegistersLate,
        /// A connection's task is woken, and only then is it to end.
        WakesEarly,
        /// A connection's task is woken by its client, and only then is there more to do than to send.
        RingsLate,
        /// A room's last lease is known to be dropped before the hub's rooms are looked at.
        LeaseCountedEarly,
        /// Those who wait for a place among what is to be committed aren't told of one.
        SpaceUntold,
        /// Who is told of a place too late doesn't tell the next.
        PlaceKept,
        /// A committer that found nothing to do says so a moment later.
        RestsLate,
        /// What waits for one member is bounded in messages alone.
        BytesUnbounded,
        /// The answers that wait for a client are bounded in number alone.
        AnswersUnbounded,
        /// A page that was being read when its reader was sent away is sent all the same.
        PageAfterKick,
        /// A search doesn't ask whether history may be read.
        SearchUnasked,
        /// Entries that another hub tells of are taken in without a look at what is missing before them.
        NoticeGapIgnored,
        /// A head that another hub tells of is taken for the own one.
        ToldHeadTrusted,
        /// Heads aren't compared once the bus listens for a room.
        WatchUncompared,
        /// A bus that was away is believed to have lost nothing.
        MissedIgnored,
        /// Nobody is told of what was stored here.
        EntriesUntold,
        /// Other hubs aren't told who is sent away.
        KickUntold,
        /// A kick that another hub tells of is carried out as often as it comes.
        KickRepeated,
        /// A hub that isn't heard of any more is never forgotten, nor are its users.
        SilentHubKept,
        /// Users that another hub doesn't name when it tells of a change are taken for gone.
        ChangeTakenForAll,
        /// Any number of entries that are told of too early are kept.
        EarlyUnbounded,
        /// What is missing is read from the store once, and not again.
        RepairsOnce,
        /// What is told while missing entries are being read is taken for read.
        ToldMeanwhileForgotten,
        /// A WebSocket forgets that a frame was given up half-way, and goes on behind the half.
        HalfFrameForgotten,
        /// A WebSocket answers a ping while a frame is half sent.
        PongWithinFrame,
    }

    thread_local! {
        static BUG: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Gives this thread the bug, or takes it away.
    pub fn set(bug: Option<Bug>) {
        BUG.set(bug);
    }

    /// Whether this thread has the bug.
    #[must_use]
    pub fn is(bug: Bug) -> bool {
        BUG.get() == Some(bug)
    }
}

#[cfg(feature = "bugs")]
pub use switches::*;
