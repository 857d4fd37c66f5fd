//! Which kicks this hub was told of.

use std::collections::VecDeque;

use crate::MessageId;

/// How many are remembered. Of more than that at a time, a kick that is told again may close what its user has opened since.
const REMEMBERED: usize = 1024;

/// The kicks that this hub was told of last, by their ids. A kick is for the connections that there are when it is first
/// heard of, so each is carried out once. Its age is no help: the clocks of two nodes differ, and one that is wrong must not
/// keep a user here who was sent away.
#[derive(Debug, Default)]
pub(super) struct Kicks(VecDeque<MessageId>);

impl Kicks {
    /// Whether it is heard of for the first time.
    pub(super) fn is_new(&mut self, id: MessageId) -> bool {
        if self.0.contains(&id) {
            return false;
        }
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(id);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_new_once_as_long_as_it_is_remembered() {
        let mut kicks = Kicks::default();
        let id = |n: usize| MessageId::from_u128(n as u128);
        assert!((0..REMEMBERED).all(|n| kicks.is_new(id(n))));
        assert!((0..REMEMBERED).all(|n| !kicks.is_new(id(n))));
        assert!(kicks.is_new(id(REMEMBERED)));
        assert_eq!(kicks.0.len(), REMEMBERED);
        assert!(!kicks.is_new(id(1)) && kicks.is_new(id(0)));
    }
}
