//! What was answered before something else was asked for comes before it in the order that all nodes
//! apply, and what is answered has been applied (SEMANTICS section 7.5: what was answered is not lost).
//!
//! Together with the one order that all nodes keep to, that makes the cluster linearizable: whoever asks
//! any node sees all that was answered to anybody before.

use super::{Call, Happening, News, ServiceOracle};
use crate::{op::Text, oracle::Verdict};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The oracle.
#[derive(Debug, Default)]
pub struct RealTimeOrder {
    /// The entry that is applied now.
    index: u64,
    /// The entry with which each request reached the engine.
    places: BTreeMap<Text, u64>,
    /// The largest of those whose clients were answered.
    answered: u64,
    /// What that was when each request was asked for.
    floors: BTreeMap<Text, u64>,
    /// Requests that are over: who releases one that ended by itself is answered that it is done. So are those of a
    /// session whose end has begun, to its client, though their turn may come later.
    ended: BTreeSet<Text>,
    /// The session that each request came in last.
    sessions: BTreeMap<Text, Text>,
    /// How often each request was renewed, and how often its client was told so.
    renewals: BTreeMap<Text, (u32, u32)>,
}

impl RealTimeOrder {
    fn applied(&mut self, id: &Text) -> Verdict {
        let index = self.index;
        if self.places.contains_key(id) {
            return Ok(());
        }
        self.places.insert(id.clone(), index);
        match self.floors.get(id) {
            Some(floor) if *floor >= index => Err(format!(
                "{id} has its place in entry {index}, and what is in entry {floor} was answered \
                 before it was asked for"
            )),
            _ => Ok(()),
        }
    }

    fn answered(&mut self, id: &Text) {
        if let Some(index) = self.places.get(id) {
            self.answered = self.answered.max(*index);
        }
    }

    fn done(&mut self, id: &Text, call: Call) -> Verdict {
        match call {
            Call::Release if !self.ended.contains(id) => Err(format!(
                "the client of {id} is answered that it is released, and no node has applied that \
                 it is over"
            )),
            Call::Renew { .. } => {
                let (applied, told) = self.renewals.entry(id.clone()).or_default();
                *told += 1;
                if told > applied {
                    return Err(format!(
                        "the client of {id} is answered that it is renewed, for the {told}th time, \
                         and {applied} renewals were applied"
                    ));
                }
                Ok(())
            }
            Call::Release | Call::Cancel => Ok(()),
        }
    }
}

impl ServiceOracle for RealTimeOrder {
    fn name(&self) -> &'static str {
        "real_time_order"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 7.5 durability: what is answered was applied, before anything that is asked later"
    }

    fn see(&mut self, _now: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::Entry { index } => {
                let before = std::mem::replace(&mut self.index, *index);
                if *index < before {
                    return Err(format!(
                        "entry {index} is applied for the first time after entry {before}"
                    ));
                }
                Ok(())
            }
            Happening::Asked { id, .. } | Happening::HttpAsked { id, .. } => {
                self.floors.entry(id.clone()).or_insert(self.answered);
                Ok(())
            }
            Happening::Applied { id, session, .. } => {
                self.sessions.insert(id.clone(), session.clone());
                self.applied(id)
            }
            Happening::HttpApplied { id, .. } => self.applied(id),
            Happening::EndBegins { session } => {
                let of_it = self.sessions.iter().filter(|(_, other)| *other == session);
                self.ended.extend(of_it.map(|(id, _)| id.clone()));
                Ok(())
            }
            Happening::HttpAnswered { id, .. }
            | Happening::Told {
                id,
                news: News::Queued | News::Granted { .. } | News::Refused { .. },
            } => {
                self.answered(id);
                Ok(())
            }
            Happening::Ended { id, .. } => {
                self.ended.insert(id.clone());
                Ok(())
            }
            Happening::Renewed { id, .. } => {
                self.renewals.entry(id.clone()).or_default().0 += 1;
                Ok(())
            }
            Happening::Answered {
                id,
                call,
                error: None,
            } => self.done(id, *call),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        op::OpWait,
        oracle::service::{Client, Wanted},
    };

    fn wanted() -> Wanted {
        Wanted {
            namespace: "default".into(),
            claims: Vec::new(),
            ttl: None,
            wait: OpWait::Forever,
        }
    }

    fn asked(id: &str) -> Happening {
        Happening::Asked {
            id: id.into(),
            client: Client { index: 0, host: 0 },
            wanted: wanted(),
        }
    }

    fn applied(id: &str) -> Happening {
        Happening::Applied {
            id: id.into(),
            session: "s".into(),
            wanted: wanted(),
        }
    }

    fn granted(id: &str) -> Happening {
        Happening::Told {
            id: id.into(),
            news: News::Granted { token: 1 },
        }
    }

    fn answered(call: Call) -> Happening {
        Happening::Answered {
            id: "L1".into(),
            call,
            error: None,
        }
    }

    fn judge(story: &[Happening]) -> Verdict {
        let mut oracle = RealTimeOrder::default();
        story
            .iter()
            .try_for_each(|happening| oracle.see(Duration::ZERO, happening))
    }

    #[test]
    fn who_asks_later_comes_later() {
        let entry = |index| Happening::Entry { index };
        let first = [
            asked("L1"),
            entry(5),
            applied("L1"),
            granted("L1"),
            asked("L2"),
        ];
        let then = |index| [&first[..], &[entry(index), applied("L2")]].concat();
        assert_eq!(judge(&then(6)), Ok(()));
        assert!(judge(&then(5)).is_err());
        assert!(judge(&then(4)).is_err());
        // Who asks while the other one waits for its answer may be in the same entry.
        let together = [
            asked("L1"),
            asked("L2"),
            entry(5),
            applied("L1"),
            applied("L2"),
        ];
        assert_eq!(judge(&together), Ok(()));
    }

    #[test]
    fn what_is_answered_was_applied() {
        assert!(judge(&[answered(Call::Release)]).is_err());
        let ended = Happening::Ended {
            id: "L1".into(),
            reason: "released",
            ended_at: Duration::ZERO,
            believed_until: None,
        };
        assert_eq!(judge(&[ended, answered(Call::Release)]), Ok(()));
        let over = |session: &str| {
            let session = session.into();
            let begins = Happening::EndBegins { session };
            judge(&[applied("L1"), begins, answered(Call::Release)])
        };
        assert_eq!(over("s"), Ok(()));
        assert!(over("t").is_err());
        let renew = || answered(Call::Renew { ttl: 5 });
        let renewed = Happening::Renewed {
            id: "L1".into(),
            ttl: 5,
        };
        assert_eq!(judge(&[renewed.clone(), renew()]), Ok(()));
        assert!(judge(&[renewed, renew(), renew()]).is_err());
    }
}
