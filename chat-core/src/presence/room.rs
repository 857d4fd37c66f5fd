//! What a hub does about presence in one room: decisions only, no waiting. [`Registry`](super::Registry) carries them out.

use std::time::Duration;

use tokio::time::Instant;

use super::roll::Roll;
use super::tell::Tell;
use super::view::View;
use super::{LONGEST, Presence, Rules};
use crate::{Bytes, MessageId, RoomId, User, UserId};

/// How long what comes and goes is gathered before it is told.
pub(super) const GATHER: Duration = Duration::from_secs(1);

/// How long other hubs have to answer before members are first told who is there.
pub(super) const SETTLE: Duration = Duration::from_millis(300);

/// How long a bus has to begin to listen for the room, before that isn't waited for any more.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often a hub tells all its users at most, however many ask.
const ANSWERS: Duration = Duration::from_millis(200);

/// The presence in one room, as far as it is somebody's concern.
#[derive(Debug)]
pub(super) struct Room {
    rules: Rules,
    /// When it began to be somebody's concern: what is to be done at once is due since then.
    began: Instant,
    roll: Roll,
    /// While somebody here wants to know.
    watch: Option<Watch>,
    /// Until when a hub elsewhere wants to know.
    asked_until: Option<Instant>,
    /// Of what was told other hubs last.
    no: u64,
    /// When others are next told and asked, without a reason.
    beat: Instant,
    /// When all users are to be told, because somebody asked.
    answer: Option<Instant>,
    answered: Option<Instant>,
    /// When changes were last told.
    told: Option<Instant>,
}

#[derive(Debug)]
struct Watch {
    view: View,
    /// Connections here that are told.
    members: usize,
    /// Until when the embedding server wants to know.
    held: Option<Instant>,
    /// From when on members are told.
    ready: Instant,
    /// Whether some weren't told anything yet.
    newcomers: bool,
    /// Whether other hubs are to be asked, and are to answer at once.
    ask: Option<bool>,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Tick {
    /// To tell other hubs.
    pub(super) tells: Vec<Tell>,
    /// To ask other hubs, and whether they are to answer at once.
    pub(super) ask: Option<bool>,
    /// Which members are to be told.
    pub(super) show: Show,
    /// Nobody here wants to know any more.
    pub(super) unwatched: bool,
    /// Nobody wants to know any more.
    pub(super) over: bool,
}

/// Which members that asked are to be told something.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    #[default]
    Nobody,
    /// Those who weren't told anything yet.
    Newcomers,
    Everybody,
}

impl Room {
    /// A room with these connections' users in it. Numbers of what it tells go on after this one.
    pub(super) fn new<'a>(rules: Rules, users: impl Iterator<Item = &'a User>, no: u64, now: Instant) -> Self {
        let mut roll = Roll::default();
        users.for_each(|user| roll.came(user));
        // Nobody was told before, so it is no change.
        roll.changes(rules.users);
        Self {
            rules,
            began: now,
            roll,
            watch: None,
            asked_until: None,
            no,
            beat: now,
            answer: None,
            answered: None,
            told: None,
        }
    }

    pub(super) fn no(&self) -> u64 {
        self.no
    }

    /// A connection of this user came in.
    pub(super) fn came(&mut self, user: &User) {
        self.roll.came(user);
    }

    /// One left.
    pub(super) fn left(&mut self, id: &UserId) {
        self.roll.left(id);
    }

    /// A member wants to know, who is in the room already. `listens` says whether notices of other hubs get here by now.
    pub(super) fn watch(&mut self, listens: bool, now: Instant) {
        let watch = self.begin(listens, now);
        watch.members += 1;
        watch.newcomers = true;
    }

    /// One that wanted to know is gone.
    pub(super) fn unwatch(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.members = watch.members.saturating_sub(1);
        }
    }

    /// The embedding server wants to know, and may ask again until then.
    pub(super) fn hold(&mut self, until: Instant, listens: bool, now: Instant) {
        self.begin(listens, now).held = Some(until);
    }

    fn begin(&mut self, listens: bool, now: Instant) -> &mut Watch {
        let Self { rules, roll, beat, .. } = self;
        self.watch.get_or_insert_with(|| {
            let mut view = View::new(rules.users);
            view.here(&roll.whole(), now);
            *beat = (*beat).max(now + rules.heartbeat);
            Watch {
                view,
                members: 0,
                held: None,
                ready: match (rules.bus, listens) {
                    (false, _) => now,
                    (true, true) => now + SETTLE,
                    (true, false) => now + PATIENCE,
                },
                newcomers: false,
                ask: (rules.bus && listens).then_some(true),
            }
        })
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    /// Notices of other hubs get here from now on, or again: what was told before is asked for.
    pub(super) fn listens(&mut self, now: Instant) {
        if let Some(watch) = &mut self.watch {
            watch.ask = Some(true);
            watch.ready = watch.ready.min(now + SETTLE);
        }
    }

    /// Another hub wants to know for so long, and perhaps at once.
    pub(super) fn asked(&mut self, lasts: Duration, at_once: bool, now: Instant) {
        let asked = self.is_asked(now);
        let until = now + lasts.min(LONGEST);
        self.asked_until = Some(self.asked_until.map_or(until, |before| before.max(until)));
        if !asked {
            self.beat = self.beat.max(now + self.rules.heartbeat);
        }
        if at_once || !asked {
            let soon = self.answered.map_or(now, |answered| now.max(answered + ANSWERS));
            self.answer.get_or_insert(soon);
        }
    }

    fn is_asked(&self, now: Instant) -> bool {
        self.asked_until.is_some_and(|until| until > now)
    }

    /// Another hub tells.
    pub(super) fn hear(&mut self, from: MessageId, tell: &Tell, now: Instant) {
        if let Some(watch) = &mut self.watch {
            watch.view.hear(from, tell, now);
        }
    }

    /// When [`tick`](Self::tick) has something to do next.
    pub(super) fn due(&self) -> Option<Instant> {
        let turn = self.told.map_or(self.began, |told| told + GATHER);
        let changed = self.roll.is_changed().then_some(turn);
        let beats = self.tells() || (self.rules.bus && self.watch.is_some());
        let beat = beats.then_some(self.beat);
        let watch = match &self.watch {
            Some(watch) => watch.due(turn, self.began, self.roll.listed_count()),
            None => self.asked_until.is_none().then_some(self.began),
        };
        let due = [changed, beat, watch, self.answer, self.asked_until];
        due.into_iter().flatten().min()
    }

    /// Whether heartbeats are owed to hubs elsewhere. Who has nobody needs not say so again and again.
    fn tells(&self) -> bool {
        self.asked_until.is_some() && self.roll.listed_count() > 0
    }

    /// Does what is due. `chance` is between 0 and 1.
    pub(super) fn tick(&mut self, room: &RoomId, now: Instant, chance: f64) -> Tick {
        let mut tick = Tick::default();
        let turn = self.told.is_none_or(|told| told + GATHER <= now);
        if turn {
            self.gather(now, &mut tick);
        }
        let beat = self.beat <= now;
        if beat {
            // Hubs that began together don't go on together.
            self.beat = now + self.rules.heartbeat.mul_f64(0.75 + 0.25 * chance);
        }
        let answer = self.answer.is_some_and(|at| at <= now);
        if self.is_asked(now) && (answer || (beat && self.tells())) {
            self.answer = None;
            self.answered = Some(now);
            let (whole, lasts) = (self.roll.whole(), self.rules.lasts());
            tick.tells.extend(Tell::of_whole(whole, lasts, &mut self.no));
        }
        // Who asks anew doesn't know yet who else wants to know.
        self.show(room, now, turn, beat || answer, &mut tick);
        if !self.is_asked(now) {
            self.asked_until = None;
            self.answer = None;
        }
        tick.over = self.watch.is_none() && self.asked_until.is_none();
        tick
    }

    /// Takes in what changed here.
    fn gather(&mut self, now: Instant, tick: &mut Tick) {
        let Some(change) = self.roll.changes(self.rules.users) else {
            return;
        };
        self.told = Some(now);
        if let Some(watch) = &mut self.watch {
            watch.view.here(&change, now);
        }
        if self.is_asked(now) {
            tick.tells
                .extend(Tell::of_change(change, self.rules.lasts(), &mut self.no));
        }
    }

    fn show(&mut self, room: &RoomId, now: Instant, turn: bool, ask: bool, tick: &mut Tick) {
        let Some(watch) = &mut self.watch else { return };
        watch.held = watch.held.filter(|until| *until > now);
        if watch.members == 0 && watch.held.is_none() {
            self.watch = None;
            tick.unwatched = true;
            return;
        }
        watch.view.expire(now);
        if turn && watch.ready <= now {
            if watch.view.has_place(self.roll.listed_count()) {
                watch.view.offer(self.roll.listed());
            }
            let newcomers = std::mem::take(&mut watch.newcomers);
            if watch.view.has_news(now) && watch.view.tell(room, now) {
                self.told = Some(now);
                tick.show = Show::Everybody;
            } else if newcomers {
                self.told = Some(now);
                tick.show = Show::Newcomers;
            }
        }
        if self.rules.bus {
            tick.ask = watch.ask.take().or(ask.then_some(false));
        }
    }

    /// What a member is to be told next who was told this version; see [`View::next_frame`].
    pub(super) fn next_frame(&mut self, room: &RoomId, version: u64) -> Option<(Bytes, u64)> {
        self.watch.as_mut()?.view.next_frame(room, version)
    }

    /// Who is there, as far as is known; or when to look again.
    pub(super) fn look(&self, now: Instant) -> Result<Presence, Option<Instant>> {
        let watch = self.watch.as_ref().ok_or(None)?;
        if watch.ready > now {
            return Err(Some(watch.ready));
        }
        let (elsewhere, unnamed) = watch.view.elsewhere();
        let users = elsewhere.chain(self.roll.users());
        Ok(Presence::of(users, self.rules.users, unnamed))
    }

    /// The hub stops, and its users are expected to come back, to other hubs, within this time.
    pub(super) fn goodbye(&mut self, back: Duration, now: Instant) -> Option<Tell> {
        // Of what was told: a change that wasn't is told by the hubs to which they go.
        let online = self.roll.told_online();
        let owed = self.is_asked(now) && online > 0;
        owed.then(|| Tell::new(&mut self.no, online, back))
    }
}

impl Watch {
    fn due(&self, turn: Instant, at_once: Instant, listed: usize) -> Option<Instant> {
        if self.ask.is_some() || (self.members == 0 && self.held.is_none()) {
            return Some(at_once);
        }
        let (news, lingers_until) = self.view.news();
        let news = news || self.newcomers || self.view.has_place(listed);
        let turn = turn.max(self.ready);
        let due = [
            news.then_some(turn),
            lingers_until.map(|until| until.max(turn)),
            self.view.expires(),
            self.held,
        ];
        due.into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests;
