//! Edits and deletions.

use roomcast_core::{
    Change, Deletion, Edit, Entry, HistoryRange, JsonObject, MessageId, MessageStore, NewEntry, Outcome, RoomId,
    Timestamp,
};

use super::make::*;
use crate::StoreHarness;

fn at(ms: i64, mut entry: NewEntry) -> NewEntry {
    entry.at = Timestamp::from_millis(ms);
    entry
}

/// What an edit looks like in the log.
fn as_edit(room: &RoomId, seq: u64, target: u64, entry: &NewEntry, content: Option<&str>) -> Entry {
    let Change::Edit { message, .. } = entry.change else {
        panic!("not an edit: {entry:?}")
    };
    let user = entry.user.clone();
    let mut edit = Edit::new(entry.id, room.clone(), seq, (message, target), user, entry.at);
    edit.content = content.map(str::to_owned);
    Entry::Edit(edit)
}

fn as_deletion(room: &RoomId, seq: u64, target: u64, entry: &NewEntry) -> Entry {
    let Change::Delete { message } = entry.change else {
        panic!("not a deletion: {entry:?}")
    };
    let user = entry.user.clone();
    Entry::Delete(Deletion::new(
        entry.id,
        room.clone(),
        seq,
        (message, target),
        user,
        entry.at,
    ))
}

/// Everything that the store says about a room, written out, to look for what it must not say.
async fn all_that_is_said(store: &dyn MessageStore, room: &RoomId, ids: &[MessageId]) -> String {
    let mut said = format!("{:?}", store.log(room, 0, EVERYTHING).await.unwrap());
    for range in [
        HistoryRange::Newest,
        HistoryRange::Before(u64::MAX),
        HistoryRange::After(0),
    ] {
        said += &format!("{:?}", store.history(room, range, 1000).await.unwrap());
    }
    for id in ids {
        said += &format!("{:?}", store.message(room, *id).await.unwrap());
    }
    said
}

/// After edits the message, and every edit of it, has the newest content, and the time of the newest edit; each edit
/// keeps its own place, author and time.
pub async fn an_edit_shows_in_every_reading(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let first = say("one");
    let edits = [
        at(50, by("bob", edit(first.id, "two"))),
        at(40, edit(first.id, "three")),
    ];
    let room = filled(&*store, "r", &[say("other"), first.clone()]).await;
    assert_eq!(append(&*store, &room, &edits[..1]).await, [changed(3, 2)]);
    let other = say("another");
    assert_eq!(
        append(&*store, &room, &[other.clone(), edits[1].clone()]).await,
        [stored(4), changed(5, 2)]
    );

    let mut now = as_message(&room, 2, &first);
    now.content = Some("three".to_owned());
    now.edited_at = Some(edits[1].at);
    let log = whole_log(&*store, &room).await;
    assert_eq!(log[1], Entry::Message(now.clone()));
    assert_eq!(log[2], as_edit(&room, 3, 2, &edits[0], Some("three")));
    assert_eq!(log[3], Entry::Message(as_message(&room, 4, &other)));
    assert_eq!(log[4], as_edit(&room, 5, 2, &edits[1], Some("three")));
    let page = store.history(&room, HistoryRange::Newest, 9).await.unwrap();
    assert_eq!(
        page.messages.iter().map(|message| message.seq).collect::<Vec<_>>(),
        [1, 2, 4]
    );
    assert_eq!(page.messages[1], now);
    assert_eq!(store.message(&room, first.id).await.unwrap(), Some(now));
}

/// An edit changes the content alone: data and what is replied to stay, and a message that had no content gets one.
pub async fn an_edit_keeps_data_and_reply(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let first = entry(Change::Message {
        content: None,
        data: Some(JsonObject::from_iter([("poll".to_owned(), 1.into())])),
        reply_to: Some(MessageId::from_u128(5)),
        nonce: None,
    });
    let edited = edit(first.id, "");
    let room = filled(&*store, "r", &[first.clone(), edited.clone()]).await;
    let mut now = as_message(&room, 1, &first);
    now.content = Some(String::new());
    now.edited_at = Some(edited.at);
    assert_eq!(store.message(&room, first.id).await.unwrap(), Some(now));
}

/// A deletion leaves a tombstone that keeps id, seq, user and time, at the message's place, and an entry of its own.
pub async fn a_deletion_leaves_a_tombstone(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let first = say("one");
    let gone = at(70, by("moderator", delete(first.id)));
    let room = filled(&*store, "r", &[first.clone(), say("two")]).await;
    assert_eq!(
        append(&*store, &room, std::slice::from_ref(&gone)).await,
        [changed(3, 1)]
    );
    let mut tombstone = as_message(&room, 1, &first);
    tombstone.bury();
    let log = whole_log(&*store, &room).await;
    assert_eq!(log[0], Entry::Message(tombstone.clone()));
    assert_eq!(log[2], as_deletion(&room, 3, 1, &gone));
    assert_eq!(store.message(&room, first.id).await.unwrap(), Some(tombstone.clone()));
    let page = store.history(&room, HistoryRange::Newest, 9).await.unwrap();
    assert_eq!((page.messages.len(), &page.messages[0]), (2, &tombstone));
}

/// What a deleted message said is nowhere given out: not in the log, the history, by its id, nor by the edits before, in no
/// version; nor after a restart.
pub async fn what_was_deleted_is_given_out_nowhere(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let first = entry(Change::Message {
        content: Some("secret-1".to_owned()),
        data: Some(JsonObject::from_iter([("secret-2".to_owned(), "secret-3".into())])),
        reply_to: Some(MessageId::from_u128(0x5ec2e_75ec2e7)),
        nonce: None,
    });
    let edits = [edit(first.id, "secret-4"), edit(first.id, "secret-5")];
    let room = filled(&*store, "r", &[first.clone(), edits[0].clone()]).await;
    append(&*store, &room, &[say("kept"), edits[1].clone(), delete(first.id)]).await;
    let ids = [first.id, edits[0].id, edits[1].id];
    let said = all_that_is_said(&*store, &room, &ids).await;
    assert!(!said.contains("secret") && !said.contains("5ec2e75ec2e7"), "{said}");
    let log = whole_log(&*store, &room).await;
    assert_eq!(log[1], as_edit(&room, 2, 1, &edits[0], None));
    assert_eq!(log[3], as_edit(&room, 4, 1, &edits[1], None));
    let mut tombstone = as_message(&room, 1, &first);
    tombstone.bury();
    assert_eq!(
        log[0],
        Entry::Message(tombstone),
        "it doesn't say either that or when it was edited"
    );

    store.close().await.unwrap();
    drop(store);
    let Some(store) = harness.reopen().await else { return };
    assert_eq!(whole_log(&*store, &room).await, log);
    let said = all_that_is_said(&*store, &room, &ids).await;
    assert!(!said.contains("secret") && !said.contains("5ec2e75ec2e7"), "{said}");
}

/// A message, its edits and its deletion may come in one call.
pub async fn a_message_is_changed_within_its_own_append(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let (kept, gone) = (say("a"), say("b"));
    let batch = [
        kept.clone(),
        gone.clone(),
        edit(kept.id, "aa"),
        edit(gone.id, "bb"),
        delete(gone.id),
        edit(gone.id, "bbb"),
        delete(gone.id),
        edit(kept.id, "aaa"),
    ];
    let room = filled(&*store, "r", &[]).await;
    let expected = [
        stored(1),
        stored(2),
        changed(3, 1),
        changed(4, 2),
        changed(5, 2),
        Outcome::NoTarget,
        Outcome::NoTarget,
        changed(6, 1),
    ];
    assert_eq!(append(&*store, &room, &batch).await, expected);
    let mut now = as_message(&room, 1, &kept);
    now.content = Some("aaa".to_owned());
    now.edited_at = Some(batch[7].at);
    let mut tombstone = as_message(&room, 2, &gone);
    tombstone.bury();
    let expected = [
        Entry::Message(now),
        Entry::Message(tombstone),
        as_edit(&room, 3, 1, &batch[2], Some("aaa")),
        as_edit(&room, 4, 2, &batch[3], None),
        as_deletion(&room, 5, 2, &batch[4]),
        as_edit(&room, 6, 1, &batch[7], Some("aaa")),
    ];
    assert_eq!(whole_log(&*store, &room).await, expected);
}

/// Only a message can be edited or deleted: not what is missing or in another room, not a tombstone, not an edit or a deletion.
pub async fn only_a_message_can_be_changed(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let (first, gone) = (say("a"), say("b"));
    let (edited, deleted) = (edit(first.id, "aa"), delete(gone.id));
    let elsewhere = say("c");
    let other = filled(&*store, "other", std::slice::from_ref(&elsewhere)).await;
    let room = filled(
        &*store,
        "r",
        &[first.clone(), gone.clone(), edited.clone(), deleted.clone()],
    )
    .await;
    let before = whole_log(&*store, &room).await;
    for (what, id) in [
        ("missing", MessageId::from_u128(404)),
        ("elsewhere", elsewhere.id),
        ("a tombstone", gone.id),
        ("an edit", edited.id),
        ("a deletion", deleted.id),
    ] {
        let outcomes = append(&*store, &room, &[edit(id, "no"), delete(id)]).await;
        assert_eq!(outcomes, [Outcome::NoTarget, Outcome::NoTarget], "{what}");
        // By its id, only a message is found.
        let found = store.message(&room, id).await.unwrap();
        assert_eq!(found.is_some(), id == gone.id, "{what}");
    }
    assert_eq!(whole_log(&*store, &room).await, before);
    let expected = [Entry::Message(as_message(&other, 1, &elsewhere))];
    assert_eq!(whole_log(&*store, &other).await, expected);
}

/// What isn't stored takes no number, wherever it stands in a batch.
pub async fn what_is_not_stored_takes_no_number(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let first = say_once("hi", "n");
    let missing = MessageId::from_u128(404);
    let room = filled(&*store, "r", std::slice::from_ref(&first)).await;
    let batch = [
        edit(missing, "no"),
        say_once("hi", "n"),
        say("two"),
        say_once("ho", "n"),
        delete(missing),
        edit(first.id, "three"),
        delete(missing),
    ];
    let expected = [
        Outcome::NoTarget,
        Outcome::Duplicate { id: first.id, seq: 1 },
        stored(2),
        Outcome::NonceConflict,
        Outcome::NoTarget,
        changed(3, 1),
        Outcome::NoTarget,
    ];
    assert_eq!(append(&*store, &room, &batch).await, expected);
    let ids: Vec<_> = whole_log(&*store, &room).await.iter().map(Entry::id).collect();
    assert_eq!(ids, [first.id, batch[2].id, batch[5].id]);
}
