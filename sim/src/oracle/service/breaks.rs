//! The answers to requests that break locks and end sessions are true, and nothing is broken that no operator asked for
//! (SEMANTICS sections 2 and 4, docs/http.md).
//!
//! **What is judged.** What a question comes to follows from what is there when the engine comes to it, and that
//! is after the question was asked and before it is answered. So each entry of the log that breaks something
//! must be, exactly, what one of the questions comes to that were asked by then, and of which it is not known
//! that they came to something else. An answer that says what was ended must name what one such entry
//! ended, as it was before; and one that says that nothing was there must be what the question came to at
//! some moment since it was asked.
//!
//! **The end of a session** may take a while: then only its first requests end with the entry that closes it. It is
//! over when that begins, so nobody can end it once more, and its end is what was live by then: what lives on is
//! not granted any more, and is named as it was. Until its turn comes it can be broken like anything else.
//!
//! **Who did it.** Several questions may come to the same, and one without an answer may be done at any time, or
//! never. It is done once: so there must be some way to give each entry a question of its own.

mod deeds;
mod there;

use super::{Client, Happening, ServiceOracle};
use crate::{
    op::{OpClaim, Text},
    oracle::Verdict,
};
use deeds::Deeds;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};
use there::{Outcome, There};

pub use super::watch::OwnerKind;

/// A request, by its namespace, owner and id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestKey {
    /// Its namespace.
    pub namespace: Text,
    /// Whose it is.
    pub owner: (OwnerKind, Text),
    /// Its id.
    pub id: Text,
}

impl fmt::Display for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} in {}", self.id, self.owner.1, self.namespace)
    }
}

/// A request that lives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// Which.
    pub key: RequestKey,
    /// What it claims, without what is covered, in the order of the paths.
    pub claims: Vec<OpClaim>,
    /// Its token, if it is held.
    pub token: Option<u64>,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)?;
        match self.token {
            Some(token) => write!(f, " with token {token}"),
            None => f.write_str(" that waits"),
        }
    }
}

/// Something that the engine did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A request waits, or is held.
    Lives(Request),
    /// A request ended.
    Ends {
        /// Which.
        key: RequestKey,
        /// How.
        reason: Text,
    },
    /// A session opens.
    SessionOpens {
        /// Its namespace.
        namespace: Text,
        /// Its name.
        session: Text,
    },
    /// A session is ended by a command, and not by the time.
    SessionCloses {
        /// Its namespace.
        namespace: Text,
        /// Its name.
        session: Text,
    },
    /// A session is over.
    SessionOver {
        /// Its namespace.
        namespace: Text,
        /// Its name.
        session: Text,
    },
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seen::Lives(request) => write!(f, "{request}"),
            Seen::Ends { key, reason } => write!(f, "{key} ends: {reason}"),
            Seen::SessionOpens { session, .. } => write!(f, "{session} opens"),
            Seen::SessionCloses { session, .. } => write!(f, "{session} is closed"),
            Seen::SessionOver { session, .. } => write!(f, "{session} is over"),
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// In which namespace.
    pub namespace: Text,
    /// What.
    pub what: Asked,
}

/// A question in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// To break what is held at a path.
    BreakAt {
        /// Exactly there.
        path: Text,
        /// Only the lock with this token.
        token: Option<u64>,
    },
    /// To end the requests of an owner, held and queued.
    BreakOf {
        /// Those that claim exactly this.
        path: Text,
        /// Whose.
        owner: (OwnerKind, Text),
        /// Only the one with this id.
        id: Option<Text>,
        /// Only one that is held with this token.
        token: Option<u64>,
    },
    /// To end a session.
    EndSession {
        /// Its name.
        session: Text,
    },
    /// Which token counts at a path.
    Fence {
        /// Where.
        path: Text,
    },
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = match &self.what {
            Asked::BreakAt { path, token } => {
                write!(f, "break what is held at {path}")?;
                *token
            }
            Asked::BreakOf {
                path,
                owner,
                id,
                token,
            } => {
                let id = id.as_deref().unwrap_or("all requests");
                write!(f, "end {id} of {} at {path}", owner.1)?;
                *token
            }
            Asked::EndSession { session } => {
                write!(f, "end the session {session}")?;
                None
            }
            Asked::Fence { path } => {
                write!(f, "be told the token that counts at {path}")?;
                None
            }
        };
        if let Some(token) = token {
            write!(f, " with token {token}")?;
        }
        write!(f, " in {}", self.namespace)
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These were broken.
    Broken {
        /// As they were before.
        requests: Vec<Request>,
        /// Whether there are more.
        more: bool,
    },
    /// The session is ended.
    SessionEnded {
        /// How many requests it had.
        count: u64,
        /// These.
        requests: Vec<Request>,
    },
    /// The token that counts.
    Token(Option<u64>),
    /// It is not done.
    Refused {
        /// The status.
        status: u16,
        /// The error code.
        code: Text,
        /// Whether it says that nothing was done for certain.
        is_undone: bool,
    },
    /// What is no answer.
    Odd(Text),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Broken { requests, more } => {
                let more = if *more { ", and there are more" } else { "" };
                write!(f, "broken: {}{more}", listed(requests))
            }
            Answer::SessionEnded { count, requests } => {
                write!(f, "ended, with {count} requests: {}", listed(requests))
            }
            Answer::Token(Some(token)) => write!(f, "{token}"),
            Answer::Token(None) => f.write_str("none"),
            Answer::Refused { status, code, .. } => write!(f, "{status} {code}"),
            Answer::Odd(what) => write!(f, "{what}"),
        }
    }
}

fn listed<'a>(requests: impl IntoIterator<Item = &'a Request>) -> String {
    let mut requests = requests.into_iter();
    let named = requests.by_ref().take(NAMED_MAX);
    let texts: Vec<String> = named.map(ToString::to_string).collect();
    let texts = texts.join(", ");
    match (texts.is_empty(), requests.count()) {
        (true, _) => "nothing".to_owned(),
        (false, 0) => texts,
        (false, others) => format!("{texts}, and {others} others"),
    }
}

/// Requests that are named in a text, at most.
const NAMED_MAX: usize = 5;

/// The code of who is no operator.
const UNAUTHORIZED: (u16, &str) = (401, "unauthorized");

/// The code of a server that cannot answer now.
const UNAVAILABLE: &str = "unavailable";

/// A question that waits for its answer.
#[derive(Debug)]
struct Waiting {
    host: usize,
    question: Question,
    is_allowed: bool,
    /// What it would have come to since it was asked, apart from ending something.
    nothing: BTreeSet<Outcome>,
}

/// The oracle.
#[derive(Debug, Default)]
pub struct Breaks {
    there: There,
    deeds: Deeds,
    /// Those that wait for an answer.
    waiting: BTreeMap<Text, Waiting>,
    /// What the entry that is applied now has done so far.
    entry: Entry,
    /// The sessions that an operator has ended.
    ended: BTreeSet<(Text, Text)>,
    /// Sessions whose client knows that it has them: they have asked for something.
    known: BTreeSet<(Text, Text)>,
    /// The client of each request, and of each session that has asked for something.
    clients: BTreeMap<Text, Client>,
    owners: BTreeMap<Text, Client>,
    /// Clients that close their sessions.
    closing: BTreeSet<Client>,
    /// Whether a server stops that waits for locks: it closes the sessions that hold none.
    is_draining: bool,
}

/// An entry of the log that is being applied.
#[derive(Debug, Default)]
struct Entry {
    index: u64,
    /// What it has broken.
    broken: BTreeSet<Request>,
    /// What was there before.
    before: Option<There>,
    /// The session that it closes.
    closes: Option<(Text, Text)>,
    /// The requests that ended with it at once.
    of_session: BTreeSet<Request>,
    /// Whether it did anything.
    is_new: bool,
}

impl Breaks {
    fn see_entry(&mut self, entry: u64, what: &Seen) -> Verdict {
        if entry != self.entry.index {
            self.settle()?;
            self.entry.index = entry;
        }
        self.entry.is_new = true;
        match what {
            Seen::Lives(request) => self.there.lives(request),
            Seen::Ends { key, reason } => {
                if &**reason == "broken" && self.entry.before.is_none() {
                    self.entry.before = Some(self.there.clone());
                }
                // What is not known was not seen to arrive, which other oracles judge.
                let Some(request) = self.there.ends(key) else {
                    return Ok(());
                };
                match &**reason {
                    "broken" => drop(self.entry.broken.insert(request)),
                    "session_ended" => {
                        let session = (key.namespace.clone(), key.owner.1.clone());
                        if self.entry.closes.as_ref() == Some(&session) {
                            self.entry.of_session.insert(request);
                        }
                        self.there.closes(&session);
                    }
                    _ => {}
                }
            }
            Seen::SessionOpens { namespace, session } => {
                let key = (namespace.clone(), session.clone());
                let is_ended =
                    self.ended.contains(&key) || self.entry.closes.as_ref() == Some(&key);
                // One that its client has not heard of yet is asked for again, and is a new one.
                if is_ended && self.known.contains(&key) {
                    return Err(format!(
                        "the session {session}, which an operator has ended, is open again"
                    ));
                }
                self.there.opens(key);
            }
            Seen::SessionCloses { namespace, session } => {
                self.entry.closes = Some((namespace.clone(), session.clone()));
            }
            Seen::SessionOver { namespace, session } => {
                self.there.closes(&(namespace.clone(), session.clone()));
            }
        }
        Ok(())
    }

    /// The entry is applied as a whole: what it did must be what was asked for, and what is there now is what
    /// questions may find.
    fn settle(&mut self) -> Verdict {
        let entry = std::mem::take(&mut self.entry);
        self.entry.index = entry.index;
        if !entry.is_new {
            return Ok(());
        }
        if let Some(before) = &entry.before {
            let open = self.deeds.open();
            let by = open.filter(|(_, question)| match before.comes_to(question) {
                Outcome::Ends(ended) => ended == entry.broken,
                _ => false,
            });
            let by: BTreeSet<Text> = by.map(|(ask, _)| ask.clone()).collect();
            self.deeds.did(entry.broken, by)?;
        }
        if let Some(session) = entry.closes {
            let mut with = entry.of_session;
            with.extend(self.there.requests_of(&session));
            self.closed(session, with)?;
        }
        for waiting in self.waiting.values_mut() {
            waiting.look(&self.there);
        }
        Ok(())
    }

    /// A command has closed a session: that of its client, of a server that stops, or of an operator.
    fn closed(&mut self, (namespace, session): (Text, Text), with: BTreeSet<Request>) -> Verdict {
        let question = Question {
            namespace: namespace.clone(),
            what: Asked::EndSession {
                session: session.clone(),
            },
        };
        let open = self.deeds.open().filter(|(_, other)| **other == question);
        let by: BTreeSet<Text> = open.map(|(ask, _)| ask.clone()).collect();
        let by_its_client = match self.owners.get(&session) {
            Some(client) => self.closing.contains(client),
            None => !self.closing.is_empty(),
        };
        let holds_none = with.iter().all(|request| request.token.is_none());
        let may_be_its_own = by_its_client || (self.is_draining && holds_none);
        if !may_be_its_own {
            self.ended.insert((namespace, session.clone()));
        }
        self.deeds.closed(&session, with, by, may_be_its_own)
    }

    fn asked(&mut self, ask: &Text, host: usize, question: &Question, by_operator: bool) {
        let is_allowed = by_operator || matches!(question.what, Asked::Fence { .. });
        let mut waiting = Waiting {
            host,
            question: question.clone(),
            is_allowed,
            nothing: BTreeSet::new(),
        };
        waiting.look(&self.there);
        self.waiting.insert(ask.clone(), waiting);
        if is_allowed {
            self.deeds.asked(ask, question);
        }
    }

    fn answered(&mut self, ask: &Text, answer: &Answer) -> Verdict {
        let Some(waiting) = self.waiting.remove(ask) else {
            return Err("it has not asked, or was answered before".to_owned());
        };
        let is_unavailable =
            matches!(answer, Answer::Refused { code, .. } if &**code == UNAVAILABLE);
        if !waiting.is_allowed {
            let is_refused = matches!(answer, Answer::Refused { status, code, .. }
                if (*status, &**code) == UNAUTHORIZED);
            return match is_refused || is_unavailable {
                true => Ok(()),
                false => Err("it is no operator".to_owned()),
            };
        }
        match answer {
            Answer::Refused { is_undone, .. } if is_unavailable => match is_undone {
                true => self.deeds.came_to_nothing(ask),
                false => Ok(()),
            },
            Answer::Refused { code, .. } => {
                waiting.may_come_to(&Outcome::Refused(code.clone()))?;
                self.deeds.came_to_nothing(ask)
            }
            Answer::Token(token) => {
                waiting.may_come_to(&Outcome::Token(*token))?;
                self.deeds.came_to_nothing(ask)
            }
            Answer::Broken { more: true, .. } => Err("there is no more than one answer".to_owned()),
            Answer::Broken { requests, .. } => self.deeds.came_to(ask, requests, None),
            Answer::SessionEnded { count, requests } => {
                if usize::try_from(*count) != Ok(requests.len()) {
                    return Err("it does not name as many".to_owned());
                }
                let Asked::EndSession { session } = &waiting.question.what else {
                    return Err("it asked for no session".to_owned());
                };
                let key = (waiting.question.namespace.clone(), session.clone());
                self.ended.insert(key);
                self.deeds.came_to(ask, requests, Some(session))
            }
            Answer::Odd(_) => Err("that is no answer".to_owned()),
        }
    }
}

impl Waiting {
    /// What is there now may be what it finds.
    fn look(&mut self, there: &There) {
        match there.comes_to(&self.question) {
            Outcome::Ends(_) => {}
            nothing => drop(self.nothing.insert(nothing)),
        }
        // How a request ended is not remembered for ever.
        if let Some(other) = there.comes_to_when_forgotten(&self.question) {
            self.nothing.insert(other);
        }
    }

    fn may_come_to(&self, outcome: &Outcome) -> Verdict {
        match self.nothing.contains(outcome) {
            true => Ok(()),
            false => Err(format!(
                "since it was asked it never came to that, but to {:?}, or to an end",
                self.nothing
            )),
        }
    }
}

impl ServiceOracle for Breaks {
    fn name(&self) -> &'static str {
        "breaks"
    }

    fn rule(&self) -> &'static str {
        "docs/http.md: a break ends what it means and says so, and nothing ends as broken that no operator asked for"
    }

    fn see(&mut self, _now: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::Seen { entry, what } => self.see_entry(*entry, what)?,
            Happening::BreakAsked {
                ask,
                host,
                question,
                by_operator,
            } => {
                self.settle()?;
                self.asked(ask, *host, question, *by_operator);
            }
            Happening::BreakAnswered { ask, answer } => {
                self.settle()?;
                let asked = self.waiting.get(ask);
                let question = asked.map_or_else(String::new, |one| one.question.to_string());
                self.answered(ask, answer).map_err(|why| {
                    format!("{ask}, who asked to {question}, is answered: {answer}: {why}")
                })?;
            }
            Happening::BreakGone { ask } => drop(self.waiting.remove(ask)),
            Happening::HostDown { host } => self.waiting.retain(|_, one| one.host != *host),
            Happening::ServerDown => {
                self.settle()?;
                self.there = There::default();
                for waiting in self.waiting.values_mut() {
                    waiting.look(&self.there);
                }
            }
            Happening::Asked { id, client, .. } => {
                self.clients.insert(id.clone(), *client);
            }
            Happening::Applied {
                id,
                session,
                wanted,
            } => {
                if let Some(client) = self.clients.get(id) {
                    self.owners.insert(session.clone(), *client);
                }
                self.known
                    .insert((wanted.namespace.clone(), session.clone()));
            }
            // Each is judged by what was so when it was done.
            Happening::Closing { client } => {
                self.settle()?;
                self.closing.insert(*client);
            }
            Happening::Drains { .. } => {
                self.settle()?;
                self.is_draining = true;
            }
            Happening::ServerUp { .. } | Happening::ServerBack { .. } => {
                self.settle()?;
                self.is_draining = false;
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
