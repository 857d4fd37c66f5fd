//! What hubs were told by others of who is in a room: of each other hub the newest word about each user.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use crate::bus::{Parcel, Tells};
use crate::oracle::HubId;

/// By the hub that was told, the room, and the hub that told.
#[derive(Default)]
pub(crate) struct Words(BTreeMap<(HubId, String), BTreeMap<HubId, Word>>);

/// What one hub said.
#[derive(Default)]
struct Word {
    /// The number of the newest notice.
    no: u64,
    /// How long that holds.
    until: Duration,
    /// Users of whom the newest word is that they are there: when it was said.
    here: BTreeMap<String, Vec<Duration>>,
}

impl Words {
    pub(crate) fn take(&mut self, hub: HubId, parcel: &Parcel, now: Duration) {
        let Some(tells) = parcel.tells().filter(|tells| tells.from != hub) else {
            return;
        };
        let words = self.0.entry((hub, tells.room.clone())).or_default();
        words.entry(tells.from).or_default().take(&tells, now);
    }

    /// The hub whose newest word to this one, about this room, is that the user is there, if it said so in this span of time as
    /// well, and nothing else since.
    pub(crate) fn here(
        &self,
        (hub, room): (HubId, &str),
        user: &str,
        span: Range<Duration>,
        now: Duration,
    ) -> Option<HubId> {
        let words = self.0.get(&(hub, room.to_owned()))?;
        let said = |word: &Word| {
            word.here
                .get(user)
                .is_some_and(|at| at.iter().any(|at| span.contains(at)))
        };
        let mut words = words.iter();
        words
            .find(|(_, word)| now < word.until && said(word))
            .map(|(hub, _)| *hub)
    }
}

impl Word {
    fn take(&mut self, tells: &Tells, now: Duration) {
        if tells.no <= self.no {
            return;
        }
        if now >= self.until {
            // It was forgotten.
            self.here.clear();
        }
        self.no = tells.no;
        self.until = now + tells.lasts;
        self.here
            .retain(|user, _| !tells.left.contains(user) && (!tells.covers(user) || tells.here.contains(user)));
        for user in &tells.here {
            self.here.entry(user.clone()).or_default().push(now);
        }
    }
}
