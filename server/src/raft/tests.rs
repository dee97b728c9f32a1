//! openraft's own suite for storages, on both kinds of store; and what the rows look like.

use super::{codec::encode, log::Log, state::State, types::Types};
use crate::{
    probe::NoProbe,
    proposal::{Action, Attachment, Proposal, SecretHash},
    store::{Store, tests::Scratch},
};
use lockwright_engine::*;
use lockwright_env::TokioEnv;
use lockwright_protocol::Secret;
use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use std::sync::Arc;

fn storages(store: &Store) -> (Log, State) {
    let log = Log::open(store.clone()).unwrap();
    let state = State::open(store.clone(), Arc::new(NoProbe)).unwrap();
    (log, state)
}

struct InMemory;

impl StoreBuilder<Types, Log, State> for InMemory {
    async fn build(&self) -> Result<((), Log, State), StorageError<Types>> {
        let (log, state) = storages(&Store::in_memory().unwrap());
        Ok(((), log, state))
    }
}

struct InFiles;

impl StoreBuilder<Types, Log, State, Scratch> for InFiles {
    async fn build(&self) -> Result<(Scratch, Log, State), StorageError<Types>> {
        let scratch = Scratch::new();
        let (log, state) = storages(&Store::open(&TokioEnv, scratch.path()).unwrap());
        Ok((scratch, log, state))
    }
}

#[tokio::test]
async fn openraft_accepts_the_storage_in_memory() {
    Suite::test_all(InMemory).await.unwrap();
}

#[tokio::test]
async fn openraft_accepts_the_storage_in_files() {
    Suite::test_all(InFiles).await.unwrap();
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A change of these bytes is a change of the format: then `FORMAT` of the store must change too.
#[test]
fn rows_are_written_as_ever() {
    let session = SessionKey {
        namespace: name("n"),
        session: name("s"),
    };
    let secret = SecretHash::of(Secret::new("0123456789abcdef").unwrap());
    let lock = LockKey {
        namespace: name("n"),
        owner: Owner::Session(name("s")),
        id: name("L"),
    };
    let acquire = Command::Acquire {
        lock,
        claims: vec![Claim::write(Path::parse("a/b").unwrap())],
        ttl: Some(DurationMs::from_secs(1)),
        wait: Wait::Forever,
    };
    let actions = [
        Action::Begin {
            limits: Limits::default(),
            first_token: Token(1),
        },
        Action::Open {
            session: session.clone(),
            secret: secret.clone(),
            abandon: DurationMs::from_secs(2),
        },
        Action::Resume {
            session: session.clone(),
            secret,
        },
        Action::Detach {
            session: session.clone(),
            attachment: Attachment(3),
        },
        Action::Ask {
            session,
            attachment: Attachment(300),
            command: acquire,
        },
        Action::Tick,
    ];
    let at = TimeMs::new(1_000).unwrap();
    let rows = actions.map(|action| encode(&Proposal { at, action }));
    let rows: Vec<String> = rows
        .iter()
        .map(|row| row.escape_ascii().to_string())
        .collect();
    assert_eq!(rows.join("\n"), include_str!("rows.txt").trim_end());
}
