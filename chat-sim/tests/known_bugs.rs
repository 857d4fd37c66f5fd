//! The simulation can fail: it finds each known bug within so many seeds.
#![allow(missing_docs)]

use chat_sim::Bug::{self, CounterFirst, Engine, NonceInMemory};
use roomcast_core::bugs::Bug::*;

const ORDER: &str = "order";
const GAP: &str = "no silent gap";
const RESUME: &str = "resume";
const DURABLE: &str = "acknowledged means durable";
const BOUNDED: &str = "bounded";
const PERMISSIONS: &str = "permissions hold for history as for live";
const SHUTDOWN: &str = "shutdown loses nothing";
const DELETED: &str = "what was deleted is nowhere given out again";
const SETTLES: &str = "everything settles";
const FRAMES: &str = "whole frames";
const REASONS: &str = "a close has its reason";
const VERBS: &str = "the server's own verbs";
const NEWS: &str = "a good bus brings news soon";
const PRESENCE: &str = "who asks is told who is there";

/// A bug, within how many seeds it is found, and the promises that it may break first.
const KNOWN: &[(Bug, u64, &[&str])] = &[
    (Engine(DeliverBeforeCommit), 100, &[ORDER]),
    (Engine(AckBeforeCommit), 100, &[DURABLE, VERBS]),
    (CounterFirst, 100, &[SETTLES, SHUTDOWN, VERBS]),
    (Engine(LiveBeforeReplay), 100, &[GAP]),
    (Engine(LateAnswer), 100, &[GAP]),
    (Engine(OverflowDrops), 100, &[GAP]),
    (NonceInMemory, 100, &[DURABLE]),
    (Engine(EditWithoutNumber), 100, &[ORDER]),
    (Engine(RepairOutOfOrder), 100, &[GAP]),
    (Engine(DrainForgets), 300, &[SHUTDOWN]),
    (Engine(HistoryUnasked), 100, &[PERMISSIONS]),
    (Engine(TailKeepsDeleted), 100, &[DELETED]),
    (Engine(JoinLooksNowhere), 2000, &[DELETED]),
    (Engine(UnboundedRequests), 300, &[BOUNDED]),
    (Engine(BytesUnbounded), 300, &[BOUNDED]),
    (Engine(AnswersUnbounded), 300, &[BOUNDED]),
    (Engine(HalfFrameForgotten), 300, &[FRAMES]),
    (Engine(PongWithinFrame), 100, &[FRAMES]),
    (Engine(PageAfterKick), 300, &[REASONS]),
    (Engine(SearchUnasked), 100, &[VERBS]),
    (Engine(NoticeGapIgnored), 100, &[GAP, RESUME]),
    (Engine(ToldHeadTrusted), 100, &[GAP, RESUME, SETTLES]),
    (Engine(WatchUncompared), 2000, &[NEWS]),
    (Engine(MissedIgnored), 300, &[NEWS]),
    (Engine(EntriesUntold), 100, &[NEWS]),
    (Engine(KickUntold), 100, &[NEWS]),
    (Engine(EarlyUnbounded), 100, &[BOUNDED]),
    (Engine(RepairsOnce), 300, &[NEWS]),
    (Engine(KickRepeated), 300, &[REASONS]),
    (Engine(SilentHubKept), 100, &[PRESENCE]),
    (Engine(ChangeTakenForAll), 300, &[PRESENCE]),
];

/// Finds the bug, and says with which seed, or that it isn't found.
fn hunt(bug: Bug, within: u64, promises: &[&str]) -> Result<String, String> {
    let found = (1..=within).find_map(|seed| Some((seed, chat_sim::run(seed, Some(bug)).violation?)));
    match found {
        None => Err(format!("{bug:?} is not found within {within} seeds")),
        Some((seed, violation)) if promises.contains(&violation.promise) => {
            let promise = violation.promise;
            Ok(format!("{bug:?}: found by seed {seed} of at most {within}: {promise}"))
        }
        Some((seed, violation)) => Err(format!("{bug:?} broke another promise with seed {seed}: {violation}")),
    }
}

#[test]
fn each_known_bug_is_found() {
    let results: Vec<_> = std::thread::scope(|scope| {
        let hunts: Vec<_> = KNOWN
            .iter()
            .map(|&(bug, within, promises)| scope.spawn(move || hunt(bug, within, promises)))
            .collect();
        hunts.into_iter().map(|hunt| hunt.join().unwrap()).collect()
    });
    for found in results.iter().flatten() {
        println!("{found}");
    }
    let wrong: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
