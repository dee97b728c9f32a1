//! Which seeds come next.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// Every `of`-th seed: those that leave the remainder `index` when divided by `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// The remainder.
    pub index: u64,
    /// The divisor; at least 1.
    pub of: u64,
}

impl Shard {
    /// The shard that holds all seeds.
    pub const WHOLE: Shard = Shard { index: 0, of: 1 };

    fn holds(self, seed: u64) -> bool {
        seed % self.of == self.index % self.of
    }
}

/// Which of the runs of a seed. When determinism is checked, each has two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pass {
    /// The one that counts.
    First,
    /// The one that is compared with it.
    Second,
}

/// Seeds in ascending order, each handed out once per pass; what was handed out in vain may be
/// given back.
#[derive(Debug)]
pub struct SeedQueue {
    fresh: RangeInclusive<u64>,
    shard: Shard,
    /// Handed out in vain, or drawn from `fresh` for both passes at once.
    waiting: BTreeSet<(Pass, u64)>,
    /// To be run alone in their process.
    alone: BTreeSet<(Pass, u64)>,
    twice: bool,
}

impl SeedQueue {
    /// The seeds of `range` that `shard` holds; each `twice` or once.
    #[must_use]
    pub fn new(range: RangeInclusive<u64>, shard: Shard, twice: bool) -> SeedQueue {
        SeedQueue {
            fresh: range,
            shard,
            waiting: BTreeSet::new(),
            alone: BTreeSet::new(),
            twice,
        }
    }

    /// The next seeds, at most `max` of one pass, only those lower than `below` if that is given,
    /// in the order in which to run them; empty when there are none left. The second pass runs them
    /// backwards, so that what one run leaves behind for the next cannot be the same in both.
    pub fn take(&mut self, max: usize, below: Option<u64>) -> (Pass, Vec<u64>) {
        let wanted = |(_, seed): &&(Pass, u64)| below.is_none_or(|below| *seed < below);
        if let Some(alone) = self.alone.iter().find(wanted).copied() {
            self.alone.remove(&alone);
            return (alone.0, vec![alone.1]);
        }
        if self.waiting.is_empty() && below.is_none() {
            self.draw(max);
        }
        let mut candidates = self.waiting.iter().filter(wanted).copied().peekable();
        let pass = candidates.peek().map_or(Pass::First, |(pass, _)| *pass);
        let mut seeds: Vec<u64> = candidates
            .take_while(|(of, _)| *of == pass)
            .map(|(_, seed)| seed)
            .take(max)
            .collect();
        for seed in &seeds {
            self.waiting.remove(&(pass, *seed));
        }
        if pass == Pass::Second {
            seeds.reverse();
        }
        (pass, seeds)
    }

    /// Takes up to `max` seeds that were never handed out, for all passes.
    fn draw(&mut self, max: usize) {
        let shard = self.shard;
        for seed in self.fresh.by_ref().filter(|&s| shard.holds(s)).take(max) {
            self.waiting.insert((Pass::First, seed));
            if self.twice {
                self.waiting.insert((Pass::Second, seed));
            }
        }
    }

    /// Gives back what was not run.
    pub fn give_back(&mut self, pass: Pass, seeds: impl IntoIterator<Item = u64>) {
        self.waiting
            .extend(seeds.into_iter().map(|seed| (pass, seed)));
    }

    /// Gives back a seed that is to be run in a process of its own.
    pub fn give_back_alone(&mut self, pass: Pass, seed: u64) {
        self.alone.insert((pass, seed));
    }

    /// Forgets a seed, whatever was still to be done with it.
    pub fn forget(&mut self, seed: u64) {
        for pass in [Pass::First, Pass::Second] {
            self.waiting.remove(&(pass, seed));
            self.alone.remove(&(pass, seed));
        }
    }

    /// How many seeds are left, at least; a bound for sharing them out, exact without shards.
    #[must_use]
    pub fn left(&self) -> u64 {
        let (start, end) = (*self.fresh.start(), *self.fresh.end());
        let fresh = if self.fresh.is_empty() {
            0
        } else {
            ((end - start) / self.shard.of).saturating_add(1)
        };
        fresh.saturating_add((self.waiting.len() + self.alone.len()) as u64)
    }

    /// The lowest seed that was never handed out; none after the last.
    #[must_use]
    pub fn next_fresh(&self) -> Option<u64> {
        (!self.fresh.is_empty()).then(|| *self.fresh.start())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(queue: &mut SeedQueue, max: usize) -> Vec<(Pass, u64)> {
        let mut all = Vec::new();
        loop {
            let (pass, seeds) = queue.take(max, None);
            if seeds.is_empty() {
                return all;
            }
            all.extend(seeds.into_iter().map(|seed| (pass, seed)));
        }
    }

    #[test]
    fn seeds_come_once_and_in_order() {
        let mut queue = SeedQueue::new(3..=9, Shard::WHOLE, false);
        let got: Vec<u64> = all(&mut queue, 3).into_iter().map(|(_, s)| s).collect();
        assert_eq!(got, (3..=9).collect::<Vec<u64>>());
        assert_eq!(queue.next_fresh(), None);
    }

    #[test]
    fn shards_part_the_seeds() {
        let mut got = BTreeSet::new();
        for index in 1..=3 {
            let shard = Shard { index, of: 3 };
            for (_, seed) in all(&mut SeedQueue::new(0..=20, shard, false), 4) {
                assert!(got.insert(seed), "{seed} is in two shards");
            }
        }
        assert_eq!(got.len(), 21);
    }

    #[test]
    fn what_is_given_back_comes_first_and_alone_if_asked() {
        let mut queue = SeedQueue::new(0..=u64::MAX, Shard::WHOLE, false);
        assert_eq!(queue.take(4, None).1, [0, 1, 2, 3]);
        queue.give_back(Pass::First, [2, 3]);
        queue.give_back_alone(Pass::First, 1);
        assert_eq!(queue.take(4, None).1, [1]);
        assert_eq!(queue.take(4, None).1, [2, 3]);
        assert_eq!(queue.take(4, None).1, [4, 5, 6, 7]);
    }

    #[test]
    fn a_bound_keeps_higher_seeds_back() {
        let mut queue = SeedQueue::new(0..=9, Shard::WHOLE, false);
        queue.take(6, None);
        queue.give_back(Pass::First, [1, 2, 4]);
        queue.give_back_alone(Pass::First, 5);
        queue.give_back_alone(Pass::First, 0);
        assert_eq!(queue.take(9, Some(4)).1, [0]);
        assert_eq!(queue.take(9, Some(4)).1, [1, 2]);
        assert!(queue.take(9, Some(4)).1.is_empty());
        assert_eq!(queue.take(9, None).1, [5]);
        assert_eq!(queue.take(9, None).1, [4]);
        assert_eq!(queue.take(9, None).1, [6, 7, 8, 9]);
    }

    #[test]
    fn twice_means_two_passes_the_second_backwards() {
        let mut queue = SeedQueue::new(0..=2, Shard::WHOLE, true);
        assert_eq!(queue.take(9, None), (Pass::First, vec![0, 1, 2]));
        assert_eq!(queue.take(9, None), (Pass::Second, vec![2, 1, 0]));
        assert!(queue.take(9, None).1.is_empty());
    }

    #[test]
    fn the_last_seed_of_all_is_reached() {
        let mut queue = SeedQueue::new(u64::MAX - 1..=u64::MAX, Shard::WHOLE, false);
        assert_eq!(queue.take(9, None).1, [u64::MAX - 1, u64::MAX]);
        assert!(queue.take(9, None).1.is_empty());
    }
}
