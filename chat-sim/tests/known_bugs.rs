//! The simulation can fail: it finds each known bug within so many seeds.
#![allow(missing_docs)]

use chat_sim::Bug::{self, CounterFirst, Engine, NonceInMemory};
use roomcast_core::bugs::Bug::*;

const ORDER: &str = "order";
const GAP: &str = "no silent gap";
const DURABLE: &str = "acknowledged means durable";
const BOUNDED: &str = "bounded";
const PERMISSIONS: &str = "permissions hold for history as for live";
const SHUTDOWN: &str = "shutdown loses nothing";
const DELETED: &str = "what was deleted is nowhere given out again";
const SETTLES: &str = "everything settles";

/// A bug, within how many seeds it is found, and the promise that it breaks.
const KNOWN: &[(Bug, u64, &str)] = &[
    (Engine(DeliverBeforeCommit), 50, ORDER),
    (Engine(AckBeforeCommit), 50, DURABLE),
    (CounterFirst, 100, SETTLES),
    (Engine(LiveBeforeReplay), 50, GAP),
    (Engine(LateAnswer), 50, GAP),
    (Engine(OverflowDrops), 50, GAP),
    (NonceInMemory, 50, DURABLE),
    (Engine(EditWithoutNumber), 50, ORDER),
    (Engine(RepairOutOfOrder), 50, GAP),
    (Engine(DrainForgets), 100, SHUTDOWN),
    (Engine(HistoryUnasked), 50, PERMISSIONS),
    (Engine(TailKeepsDeleted), 100, DELETED),
    (Engine(JoinLooksNowhere), 100, DELETED),
    (Engine(UnboundedRequests), 300, BOUNDED),
];

/// The simulation found this one in the engine. It takes an edit on one hub, a deletion or retention right after it, and a
/// second hub that reads the log between the two: about one seed in a thousand.
const RARE: (Bug, std::ops::RangeInclusive<u64>, &str) = (Engine(EmptiedMessage), 860..=900, DELETED);

#[test]
fn each_known_bug_is_found() {
    let mut wrong = Vec::new();
    let known = KNOWN.iter().map(|&(bug, within, promise)| (bug, 1..=within, promise));
    for (bug, seeds, promise) in known.chain([RARE]) {
        let found = seeds
            .clone()
            .find_map(|seed| Some((seed, chat_sim::run(seed, Some(bug)).violation?)));
        match found {
            None => wrong.push(format!("{bug:?} is not found by the seeds {seeds:?}")),
            Some((seed, violation)) if violation.promise == promise => {
                println!("{bug:?}: found by seed {seed} of {seeds:?}: {promise}");
            }
            Some((seed, violation)) => {
                wrong.push(format!("{bug:?} broke another promise with seed {seed}: {violation}"))
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
