//! Each limit, and what happens beyond it.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::trouble::Troubled;
use common::{Peer, Seen, room, user, v1};
use roomcast_core::{
    Client, CloseCode, Draft, ErrorCode, Hub, Inbound, Limits, MemoryStore, OpenPolicy, Rate, RoomId, Start,
};
use serde_json::{Value, json};
use tokio::time::Instant;

fn hub(set: impl FnOnce(&mut Limits)) -> Hub {
    let mut limits = Limits::default();
    set(&mut limits);
    Hub::builder(MemoryStore::new(), OpenPolicy)
        .limits(limits)
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn data_is_as_deep_as_a_store_can_read_it() {
    let hub = hub(|_| {});
    let data = |levels: usize| {
        let mut inner = json!(1);
        for _ in 1..levels {
            inner = json!([inner]);
        }
        let mut draft = Draft::new();
        draft.data = json!({ "a": inner }).as_object().cloned();
        draft
    };
    let receipt = hub.publish(&room("r"), &user("bot"), data(124)).await.unwrap();
    let page = hub.room(room("r")).as_user(user("ann"));
    let page = page.history(roomcast_core::HistoryRange::Newest, None).await.unwrap();
    assert_eq!(page.messages[0].seq, receipt.seq);
    // What keeps it as JSON gives it back.
    let text = serde_json::to_string(&page.messages[0]).unwrap();
    assert!(serde_json::from_str::<roomcast_core::Message>(&text).is_ok());
    // A client reads the frame in which it is nested deepest.
    let mut ann = Peer::connect(&hub, v1("ann", "r"));
    ann.frame_of("hello").await;
    ann.send(json!({"t":"history","id":1}));
    assert_eq!(ann.frame_of("history").await["messages"][0]["seq"], receipt.seq);
    let refusal = hub.publish(&room("r"), &user("bot"), data(125)).await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::BadRequest);
    assert_eq!(refusal.message, "data may be nested 124 levels deep at most");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_large_is_refused() {
    let hub = hub(|limits| limits.message_bytes = 10);
    let refusal = hub
        .publish(&room("r"), &user("bot"), Draft::text("12345678901"))
        .await
        .unwrap_err();
    assert_eq!(refusal.code, ErrorCode::TooLarge);
    assert_eq!(refusal.message, "the message takes 11 bytes; allowed are 10");
    let mut ann = Peer::connect(&hub, v1("ann", "r"));
    ann.frame_of("hello").await;
    ann.send(json!({"t":"send","id":1,"content":"1","data":{"key":"value"}}));
    assert_eq!(ann.frame_of("err").await["code"], "too_large");
    ann.send_raw(Inbound::TooLarge);
    assert_eq!(ann.closed().await, 1009);
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_kept_and_a_flood_ends_the_connection() {
    let hub = hub(|limits| {
        limits.rate = Some(Rate {
            per_second: 10.0,
            burst: 3,
        })
    });
    let mut ann = Peer::connect(&hub, v1("ann", "r"));
    ann.frame_of("hello").await;
    for n in 0..4 {
        ann.send(json!({"t":"ping","id":n}));
    }
    for n in 0..3 {
        assert_eq!(ann.frame().await, json!({"t":"pong","id":n}));
    }
    let err = ann.frame().await;
    assert_eq!(
        (&err["id"], &err["code"], &err["retry_ms"]),
        (&json!(3), &json!("rate_limited"), &json!(100))
    );
    tokio::time::sleep(Duration::from_millis(100)).await;
    ann.send(json!({"t":"ping","id":9}));
    assert_eq!(ann.frame().await, json!({"t":"pong","id":9}));
    for n in 0..100 {
        ann.send(json!({"t":"ping","id":n}));
    }
    assert_eq!(ann.closed().await, 4002);

    let mut plain = Peer::connect(&hub, Client::plain(user("bob"), room("r")));
    for _ in 0..4 {
        plain.send(json!({"content":"x"}));
    }
    assert_eq!(plain.closed().await, 4002);
    assert_eq!(
        hub.room(room("r")).head().await.unwrap().unwrap().head,
        3,
        "what was accepted is kept"
    );
}

/// A client comes back with a hundred messages that weren't acknowledged, sends all of them at once, and each that is refused
/// again when it was told to. That is no flood.
#[tokio::test(start_paused = true)]
async fn who_comes_again_when_told_to_gets_through() {
    let hub = hub(|_| {});
    let mut ann = Peer::connect(&hub, v1("ann", "r"));
    ann.frame_of("hello").await;
    for n in 0..100 {
        ann.send(json!({"t":"ping","id":n}));
    }
    let (began, mut answered, mut refused) = (Instant::now(), 0, 0);
    let mut again: Vec<(Instant, Value)> = Vec::new();
    while answered < 100 {
        let due = again.iter().map(|(due, _)| *due).min();
        tokio::select! {
            biased;
            frame = ann.frame() => {
                if frame["t"] == "pong" {
                    answered += 1;
                } else {
                    assert_eq!(frame["code"], "rate_limited", "{frame}");
                    refused += 1;
                    let wait = Duration::from_millis(frame["retry_ms"].as_u64().unwrap());
                    again.push((Instant::now() + wait, frame["id"].clone()));
                }
            }
            () = tokio::time::sleep_until(due.unwrap_or(began + Duration::from_secs(60))) => {
                let at = again.iter().position(|(at, _)| Some(*at) == due).expect("one is due");
                let (_, id) = again.swap_remove(at);
                ann.send(json!({"t":"ping","id":id}));
            }
        }
    }
    assert_eq!(refused, 60, "each of those beyond the burst, once");
    assert_eq!(began.elapsed().as_secs(), 3, "20 a second");
}

#[tokio::test(start_paused = true)]
async fn a_flood_that_is_spread_over_time_ends_the_connection() {
    let hub = hub(|limits| {
        limits.rate = Some(Rate {
            per_second: 10.0,
            burst: 3,
        })
    });
    // Frames a second, and whether that is borne for a minute. One in so many is let through all the time.
    for (rate, borne) in [(12, true), (18, true), (60, false)] {
        let mut ann = Peer::connect(&hub, v1(&format!("ann-{rate}"), "r"));
        for n in 0..60 * rate {
            ann.send(json!({"t":"ping","id":n}));
            tokio::time::sleep(Duration::from_secs(1) / rate).await;
        }
        if borne {
            ann.send(json!({"t":"leave","id":"last"}));
            while ann.frame().await["id"] != "last" {}
        } else {
            assert_eq!(ann.closed().await, 4002, "{rate} a second");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_what_asks_for_nothing_ends_the_connection() {
    for frame in [Inbound::Ping, Inbound::Pong, Inbound::Fragment] {
        // A bucket of its own: it is there even where messages are counted by nobody.
        let hub = hub(|limits| {
            limits.rate = None;
            limits.control_rate = Some(Rate {
                per_second: 10.0,
                burst: 3,
            });
        });
        let mut ann = Peer::connect(&hub, v1("ann", "r"));
        ann.frame_of("hello").await;
        for _ in 0..50 {
            ann.send_raw(frame.clone());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        ann.send(json!({"t":"ping","id":1}));
        assert_eq!(ann.frame().await, json!({"t":"pong","id":1}), "{frame:?} at the rate");
        for _ in 0..5 {
            ann.send_raw(frame.clone());
        }
        let bye = ann.frame_of("bye").await;
        assert_eq!((&bye["code"], &bye["after_ms"]), (&json!(4002), &json!(1000)));
        assert_eq!(ann.closed().await, 4002, "{frame:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rooms_connections_and_users_are_counted() {
    let hub = hub(|limits| {
        limits.rooms_per_connection = 2;
        limits.connections = 3;
        limits.connections_per_user = 2;
    });
    let mut ann = Peer::connect(&hub, v1("ann", "a"));
    ann.frame_of("hello").await;
    ann.send(json!({"t":"join","id":1,"room_id":"b"}));
    ann.frame_of("joined").await;
    ann.send(json!({"t":"join","id":2,"room_id":"c"}));
    assert_eq!(ann.frame_of("err").await["code"], "too_many_rooms");
    ann.send(json!({"t":"leave","id":3,"room_id":"a"}));
    assert_eq!(ann.frame_of("left").await["room_id"], "a");
    ann.send(json!({"t":"join","id":4,"room_id":"c"}));
    ann.frame_of("joined").await;

    let second = hub.admit(v1("ann", "a")).await.unwrap();
    assert_eq!(
        hub.admit(v1("ann", "a")).await.unwrap_err().code,
        ErrorCode::RateLimited
    );
    let third = hub.admit(v1("bob", "a")).await.unwrap();
    assert_eq!(
        hub.admit(v1("cid", "a")).await.unwrap_err().code,
        ErrorCode::Unavailable
    );
    drop((second, third));
    hub.admit(v1("cid", "a")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn room_ids_are_of_the_set() {
    let ascii = hub(|_| {});
    for id in ["ä", ".", ".."] {
        let refusal = ascii
            .admit(Client::plain(user("ann"), RoomId::new(id).unwrap()))
            .await
            .unwrap_err();
        assert_eq!(refusal.code, ErrorCode::BadRequest);
    }
    let german = self::hub(|limits| limits.room_id_char = char::is_alphanumeric);
    german
        .admit(Client::plain(user("ann"), RoomId::new("ä").unwrap()))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_pinged_and_then_closed() {
    let hub = hub(|_| {});
    let mut ann = Peer::connect(&hub, v1("ann", "r"));
    ann.frame_of("hello").await;
    let began = tokio::time::Instant::now();
    assert_eq!(ann.next().await, Seen::Ping);
    assert!(began.elapsed() >= Duration::from_secs(25), "{:?}", began.elapsed());
    ann.send_raw(Inbound::Pong);
    assert_eq!(ann.next().await, Seen::Ping);
    assert_eq!(ann.closed().await, 4004);
    assert!((60..61).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_transport_without_pings_may_be_silent() {
    let hub = hub(|_| {});
    let mut ann = Peer::connect_with(&hub, v1("ann", "r"), common::OPEN, false);
    ann.frame_of("hello").await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    ann.send(json!({"t":"ping","id":1}));
    assert_eq!(ann.frame().await["t"], "pong");
}

#[tokio::test(start_paused = true)]
async fn an_identity_expires() {
    let hub = hub(|_| {});
    let mut ann = Peer::connect(&hub, v1("ann", "r").expires_in(Duration::from_secs(20)));
    assert_eq!(ann.closed().await, 4501);
    assert_eq!(ann.task.await.unwrap().unwrap().code, Some(CloseCode::Unauthenticated));
}

#[tokio::test(start_paused = true)]
async fn history_pages_are_bounded() {
    let hub = hub(|limits| limits.history_page_max = 60);
    let mut ann = Peer::connect(&hub, v1("ann", "r"));
    ann.frame_of("hello").await;
    ann.send(json!({"t":"history","id":1,"limit":61}));
    let err = ann.frame_of("err").await;
    assert_eq!(
        (&err["code"], &err["message"]),
        (&json!("bad_request"), &json!("limit is 61; allowed are 1 to 60"))
    );
    assert_eq!(
        hub.admit(v1("ann", "r").start(Start::Last(61)))
            .await
            .unwrap_err()
            .message,
        "last is 61; allowed are at most 60"
    );
}

#[tokio::test(start_paused = true)]
async fn the_tenth_bad_frame_in_a_row_ends_a_connection() {
    let hub = hub(|_| {});
    let mut ann = Peer::connect(&hub, v1("ann", "r"));
    ann.frame_of("hello").await;
    for round in 0..2 {
        for _ in 0..9 {
            ann.send(json!({"t":"edit"}));
        }
        if round == 0 {
            ann.send(json!({"t":"later"}));
        }
    }
    ann.send(json!({"t":"ping","id":1}));
    ann.frame_of("pong").await;
    for _ in 0..10 {
        ann.send(json!([]));
    }
    assert_eq!(ann.closed().await, 4500);
    // Whatever it is that makes them bad.
    let mut bob = Peer::connect(&hub, v1("bob", "r"));
    bob.frame_of("hello").await;
    for n in 0..10 {
        bob.send(match n % 5 {
            0 => json!({"t":"send","id":n,"content":""}),
            1 => json!({"t":"send","id":n}),
            2 => json!({"t":"edit","id":n,"msg":"00000000-0000-0000-0000-000000000001","content":""}),
            3 => json!({"t":"history","id":n,"before":1,"after":1}),
            _ => json!({"t":"join","id":n,"room_id":"r","last":1,"since":"e:1"}),
        });
    }
    for n in 0..10 {
        let err = bob.frame().await;
        assert_eq!((&err["id"], &err["code"]), (&json!(n), &json!("bad_request")));
    }
    assert_eq!(bob.closed().await, 4500);
    let mut plain = Peer::connect(&hub, Client::plain(user("bob"), room("r")));
    plain.send(json!({"content":""}));
    assert_eq!(plain.closed().await, 4500);
}

#[tokio::test(start_paused = true)]
async fn a_kicked_user_and_a_binary_frame_end_the_connection() {
    let hub = hub(|_| {});
    let mut ann = Peer::connect(&hub, v1("ann", "r"));
    let mut bob = Peer::connect(&hub, v1("bob", "r"));
    ann.frame_of("hello").await;
    bob.frame_of("hello").await;
    assert_eq!(hub.kick(user("ann").id()), 1);
    let bye = ann.frame_of("bye").await;
    assert_eq!(bye, json!({"t":"bye","code":4503,"reason":"kicked","reconnect":false}));
    bob.send_raw(Inbound::Binary);
    assert_eq!(bob.closed().await, 4505);
}

#[tokio::test(start_paused = true)]
async fn rooms_and_sessions_leave_nothing_behind() {
    let hub = hub(|_| {});
    let mut ann = Peer::connect(&hub, v1("ann", "r"));
    ann.frame_of("hello").await;
    assert_eq!((hub.stats().connections, hub.stats().rooms), (1, 1));
    ann.send_raw(Inbound::Closed);
    assert_eq!(ann.task.await.unwrap().unwrap().code, None);
    assert_eq!(
        (hub.stats().connections, hub.stats().rooms, hub.stats().users),
        (0, 0, 0)
    );
}

/// A hub on a store whose appends never answer.
fn stuck_hub(set: impl FnOnce(&mut Limits)) -> (Hub, Arc<Troubled>) {
    let store = Troubled::new(MemoryStore::new());
    store.append_hangs.store(true, Ordering::SeqCst);
    let mut limits = Limits::default();
    limits.rate = None;
    set(&mut limits);
    let hub = Hub::builder(store.clone(), OpenPolicy).limits(limits).build().unwrap();
    (hub, store)
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_too_much_in_flight_is_not_read_until_something_is_settled() {
    let (hub, _store) = stuck_hub(|limits| limits.in_flight = 3);
    let mut ann = Peer::connect_with(&hub, v1("ann", "r"), common::OPEN, false);
    ann.frame_of("hello").await;
    for n in 0..3 {
        ann.send(json!({"t":"send","id":n,"content":"x"}));
    }
    ann.send(json!({"t":"ping","id":3}));
    let quiet = tokio::time::timeout(Duration::from_secs(9), ann.next()).await;
    assert!(quiet.is_err(), "the ping isn't read: {quiet:?}");
    // The commit's time is over; then there is a place again.
    let mut seen = Vec::new();
    for _ in 0..4 {
        let frame = ann.frame().await;
        seen.push((frame["id"].as_u64().unwrap(), frame["t"].as_str().unwrap().to_owned()));
    }
    seen.sort();
    assert_eq!(seen.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(seen[..3].iter().all(|(_, t)| t == "err"));
    assert_eq!(seen[3].1, "pong");
}

/// Six at once on a store that takes 2 s for an append, with one message in an append and one in the queue: the others wait
/// for a place, in whichever order, for as long as a commit may take.
#[tokio::test(start_paused = true)]
async fn senders_wait_for_a_place_in_a_full_commit_queue() {
    for (commit, stored) in [(60, 6..=6), (3, 1..=3)] {
        let store = Troubled::new(MemoryStore::new());
        store.append_ms.store(2000, Ordering::SeqCst);
        let mut limits = Limits::default();
        limits.commit_queue.messages = 1;
        limits.commit_batch.messages = 1;
        limits.commit = Duration::from_secs(commit);
        let hub = Hub::builder(store, OpenPolicy).limits(limits).build().unwrap();
        let began = tokio::time::Instant::now();
        let calls: Vec<_> = (0..6)
            .map(|_| {
                let hub = hub.clone();
                tokio::spawn(async move {
                    let told = hub.publish(&room("r"), &user("bot"), Draft::text("x")).await;
                    (told.map_err(|refusal| refusal.code), began.elapsed().as_secs())
                })
            })
            .collect();
        let mut count = 0;
        for call in calls {
            match call.await.unwrap() {
                (Ok(receipt), after) => {
                    count += 1;
                    assert_eq!(after, 2 * receipt.seq);
                }
                (Err(code), after) => assert_eq!((code, after), (ErrorCode::Unavailable, 3)),
            }
        }
        assert!(stored.contains(&count), "{count}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_is_told_when_the_time_for_its_commit_is_over() {
    let (hub, _store) = stuck_hub(|limits| limits.commit = Duration::from_secs(3));
    let began = tokio::time::Instant::now();
    let refusal = hub
        .publish(&room("r"), &user("bot"), Draft::text("x"))
        .await
        .unwrap_err();
    assert_eq!(refusal.code, ErrorCode::Unavailable);
    assert_eq!(began.elapsed().as_secs(), 3);
}

/// The answers to ten requests don't fit into the queue: the next request waits, first in its task's turn; then the writer writes
/// them all, and waits. The task slept then until its client was to be pinged.
#[tokio::test(start_paused = true)]
async fn requests_go_on_as_soon_as_their_answers_are_written() {
    let hub = hub(|limits| limits.send_queue.bytes = 1000);
    for _ in 0..10 {
        let draft = Draft::text("x".repeat(100));
        hub.publish(&room("r"), &user("bot"), draft).await.unwrap();
    }
    let mut ann = Peer::connect(&hub, v1("ann", "r"));
    ann.frame_of("hello").await;
    let began = tokio::time::Instant::now();
    for n in 0..20 {
        ann.send(json!({"t":"history","id":n}));
    }
    for n in 0..20 {
        assert_eq!(ann.frame_of("history").await["id"], n);
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}
