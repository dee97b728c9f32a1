//! A server that was told to stop when no locks are held any more grants nothing that was asked for after
//! that, and nothing at all once it has given up what waited. It stays while locks are held, as long as
//! it may, and no longer (docs/cli.md, `serve --drain locks`).

use super::{Happening, ServiceOracle};
use crate::{
    op::Text,
    oracle::Verdict,
    plan::{Fault, FaultKind, Place, ServicePlan},
};
use lockwright_server::{DrainEvent, RaftEvent};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// From the end of the last lock, or of the time, until the server notices.
const PROMPT: Duration = Duration::from_millis(200);

/// How many syncs one after the other a stop waits for, at most.
const SYNCS_OF_A_STOP: u64 = 4;

/// The oracle.
#[derive(Debug)]
pub struct Drain {
    /// How long a server may wait, by its clock.
    longest: Duration,
    /// For how long in all its host or its disk may stand still.
    slack: Duration,
    has_steady_clock: bool,
    /// Not of a node, whose own faults, and the time that it takes to agree, are another matter.
    is_judged_by_time: bool,
    /// Every request that was asked for.
    asked: BTreeSet<Text>,
    held: BTreeSet<Text>,
    /// The stops that have begun, by the node.
    stops: BTreeMap<usize, Stop>,
}

/// A stop that has begun.
#[derive(Debug)]
struct Stop {
    since: Duration,
    /// What was asked for after that, for the first time.
    late: BTreeSet<Text>,
    grants_nothing: bool,
    /// Since when there is nothing to wait for.
    free_since: Option<Duration>,
    is_over: bool,
    /// Whether another node has led since: it got its vote by a change that was under way when the stop
    /// began, and grants what it likes.
    is_elsewhere: bool,
}

impl Drain {
    /// For a plan.
    #[must_use]
    pub fn new(plan: &ServicePlan) -> Drain {
        let standstill = |kind| match kind {
            FaultKind::Pause { place } => place == Place::Server,
            kind => ServicePlan::is_of_the_disk(kind),
        };
        // A slow disk holds up each of the syncs that a stop waits for, also beyond the fault's end.
        let held_up = |fault: &Fault| match fault.kind {
            FaultKind::DiskSlow { by_ms } => fault.for_ms + SYNCS_OF_A_STOP * by_ms,
            _ => fault.for_ms,
        };
        let slack = plan.faults.iter().filter(|fault| standstill(fault.kind));
        Drain {
            longest: Duration::from_millis(plan.drain_ms()),
            slack: Duration::from_millis(slack.map(held_up).sum()),
            has_steady_clock: plan.server_clock_is_steady(),
            is_judged_by_time: plan.cluster.is_none(),
            asked: BTreeSet::new(),
            held: BTreeSet::new(),
            stops: BTreeMap::new(),
        }
    }

    fn granted(&mut self, id: &Text) -> Verdict {
        self.held.insert(id.clone());
        for stop in self.stops.values().filter(|stop| !stop.is_elsewhere) {
            if stop.grants_nothing {
                return Err(format!(
                    "{id} is granted after the server, which stops, had given up all that waited"
                ));
            }
            if stop.late.contains(id) {
                return Err(format!(
                    "{id} is granted, and was asked for after the server was told to stop"
                ));
            }
        }
        Ok(())
    }

    fn over(&mut self, now: Duration, node: usize) -> Verdict {
        let Some(stop) = self.stops.get_mut(&node) else {
            return Err("a stop is over that has not begun".to_owned());
        };
        stop.is_over = true;
        let waited = now.saturating_sub(stop.since);
        // Clocks go a little fast.
        let enough = self.longest.mul_f64(0.98);
        let held = self.held.len();
        if held > 0 && waited < enough && self.has_steady_clock && self.is_judged_by_time {
            return Err(format!(
                "the server stops after {waited:?} though {held} locks are held, and may wait for {:?}",
                self.longest
            ));
        }
        Ok(())
    }

    /// Whether the stop takes too long.
    fn late(&self, now: Duration) -> Verdict {
        if !self.is_judged_by_time {
            return Ok(());
        }
        let mut stops = self.stops.values();
        let Some(stop) = stops.find(|stop| !stop.is_over) else {
            return Ok(());
        };
        let passed = |since: Duration| now.saturating_sub(since + PROMPT + self.slack);
        if let Some(since) = stop.free_since
            && passed(since) > Duration::ZERO
        {
            return Err("the server stays though no locks are held".to_owned());
        }
        if passed(stop.since) > self.longest.mul_f64(1.02) && self.has_steady_clock {
            return Err(format!(
                "the server has not stopped within the {:?} that it may wait for locks",
                self.longest
            ));
        }
        Ok(())
    }

    fn note_free(&mut self, now: Duration) {
        if !self.held.is_empty() {
            return;
        }
        for stop in self.stops.values_mut() {
            if stop.grants_nothing {
                stop.free_since.get_or_insert(now);
            }
        }
    }
}

impl ServiceOracle for Drain {
    fn name(&self) -> &'static str {
        "drain"
    }

    fn rule(&self) -> &'static str {
        "docs/cli.md: a server that stops with --drain locks grants nothing new, and waits for locks"
    }

    fn see(&mut self, now: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::Drains { node, event } => match event {
                DrainEvent::Begins => {
                    let stop = Stop {
                        since: now,
                        late: BTreeSet::new(),
                        grants_nothing: false,
                        free_since: None,
                        is_over: false,
                        is_elsewhere: false,
                    };
                    self.stops.insert(*node, stop);
                }
                DrainEvent::GrantsNothing => {
                    if let Some(stop) = self.stops.get_mut(node) {
                        stop.grants_nothing = true;
                    }
                    self.note_free(now);
                }
                DrainEvent::Over => self.over(now, *node)?,
                DrainEvent::CutShort => {
                    if let Some(stop) = self.stops.get_mut(node) {
                        stop.is_over = true;
                    }
                }
            },
            Happening::Asked { id, .. } | Happening::HttpAsked { id, .. } => {
                let is_new = self.asked.insert(id.clone());
                for stop in self.stops.values_mut().filter(|_| is_new) {
                    stop.late.insert(id.clone());
                }
            }
            Happening::Granted { id, .. } => self.granted(id)?,
            Happening::Ended { id, .. } => {
                self.held.remove(id);
                self.note_free(now);
            }
            Happening::ServerDown => {
                self.stops.clear();
                self.held.clear();
            }
            Happening::ServerHalted => self.stops.clear(),
            Happening::NodeDown { node } => {
                self.stops.remove(node);
            }
            Happening::Raft {
                node: leader,
                event: RaftEvent::Leads { .. },
            } => {
                let others = self.stops.iter_mut().filter(|(node, _)| *node != leader);
                others.for_each(|(_, stop)| stop.is_elsewhere = true);
            }
            _ => {}
        }
        self.late(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        op::OpWait,
        oracle::service::{Wanted, calm},
    };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_node_that_is_back_grants_again() {
        let mut story = Story::new();
        story.drains(10, DrainEvent::Begins).unwrap();
        story.drains(11, DrainEvent::GrantsNothing).unwrap();
        assert!(story.granted(12, "a").is_err());
        story.drains(13, DrainEvent::CutShort).unwrap();
        story.see(14, &Happening::NodeDown { node: 0 }).unwrap();
        story.granted(20, "b").unwrap();
    }

    #[test]
    fn a_stop_goes_on_when_another_node_goes_down() {
        let mut story = Story::new();
        story.drains(10, DrainEvent::Begins).unwrap();
        story.drains(11, DrainEvent::GrantsNothing).unwrap();
        story.see(12, &Happening::NodeDown { node: 1 }).unwrap();
        assert!(story.granted(13, "a").is_err());
        story.ended(14, "a").unwrap();
        story.drains(14, DrainEvent::Over).unwrap();
        story.see(15, &Happening::NodeDown { node: 0 }).unwrap();
        assert!(story.drains(16, DrainEvent::Over).is_err());
    }

    #[test]
    fn another_node_that_leads_may_grant() {
        let leads = |node| Happening::Raft {
            node,
            event: RaftEvent::Leads { term: 2 },
        };
        let mut story = Story::new();
        story.drains(10, DrainEvent::Begins).unwrap();
        story.drains(11, DrainEvent::GrantsNothing).unwrap();
        story.see(12, &leads(0)).unwrap();
        assert!(story.granted(13, "a").is_err());
        story.see(14, &leads(1)).unwrap();
        story.granted(15, "b").unwrap();
    }

    struct Story(Drain);

    impl Story {
        fn new() -> Story {
            let mut plan = ServicePlan::clone(&calm::tests::plan(Vec::new()));
            plan.server.drain_ms = Some(1_000);
            Story(Drain::new(&plan))
        }

        fn see(&mut self, at: u64, happening: &Happening) -> Verdict {
            self.0.see(ms(at), happening)
        }

        fn drains(&mut self, at: u64, event: DrainEvent) -> Verdict {
            self.see(at, &Happening::Drains { node: 0, event })
        }

        fn asks(&mut self, at: u64, id: &str) -> Verdict {
            let wanted = Wanted {
                namespace: "default".into(),
                claims: Vec::new(),
                ttl: None,
                wait: OpWait::Forever,
            };
            let client = super::super::Client { index: 0, host: 0 };
            let id = id.into();
            self.see(at, &Happening::Asked { id, client, wanted })
        }

        fn granted(&mut self, at: u64, id: &str) -> Verdict {
            let (id, token) = (id.into(), at);
            self.see(at, &Happening::Granted { id, token })
        }

        fn ended(&mut self, at: u64, id: &str) -> Verdict {
            self.see(
                at,
                &Happening::Ended {
                    id: id.into(),
                    reason: "released",
                    ended_at: ms(at),
                    believed_until: None,
                },
            )
        }
    }

    #[test]
    fn a_stop_as_it_is_to_be_is_accepted() {
        let mut story = Story::new();
        story.asks(1, "a").unwrap();
        story.asks(2, "b").unwrap();
        story.granted(3, "a").unwrap();
        story.drains(10, DrainEvent::Begins).unwrap();
        story.asks(11, "c").unwrap();
        story.granted(12, "b").unwrap();
        story.drains(13, DrainEvent::GrantsNothing).unwrap();
        story.ended(500, "a").unwrap();
        story.ended(900, "b").unwrap();
        story.drains(901, DrainEvent::Over).unwrap();
        story.see(5_000, &Happening::ServerHalted).unwrap();
        story.granted(6_000, "c").unwrap();
    }

    #[test]
    fn a_grant_of_what_came_later_or_after_all_was_given_up_is_seen() {
        let mut story = Story::new();
        story.asks(1, "a").unwrap();
        story.drains(10, DrainEvent::Begins).unwrap();
        story.asks(11, "c").unwrap();
        assert!(
            story
                .granted(12, "c")
                .unwrap_err()
                .contains("asked for after")
        );
        story.drains(13, DrainEvent::GrantsNothing).unwrap();
        assert!(story.granted(14, "a").unwrap_err().contains("given up"));
    }

    #[test]
    fn a_stop_that_comes_too_early_or_too_late_is_seen() {
        let mut story = Story::new();
        story.granted(3, "a").unwrap();
        story.drains(10, DrainEvent::Begins).unwrap();
        story.drains(11, DrainEvent::GrantsNothing).unwrap();
        let early = story.drains(500, DrainEvent::Over);
        assert!(early.unwrap_err().contains("1 locks are held"));

        let mut story = Story::new();
        story.granted(3, "a").unwrap();
        story.drains(10, DrainEvent::Begins).unwrap();
        story.drains(11, DrainEvent::GrantsNothing).unwrap();
        assert!(story.asks(1_500, "b").unwrap_err().contains("not stopped"));
        story.ended(600, "a").unwrap();
        assert!(
            story
                .asks(801, "c")
                .unwrap_err()
                .contains("no locks are held")
        );
    }
}
