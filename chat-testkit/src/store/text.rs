//! Unusual values: what the types allow, a store keeps exactly.

use roomcast_core::{
    Change, Entry, Epoch, HistoryRange, JsonObject, MessageId, NewEntry, Nonce, RoomId, Timestamp, User, UserId,
    UserName,
};
use serde_json::{Value, json};

use super::make::*;
use crate::StoreHarness;

/// Stores the messages and compares what every reading gives.
async fn kept_exactly(harness: &dyn StoreHarness, entries: &[NewEntry]) {
    let store = harness.open().await;
    let room = filled(&*store, "r", entries).await;
    let expected: Vec<_> = (1..)
        .zip(entries)
        .map(|(seq, entry)| as_message(&room, seq, entry))
        .collect();
    for (entry, expected) in whole_log(&*store, &room).await.into_iter().zip(&expected) {
        assert_eq!(entry, Entry::Message(expected.clone()));
    }
    for expected in &expected {
        assert_eq!(
            store.message(&room, expected.id).await.unwrap().as_ref(),
            Some(expected)
        );
        let page = store
            .history(&room, HistoryRange::Before(expected.seq + 1), 1)
            .await
            .unwrap();
        assert_eq!(&page.messages[0], expected);
    }
    store.close().await.unwrap();
    drop(store);
    let Some(store) = harness.reopen().await else { return };
    let log = whole_log(&*store, &room).await;
    assert!(log.into_iter().eq(expected.into_iter().map(Entry::Message)));
}

/// Texts that are hard for databases and their languages.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "\0",
        "before\0after",
        "\0\0\0",
        "\u{1}\u{2}\u{1b}[31m\u{7f}\u{85}\u{9f}",
        "\r\n\t\u{b}\u{c}",
        "line\nline\r\nline\u{2028}line\u{2029}",
        "🦀👩‍👩‍👧‍👦🏳️‍🌈",
        "e\u{301} é ﬁ ǆ İ ı ß ẞ",
        "Z\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}algo",
        "مرحبا \u{202e}shalom\u{202c} שלום \u{200f}\u{200e}",
        "\u{feff}bom \u{fffe} \u{ffff} \u{fffd} \u{10ffff}",
        "'; DROP TABLE entries; --",
        "\"quoted\" `ticks` [brackets] $dollar {$ne: null} ?1 :name @name %s %00 \\0 \\u0000 \\",
        "null",
        "NULL",
        "0",
        "1e999",
        "{\"$oid\":\"000000000000000000000000\"}",
        "x'00'",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.push("long 🦀 ".repeat(100_000));
    texts.push("x".repeat(1 << 20));
    texts
}

/// Any text is kept, as content and after an edit.
pub async fn any_text_is_kept(harness: &dyn StoreHarness) {
    let entries: Vec<_> = texts().iter().map(|text| say(text)).collect();
    kept_exactly(harness, &entries).await;
}

/// The same for edits.
pub async fn any_text_is_kept_by_an_edit(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let first = say("plain");
    let room = filled(&*store, "r", std::slice::from_ref(&first)).await;
    for text in texts() {
        append(&*store, &room, &[edit(first.id, &text)]).await;
        let now = store.message(&room, first.id).await.unwrap().unwrap();
        assert_eq!(now.content, Some(text));
    }
}

/// Any JSON is kept: odd keys, deep nesting, numbers at the ends of their types.
pub async fn any_data_is_kept(harness: &dyn StoreHarness) {
    let mut values = vec![
        json!({}),
        json!({"": "", "\0": "\0", "$set": 1, "a.b": 2, "__proto__": {}, "_id": 3, "🦀": "🦀", "\u{feff}": "\u{feff}"}),
        json!({"null": null, "true": true, "false": false, "list": [], "mixed": [1, "1", null, [[]], {}]}),
        json!({"i": [0, -1, i64::MIN, i64::MAX, u64::MAX, 1_u64 << 53, (1_u64 << 53) + 1, i64::MAX as u64 + 1]}),
        json!({"f": [0.0, 0.1, 0.1 + 0.2, 1.0 / 3.0, 1e15, 1e16, 1e21, 123_456_789.123_456_79, f64::EPSILON]}),
        json!({"f": [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, 2.225_073_858_507_201e-308, 1.7976931348623157e308]}),
        json!({"text": texts()[..20]}),
    ];
    // Numbers without a pattern, which show a reader of decimals that is off by one in the last place.
    let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
    let mut odd = Vec::new();
    for _ in 0..500 {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        odd.extend(Some(f64::from_bits(bits)).filter(|number| number.is_finite()));
    }
    values.push(json!({ "odd": odd }));
    let mut deep = json!("bottom");
    for level in 0..100 {
        deep = if level % 2 == 0 {
            json!([deep])
        } else {
            json!({ "in": deep })
        };
    }
    values.push(json!({ "deep": deep }));
    let entries: Vec<_> = values
        .into_iter()
        .map(|value| {
            let Value::Object(data) = value else {
                unreachable!("written as objects")
            };
            message_with(None, Some(data))
        })
        .collect();
    kept_exactly(harness, &entries).await;
}

fn message_with(content: Option<&str>, data: Option<JsonObject>) -> NewEntry {
    entry(Change::Message {
        content: content.map(str::to_owned),
        data,
        reply_to: None,
        nonce: None,
    })
}

/// No content isn't the empty one, and no data isn't the empty object.
pub async fn absent_is_not_empty(harness: &dyn StoreHarness) {
    let entries = [
        message_with(None, None),
        message_with(Some(""), None),
        message_with(None, Some(JsonObject::new())),
        message_with(Some(""), Some(JsonObject::new())),
    ];
    kept_exactly(harness, &entries).await;
}

/// Ids are 128 bits, unsigned, and any of them will do; also for what is replied to.
pub async fn any_id_is_kept(harness: &dyn StoreHarness) {
    let ids = [
        0,
        1,
        u64::MAX.into(),
        1 << 64,
        1 << 127,
        (1 << 127) - 1,
        u128::MAX - 1,
        u128::MAX,
        0x00ff_00ff << 96,
    ];
    let entries: Vec<_> = ids
        .into_iter()
        .map(|id| {
            let mut new = entry(Change::Message {
                content: Some(format!("{id:x}")),
                data: None,
                reply_to: Some(MessageId::from_u128(!id)),
                nonce: Some((Nonce::new("n").unwrap(), roomcast_core::Fingerprint::from_u128(id))),
            });
            new.id = MessageId::from_u128(id);
            by(&id.to_string(), new)
        })
        .collect();
    kept_exactly(harness, &entries).await;
}

/// Times before 1970, far ahead, and out of order are kept to the millisecond.
pub async fn any_time_is_kept(harness: &dyn StoreHarness) {
    let times = [
        i64::MIN,
        -62_167_219_200_000,
        -1001,
        -1,
        0,
        1,
        999,
        1_795_338_000_123,
        4_102_444_800_001,
        i64::MAX,
        5,
    ];
    let entries: Vec<_> = times
        .into_iter()
        .map(|ms| {
            let mut new = say("hi");
            new.at = Timestamp::from_millis(ms);
            new
        })
        .collect();
    kept_exactly(harness, &entries).await;
}

/// Names may be as long as their types allow, in any script, and a user's name need not be its id.
pub async fn any_name_is_kept(harness: &dyn StoreHarness) {
    let store = harness.open().await;
    let room = RoomId::new("🦀".repeat(RoomId::MAX_CHARS)).unwrap();
    let epoch = Epoch::new("e".repeat(Epoch::MAX_CHARS)).unwrap();
    assert_eq!(store.create_room(&room, epoch.clone()).await.unwrap().epoch, epoch);
    let names = [
        ("a", " "),
        (" a ", "\u{202e}a"),
        ("'\"\\", "`${}`"),
        ("u/1?#%", "e\u{301}"),
        ("é", "é"),
        ("e\u{301}", "🏳️‍🌈"),
    ];
    let longest = "🦀".repeat(128);
    let entries: Vec<_> = names
        .into_iter()
        .chain([(&*longest, &*longest)])
        .map(|(id, name)| {
            let mut new = say_once("hi", "n");
            new.user = User::new(UserId::new(id).unwrap(), UserName::new(name).unwrap());
            new
        })
        .collect();
    append(&*store, &room, &entries).await;
    let log = whole_log(&*store, &room).await;
    let expected = (1..)
        .zip(&entries)
        .map(|(seq, entry)| Entry::Message(as_message(&room, seq, entry)));
    assert!(log.into_iter().eq(expected));
    assert_eq!(store.rooms(None, 9).await.unwrap()[0].id, room);
}
