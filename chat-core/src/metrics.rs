//! Figures for operators, through the `metrics` facade; nothing at all without the feature.
//!
//! The names are listed in the crate's documentation.

#![cfg_attr(not(feature = "metrics"), allow(unused_variables, clippy::missing_const_for_fn))]

use std::time::Duration;

use crate::{CloseCode, ErrorCode};

macro_rules! record {
    ($($body:tt)*) => {
        #[cfg(feature = "metrics")]
        { $($body)* }
    };
}

pub(crate) fn connections(now: usize) {
    record! { metrics::gauge!("roomcast_connections").set(now as f64); }
}

pub(crate) fn rooms(now: usize) {
    record! { metrics::gauge!("roomcast_rooms").set(now as f64); }
}

pub(crate) fn received() {
    record! { metrics::counter!("roomcast_frames_in_total").increment(1); }
}

pub(crate) fn sent(frames: usize) {
    record! { metrics::counter!("roomcast_frames_out_total").increment(frames as u64); }
}

pub(crate) fn committed(entries: usize, took: Duration) {
    record! {
        metrics::counter!("roomcast_entries_committed_total").increment(entries as u64);
        metrics::histogram!("roomcast_commit_entries").record(entries as f64);
        metrics::histogram!("roomcast_commit_seconds").record(took.as_secs_f64());
    }
}

pub(crate) fn lagging(members: usize) {
    record! {
        if members > 0 {
            metrics::counter!("roomcast_lags_total").increment(members as u64);
        }
    }
}

pub(crate) fn announced() {
    record! { metrics::counter!("roomcast_notices_out_total").increment(1); }
}

pub(crate) fn noticed() {
    record! { metrics::counter!("roomcast_notices_in_total").increment(1); }
}

pub(crate) fn repaired() {
    record! { metrics::counter!("roomcast_repairs_total").increment(1); }
}

pub(crate) fn caught_up(frames: usize) {
    record! { metrics::counter!("roomcast_caught_up_frames_total").increment(frames as u64); }
}

pub(crate) fn closed(code: Option<CloseCode>) {
    record! {
        let code = code.map_or("client", CloseCode::reason);
        metrics::counter!("roomcast_closes_total", "reason" => code).increment(1);
    }
}

pub(crate) fn refused(code: ErrorCode) {
    record! { metrics::counter!("roomcast_refusals_total", "code" => code.as_str()).increment(1); }
}
