//! The checks of a [`MessageStore`](roomcast_core::MessageStore), one function each.
//!
//! A check panics if the store doesn't pass it.

mod append;
mod change;
mod dropped;
mod life;
mod make;
mod nonce;
mod paging;
mod race;
mod retention;
mod rooms;
mod search;
mod text;

pub use append::*;
pub use change::*;
pub use dropped::*;
pub use life::*;
pub use nonce::*;
pub use paging::*;
pub use race::*;
pub use retention::*;
pub use rooms::*;
pub use search::*;
pub use text::*;

pub use crate::harness::Check;

/// Makes a test of each check of a store. The argument is an expression that makes a
/// [`StoreHarness`](crate::StoreHarness), evaluated once for each test, within a tokio runtime.
#[macro_export]
macro_rules! store_tests {
    ($harness:expr) => {
        $crate::__store_checks! { [$crate::__store_tests] $harness }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __store_tests {
    ($harness:expr; $($name:ident)*) => {$(
        #[test]
        fn $name() {
            $crate::run(|| $harness, |harness| ::std::boxed::Box::pin($crate::store::$name(harness)));
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
macro_rules! __store_checks {
    ([$($callback:tt)*] $argument:expr) => {
        $($callback)*! { $argument;
            appends_are_numbered_densely_from_1
            a_batch_keeps_its_order
            a_thousand_entries_go_into_one_append
            another_head_than_expected_stores_nothing
            an_empty_append_changes_nothing
            rooms_do_not_mix
            reads_follow_writes
            one_writer_wins_each_place
            two_writers_share_a_room
            eight_writers_share_a_room
            a_nonce_is_stored_once_in_a_race
            writers_of_different_rooms_never_conflict
            a_repeated_nonce_gets_the_first_place
            a_nonce_tells_which_message_it_sent
            a_nonce_with_other_content_conflicts
            nonces_count_within_one_append
            nonces_belong_to_a_user_and_a_room
            nonces_are_compared_exactly
            a_tombstone_keeps_its_nonce
            nonces_outlive_a_restart
            an_edit_shows_in_every_reading
            an_edit_keeps_data_and_reply
            a_deletion_leaves_a_tombstone
            what_was_deleted_is_given_out_nowhere
            a_message_is_changed_within_its_own_append
            only_a_message_can_be_changed
            what_is_not_stored_takes_no_number
            log_pages_hold_what_was_asked_for
            a_log_page_holds_at_least_one_entry
            log_pages_are_bounded_in_bytes
            a_log_of_many_pages_is_read_whole
            history_pages_hold_what_was_asked_for
            a_large_history_is_read_whole_from_both_ends
            a_room_keeps_its_first_epoch
            a_race_to_create_a_room_has_one_epoch
            an_unknown_room_is_empty_and_takes_nothing
            rooms_are_listed_in_order
            retention_removes_the_oldest
            what_retention_removed_is_forgotten
            an_edit_may_outlive_its_message
            the_floor_outlives_a_restart
            any_text_is_kept
            any_text_is_kept_by_an_edit
            any_data_is_kept
            absent_is_not_empty
            any_id_is_kept
            any_time_is_kept
            any_name_is_kept
            a_dropped_append_leaves_a_prefix
            a_dropped_create_room_can_be_repeated
            dropped_reads_have_no_effect
            a_crowd_of_dropped_appends_blocks_nobody
            an_open_store_is_healthy
            a_closed_store_refuses
            everything_outlives_a_restart
            search_finds_all_the_words
            search_splits_words_in_every_script
            search_has_no_operators
            search_pages_backwards
            search_finds_the_newest_content_only
            search_forgets_what_retention_removed
        }
    };
}

__store_checks! { [list] () }
