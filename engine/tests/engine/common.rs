//! A few words in which the tests of the engine are written.

use lockwright_engine::*;

/// An engine with its events as short texts.
pub(crate) struct World {
    pub(crate) engine: Engine,
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn ms(at: u64) -> TimeMs {
    TimeMs::new(at).unwrap()
}

pub(crate) fn span(length: u64) -> DurationMs {
    DurationMs::new(length).unwrap()
}

/// The key of request `id` of the owner `o`, or of session `s1` when written `s1:id`.
pub(crate) fn key(id: &str) -> LockKey {
    let (owner, id) = match id.split_once(':') {
        Some((session, id)) => (Owner::Session(name(session)), id),
        None => (Owner::Named(name("o")), id),
    };
    LockKey {
        namespace: name("default"),
        owner,
        id: name(id),
    }
}

pub(crate) fn session(text: &str) -> SessionKey {
    SessionKey {
        namespace: name("default"),
        session: name(text),
    }
}

/// Claims from `"w a/b, r c"`.
pub(crate) fn claims(text: &str) -> Vec<Claim> {
    let claim = |text: &str| {
        let (mode, path) = text.trim().split_once(' ').unwrap();
        let path = Path::parse(path).unwrap();
        if mode == "w" {
            Claim::write(path)
        } else {
            Claim::read(path)
        }
    };
    text.split(',').map(claim).collect()
}

pub(crate) fn acquire(id: &str, wanted: &str, ttl: Option<u64>, wait: Wait) -> Command {
    Command::Acquire {
        lock: key(id),
        claims: claims(wanted),
        ttl: ttl.map(span),
        wait,
    }
}

impl World {
    pub(crate) fn new() -> World {
        World::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> World {
        World {
            engine: Engine::new(EngineConfig {
                limits,
                ..EngineConfig::default()
            }),
        }
    }

    /// Applies a command and gives what happened, such as `0 granted L1 1`.
    pub(crate) fn apply(&mut self, at: u64, command: &Command) -> Vec<String> {
        let mut events = Vec::new();
        let reply = self.engine.apply(ms(at), command, &mut events);
        self.engine.check();
        let mut told: Vec<String> = events.iter().map(tell).collect();
        if let Err(refusal) = reply {
            told.push(format!("{at} {}", refusal.code()));
        }
        told
    }

    pub(crate) fn wants(&mut self, at: u64, id: &str, wanted: &str) -> Vec<String> {
        self.apply(at, &acquire(id, wanted, None, Wait::Forever))
    }

    pub(crate) fn leases(&mut self, at: u64, id: &str, wanted: &str, ttl: u64) -> Vec<String> {
        self.apply(at, &acquire(id, wanted, Some(ttl), Wait::Forever))
    }

    pub(crate) fn release(&mut self, at: u64, id: &str) -> Vec<String> {
        let token = match self.engine.lock(&key(id)).map(|lock| lock.state) {
            Some(LockState::Held { token, .. }) => token,
            _ => Token(0),
        };
        self.apply(
            at,
            &Command::Release {
                lock: key(id),
                token,
            },
        )
    }

    pub(crate) fn cancel(&mut self, at: u64, id: &str) -> Vec<String> {
        self.apply(at, &Command::Cancel { lock: key(id) })
    }

    pub(crate) fn tick(&mut self, at: u64) -> Vec<String> {
        self.apply(at, &Command::Tick)
    }

    pub(crate) fn open(&mut self, at: u64, text: &str, abandon: u64) -> Vec<String> {
        let open = Command::OpenSession {
            session: session(text),
            abandon: span(abandon),
        };
        self.apply(at, &open)
    }
}

fn tell(event: &Event) -> String {
    let what = match &event.kind {
        EventKind::Queued { lock } => format!("queued {}", lock.id),
        EventKind::Granted { lock, token, .. } => format!("granted {} {token}", lock.id),
        EventKind::Renewed { lock, expires } => format!("renewed {} {}", lock.id, expires.as_ms()),
        EventKind::Ended { lock, reason } => format!("{reason} {}", lock.id),
        EventKind::Session { session, change } => {
            format!("session {} {}", session.session, change.as_str())
        }
    };
    format!("{} {what}", event.at.as_ms())
}
