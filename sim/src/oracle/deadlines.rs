//! An ordered list of what is due when, in which an entry may go out of date.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Deadlines in ms, the earliest first; of equal ones the lowest item first.
#[derive(Debug)]
pub(super) struct Deadlines<T: Ord> {
    heap: BinaryHeap<Reverse<(u64, T)>>,
}

impl<T: Ord> Default for Deadlines<T> {
    fn default() -> Self {
        Deadlines {
            heap: BinaryHeap::new(),
        }
    }
}

impl<T: Ord + Copy> Deadlines<T> {
    /// Notes a deadline of `item`.
    pub(super) fn push(&mut self, due: u64, item: T) {
        self.heap.push(Reverse((due, item)));
    }

    /// The first deadline that is still one: `due_of` says what an item's deadline is now.
    pub(super) fn first(&mut self, due_of: impl Fn(T) -> Option<u64>) -> Option<(u64, T)> {
        while let Some(&Reverse((due, item))) = self.heap.peek() {
            if due_of(item) == Some(due) {
                return Some((due, item));
            }
            self.heap.pop();
        }
        None
    }
}
