//! The locks of a path are a register that all clients and readers see change in one order, which
//! agrees with the order of what they asked and were answered (SEMANTICS section 7.5). `reads`,
//! `real_time_order` and `replica_agreement` say why that must be so; this one is told nothing of
//! why, and looks for the order itself, with the tester of `stateright`.
//!
//! **What is judged.** The requests of a run that claim one path, or a path above it: the one that
//! is claimed most, where somebody looks if anybody does. Any two of them conflict unless both read,
//! and what they do to other paths does not matter to the rule. Each history is a sample: any part of the
//! requests must have an order of its own, and so must any part of the looks, which change nothing.
//!
//! **Who says what.** A request takes effect between being asked and being answered as granted; one
//! whose answer never came is left open, and may do so at any time after it was asked. A release
//! that was answered shows that the lock is over, a renewal that it is held, a look what is held.
//! What was not answered shows nothing. Ends are what clients cannot know of: leases run out and
//! sessions end inside the cluster. So they are operations of the cluster, each from the moment at which
//! somebody first had its entry in a log to the moment at which somebody first applied it: nobody
//! can have felt it sooner, and a majority has agreed on it by then, so that everybody who asks later must
//! feel it. That is so whatever clocks and leases are, and needs no bound on either.
//!
//! **How much.** The search for an order is exponential. A window has up to 8 looks, one after the
//! other, and up to 6 locks (`LOOKS`, `LOCKS`), so that at most 6 changes and what was looked at meanwhile
//! are in flight at once; looks and other observations are tried before what changes something, since to
//! place them early is never wrong; and the tokens say in which order grants come. A window that takes
//! more than `STEPS` steps is halved until it does not. Of the windows of a run about `WINDOWS` are
//! judged, spread evenly.

mod window;

use super::{Call, Happening, HttpAnswer, News, ServiceOracle, Wanted, in_ms};
use crate::{
    op::{OpClaim, Text},
    oracle::{Verdict, paths::covers},
    plan::ServicePlan,
};
use lockwright_server::RaftEvent;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};
use window::Window;

/// How many looks a window has at most.
const LOOKS: usize = 8;
/// How many locks a window has at most.
const LOCKS: usize = 6;
/// How many windows of a run are judged, about.
const WINDOWS: u64 = 6;

/// The oracle.
#[derive(Debug)]
pub struct Linearizability {
    focus: Option<Focus>,
    /// One window in so many is judged.
    every: u64,
    windows: u64,
    now: Moment,
    /// The entry that is applied now.
    index: u64,
    /// When somebody had it in a log for the first time.
    appended: Moment,
    /// The same of the entries that nobody has applied.
    ahead: BTreeMap<u64, Moment>,
    /// The requests that claim the path.
    requests: BTreeMap<Text, Request>,
    /// Their locks, by token.
    locks: BTreeMap<u64, Lock>,
    /// When those asked who look now.
    looking: BTreeMap<Text, Moment>,
    /// What is to be judged.
    looks: Vec<Look>,
    /// How many grants are to be judged.
    grants: usize,
}

/// Which locks are judged.
#[derive(Debug)]
struct Focus {
    namespace: Text,
    path: Text,
}

/// A happening's place among all of them, and its time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Moment {
    number: u64,
    at: Duration,
}

/// From being asked to being answered.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: Moment,
    /// None: it never was.
    to: Option<Moment>,
}

#[derive(Debug)]
struct Request {
    writes: bool,
    asked: Moment,
    /// How often it was asked without an answer yet.
    open: u32,
    /// Since when there has always been one of those.
    since: Moment,
    /// The lock that it got last.
    token: Option<u64>,
    /// Its client has asked for these.
    renews: Option<Moment>,
    releases: Option<Moment>,
    /// It was granted to two sessions of its client at once: nobody can tell what is said of which.
    is_ambiguous: bool,
    /// The session that it came in last, and whether its end has begun: a release is done then for its client, and
    /// the lock ends when its turn comes.
    session: Option<Text>,
    is_over: bool,
}

#[derive(Debug, Clone)]
struct Lock {
    id: Text,
    writes: bool,
    asked: Moment,
    /// Its client was answered that it is granted.
    granted: Vec<Span>,
    renewed: Vec<Span>,
    released: Option<Span>,
    ended: Option<Span>,
}

#[derive(Debug, Clone)]
struct Look {
    name: Text,
    span: Span,
    tokens: Vec<u64>,
}

impl Linearizability {
    /// For a plan's world.
    #[must_use]
    pub fn new(plan: &ServicePlan) -> Linearizability {
        let focus = Focus::of(plan);
        let windows: u64 = focus.iter().map(|focus| focus.windows(plan)).sum();
        Linearizability {
            focus,
            every: windows.div_ceil(WINDOWS).max(1),
            windows: plan.seed,
            now: Moment::default(),
            index: 0,
            appended: Moment::default(),
            ahead: BTreeMap::new(),
            requests: BTreeMap::new(),
            locks: BTreeMap::new(),
            looking: BTreeMap::new(),
            looks: Vec::new(),
            grants: 0,
        }
    }

    fn asked(&mut self, id: &Text, wanted: &Wanted) {
        let Some(focus) = &self.focus else {
            return;
        };
        if *wanted.namespace != *focus.namespace {
            return;
        }
        let Some(writes) = focus.claims(&wanted.claims) else {
            return;
        };
        let now = self.now;
        let request = self.requests.entry(id.clone());
        let request = request.or_insert(Request {
            writes,
            asked: now,
            open: 0,
            since: now,
            token: None,
            renews: None,
            releases: None,
            is_ambiguous: false,
            session: None,
            is_over: false,
        });
        if request.open == 0 {
            request.since = now;
        }
        request.open += 1;
    }

    /// One who asked has no answer, and will not have one.
    fn gone(&mut self, id: &Text) {
        if let Some(request) = self.requests.get_mut(id) {
            request.open = request.open.saturating_sub(1);
        }
    }

    /// The client is answered that its request is granted.
    fn told(&mut self, id: &Text, token: u64) {
        let Some(request) = self.requests.get(id) else {
            return;
        };
        let (from, to) = (request.since, Some(self.now));
        if let Some(lock) = self.locks.get_mut(&token)
            && lock.id == *id
        {
            lock.granted.push(Span { from, to });
        }
    }

    fn called(&mut self, id: &Text, call: Call) {
        let Some(request) = self.requests.get_mut(id) else {
            return;
        };
        match call {
            // Who asks again may have been heard the first time.
            Call::Renew { .. } => drop(request.renews.get_or_insert(self.now)),
            Call::Release => drop(request.releases.get_or_insert(self.now)),
            Call::Cancel => {}
        }
    }

    fn done(&mut self, id: &Text, call: Call, is_error: bool) {
        let Some(request) = self.requests.get_mut(id) else {
            return;
        };
        let from = match call {
            Call::Renew { .. } => request.renews.take(),
            Call::Release => request.releases.take(),
            Call::Cancel => None,
        };
        let is_over = request.is_over;
        let lock = request.token.and_then(|token| self.locks.get_mut(&token));
        let (Some(from), Some(lock), false) = (from, lock, is_error) else {
            return;
        };
        let to = Some(self.now);
        match call {
            Call::Release if is_over && lock.ended.is_none() => {}
            Call::Release => drop(lock.released.get_or_insert(Span { from, to })),
            _ => lock.renewed.push(Span { from, to }),
        }
    }

    /// The cluster has granted a request.
    fn granted(&mut self, id: &Text, token: u64) {
        let Some(request) = self.requests.get_mut(id) else {
            return;
        };
        let before = request.token.replace(token);
        let before = before.and_then(|before| Some((before, self.locks.get(&before)?)));
        if let Some((before, lock)) = before
            && lock.ended.is_none()
        {
            request.is_ambiguous = true;
            self.locks.remove(&before);
        }
        if request.is_ambiguous {
            return;
        }
        self.grants += 1;
        self.locks.insert(
            token,
            Lock {
                id: id.clone(),
                writes: request.writes,
                asked: request.asked,
                granted: Vec::new(),
                renewed: Vec::new(),
                released: None,
                ended: None,
            },
        );
    }

    /// The cluster has ended a request.
    fn ended(&mut self, id: &Text) {
        let token = self.requests.get(id).and_then(|request| request.token);
        let lock = token.and_then(|token| self.locks.get_mut(&token));
        if let Some(lock) = lock {
            let (from, to) = (self.appended, Some(self.now));
            lock.ended.get_or_insert(Span { from, to });
        }
    }

    fn looked(&mut self, look: &Text, namespace: &Text, tokens: &[u64]) {
        let from = self.looking.remove(look);
        let focus = self.focus.as_ref();
        let is_here = focus.is_some_and(|focus| focus.namespace == *namespace);
        let (Some(from), true) = (from, is_here) else {
            return;
        };
        let tokens = tokens.iter().copied();
        let to = Some(self.now);
        self.looks.push(Look {
            name: look.clone(),
            span: Span { from, to },
            tokens: tokens.filter(|one| self.locks.contains_key(one)).collect(),
        });
    }

    fn entry(&mut self, index: u64) {
        if index <= self.index {
            return;
        }
        self.index = index;
        self.appended = self.ahead.get(&index).copied().unwrap_or_default();
        self.ahead = self.ahead.split_off(&(index + 1));
    }

    /// Judges what there is, if it is the turn of this window.
    fn judge(&mut self) -> Verdict {
        let looks = std::mem::take(&mut self.looks);
        let grants = std::mem::take(&mut self.grants);
        if looks.is_empty() && grants == 0 {
            return Ok(());
        }
        self.windows = self.windows.wrapping_add(1);
        if !self.windows.is_multiple_of(self.every) {
            return Ok(());
        }
        self.judge_window(&looks)
    }

    fn judge_window(&self, looks: &[Look]) -> Verdict {
        let window = self.window(looks);
        match window.has_order() {
            Some(true) => Ok(()),
            Some(false) => Err(window.shrunk().story()),
            // One look alone is among few locks.
            None if looks.len() < 2 => Ok(()),
            None => {
                let (first, second) = looks.split_at(looks.len() / 2);
                self.judge_window(first)?;
                self.judge_window(second)
            }
        }
    }

    /// The looks, and the locks that they saw or that were the last.
    fn window(&self, looks: &[Look]) -> Window {
        let seen: BTreeSet<u64> = looks.iter().flat_map(|look| look.tokens.clone()).collect();
        let latest = self.locks.keys().rev().copied();
        // Those seen that are over for longest should not be there at all.
        let tokens = seen.iter().copied().take(LOCKS - 1);
        let mut tokens: BTreeSet<u64> = tokens.collect();
        for token in latest {
            if tokens.len() == LOCKS {
                break;
            }
            tokens.insert(token);
        }
        let locks = tokens.into_iter();
        let locks = locks.filter_map(|token| Some((token, self.locks.get(&token)?.clone())));
        Window {
            locks: locks.collect(),
            looks: looks.to_vec(),
        }
    }
}

impl Focus {
    /// The path that is claimed most, where somebody looks if anybody does.
    fn of(plan: &ServicePlan) -> Option<Focus> {
        let readers = plan.cluster.iter().flat_map(|cluster| &cluster.readers);
        let looked_at: BTreeSet<&Text> = readers.map(|reader| &reader.namespace).collect();
        let of_clients = plan.clients.iter().flat_map(|client| {
            let attempts = client.attempts.iter();
            attempts.map(|attempt| (&client.namespace, &attempt.claims))
        });
        let of_http = plan.http.iter().map(|one| (&one.namespace, &one.claims));
        let mut wanted: BTreeMap<(&Text, &Text), u32> = BTreeMap::new();
        for (namespace, claims) in of_clients.chain(of_http) {
            for claim in claims {
                *wanted.entry((namespace, &claim.path)).or_default() += 1;
            }
        }
        let most = wanted
            .into_iter()
            .max_by_key(|((namespace, _), times)| (looked_at.contains(namespace), *times));
        most.map(|((namespace, path), _)| Focus {
            namespace: namespace.clone(),
            path: path.clone(),
        })
    }

    /// Whether these claim the path, and then whether it is to write.
    fn claims(&self, claims: &[OpClaim]) -> Option<bool> {
        let claims = claims.iter();
        let here = claims.filter(|claim| covers(&claim.path, &self.path));
        here.map(|claim| claim.write).max()
    }

    /// How many windows there will be at most.
    fn windows(&self, plan: &ServicePlan) -> u64 {
        let readers = plan.cluster.iter().flat_map(|cluster| &cluster.readers);
        let here = readers.filter(|reader| reader.namespace == self.namespace);
        let looks: u64 = here.map(|reader| u64::from(reader.times)).sum();
        let clients = plan.clients.iter();
        let clients = clients.filter(|client| client.namespace == self.namespace);
        let of_clients = clients.flat_map(|client| &client.attempts);
        let of_clients = of_clients.filter(|one| self.claims(&one.claims).is_some());
        let of_http = plan
            .http
            .iter()
            .filter(|one| one.namespace == self.namespace && self.claims(&one.claims).is_some());
        let grants = of_clients.count() + of_http.count();
        let of = |things: u64, size: usize| things / u64::try_from(size).expect("it is small");
        of(looks, LOOKS) + of(u64::try_from(grants).expect("they are few"), LOCKS - 1)
    }
}

impl ServiceOracle for Linearizability {
    fn name(&self) -> &'static str {
        "linearizability"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 7.5 durability: one order of all that happens to a path explains all answers"
    }

    fn see(&mut self, now: Duration, happening: &Happening) -> Verdict {
        self.now = Moment {
            number: self.now.number + 1,
            at: now,
        };
        match happening {
            Happening::Raft {
                event: RaftEvent::Appended { index, .. },
                ..
            } if *index > self.index => {
                self.ahead.entry(*index).or_insert(self.now);
            }
            Happening::Entry { index } => self.entry(*index),
            Happening::Asked { id, wanted, .. } | Happening::HttpAsked { id, wanted, .. } => {
                self.asked(id, wanted);
            }
            Happening::Told {
                id,
                news: News::Granted { token },
            } => self.told(id, *token),
            Happening::HttpAnswered { id, answer } => {
                if let HttpAnswer::Granted { token, .. } = answer {
                    self.told(id, *token);
                }
                self.gone(id);
            }
            Happening::HttpGone { id } => self.gone(id),
            Happening::Called { id, call } | Happening::HttpCalled { id, call, .. } => {
                self.called(id, *call);
            }
            Happening::Answered { id, call, error } => self.done(id, *call, error.is_some()),
            Happening::HttpDone {
                id, call, error, ..
            } => self.done(id, *call, error.is_some()),
            Happening::Applied { id, session, .. } => {
                if let Some(request) = self.requests.get_mut(id)
                    && request.session.as_ref() != Some(session)
                {
                    request.session = Some(session.clone());
                    request.is_over = false;
                }
            }
            Happening::EndBegins { session } => {
                let requests = self.requests.values_mut();
                let of_it = requests.filter(|one| one.session.as_ref() == Some(session));
                of_it.for_each(|one| one.is_over = true);
            }
            Happening::Granted { id, token } => self.granted(id, *token),
            Happening::Ended { id, .. } => self.ended(id),
            Happening::LookAsked { look } => drop(self.looking.insert(look.clone(), self.now)),
            Happening::Looked {
                look,
                namespace,
                tokens,
            } => self.looked(look, namespace, tokens),
            Happening::Healed | Happening::Closed { .. } => return self.judge(),
            _ => {}
        }
        // The lock before them is to be there, too.
        if self.looks.len() == LOOKS || self.grants == LOCKS - 1 {
            return self.judge();
        }
        Ok(())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} ms", in_ms(self.from.at))?;
        match self.to {
            Some(to) => write!(f, " to {} ms", in_ms(to.at)),
            None => f.write_str(" on"),
        }
    }
}

#[cfg(test)]
mod tests;
