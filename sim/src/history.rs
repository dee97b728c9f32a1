//! The history of a run: everything that was asked and said, in order, as a fingerprint and
//! perhaps as text.

use crate::{
    crash_report,
    line::{Line, LineLock, Subject, What},
    op::{Action, Op, OpLock, OpOwner, OpWait},
    outcome::HistoryHash,
};
use siphasher::sip::SipHasher13;
use std::hash::Hasher as _;

/// Takes down what happens.
pub struct History {
    hasher: SipHasher13,
    bytes: Bytes,
    text: Option<Vec<String>>,
}

impl History {
    /// An empty one, which keeps the text too if `keep_text`.
    #[must_use]
    pub fn new(keep_text: bool) -> History {
        History {
            hasher: SipHasher13::new(),
            bytes: Bytes(Vec::with_capacity(512)),
            text: keep_text.then(Vec::new),
        }
    }

    /// Takes down a command and its lines.
    pub fn command(&mut self, op: &Op, lines: &[Line]) {
        self.bytes.0.clear();
        self.bytes.op(op);
        self.bytes.number(lines.len() as u64);
        for line in lines {
            self.bytes.line(line);
        }
        self.hasher.write(&self.bytes.0);
        if let Some(text) = &mut self.text {
            // Like a script with its expected output.
            let first = text.len();
            text.push(serde_json::to_string(op).unwrap_or_else(|error| error.to_string()));
            text.extend(lines.iter().map(|line| format!("#> {line}")));
            text[first..]
                .iter()
                .for_each(|line| crash_report::event(line));
        }
    }

    /// Takes down anything else.
    pub fn note(&mut self, text: &str) {
        self.bytes.0.clear();
        self.bytes.text(text);
        self.hasher.write(&self.bytes.0);
        crash_report::event(text);
        if let Some(lines) = &mut self.text {
            lines.push(format!("# {text}"));
        }
    }

    /// The fingerprint of all so far.
    #[must_use]
    pub fn hash(&self) -> HistoryHash {
        HistoryHash(self.hasher.finish())
    }

    /// The text, if it was kept.
    #[must_use]
    pub fn into_text(self) -> Option<Vec<String>> {
        self.text
    }
}

/// One way to write everything, in which no two histories are the same bytes: each variant has a
/// number, each text and list its length.
struct Bytes(Vec<u8>);

impl Bytes {
    fn tag(&mut self, tag: u8) {
        self.0.push(tag);
    }

    /// One byte for a small number, which most are; no small one looks like the start of a large.
    fn number(&mut self, number: u64) {
        match u8::try_from(number) {
            Ok(small @ 0..=0xfe) => self.0.push(small),
            _ => {
                self.0.push(0xff);
                self.0.extend_from_slice(&number.to_le_bytes());
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn maybe(&mut self, number: Option<u64>) {
        self.tag(u8::from(number.is_some()));
        self.number(number.unwrap_or(0));
    }

    fn owner(&mut self, owner: &OpOwner) {
        match owner {
            OpOwner::Named(name) => {
                self.tag(0);
                self.text(name);
            }
            OpOwner::Session(name) => {
                self.tag(1);
                self.text(name);
            }
        }
    }

    fn lock(&mut self, lock: &OpLock) {
        self.text(&lock.id);
        match &lock.owner {
            None => self.tag(2),
            Some(owner) => self.owner(owner),
        }
    }

    fn line_lock(&mut self, lock: &LineLock) {
        self.text(&lock.namespace);
        self.owner(&lock.owner);
        self.text(&lock.id);
    }

    fn op(&mut self, op: &Op) {
        self.number(op.at);
        self.tag(u8::from(op.namespace.is_some()));
        self.text(op.namespace.as_deref().unwrap_or(""));
        match &op.action {
            Action::Acquire {
                id,
                owner,
                claims,
                ttl,
                wait,
            } => {
                self.tag(0);
                self.text(id);
                self.owner(owner);
                self.number(claims.len() as u64);
                for claim in claims {
                    self.tag(u8::from(claim.write));
                    self.text(&claim.path);
                }
                self.maybe(*ttl);
                match wait {
                    OpWait::No => self.tag(0),
                    OpWait::For(ms) => {
                        self.tag(1);
                        self.number(*ms);
                    }
                    OpWait::Forever => self.tag(2),
                }
            }
            Action::Release { lock, token } => {
                self.tag(1);
                self.lock(lock);
                self.maybe(*token);
            }
            Action::Renew { lock, token, ttl } => {
                self.tag(2);
                self.lock(lock);
                self.maybe(*token);
                self.number(*ttl);
            }
            Action::Cancel { lock } => {
                self.tag(3);
                self.lock(lock);
            }
            Action::Break { lock, token } => {
                self.tag(4);
                self.lock(lock);
                self.maybe(*token);
            }
            Action::OpenSession { session, abandon } => {
                self.tag(5);
                self.text(session);
                self.number(*abandon);
            }
            Action::Attach { session } => {
                self.tag(6);
                self.text(session);
            }
            Action::Detach { session } => {
                self.tag(7);
                self.text(session);
            }
            Action::KeepAlive { session } => {
                self.tag(8);
                self.text(session);
            }
            Action::CloseSession { session } => {
                self.tag(9);
                self.text(session);
            }
            Action::Tick => self.tag(10),
            Action::Inspect { path } => {
                self.tag(11);
                self.text(path);
            }
            Action::Done { session, ids } => {
                self.tag(12);
                self.text(session);
                self.number(ids.len() as u64);
                ids.iter().for_each(|id| self.text(id));
            }
        }
    }

    fn line(&mut self, line: &Line) {
        self.number(line.at);
        match &line.what {
            What::Granted { lock, token } => {
                self.tag(0);
                self.line_lock(lock);
                self.number(*token);
            }
            What::Queued { lock } => {
                self.tag(1);
                self.line_lock(lock);
            }
            What::Refused { lock, error } => {
                self.tag(2);
                self.line_lock(lock);
                self.text(error);
            }
            What::Ended { lock, reason } => {
                self.tag(3);
                self.line_lock(lock);
                self.text(reason);
            }
            What::Renewed { lock, expires } => {
                self.tag(4);
                self.line_lock(lock);
                self.number(*expires);
            }
            What::Session {
                namespace,
                session,
                state,
            } => {
                self.tag(5);
                self.text(namespace);
                self.text(session);
                self.text(state);
            }
            What::Inspect { path, held, queued } => {
                self.tag(6);
                self.text(path);
                for list in [held, queued] {
                    self.number(list.len() as u64);
                    list.iter().for_each(|id| self.text(id));
                }
            }
            What::Error { op, subject, error } => {
                self.tag(7);
                self.text(op);
                match subject {
                    Subject::Lock(name) | Subject::Session(name) | Subject::Path(name) => {
                        self.text(name);
                    }
                }
                self.text(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(story: &[(&str, &[Line])]) -> HistoryHash {
        let mut history = History::new(false);
        for (op, lines) in story {
            history.command(&serde_json::from_str(op).unwrap(), lines);
        }
        history.hash()
    }

    #[test]
    fn every_difference_shows_in_the_fingerprint() {
        let tick = |at: u64| format!(r#"{{"at":{at},"op":"tick"}}"#);
        let line = |at| Line {
            at,
            what: What::Session {
                namespace: "default".into(),
                session: "s".into(),
                state: "ended",
            },
        };
        let stories = [
            hash_of(&[]),
            hash_of(&[(&tick(1), &[])]),
            hash_of(&[(&tick(255), &[])]),
            hash_of(&[(&tick(256), &[])]),
            hash_of(&[(&tick(1), &[line(1)])]),
            hash_of(&[(&tick(1), &[line(2)])]),
            hash_of(&[(&tick(1), &[line(1), line(1)])]),
            hash_of(&[(&tick(1), &[line(1)]), (&tick(1), &[])]),
            hash_of(&[(&tick(1), &[]), (&tick(1), &[line(1)])]),
        ];
        for (index, hash) in stories.iter().enumerate() {
            assert!(!stories[..index].contains(hash), "story {index}");
        }
        assert_eq!(hash_of(&[(&tick(1), &[line(1)])]), stories[4]);
    }
}
