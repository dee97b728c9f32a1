//! The knobs of a plan of profile `engine`, all drawn from the seed.

use super::{
    EngineChecks, LimitOverrides, Relimit,
    tree::{Tree, TreeKind},
};
use crate::{
    draw::{Draw, Stream},
    op::{DEFAULT_NAMESPACE, Text},
    plan::Profile,
};
use lockwright_engine::DurationMs;
use std::{fmt, num::NonZeroU32};

/// How large a world is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// Some hundred commands, a few live requests: quick, and most bugs need no more.
    Usual,
    /// Many live requests.
    Large,
    /// Tens of thousands of commands: for what goes wrong once in thousands of grants.
    Long,
}

/// Kinds of commands that the generator draws from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A new request.
    Acquire,
    /// A known or forgotten request again.
    Retry,
    /// Of a request that is probably held.
    Release,
    /// Likewise.
    Renew,
    /// Of a request that is probably queued.
    Cancel,
    /// Of any.
    Break,
    /// Any of the five session commands.
    Session,
    /// Nothing but time.
    Tick,
    /// A look at a path.
    Inspect,
    /// A command that must be refused: malformed, or on what is not there.
    Refused,
    /// A session is done with requests.
    Done,
}

impl Kind {
    const ALL: [Kind; 11] = [
        Kind::Acquire,
        Kind::Retry,
        Kind::Release,
        Kind::Renew,
        Kind::Cancel,
        Kind::Break,
        Kind::Session,
        Kind::Tick,
        Kind::Inspect,
        Kind::Refused,
        Kind::Done,
    ];
}

/// How many commands of each kind there are, in proportion.
#[derive(Debug, Clone)]
pub(super) struct Weights([u32; Kind::ALL.len()]);

impl Weights {
    /// Draws which kinds exist and how often they come.
    fn draw(draw: &mut Draw, with_sessions: bool) -> Weights {
        Weights(Kind::ALL.map(|kind| {
            // (present so many times out of 8, weight when present)
            let (present, low, high) = match kind {
                Kind::Acquire => (8, 30, 60),
                Kind::Release => (7, 10, 40),
                Kind::Cancel => (5, 2, 15),
                Kind::Break => (3, 1, 10),
                Kind::Renew => (4, 1, 10),
                Kind::Retry => (3, 1, 12),
                Kind::Session if with_sessions => (8, 4, 30),
                Kind::Done if with_sessions => (6, 2, 15),
                Kind::Session | Kind::Done => (0, 0, 0),
                Kind::Tick => (4, 1, 10),
                Kind::Inspect => (2, 1, 3),
                Kind::Refused => (3, 1, 3),
            };
            let weight = draw.between(low, high);
            if draw.chance(present, 8) { weight } else { 0 }
        }))
    }

    /// Those of a long world: hand-offs above all.
    fn of_long() -> Weights {
        Weights(Kind::ALL.map(|kind| match kind {
            Kind::Acquire => 50,
            Kind::Release => 40,
            Kind::Cancel | Kind::Break | Kind::Tick => 3,
            _ => 0,
        }))
    }

    /// Draws a kind.
    pub(super) fn kind(&self, draw: &mut Draw) -> Kind {
        Kind::ALL[draw.weighted(&self.0)]
    }
}

/// How time passes. All durations of a plan are small multiples of one unit, so that deadlines and
/// commands meet at the same millisecond.
#[derive(Debug, Clone)]
pub(super) struct Times {
    /// The unit in ms.
    pub(super) unit: u32,
    /// How many of a hundred commands come at the same time as the one before.
    pub(super) still_percent: u32,
    /// The longest usual step, in units.
    pub(super) step_max: u32,
    /// How many of a thousand steps go beyond the retention.
    pub(super) jump_permille: u32,
    /// How many of a hundred commands carry an earlier time than the one before.
    pub(super) back_percent: u32,
}

/// Leases, waits and abandon timeouts.
#[derive(Debug, Clone)]
pub(super) struct Durations {
    /// How many of a hundred requests have a lease.
    pub(super) ttl_percent: u32,
    /// Leases, in units.
    pub(super) ttls: Vec<u32>,
    /// How many of a hundred requests wait for a time.
    pub(super) wait_percent: u32,
    /// How many of a hundred requests do not wait.
    pub(super) busy_percent: u32,
    /// Waits, in units.
    pub(super) waits: Vec<u32>,
    /// Abandon timeouts, in units.
    pub(super) abandons: Vec<u32>,
}

/// How sessions are done with their requests.
#[derive(Debug, Clone)]
pub(super) struct Done {
    /// So many of its requests must have ended before a session usually says so.
    pub(super) ended_min: usize,
    /// How many of a hundred times it names all of them.
    pub(super) all_percent: u32,
}

/// All knobs.
#[derive(Debug)]
pub(super) struct Shape {
    /// How many commands.
    pub(super) commands: u32,
    /// About how many requests are live at once.
    pub(super) crowd: u32,
    /// What the requests claim.
    pub(super) tree: Tree,
    /// The namespaces.
    pub(super) namespaces: Vec<Text>,
    /// The named owners.
    pub(super) owners: Vec<Text>,
    /// The sessions.
    pub(super) sessions: Vec<Text>,
    /// How many of a hundred requests are of a session.
    pub(super) session_percent: u32,
    /// Kinds of commands.
    pub(super) weights: Weights,
    /// How many of a hundred claims are `write`.
    pub(super) write_percent: u32,
    /// The most claims that a request usually has.
    pub(super) claims_max: u32,
    /// How many of a thousand requests have up to 64.
    pub(super) wide_permille: u32,
    /// How many ids there are to draw from; 0 for a new one each time.
    pub(super) ids: u32,
    /// How many of a hundred releases, renewals and breaks carry a wrong token.
    pub(super) stale_percent: u32,
    /// Time.
    pub(super) times: Times,
    /// Durations.
    pub(super) durations: Durations,
    /// What sessions are done with.
    pub(super) done: Done,
    /// Limits.
    pub(super) limits: LimitOverrides,
    /// When they change.
    pub(super) relimits: Vec<Relimit>,
    /// Checks.
    pub(super) checks: EngineChecks,
}

impl Shape {
    /// Draws the knobs of a seed.
    pub(super) fn draw(seed: u64) -> Shape {
        let mut draw = Draw::new(Profile::Engine, seed, Stream::Shape);
        let size = match draw.below(256) {
            0..2 => Size::Large,
            2 => Size::Long,
            _ => Size::Usual,
        };
        let large = size == Size::Large;
        let crowd = if large {
            draw.between(60, 200)
        } else {
            *draw.pick(&[2, 3, 4, 4, 6, 6, 8, 8, 12, 16])
        };
        let session_percent = *draw.pick(&[0, 0, 20, 50, 80, 100]);
        let times = Times::draw(&mut draw);
        let mut tree = Draw::new(Profile::Engine, seed, Stream::Tree);
        let commands = if large {
            draw.between(300, 600)
        } else {
            *draw.pick(&[200, 300, 400, 600, 800, 1200, 2000])
        };
        let mut shape = Shape {
            commands,
            crowd,
            tree: Tree::draw(&mut tree, size),
            namespaces: names(&mut draw, DEFAULT_NAMESPACE, "n", &[1, 1, 1, 2, 3]),
            owners: names(&mut draw, "alice", "o", &[1, 2, 3, 5, 8]),
            sessions: names(&mut draw, "s", "s", &[1, 2, 3, 5]),
            session_percent,
            weights: Weights::draw(&mut draw, session_percent > 0),
            write_percent: *draw.pick(&[5, 20, 35, 50, 50, 75, 100]),
            claims_max: *draw.pick(&[1, 1, 1, 2, 2, 3, 6]),
            wide_permille: *draw.pick(&[0, 0, 2, 5, 20]),
            ids: *draw.pick(&[0, 0, 0, 3, 10, 40]),
            stale_percent: *draw.pick(&[0, 5, 5, 20]),
            durations: Durations::draw(&mut draw),
            limits: LimitOverrides {
                session_ends_per_ms: session_ends(seed),
                ..limits(&mut draw, times.unit)
            },
            relimits: relimits(seed, commands, times.unit),
            done: Done::draw(&mut draw),
            checks: checks(seed, commands, large),
            times,
        };
        if shape.done.ended_min > 1 {
            // All that ends is of one session, so that it comes to so many.
            shape.namespaces.truncate(1);
            shape.sessions.truncate(1);
        }
        match size {
            Size::Usual | Size::Large => shape,
            Size::Long => shape.into_long(&mut draw),
        }
    }

    /// The same for tens of thousands of commands, about a third of them hand-offs.
    fn into_long(self, draw: &mut Draw) -> Shape {
        Shape {
            commands: draw.between(20_000, 30_000),
            crowd: draw.between(3, 8),
            session_percent: 0,
            weights: Weights::of_long(),
            write_percent: *draw.pick(&[50, 80, 100]),
            claims_max: 1,
            wide_permille: 0,
            ids: 0,
            stale_percent: 0,
            durations: Durations {
                ttl_percent: *draw.pick(&[0, 20]),
                wait_percent: 0,
                busy_percent: 0,
                ..self.durations
            },
            limits: LimitOverrides {
                // Else the ends of all would have to be remembered.
                retention: Some(DurationMs::ZERO),
                ..LimitOverrides::default()
            },
            relimits: Vec::new(),
            checks: EngineChecks::default(),
            ..self
        }
    }
}

impl Times {
    fn draw(draw: &mut Draw) -> Times {
        Times {
            unit: *draw.pick(&[1, 1, 1, 2, 5, 10, 1000]),
            still_percent: *draw.pick(&[10, 40, 70, 90]),
            step_max: *draw.pick(&[1, 1, 2, 3, 8]),
            jump_permille: *draw.pick(&[0, 0, 2, 10]),
            back_percent: *draw.pick(&[0, 0, 0, 0, 3]),
        }
    }
}

impl Durations {
    fn draw(draw: &mut Draw) -> Durations {
        let few = |draw: &mut Draw, low: u32, high: u32| -> Vec<u32> {
            (0..draw.between(1, 3))
                .map(|_| draw.between_skewed(low, high))
                .collect()
        };
        Durations {
            ttl_percent: *draw.pick(&[0, 20, 50, 80, 100]),
            ttls: few(draw, 1, 60),
            wait_percent: *draw.pick(&[0, 10, 30, 60]),
            busy_percent: *draw.pick(&[0, 0, 5, 20]),
            waits: few(draw, 1, 40),
            abandons: few(draw, 0, 30),
        }
    }
}

impl Done {
    fn draw(draw: &mut Draw) -> Done {
        // The engine tidies its lists when more than 64 records in one are done with.
        let many = draw.chance(1, 4);
        Done {
            ended_min: if many { 70 } else { 1 },
            all_percent: if many { 100 } else { *draw.pick(&[0, 10, 50]) },
        }
    }
}

/// One of `counts` names: `first`, then `prefix2`, `prefix3`, ...
fn names(draw: &mut Draw, first: &str, prefix: &str, counts: &[u32]) -> Vec<Text> {
    let count = *draw.pick(counts);
    (1..=count)
        .map(|number| match number {
            1 => Text::from(first),
            _ => Text::from(format!("{prefix}{number}")),
        })
        .collect()
}

fn limits(draw: &mut Draw, unit: u32) -> LimitOverrides {
    let mut limits = LimitOverrides::default();
    if draw.chance(1, 2) {
        let retention = draw.between_skewed(0, 30) * unit;
        limits.retention = Some(DurationMs::new(u64::from(retention)).expect("it is below 2^32"));
    }
    if draw.chance(1, 4) {
        let mut limit = |low: u32, high: u32| {
            let value = draw.between(low, high);
            draw.chance(1, 3).then_some(value)
        };
        limits.claims_per_request = limit(1, 4);
        limits.segments_per_path = limit(1, 4);
        limits.bytes_per_segment = limit(1, 3);
        limits.queued_requests_per_path = limit(0, 4);
        limits.locks_per_owner = limit(1, 4);
        limits.sessions = limit(1, 3);
        limits.namespaces = limit(1, 2);
    }
    limits
}

/// When the limits change, in one plan in eight, and to what.
fn relimits(seed: u64, commands: u32, unit: u32) -> Vec<Relimit> {
    let mut draw = Draw::new(Profile::Engine, seed, Stream::Relimits);
    if !draw.chance(1, 8) {
        return Vec::new();
    }
    let mut relimits: Vec<Relimit> = (0..draw.between(1, 6))
        .map(|_| Relimit {
            after: draw.between(1, commands),
            limits: limits(&mut draw, unit),
        })
        .collect();
    relimits.sort_by_key(|relimit| relimit.after);
    if session_ends(seed).is_some() {
        let mut draw = Draw::new(Profile::Engine, seed, Stream::SessionEndsLater);
        for relimit in &mut relimits {
            relimit.limits.session_ends_per_ms = draw.chance(2, 3).then(|| few_ends(&mut draw));
        }
    }
    relimits
}

/// How many requests of an ending session go in one millisecond: in one plan in four so few that the end
/// takes its time.
fn session_ends(seed: u64) -> Option<NonZeroU32> {
    let mut draw = Draw::new(Profile::Engine, seed, Stream::SessionEnds);
    draw.chance(1, 4).then(|| few_ends(&mut draw))
}

fn few_ends(draw: &mut Draw) -> NonZeroU32 {
    let few = *draw.pick(&[1, 1, 2, 3, 4]);
    NonZeroU32::new(few).expect("it is not 0")
}

fn checks(seed: u64, commands: u32, large: bool) -> EngineChecks {
    let mut draw = Draw::new(Profile::Engine, seed, Stream::Check);
    EngineChecks {
        twin: draw.chance(1, 16),
        restore_every: if draw.chance(1, 32) {
            commands / draw.between(1, 5)
        } else {
            0
        },
        leak: !large && commands <= 400 && draw.chance(1, 30),
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tree = match self.tree.kind {
            TreeKind::Hot => "hot paths",
            TreeKind::Chain => "chain",
            TreeKind::Fan => "fan",
            TreeKind::Bushy => "bushy tree",
            TreeKind::LookAlikes => "look-alikes",
        };
        write!(
            f,
            "{tree} of {}, about {} live requests of up to {} claims, {} % write, {} % of sessions, \
             time in units of {} ms, {} namespace(s)",
            self.tree.len(),
            self.crowd,
            self.claims_max,
            self.write_percent,
            self.session_percent,
            self.times.unit,
            self.namespaces.len(),
        )
    }
}
