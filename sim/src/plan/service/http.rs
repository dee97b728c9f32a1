//! Those who ask over HTTP, without a session: what they try, and how it is drawn.

use super::{PHASE_MS_MAX, RenewPlan, ServicePlan, shape::Shape};
use crate::{
    draw::{Draw, Stream},
    op::{DEFAULT_NAMESPACE, OpClaim, OpWait, Text},
    oracle::same_claims,
    plan::Profile,
};
use lockwright_engine::{DurationMs, Name, Path};
use serde::{Deserialize, Serialize};

/// One request over HTTP, and what its caller does with the lock. All of them have a lease: without
/// one, a lock whose caller died would be held until somebody breaks it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpAttempt {
    /// When it asks.
    pub at_ms: u64,
    /// The index of the clients' host that it comes from.
    pub host: usize,
    /// Who is to hold the lock.
    pub holder: Text,
    /// The namespace.
    pub namespace: Text,
    /// For what.
    pub claims: Vec<OpClaim>,
    /// Whether it locks and unlocks by `/lock/...`, which takes one claim.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_path: bool,
    /// The lease, in ms.
    pub ttl_ms: u64,
    /// How long it waits.
    pub wait: OpWait,
    /// How long it waits for an answer before it drops the connection, in ms by its clock.
    pub patience_ms: u64,
    /// How often it asks again when it has no answer. Who asks again names the request; who does
    /// not leaves that to the server.
    #[serde(default)]
    pub retries: u32,
    /// Whether the same request is sent on two connections at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub twice: bool,
    /// Whether it drops the connection as soon as the request is sent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hangs_up: bool,
    /// How it renews while it holds, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew: Option<RenewPlan>,
    /// How long it holds before it releases, in ms by its clock; without it the lock is left to its
    /// lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_ms: Option<u64>,
    /// How long after it was done it releases with the same token again, in ms by its clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again_ms: Option<u64>,
    /// When it asks with the id of its request for something else, once that was granted. Only who
    /// names its request can.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mistakes: Vec<Mistake>,
}

/// A request with the id of another one, for something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mistake {
    /// How long after the grant, in ms by its clock.
    pub after_ms: u64,
    /// For what.
    pub claims: Vec<OpClaim>,
    /// Whether it is sent on two connections at once, to two servers if there are several.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub twice: bool,
}

impl HttpAttempt {
    /// Whether the request has an id of its caller's.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.retries > 0 || self.twice
    }

    /// The longest lease that it asks for, in ms.
    pub(crate) fn longest_lease_ms(&self) -> u64 {
        let renewed = self.renew.map_or(0, |renew| renew.ttl_ms);
        self.ttl_ms.max(renewed)
    }

    /// For how long it may be the reason that others wait, in ms.
    pub(crate) fn longest_ms(&self) -> u64 {
        let tries = u64::from(self.retries) + 1;
        let renewed = self.renew.map_or(0, |renew| renew.ttl_ms + renew.every_ms);
        // Asking, and then releasing as often.
        2 * tries * (self.patience_ms + RETRY_PAUSE_MS)
            + self.hold_ms.unwrap_or(0).max(self.ttl_ms).max(renewed)
            + self.again_ms.unwrap_or(0)
            + self.mistakes_ms()
    }

    /// How long its mistakes may take, in ms.
    fn mistakes_ms(&self) -> u64 {
        let after = self.mistakes.iter().map(|mistake| mistake.after_ms).max();
        after.unwrap_or(0) + self.patience_ms * self.mistakes.len() as u64
    }

    fn each_mistake(&mut self, edit: fn(&mut Mistake)) {
        self.mistakes.iter_mut().for_each(edit);
    }

    fn validate_mistakes(&self) -> Result<(), String> {
        if !self.mistakes.is_empty() && !self.is_named() {
            return Err("http: mistakes are for requests with an id (retries, twice)".to_owned());
        }
        let is_one = |mistake: &Mistake| {
            !mistake.claims.is_empty() && !same_claims(&mistake.claims, &self.claims)
        };
        if !self.mistakes.iter().all(is_one) {
            return Err("http: a mistake claims something else than its attempt".to_owned());
        }
        let claims = self.mistakes.iter().flat_map(|mistake| &mistake.claims);
        claims.into_iter().try_for_each(is_path)
    }

    pub(super) fn validate(&self) -> Result<(), String> {
        if self.renew.is_some_and(|renew| renew.every_ms == 0) {
            return Err("renew: every_ms must be at least 1".to_owned());
        }
        if self.renew.is_some() && self.hold_ms.is_none() {
            return Err("renew: who renews must release some time (hold_ms)".to_owned());
        }
        if self.hangs_up && self.is_named() {
            return Err("http: who hangs up at once asks once".to_owned());
        }
        if self.ttl_ms == 0 || self.patience_ms == 0 || self.retries > 100 {
            let message = "http: ttl_ms and patience_ms are at least 1, retries at most 100";
            return Err(message.to_owned());
        }
        let wait = match self.wait {
            OpWait::For(ms) => ms,
            OpWait::No | OpWait::Forever => 0,
        };
        let times = [
            self.at_ms,
            self.ttl_ms,
            wait,
            self.patience_ms,
            self.renew
                .map_or(0, |renew| renew.ttl_ms.max(renew.every_ms)),
            self.hold_ms.unwrap_or(0),
            self.again_ms.unwrap_or(0),
            self.mistakes_ms(),
        ];
        if times.iter().any(|ms| *ms > PHASE_MS_MAX) {
            return Err(format!("the times of http are at most {PHASE_MS_MAX} ms"));
        }
        for name in [&self.holder, &self.namespace] {
            Name::new(name.clone()).map_err(|error| format!("http: {name}: {error}"))?;
        }
        // It sets off what follows in the name of a holder whose request the server names.
        if self.holder.contains('.') {
            return Err("http: the name of a holder has no dot".to_owned());
        }
        if self.claims.is_empty() {
            return Err("http: an attempt claims something".to_owned());
        }
        let goes_by_path = |claim: &OpClaim| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_".contains(&byte);
            *claim.path != *"/" && claim.path.bytes().all(is_plain)
        };
        if self.by_path && !(self.claims.len() == 1 && goes_by_path(&self.claims[0])) {
            return Err("http: by_path is for one claim, of letters, digits and -_/".to_owned());
        }
        self.validate_mistakes()?;
        self.claims.iter().try_for_each(is_path)
    }

    /// How many things it has, for the shrinker.
    pub(super) fn things(&self) -> usize {
        1 + self.claims.len()
            + usize::from(self.is_named())
            + usize::from(self.twice)
            + usize::from(self.hangs_up)
            + usize::from(self.by_path)
            + usize::from(self.renew.is_some())
            + usize::from(self.hold_ms.is_none())
            + usize::from(self.again_ms.is_some())
            + self
                .mistakes
                .iter()
                .map(|one| 1 + usize::from(one.twice))
                .sum::<usize>()
            + usize::from(*self.namespace != *DEFAULT_NAMESPACE)
    }

    /// How large its numbers are, for the shrinker.
    pub(super) fn numbers(&self) -> u64 {
        let waits = match self.wait {
            OpWait::No => 1,
            OpWait::For(ms) => 1 + ms,
            OpWait::Forever => 0,
        };
        let paths: usize = self.claims.iter().map(|claim| claim.path.len()).sum();
        self.at_ms
            + self.hold_ms.unwrap_or(0)
            + self.again_ms.unwrap_or(0)
            + self
                .mistakes
                .iter()
                .map(|mistake| mistake.after_ms)
                .sum::<u64>()
            + waits
            + u64::from(self.retries)
            + paths as u64
    }
}

/// How long a caller rests before it asks again, in ms by its clock.
pub(crate) const RETRY_PAUSE_MS: u64 = 10;

fn is_path(claim: &OpClaim) -> Result<(), String> {
    Path::parse(claim.path.clone())
        .map(|_| ())
        .map_err(|error| format!("{claim}: {error}"))
}

/// What makes an attempt simpler.
pub(super) const SIMPLER: [fn(&mut HttpAttempt); 17] = [
    |attempt| attempt.mistakes.clear(),
    |attempt| attempt.mistakes.truncate(1),
    |attempt| attempt.each_mistake(|one| one.twice = false),
    |attempt| attempt.each_mistake(|one| one.after_ms /= 2),
    |attempt| attempt.retries = 0,
    |attempt| attempt.retries /= 2,
    |attempt| attempt.twice = false,
    |attempt| attempt.hangs_up = false,
    |attempt| attempt.by_path = false,
    |attempt| attempt.again_ms = None,
    |attempt| attempt.renew = None,
    |attempt| attempt.wait = OpWait::Forever,
    |attempt| attempt.hold_ms = Some(0),
    |attempt| attempt.hold_ms = attempt.hold_ms.map(|ms| ms / 2).or(Some(1_000)),
    |attempt| attempt.at_ms = 0,
    |attempt| attempt.at_ms /= 2,
    |attempt| attempt.namespace = Text::from(DEFAULT_NAMESPACE),
];

/// The most attempts over HTTP of a plan: each is a connection of its own.
const ATTEMPTS_MAX: u32 = 160;

/// Draws those who ask over HTTP; half of the plans have none.
pub(super) fn draw(shape: &Shape, plan: &ServicePlan, seed: u64) -> Vec<HttpAttempt> {
    let draw = &mut Draw::new(Profile::Service, seed, Stream::ServiceHttp);
    if draw.chance(1, 2) {
        return Vec::new();
    }
    let habits = Habits {
        retries: *draw.pick(&[0, 30, 70, 100]),
        impatient: *draw.pick(&[0, 20, 60]),
        hangs_up: *draw.pick(&[0, 10, 50]),
        waits: *draw.pick(&[20, 60, 90]),
        holders: draw.between_skewed(1, 6),
        ttl_ms_max: draw.between_skewed(40, 2_000),
    };
    // Sometimes all at once: a storm.
    let at_once = draw
        .chance(1, 6)
        .then(|| (draw.below(shape.active_ms), draw.between_skewed(1, 100)));
    let mut attempts: Vec<HttpAttempt> = (0..draw.between_skewed(1, ATTEMPTS_MAX))
        .map(|_| {
            let at_ms = match at_once {
                Some((from, within)) => from + draw.below(within),
                None => draw.below(shape.active_ms),
            };
            attempt(shape, plan, &habits, at_ms.into(), draw)
        })
        .filter(|attempt| attempt.at_ms < u64::from(shape.active_ms))
        .collect();
    attempts.sort_by_key(|attempt| attempt.at_ms);
    attempts
}

/// The longest time after a grant at which a mistake comes, in ms: some come when the lock is over.
const MISTAKE_MS_MAX: u32 = 1_000;

/// How long ends are remembered where there are mistakes, in ms: longer than one is on its way, on links
/// that are held up. One that comes later is a request of its own.
const MISTAKES_RETENTION_MS: u64 = 60_000;

/// Draws who asks with the id of its request for something else. For servers that forget no id when
/// they die.
pub(super) fn draw_mistakes(shape: &Shape, plan: &mut ServicePlan, seed: u64) {
    let draw = &mut Draw::new(Profile::Service, seed, Stream::ServiceMistakes);
    // At the end such a world waits until its ids are forgotten, and three nodes cost so much in that
    // minute as in all the rest.
    let often = if plan.cluster.is_some() { 1 } else { 4 };
    if !draw.chance(often, 8) {
        return;
    }
    for attempt in plan.http.iter_mut().filter(|attempt| attempt.is_named()) {
        if draw.chance(1, 2) {
            let count = draw.between(1, 2);
            let mistakes = (0..count).map(|_| mistake(shape, attempt, draw));
            let mut mistakes: Vec<Mistake> = mistakes.collect();
            mistakes.retain(|one| !same_claims(&one.claims, &attempt.claims));
            mistakes.sort_by_key(|one| one.after_ms);
            attempt.mistakes = mistakes;
        }
    }
    if plan.http.iter().any(|attempt| !attempt.mistakes.is_empty()) {
        let leaps = match &plan.cluster {
            Some(cluster) => cluster.leaps_ms(),
            None => plan.server.clock.jumps.iter().map(|jump| jump.by_ms).sum(),
        };
        plan.server.limits.retention = DurationMs::new(MISTAKES_RETENTION_MS + leaps).ok();
    }
}

fn mistake(shape: &Shape, attempt: &HttpAttempt, draw: &mut Draw) -> Mistake {
    let mut claims = attempt.claims.clone();
    let place = draw.index(claims.len());
    match draw.below(3) {
        0 => claims[place].write = !claims[place].write,
        1 => claims[place].path = Text::from(draw.pick(&shape.paths).as_str()),
        _ => drop(claims.remove(place)),
    }
    if claims.is_empty() {
        claims.push(OpClaim {
            write: draw.chance(1, 2),
            path: Text::from(draw.pick(&shape.paths).as_str()),
        });
    }
    Mistake {
        after_ms: u64::from(draw.between_skewed(1, MISTAKE_MS_MAX) - 1),
        claims,
        twice: draw.chance(1, 3),
    }
}

/// What the callers of a plan are like; parts in hundredths.
struct Habits {
    retries: u32,
    /// Those whose patience is short.
    impatient: u32,
    /// Of those that ask once, those that do not wait at all.
    hangs_up: u32,
    waits: u32,
    holders: u32,
    ttl_ms_max: u32,
}

fn attempt(
    shape: &Shape,
    plan: &ServicePlan,
    habits: &Habits,
    at_ms: u64,
    draw: &mut Draw,
) -> HttpAttempt {
    let claims: Vec<OpClaim> = (0..draw.between_skewed(1, shape.claims_max))
        .map(|_| OpClaim {
            write: !draw.chance(shape.readers, 100),
            path: Text::from(draw.pick(&shape.paths).as_str()),
        })
        .collect();
    let ttl_ms = u64::from(draw.between_skewed(20, habits.ttl_ms_max));
    let hold_ms = draw
        .chance(9, 10)
        .then(|| u64::from(draw.between_skewed(1, shape.hold_ms_max) - 1));
    let renew = hold_ms.filter(|_| draw.chance(1, 4)).map(|_| RenewPlan {
        every_ms: (ttl_ms / 3).max(1),
        ttl_ms: match draw.below(3) {
            0 => u64::from(draw.between_skewed(20, habits.ttl_ms_max)),
            _ => ttl_ms,
        },
    });
    let patience_ms = if draw.chance(habits.impatient, 100) {
        u64::from(draw.between_skewed(1, 400))
    } else {
        8 * plan.latency.max_ms + u64::from(draw.between(100, 4_000))
    };
    let retries = if draw.chance(habits.retries, 100) {
        draw.between(1, 3)
    } else {
        0
    };
    let twice = draw.chance(1, 10);
    let hangs_up = retries == 0 && !twice && draw.chance(habits.hangs_up, 100);
    // Long enough that a lock that stays is seen to stay.
    let ttl_ms = if hangs_up { ttl_ms + 2_000 } else { ttl_ms };
    HttpAttempt {
        at_ms,
        host: draw.index(shape.hosts as usize),
        holder: Text::from(format!("h{}", draw.below(habits.holders))),
        namespace: match draw.below(shape.namespaces) {
            0 => Text::from(DEFAULT_NAMESPACE),
            other => Text::from(format!("n{other}")),
        },
        by_path: claims.len() == 1 && *claims[0].path != *"/" && draw.chance(1, 3),
        claims,
        ttl_ms,
        wait: if !draw.chance(habits.waits, 100) {
            OpWait::No
        } else if draw.chance(1, 2) {
            OpWait::Forever
        } else {
            OpWait::For(draw.between_skewed(1, 800).into())
        },
        patience_ms,
        retries,
        twice,
        hangs_up,
        renew,
        hold_ms,
        again_ms: draw
            .chance(1, 5)
            .then(|| u64::from(draw.between_skewed(1, 300) - 1)),
        mistakes: Vec::new(),
    }
}
