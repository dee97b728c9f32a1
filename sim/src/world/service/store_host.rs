//! The store's host: what the locks are for, with the shipped fence in front of it.
//!
//! Each request has a connection of its own: a line with what is wanted, the token, the request that
//! it is under, and the key. The answer is one byte.

use super::{
    env::SimEnv,
    host::simulated,
    stage::{Stage, Store},
};
use crate::{
    op::Text,
    oracle::service::{Happening, Visit},
};
use lockwright_client::fence::{DurableFence, FenceError, Stale};
use lockwright_engine::Token;
use lockwright_env::{Directory, Env as _, Listener as _, Worker, sleep};
use std::{convert::Infallible, io, path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    sync::{mpsc, oneshot},
    task::JoinSet,
};

/// The port that the store listens on.
pub(super) const PORT: u16 = 9010;

/// How long whoever watches over the store waits before starting it again.
const RESTART_PAUSE: Duration = Duration::from_millis(50);

/// Runs the store until its host dies.
pub(super) async fn run(stage: Arc<Stage>) -> turmoil::Result {
    let store = stage.store.as_ref().expect("its host is there");
    let env = SimEnv::with_disk(store.host.clone(), store.disk.clone());
    loop {
        let Err(error) = serve(&stage, store, &env).await;
        let what = format!("the store ends: {error}");
        stage.happen(simulated(), &Happening::Fault { what });
        sleep(&env, RESTART_PAUSE).await;
    }
}

/// Serves until the disk fails.
async fn serve(stage: &Arc<Stage>, store: &Store, env: &SimEnv) -> io::Result<Infallible> {
    let directory = env.open_directory(Path::new("store"));
    let directory = directory.map_err(|error| io::Error::other(format!("{error:?}")))?;
    let fence = DurableFence::open(Arc::new(directory), "fence").map_err(io::Error::other)?;
    store
        .host
        .sleep_until_simulated(store.disk.settles_at())
        .await;
    let keys = fence.fence().len();
    stage.happen(simulated(), &Happening::StoreUp { keys });
    let (jobs, waiting) = mpsc::unbounded_channel();
    let (broken, breaks) = oneshot::channel();
    let worker = Shelf {
        fence: fence.compact_above(store.plan.compact_above),
        checked: store.plan.checked,
        stage: stage.clone(),
        broken: Some(broken),
    };
    env.spawn_worker(worker, waiting)?;
    let mut listener = env.listen(&format!("0.0.0.0:{PORT}")).await?;
    let accepting = async {
        let mut guests = JoinSet::new();
        loop {
            let stream = listener.accept().await?;
            guests.spawn(answer(stream, jobs.clone()));
            while guests.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        biased;
        error = breaks => Err(error.unwrap_or_else(|_| io::Error::other("its worker has gone"))),
        accepted = accepting => accepted,
    }
}

/// Reads what a guest wants, and tells it when it was let in, or not.
async fn answer<S>(stream: S, jobs: mpsc::UnboundedSender<Job>) -> io::Result<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let wish = read(&line).ok_or(io::ErrorKind::InvalidData)?;
    let (reply, judged) = oneshot::channel();
    let job = Job { wish, reply };
    jobs.send(job).map_err(io::Error::other)?;
    let byte = judged.await.map_err(io::Error::other)?;
    stream.write_all(&[byte]).await
}

/// Who wants what.
struct Wish {
    id: Text,
    visit: Visit,
}

/// A request as the line says it; none if it says none, which is what a connection that broke off
/// leaves.
fn read(line: &str) -> Option<Wish> {
    let line = line.strip_suffix('\n')?;
    let mut words = line.splitn(4, ' ');
    let reads = match words.next()? {
        "r" => true,
        "w" => false,
        _ => return None,
    };
    let token = words.next()?.parse().ok()?;
    let (id, key) = (Text::from(words.next()?), Text::from(words.next()?));
    let visit = Visit { key, token, reads };
    Some(Wish { id, visit })
}

struct Job {
    wish: Wish,
    reply: oneshot::Sender<u8>,
}

/// What is written to, one request after the other: so the check of a token and the write that
/// follows are one step.
struct Shelf<D: Directory> {
    fence: DurableFence<D>,
    checked: bool,
    stage: Arc<Stage>,
    broken: Option<oneshot::Sender<io::Error>>,
}

impl<D: Directory> Worker for Shelf<D> {
    type Job = Job;
    type Done = Vec<(Job, Result<(), FenceError>)>;

    fn work(&mut self, jobs: &mut Vec<Job>) -> Self::Done {
        jobs.drain(..)
            .map(|job| {
                let Visit { key, token, reads } = &job.wish.visit;
                let judged = match (self.checked, reads) {
                    (false, _) => Ok(()),
                    (true, false) => self.fence.check(key, Token(*token)),
                    (true, true) => self.fence.check_read(key, Token(*token)),
                };
                (job, judged)
            })
            .collect()
    }

    fn finish(&mut self, done: Self::Done) {
        for (Job { wish, reply }, judged) in done {
            let refused = match judged {
                Ok(()) => None,
                Err(FenceError::Stale(Stale { largest, .. })) => Some(largest.0),
                Err(error) => {
                    // Who hears nothing comes again.
                    if let Some(broken) = self.broken.take() {
                        let _ = broken.send(io::Error::other(error));
                    }
                    continue;
                }
            };
            let judged = Happening::Judged {
                id: wish.id,
                visit: wish.visit,
                refused,
            };
            self.stage.happen(simulated(), &judged);
            let _ = reply.send(u8::from(refused.is_none()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_line_is_a_request() {
        let wish = read("w 7 c1-2-1 default:a/b c\n").unwrap();
        assert_eq!((&*wish.id, &*wish.visit.key), ("c1-2-1", "default:a/b c"));
        assert_eq!((wish.visit.token, wish.visit.reads), (7, false));
        for torn in [
            "",
            "w 7 c1-2-1 default:a",
            "w x c1 k\n",
            "w 7\n",
            "x 7 c1 k\n",
        ] {
            assert!(read(torn).is_none(), "{torn:?}");
        }
    }
}
