//! Buses that are wrong on purpose: each mistake must be found by the checks that are meant for it.

mod wires;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use roomcast_testkit::bus;
use wires::{Mistake, Wires};

roomcast_testkit::bus_tests!(Wires::without_mistake());

/// Whether the bus passes the check.
fn passes(mistake: Mistake, name: &str) -> bool {
    let (_, check) = bus::ALL
        .iter()
        .find(|(known, _)| *known == name)
        .expect("there is such a check");
    catch_unwind(AssertUnwindSafe(|| bus::run(|| Wires::with(mistake), *check))).is_ok()
}

/// What is wrong, and the checks that are meant to find it.
const MISTAKES: &[(Mistake, &[&str])] = &[
    (Mistake::NeverDelivers, &["members_hear_what_other_nodes_store"]),
    (
        Mistake::WatchesTheFirstRoomAlone,
        &["many_rooms_arrive", "interest_comes_back"],
    ),
    (Mistake::NeverUnwatches, &["rooms_without_members_cost_nothing"]),
    (Mistake::UnwatchesEverything, &["interest_comes_back"]),
    (Mistake::WatchesOnce, &["interest_comes_back"]),
    (Mistake::ListensLate, &["nothing_falls_between_joining_and_watching"]),
    (Mistake::LosesInSilence, &["a_flood_heals"]),
    (Mistake::HealsInSilence, &["after_a_cut_everything_arrives"]),
    (Mistake::ForgetsRoomsInACut, &["after_a_cut_everything_arrives"]),
    (Mistake::CutsNotices, &["large_entries_arrive"]),
    (Mistake::EndsAtNonsense, &["what_is_no_notice_is_passed_over"]),
    (Mistake::FoldsRooms, &["any_room_id_arrives"]),
    (Mistake::WaitsInACut, &["a_cut_keeps_nobody_from_speaking"]),
    (
        Mistake::CarriesRoomsAlone,
        &["a_kick_reaches_every_node", "a_kick_may_be_the_first_thing"],
    ),
    (Mistake::DropsWhatPasses, &["who_is_there_is_known_where_nobody_is"]),
    (
        Mistake::TellsWhileItRuns,
        &["a_kick_may_be_the_first_thing", "a_stopping_hub_still_tells"],
    ),
    (
        Mistake::LeavesATask,
        &["a_stopped_hub_leaves_no_task", "a_dropped_hub_leaves_no_task"],
    ),
    (Mistake::ListensAfterClose, &["a_stopped_hub_leaves_no_task"]),
    (Mistake::NeverHealthy, &["an_open_bus_is_healthy"]),
    (Mistake::HangsWhenClosedTwice, &["a_bus_is_closed_twice"]),
];

/// The threads whose panics are what is hoped for, and needn't be shown.
const WRONG: &str = "a wrong bus";

/// All at once: a check that finds something waits for it in vain first.
#[test]
fn each_mistake_is_found_by_the_checks_that_are_meant_for_it() {
    let shown = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if thread::current().name() != Some(WRONG) {
            shown(panic);
        }
    }));
    let pairs = MISTAKES
        .iter()
        .flat_map(|(mistake, checks)| checks.iter().map(|check| (*mistake, *check)));
    let threads: Vec<_> = pairs
        .map(|(mistake, check)| {
            let thread = thread::Builder::new().name(WRONG.into());
            (mistake, check, thread.spawn(move || passes(mistake, check)).unwrap())
        })
        .collect();
    let passed = threads.into_iter().filter_map(|(mistake, check, thread)| {
        let passed = thread.join().expect("a panic is caught");
        passed.then(|| format!("{check} lets {mistake:?} through"))
    });
    assert_eq!(passed.collect::<Vec<_>>(), [""; 0]);
}
