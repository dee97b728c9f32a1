//! Randomness: everything that is drawn comes from (profile, seed) and a stream.
//!
//! Each purpose draws from a ChaCha stream of its own, so that one more draw in one place does not
//! shift what is drawn in another. Ranges are taken by multiplication here and not by a library,
//! so that a new version of a library cannot change what a seed means.

use crate::plan::Profile;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// What randomness is drawn for. The number of a stream never changes its meaning; a new purpose
/// gets a new number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Stream {
    /// Which profile a seed of profile `swarm` becomes.
    Swarm = 0,
    /// The knobs of a plan.
    Shape = 1,
    /// The resource tree.
    Tree = 2,
    /// Which kind of command comes next.
    Kind = 3,
    /// How much time passes between commands.
    Time = 4,
    /// Whose request a command is about.
    Target = 5,
    /// What a request claims.
    Claim = 6,
    /// Leases, waits and abandon timeouts.
    Lease = 7,
    /// Malformed texts and wrong tokens.
    Fault = 8,
    /// Which costly checks a run makes.
    Check = 9,
    /// When the limits of a run change.
    Relimits = 10,
    /// How long the ends of sessions take.
    SessionEnds = 11,
    /// The same after the limits have changed.
    SessionEndsLater = 12,
    /// Topology and knobs of profile `service`.
    ServiceShape = 64,
    /// The clients' programs of profile `service`.
    ServiceClients = 65,
    /// The faults of profile `service`.
    ServiceFaults = 66,
    /// The network of profile `service`.
    ServiceNet = 67,
    /// Who else comes to the server of profile `service`, and how many it lets in.
    ServiceStrangers = 68,
    /// What the disk of profile `service` draws while it runs.
    ServiceDisk = 70,
    /// Whether the server of profile `service` has a disk, and what goes wrong with it.
    ServiceDiskPlan = 71,
    /// Faults of profile `service` that are aimed at somebody who holds a lock.
    ServiceAmbushes = 69,
    /// Stops that wait for locks.
    ServiceDrains = 74,
    /// The watchers of what happens to locks.
    ServiceWatchers = 75,
    /// Those who break locks, end sessions and ask for tokens.
    ServiceBreakers = 76,
    /// How long the ends of sessions take in profile `service`.
    ServiceSessionEnds = 77,
    /// Operators who end more sessions where that takes its time.
    ServiceSessionEnders = 78,
    /// The store of profile `fencing`, and what holders do there.
    Fencing = 96,
    /// What goes wrong with the store of profile `fencing`.
    FencingFaults = 97,
    /// The nodes of profile `cluster`.
    Cluster = 104,
    /// What goes wrong with them and between them.
    ClusterFaults = 105,
    /// What an operator does with the nodes of profile `cluster`.
    ClusterOperator = 106,
    /// What the clients of profile `cluster` do more of.
    ClusterCrowd = 107,
    /// Whether the nodes of profile `cluster` have a secret.
    ClusterSecret = 108,
    /// Those who come to the server of profile `service` over HTTP, without a session.
    ServiceHttp = 72,
    /// Which of them ask with the id of a request for something else.
    ServiceMistakes = 73,
}

/// A source of random numbers for one purpose.
#[derive(Debug, Clone)]
pub struct Draw {
    rng: ChaCha8Rng,
}

impl Draw {
    /// The source that (profile, seed) has for the purpose `stream`.
    #[must_use]
    pub fn new(profile: Profile, seed: u64, stream: Stream) -> Draw {
        let mut key = *b"lockwright/seed:0000/profile:00/";
        key[12..20].copy_from_slice(&seed.to_le_bytes());
        key[29] = match profile {
            Profile::Engine => b'e',
            Profile::Service => b's',
            Profile::Fencing => b'f',
            Profile::Cluster => b'c',
            Profile::Swarm => b'w',
        };
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(stream as u64);
        Draw { rng }
    }

    /// Any number.
    pub fn word(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// A number below `bound`.
    ///
    /// # Panics
    /// When `bound` is 0: there is no such number.
    pub fn below(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "a number below 0 was asked for");
        let wide = u64::from(self.rng.next_u32()) * u64::from(bound);
        (wide >> 32) as u32
    }

    /// A number from `low` to `high`, both included.
    ///
    /// # Panics
    /// When `low` is above `high`.
    pub fn between(&mut self, low: u32, high: u32) -> u32 {
        assert!(low <= high, "the range {low}..={high} is empty");
        low + self.below(high - low + 1)
    }

    /// A number from `low` to `high`, both included; small ones are more likely the larger the
    /// range is, each power of two as likely as the next.
    pub fn between_skewed(&mut self, low: u32, high: u32) -> u32 {
        assert!(low <= high, "the range {low}..={high} is empty");
        let span = high - low + 1;
        let bits = self.between(0, 31 - span.leading_zeros());
        let reach = (2u32 << bits).min(span);
        low + self.below(reach)
    }

    /// True `part` times out of `whole`.
    pub fn chance(&mut self, part: u32, whole: u32) -> bool {
        self.below(whole) < part
    }

    /// An index below `len`, any as likely as the next.
    ///
    /// # Panics
    /// When `len` is 0.
    pub fn index(&mut self, len: usize) -> usize {
        let bound = u32::try_from(len).expect("nothing that is drawn from has 2^32 members");
        self.below(bound) as usize
    }

    /// One of `items`.
    ///
    /// # Panics
    /// When there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }

    /// An index into `weights`, each as likely as its weight says.
    ///
    /// # Panics
    /// When all weights are 0.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (index, &weight) in weights.iter().enumerate() {
            if left < weight {
                return index;
            }
            left -= weight;
        }
        unreachable!("a number below the sum of the weights falls on one of them")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_seeds_and_profiles_are_independent() {
        let first = |profile, seed, stream| Draw::new(profile, seed, stream).word();
        let base = first(Profile::Engine, 1, Stream::Shape);
        assert_eq!(base, first(Profile::Engine, 1, Stream::Shape));
        assert_ne!(base, first(Profile::Engine, 2, Stream::Shape));
        assert_ne!(base, first(Profile::Service, 1, Stream::Shape));
        assert_ne!(base, first(Profile::Engine, 1, Stream::Tree));
    }

    #[test]
    fn ranges_are_kept_and_filled() {
        let mut draw = Draw::new(Profile::Engine, 7, Stream::Shape);
        let mut seen = [0u32; 5];
        for _ in 0..1000 {
            seen[draw.between(3, 7) as usize - 3] += 1;
        }
        assert!(seen.iter().all(|&count| count > 100), "{seen:?}");
        let mut seen = [0u32; 64];
        for _ in 0..10_000 {
            seen[draw.between_skewed(1, 64) as usize - 1] += 1;
        }
        assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
        assert!(seen[0] > 10 * seen[63], "{seen:?}");
        assert_eq!(draw.between_skewed(9, 9), 9);
    }

    #[test]
    fn weights_are_respected() {
        let mut draw = Draw::new(Profile::Engine, 7, Stream::Kind);
        let mut seen = [0u32; 3];
        for _ in 0..1000 {
            seen[draw.weighted(&[1, 0, 9])] += 1;
        }
        assert!(seen[0] > 50, "{seen:?}");
        assert_eq!(seen[1], 0);
        assert!(seen[2] > 800, "{seen:?}");
    }
}
