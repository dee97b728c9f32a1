//! The store of profile `fencing`: what the locks are for, on a host of its own. Holders write to it
//! with their tokens.

use super::{ClockPlan, DiskPlan, FaultKind, PHASE_MS_MAX};
use crate::op::{OpClaim, Text};
use lockwright_engine::Path;
use serde::{Deserialize, Serialize};

/// The store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorePlan {
    /// Whether it checks tokens, with a fence on its disk. One that does not is there to see that
    /// the oracle can speak.
    pub checked: bool,
    /// Its clock.
    #[serde(default)]
    pub clock: ClockPlan,
    /// A sync of its disk takes at least this long, in microseconds.
    pub sync_us_min: u64,
    /// A sync of its disk takes at most this long, in microseconds.
    pub sync_us_max: u64,
    /// Above this length, in bytes, the file of the fence is written anew.
    pub compact_above: u64,
    /// After how long without an answer who came to it comes again, in ms by the clock of who came.
    pub call_timeout_ms: u64,
    /// What goes wrong with it, and on the ways to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<StoreFault>,
}

/// What a holder does at the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessPlan {
    /// How long after the grant it looks whether it still believes in its lock, in ms by its clock.
    pub after_ms: u64,
    /// How long after that it goes to the store, without another look, in ms by its clock.
    pub think_ms: u64,
    /// Where: a path that a claim of its request covers.
    pub key: Text,
    /// Whether it reads; it writes otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reads: bool,
}

/// Something that goes wrong with the store for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreFault {
    /// When it begins.
    pub at_ms: u64,
    /// How long it lasts; a reset ignores it. Healing ends it in any case.
    pub for_ms: u64,
    /// What it is.
    pub kind: StoreFaultKind,
}

/// What goes wrong with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreFaultKind {
    /// Messages between the store and a clients' host are lost.
    Cut {
        /// The clients' host.
        host: usize,
        /// Those that the clients send.
        to_store: bool,
        /// Those that the store sends.
        from_store: bool,
    },
    /// Messages between the store and a clients' host are held back, and come when it ends.
    Hold {
        /// The clients' host.
        host: usize,
    },
    /// Messages between the store and a clients' host take longer.
    Slow {
        /// The clients' host.
        host: usize,
        /// How long each takes at most, in ms.
        max_ms: u64,
    },
    /// Every connection of the store breaks.
    Reset,
    /// The store is killed, and starts again when the fault ends.
    Crash,
    /// The store computes nothing while time passes.
    Pause,
    /// The store's host loses its power, and what its disk has not synced, whole or in part.
    PowerLoss,
    /// The store's disk takes nothing more.
    DiskFull,
    /// The store's disk fails to sync.
    DiskFails,
    /// Each sync of the store's disk takes longer.
    DiskSlow {
        /// By so much, in ms.
        by_ms: u64,
    },
}

impl StoreFaultKind {
    /// The fault of the links that it is, with the store in the server's place; none if it is of
    /// another kind.
    pub(crate) fn of_the_links(self) -> Option<FaultKind> {
        Some(match self {
            StoreFaultKind::Cut {
                host,
                to_store,
                from_store,
            } => FaultKind::Cut {
                host,
                to_server: to_store,
                from_server: from_store,
            },
            StoreFaultKind::Hold { host } => FaultKind::Hold { host },
            StoreFaultKind::Slow { host, max_ms } => FaultKind::Slow { host, max_ms },
            // Nobody hears of it.
            StoreFaultKind::PowerLoss => FaultKind::PowerLoss,
            StoreFaultKind::Reset
            | StoreFaultKind::Crash
            | StoreFaultKind::Pause
            | StoreFaultKind::DiskFull
            | StoreFaultKind::DiskFails
            | StoreFaultKind::DiskSlow { .. } => return None,
        })
    }

    /// The index of the clients' host that it has to do with.
    pub(super) fn host_mut(&mut self) -> Option<&mut usize> {
        match self {
            StoreFaultKind::Cut { host, .. }
            | StoreFaultKind::Hold { host }
            | StoreFaultKind::Slow { host, .. } => Some(host),
            _ => None,
        }
    }
}

impl StorePlan {
    /// Its disk.
    pub(crate) fn disk(&self) -> DiskPlan {
        DiskPlan {
            sync_us_min: self.sync_us_min,
            sync_us_max: self.sync_us_max,
            // It takes none, and it has no log.
            snapshot_entries: 1,
            log_segment_bytes: None,
        }
    }

    /// Whether the store can be run, in a world of so many hosts with such a network.
    pub(super) fn validate(&self, hosts: usize, latency_min_ms: u64) -> Result<(), String> {
        self.clock.validate()?;
        self.disk().validate()?;
        if self.call_timeout_ms == 0 || self.call_timeout_ms > PHASE_MS_MAX {
            return Err(format!(
                "store: call_timeout_ms is from 1 to {PHASE_MS_MAX}"
            ));
        }
        self.faults.iter().try_for_each(|fault| {
            let mut kind = fault.kind;
            if kind.host_mut().is_some_and(|host| *host >= hosts) {
                return Err(format!(
                    "store: a host of {kind:?} is not among the {hosts}"
                ));
            }
            match kind {
                StoreFaultKind::Slow { max_ms, .. } if max_ms < latency_min_ms => {
                    Err("store: slow: max_ms is below the latency's min_ms".to_owned())
                }
                StoreFaultKind::DiskSlow { by_ms } if by_ms > PHASE_MS_MAX => {
                    Err(format!("store: disk_slow: by_ms is at most {PHASE_MS_MAX}"))
                }
                _ => Ok(()),
            }
        })
    }
}

impl AccessPlan {
    /// Whether one of these claims allows it.
    pub(super) fn validate(&self, claims: &[OpClaim]) -> Result<(), String> {
        if self.after_ms.max(self.think_ms) > PHASE_MS_MAX {
            return Err(format!("accesses: times are at most {PHASE_MS_MAX} ms"));
        }
        let key = Path::parse(self.key.clone()).map_err(|error| format!("accesses: {error}"))?;
        let is_covered = claims
            .iter()
            .filter(|claim| claim.write || self.reads)
            .any(|claim| is_below(&key, &claim.path));
        if is_covered {
            Ok(())
        } else {
            Err(format!("accesses: no claim covers `{}`", self.key))
        }
    }
}

/// Whether `key` is the path, or below it.
pub(super) fn is_below(key: &Path, path: &Text) -> bool {
    let key = key.as_str();
    &**path == "/"
        || key
            .strip_prefix(&**path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
