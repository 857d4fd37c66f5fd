use super::*;
use crate::{Deletion, Edit, Message, MessageId, RoomId, Timestamp, User};

fn id(n: u64) -> MessageId {
    MessageId::from_u128(n.into())
}

fn message(seq: u64, content: &str) -> Entry {
    let (room, user) = (RoomId::new("r").unwrap(), User::named("ann").unwrap());
    let mut message = Message::new(id(seq), room, seq, user, Timestamp::default());
    message.content = Some(content.into());
    Entry::Message(message)
}

fn edit(seq: u64, target: u64, content: &str) -> Entry {
    let (room, user) = (RoomId::new("r").unwrap(), User::named("ann").unwrap());
    let mut edit = Edit::new(id(seq), room, seq, (id(target), target), user, Timestamp::default());
    edit.content = Some(content.into());
    Entry::Edit(edit)
}

fn delete(seq: u64, target: u64) -> Entry {
    let (room, user) = (RoomId::new("r").unwrap(), User::named("ann").unwrap());
    Entry::Delete(Deletion::new(
        id(seq),
        room,
        seq,
        (id(target), target),
        user,
        Timestamp::default(),
    ))
}

fn tail(messages: usize, entries: Vec<Entry>) -> Tail {
    let mut tail = Tail::new(QueueLimit {
        messages,
        bytes: 1 << 20,
    });
    for entry in entries {
        let frame = Frame::of(&entry);
        tail.push(entry, frame);
    }
    tail
}

fn text(tail: &Tail) -> String {
    let frames = tail
        .frames(
            tail.first().unwrap(),
            QueueLimit {
                messages: 99,
                bytes: 1 << 20,
            },
        )
        .unwrap();
    frames
        .iter()
        .map(|frame| String::from_utf8_lossy(&frame.bytes).into_owned())
        .collect()
}

const ALL: QueueLimit = QueueLimit {
    messages: 99,
    bytes: 1 << 20,
};

#[test]
fn batches_keep_the_order_and_the_limit() {
    let entries: Vec<Entry> = (1..=7).map(|seq| message(seq, "x")).collect();
    let divided = |messages, bytes| -> Vec<Vec<u64>> {
        batches(entries.clone(), QueueLimit { messages, bytes })
            .map(|batch| batch.iter().map(|(entry, _)| entry.seq()).collect())
            .collect()
    };
    assert_eq!(divided(3, 1 << 20), [vec![1, 2, 3], vec![4, 5, 6], vec![7]]);
    let two = 2 * Frame::of(&entries[0]).bytes.len();
    assert_eq!(divided(9, two), [vec![1, 2], vec![3, 4], vec![5, 6], vec![7]]);
    assert_eq!(divided(9, 1).len(), 7, "never less than one");
    assert_eq!(batches(Vec::new(), ALL).count(), 0);
}

#[test]
fn holds_the_newest_within_its_limit() {
    let tail = tail(3, (1..=5).map(|seq| message(seq, "x")).collect());
    assert_eq!(tail.first(), Some(3));
    assert!(tail.frames(2, ALL).is_none());
    assert!(tail.frames(6, ALL).is_none());
    let seqs = |from, limit| {
        tail.frames(from, limit)
            .unwrap()
            .iter()
            .map(|f| f.seq)
            .collect::<Vec<_>>()
    };
    assert_eq!(seqs(3, ALL), [3, 4, 5]);
    assert_eq!(seqs(5, ALL), [5]);
    assert_eq!(
        seqs(
            3,
            QueueLimit {
                messages: 2,
                bytes: 1 << 20
            }
        ),
        [3, 4]
    );
    assert_eq!(
        seqs(3, QueueLimit { messages: 9, bytes: 1 }),
        [3],
        "never less than one"
    );
}

#[test]
fn older_entries_go_in_front_as_far_as_they_fit() {
    let mut tail = tail(4, vec![message(5, "x")]);
    tail.prepend((1..=4).map(|seq| message(seq, "x")).collect(), true);
    assert_eq!(tail.first(), Some(2));
    assert_eq!(tail.frames(2, ALL).unwrap().len(), 4);
}

#[test]
fn it_never_has_a_hole() {
    let mut tail = tail(9, vec![message(5, "x")]);
    tail.prepend(vec![message(2, "x"), message(3, "x")], false);
    assert_eq!(tail.first(), Some(5), "4 is missing between");
    tail.prepend(vec![message(2, "x"), message(4, "x")], false);
    assert_eq!(tail.first(), Some(4), "3 is missing before");
    let late = message(7, "x");
    let frame = Frame::of(&late);
    tail.push(late, frame);
    assert_eq!(tail.first(), Some(7), "6 is missing before");
}

#[test]
fn it_knows_when_nothing_can_go_in_front() {
    let mut tail = tail(3, vec![message(5, "x")]);
    tail.prepend(vec![message(4, "x")], false);
    assert!(!tail.is_complete());
    tail.prepend(vec![message(2, "x"), message(3, "x")], false);
    assert!(tail.is_complete(), "2 had no place");
    tail.clear();
    assert!(!tail.is_complete());
    tail.prepend(vec![message(5, "x")], true);
    assert!(tail.is_complete(), "there is nothing older");
}

#[test]
fn what_retention_removed_is_let_go() {
    let entries = vec![message(1, "gone"), message(2, "here"), edit(3, 1, "gone too")];
    let mut tail = tail(9, entries);
    tail.forget_up_to(1);
    assert_eq!(tail.first(), Some(2));
    assert!(!text(&tail).contains("gone"), "{}", text(&tail));
    assert!(tail.is_complete());
}

#[test]
fn an_edit_changes_the_message_and_older_edits() {
    let tail = tail(9, vec![message(1, "first"), edit(2, 1, "second"), edit(3, 1, "third")]);
    assert!(!text(&tail).contains("first") && !text(&tail).contains("second"));
    assert_eq!(text(&tail).matches("third").count(), 3);
}

#[test]
fn nothing_of_a_deleted_message_is_left() {
    let tail = tail(
        9,
        vec![
            message(1, "secret"),
            message(2, "other"),
            edit(3, 1, "secret too"),
            delete(4, 1),
        ],
    );
    assert!(!text(&tail).contains("secret"), "{}", text(&tail));
    assert!(text(&tail).contains("other"));
    assert!(
        !tail.frames(1, ALL).unwrap()[0].plain,
        "a tombstone is not for plain connections"
    );
}

/// A hub has message 1 in memory. On another hub it is edited, and then deleted or removed by retention. What the first
/// hub then reads of the log ends with the edit, which has no content any more; the message had none either after
/// that, and was sent as one that says nothing at all.
#[test]
fn an_edit_that_says_nothing_any_more_leaves_no_message_without_content() {
    let mut said_nothing = edit(3, 1, "");
    if let Entry::Edit(edit) = &mut said_nothing {
        edit.content = None;
    }
    let tail = tail(9, vec![message(1, "secret"), message(2, "other"), said_nothing]);
    assert_eq!(tail.first(), Some(3), "the rest is read from the store");
}

/// Message 1 is read from the store, deleted by entry 3, before entry 2 comes, which edits it.
#[test]
fn an_edit_doesn_t_dig_out_what_is_known_to_be_deleted() {
    let mut buried = message(1, "secret");
    if let Entry::Message(message) = &mut buried {
        message.bury();
    }
    let tail = tail(9, vec![buried, edit(2, 1, "secret too")]);
    assert_eq!(tail.first(), Some(2), "the rest is read from the store");
}

#[test]
fn an_edit_whose_message_fell_off_is_still_brought_up_to_date() {
    let tail = tail(2, vec![message(1, "secret"), edit(2, 1, "secret too"), delete(3, 1)]);
    assert_eq!(tail.first(), Some(2));
    assert!(!text(&tail).contains("secret"));
}

/// Each takes a few hundred bytes on the wire, and sixty thousand in memory: the tail holds as many as fit its bound.
#[test]
fn memory_is_counted_and_given_back() {
    let mut tail = Tail::new(QueueLimit {
        messages: 1024,
        bytes: 1 << 20,
    });
    for seq in 1..=100 {
        let mut entry = message(seq, "x");
        if let Entry::Message(message) = &mut entry {
            let text = format!(r#"{{"a":[{}]}}"#, vec!["[0]"; 400].join(","));
            message.data = Some(serde_json::from_str(&text).unwrap());
        }
        let frame = Frame::of(&entry);
        tail.push(entry, frame);
    }
    assert!((8..20).contains(&tail.entries.len()), "{}", tail.entries.len());
    for seq in 101..=110 {
        let entry = delete(seq, seq - 10);
        let frame = Frame::of(&entry);
        tail.push(entry, frame);
    }
    let counted: usize = tail.entries.iter().map(|(entry, frame)| weight(entry, frame)).sum();
    assert_eq!(tail.bytes, counted);
    assert!(tail.bytes < 1 << 19, "{}", tail.bytes);
}
