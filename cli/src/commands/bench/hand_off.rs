//! One key that all want: from a release until the next in the queue knows.

use super::{
    Plan,
    connection::{BenchError, Connection, key, open_all},
    report::{Measured, count, histogram},
};
use hdrhistogram::Histogram;
use lockwright_client::{Name, Path};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Instant,
};
use tokio::task::LocalSet;

/// What the clients have in common; they run in one thread.
struct Shared {
    path: Path,
    /// When the lock was given back last.
    released: Cell<Option<Instant>>,
    nanos: RefCell<Histogram<u64>>,
    begin: Instant,
    end: Instant,
}

/// Measures a plan.
pub(super) async fn measure(plan: &Plan) -> Result<Measured, BenchError> {
    let connections = open_all(plan).await?;
    let begin = Instant::now() + plan.warm_up;
    let shared = Rc::new(Shared {
        path: key("hand-off"),
        released: Cell::new(None),
        nanos: RefCell::new(histogram()),
        begin,
        end: begin + plan.span,
    });
    let local = LocalSet::new();
    let running: Vec<_> = connections
        .into_iter()
        .map(|connection| local.spawn_local(take_turns(connection, shared.clone())))
        .collect();
    local
        .run_until(async {
            for client in running {
                client.await.expect("a client does not panic")?;
            }
            Ok(())
        })
        .await?;
    let nanos = shared.nanos.borrow().clone();
    Ok(Measured::new("grants", plan.clients, plan.span, nanos))
}

async fn take_turns(mut connection: Connection, shared: Rc<Shared>) -> Result<(), BenchError> {
    for number in 0_u64.. {
        let id = Name::new(number.to_string()).expect("a number is a name");
        let token = connection.acquire(&id, &shared.path).await?;
        let now = Instant::now();
        if let Some(released) = shared.released.get()
            && (shared.begin..shared.end).contains(&now)
        {
            count(&mut shared.nanos.borrow_mut(), now - released);
        }
        shared.released.set(Some(Instant::now()));
        let seq = connection.say_release(&id, token).await?;
        connection.released(seq, id).await?;
        if now >= shared.end {
            break;
        }
    }
    connection.close().await
}
