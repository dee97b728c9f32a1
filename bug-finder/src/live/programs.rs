//! What clients want, drawn from a seed.

use super::happening::{Waits, Wanted, Who};
use lockwright_client::{Claim, Path};
use lockwright_sim::draw::{Draw, Stream};
use lockwright_sim::plan::Profile;
use std::time::Duration;

/// Paths that everybody wants: few enough that they meet, with some below others.
const PATHS: [&str; 9] = [
    "a", "a/b", "a/b/c", "a/d", "e", "e/f", "e/f/g", "h/i", "h/j",
];

/// Everybody has a source of chances of their own.
pub(super) fn draw(seed: u64, who: u64) -> Draw {
    // Any mixing will do that keeps different pairs apart.
    let own = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(who);
    Draw::new(Profile::Service, own, Stream::ServiceClients)
}

/// What one does who asks for a lock.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) wanted: Wanted,
    /// How long it is held before it is given back.
    pub(super) hold: Duration,
    /// After how long waiting is given up.
    pub(super) cancel_after: Option<Duration>,
    /// The lease that is asked for in the middle of holding.
    pub(super) renew: Option<u64>,
    /// Whether it is left in place of being given back.
    pub(super) leaves: bool,
}

impl Attempt {
    pub(super) fn draw(draw: &mut Draw, who: Who) -> Attempt {
        let ttl_ms = match who {
            Who::Hasty(_) => draw.chance(1, 2),
            Who::Steady(_) | Who::Visitor(_) => draw.chance(1, 4),
        }
        .then(|| u64::from(draw.between(50, 2_000)));
        let waits = match draw.weighted(&[6, 2, 1]) {
            0 => Waits::Forever,
            1 => Waits::For(u64::from(draw.between(1, 3_000))),
            _ => Waits::No,
        };
        let cancel = draw.chance(1, 8);
        let cancel_after = cancel.then(|| ms(draw.between(1, 2_000)));
        Attempt {
            wanted: Wanted {
                who,
                claims: claims(draw),
                ttl_ms,
                waits,
            },
            hold: ms(draw.between_skewed(1, 64) - 1),
            cancel_after,
            renew: draw
                .chance(1, 6)
                .then(|| u64::from(draw.between(50, 3_000)))
                .filter(|_| ttl_ms.is_some()),
            leaves: draw.chance(1, 10),
        }
    }
}

fn claims(draw: &mut Draw) -> Vec<Claim> {
    let first = claim(draw);
    if !draw.chance(1, 6) {
        return vec![first];
    }
    // A request may not be in its own way: two that only read never are.
    let second = *draw.pick(&PATHS);
    let read = |path: Path| Claim::read(path);
    vec![read(first.path), read(path(second))]
}

fn claim(draw: &mut Draw) -> Claim {
    let at: &str = PATHS[draw.index(PATHS.len())];
    if draw.chance(1, 4) {
        Claim::read(path(at))
    } else {
        Claim::write(path(at))
    }
}

fn path(text: &str) -> Path {
    Path::parse(text).expect("it is a path")
}

pub(super) fn ms(ms: u32) -> Duration {
    Duration::from_millis(u64::from(ms))
}
