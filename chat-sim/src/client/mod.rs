//! Clients as people write them: they keep cursors and nonces, and come back.

mod bot;
mod full;
mod ops;
mod plain;
mod words;

use std::sync::Arc;
use std::time::Duration;

use roomcast_core::{Client, Protocol, RoomId, Start as CoreStart, User};
use tokio::time::{sleep, timeout};

use crate::network::{self, ClientEnd};
use crate::oracle::Event;
use crate::oracle::facts::Start;
use crate::rng::Rng;
use crate::world::World;

/// Starts everybody who takes part.
pub(crate) fn start_all(world: &Arc<World>, rng: &Rng) {
    for (number, user) in world.users().into_iter().enumerate() {
        let (world, rng) = (world.clone(), rng.fork());
        if number < world.plan.clients {
            tokio::spawn(full::Full::new(world, rng, number, user).run());
        } else if number < world.plan.clients + world.plan.plain {
            tokio::spawn(plain::Plain::new(world, rng, number, user).run());
        } else {
            tokio::spawn(bot::Bot::new(world, rng, number, user).run());
        }
    }
}

/// How the engine is told where to begin.
fn core_start(start: &Start) -> CoreStart {
    match start {
        Start::Live => CoreStart::Live,
        Start::Since(epoch, seq) => {
            let cursor = format!("{epoch}:{seq}").parse();
            CoreStart::Since(cursor.unwrap_or_else(|error| unreachable!("{error}")))
        }
        Start::Last(count) => CoreStart::Last(*count as usize),
    }
}

/// What a client wants of a connection to begin with.
struct Wish<'a> {
    protocol: Protocol,
    room: &'a str,
    start: &'a Start,
    /// Whether it wants to be told who is there.
    presence: bool,
}

/// Opens a connection to one of the hubs; or not, and then says when to try again.
async fn dial(world: &Arc<World>, rng: &Rng, user: &str, wish: Wish<'_>) -> Result<ClientEnd, Duration> {
    let Wish {
        protocol,
        room,
        start,
        presence,
    } = wish;
    let soon = rng.millis(100, 800);
    let Some(node) = world.node(rng.size(0, world.plan.hubs - 1)) else {
        return Err(soon);
    };
    let conn = world.next_conn();
    // Some identities don't hold for long.
    let expires = (!world.is_calm() && rng.chance(80)).then(|| rng.millis(200, 6_000));
    world.see(&Event::Opening {
        user,
        plain: protocol == Protocol::Plain,
        hub: node.id,
        room,
        start,
        presence,
        expires,
    });
    let (Ok(who), Ok(id)) = (User::named(user), RoomId::new(room)) else {
        unreachable!("{user} and {room} are names");
    };
    let client = match protocol {
        Protocol::Plain => Client::plain(who, id),
        Protocol::V1 => Client::v1(who).room(id).presence(presence),
    };
    let client = match expires {
        Some(span) => client.expires_in(span),
        None => client,
    };
    let admission = tokio::select! {
        biased;
        () = node.power.cancelled() => None,
        admission = timeout(Duration::from_secs(15), node.hub.admit(client.start(core_start(start)))) => admission.ok(),
    };
    let refused = |after| {
        world.see(&Event::Ended { conn });
        Err(after)
    };
    let admission = match admission {
        None => return refused(soon),
        Some(Err(refusal)) => return refused(refusal.retry_after.unwrap_or(soon)),
        Some(Ok(admission)) => admission,
    };
    // The answer to the upgrade is on its way.
    sleep(rng.millis(0, 20)).await;
    Ok(network::connect(world, conn, &node, admission, rng.fork()))
}
