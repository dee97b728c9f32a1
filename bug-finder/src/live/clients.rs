//! Clients: the library that ships, over real connections.

use super::happening::{Call, End, Happening, RequestId, Waits, Who};
use super::programs::{Attempt, ms};
use super::stage::{Phase, Stage};
use lockwright_client::{
    AcquireRequest, CallError, Client, ClientConfig, DurationMs, EndReason, ErrorCode, Lock, Lost,
    Name, Notice, Wait,
};
use lockwright_env::{TokioEnv, timeout};
use lockwright_sim::draw::Draw;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Longer than any run: such a session ends when it is closed.
const STEADY_ABANDON: DurationMs = DurationMs::from_secs(24 * 3600);

/// How often a holder looks whether it still believes in its lock.
const LOOK: Duration = Duration::from_millis(3);

/// Attempts of one client that are under way at once.
const AT_ONCE: usize = 4;

/// A client, over all its sessions.
pub(super) struct Program {
    pub(super) stage: Rc<Stage>,
    pub(super) who: Who,
    /// Where it reaches each server.
    pub(super) addresses: Vec<String>,
    pub(super) draw: Draw,
}

impl Program {
    /// Asks for locks until the phase of work is over, and then until nothing is left. Gives its
    /// session back, to be closed.
    pub(super) async fn run(mut self) -> Client<TokioEnv> {
        let mut client = self.connect();
        let mut attempts = JoinSet::new();
        while self.stage.phase() == Phase::Work {
            if attempts.len() < AT_ONCE {
                let attempt = Attempt::draw(&mut self.draw, self.who);
                let stage = self.stage.clone();
                attempts.spawn_local(make(stage, client.clone(), attempt));
            }
            let gap = ms(self.draw.between_skewed(1, 128) - 1);
            self.stage.wait(gap, Phase::Settle).await;
            while attempts.try_join_next().is_some() {}
            // Now and then a client is done, and another one comes. It may not be answered, when there
            // are faults: then its session must end by itself.
            let is_hasty = matches!(self.who, Who::Hasty(_));
            if is_hasty && self.draw.chance(1, 50) && attempts.is_empty() {
                let _ = client.close().await;
                client = self.connect();
            }
        }
        while let Some(done) = attempts.join_next().await {
            if let Err(error) = done {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        client
    }

    fn connect(&mut self) -> Client<TokioEnv> {
        let mut addresses = self.addresses.clone();
        let first = self.draw.index(addresses.len());
        addresses.rotate_left(first);
        let mut config = ClientConfig::with_addresses(addresses);
        config.abandon = match self.who {
            Who::Hasty(_) => DurationMs::from_secs(2),
            Who::Steady(_) | Who::Visitor(_) => STEADY_ABANDON,
        };
        config.keep_alive = Duration::from_millis(400);
        config.call_timeout = Duration::from_secs(1);
        config.reconnect_min = Duration::from_millis(10);
        config.reconnect_max = Duration::from_millis(300);
        Client::connect(TokioEnv, config).expect("the settings make sense")
    }
}

/// One attempt, from asking to the end.
async fn make(stage: Rc<Stage>, client: Client<TokioEnv>, attempt: Attempt) {
    let id = stage.draw_id();
    let wanted = attempt.wanted.clone();
    let mut request = AcquireRequest::new(wanted.claims.clone())
        .id(Name::new(id.to_string()).expect("it is a name"))
        .wait(match wanted.waits {
            Waits::No => Wait::No,
            Waits::For(wait) => Wait::For(duration(wait)),
            Waits::Forever => Wait::Forever,
        });
    request.ttl = wanted.ttl_ms.map(duration);
    stage.happen(Happening::Asked { id, wanted });
    let lock = client.request(request);
    let mut one = One { stage, id, lock };
    if one.wait(&attempt).await {
        one.hold(&attempt).await;
    }
}

/// A request under way.
struct One {
    stage: Rc<Stage>,
    id: RequestId,
    lock: Lock<TokioEnv>,
}

impl One {
    /// Waits for the grant; false if there is none.
    async fn wait(&mut self, attempt: &Attempt) -> bool {
        let mut cancel_after = attempt.cancel_after;
        loop {
            let notice = match cancel_after {
                Some(after) => match timeout(&TokioEnv, after, self.lock.next()).await {
                    Ok(notice) => notice,
                    Err(_) => {
                        cancel_after = None;
                        self.call(Call::Cancel).await;
                        continue;
                    }
                },
                None => self.next().await,
            };
            match notice {
                Some(Notice::Granted { token, .. }) => {
                    let (id, token) = (self.id, token.0);
                    self.stage.happen(Happening::Granted { id, token });
                    return true;
                }
                Some(Notice::Queued) => self.stage.happen(Happening::Queued { id: self.id }),
                Some(last) => {
                    self.over(last, None);
                    return false;
                }
                None => return false,
            }
        }
    }

    /// The next notice, or none when the run is over.
    async fn next(&mut self) -> Option<Notice> {
        tokio::select! {
            biased;
            notice = self.lock.next() => notice,
            () = self.stage.reached(Phase::Over) => None,
        }
    }

    /// Holds it for a while, looking all the time, and ends it.
    async fn hold(&mut self, attempt: &Attempt) {
        let end = self.stage.now() + attempt.hold;
        let mut renew = attempt.renew;
        let mut look = Look::default();
        loop {
            look.at(&self.stage, &self.lock);
            if self.stage.now() >= end || self.stage.phase() == Phase::Over {
                break;
            }
            if let Some(ttl) = renew
                && self.stage.now() + attempt.hold / 2 >= end
            {
                renew = None;
                self.call(Call::Renew(ttl)).await;
                continue;
            }
            // Cancel safe: a notice that comes at that moment is told by the next one.
            if let Ok(notice) = timeout(&TokioEnv, LOOK, self.lock.next()).await {
                look.tell(&self.stage, self.id);
                let Some(notice) = notice else { return };
                return self.over(notice, look.deadline);
            }
        }
        look.tell(&self.stage, self.id);
        if attempt.leaves {
            let (id, call) = (self.id, Call::Leave);
            // The client gives it back by itself when the lock is dropped.
            return self.stage.happen(Happening::Calls { id, call });
        }
        if self.call(Call::Release).await.is_some() {
            // It was over by itself, and a notice says how.
            if let Ok(Some(notice)) = timeout(&TokioEnv, Duration::ZERO, self.lock.next()).await {
                self.over(notice, None);
            }
        }
    }

    /// Calls, and gives the error. None when it is done, or when the run is over.
    async fn call(&mut self, call: Call) -> Option<String> {
        let id = self.id;
        self.stage.happen(Happening::Calls { id, call });
        let calling = async {
            match call {
                Call::Release => self.lock.release().await,
                Call::Cancel => self.lock.cancel().await,
                Call::Renew(ttl) => self.lock.renew(duration(ttl)).await.map(|_| ()),
                Call::Leave => Ok(()),
            }
        };
        let result: Result<(), CallError> = tokio::select! {
            biased;
            result = calling => result,
            () = self.stage.reached(Phase::Over) => return None,
        };
        let error = result.err().map(|error| error.to_string());
        let told = error.clone();
        self.stage.happen(Happening::Answered { id, call, error });
        told
    }

    fn over(&self, notice: Notice, believed_until: Option<Duration>) {
        let end = match notice {
            Notice::Refused(refused) if refused.code == ErrorCode::Busy => End::Busy,
            Notice::Refused(refused) => End::Strange(refused.to_string()),
            Notice::Ended(EndReason::Released) => End::Released,
            Notice::Ended(EndReason::Cancelled) => End::Cancelled,
            Notice::Ended(EndReason::TimedOut) => End::TimedOut,
            Notice::Ended(EndReason::Expired) => End::Expired,
            Notice::Ended(EndReason::SessionEnded) => End::Gone("its session has ended".into()),
            Notice::Lost(Lost::LeaseOver) => End::LeaseOver,
            Notice::Lost(Lost::OutOfTouch) => End::OutOfTouch,
            Notice::Lost(lost @ (Lost::GoneMeanwhile | Lost::SessionOver)) => {
                End::Gone(lost.to_string())
            }
            other => End::Strange(format!("{other:?}")),
        };
        self.stage.happen(Happening::Over {
            id: self.id,
            end,
            believed_until,
        });
    }
}

/// What a holder saw when it looked whether it believed.
#[derive(Debug, Default)]
struct Look {
    /// After the first time at which it did, and before the last.
    believed: Option<(Duration, Duration)>,
    /// Until when it would have gone on, at the last look.
    deadline: Option<Duration>,
}

impl Look {
    fn at(&mut self, stage: &Stage, lock: &Lock<TokioEnv>) {
        let before = stage.now();
        let believes = lock.believes_held();
        let after = stage.now();
        self.deadline = lock.deadline().map(|until| stage.since_start(until));
        if believes {
            let (from, until) = self.believed.unwrap_or((after, after));
            self.believed = Some((from, until.max(before)));
        }
    }

    fn tell(&mut self, stage: &Stage, id: RequestId) {
        if let Some((from, until)) = self.believed.take() {
            stage.happen(Happening::Believed { id, from, until });
        }
    }
}

fn duration(ms: u64) -> DurationMs {
    DurationMs::new(ms).expect("what is drawn is small")
}

/// Closes sessions; gives how many were not, since the machine was too slow: they last.
pub(super) async fn close(clients: Vec<Client<TokioEnv>>) -> usize {
    let mut unanswered = 0;
    for client in clients {
        if client.close().await == Err(CallError::Unanswered) {
            unanswered += 1;
        }
    }
    unanswered
}
