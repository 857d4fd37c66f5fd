//! The checks of a [`Bus`](roomcast_core::Bus), one function each.
//!
//! A check builds two or three hubs on one store, each with an end of the bus, and looks at what their members see. Heads are
//! never compared meanwhile, so what members of another node see they see thanks to the bus. A check panics if the bus
//! doesn't pass it.

mod cluster;
mod delivery;
mod harness;
mod interest;
mod life;
mod member;
mod shared;
mod trouble;

pub use delivery::*;
pub use harness::{BusHarness, Check, Node, run};
pub use interest::*;
pub use life::*;
pub use shared::SharedStore;
pub use trouble::*;

/// Makes a test of each check of a bus. The argument is an expression that makes a
/// [`BusHarness`](crate::bus::BusHarness), evaluated once for each test, within a tokio runtime.
#[macro_export]
macro_rules! bus_tests {
    ($harness:expr) => {
        $crate::__bus_checks! { [$crate::__bus_tests] $harness }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __bus_tests {
    ($harness:expr; $($name:ident)*) => {$(
        #[test]
        fn $name() {
            $crate::bus::run(|| $harness, |harness| ::std::boxed::Box::pin($crate::bus::$name(harness)));
        }
    )*};
}

macro_rules! list {
    ($unused:expr; $($name:ident)*) => {
        /// Every check with its name.
        pub const ALL: &[(&str, Check)] = &[$((stringify!($name), |harness| Box::pin($name(harness)))),*];
    };
}

/// The one list of the checks, given to another macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __bus_checks {
    ([$($callback:tt)*] $argument:expr) => {
        $($callback)*! { $argument;
            members_hear_what_other_nodes_store
            every_kind_of_entry_arrives
            large_entries_arrive
            large_batches_arrive
            two_nodes_write_one_room
            many_rooms_arrive
            any_room_id_arrives
            rooms_without_members_cost_nothing
            interest_comes_back
            nothing_falls_between_joining_and_watching
            members_come_and_go
            who_is_there_is_known_where_nobody_is
            a_kick_reaches_every_node
            a_kick_may_be_the_first_thing
            a_stopping_hub_still_tells
            an_open_bus_is_healthy
            a_bus_is_closed_twice
            a_stopped_hub_leaves_no_task
            a_dropped_hub_leaves_no_task
            what_is_no_notice_is_passed_over
            a_flood_heals
            a_cut_keeps_nobody_from_speaking
            after_a_cut_everything_arrives
        }
    };
}

__bus_checks! { [list] () }
