//! Who is in the room, for those who want to know. All of it with the log's lock held, so that nobody is counted twice or left out.

use std::time::Duration;

use super::RoomLog;
use super::state::{LogState, Member, MemberKey};
use crate::presence::{self, Listens, Show};

impl RoomLog {
    /// A member came in.
    pub(super) fn came(&self, state: &LogState, key: MemberKey) {
        if let Some(member) = state.member(key) {
            let asks = member.shown.map(|_| self.listens());
            let user = &member.session.user;
            self.engine.presence.attached(&self.id, user, asks, state.users());
        }
    }

    /// A member left.
    pub(super) fn left(&self, member: &Member) {
        let asked = member.shown.is_some();
        self.engine.presence.detached(&self.id, &member.session.user, asked);
    }

    /// Another hub wants to know who is here, for so long, and perhaps at once.
    pub(crate) fn asked_for_presence(&self, lasts: Duration, at_once: bool) {
        let state = self.state.lock();
        if state.members.is_empty() || state.broken {
            return; // Who comes later isn't known to be wanted; the other hub asks again.
        }
        self.engine.presence.asked(&self.id, (lasts, at_once), state.users());
        drop(state);
        presence::begin(&self.engine);
    }

    /// The embedding server wants to know who is here. True if nobody here did before.
    pub(crate) fn hold_presence(&self) -> bool {
        let state = self.state.lock();
        let first = !state.broken && self.engine.presence.hold(&self.id, self.listens(), state.users());
        drop(state);
        presence::begin(&self.engine);
        first
    }

    /// Has the members that wanted to know look at what there is to tell them.
    pub(crate) fn show_presence(&self, show: Show) {
        for (_, member) in &mut self.state.lock().members {
            match &mut member.shown {
                Some(true) if show == Show::Newcomers => {}
                Some(shown) => {
                    *shown = true;
                    member.session.outbox.push_presence();
                }
                None => {}
            }
        }
    }

    fn listens(&self) -> Listens {
        let link = self.engine.bus.as_ref();
        Listens(link.is_some_and(|link| link.listens(&self.id)))
    }
}
