//! What those who ask may be told, judged from what they are told: no more is known of servers that
//! are processes of their own.
//!
//! [`Judge`] keeps what is known of each request; each rule has a file. What is concluded is
//! certain, whatever the machine does between two looks at the clock: a rule that could be broken
//! by a process that was merely slow would find nothing but slow processes.

mod exclusion;
mod kept;
mod order;
mod tokens;

use super::happening::{Call, End, Happening, RequestId, Wanted};
use exclusion::Exclusion;
use lockwright_client::{Claim, Mode};
use order::Overtaken;
use std::collections::BTreeMap;
use std::time::Duration;
use tokens::Tokens;

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which, as in SEMANTICS.
    pub rule: &'static str,
    /// What happened, to whom.
    pub message: String,
}

type Verdict = Result<(), Broken>;

fn broken(rule: &'static str, message: String) -> Verdict {
    Err(Broken { rule, message })
}

/// Where a request is in its life, as far as its client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Asked,
    Queued,
    Granted { token: u64, at: Duration },
    Over,
}

/// A request.
#[derive(Debug)]
struct Request {
    wanted: Wanted,
    state: State,
    /// The largest token that somebody was told of when it was made.
    floor: u64,
    /// Requests in its way that were told to wait before it was made.
    before: Vec<RequestId>,
    /// Grants that it should have come before, unless it ends without one.
    overtaken: Vec<Overtaken>,
    /// What was asked to end it.
    endings: Vec<Call>,
    /// When its release was acknowledged.
    released: Option<Duration>,
}

impl Request {
    fn conflicts(&self, other: &Request) -> bool {
        let in_the_way = |one: &Claim, other: &Claim| {
            let both_read = one.mode == Mode::Read && other.mode == Mode::Read;
            !both_read && overlap(&one.path.to_string(), &other.path.to_string())
        };
        let (ours, theirs) = (&self.wanted.claims, &other.wanted.claims);
        ours.iter()
            .any(|one| theirs.iter().any(|other| in_the_way(one, other)))
    }
}

/// Whether one path is the other, or lies below it. By segment: `a/b` and `a/bc` do not overlap.
fn overlap(one: &str, other: &str) -> bool {
    let (one, other) = (segments(one), segments(other));
    one.iter().zip(&other).all(|(one, other)| one == other)
}

fn segments(path: &str) -> Vec<&str> {
    path.split('/')
        .filter(|segment| !segment.is_empty())
        .collect()
}

/// Judges what happens, in the order in which it does.
#[derive(Debug, Default)]
pub struct Judge {
    requests: BTreeMap<RequestId, Request>,
    /// Those that are not over.
    live: std::collections::BTreeSet<RequestId>,
    exclusion: Exclusion,
    tokens: Tokens,
}

impl Judge {
    /// Judges what happens at `at`.
    ///
    /// # Errors
    /// The rule that it breaks.
    ///
    /// # Panics
    /// When it is about a request that was never made.
    pub fn see(&mut self, at: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::Asked { id, wanted } => {
                self.asked(*id, wanted);
                Ok(())
            }
            Happening::Queued { id } => {
                let request = self.request_mut(*id);
                if request.state == State::Asked {
                    request.state = State::Queued;
                }
                Ok(())
            }
            Happening::Granted { id, token } => {
                let before = self.request(*id).state;
                if before == State::Over {
                    return Ok(());
                }
                self.tokens.granted(*id, self.request(*id).floor, *token)?;
                let token = *token;
                self.request_mut(*id).state = State::Granted { token, at };
                order::granted(self, *id, token)
            }
            Happening::Believed { id, from, until } => {
                let mut exclusion = std::mem::take(&mut self.exclusion);
                let verdict = exclusion.believed(self, *id, *from, *until, at);
                self.exclusion = exclusion;
                verdict
            }
            Happening::Calls { id, call } => {
                if !matches!(call, Call::Renew(_)) {
                    self.request_mut(*id).endings.push(*call);
                }
                if *call == Call::Leave {
                    self.bury(*id);
                }
                Ok(())
            }
            Happening::Answered { id, call, error } => {
                let verdict = kept::answered(self.request(*id), *id, *call, error.as_deref());
                if (*call, error) == (Call::Release, &None) {
                    self.request_mut(*id).released = Some(at);
                    self.bury(*id);
                }
                verdict
            }
            Happening::Over {
                id,
                end,
                believed_until,
            } => self.over(at, *id, end, *believed_until),
            Happening::List { asked, locks } => kept::listed(self, *asked, locks),
            Happening::Fault { .. } => Ok(()),
        }
    }

    /// Those that wait or are held, as far as anybody knows; for people.
    #[must_use]
    pub fn unfinished(&self) -> Vec<String> {
        let told = |id: &RequestId| {
            let request = self.request(*id);
            format!(
                "{id} ({} {}: {:?})",
                request.wanted.who, request.wanted, request.state
            )
        };
        self.live.iter().map(told).collect()
    }

    fn asked(&mut self, id: RequestId, wanted: &Wanted) {
        let mut request = Request {
            wanted: wanted.clone(),
            state: State::Asked,
            floor: self.tokens.largest(),
            before: Vec::new(),
            overtaken: Vec::new(),
            endings: Vec::new(),
            released: None,
        };
        let waits = |other: &&RequestId| {
            let other = self.request(**other);
            other.state == State::Queued && other.conflicts(&request)
        };
        request.before = self.live.iter().filter(waits).copied().collect();
        self.live.insert(id);
        let earlier = self.requests.insert(id, request);
        assert!(earlier.is_none(), "{id} is made once");
    }

    fn over(
        &mut self,
        at: Duration,
        id: RequestId,
        end: &End,
        believed_until: Option<Duration>,
    ) -> Verdict {
        order::over(self.request(id), id, end)?;
        kept::over(self.request(id), id, at, end, believed_until)?;
        self.bury(id);
        Ok(())
    }

    fn bury(&mut self, id: RequestId) {
        self.request_mut(id).state = State::Over;
        self.live.remove(&id);
    }

    fn request(&self, id: RequestId) -> &Request {
        self.requests.get(&id).expect("it was made before")
    }

    fn request_mut(&mut self, id: RequestId) -> &mut Request {
        self.requests.get_mut(&id).expect("it was made before")
    }
}

#[cfg(test)]
pub(super) mod testing {
    //! Short histories for the rules' tests.

    use super::*;
    use crate::live::happening::{Listed, Waits, Who};
    use lockwright_client::Path;

    pub(in crate::live::judge) fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    pub(in crate::live::judge) fn wanted(claim: &str) -> Wanted {
        let (mode, path) = claim.split_once(' ').unwrap();
        let path = Path::parse(path).unwrap();
        let claim = match mode {
            "r" => Claim::read(path),
            _ => Claim::write(path),
        };
        Wanted {
            who: Who::Steady(0),
            claims: vec![claim],
            ttl_ms: None,
            waits: Waits::Forever,
        }
    }

    /// Tells a judge what happens, and wants it to be well but for the last.
    pub(in crate::live::judge) fn judged(history: &[(u64, Happening)]) -> Verdict {
        let mut judge = Judge::default();
        let (last, before) = history.split_last().unwrap();
        for (at, happening) in before {
            judge.see(ms(*at), happening).unwrap();
        }
        judge.see(ms(last.0), &last.1)
    }

    pub(in crate::live::judge) fn asks(id: u32, claim: &str) -> Happening {
        let id = RequestId(id);
        let wanted = wanted(claim);
        Happening::Asked { id, wanted }
    }

    pub(in crate::live::judge) fn queued(id: u32) -> Happening {
        let id = RequestId(id);
        Happening::Queued { id }
    }

    pub(in crate::live::judge) fn granted(id: u32, token: u64) -> Happening {
        let id = RequestId(id);
        Happening::Granted { id, token }
    }

    pub(in crate::live::judge) fn believed(id: u32, from: u64, until: u64) -> Happening {
        Happening::Believed {
            id: RequestId(id),
            from: ms(from),
            until: ms(until),
        }
    }

    pub(in crate::live::judge) fn calls(id: u32, call: Call) -> Happening {
        let id = RequestId(id);
        Happening::Calls { id, call }
    }

    pub(in crate::live::judge) fn answered(id: u32, call: Call) -> Happening {
        Happening::Answered {
            id: RequestId(id),
            call,
            error: None,
        }
    }

    pub(in crate::live::judge) fn over(
        id: u32,
        end: End,
        believed_until: Option<u64>,
    ) -> Happening {
        Happening::Over {
            id: RequestId(id),
            end,
            believed_until: believed_until.map(ms),
        }
    }

    pub(in crate::live::judge) fn list(asked: u64, locks: &[(u32, Option<u64>)]) -> Happening {
        let lock = |&(id, token): &(u32, Option<u64>)| Listed {
            id: RequestId(id),
            token,
        };
        Happening::List {
            asked: ms(asked),
            locks: locks.iter().map(lock).collect(),
        }
    }

    #[test]
    fn paths_overlap_by_segment() {
        for (one, other, expected) in [
            ("a/b", "a", true),
            ("a", "a/b", true),
            ("/", "x", true),
            ("a/b", "a/bc", false),
            ("a/b", "a/c", false),
        ] {
            assert_eq!(overlap(one, other), expected, "{one} {other}");
        }
    }
}
