//! Operators that break locks and end sessions, and programs that ask which token counts.

use super::{PHASE_MS_MAX, RETRY_PAUSE_MS, ServicePlan};
use crate::{
    draw::{Draw, Stream},
    op::{DEFAULT_NAMESPACE, Text},
    plan::Profile,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One request to a server, over HTTP, for what operators do or for the token that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakerPlan {
    /// When it looks at what there is, and chooses whom it means.
    pub at_ms: u64,
    /// The index of the clients' host that it is on.
    pub host: usize,
    /// The number of the node that it asks first, modulo the number of nodes.
    pub node: usize,
    /// What it asks for.
    pub deed: BreakerDeed,
    /// In which namespace.
    pub namespace: Text,
    /// At which path.
    pub path: Text,
    /// What it says to show that it is an operator.
    #[serde(default, skip_serializing_if = "Credentials::is_right")]
    pub credentials: Credentials,
    /// How long after it has looked it asks, in ms by its clock: what it means may be over by then.
    #[serde(default)]
    pub rest_ms: u64,
    /// How long it waits for an answer before it drops the connection, in ms by its clock.
    pub patience_ms: u64,
    /// How often it asks again, each time at the next node, when it has no answer.
    #[serde(default)]
    pub retries: u32,
    /// How long after it was answered it asks the same once more, in ms by its clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again_ms: Option<u64>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerDeed {
    /// To break all that is held at the path.
    Path,
    /// To break the lock there that has a token.
    Token,
    /// To end all requests there of one owner, held and queued.
    Owner,
    /// To end one request there, by its owner and id, held or queued.
    Request,
    /// To end one request there, by its owner and id, if it is held with its token.
    RequestWithToken,
    /// To end a session.
    Session,
    /// Which token counts there. For this nobody needs to be an operator.
    Fence,
}

impl BreakerDeed {
    /// All of them.
    pub const ALL: [BreakerDeed; 7] = [
        BreakerDeed::Path,
        BreakerDeed::Token,
        BreakerDeed::Owner,
        BreakerDeed::Request,
        BreakerDeed::RequestWithToken,
        BreakerDeed::Session,
        BreakerDeed::Fence,
    ];
}

impl fmt::Display for BreakerDeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BreakerDeed::Path => "break all that is held",
            BreakerDeed::Token => "break a lock by its token",
            BreakerDeed::Owner => "end all requests of an owner",
            BreakerDeed::Request => "end a request",
            BreakerDeed::RequestWithToken => "end a request by its token",
            BreakerDeed::Session => "end a session",
            BreakerDeed::Fence => "ask for the token",
        })
    }
}

/// The admin token that comes with a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credentials {
    /// The admin token.
    #[default]
    Right,
    /// Nothing.
    Missing,
    /// Another token.
    Wrong,
}

impl Credentials {
    /// Whether an operator says so.
    #[must_use]
    pub fn is_right(&self) -> bool {
        *self == Credentials::Right
    }
}

impl BreakerPlan {
    /// How long it may take, in ms.
    pub(crate) fn longest_ms(&self) -> u64 {
        let tries = u64::from(self.retries) + 1;
        let asks = 1 + u64::from(self.again_ms.is_some());
        self.rest_ms
            + self.again_ms.unwrap_or(0)
            + asks * tries * (self.patience_ms + RETRY_PAUSE_MS)
    }

    pub(super) fn validate(&self, hosts: usize) -> Result<(), String> {
        if self.host >= hosts {
            return Err(format!("breakers: host {} is not among {hosts}", self.host));
        }
        if self.patience_ms == 0 || self.retries > 100 {
            let message = "breakers: patience_ms is at least 1, retries at most 100";
            return Err(message.to_owned());
        }
        let times = [
            self.at_ms,
            self.rest_ms,
            self.patience_ms,
            self.again_ms.unwrap_or(0),
        ];
        if times.iter().any(|ms| *ms > PHASE_MS_MAX) {
            return Err(format!(
                "the times of breakers are at most {PHASE_MS_MAX} ms"
            ));
        }
        if lockwright_engine::Name::new(self.namespace.as_str()).is_err() {
            return Err(format!("breakers: `{}` is no namespace", self.namespace));
        }
        if lockwright_engine::Path::parse(self.path.as_str()).is_err() {
            return Err(format!("breakers: `{}` is no path", self.path));
        }
        Ok(())
    }

    /// How many things it has, for the shrinker.
    pub(super) fn things(&self) -> usize {
        2 + usize::from(self.retries > 0)
            + usize::from(self.again_ms.is_some())
            + usize::from(!self.credentials.is_right())
            + usize::from(*self.namespace != *DEFAULT_NAMESPACE)
    }

    /// How large its numbers are, for the shrinker.
    pub(super) fn numbers(&self) -> u64 {
        self.at_ms
            + self.rest_ms
            + self.again_ms.unwrap_or(0)
            + u64::from(self.retries)
            + self.path.len() as u64
    }
}

/// What makes one simpler.
pub(super) const SIMPLER: [fn(&mut BreakerPlan); 7] = [
    |one| one.retries = 0,
    |one| one.again_ms = None,
    |one| one.again_ms = one.again_ms.map(|ms| ms / 2),
    |one| one.rest_ms = 0,
    |one| one.rest_ms /= 2,
    |one| one.at_ms /= 2,
    |one| one.credentials = Credentials::Right,
];

/// The most in one plan.
const BREAKERS_MAX: u32 = 16;

/// The most of those who come only to end sessions.
const ENDERS_MAX: u32 = 8;

impl ServicePlan {
    /// Lets some break locks, end sessions and ask for tokens, in a third of the worlds. Where the end of a
    /// session takes its time, some more come to end one, in two thirds of the worlds.
    pub(super) fn draw_breakers(&mut self, profile: Profile, seed: u64) {
        let draw = &mut Draw::new(profile, seed, Stream::ServiceBreakers);
        if draw.chance(1, 3) {
            self.add_breakers(BREAKERS_MAX, None, draw);
        }
        let draw = &mut Draw::new(profile, seed, Stream::ServiceSessionEnders);
        if self.server.limits.session_ends_per_ms.is_some() && draw.chance(2, 3) {
            self.add_breakers(ENDERS_MAX, Some(BreakerDeed::Session), draw);
        }
    }

    /// Adds some, who all do the same if that is given. There is room for them.
    fn add_breakers(&mut self, most: u32, deed: Option<BreakerDeed>, draw: &mut Draw) {
        let known = self.claimed_paths();
        if known.is_empty() {
            return;
        }
        let cluster = self.cluster.as_ref();
        let forwarding_ms = cluster.map_or(0, |one| one.forwarding_ms(self.latency.max_ms));
        let count = draw.between_skewed(1, most);
        for _ in 0..count {
            let (namespace, path) = known[draw.index(known.len())].clone();
            let mut one = self.breaker(namespace, path, forwarding_ms, draw);
            one.deed = deed.unwrap_or(one.deed);
            self.breakers.push(one);
        }
        self.breakers.sort_by_key(|one| one.at_ms);
        // One connection of each may be left over while the next one is made.
        let more = 2 * count;
        let max = &mut self.server.connections_max;
        *max = max.map(|max| max.saturating_add(more));
    }

    fn breaker(
        &self,
        namespace: Text,
        path: Text,
        forwarding_ms: u64,
        draw: &mut Draw,
    ) -> BreakerPlan {
        let active_ms = u32::try_from(self.active_ms).unwrap_or(u32::MAX);
        let patience_ms = if draw.chance(1, 4) {
            u64::from(draw.between_skewed(1, 300))
        } else {
            // A wrong token is answered after a second.
            8 * self.latency.max_ms + forwarding_ms + u64::from(draw.between(1_200, 4_000))
        };
        BreakerPlan {
            at_ms: draw.below(active_ms).into(),
            host: draw.index(self.hosts.len()),
            node: draw.index(self.nodes().max(1)),
            deed: *draw.pick(&BreakerDeed::ALL),
            namespace,
            path,
            credentials: match draw.below(12) {
                0 => Credentials::Missing,
                1 => Credentials::Wrong,
                _ => Credentials::Right,
            },
            rest_ms: match draw.chance(1, 2) {
                true => 0,
                false => u64::from(draw.between_skewed(1, 300)),
            },
            patience_ms,
            retries: match draw.chance(1, 2) {
                true => 0,
                false => draw.between(1, 3),
            },
            again_ms: draw
                .chance(1, 3)
                .then(|| u64::from(draw.between_skewed(1, 400) - 1)),
        }
    }

    /// The paths that clients and callers over HTTP claim, with their namespaces, each as often as it is
    /// claimed.
    pub(super) fn claimed_paths(&self) -> Vec<(Text, Text)> {
        let of_clients = self.clients.iter().flat_map(|client| {
            let claims = client.attempts.iter().flat_map(|attempt| &attempt.claims);
            claims.map(|claim| (&client.namespace, &claim.path))
        });
        let of_http = self.http.iter().flat_map(|attempt| {
            let claims = attempt.claims.iter();
            claims.map(|claim| (&attempt.namespace, &claim.path))
        });
        of_clients
            .chain(of_http)
            .map(|(namespace, path)| (namespace.clone(), path.clone()))
            .collect()
    }
}
