//! Watchers of what happens to locks.

use super::{PHASE_MS_MAX, ServicePlan};
use crate::{
    draw::{Draw, Stream},
    op::Text,
    plan::Profile,
};
use serde::{Deserialize, Serialize};

/// A watcher of what happens to locks, at one node, for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatcherPlan {
    /// When it comes.
    pub at_ms: u64,
    /// For how long it watches.
    pub for_ms: u64,
    /// The index of the clients' host that it is on.
    pub host: usize,
    /// The number of the node that it asks, modulo the number of nodes.
    pub node: usize,
    /// The namespace.
    pub namespace: Text,
    /// The path at and below which it watches.
    pub prefix: Text,
}

impl WatcherPlan {
    pub(super) fn validate(&self, hosts: usize) -> Result<(), String> {
        if self.host >= hosts {
            return Err(format!("watchers: host {} is not among {hosts}", self.host));
        }
        if self.at_ms.saturating_add(self.for_ms) > PHASE_MS_MAX {
            return Err(format!(
                "watchers: the last one goes at {PHASE_MS_MAX} at most"
            ));
        }
        if lockwright_engine::Name::new(self.namespace.as_str()).is_err() {
            let namespace = &self.namespace;
            return Err(format!("watchers: `{namespace}` is no namespace"));
        }
        if lockwright_engine::Path::parse(self.prefix.as_str()).is_err() {
            return Err(format!("watchers: `{}` is no path", self.prefix));
        }
        Ok(())
    }
}

impl ServicePlan {
    /// Lets some watch, in a third of the worlds, and in two thirds of the clusters, where much more can come
    /// between a watcher and what happens. There is room for them.
    pub(super) fn draw_watchers(&mut self, profile: Profile, seed: u64) {
        let draw = &mut Draw::new(profile, seed, Stream::ServiceWatchers);
        let often = if self.cluster.is_some() { 2 } else { 1 };
        if !draw.chance(often, 3) {
            return;
        }
        let known = self.claimed_paths();
        if known.is_empty() {
            return;
        }
        let active_ms = u32::try_from(self.active_ms).unwrap_or(u32::MAX);
        for _ in 0..draw.between_skewed(1, 4) {
            let (namespace, path) = known[draw.index(known.len())].clone();
            let at_ms = draw.below(active_ms);
            let prefix = match draw.chance(1, 2) {
                true => Text::from("/"),
                // What is claimed, or what is above it.
                false => above(&path, draw),
            };
            self.watchers.push(WatcherPlan {
                at_ms: at_ms.into(),
                for_ms: draw.between_skewed(active_ms.min(100), active_ms).into(),
                host: draw.index(self.hosts.len()),
                node: draw.index(self.nodes().max(1)),
                namespace,
                prefix,
            });
        }
        self.watchers.sort_by_key(|watcher| watcher.at_ms);
        // The server may not know yet that the answer before the last one is not read any more.
        let more = u32::try_from(2 * self.watchers.len()).unwrap_or(u32::MAX);
        let max = &mut self.server.connections_max;
        *max = max.map(|max| max.saturating_add(more));
    }
}

/// A path that covers this one; `/` when that is none.
fn above(path: &Text, draw: &mut Draw) -> Text {
    let Ok(path) = lockwright_engine::Path::parse(path.as_str()) else {
        return Text::from("/");
    };
    let segments: Vec<&str> = path.segments().collect();
    let kept = draw.index(segments.len() + 1);
    match kept {
        0 => Text::from("/"),
        kept => Text::from(segments[..kept].join("/")),
    }
}
