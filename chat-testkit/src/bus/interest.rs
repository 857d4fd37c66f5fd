//! Which rooms a hub hears of.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::cluster::*;
use super::harness::BusHarness;
use super::member::{Member, SOON};

/// A hub is told of rooms in which it has members, and not of those that nobody ever was in or that all have left.
pub async fn rooms_without_members_cost_nothing(harness: &dyn BusHarness) {
    const MANY: u64 = 200;
    let [one, two] = hubs(harness).await;
    let (kept, left, never) = (room("kept"), room("left"), room("never"));
    let mut ann = Member::join(&one, "ann", &kept).await;
    let mut bob = Member::join(&one, "bob", &left).await;
    say(&two, &left, "bot", "hi").await;
    bob.sees("hi").await;
    bob.leave().await;
    // The hub says so by and by, and the bus needn't hurry.
    sleep(Duration::from_secs(1)).await;
    let before = one.stats().notices;
    for n in 0..MANY {
        say(&two, &left, "bot", &n.to_string()).await;
        say(&two, &never, "bot", &n.to_string()).await;
    }
    say(&two, &kept, "bot", "done").await;
    ann.sees("done").await;
    let told = one.stats().notices - before;
    assert!(
        told < MANY / 4,
        "{told} notices came, most of them of rooms without members"
    );
    drop(ann);
    stop([one, two]).await;
}

/// Rooms are left and joined again, while others stay.
pub async fn interest_comes_back(harness: &dyn BusHarness) {
    let [one, two] = hubs(harness).await;
    let (first, second) = (room("first"), room("second"));
    let mut stays = Member::join(&one, "ann", &first).await;
    for round in 0..4 {
        let mut comes = Member::join(&one, "bob", &second).await;
        let text = format!("round {round}");
        // Several, so that the bus carries the later ones for certain.
        for n in 0..5 {
            let text = format!("{text}, {n}");
            say(&two, &second, "bot", &text).await;
            comes.sees(&text).await;
            sleep(Duration::from_millis(10)).await;
        }
        comes.leave().await;
        // Sometimes the hub has said that nobody is there, and sometimes it hasn't yet.
        sleep(Duration::from_millis(100 * round)).await;
        say(&two, &second, "bot", "nobody is there").await;
        say(&two, &first, "bot", &text).await;
        stays.sees(&text).await;
    }
    drop(stays);
    stop([one, two]).await;
}

/// Whatever is said after a member has joined is seen, be it before the bus listens, after it, or at that very moment.
pub async fn nothing_falls_between_joining_and_watching(harness: &dyn BusHarness) {
    let [one, two] = hubs(harness).await;
    // So that a room exists and is known to both.
    for n in 0..40 {
        say(&two, &room(&format!("r{n}")), "bot", "before").await;
    }
    let mut tasks = Vec::new();
    for n in 0..40 {
        let (one, two) = (one.clone(), two.clone());
        tasks.push(tokio::spawn(async move {
            let room = room(&format!("r{n}"));
            let mut ann = Member::join(&one, "ann", &room).await;
            sleep(Duration::from_millis(2 * n)).await;
            say(&two, &room, "bot", "now").await;
            ann.sees("now").await;
            ann.leave().await;
        }));
        // Not all rooms are watched at once.
        sleep(Duration::from_millis(1)).await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    stop([one, two]).await;
}

/// Who is in a room can be asked of a hub in which nobody is in it: what others tell of the room gets there for as long.
pub async fn who_is_there_is_known_where_nobody_is(harness: &dyn BusHarness) {
    let [one, two] = hubs(harness).await;
    settle([&one, &two]).await;
    let here = room("here");
    let ann = Member::join(&one, "ann", &here).await;
    let began = Instant::now();
    loop {
        let presence = two.room(here.clone()).presence().await;
        if presence.users == [user("ann")] {
            break;
        }
        assert!(
            began.elapsed() < SOON,
            "not within {SOON:?}: ann is there, and not {presence:?}"
        );
        sleep(Duration::from_millis(50)).await;
    }
    ann.leave().await;
    stop([one, two]).await;
}

/// Members come and go as fast as they can; who is there sees what is said then.
pub async fn members_come_and_go(harness: &dyn BusHarness) {
    let [one, two] = hubs(harness).await;
    let room = room("r");
    for round in 0..60_u64 {
        let mut member = Member::join(&one, "ann", &room).await;
        if round % 3 > 0 {
            tokio::task::yield_now().await;
            let text = round.to_string();
            say(&two, &room, "bot", &text).await;
            member.sees(&text).await;
        }
        if round % 2 > 0 {
            member.leave().await;
        } else {
            // Perhaps the next one is there before this one has left.
            drop(member);
        }
        sleep(Duration::from_millis(round % 5)).await;
    }
    let mut last = Member::join(&one, "ann", &room).await;
    for n in 0..10 {
        sleep(Duration::from_millis(20)).await;
        say(&two, &room, "bot", &format!("last {n}")).await;
        last.sees(&format!("last {n}")).await;
    }
    drop(last);
    until("everybody has left", || one.stats().connections == 0).await;
    stop([one, two]).await;
}
