//! Plans of profile `engine`: commands that go straight into the engine.

mod generate;
mod reduce;
mod shape;
mod tree;
mod weigh;

use super::PlanSize;
use crate::op::{Action, DEFAULT_NAMESPACE, Op, OpOwner};
use lockwright_engine::{DurationMs, Limits};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, num::NonZeroU32};

/// A plan of profile `engine`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnginePlan {
    /// What the generator drew, in a line for people; the run does not read it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub shape: String,
    /// The limits that differ from the engine's defaults.
    #[serde(default, skip_serializing_if = "LimitOverrides::is_empty")]
    pub limits: LimitOverrides,
    /// When it goes on with others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relimits: Vec<Relimit>,
    /// Costly checks that this run makes.
    #[serde(default, skip_serializing_if = "EngineChecks::is_empty")]
    pub checks: EngineChecks,
    /// The commands in order. Each on a lock names its owner; times may go back, and are then read
    /// as the latest.
    pub ops: Vec<Op>,
}

/// The engine goes on with other limits, as that of a server does which is started with others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relimit {
    /// After so many of the plan's commands, from 1 on.
    pub after: u32,
    /// The limits that differ from the engine's defaults from then on.
    #[serde(default, skip_serializing_if = "LimitOverrides::is_empty")]
    pub limits: LimitOverrides,
}

/// Limits of the engine that differ from the defaults, by the names of [`Limits`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields are those of `Limits`")]
pub struct LimitOverrides {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claims_per_request: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segments_per_path: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_segment: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued_requests_per_path: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locks_per_owner: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<u32>,
    /// In ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<DurationMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_ends_per_ms: Option<NonZeroU32>,
}

impl LimitOverrides {
    /// Whether all limits are the defaults.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == LimitOverrides::default()
    }

    /// The engine's limits with these in their places.
    #[must_use]
    pub fn to_limits(&self) -> Limits {
        let base = Limits::default();
        Limits {
            claims_per_request: self.claims_per_request.unwrap_or(base.claims_per_request),
            segments_per_path: self.segments_per_path.unwrap_or(base.segments_per_path),
            bytes_per_segment: self.bytes_per_segment.unwrap_or(base.bytes_per_segment),
            queued_requests_per_path: self
                .queued_requests_per_path
                .unwrap_or(base.queued_requests_per_path),
            locks_per_owner: self.locks_per_owner.unwrap_or(base.locks_per_owner),
            sessions: self.sessions.unwrap_or(base.sessions),
            namespaces: self.namespaces.unwrap_or(base.namespaces),
            retention: self.retention.unwrap_or(base.retention),
            session_ends_per_ms: self.session_ends_per_ms.unwrap_or(base.session_ends_per_ms),
        }
    }
}

/// Checks beside the oracles that cost too much to be made in every run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineChecks {
    /// A second engine, with another hash key, must say the same.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub twin: bool,
    /// After each so many commands (none for 0) the engine is put into a snapshot and restored
    /// from it, and goes on from there.
    #[serde(skip_serializing_if = "is_zero")]
    pub restore_every: u32,
    /// The commands are run again and again on the same engine, which must not need ever more
    /// memory. Left out where no counting allocator is installed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub leak: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl EngineChecks {
    /// Whether none of them is made.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == EngineChecks::default()
    }
}

impl EnginePlan {
    /// The limits that the engine goes on with after so many commands, one after the other.
    pub fn limits_after(&self, commands: u32) -> impl Iterator<Item = &LimitOverrides> {
        let due = self.relimits.iter();
        let due = due.filter(move |relimit| relimit.after == commands);
        due.map(|relimit| &relimit.limits)
    }

    /// How large it is.
    #[must_use]
    pub fn size(&self) -> PlanSize {
        let mut clients = BTreeSet::new();
        for op in &self.ops {
            let namespace = op.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
            if let Some(client) = client(&op.action) {
                clients.insert((namespace, client));
            }
        }
        PlanSize {
            clients: clients.len(),
            commands: self.ops.len(),
            faults: 0,
        }
    }
}

/// Who acts in an action: whether it is a session, and its name.
fn client(action: &Action) -> Option<(bool, &str)> {
    let is_session = |owner: &OpOwner| matches!(owner, OpOwner::Session(_));
    match action {
        Action::Acquire { owner, .. } => Some((is_session(owner), owner_name(owner))),
        Action::Release { lock, .. }
        | Action::Renew { lock, .. }
        | Action::Cancel { lock }
        | Action::Break { lock, .. } => {
            let owner = lock.owner.as_ref()?;
            Some((is_session(owner), owner_name(owner)))
        }
        Action::OpenSession { session, .. }
        | Action::Attach { session }
        | Action::Detach { session }
        | Action::KeepAlive { session }
        | Action::Done { session, .. }
        | Action::CloseSession { session } => Some((true, session)),
        Action::Tick | Action::Inspect { .. } => None,
    }
}

fn owner_name(owner: &OpOwner) -> &str {
    match owner {
        OpOwner::Named(name) | OpOwner::Session(name) => name,
    }
}
