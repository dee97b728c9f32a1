//! Worlds that panic while a runtime runs: what the panic says must be told.

use super::{Stage, run_with_server};
use crate::{
    outcome::Outcome,
    plan::{Plan, Profile, end_at_first_panic, generate},
};
use std::{
    sync::{Arc, mpsc},
    time::Duration,
};
use tokio::task::JoinSet;

/// What a world comes to whose server is `program`, where a run ends at its first panic.
fn outcome<P>(program: impl Fn(Arc<Stage>, usize) -> P + Clone + Send + 'static) -> Outcome
where
    P: Future<Output = turmoil::Result> + 'static,
{
    let (tell, told) = mpsc::channel();
    let run = move || {
        let Plan::Service(plan) = generate(Profile::Service, 0) else {
            panic!("the profile draws its own plans");
        };
        let at_panic = tell.clone();
        end_at_first_panic(move |outcome| {
            at_panic.send(outcome).expect("the test waits");
            loop {
                std::thread::park();
            }
        });
        let stage = Stage::new(plan, true);
        tell.send(run_with_server(&stage, program))
            .expect("the test waits");
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "a run that panics stands still, and keeps its thread"
    )]
    std::thread::Builder::new()
        .spawn(run)
        .expect("a thread can be had");
    told.recv().expect("the run says what it came to")
}

/// With two tasks in it: a set of one panics once while it is dropped, which a runtime survives.
fn some_tasks() -> JoinSet<()> {
    (0..2).map(|_| std::future::pending::<()>()).collect()
}

#[test]
fn a_panic_beside_a_set_of_tasks_is_told_and_not_the_end_of_the_process() {
    let outcome = outcome(|_stage, _node| async {
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
    let outcome = outcome(|stage, _node| async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        stage.panic_while_taking_down()
    });
    let violation = outcome.violation.expect("it panicked");
    assert_eq!(violation.oracle, "no_panic");
    assert!(violation.message.contains("while taking down"));
}
