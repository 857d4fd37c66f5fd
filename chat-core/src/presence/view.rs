//! Who is in a room on all nodes, and what members were told of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::LONGEST;
use super::tell::{Change, Span, Tell};
use crate::bugs::bug;
use crate::{MessageId, RoomId, User, UserId, wire};

/// For how long a user who is on no node isn't said to have left: so long has who moves to another node, or comes back after
/// a broken connection.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// How many hubs are listened to in one room.
const NODES: usize = 256;

/// For how long a hub that was forgotten is remembered as such: what it told before, and comes late, isn't taken for new.
const REMEMBERED: Duration = Duration::from_secs(60);

/// How many changes are kept for members that are a little behind.
const RECENT: usize = 8;

/// So many users a change may always name; one that names more, and more than there are, is told as a whole state.
const SHORT: usize = 32;

/// A hub; `None` is this one.
type Node = Option<MessageId>;

/// The users on all nodes, as many as the limit allows by name, and what members were told of them.
#[derive(Debug)]
pub(super) struct View {
    limit: usize,
    users: BTreeMap<UserId, Present>,
    nodes: BTreeMap<Node, Count>,
    /// Users that may be otherwise than members were told.
    changed: BTreeSet<UserId>,
    /// Whether there is something to tell that needn't wait.
    news: bool,
    /// When the first of those who linger is given up.
    lingers_until: Option<Instant>,
    told: Told,
}

/// A user who is there, or was a moment ago.
#[derive(Debug, Default)]
struct Present {
    /// Where, and under which name; what was learned last is last.
    on: Vec<(Node, User)>,
    /// As members were told.
    told: Option<User>,
    /// Since when the user is on no node.
    gone: Option<Instant>,
}

/// What one hub says of its number.
#[derive(Debug, Default)]
struct Count {
    /// Of the newest that it told.
    no: u64,
    /// Its users, named or not.
    online: usize,
    /// How many of them are known by name here.
    known: usize,
    /// When it is forgotten; not for this one.
    until: Option<Instant>,
    /// Whether it was.
    forgotten: bool,
}

/// What members were told. The state after each telling has a version, from 1.
#[derive(Debug, Default)]
struct Told {
    version: u64,
    online: usize,
    /// The newest changes, each with the version that it leads to; without a frame where it would be too long.
    changes: VecDeque<(u64, Option<Bytes>)>,
    /// The whole state as a frame, once it is wanted.
    whole: Option<Bytes>,
}

impl View {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            users: BTreeMap::new(),
            nodes: BTreeMap::from([(None, Count::default())]),
            changed: BTreeSet::new(),
            news: true,
            lingers_until: None,
            told: Told::default(),
        }
    }

    /// This node's users changed.
    pub(super) fn here(&mut self, change: &Change, now: Instant) {
        change.left.iter().for_each(|id| self.remove(None, id, now));
        change.came.iter().for_each(|user| self.add(None, user));
        self.count(None, change.online);
    }

    /// Takes in those of this node's users for whom there was no place before.
    pub(super) fn offer<'a>(&mut self, listed: impl Iterator<Item = &'a User>) {
        listed.for_each(|user| self.add(None, user));
    }

    /// Whether so many of this node's users could be known by name, and aren't.
    pub(super) fn has_place(&self, listed: usize) -> bool {
        let free = self.limit.saturating_sub(self.users.len());
        self.nodes[&None].known < listed && free > 0 && free.saturating_mul(8) >= self.limit
    }

    /// Another hub tells of its users.
    pub(super) fn hear(&mut self, from: MessageId, tell: &Tell, now: Instant) {
        let node = Some(from);
        if self.nodes.len() >= NODES && !self.nodes.contains_key(&node) {
            return;
        }
        // Before it has a place here: one that never counts would never expire.
        let known = self.nodes.get(&node).map_or(0, |count| count.no);
        if tell.no <= known {
            return;
        }
        let count = self.nodes.entry(node).or_default();
        count.no = tell.no;
        count.forgotten = false;
        count.until = (!bug!(SilentHubKept)).then(|| now + tell.lasts.min(LONGEST));
        let all = bug!(ChangeTakenForAll).then(Span::default);
        if let Some(span) = tell.span.as_ref().or(all.as_ref()) {
            let here: BTreeSet<_> = tell.here.iter().map(User::id).collect();
            let gone = |id: &UserId, present: &Present| present.is_on(node) && span.contains(id) && !here.contains(id);
            let gone = self.users.iter().filter(|(id, present)| gone(id, present));
            let gone: Vec<_> = gone.map(|(id, _)| id.clone()).collect();
            gone.iter().for_each(|id| self.remove(node, id, now));
        }
        tell.left.iter().for_each(|id| self.remove(node, id, now));
        tell.here.iter().for_each(|user| self.add(node, user));
        self.count(node, tell.online);
    }

    /// Forgets the hubs that weren't heard of for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        let over = self
            .nodes
            .iter()
            .filter(|(_, count)| count.until.is_some_and(|until| until <= now));
        let over: Vec<_> = over.map(|(node, count)| (*node, count.forgotten)).collect();
        for (node, forgotten) in over {
            if forgotten {
                self.nodes.remove(&node);
                continue;
            }
            let gone = self.users.iter().filter(|(_, present)| present.is_on(node));
            let gone: Vec<_> = gone.map(|(id, _)| id.clone()).collect();
            gone.iter().for_each(|id| self.remove(node, id, now));
            self.count(node, 0);
            if let Some(count) = self.nodes.get_mut(&node) {
                count.forgotten = true;
                count.until = Some(now + REMEMBERED);
            }
        }
    }

    /// When the next hub is forgotten.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.nodes.values().filter_map(|count| count.until).min()
    }

    fn add(&mut self, node: Node, user: &User) {
        let Some(count) = self.nodes.get_mut(&node) else { return };
        let is_place = self.users.len() < self.limit;
        let present = match self.users.get_mut(user.id()) {
            Some(present) => present,
            None if is_place => self.users.entry(user.id().clone()).or_default(),
            None => return, // Counted alone.
        };
        match present.on.iter().position(|(other, _)| *other == node) {
            Some(place) if present.on[place].1 == *user => return,
            Some(place) => drop(present.on.remove(place)),
            None => count.known += 1,
        }
        present.on.push((node, user.clone()));
        present.gone = None;
        self.changed.insert(user.id().clone());
        self.news = true;
    }

    fn remove(&mut self, node: Node, id: &UserId, now: Instant) {
        let Some(present) = self.users.get_mut(id) else { return };
        let Some(place) = present.on.iter().position(|(other, _)| *other == node) else {
            return;
        };
        present.on.remove(place);
        if let Some(count) = self.nodes.get_mut(&node) {
            count.known -= 1;
        }
        self.changed.insert(id.clone());
        if present.on.is_empty() {
            present.gone = Some(now);
            let until = now + LINGER;
            self.lingers_until = Some(self.lingers_until.map_or(until, |first| first.min(until)));
        } else {
            // The name may be another.
            self.news = true;
        }
    }

    fn count(&mut self, node: Node, online: usize) {
        if let Some(count) = self.nodes.get_mut(&node) {
            count.online = online.min(u32::MAX as usize);
        }
        self.news |= self.online() != self.told.online;
    }

    /// How many users there are: those that are known by name once each, and of the others each hub's own number.
    fn online(&self) -> usize {
        self.users.len() + self.unnamed(|_| true)
    }

    fn unnamed(&self, of: impl Fn(Node) -> bool) -> usize {
        let nodes = self.nodes.iter().filter(|(node, _)| of(**node));
        nodes.map(|(_, count)| count.online.saturating_sub(count.known)).sum()
    }

    /// The users that are on other nodes now, and how many more there are.
    pub(super) fn elsewhere(&self) -> (impl Iterator<Item = &User>, usize) {
        let users = self.users.values().filter_map(|present| {
            let elsewhere = present.on.iter().any(|(node, _)| node.is_some());
            present.on.last().filter(|_| elsewhere).map(|(_, user)| user)
        });
        (users, self.unnamed(|node| node.is_some()))
    }

    /// Whether there is something to tell, if who lingers is given up by then.
    pub(super) fn has_news(&self, now: Instant) -> bool {
        self.news || self.lingers_until.is_some_and(|until| until <= now)
    }

    /// Whether there is something to tell at once, and when there will be.
    pub(super) fn news(&self) -> (bool, Option<Instant>) {
        (self.news, self.lingers_until)
    }

    /// Makes what members are told the same as what is known. True if it wasn't; then there is a new version.
    pub(super) fn tell(&mut self, room: &RoomId, now: Instant) -> bool {
        let mut change = Change::default();
        self.news = false;
        self.lingers_until = None;
        for id in std::mem::take(&mut self.changed) {
            let Some(present) = self.users.get_mut(&id) else {
                continue;
            };
            match (present.on.last(), present.gone) {
                (Some((_, user)), _) if present.told.as_ref() != Some(user) => {
                    present.told = Some(user.clone());
                    change.came.push(user.clone());
                }
                (Some(_), _) => {}
                (None, Some(gone)) if present.told.is_some() && gone + LINGER > now => {
                    let until = gone + LINGER;
                    self.lingers_until = Some(self.lingers_until.map_or(until, |first| first.min(until)));
                    self.changed.insert(id);
                }
                (None, _) => {
                    if self.users.remove(&id).is_some_and(|present| present.told.is_some()) {
                        change.left.push(id);
                    }
                }
            }
        }
        change.online = self.online();
        let told = &mut self.told;
        let same = change.came.is_empty() && change.left.is_empty() && change.online == told.online;
        if same && told.version > 0 {
            return false;
        }
        told.version += 1;
        told.online = change.online;
        told.whole = None;
        let named = change.came.len() + change.left.len();
        let frame = (named <= self.users.len().max(SHORT)).then(|| wire::presence_change(room, &change));
        if told.changes.len() >= RECENT {
            told.changes.pop_front();
        }
        told.changes.push_back((told.version, frame));
        true
    }

    /// What a member is to be told next who was told this version, or nothing yet if that is 0; and which version it has then.
    /// All who are at the same version get the same bytes.
    pub(super) fn next_frame(&mut self, room: &RoomId, version: u64) -> Option<(Bytes, u64)> {
        let told = &mut self.told;
        if version == told.version {
            return None;
        }
        if version > 0
            && let Some((next, Some(frame))) = told.changes.iter().find(|(next, _)| *next == version + 1)
        {
            return Some((frame.clone(), *next));
        }
        let whole = told.whole.get_or_insert_with(|| {
            let users: Vec<_> = self
                .users
                .values()
                .filter_map(|present| present.told.as_ref())
                .collect();
            wire::presence(room, told.online, &users)
        });
        Some((whole.clone(), told.version))
    }
}

impl Present {
    fn is_on(&self, node: Node) -> bool {
        self.on.iter().any(|(other, _)| *other == node)
    }
}

#[cfg(test)]
mod tests;
