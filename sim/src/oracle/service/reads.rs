//! Who looks sees all that was answered to anybody before, at whichever node: a leader that was
//! replaced, or a node that is behind, must not tell of what is over (SEMANTICS section 7.5).

use super::{Call, Happening, News, ServiceOracle};
use crate::{op::Text, oracle::Verdict};
use std::{collections::BTreeMap, time::Duration};

/// The oracle.
#[derive(Debug, Default)]
pub struct Reads {
    /// The entry that is applied now.
    index: u64,
    namespaces: BTreeMap<Text, Text>,
    /// Each lock that was granted, by its token.
    locks: BTreeMap<u64, Held>,
    tokens: BTreeMap<Text, u64>,
    /// The largest entry whose effect somebody was told.
    answered: u64,
    /// What that was when each look was asked for.
    floors: BTreeMap<Text, u64>,
}

/// When a lock was held, in entries.
#[derive(Debug)]
struct Held {
    id: Text,
    namespace: Text,
    from: u64,
    until: Option<u64>,
}

impl Reads {
    fn granted(&mut self, id: &Text, token: u64) {
        let namespace = self.namespaces.get(id).cloned().unwrap_or_default();
        self.tokens.insert(id.clone(), token);
        let held = Held {
            id: id.clone(),
            namespace,
            from: self.index,
            until: None,
        };
        self.locks.insert(token, held);
    }

    fn held(&mut self, id: &Text) -> Option<&mut Held> {
        let token = self.tokens.get(id)?;
        self.locks.get_mut(token)
    }

    /// Somebody was told that the lock is granted, or that it is over.
    fn told(&mut self, id: &Text, is_over: bool) {
        let told = self.held(id);
        let told = told.and_then(|held| match is_over {
            true => held.until,
            false => Some(held.from),
        });
        self.answered = self.answered.max(told.unwrap_or(0));
    }

    fn looked(&self, look: &Text, namespace: &Text, tokens: &[u64]) -> Verdict {
        let floor = self.floors.get(look).copied().unwrap_or(0);
        for token in tokens {
            let Some(held) = self.locks.get(token) else {
                return Err(format!(
                    "{look} sees token {token}, which nobody was granted"
                ));
            };
            if let Some(until) = held.until.filter(|until| *until <= floor) {
                return Err(format!(
                    "{look} sees {} held with token {token}, which was over in entry {until}, and \
                     what is in entry {floor} was answered before it looked",
                    held.id
                ));
            }
        }
        for (token, held) in &self.locks {
            let is_held = held.from <= floor && held.until.is_none();
            if is_held && held.namespace == *namespace && !tokens.contains(token) {
                return Err(format!(
                    "{look} does not see {}, held with token {token} since entry {}, and what is \
                     in entry {floor} was answered before it looked",
                    held.id, held.from
                ));
            }
        }
        Ok(())
    }
}

impl ServiceOracle for Reads {
    fn name(&self) -> &'static str {
        "reads"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 7.5 durability: what was answered is there for whoever looks later"
    }

    fn see(&mut self, _now: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::Entry { index } => self.index = *index,
            Happening::Applied { id, wanted, .. } | Happening::HttpApplied { id, wanted, .. } => {
                let namespace = wanted.namespace.clone();
                self.namespaces.entry(id.clone()).or_insert(namespace);
            }
            Happening::Granted { id, token } => self.granted(id, *token),
            Happening::Ended { id, .. } => {
                let index = self.index;
                if let Some(held) = self.held(id) {
                    held.until = Some(index);
                }
            }
            Happening::Told {
                id,
                news: News::Granted { .. },
            }
            | Happening::HttpAnswered { id, .. } => self.told(id, false),
            Happening::Told {
                id,
                news: News::Ended { .. },
            }
            | Happening::Answered {
                id,
                call: Call::Release,
                error: None,
            }
            | Happening::HttpDone {
                id,
                call: Call::Release,
                error: None,
                ..
            } => self.told(id, true),
            Happening::LookAsked { look } => {
                self.floors.insert(look.clone(), self.answered);
            }
            Happening::Looked {
                look,
                namespace,
                tokens,
            } => return self.looked(look, namespace, tokens),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{op::OpWait, oracle::service::Wanted};

    struct Story(Reads);

    impl Story {
        /// L1 is granted in entry 3 with token 7.
        fn begin() -> Story {
            let mut story = Story(Reads::default());
            let wanted = Wanted {
                namespace: "n".into(),
                claims: Vec::new(),
                ttl: None,
                wait: OpWait::Forever,
            };
            story.see(&Happening::Entry { index: 3 });
            story.see(&Happening::Applied {
                id: "L1".into(),
                session: "s".into(),
                wanted,
            });
            story.see(&Happening::Granted {
                id: "L1".into(),
                token: 7,
            });
            story
        }

        fn see(&mut self, happening: &Happening) {
            assert_eq!(self.0.see(Duration::ZERO, happening), Ok(()));
        }

        fn told(&mut self) {
            self.see(&Happening::Told {
                id: "L1".into(),
                news: News::Granted { token: 7 },
            });
        }

        /// It ends in entry 5, and its client is answered.
        fn released(&mut self) {
            self.see(&Happening::Entry { index: 5 });
            self.see(&Happening::Ended {
                id: "L1".into(),
                reason: "released",
                ended_at: Duration::ZERO,
                believed_until: None,
            });
            self.see(&Happening::Answered {
                id: "L1".into(),
                call: Call::Release,
                error: None,
            });
        }

        fn asks(&mut self) {
            self.see(&Happening::LookAsked { look: "r".into() });
        }

        fn looks(&mut self, tokens: &[u64]) -> Verdict {
            let looked = Happening::Looked {
                look: "r".into(),
                namespace: "n".into(),
                tokens: tokens.to_vec(),
            };
            self.0.see(Duration::ZERO, &looked)
        }
    }

    #[test]
    fn what_was_answered_must_be_seen() {
        let mut story = Story::begin();
        story.asks();
        assert_eq!(story.looks(&[]), Ok(()), "nobody was told yet");
        story.told();
        story.asks();
        assert_eq!(story.looks(&[7]), Ok(()));
        assert!(story.looks(&[]).unwrap_err().contains("does not see L1"));
    }

    #[test]
    fn what_is_over_must_not_be_seen_by_who_asks_later() {
        let mut story = Story::begin();
        story.told();
        story.asks();
        story.released();
        assert_eq!(story.looks(&[7]), Ok(()), "it asked before");
        assert_eq!(story.looks(&[]), Ok(()));
        story.asks();
        assert!(story.looks(&[7]).unwrap_err().contains("over in entry 5"));
        assert!(
            story
                .looks(&[8])
                .unwrap_err()
                .contains("nobody was granted")
        );
    }
}
