//! What a client is told of the locks of a session that it has resumed: in several messages, if there are many.

use crate::{replica::Owed, session_endpoint::let_others_go_first, translate};
use lockwright_engine::{DurationMs, Engine, SessionCopy, SessionKey, TimeMs};
use lockwright_env::Env;
use lockwright_protocol::{LockStatus, Message, Seq, ServerFrame};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};

/// So many messages' worth of locks are listed at once. Of a session with more the state is copied, which costs as
/// much as to look at some thousands of them.
const LISTED_PARTS: usize = 4;

/// After so many locks of such lists, of all sessions together, others are served.
const LOCKS_AT_ONCE: usize = 1000;

/// The live requests of a session when it was resumed, in the order of their arrival.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resumed {
    /// The first ones.
    pub(crate) first: Vec<LockStatus>,
    /// All others, if there are any.
    pub(crate) rest: Option<Arc<Rest>>,
}

/// The live requests of a session but for the first ones.
#[derive(Debug)]
pub(crate) struct Rest {
    locks: Locks,
    /// How many one message has.
    each: usize,
}

#[derive(Debug)]
enum Locks {
    Listed(Vec<LockStatus>),
    /// All of them, the first ones too, and the time at which it was resumed.
    Copied(SessionCopy, TimeMs),
}

/// The messages that follow the first one, as they are made: not only when they are read, since until then more is
/// kept than themselves.
pub(crate) struct Following {
    parts: mpsc::UnboundedReceiver<String>,
    /// The answer is owed until its last part is written.
    _owed: Option<Arc<Owed>>,
}

impl Resumed {
    /// Those of a session that is open, `each` in a message.
    pub(crate) fn new(engine: &mut Engine, session: &SessionKey, each: usize) -> Resumed {
        assert!(each > 0, "a message has at least one");
        let at = engine.now();
        let mut locks = engine.session_requests(session);
        let mut list = |most| {
            let some = locks.by_ref().take(most);
            some.map(|lock| translate::status(lock, at)).collect()
        };
        let first = list(each);
        let rest: Vec<LockStatus> = list(each * (LISTED_PARTS - 1));
        let is_all = locks.next().is_none();
        drop(locks);
        let locks = match (rest.is_empty(), is_all) {
            (true, _) => None,
            (false, true) => Some(Locks::Listed(rest)),
            (false, false) => {
                let copy = engine.session_copy(session);
                copy.map(|copy| Locks::Copied(copy, at))
            }
        };
        let rest = locks.map(|locks| Arc::new(Rest { locks, each }));
        Resumed { first, rest }
    }
}

impl Rest {
    /// The messages that follow the first one, which is the answer to the request of this `seq`.
    fn frames(
        &self,
        seq: Option<Seq>,
        idle_timeout_ms: DurationMs,
    ) -> impl Iterator<Item = String> + Send {
        let locks: Box<dyn Iterator<Item = LockStatus> + Send> = match &self.locks {
            Locks::Listed(locks) => Box::new(locks.iter().cloned()),
            Locks::Copied(copy, at) => {
                let locks = copy.requests().skip(self.each);
                Box::new(locks.map(|lock| translate::status(lock, *at)))
            }
        };
        let mut locks = locks.peekable();
        std::iter::from_fn(move || {
            locks.peek()?;
            let part = locks.by_ref().take(self.each).collect();
            let message = Message::Resumed {
                idle_timeout_ms,
                locks: part,
                more: locks.peek().is_some(),
            };
            Some(ServerFrame { seq, message }.encode())
        })
    }
}

impl Following {
    /// Begins to make what follows the first message about a session that was resumed. Who makes some of it has a
    /// turn for that, and for the time after it in which others are served.
    pub(crate) fn begin<E: Env>(
        env: E,
        turns: Arc<Semaphore>,
        rest: Arc<Rest>,
        (seq, idle_timeout): (Option<Seq>, DurationMs),
        owed: Option<Arc<Owed>>,
    ) -> Following {
        let (made, parts) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut frames = rest.frames(seq, idle_timeout).peekable();
            while frames.peek().is_some() {
                let turn = turns.acquire().await;
                for part in frames.by_ref().take(LOCKS_AT_ONCE.div_ceil(rest.each)) {
                    // Nobody listens any more when the connection is gone.
                    if made.send(part).is_err() {
                        return;
                    }
                }
                let_others_go_first(&env).await;
                drop(turn);
            }
        });
        Following { parts, _owed: owed }
    }

    /// The next message; none after the last one. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<String> {
        self.parts.recv().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockwright_engine::{Claim, Command, EngineConfig, LockKey, Name, Owner, Path, Wait};

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
            .flat_map(|rest| {
                let frames = rest.frames(Some(Seq(7)), DurationMs::from_secs(10));
                frames.collect::<Vec<_>>()
            })
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
            (5, 1, vec![1; 5]),
            (8, 2, vec![2; 4]),
            (9, 2, vec![2, 2, 2, 2, 1]),
            (50, 3, [[3; 16].as_slice(), &[2]].concat()),
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
