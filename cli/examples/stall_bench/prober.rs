//! Somebody who only wants a lock of its own, again and again.

use crate::{Error, session::Session};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Between two pairs.
const PAUSE: Duration = Duration::from_millis(1);

/// Runs until the program ends.
pub(crate) struct Prober {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// How long each pair took that has ended.
    took: Vec<Duration>,
    /// When the pair began that has not.
    since: Option<Instant>,
    error: Option<String>,
}

/// What it saw since the last time.
pub(crate) struct Seen {
    pub(crate) probes: usize,
    pub(crate) median: Duration,
    pub(crate) worst: Duration,
}

impl Prober {
    /// In a thread of its own, on a connection of its own.
    pub(crate) fn start(address: &str) -> Result<Prober, Error> {
        let state = Arc::new(Mutex::new(State::default()));
        let prober = Prober {
            state: state.clone(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let address = address.to_owned();
        std::thread::Builder::new()
            .name("prober".to_owned())
            .spawn(move || {
                let Err(error) = runtime.block_on(probe(&address, &state));
                lock(&state).error = Some(error.to_string());
            })?;
        Ok(prober)
    }

    /// What it saw since the last time, and what it waits for now. Of a pair that is under way only what comes
    /// from now on counts the next time.
    pub(crate) fn take(&self) -> Result<Seen, Error> {
        let now = Instant::now();
        let mut state = lock(&self.state);
        if let Some(error) = &state.error {
            return Err(format!("the prober failed: {error}").into());
        }
        let mut took = std::mem::take(&mut state.took);
        took.extend(state.since.map(|since| now - since));
        state.since = state.since.map(|_| now);
        drop(state);
        took.sort_unstable();
        Ok(Seen {
            probes: took.len(),
            median: took.get(took.len() / 2).copied().unwrap_or_default(),
            worst: took.last().copied().unwrap_or_default(),
        })
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn probe(address: &str, state: &Mutex<State>) -> Result<std::convert::Infallible, Error> {
    let mut session = Session::open(address).await?;
    for number in 0.. {
        let start = Instant::now();
        lock(state).since = Some(start);
        session.pair("prober", number).await?;
        {
            let mut state = lock(state);
            let since = state.since.take().unwrap_or(start);
            state.took.push(since.elapsed());
        }
        tokio::time::sleep(PAUSE).await;
    }
    unreachable!("numbers do not end");
}
