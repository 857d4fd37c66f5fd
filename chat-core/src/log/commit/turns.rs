//! Turns, where several hubs write one room.
//!
//! Who has just stored something knows the new head first, and would win every race that follows; who lost has to read what it
//! missed, and would come too late each time. So the loser knocks, over the bus, and the winner waits until another writer's
//! entry is there, or for as long as that takes about. What comes to it meanwhile makes its next batch larger, and is not slowed by
//! much. Without a bus nobody hears a knock: the loser waits for chance, longer each time, so that not all of them collide.

use std::time::Duration;

use tokio::time::Instant;

use super::{Committer, meanwhile};
use crate::MessageId;
use crate::log::state::LogState;

/// The longest pause after another writer took the place, to begin with; doubled with each further loss where nobody hears a
/// knock.
const FIRST_LOSS: Duration = Duration::from_millis(2);
const LONGEST_LOSS: Duration = Duration::from_millis(256);

/// How often it is knocked at most.
const KNOCKS: Duration = Duration::from_millis(5);

/// How long who knocked takes at least and at most: it may have to lose a race that it has begun, to read, and to append.
const SHORTEST_TURN: Duration = Duration::from_millis(5);
const LONGEST_TURN: Duration = Duration::from_millis(200);

impl Committer {
    /// Another writer took the place: steps aside for a moment, and asks for a turn.
    pub(super) async fn lost(&mut self) {
        let log = self.room.log().clone();
        let now = Instant::now();
        let mut longest = FIRST_LOSS;
        if let Some(link) = &log.engine.bus {
            if self.knocked.is_none_or(|at| now.duration_since(at) >= KNOCKS) {
                self.knocked = Some(now);
                link.knock(&log.id);
            }
        } else {
            longest = longest.saturating_mul(1 << self.losses.min(10)).min(LONGEST_LOSS);
        }
        self.losses = self.losses.saturating_add(1);
        // Chance comes from the ids, so that runs can be repeated.
        let chance = self.entries.first().map_or(0, |entry| entry.id.as_u128() as u32);
        let pause = longest.mul_f64(f64::from(chance.wrapping_mul(self.losses | 1)) / f64::from(u32::MAX));
        meanwhile(&log, &mut self.waiting, tokio::time::sleep(pause)).await;
    }

    /// Whose turn it is, if others have knocked and this one isn't waiting for a turn itself.
    pub(super) fn turn_of_others(&self) -> Option<Turn> {
        let log = self.room.log();
        log.engine.bus.as_ref()?;
        let turn = log.state.lock().knocks.take()?;
        (self.losses == 0 && !log.engine.draining.is_cancelled()).then_some(turn)
    }

    /// Waits until each who knocked has stored something, but not for long.
    pub(super) async fn give_way(&mut self, turn: Turn) {
        let log = self.room.log().clone();
        let turns = async {
            while {
                let state = log.state.lock();
                let end = turn.last + (state.took * 4 + SHORTEST_TURN).min(LONGEST_TURN);
                state.others < turn.before + turn.knocked.len() as u64 && Instant::now() < end
            } {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        meanwhile(&log, &mut self.waiting, turns).await;
    }
}

/// Other hubs that have asked for a turn.
#[derive(Debug)]
pub(in crate::log) struct Turn {
    /// Who they are, each once.
    knocked: Vec<MessageId>,
    last: Instant,
    /// How many commits of others were seen before the first of them knocked.
    before: u64,
}

/// So many hubs are told apart.
const KNOCKERS: usize = 64;

impl LogState {
    /// Another hub asks for a turn.
    pub(in crate::log) fn knock(&mut self, from: MessageId) {
        let turn = self.knocks.get_or_insert_with(|| Turn {
            knocked: Vec::new(),
            last: Instant::now(),
            before: self.others,
        });
        turn.last = Instant::now();
        if turn.knocked.len() < KNOCKERS && !turn.knocked.contains(&from) {
            turn.knocked.push(from);
        }
    }
}
