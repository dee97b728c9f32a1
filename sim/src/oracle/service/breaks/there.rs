//! What is there, and what a question comes to when the engine comes to it.

use super::{Asked, OwnerKind, Question, Request, RequestKey};
use crate::{
    op::{OpClaim, Text},
    oracle::paths::covers,
};
use std::collections::{BTreeMap, BTreeSet};

/// The requests that live, and the sessions.
#[derive(Debug, Clone, Default)]
pub(super) struct There {
    requests: BTreeMap<RequestKey, (Vec<OpClaim>, Option<u64>)>,
    sessions: BTreeSet<(Text, Text)>,
    /// Requests that have ended: how is remembered for a while.
    ended: BTreeSet<RequestKey>,
}

/// What a question comes to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// These end.
    Ends(BTreeSet<Request>),
    /// The session ends.
    EndsSession,
    /// This token counts.
    Token(Option<u64>),
    /// Nothing is done.
    Refused(Text),
}

impl There {
    pub(super) fn lives(&mut self, request: &Request) {
        let Request { key, claims, token } = request;
        self.ended.remove(key);
        self.requests.insert(key.clone(), (claims.clone(), *token));
    }

    /// The request is over; gives what it was.
    pub(super) fn ends(&mut self, key: &RequestKey) -> Option<Request> {
        let (claims, token) = self.requests.remove(key)?;
        self.ended.insert(key.clone());
        let key = key.clone();
        Some(Request { key, claims, token })
    }

    pub(super) fn opens(&mut self, session: (Text, Text)) {
        self.sessions.insert(session);
    }

    pub(super) fn closes(&mut self, session: &(Text, Text)) {
        self.sessions.remove(session);
    }

    /// The requests of a session that live.
    pub(super) fn requests_of<'a>(
        &'a self,
        (namespace, session): &'a (Text, Text),
    ) -> impl Iterator<Item = Request> {
        let here = self.requests_in(namespace);
        let of_it = here
            .filter(move |(key, ..)| key.owner.0 == OwnerKind::Session && key.owner.1 == *session);
        of_it.map(|(key, claims, token)| Request {
            key: key.clone(),
            claims: claims.to_vec(),
            token,
        })
    }

    /// What a question comes to now.
    pub(super) fn comes_to(&self, question: &Question) -> Outcome {
        let namespace = &question.namespace;
        match &question.what {
            Asked::BreakAt { path, token } => self.at(namespace, path, *token),
            Asked::BreakOf {
                path,
                owner,
                id,
                token,
            } => self.of(namespace, path, owner, id.as_ref(), *token),
            Asked::EndSession { session } => {
                match self
                    .sessions
                    .contains(&(namespace.clone(), session.clone()))
                {
                    true => Outcome::EndsSession,
                    false => refused("unknown_session"),
                }
            }
            Asked::Fence { path } => {
                let here = self.requests_in(namespace);
                let here =
                    here.filter(|(_, claims, _)| claims.iter().any(|one| covers(&one.path, path)));
                Outcome::Token(here.filter_map(|(_, _, token)| token).max())
            }
        }
    }

    /// What it comes to when the ends of requests are forgotten, if that makes a difference.
    pub(super) fn comes_to_when_forgotten(&self, question: &Question) -> Option<Outcome> {
        let of_one = matches!(&question.what, Asked::BreakOf { id: Some(_), .. });
        let is_over = self.comes_to(question) == refused("not_held");
        (of_one && is_over).then(|| refused("unknown_lock"))
    }

    fn requests_in<'a>(
        &'a self,
        namespace: &'a Text,
    ) -> impl Iterator<Item = (&'a RequestKey, &'a [OpClaim], Option<u64>)> {
        let requests = self.requests.iter();
        let here = requests.filter(|(key, _)| key.namespace == *namespace);
        here.map(|(key, (claims, token))| (key, claims.as_slice(), *token))
    }

    /// What is held at exactly this path, by anybody.
    fn at(&self, namespace: &Text, path: &Text, token: Option<u64>) -> Outcome {
        let is_meant = |held: u64| token.is_none_or(|token| token == held);
        let held = self.requests_in(namespace).filter(|(_, claims, held)| {
            held.is_some_and(is_meant) && claims.iter().any(|claim| claim.path == *path)
        });
        let ends = whole(held);
        match ends.is_empty() {
            false => Outcome::Ends(ends),
            true if token.is_some() && self.is_held_around(namespace, path) => {
                refused("stale_token")
            }
            true => refused("not_held"),
        }
    }

    /// The requests of an owner that claim exactly this path.
    fn of(
        &self,
        namespace: &Text,
        path: &Text,
        owner: &(OwnerKind, Text),
        id: Option<&Text>,
        token: Option<u64>,
    ) -> Outcome {
        let here = || {
            self.requests_in(namespace).filter(|(key, claims, _)| {
                key.owner == *owner
                    && id.is_none_or(|id| key.id == *id)
                    && claims.iter().any(|claim| claim.path == *path)
            })
        };
        let ends = whole(here().filter(|(_, _, held)| token.is_none() || *held == token));
        let has_ended = id.is_some_and(|id| {
            self.ended.contains(&RequestKey {
                namespace: namespace.clone(),
                owner: owner.clone(),
                id: id.clone(),
            })
        });
        match ends.is_empty() {
            false => Outcome::Ends(ends),
            true if here().next().is_some() => refused("stale_token"),
            true if has_ended => refused("not_held"),
            true => refused("unknown_lock"),
        }
    }

    /// Whether something is held there, above or below.
    fn is_held_around(&self, namespace: &Text, path: &Text) -> bool {
        let overlaps = |claim: &OpClaim| covers(&claim.path, path) || covers(path, &claim.path);
        self.requests_in(namespace)
            .any(|(_, claims, held)| held.is_some() && claims.iter().any(overlaps))
    }
}

fn refused(code: &str) -> Outcome {
    Outcome::Refused(Text::from(code))
}

fn whole<'a>(
    requests: impl Iterator<Item = (&'a RequestKey, &'a [OpClaim], Option<u64>)>,
) -> BTreeSet<Request> {
    let whole = requests.map(|(key, claims, token)| Request {
        key: key.clone(),
        claims: claims.to_vec(),
        token,
    });
    whole.collect()
}
