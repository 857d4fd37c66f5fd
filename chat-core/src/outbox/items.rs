//! A queue whose first item needs no memory of its own.

use std::collections::VecDeque;
use std::{iter, mem};

use super::Item;

/// A queue that grew beyond this many items gives its memory back once it is drained.
const KEPT: usize = 32;

/// Items in order. Most connections have one at a time, or none: that one is in here, so that an idle connection holds no memory
/// for the others, and a delivery looks at no memory but the connection's own.
#[derive(Debug, Default)]
pub(crate) struct Items {
    /// `None` only if there is nothing in `rest` either.
    first: Option<Item>,
    rest: VecDeque<Item>,
}

impl Items {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    #[inline]
    pub(crate) fn push_back(&mut self, item: Item) {
        if self.first.is_none() {
            self.first = Some(item);
        } else {
            self.rest.push_back(item);
        }
    }

    pub(crate) fn push_front(&mut self, item: Item) {
        if let Some(second) = self.first.replace(item) {
            self.rest.push_front(second);
        }
    }

    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<Item> {
        let next = if self.rest.is_empty() {
            None
        } else {
            self.rest.pop_front()
        };
        mem::replace(&mut self.first, next)
    }

    #[cfg(any(test, feature = "probe"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Item> {
        self.first.iter().chain(&self.rest)
    }

    /// Removes those that don't match, and returns them.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Item) -> bool) -> Vec<Item> {
        let mut removed = Vec::new();
        for item in mem::take(self) {
            if keep(&item) {
                self.push_back(item);
            } else {
                removed.push(item);
            }
        }
        removed
    }

    /// Gives memory back that a burst took. For a queue that is empty.
    #[inline]
    pub(crate) fn shrink(&mut self) {
        if self.rest.capacity() > KEPT {
            *self = Self::default();
        }
    }
}

impl IntoIterator for Items {
    type Item = Item;
    type IntoIter = iter::Chain<std::option::IntoIter<Item>, std::collections::vec_deque::IntoIter<Item>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(items: &Items) -> Vec<u32> {
        let slot = |item: &Item| match item {
            Item::Lagging { slot } => *slot,
            other => panic!("{other:?} was never put in"),
        };
        items.iter().map(slot).collect()
    }

    #[test]
    fn items_keep_their_order() {
        let mut items = Items::default();
        for slot in [2, 3, 4] {
            items.push_back(Item::Lagging { slot });
        }
        items.push_front(Item::Lagging { slot: 1 });
        assert_eq!((slots(&items), items.len()), (vec![1, 2, 3, 4], 4));
        assert!(matches!(items.pop_front(), Some(Item::Lagging { slot: 1 })));
        items.push_back(Item::Lagging { slot: 5 });
        assert_eq!(slots(&items), [2, 3, 4, 5]);
        let removed = items.retain(|item| matches!(item, Item::Lagging { slot: 3 | 4 }));
        assert_eq!((slots(&items), removed.len()), (vec![3, 4], 2));
        while items.pop_front().is_some() {}
        assert!(items.is_empty());
        assert_eq!(items.len(), 0);
        items.push_front(Item::Lagging { slot: 6 });
        assert_eq!(slots(&items), [6]);
    }

    #[test]
    fn a_burst_gives_its_memory_back() {
        let mut items = Items::default();
        for slot in 0..100 {
            items.push_back(Item::Lagging { slot });
        }
        while items.pop_front().is_some() {}
        items.shrink();
        assert_eq!(items.rest.capacity(), 0);
    }
}
