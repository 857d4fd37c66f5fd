//! What hubs tell each other of who is in a room.

use std::time::Duration;

use crate::{User, UserId};

/// How large a piece of what is told is, about.
const PIECE_BYTES: usize = 48 << 10;

/// What a hub says of its own users in a room. It holds for the users that it names, whatever was missed before it; so a
/// receiver needs only pass over what is older than what it has.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tell {
    /// Rises with everything that the hub tells of the room.
    pub(crate) no: u64,
    /// How many users the hub has there, named or not.
    pub(crate) online: usize,
    /// How long this holds if nothing more is heard of the hub. Then its users have left.
    pub(crate) lasts: Duration,
    /// Those named are all that the hub has there, of those whose ids are in this span.
    pub(crate) span: Option<Span>,
    /// Users that are there.
    pub(crate) here: Vec<User>,
    /// Users that are not there any more.
    pub(crate) left: Vec<UserId>,
}

/// User ids after the one and up to the other; an end that isn't given is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) after: Option<UserId>,
    pub(crate) to: Option<UserId>,
}

/// Who came and who left, of those who are listed.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Change {
    /// How many users there are now, listed or not.
    pub(crate) online: usize,
    /// Who came, or has another name now.
    pub(crate) came: Vec<User>,
    pub(crate) left: Vec<UserId>,
}

impl Tell {
    /// A change, in as many pieces as it needs. `no` is the number of what was told last.
    pub(super) fn of_change(change: Change, lasts: Duration, no: &mut u64) -> Vec<Self> {
        let Change { online, came, left } = change;
        let mut tells: Vec<_> = pieces(came, user_bytes)
            .map(|here| Self::new(no, online, lasts).with_here(here))
            .collect();
        for left in pieces(left, |id| id.as_str().len()) {
            tells.push(Self {
                left,
                ..Self::new(no, online, lasts)
            });
        }
        if tells.is_empty() {
            tells.push(Self::new(no, online, lasts));
        }
        tells
    }

    /// All users that are listed, in the order of their ids: a change from nobody.
    pub(super) fn of_whole(whole: Change, lasts: Duration, no: &mut u64) -> Vec<Self> {
        let mut tells = Self::of_change(whole, lasts, no);
        let ends: Vec<_> = tells
            .iter()
            .map(|tell| tell.here.last().map(|user| user.id().clone()))
            .collect();
        let last = tells.len() - 1;
        for (i, tell) in tells.iter_mut().enumerate() {
            tell.span = Some(Span {
                after: i.checked_sub(1).and_then(|before| ends[before].clone()),
                to: ends[i].clone().filter(|_| i < last),
            });
        }
        tells
    }

    /// Nothing but that what was told before holds for so long.
    pub(super) fn new(no: &mut u64, online: usize, lasts: Duration) -> Self {
        *no += 1;
        Self {
            no: *no,
            online,
            lasts,
            span: None,
            here: Vec::new(),
            left: Vec::new(),
        }
    }

    fn with_here(mut self, here: Vec<User>) -> Self {
        self.here = here;
        self
    }
}

impl Span {
    /// Whether the id lies in it.
    pub(super) fn contains(&self, id: &UserId) -> bool {
        self.after.as_ref().is_none_or(|after| id > after) && self.to.as_ref().is_none_or(|to| id <= to)
    }
}

fn user_bytes(user: &User) -> usize {
    user.id().as_str().len() + user.name().len()
}

/// Cuts a list into pieces that aren't too large for a notice.
fn pieces<T>(all: Vec<T>, bytes: impl Fn(&T) -> usize) -> impl Iterator<Item = Vec<T>> {
    let mut all = all.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut piece = Vec::new();
        let mut taken = 0;
        while let Some(next) = all.peek() {
            // Around each there are keys and signs, and a few characters are written as two.
            taken += bytes(next) + 48;
            if taken > PIECE_BYTES && !piece.is_empty() {
                break;
            }
            piece.extend(all.next());
        }
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(count: usize) -> Vec<User> {
        (0..count).map(|n| User::named(format!("{n:0100}")).unwrap()).collect()
    }

    #[test]
    fn a_whole_state_goes_in_pieces_that_leave_no_id_out() {
        let mut no = 7;
        let all = users(1000);
        let whole = Change {
            online: 1200,
            came: all.clone(),
            left: Vec::new(),
        };
        let tells = Tell::of_whole(whole, Duration::from_secs(30), &mut no);
        assert!(tells.len() > 3, "{}", tells.len());
        assert_eq!(no, 7 + tells.len() as u64);
        let named: Vec<_> = tells.iter().flat_map(|tell| tell.here.clone()).collect();
        assert_eq!(named, all);
        for user in all
            .iter()
            .chain(&[User::named(" ").unwrap(), User::named("z").unwrap()])
        {
            let spans = tells.iter().filter_map(|tell| tell.span.as_ref());
            assert_eq!(spans.filter(|span| span.contains(user.id())).count(), 1, "{user:?}");
        }
    }

    #[test]
    fn nobody_is_a_whole_state_too() {
        let mut no = 0;
        let tells = Tell::of_whole(Change::default(), Duration::from_secs(30), &mut no);
        assert_eq!((tells.len(), tells[0].no), (1, 1));
        assert_eq!(tells[0].span, Some(Span::default()));
    }

    #[test]
    fn a_change_of_the_number_alone_is_told() {
        let mut no = 0;
        let change = Change {
            online: 5,
            ..Change::default()
        };
        let tells = Tell::of_change(change, Duration::from_secs(30), &mut no);
        assert_eq!((tells.len(), tells[0].online, &tells[0].span), (1, 5, &None));
    }

    #[test]
    fn a_long_change_goes_in_pieces() {
        let mut no = 0;
        let change = Change {
            online: 5,
            came: users(600),
            left: users(600).iter().map(|user| user.id().clone()).collect(),
        };
        let tells = Tell::of_change(change.clone(), Duration::from_secs(30), &mut no);
        assert!(tells.len() >= 4);
        assert!(tells.iter().map(|tell| tell.no).eq(1..=tells.len() as u64));
        let came: Vec<_> = tells.iter().flat_map(|tell| tell.here.clone()).collect();
        let left: Vec<_> = tells.iter().flat_map(|tell| tell.left.clone()).collect();
        assert_eq!((came, left), (change.came, change.left));
    }
}
