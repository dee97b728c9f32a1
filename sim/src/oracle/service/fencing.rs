//! A store that checks tokens never lets an earlier holder write after a later one (SEMANTICS section
//! 7.3), and never turns a holder away.
//!
//! Judged is what the store let in, key by key, in the order in which it did. Readers share: they may
//! come in any order among themselves, and a write is later or earlier than each of them. Who is the
//! earlier holder is known from the order of the engine's grants, not from tokens alone, so tokens
//! that are wrong do not pass either.

use super::{Happening, ServiceOracle, Visit};
use crate::{op::Text, oracle::Verdict};
use std::{collections::BTreeMap, time::Duration};

/// The oracle.
#[derive(Debug, Default)]
pub struct Fencing {
    granted: u64,
    grants: BTreeMap<Text, Grant>,
    keys: BTreeMap<Text, Key>,
}

/// A grant of the engine.
#[derive(Debug, Clone, Copy)]
struct Grant {
    /// Its place among all grants.
    place: u64,
    held: bool,
}

/// Who was let in at a key.
#[derive(Debug, Default)]
struct Key {
    last_write: Option<Guest>,
    /// Of the readers since then, the one who was granted last.
    last_read: Option<Guest>,
}

/// Somebody who was let in.
#[derive(Debug, Clone)]
struct Guest {
    id: Text,
    token: u64,
    place: u64,
    did: &'static str,
}

impl Fencing {
    fn let_in(&mut self, id: &Text, visit: &Visit) -> Verdict {
        let Some(grant) = self.grants.get(id) else {
            return Err(format!(
                "the store lets {id} {visit}, and it was never granted"
            ));
        };
        let guest = Guest {
            id: id.clone(),
            token: visit.token,
            place: grant.place,
            did: if visit.reads { "read" } else { "wrote" },
        };
        let key = self.keys.entry(visit.key.clone()).or_default();
        let readers = key.last_read.as_ref().filter(|_| !visit.reads);
        let mut before = key.last_write.iter().chain(readers);
        if let Some(later) =
            before.find(|other| other.token > guest.token || other.place > guest.place)
        {
            return Err(format!(
                "the store lets {id} {visit}, after {}, who was granted later, {} there with token {}",
                later.id, later.did, later.token
            ));
        }
        if !visit.reads {
            key.last_write = Some(guest);
        } else if key
            .last_read
            .as_ref()
            .is_none_or(|other| other.place < guest.place)
        {
            key.last_read = Some(guest);
        }
        Ok(())
    }

    fn turned_away(&self, id: &Text, visit: &Visit, largest: u64) -> Verdict {
        match self.grants.get(id) {
            Some(grant) if grant.held => Err(format!(
                "the store does not let {id} {visit}, since it has seen {largest}, and {id} holds its lock"
            )),
            _ => Ok(()),
        }
    }
}

impl ServiceOracle for Fencing {
    fn name(&self) -> &'static str {
        "fencing"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 7.3 fencing: a store never accepts a write of an earlier holder after one of a later holder"
    }

    fn see(&mut self, _now: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::Granted { id, .. } => {
                self.granted += 1;
                let (place, held) = (self.granted, true);
                self.grants.insert(id.clone(), Grant { place, held });
            }
            Happening::Ended { id, .. } => {
                if let Some(grant) = self.grants.get_mut(id) {
                    grant.held = false;
                }
            }
            // What it had in memory is over, and nobody says so.
            Happening::ServerDown => self
                .grants
                .values_mut()
                .for_each(|grant| grant.held = false),
            Happening::Judged { id, visit, refused } => {
                return match refused {
                    None => self.let_in(id, visit),
                    Some(largest) => self.turned_away(id, visit, *largest),
                };
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request `L<number>` is granted with that token, in this order.
    fn granted(tokens: &[u64]) -> Fencing {
        let mut oracle = Fencing::default();
        for token in tokens {
            let id = Text::from(format!("L{token}"));
            see(&mut oracle, &Happening::Granted { id, token: *token }).unwrap();
        }
        oracle
    }

    fn see(oracle: &mut Fencing, happening: &Happening) -> Verdict {
        oracle.see(Duration::ZERO, happening)
    }

    fn judged(oracle: &mut Fencing, token: u64, what: &str, refused: Option<u64>) -> Verdict {
        let (access, key) = what.split_once(' ').unwrap();
        let happening = Happening::Judged {
            id: Text::from(format!("L{token}")),
            visit: Visit {
                key: key.into(),
                token,
                reads: access == "r",
            },
            refused,
        };
        see(oracle, &happening)
    }

    #[test]
    fn holders_in_the_order_of_their_grants_are_let_in() {
        let mut oracle = granted(&[1, 2, 3, 4]);
        for (token, what) in [
            (1, "w k"),
            (1, "w k"),
            (3, "r k"),
            (2, "r k"),
            (4, "w k"),
            (2, "w other"),
        ] {
            assert_eq!(judged(&mut oracle, token, what, None), Ok(()), "{what}");
        }
    }

    #[test]
    fn an_earlier_writer_after_a_later_one_is_seen() {
        let mut oracle = granted(&[1, 2]);
        judged(&mut oracle, 2, "w k", None).unwrap();
        let message = judged(&mut oracle, 1, "w k", None).unwrap_err();
        assert!(message.contains("after L2"), "{message}");
        assert!(judged(&mut oracle, 1, "r k", None).is_err());
    }

    #[test]
    fn an_earlier_writer_after_a_later_reader_is_seen() {
        let mut oracle = granted(&[1, 2, 3]);
        judged(&mut oracle, 3, "r k", None).unwrap();
        judged(&mut oracle, 2, "r k", None).unwrap();
        assert!(judged(&mut oracle, 1, "w k", None).is_err());
    }

    #[test]
    fn tokens_that_do_not_follow_the_grants_are_no_excuse() {
        let mut oracle = granted(&[2, 1]);
        judged(&mut oracle, 1, "w k", None).unwrap();
        assert!(judged(&mut oracle, 2, "w k", None).is_err());
    }

    #[test]
    fn who_was_never_granted_is_seen() {
        assert!(judged(&mut granted(&[1]), 7, "w k", None).is_err());
    }

    #[test]
    fn a_holder_that_is_turned_away_is_seen() {
        let mut oracle = granted(&[1]);
        let message = judged(&mut oracle, 1, "w k", Some(9)).unwrap_err();
        assert!(message.contains("L1 holds its lock"), "{message}");
        let ended = Happening::Ended {
            id: "L1".into(),
            reason: "expired",
            ended_at: Duration::ZERO,
            believed_until: None,
        };
        see(&mut oracle, &ended).unwrap();
        assert_eq!(judged(&mut oracle, 1, "w k", Some(9)), Ok(()));
        let mut oracle = granted(&[1]);
        see(&mut oracle, &Happening::ServerDown).unwrap();
        assert_eq!(judged(&mut oracle, 1, "w k", Some(9)), Ok(()));
    }
}
