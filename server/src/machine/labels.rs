//! What people are told of sessions and requests: the labels, and how much of them there may be.

use super::{Machine, Step, shared_map::SharedMap};
use crate::translate;
use lockwright_engine::{Command, LockInfo, LockKey, LockState, Refusal, Reply, SessionKey};
use lockwright_protocol::Label;

/// Bytes of all labels together. They are kept in memory and in each snapshot; what comes when there are so
/// many is not.
const BYTES_IN_ALL_MAX: usize = 256 << 20;

/// A live request, or one as it was before it ended, and what people are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Labelled {
    pub(crate) lock: LockInfo,
    /// Its own label, or that of its session.
    pub(crate) label: Option<Label>,
}

/// The labels of live requests that have one of their own.
#[derive(Debug, Default)]
pub(super) struct Labels {
    requests: SharedMap<LockKey, Label>,
    /// Bytes of these and of the labels of sessions.
    bytes: usize,
}

impl Labels {
    /// Those of requests, with those of sessions that are kept elsewhere.
    pub(super) fn new<'a>(
        requests: SharedMap<LockKey, Label>,
        sessions: impl Iterator<Item = &'a Label>,
    ) -> Labels {
        let of_sessions: usize = sessions.map(bytes).sum();
        let of_requests: usize = requests.iter().map(|(_, label)| bytes(label)).sum();
        Labels {
            requests,
            bytes: of_sessions + of_requests,
        }
    }

    pub(super) fn requests(&self) -> &SharedMap<LockKey, Label> {
        &self.requests
    }

    fn has_room_for(&self, label: &Label) -> bool {
        self.bytes + bytes(label) <= BYTES_IN_ALL_MAX
    }

    fn put(&mut self, lock: &LockKey, label: &Label) {
        self.count(Some(label));
        let before = self.requests.insert(lock.clone(), label.clone());
        assert!(before.is_none(), "a request gets its label once");
    }

    /// A request has ended.
    pub(super) fn forget(&mut self, lock: &LockKey) {
        let label = self.requests.remove(lock);
        self.uncount(label.as_ref());
    }

    /// A session has this label from now on.
    pub(super) fn count(&mut self, label: Option<&Label>) {
        self.bytes += label.map_or(0, bytes);
    }

    /// A session with this label has ended.
    pub(super) fn uncount(&mut self, label: Option<&Label>) {
        let left = self.bytes.checked_sub(label.map_or(0, bytes));
        self.bytes = left.expect("what goes was counted");
    }
}

fn bytes(label: &Label) -> usize {
    label.as_str().len()
}

impl Machine {
    /// What people are told of a live request: its own label, or that of its session.
    pub(crate) fn label(&self, lock: &LockKey) -> Option<&Label> {
        let own = self.labels.requests.get(lock);
        own.or_else(|| self.session_label(&translate::session_of(lock)?))
    }

    /// What people are told of an open session.
    pub(crate) fn session_label(&self, session: &SessionKey) -> Option<&Label> {
        self.sessions.get(session)?.label.as_ref()
    }

    /// A request with its label.
    pub(crate) fn labelled(&self, lock: LockInfo) -> Labelled {
        let label = self.label(&lock.key).cloned();
        Labelled { lock, label }
    }
}

impl Step<'_> {
    /// Applies a command; a request that it makes gets the label, if there is room for it.
    pub(super) fn run_labelled(
        &mut self,
        command: &Command,
        label: Option<&Label>,
    ) -> Result<Reply, Refusal> {
        let (Some(label), Command::Acquire { lock, .. }) = (label, command) else {
            return self.run(command);
        };
        let label = self.kept(label);
        let result = self.run(command);
        if let (
            Ok(Reply::Acquired {
                fresh: true, state, ..
            }),
            Some(label),
        ) = (&result, label)
        {
            assert!(
                !matches!(state, LockState::Ended { .. }),
                "a new request lives"
            );
            self.machine.labels.put(lock, label);
        }
        result
    }

    /// One more label, if there is room for it. A label is a courtesy: what it is for goes on without it.
    pub(super) fn kept<'a>(&mut self, label: &'a Label) -> Option<&'a Label> {
        if !self.machine.labels.has_room_for(label) {
            // What is due may end some.
            self.pass_time();
        }
        self.machine.labels.has_room_for(label).then_some(label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proposal::{Action, Attachment, DiskId, Origin, Proposal, SecretHash};
    use lockwright_engine::{Claim, DurationMs, Name, Owner, Path, TimeMs, Wait};
    use lockwright_protocol::Secret;
    use std::sync::Arc;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn key(owner: Owner, id: &str) -> LockKey {
        LockKey {
            namespace: name("n"),
            owner,
            id: name(id),
        }
    }

    fn acquire(lock: &LockKey) -> Command {
        Command::Acquire {
            lock: lock.clone(),
            claims: vec![Claim::write(Path::parse(lock.id.as_str()).unwrap())],
            ttl: None,
            wait: Wait::No,
        }
    }

    #[test]
    fn what_a_label_has_no_room_for_is_done_without_it_at_every_door() {
        let mut machine = Machine::new(crate::machine::Setup::without_probe());
        let mut index = 0;
        let mut apply = |machine: &mut Machine, action| {
            let proposal = Proposal {
                at: TimeMs::ZERO,
                term: 1,
                origin: Some(Origin {
                    node: 1,
                    incarnation: 1,
                    number: index,
                }),
                action: Arc::new(action),
            };
            index += 1;
            let applied = machine.apply(index, 1, &proposal).unwrap();
            applied.unwrap().result.unwrap()
        };
        apply(&mut machine, Action::Join { disk: DiskId(1) });
        let long = Some(Label::new("longer").unwrap());
        let short = Some(Label::new("short").unwrap());
        machine.labels.bytes = BYTES_IN_ALL_MAX - 2 * bytes(short.as_ref().unwrap());

        let session = SessionKey {
            namespace: name("n"),
            session: name("s"),
        };
        let open = |label| Action::Open {
            session: session.clone(),
            secret: SecretHash::of(Secret::new("0123456789abcdef").unwrap()),
            abandon: DurationMs::ZERO,
            label,
        };
        let owner = || Owner::Session(name("s"));
        let ask = |lock: &LockKey, label, attachment| Action::Ask {
            session: session.clone(),
            attachment: Attachment(attachment),
            command: acquire(lock),
            label,
        };
        let call = |lock: &LockKey, label| Action::Call {
            command: acquire(lock),
            label,
        };

        apply(&mut machine, open(short.clone()));
        let named = key(Owner::Named(name("h")), "1");
        apply(&mut machine, call(&named, short.clone()));
        assert_eq!(machine.label(&named), short.as_ref());
        assert_eq!(machine.labels.bytes, BYTES_IN_ALL_MAX, "all is taken");

        let (asked, called) = (key(owner(), "2"), key(Owner::Named(name("h")), "3"));
        apply(&mut machine, ask(&asked, long.clone(), 2));
        assert_eq!(machine.label(&asked), short.as_ref(), "that of its session");
        apply(&mut machine, call(&called, long.clone()));
        assert_eq!(machine.label(&called), None);
        let close = Command::CloseSession {
            session: session.clone(),
        };
        apply(
            &mut machine,
            Action::Call {
                command: close,
                label: None,
            },
        );
        apply(&mut machine, open(long.clone()));
        assert_eq!(machine.session_label(&session), None);
        // There is room again for what is as short as the one that has gone.
        let again = key(Owner::Named(name("h")), "4");
        apply(&mut machine, call(&again, short.clone()));
        assert_eq!(machine.label(&again), short.as_ref());
        assert_eq!(machine.labels.bytes, BYTES_IN_ALL_MAX);
    }
}
