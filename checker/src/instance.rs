//! How much is checked: who asks, for what, how often, for how long.

use crate::book::Book;
use lockwright_engine::{
    Claim, DurationMs, Limits, LockKey, Mode, Name, Owner, Path, SessionKey, TimeMs, Wait,
};

/// The most clients of an instance.
pub const CLIENTS_MAX: usize = 4;
/// The most requests of an instance.
pub const REQUESTS_MAX: usize = 6;

/// The largest time of an instance, in ms.
const MS_MAX: u64 = 1_000;
/// How long a detached session lives.
pub(crate) const ABANDON: u64 = 2;
/// How long an ended request is remembered.
pub(crate) const RETENTION: u64 = 1;
/// The engine is told the time at least this often: longer than any lease or wait, so that several
/// things can be due in one command.
pub(crate) const LAG_MAX: u64 = 2;

/// How many kinds of requests there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Menu {
    /// Four claim sets, one lease, three ways to wait.
    Small,
    /// Eight claim sets, two leases, three ways to wait.
    Full,
}

/// How large an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Who asks: sessions and named owners in turn, beginning with a session. At most
    /// [`CLIENTS_MAX`].
    pub clients: usize,
    /// How often something is asked for, in all, what is refused not counted. As many request ids
    /// are shared out among the clients in turn. At most [`REQUESTS_MAX`].
    pub requests: usize,
    /// How many milliseconds pass, in all.
    pub ms: u64,
    /// What may be asked for.
    pub menu: Menu,
    /// The most steps from the beginning, when that is to be bounded too.
    pub depth: Option<u16>,
}

/// An owner of requests.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) owner: Owner,
    /// The session to open and close; none for a named owner.
    pub(crate) session: Option<SessionKey>,
}

/// A set of claims that may be asked for at once.
#[derive(Debug)]
pub(crate) struct ClaimSet {
    pub(crate) claims: Vec<Claim>,
    /// Whether any of them writes.
    pub(crate) writes: bool,
}

/// All that does not change while the checker runs.
#[derive(Debug)]
pub struct Instance {
    pub(crate) size: Size,
    pub(crate) namespace: Name,
    pub(crate) clients: Vec<Client>,
    /// One for each request id.
    pub(crate) locks: Vec<LockKey>,
    /// Whose id that is.
    pub(crate) client_of: Vec<usize>,
    pub(crate) claim_sets: Vec<ClaimSet>,
    pub(crate) paths: Vec<Path>,
    /// Which claim sets conflict.
    conflicts: Vec<Vec<bool>>,
    /// Which claim sets have overlapping paths.
    overlaps: Vec<Vec<bool>>,
    pub(crate) ttls: Vec<Option<u64>>,
    pub(crate) waits: Vec<Wait>,
}

impl Instance {
    /// An instance of this size.
    ///
    /// # Errors
    /// When a number is out of its range: says which, and what the range is.
    pub fn new(size: Size) -> Result<Instance, String> {
        let within = |what: &str, got: u64, max: u64| {
            if (1..=max).contains(&got) {
                return Ok(());
            }
            Err(format!("{what} are 1 to {max}, not {got}"))
        };
        within("clients", size.clients as u64, CLIENTS_MAX as u64)?;
        within("requests", size.requests as u64, REQUESTS_MAX as u64)?;
        within("milliseconds", size.ms, MS_MAX)?;
        let namespace = name("default");
        let clients: Vec<Client> = (0..size.clients).map(|at| client(at, &namespace)).collect();
        let client_of: Vec<usize> = (0..size.requests).map(|id| id % size.clients).collect();
        let locks = client_of.iter().enumerate().map(|(id, client)| LockKey {
            namespace: namespace.clone(),
            owner: clients[*client].owner.clone(),
            id: name(&format!("L{}", id + 1)),
        });
        let claim_sets: Vec<ClaimSet> = claim_sets(size.menu)
            .iter()
            .map(|set| claims(set))
            .collect();
        let table = |test: fn(&Claim, &Claim) -> bool| -> Vec<Vec<bool>> {
            let any = |a: &ClaimSet, b: &ClaimSet| {
                a.claims.iter().any(|a| b.claims.iter().any(|b| test(a, b)))
            };
            let row = |a| claim_sets.iter().map(|b| any(a, b)).collect();
            claim_sets.iter().map(row).collect()
        };
        Ok(Instance {
            locks: locks.collect(),
            conflicts: table(conflict),
            overlaps: table(|a, b| overlap(&a.path, &b.path)),
            paths: ["/", "a", "a/b", "a/c"]
                .iter()
                .map(|text| path(text))
                .collect(),
            ttls: match size.menu {
                Menu::Small => vec![None, Some(2)],
                Menu::Full => vec![None, Some(1), Some(2)],
            },
            waits: vec![Wait::Forever, Wait::No, Wait::For(duration(1))],
            namespace,
            clients,
            client_of,
            claim_sets,
            size,
        })
    }

    /// Its size.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// The limits of the engine: the defaults, but for a short retention.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            retention: duration(RETENTION),
            ..Limits::default()
        }
    }

    pub(crate) fn conflict(&self, a: u8, b: u8) -> bool {
        self.conflicts[usize::from(a)][usize::from(b)]
    }

    pub(crate) fn overlap(&self, a: u8, b: u8) -> bool {
        self.overlaps[usize::from(a)][usize::from(b)]
    }

    /// The id whose lock this is.
    pub(crate) fn id_of(&self, lock: &LockKey) -> Option<usize> {
        self.locks.iter().position(|known| known == lock)
    }

    pub(crate) fn client_of_session(&self, key: &SessionKey) -> Option<usize> {
        self.clients
            .iter()
            .position(|client| client.session.as_ref() == Some(key))
    }

    /// Whether the owner of an id can ask: a named one always, a session while it is open.
    pub(crate) fn may_ask(&self, book: &Book, id: usize) -> bool {
        let client = self.client_of[id];
        self.clients[client].session.is_none() || book.sessions[client].is_some()
    }
}

fn client(at: usize, namespace: &Name) -> Client {
    if at.is_multiple_of(2) {
        let session = name(&format!("s{}", at / 2 + 1));
        return Client {
            owner: Owner::Session(session.clone()),
            session: Some(SessionKey {
                namespace: namespace.clone(),
                session,
            }),
        };
    }
    Client {
        owner: Owner::Named(name(&format!("n{}", at / 2 + 1))),
        session: None,
    }
}

/// What may be asked for, as scripts write it.
const fn claim_sets(menu: Menu) -> &'static [&'static [&'static str]] {
    match menu {
        Menu::Small => &[&["w a"], &["r a"], &["w a/b"], &["w a/b", "r a/c"]],
        Menu::Full => &[
            &["w a"],
            &["r a"],
            &["w a/b"],
            &["r a/b"],
            &["w /"],
            &["w a/b", "w a/c"],
            &["w a/b", "r a/c"],
            &["r a", "w a/b"],
        ],
    }
}

fn claims(texts: &[&str]) -> ClaimSet {
    let claims: Vec<Claim> = texts
        .iter()
        .map(|text| match text.split_once(' ') {
            Some(("w", rest)) => Claim::write(path(rest)),
            Some(("r", rest)) => Claim::read(path(rest)),
            _ => unreachable!("`{text}` is one of the claims above"),
        })
        .collect();
    ClaimSet {
        writes: claims.iter().any(|claim| claim.mode == Mode::Write),
        claims,
    }
}

/// SEMANTICS section 1, segment by segment, without the engine's own answer.
pub(crate) fn overlap(a: &Path, b: &Path) -> bool {
    fn segments(path: &Path) -> Vec<&str> {
        path.as_str().split('/').filter(|s| !s.is_empty()).collect()
    }
    segments(a).iter().zip(segments(b)).all(|(a, b)| *a == b)
}

fn conflict(a: &Claim, b: &Claim) -> bool {
    overlap(&a.path, &b.path) && !(a.mode == Mode::Read && b.mode == Mode::Read)
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap_or_else(|_| unreachable!("`{text}` is a name"))
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap_or_else(|_| unreachable!("`{text}` is a path"))
}

pub(crate) fn duration(ms: u64) -> DurationMs {
    DurationMs::new(ms).unwrap_or_else(|_| unreachable!("{ms} ms are within MS_MAX"))
}

pub(crate) fn time(ms: u64) -> TimeMs {
    TimeMs::new(ms).unwrap_or_else(|_| unreachable!("{ms} ms are within MS_MAX"))
}
