//! openraft's own suite for storages, on both kinds of store; and what the rows look like.

use super::{
    admission::Admission,
    codec::encode,
    log::Log,
    state::State,
    types::{Entry, Types},
};
use crate::{
    probe::NoProbe,
    proposal::{Action, Attachment, DiskId, Origin, Proposal, SecretHash},
    store::{Store, tests::Scratch},
};
use lockwright_engine::*;
use lockwright_env::{Env, TokioEnv};
use lockwright_protocol::{Label, Secret};
use openraft::{
    EntryPayload, RaftSnapshotBuilder, StorageError,
    entry::RaftEntry,
    storage::RaftStateMachine,
    testing::log::{StoreBuilder, Suite},
};
use std::sync::Arc;
use tokio::sync::mpsc;

fn storages(store: &Store) -> (Log, State) {
    // What is told to nobody is lost.
    let (news, _) = mpsc::unbounded_channel();
    let probe = Arc::new(NoProbe);
    let state = State::open(store.clone(), crate::machine::Setup::without_probe(), news).unwrap();
    let admission = Admission::new(1, DiskId(7), false);
    let log = Log::open(store.clone(), state.snapshot_id(), admission, probe).unwrap();
    (log, state)
}

/// Small, so that the suite goes through several.
const SEGMENT_BYTES: u64 = 1024;

struct InMemory;

impl StoreBuilder<Types, Log, State> for InMemory {
    async fn build(&self) -> Result<((), Log, State), StorageError<Types>> {
        let (log, state) = storages(&Store::in_memory().unwrap());
        Ok(((), log, state))
    }
}

struct InFiles;

type OnFiles = Suite<Types, Log, State, InFiles, Scratch>;

impl StoreBuilder<Types, Log, State, Scratch> for InFiles {
    async fn build(&self) -> Result<(Scratch, Log, State), StorageError<Types>> {
        let scratch = Scratch::new();
        let (log, state) =
            storages(&Store::open(&TokioEnv, scratch.path(), SEGMENT_BYTES).unwrap());
        Ok((scratch, log, state))
    }
}

#[tokio::test]
async fn openraft_accepts_the_storage_in_memory() {
    Suite::test_all(InMemory).await.unwrap();
}

/// Not the whole suite: what is left out begins a log behind its first entry, or is of the machine.
#[tokio::test]
async fn openraft_accepts_the_log_in_files() {
    macro_rules! accepted {
        ($($test:ident),* $(,)?) => {$(
            let (scratch, log, state) = InFiles.build().await.unwrap();
            OnFiles::$test(log, state).await.unwrap();
            drop(scratch);
        )*};
    }
    accepted!(
        last_membership_in_log_initial,
        get_membership_initial,
        get_membership_from_log_and_empty_sm,
        get_membership_from_empty_log_and_sm,
        get_membership_from_log_le_sm_last_applied,
        get_membership_from_log_gt_sm_last_applied_1,
        get_membership_from_log_gt_sm_last_applied_2,
        get_initial_state_without_init,
        get_initial_state_membership_from_empty_log_and_sm,
        get_initial_state_membership_from_sm_inlog_is_smaller,
        get_initial_state_membership_from_log_insm_is_smaller,
        get_initial_state_with_state,
        get_initial_state_last_log_gt_sm,
        get_initial_state_last_log_lt_sm,
        get_initial_state_inverted_log_order,
        get_initial_state_conflict_at_same_index,
        get_initial_state_log_ids,
        get_initial_state_re_apply_committed,
        save_vote,
        get_log_entries,
        limited_get_log_entries,
        leader_bounded_stream,
        entries_stream,
        try_get_log_entry,
        log_reader_reads_new_entries,
        initial_logs,
        get_log_state,
        get_log_id,
        last_id_in_log,
        last_applied_state,
        purge_logs_upto_0,
        purge_logs_upto_5,
        purge_logs_upto_20,
        delete_logs_after_11,
        delete_logs_after_5,
        delete_logs_after_0,
        delete_logs_after_none,
        append_to_log,
        snapshot_meta,
        snapshot_meta_optional,
        apply_single,
        apply_multiple,
    );
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A change of these bytes is a change of the format: then `FORMAT` of the store must change too, so
/// that data of before is refused for what it is.
#[tokio::test]
async fn rows_are_written_as_ever() {
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
            label: Some(label("a@b")),
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
            session: session.clone(),
            attachment: Attachment(300),
            command: acquire,
            label: None,
        },
        Action::Ask {
            session: session.clone(),
            attachment: Attachment(300),
            command: Command::Done {
                session,
                ids: vec![name("L")],
            },
            label: None,
        },
        Action::Tick,
        Action::Join { disk: DiskId(7) },
        Action::Gone {
            node: 3,
            incarnation: 9,
            forget: false,
        },
        Action::Witness {
            index: 7,
            digest: 8,
            acknowledged: vec![(2, 6)],
        },
        Action::Distrust { node: 2 },
        Action::EndRequests {
            namespace: name("n"),
            path: Path::parse("a/b").unwrap(),
            owner: Owner::Named(name("h")),
            id: Some(name("L")),
            token: None,
        },
        Action::EndSession {
            session: SessionKey {
                namespace: name("n"),
                session: name("s"),
            },
        },
        Action::Again(Box::new(Action::Tick)),
    ];
    let rows = (4..).zip(actions);
    let rows: Vec<Vec<u8>> = rows
        .map(|(number, action)| encode(&proposal(number, action)))
        .collect();
    let (_, mut state) = storages(&Store::in_memory().unwrap());
    fill(&mut state, 2).await;
    let snapshot = encode(&state.save());
    let rows: Vec<String> = rows
        .iter()
        .chain([&snapshot])
        .map(|row| row.escape_ascii().to_string())
        .collect();
    assert_eq!(rows.join("\n"), include_str!("rows.txt").trim_end());
}

fn label(text: &str) -> Label {
    Label::new(text).unwrap()
}

/// The proposal of a node with this number.
fn proposal(number: u64, action: Action) -> Proposal {
    Proposal {
        at: TimeMs::new(1_000).unwrap(),
        term: 1,
        origin: Some(Origin {
            node: 1,
            incarnation: 8,
            number,
        }),
        action: Arc::new(action),
    }
}

/// The last entry of the log that takes `sessions` sessions with a lock each, applied to a state.
async fn fill(state: &mut State, sessions: u64) {
    let secret = SecretHash::of(Secret::new("0123456789abcdef").unwrap());
    let join = (1, Action::Join { disk: DiskId(7) });
    let entries = (1..=sessions).flat_map(|n| {
        let session = SessionKey {
            namespace: name("n"),
            session: name(&format!("session {n}")),
        };
        let lock = LockKey {
            namespace: name("n"),
            owner: Owner::Session(session.session.clone()),
            id: name("L"),
        };
        let open = Action::Open {
            session: session.clone(),
            secret: secret.clone(),
            abandon: DurationMs::from_secs(60),
            label: (n == 1).then(|| label("of a session")),
        };
        let acquire = Action::Ask {
            session,
            attachment: Attachment(2 * n),
            command: Command::Acquire {
                lock,
                claims: vec![Claim::write(Path::parse(format!("a/{n}")).unwrap())],
                ttl: Some(DurationMs::from_secs(60)),
                wait: Wait::Forever,
            },
            label: (n == 2).then(|| label("of a request")),
        };
        [(2 * n, open), (2 * n + 1, acquire)]
    });
    let entries = std::iter::once(join).chain(entries).map(|(index, action)| {
        let log_id = openraft::testing::log_id::<Types>(1, 1, index);
        let payload = EntryPayload::Normal(Arc::new(proposal(index - 1, action)));
        Ok((Entry::new(log_id, payload), None))
    });
    let entries = futures_util::stream::iter(entries);
    state.apply(entries).await.unwrap();
}

async fn comes_back(sessions: u64) {
    let scratch = Scratch::new();
    let store = Store::open(&TokioEnv, scratch.path(), SEGMENT_BYTES).unwrap();
    let (_, mut state) = storages(&store);
    fill(&mut state, sessions).await;
    let kept = state.save();
    let clock = || TokioEnv.monotonic();
    let begin = clock();
    let mut builder = state.try_create_snapshot_builder(true).await.unwrap();
    builder.build_snapshot().await.unwrap();
    let saved = clock();
    drop((builder, state));
    store.closed().await;
    let begin_again = clock();
    let store = Store::open(&TokioEnv, scratch.path(), SEGMENT_BYTES).unwrap();
    let (_, state) = storages(&store);
    let restored = clock();
    assert!(state.save() == kept, "the state is the one that was saved");
    println!(
        "{sessions} sessions with a lock each: saved in {:?}, back in {:?}",
        saved - begin,
        restored - begin_again
    );
}

#[tokio::test]
async fn a_state_comes_back_from_its_snapshot() {
    comes_back(100).await;
}

#[tokio::test]
#[ignore = "it takes a while; run it with --release --nocapture to see how long a start takes"]
async fn a_million_locks_come_back() {
    comes_back(1_000_000).await;
}
