//! Reading the log and the history page by page.

use roomcast_core::{Entry, HistoryRange, MAX_SEQ, Message, MessageStore, PageLimit, RoomId};

use super::make::*;
use crate::StoreHarness;

/// A log of messages, edits and tombstones: messages at 1, 2, 4, 5, 8, 9, 12, of which 2 and 9 were deleted.
async fn mixed(store: &dyn MessageStore) -> RoomId {
    let m: Vec<_> = (0..7).map(|n| say(&format!("message {n}"))).collect();
    let room = filled(store, "r", &[m[0].clone(), m[1].clone(), edit(m[0].id, "newer")]).await;
    append(
        store,
        &room,
        &[m[2].clone(), m[3].clone(), delete(m[1].id), edit(m[3].id, "x")],
    )
    .await;
    append(
        store,
        &room,
        &[
            m[4].clone(),
            m[5].clone(),
            edit(m[3].id, "y"),
            delete(m[5].id),
            m[6].clone(),
        ],
    )
    .await;
    room
}

/// Seqs that are at, before or beyond every bound of a log of 12, and those where sums overflow.
fn places() -> impl Iterator<Item = u64> {
    let far = [
        MAX_SEQ - 1,
        MAX_SEQ,
        MAX_SEQ + 1,
        i64::MAX as u64 - 1,
        i64::MAX as u64,
        1 << 63,
        u64::MAX - 1,
        u64::MAX,
    ];
    (0..=14).chain(far)
}

/// Whatever the start and the limit, a page holds the entries after the start, as many as the limit says.
pub async fn log_pages_hold_what_was_asked_for(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let room = mixed(&*store).await;
    let whole = whole_log(&*store, &room).await;
    assert_eq!(whole.len(), 12);
    for after in places() {
        for limit in (1..=13).chain([i64::MAX as usize, usize::MAX]) {
            let page = store.log(&room, after, PageLimit::entries(limit)).await.unwrap();
            let expected: Vec<_> = whole
                .iter()
                .filter(|entry| entry.seq() > after)
                .take(limit)
                .cloned()
                .collect();
            assert_eq!(page.entries, expected, "after {after}, at most {limit}");
            assert_eq!((page.floor, page.head), (0, 12), "after {after}");
        }
    }
}

/// A limit is never taken as less than one entry, or reading would not come forward.
pub async fn a_log_page_holds_at_least_one_entry(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let room = mixed(&*store).await;
    for (entries, bytes) in [(0, 0), (0, 1000), (1000, 0), (1000, 1)] {
        for after in 0..12 {
            let page = store.log(&room, after, PageLimit { entries, bytes }).await.unwrap();
            assert_eq!(page.entries[0].seq(), after + 1);
            // A tombstone or a deletion weighs next to nothing, so more than one may fit into a byte.
            assert!(
                page.entries.len() == 1 || bytes == 1,
                "{entries} entries, {bytes} bytes: {page:?}"
            );
        }
    }
}

/// A page stops at about the limit in bytes: content and data count, in messages and in edits.
pub async fn log_pages_are_bounded_in_bytes(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let text = "x".repeat(1000);
    let first = say(&text);
    let mut entries = vec![first.clone()];
    entries.extend((0..9).map(|_| edit(first.id, &text)));
    let mut data = serde_json::Map::new();
    data.insert("text".to_owned(), text.as_str().into());
    entries.extend((0..10).map(|_| {
        entry(roomcast_core::Change::Message {
            content: None,
            data: Some(data.clone()),
            reply_to: None,
            nonce: None,
        })
    }));
    let room = filled(&*store, "r", &entries).await;
    for (bytes, allowed) in [
        (1, 1..=1),
        (999, 1..=1),
        (2500, 2..=3),
        (5100, 4..=6),
        (1 << 20, 10..=20),
    ] {
        for after in [0, 1, 5, 10] {
            let page = store
                .log(&room, after, PageLimit { entries: 1000, bytes })
                .await
                .unwrap();
            let count = page.entries.len();
            assert!(
                allowed.contains(&count),
                "{count} entries of 1000 bytes for {bytes} after {after}"
            );
        }
    }
}

/// A room that is larger than a page by default is read to its end.
pub async fn a_log_of_many_pages_is_read_whole(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let text = "x".repeat(100 << 10);
    let entries: Vec<_> = (0..30).map(|_| say(&text)).collect();
    let room = filled(&*store, "r", &[]).await;
    for batch in entries.chunks(10) {
        append(&*store, &room, batch).await;
    }
    let page = store.log(&room, 0, PageLimit::entries(1000)).await.unwrap();
    assert!(
        (5..=15).contains(&page.entries.len()),
        "{} × 100 KiB in a page of 1 MiB",
        page.entries.len()
    );
    let ids: Vec<_> = whole_log(&*store, &room).await.iter().map(Entry::id).collect();
    assert!(ids.iter().eq(entries.iter().map(|entry| &entry.id)));
}

/// Whatever the range and the limit, a page holds the messages of the range next to its bound, in rising order; `more` says
/// exactly whether there are others. Tombstones are messages, edits and deletions aren't.
pub async fn history_pages_hold_what_was_asked_for(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let room = mixed(&*store).await;
    let all: Vec<Message> = whole_log(&*store, &room)
        .await
        .into_iter()
        .filter_map(|entry| match entry {
            Entry::Message(message) => Some(message),
            _ => None,
        })
        .collect();
    assert_eq!(
        all.iter().map(|message| message.seq).collect::<Vec<_>>(),
        [1, 2, 4, 5, 8, 9, 12]
    );
    let ranges = [HistoryRange::Newest].into_iter();
    let ranges = ranges.chain(places().flat_map(|seq| [HistoryRange::Before(seq), HistoryRange::After(seq)]));
    for range in ranges {
        for limit in (0..=8).chain([i64::MAX as usize, usize::MAX]) {
            let page = store.history(&room, range, limit).await.unwrap();
            let mut expected = all.clone();
            let more;
            if let HistoryRange::After(seq) = range {
                expected.retain(|message| message.seq > seq);
                more = expected.len() > limit;
                expected.truncate(limit);
            } else {
                if let HistoryRange::Before(seq) = range {
                    expected.retain(|message| message.seq < seq);
                }
                more = expected.len() > limit;
                expected.drain(..expected.len().saturating_sub(limit));
            }
            assert_eq!(page.messages, expected, "{range:?}, at most {limit}");
            assert_eq!(page.more, more, "more in {range:?}, at most {limit}");
        }
    }
}

/// Where a page of history stops early because of its size, following `more` gets everything, from both ends.
pub async fn a_large_history_is_read_whole_from_both_ends(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let text = "x".repeat(100 << 10);
    let room = filled(&*store, "r", &[]).await;
    for _ in 0..3 {
        let batch: Vec<_> = (0..10).map(|_| say(&text)).collect();
        append(&*store, &room, &batch).await;
    }
    let expected: Vec<u64> = (1..=30).collect();

    let mut seqs = Vec::new();
    loop {
        let after = HistoryRange::After(seqs.last().copied().unwrap_or(0));
        let page = store.history(&room, after, 200).await.unwrap();
        seqs.extend(page.messages.iter().map(|message| message.seq));
        if !page.more {
            break;
        }
        assert!(!page.messages.is_empty(), "a page that isn't the last has a message");
        assert!(seqs.len() < 30, "reading comes to an end: {seqs:?}");
    }
    assert_eq!(seqs, expected);

    let mut seqs: Vec<u64> = Vec::new();
    loop {
        let before = seqs
            .first()
            .map_or(HistoryRange::Newest, |seq| HistoryRange::Before(*seq));
        let page = store.history(&room, before, 200).await.unwrap();
        seqs.splice(0..0, page.messages.iter().map(|message| message.seq));
        if !page.more {
            break;
        }
        assert!(!page.messages.is_empty(), "a page that isn't the last has a message");
        assert!(seqs.len() < 30, "reading comes to an end: {seqs:?}");
    }
    assert_eq!(seqs, expected);
}
