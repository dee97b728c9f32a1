//! How large a plan is, in one number: the measure by which every reduction is a step down.

use super::{EnginePlan, LimitOverrides};
use crate::op::{Action, Op, OpClaim, OpLock, OpOwner, OpWait, Text};
use std::num::NonZeroU32;

impl EnginePlan {
    /// The plan's weight. Commands weigh most, then claims, then texts, then times.
    pub(super) fn weight(&self) -> u128 {
        let mut weight = Weight::default();
        let mut latest = 0;
        for op in &self.ops {
            weight.op(op, latest);
            latest = latest.max(op.at);
        }
        weight.settings += settings(&self.limits);
        for relimit in &self.relimits {
            weight.settings += 1 + settings(&relimit.limits);
            weight.times += u128::from(relimit.after);
        }
        weight.settings += u128::from(self.checks.twin) + u128::from(self.checks.leak);
        weight.settings += u128::from(self.checks.restore_every > 0);
        weight.settings += u128::from(!self.shape.is_empty());
        weight.total()
    }
}

/// How many limits are set.
fn settings(limits: &LimitOverrides) -> u128 {
    let counts = [
        limits.claims_per_request,
        limits.segments_per_path,
        limits.bytes_per_segment,
        limits.queued_requests_per_path,
        limits.locks_per_owner,
        limits.sessions,
        limits.namespaces,
        limits.session_ends_per_ms.map(NonZeroU32::get),
    ];
    counts.iter().flatten().count() as u128 + u128::from(limits.retention.is_some())
}

/// The parts of the weight, the heaviest first.
#[derive(Default)]
struct Weight {
    ops: u128,
    claims: u128,
    settings: u128,
    texts: u128,
    times: u128,
}

impl Weight {
    /// Every part in bits of its own, so that less of a heavier part outweighs more of a lighter.
    fn total(&self) -> u128 {
        let part = |value: u128, bits: u32| value.min((1 << bits) - 1);
        (part(self.ops, 20) << 104)
            + (part(self.claims, 20) << 84)
            + (part(self.settings, 8) << 76)
            + (part(self.texts, 36) << 40)
            + part(self.times, 40)
    }

    fn op(&mut self, op: &Op, latest: u64) {
        self.ops += 1;
        // A step back in time is no smaller than one forward.
        self.times += u128::from(op.at.abs_diff(latest).min(1 << 24));
        self.text(op.namespace.as_ref());
        match &op.action {
            Action::Acquire {
                id,
                owner,
                claims,
                ttl,
                wait,
            } => {
                self.text(Some(id));
                self.owner(owner);
                claims.iter().for_each(|claim| self.claim(claim));
                self.time(*ttl);
                match wait {
                    OpWait::Forever => {}
                    OpWait::No => self.time(Some(0)),
                    OpWait::For(wait) => self.time(Some(*wait)),
                }
            }
            Action::Release { lock, token } | Action::Break { lock, token } => {
                self.lock(lock);
                self.time(*token);
            }
            Action::Renew { lock, token, ttl } => {
                self.lock(lock);
                self.time(*token);
                self.time(Some(*ttl));
            }
            Action::Cancel { lock } => self.lock(lock),
            Action::OpenSession { session, abandon } => {
                self.text(Some(session));
                self.time(Some(*abandon));
            }
            Action::Attach { session }
            | Action::Detach { session }
            | Action::KeepAlive { session }
            | Action::CloseSession { session } => self.text(Some(session)),
            Action::Done { session, ids } => {
                self.text(Some(session));
                // An id of a list is left out for its own sake, as a claim is.
                self.claims += ids.len() as u128;
                ids.iter().for_each(|id| self.text(Some(id)));
            }
            Action::Tick => {}
            Action::Inspect { path } => self.text(Some(path)),
        }
    }

    fn lock(&mut self, lock: &OpLock) {
        self.text(Some(&lock.id));
        lock.owner.iter().for_each(|owner| self.owner(owner));
    }

    fn owner(&mut self, owner: &OpOwner) {
        match owner {
            OpOwner::Named(name) => self.text(Some(name)),
            OpOwner::Session(name) => {
                self.text(Some(name));
                self.texts += 1;
            }
        }
    }

    fn claim(&mut self, claim: &OpClaim) {
        self.claims += 1;
        self.text(Some(&claim.path));
    }

    /// The length counts most; of texts of one length the one that comes first in the alphabet is
    /// the smallest. An absent text weighs nothing.
    fn text(&mut self, text: Option<&Text>) {
        for byte in text.into_iter().flat_map(|text| text.bytes()) {
            self.texts += 256 + u128::from(byte);
        }
    }

    fn time(&mut self, time: Option<u64>) {
        if let Some(ms) = time {
            self.times += 1 + u128::from(ms.min(1 << 24));
        }
    }
}
