//! Pairs of acquire and release on keys that nobody else wants.

use super::{
    Plan,
    connection::{BenchError, Connection, key, open_all},
    report::{Measured, count, histogram},
};
use hdrhistogram::Histogram;
use lockwright_client::{Name, Path};
use std::time::Instant;
use tokio::task::JoinSet;

/// Measures a plan.
pub(super) async fn measure(plan: &Plan) -> Result<Measured, BenchError> {
    let mut running = JoinSet::new();
    let connections = open_all(plan).await?;
    let begin = Instant::now() + plan.warm_up;
    let end = begin + plan.span;
    for (client, connection) in connections.into_iter().enumerate() {
        let keys = (0..plan.keys)
            .map(|n| key(&format!("{client}/{n}")))
            .collect();
        running.spawn(pairs(connection, keys, begin, end));
    }
    let mut nanos = histogram();
    while let Some(done) = running.join_next().await {
        let client = done.expect("a client does not panic")?;
        nanos
            .add(client)
            .expect("one histogram is as large as the other");
    }
    Ok(Measured::new("pairs", plan.clients, plan.span, nanos))
}

/// The pairs of one client that ended in the time that counts.
async fn pairs(
    mut connection: Connection,
    keys: Vec<Path>,
    begin: Instant,
    end: Instant,
) -> Result<Histogram<u64>, BenchError> {
    let mut nanos = histogram();
    for number in 0_u64.. {
        let path = &keys[usize::try_from(number).unwrap_or(0) % keys.len()];
        let id = Name::new(number.to_string()).expect("a number is a name");
        let start = Instant::now();
        let token = connection.acquire(&id, path).await?;
        let seq = connection.say_release(&id, token).await?;
        connection.released(seq, id).await?;
        let now = Instant::now();
        if now >= end {
            break;
        }
        if now >= begin {
            count(&mut nanos, now - start);
        }
    }
    connection.close().await?;
    Ok(nanos)
}
