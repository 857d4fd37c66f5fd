//! What the parts of a message's path cost one by one: `cargo bench -p chat-bench`.

use divan::Bencher;
use divan::counter::ItemsCount;
use roomcast_core::bench::{self, Crowd, Queue};
use roomcast_core::{
    Change, Epoch, Limits, MemoryStore, Message, MessageId, MessageStore, NewEntry, RoomId, Timestamp, User,
};

fn main() {
    divan::main();
}

/// As long as in the other benchmarks.
const CONTENT: usize = 64;

fn ann() -> User {
    User::named("ann").expect("a name")
}

fn lobby() -> RoomId {
    RoomId::new("lobby").expect("a room id")
}

fn content() -> String {
    "x".repeat(CONTENT)
}

fn message(seq: u64) -> Message {
    let mut message = Message::new(
        MessageId::from_u128(seq.into()),
        lobby(),
        seq,
        ann(),
        Timestamp::default(),
    );
    message.content = Some(content());
    message
}

#[divan::bench]
fn encode(bencher: Bencher<'_, '_>) {
    let message = message(1);
    bencher.bench(|| bench::encode(divan::black_box(&message)));
}

#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let text = format!(
        r#"{{"t":"send","id":7,"room_id":"lobby","content":"{}","nonce":"n-1"}}"#,
        content()
    );
    assert!(bench::decode(text.as_bytes()));
    bencher.bench(|| bench::decode(divan::black_box(text.as_bytes())));
}

#[divan::bench]
fn decode_plain(bencher: Bencher<'_, '_>) {
    let text = format!(r#"{{"content":"{}"}}"#, content());
    assert!(bench::decode_plain(text.as_bytes()));
    bencher.bench(|| bench::decode_plain(divan::black_box(text.as_bytes())));
}

/// Encoding, and each member's taking it, included.
#[divan::bench(args = [10, 1000])]
fn fan_out(bencher: Bencher<'_, '_>, members: usize) {
    let mut crowd = Crowd::new(&ann(), members);
    let mut seq = 0;
    bencher.counter(ItemsCount::new(members)).bench_local(|| {
        seq += 1;
        assert_eq!(crowd.hear(message(seq)), members);
    });
}

/// So many frames are pushed one by one, and taken at once.
#[divan::bench(args = [1, 64])]
fn outbox(bencher: Bencher<'_, '_>, frames: usize) {
    let mut queue = Queue::new(Limits::default().send_queue);
    let frame = bench::encode(&message(1));
    bencher.counter(ItemsCount::new(frames)).bench_local(|| {
        assert_eq!(queue.pass(&frame, frames), frames);
    });
}

/// To the store in memory, so many in one batch.
#[divan::bench(args = [1, 64])]
fn append(bencher: Bencher<'_, '_>, entries: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let store = MemoryStore::new();
    let room = lobby();
    let epoch = Epoch::new("e1").expect("an epoch");
    runtime.block_on(store.create_room(&room, epoch)).expect("a room");
    let mut head = 0;
    bencher.counter(ItemsCount::new(entries)).bench_local(|| {
        let batch: Vec<_> = (head + 1..).take(entries).map(new_entry).collect();
        let appended = runtime
            .block_on(store.append(&room, head, &batch))
            .expect("a store that takes them");
        assert_eq!(appended.outcomes.len(), entries);
        head = appended.head;
    });
}

fn new_entry(number: u64) -> NewEntry {
    NewEntry {
        id: MessageId::from_u128(number.into()),
        user: ann(),
        at: Timestamp::default(),
        change: Change::Message {
            content: Some(content()),
            data: None,
            reply_to: None,
            nonce: None,
        },
    }
}
