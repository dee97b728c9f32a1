//! The way of proposals into the log: this node's own when it leads, else a link to the leader.

use super::{ClusterClock, Ledger, Route};
use crate::{
    forward::{Forwarder, Heard, ToFollower, ToLeader},
    proposal::{Action, Proposal},
    raft::{Leadership, Maker},
};
use lockwright_engine::TimeMs;
use lockwright_env::Env;
use std::{sync::Arc, time::Duration};
use tracing::info;

impl<E: Env, C> Ledger<E, C> {
    /// Who leads may have changed.
    pub(super) fn find_route(&mut self) {
        let leadership = self.node.leadership();
        self.log_leader(leadership);
        let Leadership {
            term,
            leader,
            is_own,
        } = leadership;
        match (&self.route, leader) {
            (Route::Preparing { term: now } | Route::Leading { term: now }, _)
                if is_own && *now == term =>
            {
                return;
            }
            (Route::Following(forwarder), Some(leader))
                if !is_own && forwarder.leader == leader =>
            {
                return;
            }
            _ => {}
        }
        self.lose_route();
        if is_own {
            self.route = Route::Preparing { term };
            self.probe.raft(crate::RaftEvent::Leads { term });
            let (limits, first_token) = (self.limits.clone(), self.first_token);
            let begin = Action::Begin {
                limits,
                first_token,
            };
            let proposal = Proposal {
                at: TimeMs::ZERO,
                term,
                origin: None,
                action: Arc::new(begin),
            };
            self.outbox.push_back((proposal, Maker::Own));
        } else if let Some(leader) = leader {
            self.follow(leader);
        }
    }

    /// Logs who leads, when that has changed.
    fn log_leader(&mut self, now: Leadership) {
        if self.node.is_alone() || now == self.logged {
            return;
        }
        let Leadership {
            term,
            leader,
            is_own,
        } = now;
        let before = std::mem::replace(&mut self.logged, now);
        if before.is_own && !is_own {
            info!(term = before.term, "this node leads no more");
        }
        match leader {
            _ if is_own => info!(term, "this node is elected"),
            Some(leader) => info!(term, leader, "another node leads"),
            None if before.leader.is_some() => info!(term, "no leader is known any more"),
            None => {}
        }
    }

    pub(super) fn follow(&mut self, leader: u64) {
        let member = self.node.member(leader);
        if let (Some(dialer), Some(member)) = (&self.dialer, member) {
            // More often would tell nothing more: after a whole timeout the link is given up.
            let pause = self.timing.heartbeat.max(self.timing.election_timeout / 3);
            let forwarder =
                Forwarder::open(dialer, leader, member.address, pause, self.node.notes());
            self.route = Route::Following(forwarder);
        }
    }

    /// What was sent goes again, when there is a way.
    pub(super) fn lose_route(&mut self) {
        self.route = Route::None;
        self.outbox.clear();
        self.sent = 0;
        self.is_ticking = false;
        self.followers.clear();
        self.reads.ask_again();
        self.retry_at = self.env.monotonic() + self.timing.heartbeat.min(Duration::from_secs(1));
    }

    pub(super) fn refused(&mut self, maker: Maker) {
        match maker {
            Maker::Link(link) => self.followers.close(link),
            Maker::Own => {
                // What came after it would come too early.
                self.sent = 0;
                self.is_ticking = false;
                let mut pause = self.timing.heartbeat;
                if let Route::Preparing { .. } = self.route {
                    // A leader takes nothing until its own vote is on its disk. All wait for it.
                    pause /= 10;
                    self.route = Route::None;
                }
                self.retry_at = self.env.monotonic() + pause;
            }
        }
    }

    /// Another node says something to this one as the leader.
    pub(crate) fn heard(&mut self, heard: Heard) {
        let now = self.env.monotonic();
        match heard {
            Heard::Opened { link, node, out } => {
                // Dropping `out` closes the link: the node tries again.
                match self.route {
                    // Who was removed, and still runs, must not join again.
                    _ if self.node.member(node).is_none() => {}
                    // A stop that waits for locks grants nothing, to others neither.
                    _ if self.notes().waits_for_locks() => {}
                    Route::Leading { .. } => {
                        self.followers.open(node, link, out);
                        self.followers.hear(node, now);
                        let at = self.now();
                        self.followers.say(node, link, ToFollower::Welcome { at });
                    }
                    Route::Preparing { .. } => self.followers.open(node, link, out),
                    _ => {}
                }
            }
            Heard::Said {
                link,
                node,
                message,
            } => {
                let Route::Leading { term } = self.route else {
                    return;
                };
                if !self.followers.is_open(node, link) {
                    return;
                }
                if self.node.member(node).is_none() {
                    self.followers.close(link);
                    return;
                }
                self.followers.hear(node, now);
                let at = self.now();
                match message {
                    ToLeader::Propose(proposals) => {
                        for (origin, action) in proposals {
                            self.stamp(at, term, Some(origin), action, Maker::Link(link));
                        }
                    }
                    ToLeader::Ping { sent } => {
                        self.followers
                            .say(node, link, ToFollower::Pong { sent, at });
                    }
                    ToLeader::Read { id } => self.reads.add_remote(node, link, id),
                }
            }
        }
    }

    /// The leader says something to this node; none when the link is over.
    pub(super) fn hear_leader(&mut self, heard: Option<ToFollower>) {
        let Route::Following(forwarder) = &mut self.route else {
            return;
        };
        match heard {
            None => self.lose_route(),
            Some(ToFollower::Welcome { at }) => {
                forwarder.is_welcome = true;
                self.clock = Some(ClusterClock::start(at, forwarder.begun));
            }
            Some(ToFollower::Pong { sent, at }) => {
                self.clock = Some(ClusterClock::start(at, sent));
            }
            Some(ToFollower::ReadAt { id, index, at }) => {
                if self.reads.asked().is_some_and(|round| round.id == id) {
                    self.reads.end(index, at);
                    self.finish_reads();
                }
            }
        }
    }
}
