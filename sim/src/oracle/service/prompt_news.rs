//! No lost wake-ups on the way to the client: who is connected and undisturbed is told of a grant,
//! and of an end that is not its own doing, within a bounded time (SEMANTICS section 7.6).
//!
//! A push that gets lost would be noticed at the next resume, and a reconnection hides it; so it
//! is judged at once, wherever no fault can be the excuse.

use super::{Call, Happening, ServiceOracle, in_ms};
use crate::{
    op::Text,
    oracle::Verdict,
    plan::{FaultKind, Place, ServicePlan},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// The oracle.
#[derive(Debug)]
pub struct PromptNews {
    plan: Arc<ServicePlan>,
    /// How long news may take.
    patience: Duration,
    /// How long after a fault a client may still be finding its way back.
    recovery: Duration,
    /// The host of each request whose client listens.
    listening: BTreeMap<Text, usize>,
    /// Requests that are queued: their grants are news, not answers.
    queued: BTreeSet<Text>,
    /// News on their way, by the time at which they were sent.
    due: BTreeMap<(Duration, Text), &'static str>,
}

impl PromptNews {
    /// For a plan's world.
    #[must_use]
    pub fn new(plan: Arc<ServicePlan>) -> PromptNews {
        let timers = plan
            .clients
            .iter()
            .map(|client| client.call_timeout_ms + client.abandon_ms);
        // Time to notice, to connect anew, and to resume, with all the patience that is allowed.
        let recovery = plan.server.idle_timeout_ms + 4 * timers.max().unwrap_or(0) + 1_000;
        PromptNews {
            patience: Duration::from_millis(4 * plan.latency.max_ms + 50),
            recovery: Duration::from_millis(recovery),
            plan,
            listening: BTreeMap::new(),
            queued: BTreeSet::new(),
            due: BTreeMap::new(),
        }
    }

    /// Whether nothing could disturb the clients of a host at `sent` or soon after.
    fn undisturbed(&self, host: usize, sent: Duration) -> bool {
        let (from, to) = (sent.saturating_sub(self.recovery), sent + self.patience);
        let clocks = [&self.plan.server.clock, &self.plan.hosts[host]];
        let jumps = clocks.into_iter().flat_map(|clock| &clock.jumps);
        let disturbed_by_jump = jumps
            .map(|jump| Duration::from_millis(jump.at_ms))
            .any(|at| (from..=to).contains(&at));
        let disturbed_by_fault = self.plan.faults.iter().any(|fault| {
            let concerns = match fault.kind {
                FaultKind::Cut { host: other, .. }
                | FaultKind::Hold { host: other }
                | FaultKind::Slow { host: other, .. } => other == host,
                FaultKind::Reset { place }
                | FaultKind::Crash { place }
                | FaultKind::Pause { place } => {
                    place == Place::Server || place == Place::Host(host)
                }
            };
            let begins = Duration::from_millis(fault.at_ms);
            let ends = begins + Duration::from_millis(fault.for_ms);
            concerns && begins <= to && ends >= from
        });
        // At the start everybody is still connecting.
        !disturbed_by_jump && !disturbed_by_fault && sent > self.recovery
    }

    fn expect(&mut self, now: Duration, id: &Text, what: &'static str) {
        let Some(host) = self.listening.get(id) else {
            return;
        };
        if self.undisturbed(*host, now) {
            self.due.insert((now, id.clone()), what);
        }
    }

    fn forget(&mut self, gone: impl Fn(&Text) -> bool) {
        self.due.retain(|(_, id), _| !gone(id));
    }
}

impl ServiceOracle for PromptNews {
    fn name(&self) -> &'static str {
        "prompt_news"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 7.6 liveness: no lost wake-up"
    }

    fn see(&mut self, now: Duration, happening: &Happening) -> Verdict {
        if let Some(((sent, id), what)) = self.due.first_key_value()
            && now > *sent + self.patience
        {
            return Err(format!(
                "the client of {id} was not told that it {what} at {} ms, though nothing \
                     disturbed its connection",
                in_ms(*sent)
            ));
        }
        match happening {
            Happening::Asked { id, host, .. } => {
                self.listening.insert(id.clone(), *host);
            }
            Happening::Queued { id } => {
                self.queued.insert(id.clone());
            }
            Happening::Granted { id, .. } if self.queued.contains(id) => {
                self.expect(now, id, "was granted");
            }
            Happening::Ended { id, reason, .. } => {
                self.forget(|other| other == id);
                if ["expired", "timed_out"].contains(reason) {
                    self.expect(now, id, "ended");
                }
            }
            Happening::Told { id, .. } => self.forget(|other| other == id),
            Happening::Left { id } => {
                self.listening.remove(id);
                self.queued.remove(id);
                self.forget(|other| other == id);
            }
            // The answer tells of what happened meanwhile.
            Happening::Called {
                id: Some(id),
                call: Call::Cancel | Call::Release,
            } => {
                self.forget(|other| other == id);
            }
            Happening::Called { id: None, .. } | Happening::ServerDown => self.due.clear(),
            Happening::HostDown { host } => {
                let gone: BTreeSet<Text> = self
                    .listening
                    .iter()
                    .filter(|(_, other)| *other == host)
                    .map(|(id, _)| id.clone())
                    .collect();
                self.forget(|id| gone.contains(id));
                self.listening.retain(|id, _| !gone.contains(id));
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        op::OpWait,
        oracle::service::{News, Wanted},
        plan::{Fault, ServicePlan},
    };

    /// A story of a client whose request is queued, and granted at 100 s.
    fn story(faults: Vec<Fault>) -> PromptNews {
        let mut plan: ServicePlan = serde_json::from_value(serde_json::json!({
            "seed": 1, "active_ms": 200_000,
            "latency": {"min_ms": 1, "max_ms": 5, "curve_tenths": 10},
            "server": {"idle_timeout_ms": 500},
            "hosts": [{}, {}],
            "clients": [],
        }))
        .unwrap();
        plan.faults = faults;
        let mut oracle = PromptNews::new(Arc::new(plan));
        let wanted = Wanted {
            namespace: "default".into(),
            claims: Vec::new(),
            ttl: None,
            wait: OpWait::Forever,
        };
        let at = Duration::from_secs(99);
        oracle
            .see(
                at,
                &Happening::Asked {
                    id: "L1".into(),
                    host: 0,
                    wanted,
                },
            )
            .unwrap();
        oracle
            .see(at, &Happening::Queued { id: "L1".into() })
            .unwrap();
        let granted = Happening::Granted {
            id: "L1".into(),
            token: 1,
        };
        oracle.see(Duration::from_secs(100), &granted).unwrap();
        oracle
    }

    fn fault(at_s: u64, kind: FaultKind) -> Fault {
        Fault {
            at_ms: at_s * 1_000,
            for_ms: 1,
            kind,
        }
    }

    #[test]
    fn a_grant_that_is_never_told_is_seen() {
        let mut oracle = story(Vec::new());
        assert_eq!(
            oracle.see(Duration::from_millis(100_070), &Happening::Healed),
            Ok(())
        );
        assert!(
            oracle
                .see(Duration::from_millis(100_071), &Happening::Healed)
                .is_err()
        );
    }

    #[test]
    fn a_grant_that_is_told_in_time_is_fine() {
        let mut oracle = story(Vec::new());
        let told = Happening::Told {
            id: "L1".into(),
            news: News::Granted { token: 1 },
        };
        oracle.see(Duration::from_millis(100_020), &told).unwrap();
        assert_eq!(
            oracle.see(Duration::from_secs(200), &Happening::Healed),
            Ok(())
        );
    }

    #[test]
    fn a_fault_is_an_excuse_where_it_strikes() {
        let late = Duration::from_secs(200);
        let mut disturbed = story(vec![fault(
            99,
            FaultKind::Reset {
                place: Place::Host(0),
            },
        )]);
        assert_eq!(disturbed.see(late, &Happening::Healed), Ok(()));
        let mut elsewhere = story(vec![fault(
            99,
            FaultKind::Reset {
                place: Place::Host(1),
            },
        )]);
        assert!(elsewhere.see(late, &Happening::Healed).is_err());
        let mut long_ago = story(vec![fault(
            9,
            FaultKind::Reset {
                place: Place::Host(0),
            },
        )]);
        assert!(long_ago.see(late, &Happening::Healed).is_err());
    }
}
