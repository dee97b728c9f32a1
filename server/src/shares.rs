//! How much of what is limited one address has brought into use: it leaves some to others.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    time::Duration,
};

/// What was counted but is not in use is given this long to come into use.
const PATIENCE: Duration = Duration::from_secs(10);

/// The time between two larger searches for what has gone out of use.
const SWEEP_PAUSE: Duration = Duration::from_millis(10);

/// How much of what was counted is looked at in a larger search, and for each new thing, so that the book keeps no
/// more than twice what is in use.
const SWEEP: usize = 1_000;
const GLANCE: usize = 2;

/// The things of one kind that are in use, by the addresses that brought them.
#[derive(Debug)]
pub(crate) struct Shares<K> {
    /// How many each address has brought.
    counts: BTreeMap<IpAddr, u64>,
    counted: BTreeSet<K>,
    /// In the order in which they are looked at next.
    queue: VecDeque<Counted<K>>,
    swept: Duration,
}

#[derive(Debug)]
struct Counted<K> {
    key: K,
    from: IpAddr,
    at: Duration,
}

impl<K> Default for Shares<K> {
    fn default() -> Shares<K> {
        Shares {
            counts: BTreeMap::new(),
            counted: BTreeSet::new(),
            queue: VecDeque::new(),
            swept: Duration::ZERO,
        }
    }
}

impl<K: Ord + Clone> Shares<K> {
    /// Counts something that is about to come into use; what is known to be in use is not counted.
    ///
    /// # Errors
    /// When the address has its share: how many that would be then.
    pub(crate) fn take(
        &mut self,
        from: IpAddr,
        key: &K,
        share: u64,
        now: Duration,
        is_in_use: impl Fn(&K) -> bool,
    ) -> Result<(), u64> {
        if self.counted.contains(key) || is_in_use(key) {
            return Ok(());
        }
        self.sweep(GLANCE, now, &is_in_use);
        if self.count(from) >= share && now >= self.swept + SWEEP_PAUSE {
            self.swept = now;
            self.sweep(SWEEP, now, &is_in_use);
        }
        let count = self.count(from) + 1;
        if count > share {
            return Err(count);
        }
        self.counts.insert(from, count);
        self.counted.insert(key.clone());
        let key = key.clone();
        self.queue.push_back(Counted { key, from, at: now });
        Ok(())
    }

    fn count(&self, from: IpAddr) -> u64 {
        self.counts.get(&from).copied().unwrap_or(0)
    }

    /// Looks at some of what was counted, and forgets what is out of use.
    fn sweep(&mut self, most: usize, now: Duration, is_in_use: &impl Fn(&K) -> bool) {
        for _ in 0..most.min(self.queue.len()) {
            let next = self.queue.pop_front();
            let next = next.expect("there are as many");
            if now < next.at + PATIENCE || is_in_use(&next.key) {
                self.queue.push_back(next);
                continue;
            }
            self.counted.remove(&next.key);
            let count = self.counts.get_mut(&next.from);
            let count = count.expect("an address that brought something is counted");
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&next.from);
            }
        }
    }
}

/// The share of one address of what there may be in all: nine tenths, divided among the nodes that have callers of
/// their own; at least one.
pub(crate) fn share(max: u32, nodes: usize) -> u64 {
    let others = max.div_ceil(10);
    let nodes = u64::try_from(nodes.max(1)).unwrap_or(u64::MAX);
    (u64::from(max - others) / nodes).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn one_address_has_its_share_until_what_it_brought_is_out_of_use() {
        let mut shares = Shares::default();
        let (one, other) = (address(1), address(2));
        for key in 0..3 {
            shares.take(one, &key, 3, at(0), |_| false).unwrap();
            shares.take(one, &key, 3, at(0), |_| false).unwrap();
        }
        assert_eq!(shares.take(one, &3, 3, at(1), |_| false), Err(4));
        assert_eq!(shares.take(one, &9, 3, at(1), |key| *key == 9), Ok(()));
        for key in 3..6 {
            shares.take(other, &key, 3, at(1), |_| true).unwrap();
            shares.take(other, &key, 3, at(1), |_| false).unwrap();
        }
        assert_eq!(shares.counts, [(one, 3), (other, 3)].into());
        assert_eq!(shares.take(one, &6, 3, at(11), |key| *key < 3), Err(4));
        assert_eq!(shares.take(one, &6, 3, at(12), |key| *key < 2), Ok(()));
        assert_eq!(shares.counts.get(&one), Some(&3));
    }

    #[test]
    fn what_is_out_of_use_is_forgotten_as_new_things_come() {
        let mut shares = Shares::default();
        for n in 0..10_000_u32 {
            let from = IpAddr::from(n.to_be_bytes());
            let now = Duration::from_millis(u64::from(n) * 10);
            let is_young = |key: &u32| *key + 100 > n;
            shares.take(from, &n, 1, now, is_young).unwrap();
            let most = 2_100;
            assert!(shares.queue.len() < most, "{}", shares.queue.len());
            assert_eq!(shares.queue.len(), shares.counts.len());
            assert_eq!(shares.queue.len(), shares.counted.len());
        }
    }

    #[test]
    fn shares_leave_a_tenth_and_are_never_nothing() {
        for (max, nodes, expected) in [
            (10_000, 1, 9_000),
            (10_000, 3, 3_000),
            (10_000, 0, 9_000),
            (10, 1, 9),
            (1, 1, 1),
            (0, 5, 1),
            (u32::MAX, 1, 3_865_470_565),
        ] {
            assert_eq!(share(max, nodes), expected, "{max} {nodes}");
        }
    }
}
