//! What a client is told of the locks of a session that it has resumed: in several messages, if there are many.

use crate::translate;
use lockwright_engine::{Engine, SessionCopy, SessionKey, TimeMs};
use lockwright_protocol::{LockStatus, Message, Seq, ServerFrame};
use std::sync::Arc;

/// The live requests of a session when it was resumed, in the order of their arrival.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resumed {
    /// The first ones.
    pub(crate) first: Vec<LockStatus>,
    /// All others, if there are any.
    pub(crate) rest: Option<Arc<Rest>>,
}

/// The live requests of a session but for the first ones. They are made into messages when these are sent, a part
/// at a time, so that nobody waits for all of it.
#[derive(Debug)]
pub(crate) struct Rest {
    copy: SessionCopy,
    /// The time at which it was resumed.
    at: TimeMs,
    /// How many one message has.
    each: usize,
}

impl Resumed {
    /// Those of a session that is open, `each` in a message.
    pub(crate) fn new(engine: &mut Engine, session: &SessionKey, each: usize) -> Resumed {
        assert!(each > 0, "a message has at least one");
        let at = engine.now();
        let mut locks = engine.session_locks(session);
        let first = locks.by_ref().take(each);
        let first = first.map(|lock| translate::status(&lock, at)).collect();
        let is_all = locks.next().is_none();
        drop(locks);
        let rest = match is_all {
            true => None,
            false => engine.session_copy(session),
        };
        let rest = rest.map(|copy| Arc::new(Rest { copy, at, each }));
        Resumed { first, rest }
    }
}

impl Rest {
    /// The messages that follow the first one, which is the answer to the request of this `seq`.
    pub(crate) fn frames(
        &self,
        seq: Option<Seq>,
        answer: &Message,
    ) -> impl Iterator<Item = String> {
        let Message::Resumed {
            idle_timeout_ms, ..
        } = *answer
        else {
            panic!("it follows a `resumed`, not {answer:?}")
        };
        let mut locks = self.copy.locks().skip(self.each).peekable();
        std::iter::from_fn(move || {
            locks.peek()?;
            let part = locks.by_ref().take(self.each);
            let part = part.map(|lock| translate::status(&lock, self.at)).collect();
            let message = Message::Resumed {
                idle_timeout_ms,
                locks: part,
                more: locks.peek().is_some(),
            };
            Some(ServerFrame { seq, message }.encode())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockwright_engine::{
        Claim, Command, DurationMs, EngineConfig, LockKey, Name, Owner, Path, Wait,
    };

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn session() -> SessionKey {
        SessionKey {
            namespace: name("default"),
            session: name("s1"),
        }
    }

    fn engine(locks: u32) -> Engine {
        let mut engine = Engine::new(EngineConfig::default());
        let mut apply = |command| engine.apply(TimeMs::ZERO, &command, &mut Vec::new());
        let abandon = DurationMs::from_secs(1);
        let session = session();
        apply(Command::OpenSession { session, abandon }).unwrap();
        for n in 0..locks {
            let lock = LockKey {
                namespace: name("default"),
                owner: Owner::Session(name("s1")),
                id: name(&format!("L{n}")),
            };
            apply(Command::Acquire {
                lock,
                claims: vec![Claim::write(Path::parse(format!("a/{n}")).unwrap())],
                ttl: None,
                wait: Wait::No,
            })
            .unwrap();
        }
        engine
    }

    /// The ids in each of the messages, and whether more are to come.
    fn parts(locks: u32, each: usize) -> Vec<(Vec<String>, bool)> {
        let mut engine = engine(locks);
        let Resumed { first, rest } = Resumed::new(&mut engine, &session(), each);
        // What happens then is not in it.
        let session = session();
        let closing = Command::CloseSession { session };
        engine
            .apply(TimeMs::ZERO, &closing, &mut Vec::new())
            .unwrap();
        let answer = Message::Resumed {
            idle_timeout_ms: DurationMs::from_secs(10),
            locks: first,
            more: rest.is_some(),
        };
        let rest: Vec<_> = rest
            .into_iter()
            .flat_map(|rest| rest.frames(Some(Seq(7)), &answer).collect::<Vec<_>>())
            .map(|text| ServerFrame::decode(&text).unwrap())
            .inspect(|frame| assert_eq!(frame.seq, Some(Seq(7))))
            .map(|frame| frame.message)
            .collect();
        let all = std::iter::once(answer).chain(rest);
        all.map(|message| match message {
            Message::Resumed { locks, more, .. } => {
                let ids = locks.iter().map(|lock| lock.id().to_string());
                (ids.collect(), more)
            }
            other => panic!("{other:?}"),
        })
        .collect()
    }

    #[test]
    fn many_locks_are_told_in_parts_and_none_is_left_out() {
        for (locks, each, sizes) in [
            (0, 2, vec![0]),
            (1, 2, vec![1]),
            (2, 2, vec![2]),
            (3, 2, vec![2, 1]),
            (4, 2, vec![2, 2]),
            (5, 2, vec![2, 2, 1]),
            (3, 1, vec![1, 1, 1]),
        ] {
            let parts = parts(locks, each);
            let ids: Vec<_> = parts.iter().flat_map(|(ids, _)| ids.clone()).collect();
            assert!(ids.into_iter().eq((0..locks).map(|n| format!("L{n}"))));
            let got: Vec<_> = parts.iter().map(|(ids, _)| ids.len()).collect();
            assert_eq!(got, sizes, "{locks} locks, {each} a message");
            let more: Vec<_> = parts.iter().map(|(_, more)| *more).collect();
            let last = more.len() - 1;
            assert!(more[..last].iter().all(|more| *more) && !more[last]);
        }
    }
}
