//! Who is in a room on this node.

use std::collections::{BTreeMap, BTreeSet};

use super::tell::Change;
use crate::{User, UserId};

/// The users of this node's connections in a room. All are counted, and as many as the limit allows are *listed*: those are told
/// by name.
#[derive(Debug, Default)]
pub(super) struct Roll {
    users: BTreeMap<UserId, Here>,
    /// Users with a connection.
    online: usize,
    listed: usize,
    /// Listed users that may have left, and others that aren't listed as they are.
    changed: BTreeSet<UserId>,
    /// How many were online when changes were last taken.
    told_online: usize,
}

#[derive(Debug)]
struct Here {
    /// As the newest connection names it.
    user: User,
    connections: usize,
    /// As it was listed.
    listed: Option<User>,
}

impl Roll {
    /// A connection of this user came into the room.
    pub(super) fn came(&mut self, user: &User) {
        let here = self.users.entry(user.id().clone()).or_insert_with(|| Here {
            user: user.clone(),
            connections: 0,
            listed: None,
        });
        self.online += usize::from(here.connections == 0);
        here.connections += 1;
        here.user = user.clone();
        if here.listed.as_ref() != Some(user) {
            self.changed.insert(user.id().clone());
        }
    }

    /// One of this user's connections left it.
    pub(super) fn left(&mut self, id: &UserId) {
        let Some(here) = self.users.get_mut(id).filter(|here| here.connections > 0) else {
            return;
        };
        here.connections -= 1;
        if here.connections > 0 {
            return;
        }
        self.online -= 1;
        if here.listed.is_some() {
            self.changed.insert(id.clone());
        } else {
            self.users.remove(id);
            self.changed.remove(id);
        }
    }

    /// How many were online when changes were last taken.
    pub(super) fn told_online(&self) -> usize {
        self.told_online
    }

    /// What all changes that were taken come to: what the next one changes. Who came or left since isn't in it.
    pub(super) fn whole(&self) -> Change {
        Change {
            online: self.told_online,
            came: self.listed().cloned().collect(),
            left: Vec::new(),
        }
    }

    /// How many are listed.
    pub(super) fn listed_count(&self) -> usize {
        self.listed
    }

    /// Those who are listed, in the order of their ids.
    pub(super) fn listed(&self) -> impl Iterator<Item = &User> {
        self.users.values().filter_map(|here| here.listed.as_ref())
    }

    /// All users, in the order of their ids.
    pub(super) fn users(&self) -> impl Iterator<Item = &User> {
        self.users
            .values()
            .filter(|here| here.connections > 0)
            .map(|here| &here.user)
    }

    pub(super) fn is_changed(&self) -> bool {
        !self.changed.is_empty() || self.online != self.told_online
    }

    /// What changed since this was last called, with at most so many listed then; `None` if nothing did.
    pub(super) fn changes(&mut self, limit: usize) -> Option<Change> {
        let mut change = Change {
            online: self.online,
            ..Change::default()
        };
        let changed = std::mem::take(&mut self.changed);
        for id in &changed {
            if self.users.get(id).is_some_and(|here| here.connections == 0) {
                self.users.remove(id);
                self.listed -= 1;
                change.left.push(id.clone());
            }
        }
        for id in &changed {
            if let Some(here) = self.users.get_mut(id) {
                list(here, limit, &mut self.listed, &mut change.came);
            }
        }
        // Looking through a large room now and then, not whenever one place is free.
        let free = limit.saturating_sub(self.listed);
        if self.online > self.listed && free.saturating_mul(8) >= limit {
            for here in self.users.values_mut() {
                list(here, limit, &mut self.listed, &mut change.came);
            }
        }
        let told = std::mem::replace(&mut self.told_online, self.online);
        let is_change = told != self.online || !change.came.is_empty() || !change.left.is_empty();
        is_change.then_some(change)
    }
}

/// Lists a user as it is now, if there is a place.
fn list(here: &mut Here, limit: usize, listed: &mut usize, came: &mut Vec<User>) {
    if here.listed.is_none() {
        if *listed >= limit {
            return;
        }
        *listed += 1;
    } else if here.listed.as_ref() == Some(&here.user) {
        return;
    }
    here.listed = Some(here.user.clone());
    came.push(here.user.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> User {
        User::named(name).unwrap()
    }

    fn roll(names: &[&str]) -> Roll {
        let mut roll = Roll::default();
        names.iter().for_each(|name| roll.came(&user(name)));
        roll
    }

    fn told(roll: &mut Roll, limit: usize) -> Option<(usize, String, String)> {
        let Change { online, came, left } = roll.changes(limit)?;
        let came: Vec<_> = came.iter().map(User::name).collect();
        let left: Vec<_> = left.iter().map(UserId::as_str).collect();
        Some((online, came.join(" "), left.join(" ")))
    }

    fn some(online: usize, came: &str, left: &str) -> Option<(usize, String, String)> {
        Some((online, came.into(), left.into()))
    }

    #[test]
    fn a_user_counts_once_however_many_connections_there_are() {
        let mut roll = roll(&["ann", "bob", "ann"]);
        assert_eq!(told(&mut roll, 9), some(2, "ann bob", ""));
        roll.left(user("ann").id());
        assert!(!roll.is_changed());
        assert_eq!(told(&mut roll, 9), None);
        roll.left(user("ann").id());
        assert_eq!(told(&mut roll, 9), some(1, "", "ann"));
        roll.left(user("ann").id());
        assert_eq!((told(&mut roll, 9), roll.online), (None, 1));
    }

    #[test]
    fn who_comes_back_in_between_neither_left_nor_came() {
        let mut roll = roll(&["ann"]);
        told(&mut roll, 9);
        roll.left(user("ann").id());
        roll.came(&user("ann"));
        roll.came(&user("bob"));
        roll.left(user("bob").id());
        assert_eq!(told(&mut roll, 9), None);
        assert!(!roll.is_changed());
    }

    #[test]
    fn beyond_the_limit_users_are_counted_alone_until_there_is_a_place() {
        let mut roll = roll(&["ann", "bob", "carl"]);
        assert_eq!(told(&mut roll, 2), some(3, "ann bob", ""));
        roll.came(&user("aaa"));
        assert_eq!(told(&mut roll, 2), some(4, "", ""));
        roll.left(user("bob").id());
        assert_eq!(told(&mut roll, 2), some(3, "aaa", "bob"));
        roll.left(user("carl").id());
        assert_eq!(told(&mut roll, 2), some(2, "", ""));
        assert_eq!(roll.listed().map(User::name).collect::<Vec<_>>(), ["aaa", "ann"]);
        assert_eq!(roll.users.len(), 2);
    }

    #[test]
    fn a_new_name_is_told() {
        let mut roll = roll(&["ann"]);
        told(&mut roll, 9);
        let renamed = User::new(user("ann").id().clone(), "Ann".parse().unwrap());
        roll.came(&renamed);
        assert_eq!(told(&mut roll, 9), some(1, "Ann", ""));
        roll.left(renamed.id());
        assert_eq!(told(&mut roll, 9), None);
    }
}
