//! How much of what is limited one address has brought into use: it leaves some to others.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    ops::Bound::{Excluded, Unbounded},
    time::Duration,
};

/// What was counted and has not come into use yet is given this long to.
const PATIENCE: Duration = Duration::from_secs(10);

/// The time between two larger searches for what has gone out of use.
const SWEEP_PAUSE: Duration = Duration::from_millis(10);

/// How much of what was counted is looked at in a larger search, and for each new thing, so that the book keeps not
/// much more than is in use.
const SWEEP: usize = 1_000;
const GLANCE: usize = 2;

/// The things of one kind that are in use, by the addresses that brought them.
#[derive(Debug)]
pub(crate) struct Shares<K> {
    /// How many each address has brought.
    counts: BTreeMap<IpAddr, u64>,
    counted: BTreeMap<K, Counted>,
    /// What was looked at last.
    looked: Option<K>,
    swept: Duration,
}

#[derive(Debug)]
struct Counted {
    from: IpAddr,
    at: Duration,
    /// Whether it was seen in use: then it need not come into use any more.
    was_in_use: bool,
}

impl<K> Default for Shares<K> {
    fn default() -> Shares<K> {
        Shares {
            counts: BTreeMap::new(),
            counted: BTreeMap::new(),
            looked: None,
            swept: Duration::ZERO,
        }
    }
}

impl<K: Ord + Clone> Shares<K> {
    /// Counts something that is about to come into use; what is known to be in use is not counted.
    ///
    /// # Errors
    /// When the address has its share: how many that are.
    pub(crate) fn take(
        &mut self,
        from: IpAddr,
        key: &K,
        now: Duration,
        share: impl FnOnce() -> u64,
        is_in_use: impl Fn(&K) -> bool,
    ) -> Result<(), u64> {
        if self.counted.contains_key(key) || is_in_use(key) {
            return Ok(());
        }
        let share = share();
        self.sweep(GLANCE, now, &is_in_use);
        if self.count(from) >= share && now >= self.swept + SWEEP_PAUSE {
            self.swept = now;
            self.sweep(SWEEP, now, &is_in_use);
        }
        if self.count(from) >= share {
            return Err(share);
        }
        *self.counts.entry(from).or_default() += 1;
        let counted = Counted {
            from,
            at: now,
            was_in_use: false,
        };
        self.counted.insert(key.clone(), counted);
        Ok(())
    }

    /// Something is not in use any more, or has not come into use.
    pub(crate) fn give_back(&mut self, key: &K) {
        let Some(Counted { from, .. }) = self.counted.remove(key) else {
            return;
        };
        let count = self.counts.get_mut(&from);
        let count = count.expect("an address that brought something is counted");
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&from);
        }
    }

    fn count(&self, from: IpAddr) -> u64 {
        self.counts.get(&from).copied().unwrap_or(0)
    }

    /// Looks at some of what was counted, and forgets what is out of use.
    fn sweep(&mut self, most: usize, now: Duration, is_in_use: &impl Fn(&K) -> bool) {
        let from = self.looked.take().map_or(Unbounded, Excluded);
        let mut gone = Vec::new();
        let mut looked = 0;
        for (key, counted) in self.counted.range_mut((from, Unbounded)).take(most) {
            looked += 1;
            let is_in_use = is_in_use(key);
            counted.was_in_use |= is_in_use;
            let may_come = !counted.was_in_use && now < counted.at + PATIENCE;
            if !is_in_use && !may_come {
                gone.push(key.clone());
            }
            // At the end it begins anew.
            self.looked = (looked == most).then(|| key.clone());
        }
        for key in gone {
            self.give_back(&key);
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
            shares.take(one, &key, at(0), || 3, |_| false).unwrap();
            shares.take(one, &key, at(0), || 3, |_| false).unwrap();
        }
        assert_eq!(shares.take(one, &3, at(1), || 3, |_| false), Err(3));
        assert_eq!(shares.take(one, &9, at(1), || 3, |key| *key == 9), Ok(()));
        for key in 3..6 {
            shares.take(other, &key, at(1), || 3, |_| true).unwrap();
            shares.take(other, &key, at(1), || 3, |_| false).unwrap();
        }
        assert_eq!(shares.counts, [(one, 3), (other, 3)].into());
        // What was in use need not come into use.
        assert_eq!(shares.take(one, &6, at(2), || 3, |key| *key < 3), Err(3));
        assert_eq!(shares.take(one, &6, at(3), || 3, |key| *key < 2), Ok(()));
        assert_eq!(shares.take(one, &7, at(3), || 3, |key| *key < 2), Err(3));
        shares.give_back(&6);
        shares.give_back(&6);
        assert_eq!(shares.take(one, &7, at(3), || 3, |key| *key < 2), Ok(()));
        assert_eq!(shares.take(one, &8, at(12), || 3, |key| *key < 2), Err(3));
        assert_eq!(shares.take(one, &8, at(13), || 3, |key| *key < 2), Ok(()));
        assert_eq!(shares.counts.get(&one), Some(&3));
    }

    #[test]
    fn what_is_out_of_use_is_forgotten_as_new_things_come() {
        let mut shares = Shares::default();
        for n in 0..10_000_u32 {
            let from = IpAddr::from(n.to_be_bytes());
            let now = Duration::from_millis(u64::from(n) * 10);
            let is_young = |key: &u32| *key + 100 > n;
            shares.take(from, &n, now, || 1, is_young).unwrap();
            let most = 2_100;
            assert!(shares.counted.len() < most, "{}", shares.counted.len());
            assert_eq!(shares.counted.len(), shares.counts.len());
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
