//! The command that brings an older collection into rooms.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use roomcast_core::MessageStore;

use crate::output::{complain, say};

/// So many documents that are no messages are told of one by one.
const SHOWN: usize = 20;

pub(crate) async fn run(
    from: &str,
    collection: &str,
    store: Arc<dyn MessageStore>,
) -> Result<ExitCode, Box<dyn Error>> {
    let imported = roomcast_mongo::import(from, collection, &*store).await;
    store.close().await?;
    let report = imported?;
    for (id, what) in report.skipped.iter().take(SHOWN) {
        complain(format_args!("not imported: _id {id}: {what}"));
    }
    if report.skipped.len() > SHOWN {
        complain(format_args!("not imported: {} more", report.skipped.len() - SHOWN));
    }
    say(format_args!(
        "{} messages imported, {} were there already, {} documents not imported",
        report.imported,
        report.present,
        report.skipped.len()
    ));
    Ok(if report.skipped.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
