//! The check of fencing tokens, for whoever owns what the locks are for.
//!
//! A lock cannot stop a holder that was paused: it wakes up, and writes. A [`Fence`] can, on the
//! side of the owner (a store, a printer, a program that drives either): it remembers for each key
//! the largest token that it has seen, and refuses any smaller one (SEMANTICS section 7.3). Read
//! [`Fence::check`] first; [`DurableFence`] is the same for an owner that survives its restarts.
//!
//! # Why one number per key is enough
//!
//! A **key** is what the owner calls the thing that is written. Say that whoever writes `a/b` holds a
//! `write` claim on `a/b` or on something above it. Any two such claims conflict, so one of the two
//! locks was over before the other was granted, and the later grant has the larger token: tokens are
//! one counter over all paths. So among the writers of one key, smaller is earlier, and earlier is
//! over. No write of a lock that is still held is ever refused, and no write of an earlier holder is
//! ever accepted after one of a later holder.
//!
//! Equality is the wrong comparison (a first write has nothing to be equal to), and so is "larger":
//! one holder writes many times with one token.
//!
//! **Readers** share, so the tokens of those who read one key at a time come in any order. A reader
//! is stale when a *writer* with a larger token was there, and a writer is stale when *anybody* with
//! a larger token was there: that is [`Fence::check_read`]. An owner whose readers need not be
//! protected from writers who are late can leave it out.
//!
//! # What one key is
//!
//! A fence protects each key by itself. When the holder of `a` is gone and the next one has written
//! only `a/x`, the fence has not heard of the next one at `a/y`, and lets the first one write there.
//! If `a/x` and `a/y` must fit together, they are one key: check the token for `a`, whatever is
//! written below it. As large as what must be consistent, and no larger than what one claim covers:
//! with one key for several locks, a holder is refused because another one, with which it does not
//! conflict, was granted later.
//!
//! # Check and write as one step
//!
//! Between the check of one write and the write itself, no other write of this key may be checked:
//! do both under one mutex, in one transaction, or in one task. The order of several writes of *one*
//! holder is its own business.
//!
//! # How much it keeps
//!
//! Two numbers for each key that it has seen, and nothing goes away by itself: a key could come back
//! with its stalest writer. [`Fence::raise_floor`] makes it forget safely.

mod durable;
#[cfg(test)]
mod tests;

pub use durable::{DurableFence, FenceError, OpenFenceError};

use lockwright_engine::Token;
use std::collections::BTreeMap;

/// Remembers the largest token of each key, and refuses smaller ones.
///
/// It does no I/O and forgets all when it is dropped. An owner that survives its own restarts needs a
/// [`DurableFence`], or keeps the marks itself: [`examine`](Fence::examine) says what a check would
/// have to remember, the owner makes that durable, then [`remember`](Fence::remember)s it, and only
/// then writes. In this order a crash at any instant does no harm: a mark without its write refuses
/// only those whose lock is over, and the holder itself may try again, since equal tokens pass.
///
/// ```
/// use lockwright_client::fence::Fence;
/// use lockwright_engine::Token;
///
/// let mut fence = Fence::default();
/// fence.check("photos/2026", Token(33)).unwrap(); // alice writes
/// fence.check("photos/2026", Token(34)).unwrap(); // her lease is over: so does bob
/// fence.check("photos/2026", Token(34)).unwrap(); // and again
/// let stale = fence.check("photos/2026", Token(33)).unwrap_err(); // alice wakes up
/// assert_eq!(stale.largest, Token(34));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    largest: BTreeMap<Box<str>, Largest>,
    floor: Token,
}

/// No grant has a smaller token: who comes without one is refused.
const FIRST_TOKEN: Token = Token(1);
/// Stands for "nobody yet".
const NOBODY: Token = Token(0);

/// The largest tokens of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Largest {
    written: Token,
    read: Token,
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Under a `read` claim.
    Read,
    /// Under a `write` claim.
    Write,
}

/// Something that a fence remembers. A set of marks is a fence's whole state: they may be applied in
/// any order and more than once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// Somebody with this token was at this key.
    Seen {
        /// What was written or read.
        key: Box<str>,
        /// By whom.
        token: Token,
        /// Which of both.
        access: Access,
    },
    /// Smaller tokens than this are refused at every key.
    Floor(Token),
}

/// A token that is smaller than one that was seen: the lock that it is from is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "stale token for `{key}`: got {got}, and {largest} was seen or is the floor; the lock of {got} is over"
)]
pub struct Stale {
    /// What was to be written or read.
    pub key: Box<str>,
    /// The token that came.
    pub got: Token,
    /// What it should not be smaller than.
    pub largest: Token,
}

impl Default for Fence {
    fn default() -> Fence {
        Fence {
            largest: BTreeMap::new(),
            floor: FIRST_TOKEN,
        }
    }
}

impl Fence {
    /// Lets a holder of a `write` claim write, and remembers its token; an equal token passes, since
    /// one holder writes many times.
    ///
    /// # Errors
    /// [`Stale`] when anybody with a larger token was there: the write must not be done. Nothing is
    /// remembered then.
    pub fn check(&mut self, key: &str, token: Token) -> Result<(), Stale> {
        self.pass(Access::Write, key, token)
    }

    /// Lets a holder of a `read` claim read, and remembers its token, so that no earlier writer
    /// changes what it reads.
    ///
    /// # Errors
    /// [`Stale`] when a writer with a larger token was there. Nothing is remembered then.
    pub fn check_read(&mut self, key: &str, token: Token) -> Result<(), Stale> {
        self.pass(Access::Read, key, token)
    }

    fn pass(&mut self, access: Access, key: &str, token: Token) -> Result<(), Stale> {
        if let Some(mark) = self.examine(access, key, token)? {
            self.remember(mark);
        }
        Ok(())
    }

    /// What a check would have to remember; none when it is remembered already.
    ///
    /// # Errors
    /// [`Stale`] when the check would fail.
    pub fn examine(&self, access: Access, key: &str, token: Token) -> Result<Option<Mark>, Stale> {
        let largest = self.largest.get(key).copied().unwrap_or(Largest::NONE);
        let limit = match access {
            Access::Write => largest.written.max(largest.read),
            Access::Read => largest.written,
        }
        .max(self.floor);
        if token < limit {
            return Err(Stale {
                key: key.into(),
                got: token,
                largest: limit,
            });
        }
        let known = match access {
            Access::Write => largest.written,
            Access::Read => largest.read,
        };
        Ok((token > known.max(self.floor)).then(|| Mark::Seen {
            key: key.into(),
            token,
            access,
        }))
    }

    /// Remembers a mark, of this fence or of another one whose place it takes.
    pub fn remember(&mut self, mark: Mark) {
        match mark {
            // The floor says as much.
            Mark::Seen { token, .. } if token <= self.floor => {}
            Mark::Seen { key, token, access } => {
                let largest = self.largest.entry(key).or_insert(Largest::NONE);
                let known = match access {
                    Access::Write => &mut largest.written,
                    Access::Read => &mut largest.read,
                };
                *known = token.max(*known);
            }
            Mark::Floor(floor) => self.raise_floor(floor),
        }
    }

    /// Refuses all smaller tokens than `floor` from now on, at every key, and forgets the keys for
    /// which that says as much as their own marks. A lower floor than before changes nothing.
    ///
    /// This is how memory is kept bounded. It is always safe, and it refuses holders of locks whose
    /// token is smaller, also those that are still held: take a token that was granted longer ago
    /// than any lock lasts. An owner whose clients hold for an hour at most notes once an hour the
    /// largest token that it has seen, and raises the floor to what it noted two notes ago.
    pub fn raise_floor(&mut self, floor: Token) {
        if floor <= self.floor {
            return;
        }
        self.floor = floor;
        let above = |token: &mut Token| {
            if *token <= floor {
                *token = NOBODY;
            }
            *token > floor
        };
        self.largest
            .retain(|_, largest| above(&mut largest.written) | above(&mut largest.read));
    }

    /// The largest token that was seen at a key, by whatever access; none if that is no more than the
    /// floor.
    #[must_use]
    pub fn largest(&self, key: &str) -> Option<Token> {
        let largest = self.largest.get(key)?;
        Some(largest.written.max(largest.read))
    }

    /// Smaller tokens are refused at every key; 1 at the start, so that who comes without a token
    /// (0) is refused.
    #[must_use]
    pub fn floor(&self) -> Token {
        self.floor
    }

    /// How many keys it remembers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.largest.len()
    }

    /// Whether it remembers no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.largest.is_empty()
    }

    /// All that it remembers: `marks.collect::<Fence>()` is the same fence.
    pub fn marks(&self) -> impl Iterator<Item = Mark> + '_ {
        let floor = (self.floor > FIRST_TOKEN).then_some(Mark::Floor(self.floor));
        let seen = self.largest.iter().flat_map(|(key, largest)| {
            let mark = |access, token| {
                (token > NOBODY).then(|| Mark::Seen {
                    key: key.clone(),
                    token,
                    access,
                })
            };
            let written = mark(Access::Write, largest.written);
            written.into_iter().chain(mark(Access::Read, largest.read))
        });
        floor.into_iter().chain(seen)
    }
}

impl Largest {
    const NONE: Largest = Largest {
        written: NOBODY,
        read: NOBODY,
    };
}

impl Extend<Mark> for Fence {
    fn extend<I: IntoIterator<Item = Mark>>(&mut self, marks: I) {
        marks.into_iter().for_each(|mark| self.remember(mark));
    }
}

impl FromIterator<Mark> for Fence {
    fn from_iter<I: IntoIterator<Item = Mark>>(marks: I) -> Fence {
        let mut fence = Fence::default();
        fence.extend(marks);
        fence
    }
}
