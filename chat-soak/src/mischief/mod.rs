//! Those that misbehave, one misdeed after the other, and what the protocol promises them for it.

mod floods;
mod half_open;
mod handshakes;
mod nonsense;

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use crate::book::{Book, Check};
use crate::socket::{Ended, wait};
use floods::Flood;
use half_open::HalfOpen;
use handshakes::Handshake;
use nonsense::Nonsense;

/// How long the server may take to end a connection that is to be ended at once. It waits for commits under way.
const SOON: Duration = Duration::from_secs(15);

/// A way to misbehave.
#[derive(Clone, Copy)]
enum Deed {
    Flood(&'static Flood),
    Nonsense(&'static Nonsense),
    Handshake(&'static Handshake),
    HalfOpen(&'static HalfOpen),
}

/// What a rogue does: short misdeeds, or connections that are left half open, which last up to a minute.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trade {
    Short,
    HalfOpen,
    /// In the room of large messages, never to read again.
    Deaf,
}

pub(crate) struct Rogue {
    pub(crate) book: Arc<Book>,
    pub(crate) rng: Rng,
    pub(crate) name: Arc<str>,
    /// Numbers nonces.
    pub(crate) said: u64,
    trade: Trade,
}

impl Rogue {
    pub(crate) fn new(book: &Arc<Book>, seed: u64, name: String, trade: Trade) -> Self {
        Self {
            book: Arc::clone(book),
            rng: Rng::with_seed(seed),
            name: name.into(),
            said: 0,
            trade,
        }
    }

    pub(crate) async fn run(mut self, delay: Duration) {
        let book = Arc::clone(&self.book);
        wait(&book, delay).await;
        while book.is_running() {
            let deed = self.choose();
            let done = tokio::select! {
                biased;
                done = self.perform(deed) => Some(done),
                () = book.settling() => None,
            };
            match done {
                Some(Ok(())) => book.did(deed.name()),
                Some(Err(what)) => book.wrong(Check::Misbehaviour, format_args!("{}: {what}", deed.name())),
                None => book.gave_up(deed.name()),
            }
            wait(&book, Duration::from_millis(self.rng.u64(500..6_000))).await;
        }
    }

    fn choose(&mut self) -> Deed {
        let half_open = |deaf: bool| half_open::ALL.iter().filter(move |kind| kind.deaf() == deaf);
        let pick = match self.trade {
            Trade::Short => match self.rng.u32(0..10) {
                0..2 => self.rng.choice(floods::ALL).map(Deed::Flood),
                2..7 => self.rng.choice(nonsense::ALL).map(Deed::Nonsense),
                _ => self.rng.choice(handshakes::ALL).map(Deed::Handshake),
            },
            Trade::HalfOpen => self
                .rng
                .choice(half_open(false).collect::<Vec<_>>())
                .map(Deed::HalfOpen),
            Trade::Deaf => self.rng.choice(half_open(true).collect::<Vec<_>>()).map(Deed::HalfOpen),
        };
        pick.expect("no list is empty")
    }

    async fn perform(&mut self, deed: Deed) -> Result<(), String> {
        match deed {
            Deed::Flood(flood) => flood.perform(self).await,
            Deed::Nonsense(nonsense) => nonsense.perform(self).await,
            Deed::Handshake(handshake) => handshake.perform(self).await,
            Deed::HalfOpen(half_open) => half_open.perform(self).await,
        }
    }

    /// Where it misbehaves.
    fn path(&self) -> String {
        let room = &self.book.rooms[self.book.plan.rogue_room()];
        format!("/ws/{room}?user={}", self.name)
    }
}

impl Deed {
    fn name(self) -> &'static str {
        match self {
            Self::Flood(flood) => flood.name,
            Self::Nonsense(nonsense) => nonsense.name,
            Self::Handshake(handshake) => handshake.name,
            Self::HalfOpen(half_open) => half_open.name,
        }
    }
}

/// The names of all misdeeds; a run has to have judged each.
pub(crate) fn names() -> Vec<&'static str> {
    let floods = floods::ALL.iter().map(|flood| flood.name);
    let nonsense = nonsense::ALL.iter().map(|nonsense| nonsense.name);
    let handshakes = handshakes::ALL.iter().map(|handshake| handshake.name);
    let half_open = half_open::ALL.iter().map(|half_open| half_open.name);
    floods.chain(nonsense).chain(handshakes).chain(half_open).collect()
}

/// Fails unless the connection ended with this code, and with a `bye` that names it where one is promised.
fn expect(ended: &Ended, code: Option<u16>, bye: bool) -> Result<(), String> {
    if ended.still_open {
        return Err(format!(
            "still open after {} s, where {code:?} was due",
            ended.took.as_secs()
        ));
    }
    if ended.code != code {
        return Err(format!("closed with {:?} instead of {code:?}", ended.code));
    }
    let promised = code.filter(|_| bye).map(u64::from);
    if ended.bye() != promised {
        return Err(format!("the bye names {:?} instead of {promised:?}", ended.bye()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_driver::frame::Frame;

    #[test]
    fn each_end_but_the_promised_one_is_wrong() {
        let bye = |code: u16| Frame {
            t: "bye".into(),
            code: code.into(),
            ..Frame::default()
        };
        let good = || Ended {
            frames: vec![Frame::default(), bye(4002)],
            code: Some(4002),
            ..Ended::default()
        };
        expect(&good(), Some(4002), true).unwrap();
        expect(&good(), Some(4001), true).unwrap_err();
        expect(&good(), Some(4002), false).unwrap_err();
        expect(&good(), None, false).unwrap_err();
        let open = Ended {
            still_open: true,
            ..good()
        };
        expect(&open, Some(4002), true).unwrap_err();
        let other = Ended {
            frames: vec![bye(4000)],
            ..good()
        };
        expect(&other, Some(4002), true).unwrap_err();
    }

    #[test]
    fn each_misdeed_has_a_name_of_its_own() {
        let mut names = names();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
