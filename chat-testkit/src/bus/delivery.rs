//! What arrives.

use std::sync::Arc;

use roomcast_core::{Draft, JsonObject};
use serde_json::json;

use super::cluster::*;
use super::harness::BusHarness;
use super::member::Member;

/// Members on three nodes see what is said on each of them, in order.
pub async fn members_hear_what_other_nodes_store(harness: &dyn BusHarness) {
    let hubs: [_; 3] = hubs(harness).await;
    let room = room("r");
    let mut members = Vec::new();
    for hub in &hubs {
        members.push(Member::join(hub, "ann", &room).await);
    }
    settle(&hubs).await;
    for round in 0..10 {
        for (node, hub) in hubs.iter().enumerate() {
            let text = format!("{round} from {node}");
            say(hub, &room, "bot", &text).await;
            for member in &mut members {
                member.sees(&text).await;
            }
        }
    }
    drop(members);
    stop(hubs).await;
}

/// Messages with all that they may have, edits and deletions.
pub async fn every_kind_of_entry_arrives(harness: &dyn BusHarness) {
    let [one, two] = hubs(harness).await;
    let room = room("r");
    let mut ann = Member::join(&one, "ann", &room).await;
    settle([&one]).await;
    let first = say(&two, &room, "bob", "a\nline \u{2028} \"quoted\" \u{1F600}").await;
    ann.sees("a\nline \u{2028} \"quoted\" \u{1F600}").await;

    let mut draft = Draft::text("look");
    let data = json!({ "deep": [{ "er": [1.5, -0.0, 1e300, u64::MAX, null, "\u{0}"] }], "\u{0}$.": {} });
    draft.data = data.as_object().cloned().map(JsonObject::from_iter);
    draft.reply_to = Some(first.id);
    two.publish(&room, &user("bob"), draft).await.unwrap();
    let frame = ann.sees("look").await;
    assert_eq!(frame["data"], data);
    assert_eq!(frame["reply_to"], json!(first.id));

    let bob = two.room(room.clone()).as_user(user("bob"));
    bob.edit(first.id, "edited").await.unwrap();
    let edit = ann.sees("edited").await;
    assert_eq!((&edit["t"], &edit["seq"]), (&json!("edit"), &json!(3)), "{edit}");
    bob.delete(first.id).await.unwrap();
    let deletion = ann.frame("a deletion").await;
    assert_eq!(
        (&deletion["t"], &deletion["seq"]),
        (&json!("delete"), &json!(4)),
        "{deletion}"
    );
    drop(ann);
    stop([one, two]).await;
}

/// Up to more than a notice has room for.
pub async fn large_entries_arrive(harness: &dyn BusHarness) {
    let [one, two] = hubs(harness).await;
    let room = room("r");
    let mut ann = Member::join(&one, "ann", &room).await;
    settle([&one]).await;
    for kib in [1, 16, 60, 64, 65, 200, 1] {
        // Two bytes a character, and quotation marks, which are escaped.
        let text = "ä\"".repeat((kib << 10) / 4);
        say(&two, &room, "bob", &text).await;
        ann.sees(&text).await;
    }
    drop(ann);
    stop([one, two]).await;
}

/// Many that are said at once are committed together.
pub async fn large_batches_arrive(harness: &dyn BusHarness) {
    let [one, two] = hubs(harness).await;
    let room = room("r");
    let mut ann = Member::join(&one, "ann", &room).await;
    let padding = "x".repeat(2 << 10);
    let senders: Vec<_> = (0..500)
        .map(|n| {
            let (hub, room, text) = (two.clone(), room.clone(), format!("{n} {padding}"));
            tokio::spawn(async move { say(&hub, &room, "bob", &text).await })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    let seen = ann.sees_up_to(500).await;
    assert_eq!(seen["bob"].len(), 500);
    drop(ann);
    stop([one, two]).await;
}

/// Two nodes write one room as fast as they can; members on three nodes see every entry once and in order.
pub async fn two_nodes_write_one_room(harness: &dyn BusHarness) {
    const EACH: usize = 150;
    let hubs: [_; 3] = hubs(harness).await;
    let room = room("r");
    let mut members = Vec::new();
    for hub in &hubs {
        members.push(Member::join(hub, "ann", &room).await);
    }
    let writers: Vec<_> = (0..4)
        .map(|n| {
            let (hub, room) = (hubs[n % 2].clone(), room.clone());
            tokio::spawn(async move {
                for count in 0..EACH {
                    say(&hub, &room, &format!("w{n}"), &count.to_string()).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let expected: Vec<_> = (0..EACH).map(|count| count.to_string()).collect();
    for member in &mut members {
        let seen = member.sees_up_to(4 * EACH as u64).await;
        for n in 0..4 {
            assert_eq!(seen[&format!("w{n}")], expected);
        }
    }
    drop(members);
    stop(hubs).await;
}

/// Members in many rooms of one node, who joined at about the same time.
pub async fn many_rooms_arrive(harness: &dyn BusHarness) {
    let [one, two] = hubs(harness).await;
    let one = Arc::new(one);
    let joins: Vec<_> = (0..300)
        .map(|n| {
            let hub = one.clone();
            tokio::spawn(async move {
                let room = room(&format!("r{n}"));
                (Member::join(&hub, &format!("u{n}"), &room).await, room)
            })
        })
        .collect();
    let mut members = Vec::new();
    for join in joins {
        members.push(join.await.unwrap());
    }
    settle([&*one]).await;
    for (_, room) in &members {
        say(&two, room, "bob", room.as_str()).await;
    }
    for (member, room) in &mut members {
        member.sees(room.as_str()).await;
    }
    drop(members);
    stop([Arc::into_inner(one).expect("the joins are over"), two]).await;
}

/// Every id that a hub may be told to allow is a room of its own.
pub async fn any_room_id_arrives(harness: &dyn BusHarness) {
    let [one, two] = hubs(harness).await;
    let long = "\u{10FFFD}".repeat(128);
    let names = [
        "a",
        "A",
        "a.b",
        "a.B",
        "a_b",
        "a-b",
        "a.*",
        "*",
        ">",
        "a.>",
        "a..b",
        "...",
        "$",
        "$SYS",
        "a=2Eb",
        "a+b",
        "a&b",
        "{a}",
        "[a-z]",
        "\"",
        "'",
        "`a`",
        "a,b",
        "a;b",
        "a|b",
        "a:b@c~d",
        "null",
        "0",
        "\u{e9}",
        "e\u{301}",
        "部屋",
        "комната",
        "👩‍👩‍👧",
        "\u{200B}",
        "\u{202E}x",
        &long,
        &long[4..],
    ];
    let mut members = Vec::new();
    for name in names {
        let room = room(name);
        members.push((Member::join(&one, "ann", &room).await, room));
    }
    settle([&one]).await;
    for (_, room) in &members {
        say(&two, room, "bob", room.as_str()).await;
    }
    for (member, room) in &mut members {
        let frame = member.sees(room.as_str()).await;
        assert_eq!(frame["seq"], 1, "{frame}");
    }
    // A second one shows that nothing of another room came between.
    for (_, room) in &members {
        say(&two, room, "bob", "again").await;
    }
    for (member, _) in &mut members {
        member.sees("again").await;
    }
    drop(members);
    stop([one, two]).await;
}
