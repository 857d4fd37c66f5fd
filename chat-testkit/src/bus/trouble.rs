//! Nonsense, floods and cuts.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::cluster::*;
use super::harness::BusHarness;
use super::member::{Member, SOON};

/// How long after a cut everything may take to be seen: connections have to be made again.
const HEALED: Duration = Duration::from_secs(30);

/// Bytes that no hub has sent stop nothing and show nothing.
pub async fn what_is_no_notice_is_passed_over(harness: &dyn BusHarness) {
    let [one, two] = hubs(harness).await;
    let room = room("r");
    let mut ann = Member::join(&one, "ann", &room).await;
    settle([&one]).await;
    say(&two, &room, "bot", "1").await;
    ann.sees("1").await;
    let nonsense: [&[u8]; 6] = [
        b"",
        b"\0",
        b"\xff\xfe\xfd",
        b"{}",
        br#"{"from":"00000000-0000-0000-0000-000000000063","t":"later","what":[1]}"#,
        br#"{"from":"00000000-0000-0000-0000-000000000063","t":"committed","room":"r","epoch":"e","head":-1}"#,
    ];
    for bytes in nonsense {
        for place in [Some(&room), None] {
            if !harness.inject(place, bytes).await {
                return;
            }
        }
    }
    say(&two, &room, "bot", "2").await;
    ann.sees("2").await;
    ann.sees_nothing_for(Duration::from_millis(300)).await;
    drop(ann);
    stop([one, two]).await;
}

/// More is said at once than the bus may want to carry: what it loses it makes up for.
pub async fn a_flood_heals(harness: &dyn BusHarness) {
    const ROOMS: usize = 20;
    const EACH: usize = 150;
    let [one, two] = hubs(harness).await;
    let mut members = Vec::new();
    for n in 0..ROOMS {
        let room = room(&format!("r{n}"));
        members.push((Member::join(&one, "ann", &room).await, room));
    }
    let writers: Vec<_> = members
        .iter()
        .map(|(_, room)| {
            let (hub, room) = (two.clone(), room.clone());
            tokio::spawn(async move {
                for n in 0..EACH {
                    say(&hub, &room, "bot", &n.to_string()).await;
                }
            })
        })
        .collect();
    // Worse than nonsense: so much of it that there is no place for anything else.
    for _ in 0..5000 {
        if !harness.inject(Some(&room("r0")), &[b'x'; 512]).await {
            break;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    for (member, _) in &mut members {
        member.sees_up_to(EACH as u64).await;
    }
    drop(members);
    stop([one, two]).await;
}

/// While the bus is cut, what is said on a node is stored and seen there, as fast as ever.
pub async fn a_cut_keeps_nobody_from_speaking(harness: &dyn BusHarness) {
    let [one, two] = hubs(harness).await;
    let room = room("r");
    let mut ann = Member::join(&one, "ann", &room).await;
    say(&two, &room, "bot", "before").await;
    ann.sees("before").await;
    if !harness.cut().await {
        return;
    }
    let began = Instant::now();
    for n in 0..100 {
        say(&one, &room, "bot", &n.to_string()).await;
        ann.sees(&n.to_string()).await;
    }
    // The rooms that are new meanwhile are served like others.
    let mut bob = Member::join(&one, "bob", &super::cluster::room("new")).await;
    say(&one, &super::cluster::room("new"), "bot", "hi").await;
    bob.sees("hi").await;
    assert!(began.elapsed() < SOON, "it took {:?}", began.elapsed());
    harness.heal().await;
    drop((ann, bob));
    stop([one, two]).await;
}

/// After a cut, members see what was said during it, in the rooms that they were in and in those that they joined meanwhile; and
/// not those that they left.
pub async fn after_a_cut_everything_arrives(harness: &dyn BusHarness) {
    let [one, two] = hubs(harness).await;
    let (stay, leave, come) = (room("stay"), room("leave"), room("come"));
    let mut stays = Member::join(&one, "ann", &stay).await;
    let mut leaves = Member::join(&one, "bob", &leave).await;
    for (room, member) in [(&stay, &mut stays), (&leave, &mut leaves)] {
        say(&two, room, "bot", "before").await;
        member.sees("before").await;
    }
    if !harness.cut().await {
        return;
    }
    leaves.leave().await;
    let mut comes = Member::join(&one, "cid", &come).await;
    for round in 0..20 {
        for room in [&stay, &leave, &come] {
            say(&two, room, "bot", &format!("during {round}")).await;
        }
        sleep(Duration::from_millis(20)).await;
    }
    harness.heal().await;
    let began = Instant::now();
    for member in [&mut stays, &mut comes] {
        for round in 0..20 {
            member.sees_within(&format!("during {round}"), HEALED).await;
        }
    }
    println!("{:?} after the cut everything has arrived", began.elapsed());
    for hub in [&one, &two] {
        healthy(hub, HEALED).await;
    }
    for round in 0..5 {
        for (room, member) in [(&stay, &mut stays), (&come, &mut comes)] {
            let text = format!("after {round}");
            say(&two, room, "bot", &text).await;
            member.sees(&text).await;
        }
    }
    drop((stays, comes));
    stop([one, two]).await;
}
