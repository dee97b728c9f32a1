//! Worlds that panic while a runtime runs: what the panic says must be told.

use super::{Stage, run_with_server};
use crate::{
    outcome::Outcome,
    plan::{Plan, Profile, end_at_first_panic, generate},
};
use std::{fs, path::PathBuf, process::Command, sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// Names the file that a process is to write what its run came to into.
const OUTCOME_FILE: &str = "LOCKWRIGHT_TEST_OUTCOME";

/// What a world comes to whose server is `program`, where a run ends at its first panic. The run has a
/// process of its own, as in a hunt, which ends within the panic: `test` is the test that asks.
fn outcome<P>(
    test: &str,
    program: impl Fn(Arc<Stage>, usize) -> P + Clone + Send + 'static,
) -> Outcome
where
    P: Future<Output = turmoil::Result> + 'static,
{
    if let Some(file) = std::env::var_os(OUTCOME_FILE) {
        run_and_exit(file.into(), program);
    }
    let file = std::env::temp_dir().join(format!("lockwright-{}-{test}", std::process::id()));
    let this = std::env::current_exe().expect("a test knows its program");
    let ran = Command::new(this)
        .args([&format!("world::service::tests::panics::{test}"), "--exact"])
        .env(OUTCOME_FILE, &file)
        .output()
        .expect("the program runs again");
    let written = fs::read(&file).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    fs::remove_file(&file).expect("it was just there");
    serde_json::from_slice(&written).expect("an outcome is written")
}

fn run_and_exit<P>(
    file: PathBuf,
    program: impl Fn(Arc<Stage>, usize) -> P + Clone + Send + 'static,
) -> !
where
    P: Future<Output = turmoil::Result> + 'static,
{
    let end = move |outcome: Outcome| -> ! {
        let written = serde_json::to_vec(&outcome).expect("an outcome is data");
        fs::write(&file, written).expect("there is room for it");
        std::process::exit(0)
    };
    let Plan::Service(plan) = generate(Profile::Service, 0) else {
        panic!("the profile draws its own plans");
    };
    let at_panic = end.clone();
    end_at_first_panic(move |outcome| at_panic(outcome));
    end(run_with_server(&Stage::new(plan, true), program))
}

/// With two tasks in it: a set of one panics once while it is dropped, which a runtime survives.
fn some_tasks() -> JoinSet<()> {
    (0..2).map(|_| std::future::pending::<()>()).collect()
}

#[test]
fn a_panic_beside_a_set_of_tasks_is_told_and_not_the_end_of_the_process() {
    let test = "a_panic_beside_a_set_of_tasks_is_told_and_not_the_end_of_the_process";
    let outcome = outcome(test, |_stage, _node| async {
        tokio::spawn(async {
            let mut tasks = some_tasks();
            tasks.join_next().await;
        });
        tokio::spawn(async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            panic!("as told");
        });
        std::future::pending().await
    });
    let violation = outcome.violation.expect("it panicked");
    assert_eq!(violation.oracle, "no_panic");
    assert!(violation.message.contains("as told"), "{violation:?}");
    assert!(
        violation
            .message
            .contains("sim/src/world/service/tests/panics.rs:"),
        "{violation:?}"
    );
    let history = outcome.history.expect("it was asked for");
    assert!(history.last().is_some_and(|line| line.contains("as told")));
}

#[test]
fn a_panic_of_what_takes_down_the_history_is_told() {
    let test = "a_panic_of_what_takes_down_the_history_is_told";
    let outcome = outcome(test, |stage, _node| async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        stage.panic_while_taking_down()
    });
    let violation = outcome.violation.expect("it panicked");
    assert_eq!(violation.oracle, "no_panic");
    assert!(violation.message.contains("while taking down"));
}
