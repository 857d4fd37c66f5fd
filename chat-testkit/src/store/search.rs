//! Search, where the store has it.

use roomcast_core::{Change, JsonObject, MessageStore, RoomId};

use super::make::*;
use crate::StoreHarness;

/// The seqs of what is found, in the order given, and whether there is more.
async fn find(
    store: &dyn MessageStore,
    room: &RoomId,
    query: &str,
    before: Option<u64>,
    limit: usize,
) -> (Vec<u64>, bool) {
    let search = store.search().expect("the store can search");
    let page = search.search(room, query, before, limit).await.unwrap();
    for message in &page.messages {
        match store.message(room, message.id).await.unwrap() {
            Some(whole) => assert_eq!(*message, whole, "what is found is the message as it now is"),
            // Retention may come between the two readings; the floor then says so.
            None => {
                let floor = store.room(room).await.unwrap().map(|head| head.floor);
                assert!(
                    floor >= Some(message.seq),
                    "what is found is a message of the log, whose floor is {floor:?}: {message:?}"
                );
            }
        }
    }
    (page.messages.iter().map(|message| message.seq).collect(), page.more)
}

async fn all(store: &dyn MessageStore, room: &RoomId, query: &str) -> Vec<u64> {
    find(store, room, query, None, 1000).await.0
}

/// A message is found by all of its words, in any order and case, the newest first; not by parts of words, nor in other rooms.
pub async fn search_finds_all_the_words(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    if store.search().is_none() {
        return;
    }
    let texts = [
        "The quick brown fox",
        "A quick-witted FOX, jumps!",
        "foxes are quick",
        "Привет, МИР",
        "quick",
        "don't (stop) foo_bar 42",
    ];
    let room = filled(&*store, "r", &texts.map(say)).await;
    filled(&*store, "other", &[say("quick fox elsewhere")]).await;
    for (query, expected) in [
        ("quick", &[5, 3, 2, 1][..]),
        ("QUICK", &[5, 3, 2, 1]),
        ("fox quick", &[2, 1]),
        ("fox, quick!", &[2, 1]),
        ("quick quick", &[5, 3, 2, 1]),
        ("fo", &[]),
        ("foxe", &[]),
        ("elsewhere", &[]),
        ("quick missing", &[]),
        ("мир привет", &[4]),
        ("stop", &[6]),
        ("42", &[6]),
        ("bar foo", &[6]),
    ] {
        assert_eq!(all(&*store, &room, query).await, expected, "{query:?}");
    }
    let nowhere = super::make::room("nowhere");
    assert!(all(&*store, &nowhere, "quick").await.is_empty());
}

/// What a word is doesn't depend on the script, nor on how a letter is encoded: every run of letters and digits is one,
/// every other character ends it, accents and marks of their own among them, and nothing is folded but the case.
pub async fn search_splits_words_in_every_script(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    if store.search().is_none() {
        return;
    }
    let texts = [
        "re\u{301}sume\u{301}",
        "x\u{e000}y",
        "café",
        "Tie\u{302}\u{301}ng Việt",
        "a\0b",
        "हिन\u{94d}दी",
        "İstanbul",
        "ΟΔΟΣ ὈΔΥΣΣΕΎΣ",
        "Straße ŉ",
        "ﬁn Ⅷ ① ² ½",
        "ǅ ÅNGSTRÖM",
        "zero\u{200b}width soft\u{ad}hyphen no\u{a0}break",
        "日本語 テキスト",
        "👩\u{200d}👩 flag🏳️flag",
    ];
    let room = filled(&*store, "r", &texts.map(say)).await;
    for (text, seq) in texts.iter().zip(1..) {
        assert_eq!(all(&*store, &room, text).await, [seq], "{text:?} finds itself");
    }
    for (query, expected) in [
        ("cafe", &[][..]),
        ("CAFÉ", &[3]),
        ("cafe\u{301}", &[]),
        ("re sume", &[1]),
        ("résumé", &[]),
        ("resume", &[]),
        ("y x", &[2]),
        ("xy", &[]),
        ("b a", &[5]),
        ("ng", &[4]),
        ("VIỆT", &[4]),
        ("viet", &[]),
        ("STRASSE", &[]),
        ("straße", &[9]),
        ("fin", &[]),
        ("Ⅷ", &[10]),
        ("½ ²", &[10]),
        ("ǆ", &[11]),
        ("ångström", &[11]),
        ("angstrom", &[]),
        ("zero", &[12]),
        ("softhyphen", &[]),
        ("hyphen break", &[12]),
        ("日本語", &[13]),
        ("日本", &[]),
        ("flag", &[14]),
    ] {
        assert_eq!(all(&*store, &room, query).await, expected, "{query:?}");
    }
}

/// No character of a query is an operator, and none makes the search fail.
pub async fn search_has_no_operators(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    if store.search().is_none() {
        return;
    }
    let room = filled(&*store, "r", &[say("hello world"), say("hello or not near and")]).await;
    for (query, expected) in [
        ("hel*", &[][..]),
        ("*", &[]),
        ("hello OR missing", &[]),
        ("hello AND world", &[]),
        ("hello NOT world", &[]),
        ("HELLO NOT OR", &[2]),
        ("NEAR(hello world)", &[]),
        ("near AND hello", &[2]),
        ("content:hello", &[]),
        ("-hello", &[2, 1]),
        ("+hello", &[2, 1]),
        ("^hello", &[2, 1]),
        ("\"hello world\"", &[1]),
        ("\"world hello\"", &[1]),
        ("\"hello", &[2, 1]),
        ("hello\"", &[2, 1]),
        ("\"\"", &[]),
        ("\"", &[]),
        ("'hello'", &[2, 1]),
        ("'", &[]),
        ("(hello", &[2, 1]),
        ("hello)", &[2, 1]),
        ("{hello}: world", &[1]),
        ("hello;", &[2, 1]),
        ("hello--", &[2, 1]),
        ("$hello", &[2, 1]),
        ("/hello/", &[2, 1]),
        (".*", &[]),
        ("%", &[]),
        ("_", &[]),
        ("\\", &[]),
        ("\0", &[]),
        ("hello\0world", &[1]),
        ("\u{202e}", &[]),
        ("🦀", &[]),
        ("", &[]),
        (" ", &[]),
    ] {
        assert_eq!(all(&*store, &room, query).await, expected, "{query:?}");
    }
    let long = "hello ".repeat(2000);
    assert_eq!(all(&*store, &room, &long).await, [2, 1]);
    let many: String = (0..2000).map(|n| format!("w{n} ")).collect();
    assert!(all(&*store, &room, &many).await.is_empty());
}

/// Pages of what is found fit together; `more` is exact.
pub async fn search_pages_backwards(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    if store.search().is_none() {
        return;
    }
    let entries: Vec<_> = (1..=20).map(|n| say(if n % 2 == 0 { "even" } else { "odd" })).collect();
    let room = filled(&*store, "r", &entries).await;
    let found: Vec<u64> = (1..=10).rev().map(|n| n * 2).collect();
    for before in (0..=22).chain([1 << 53, i64::MAX as u64, 1 << 63, u64::MAX]) {
        for limit in (0..=11).chain([i64::MAX as usize, usize::MAX]) {
            let mut expected: Vec<_> = found.iter().copied().filter(|seq| *seq < before).collect();
            let more = expected.len() > limit;
            expected.truncate(limit);
            let got = find(&*store, &room, "even", Some(before), limit).await;
            assert_eq!(got, (expected, more), "before {before}, at most {limit}");
        }
    }
    assert_eq!(find(&*store, &room, "even", None, 3).await, (vec![20, 18, 16], true));
}

/// An edited message is found by its newest content only, a deleted one not at all; also after a restart.
pub async fn search_finds_the_newest_content_only(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    if store.search().is_none() {
        return;
    }
    let (edited, gone) = (say("before same"), say("secret same"));
    let silent = entry(Change::Message {
        content: None,
        data: Some(JsonObject::from_iter([("same".to_owned(), "same".into())])),
        reply_to: None,
        nonce: None,
    });
    let room = filled(&*store, "r", &[edited.clone(), gone.clone(), silent.clone()]).await;
    assert_eq!(all(&*store, &room, "same").await, [2, 1], "data isn't searched");
    let changes = [
        edit(edited.id, "between same"),
        edit(edited.id, "after same"),
        edit(gone.id, "hidden same"),
        delete(gone.id),
        edit(silent.id, "loud"),
    ];
    append(&*store, &room, &changes).await;
    let expected = [
        ("same", &[1][..]),
        ("before", &[]),
        ("between", &[]),
        ("after", &[1]),
        ("secret", &[]),
        ("hidden", &[]),
        ("loud", &[3]),
    ];
    for (query, expected) in expected {
        assert_eq!(all(&*store, &room, query).await, expected, "{query:?}");
    }
    store.close().await.unwrap();
    drop(store);
    let Some(store) = harness.reopen().await else { return };
    for (query, expected) in expected {
        assert_eq!(all(&*store, &room, query).await, expected, "{query:?}");
    }
}

/// What retention removed isn't found.
pub async fn search_forgets_what_retention_removed(harness: &dyn StoreHarness) {
    let Some(store) = harness.open_bounded(20).await else {
        return;
    };
    if store.search().is_none() {
        return;
    }
    let room = filled(&*store, "r", &[]).await;
    for _ in 0..10 {
        append(&*store, &room, &[0; 10].map(|_| say("word"))).await;
    }
    for _ in 0..1000 {
        let head = store.room(&room).await.unwrap().unwrap();
        let found = all(&*store, &room, "word").await;
        assert!(
            found.iter().all(|seq| *seq > head.floor),
            "above {}: {found:?}",
            head.floor
        );
        if head.floor >= 60 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("retention removes nothing");
}
