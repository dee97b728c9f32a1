//! Somebody who asks for locks over HTTP, without a session: as the plan says, with a deadline on
//! everything, on a new connection whenever one breaks.

use super::{
    env::{SimEnv, SimStream},
    host::{Host, simulated},
    http_wire::{self, Answer, Question},
    server_host::address_of,
    stage::{Busy, Stage, Worker},
};
use crate::{
    op::{OpClaim, OpOwner, OpWait, Text},
    oracle::service::{Call, Happening, HttpAnswer, MistakenAnswer, Wanted, labels},
    plan::{HttpAttempt, Mistake, RETRY_PAUSE_MS},
};
use lockwright_env::{Env as _, sleep, timeout};
use serde_json::{Value, json};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// The status of an answer that says that a server cannot serve now, and another one may.
const UNAVAILABLE: u16 = 503;

/// Between the name of a holder and the id of its only request, when the server names that one.
const ONLY: char = '.';

/// The request that was answered with a lock by what a server wrote; none if it was another answer, or
/// of a request that its caller has named.
pub(super) fn told(written: &[u8]) -> Option<Text> {
    let answer = http_wire::parse(written).ok()??;
    let is_lock = answer.status == 200 && answer.body["token"].is_u64();
    let holder = answer.body["holder"].as_str().filter(|_| is_lock)?;
    let (_, id) = holder.split_once(ONLY)?;
    Some(Text::from(id))
}

/// How the oracles name a request of the engine. One that the server has named is told by its
/// holder, who has no other.
pub(super) fn request_of(owner: &OpOwner, id: &Text) -> Text {
    match owner {
        OpOwner::Named(name) => match name.split_once(ONLY) {
            Some((_, id)) => Text::from(id),
            None => id.clone(),
        },
        OpOwner::Session(_) => id.clone(),
    }
}

/// An attempt of the plan, and who makes it.
pub(super) struct Caller {
    stage: Arc<Stage>,
    host: Host,
    attempt: HttpAttempt,
    id: Text,
    holder: Text,
    /// The server that it asks.
    node: AtomicUsize,
    /// Whether the last answer was that the server cannot serve now.
    is_unavailable: AtomicBool,
    _busy: Busy,
}

impl Caller {
    /// Who makes the attempt with this index, on a host in its life number `start`.
    pub(super) fn new(stage: &Arc<Stage>, index: usize, start: u32) -> Caller {
        let attempt = stage.plan.http[index].clone();
        let id = Text::from(format!("h{index}-{start}"));
        let holder = if attempt.is_named() {
            attempt.holder.clone()
        } else {
            Text::from(format!("{}{ONLY}{id}", attempt.holder))
        };
        Caller {
            host: stage.hosts[attempt.host].clone(),
            // From now on: a pause may hold it back until all has healed.
            _busy: stage.busy(Worker::Attempt(id.clone())),
            stage: stage.clone(),
            attempt,
            id,
            holder,
            node: AtomicUsize::new(index),
            is_unavailable: AtomicBool::new(false),
        }
    }

    /// Asks, holds and releases.
    pub(super) async fn run(self) {
        self.host
            .sleep_until_simulated(Duration::from_millis(self.attempt.at_ms))
            .await;
        // Kept from one call to the next while it lasts.
        let (mut connection, token) = if self.attempt.hangs_up {
            self.ask_and_hang_up().await;
            (None, None)
        } else if self.attempt.twice {
            let (first, second) = tokio::join!(self.ask(), self.ask());
            let (kept, token) = first.unwrap_or_default();
            (kept, token.or(second.and_then(|(_, token)| token)))
        } else {
            self.ask_until_answered().await
        };
        if let Some(token) = token {
            let granted_at = self.host.local();
            tokio::join!(
                self.hold(token, &mut connection),
                self.make_mistakes(granted_at)
            );
        }
        drop(connection);
        self.happen(&Happening::Left {
            id: self.id.clone(),
        });
    }

    async fn ask_until_answered(&self) -> (Option<SimStream>, Option<u64>) {
        for _ in 0..self.attempt.retries {
            match self.ask().await {
                Some((_, None)) if self.is_unavailable.swap(false, Ordering::Relaxed) => {}
                Some(answered) => return answered,
                None => {}
            }
            self.turn_to_the_next();
            self.rest().await;
        }
        self.ask().await.unwrap_or_default()
    }

    /// Asks once, and does not wait for the answer.
    async fn ask_and_hang_up(&self) {
        let since = simulated();
        let patience = Duration::from_millis(self.attempt.patience_ms);
        let Ok(Ok(mut stream)) = timeout(&self.env(), patience, self.connect()).await else {
            return;
        };
        self.asked(since);
        // It fails when the connection breaks, which comes to the same.
        let _ = http_wire::say(&mut stream, &self.acquire()).await;
        drop(stream);
        self.happen(&Happening::HttpGone {
            id: self.id.clone(),
        });
    }

    /// Its connection is there, which was being made since then.
    fn asked(&self, since: Duration) {
        self.happen(&Happening::HttpAsked {
            id: self.id.clone(),
            host: self.attempt.host,
            node: self.server(),
            since,
            holder: self.holder.clone(),
            wanted: self.wanted(),
        });
    }

    /// Asks once, on a connection of its own; gives that and the token, if there is one. None
    /// without an answer.
    async fn ask(&self) -> Option<(Option<SimStream>, Option<u64>)> {
        let (since, sent_at) = (simulated(), self.host.local());
        let has_asked = AtomicBool::new(false);
        let asking = async {
            let mut stream = self.connect().await?;
            has_asked.store(true, Ordering::Relaxed);
            self.asked(since);
            let answer = http_wire::ask(&mut stream, &self.acquire()).await?;
            Ok::<_, io::Error>((stream, answer))
        };
        let patience = Duration::from_millis(self.attempt.patience_ms);
        let Ok(Ok((stream, answer))) = timeout(&self.env(), patience, asking).await else {
            if has_asked.load(Ordering::Relaxed) {
                self.happen(&Happening::HttpGone {
                    id: self.id.clone(),
                });
            }
            return None;
        };
        self.is_unavailable
            .store(answer.status == UNAVAILABLE, Ordering::Relaxed);
        let answer = self.acquired(&answer, sent_at);
        let token = match &answer {
            HttpAnswer::Granted { token, .. } => Some(*token),
            HttpAnswer::Refused { .. } => None,
        };
        self.happen(&Happening::HttpAnswered {
            id: self.id.clone(),
            answer,
        });
        Some((Some(stream), token))
    }

    /// What an answer says to a careful caller, who counts its lease from the moment at which it
    /// asked, and takes into account that clocks differ in their rates (SEMANTICS section 7.4).
    fn acquired(&self, answer: &Answer, sent_at: Duration) -> HttpAnswer {
        let token = answer.body["token"].as_u64();
        let (200, Some(token)) = (answer.status, token) else {
            return HttpAnswer::Refused {
                code: code_of(answer),
            };
        };
        let lease_ms = answer.body["lease_ms"].as_u64();
        let safe_ms = |lease_ms: u64| lease_ms - lease_ms.div_ceil(100);
        let until = lease_ms.map(|lease_ms| sent_at + Duration::from_millis(safe_ms(lease_ms)));
        HttpAnswer::Granted {
            token,
            believed_until: until.map(|until| self.host.clock().when(until)),
        }
    }

    /// Holds the lock for as long as the plan says, or as the server renews it.
    async fn hold(&self, token: u64, connection: &mut Option<SimStream>) {
        let Some(hold_ms) = self.attempt.hold_ms else {
            return;
        };
        let env = self.env();
        let release_at = self.host.local() + Duration::from_millis(hold_ms);
        let mut is_lost = false;
        while let Some(renew) = self.attempt.renew {
            let renew_at = self.host.local() + Duration::from_millis(renew.every_ms);
            if renew_at >= release_at || is_lost {
                break;
            }
            env.sleep_until(renew_at).await;
            let call = Call::Renew { ttl: renew.ttl_ms };
            is_lost = self.call(call, token, connection).await.is_err();
        }
        env.sleep_until(release_at).await;
        // Who knows that it has lost the lock has nothing to release.
        if !is_lost {
            let _ = self.call(Call::Release, token, connection).await;
        }
        if let Some(again_ms) = self.attempt.again_ms {
            sleep(&env, Duration::from_millis(again_ms)).await;
            let _ = self.call(Call::Release, token, connection).await;
        }
    }

    /// Asks with the id of its request for something else, as often as the plan says.
    async fn make_mistakes(&self, granted_at: Duration) {
        for mistake in &self.attempt.mistakes {
            let at = granted_at + Duration::from_millis(mistake.after_ms);
            self.env().sleep_until(at).await;
            let node = self.server();
            if mistake.twice {
                tokio::join!(self.mistake(mistake, node), self.mistake(mistake, node + 1));
            } else {
                self.mistake(mistake, node + 1).await;
            }
        }
    }

    async fn mistake(&self, mistake: &Mistake, node: usize) {
        let node = node % self.stage.nodes.len();
        let asking = async {
            let address = address_of(&self.stage, node);
            let mut stream = self.env().connect(&address).await?;
            self.happen(&Happening::HttpMistaken {
                id: self.id.clone(),
                claims: mistake.claims.clone(),
            });
            http_wire::ask(&mut stream, &self.acquire_for(&mistake.claims)).await
        };
        let patience = Duration::from_millis(self.attempt.patience_ms);
        if let Ok(Ok(answer)) = timeout(&self.env(), patience, asking).await {
            self.happen(&Happening::HttpMistakenAnswered {
                id: self.id.clone(),
                claims: mistake.claims.clone(),
                answer: mistaken_answer(&answer),
            });
        }
    }

    /// Uses the lock; gives an error when the server has refused that.
    async fn call(
        &self,
        call: Call,
        token: u64,
        connection: &mut Option<SimStream>,
    ) -> Result<(), Text> {
        for left in (0..=self.attempt.retries).rev() {
            self.happen(&Happening::HttpCalled {
                id: self.id.clone(),
                call,
                token,
            });
            let answer = self.try_call(call, token, connection).await;
            let is_of_use = |answer: &Answer| left == 0 || answer.status != UNAVAILABLE;
            if let Some(answer) = answer.filter(is_of_use) {
                let error = (answer.status != 200).then(|| code_of(&answer));
                self.happen(&Happening::HttpDone {
                    id: self.id.clone(),
                    call,
                    token,
                    error: error.clone(),
                });
                return error.map_or(Ok(()), Err);
            }
            *connection = None;
            self.turn_to_the_next();
            if left > 0 {
                self.rest().await;
            }
        }
        // It does not know, and the lease will tell.
        Ok(())
    }

    async fn try_call(
        &self,
        call: Call,
        token: u64,
        connection: &mut Option<SimStream>,
    ) -> Option<Answer> {
        let question = self.use_of(call, token);
        let kept = connection.take();
        let calling = async {
            // The server closes what is idle for long, and that is no reason to give up.
            if let Some(mut stream) = kept
                && let Ok(answer) = http_wire::ask(&mut stream, &question).await
            {
                return Ok((stream, answer));
            }
            let mut stream = self.connect().await?;
            let answer = http_wire::ask(&mut stream, &question).await?;
            Ok::<_, io::Error>((stream, answer))
        };
        let patience = Duration::from_millis(self.attempt.patience_ms);
        let (stream, answer) = timeout(&self.env(), patience, calling).await.ok()?.ok()?;
        *connection = Some(stream);
        Some(answer)
    }

    fn wanted(&self) -> Wanted {
        Wanted {
            namespace: self.attempt.namespace.clone(),
            claims: self.attempt.claims.clone(),
            ttl: Some(self.attempt.ttl_ms),
            wait: self.attempt.wait,
        }
    }

    fn acquire(&self) -> Question {
        self.acquire_for(&self.attempt.claims)
    }

    fn acquire_for(&self, claims: &[OpClaim]) -> Question {
        let attempt = &self.attempt;
        let mut body = json!({
            "holder": &*self.holder,
            "namespace": &*attempt.namespace,
            "ttl_ms": attempt.ttl_ms,
        });
        match attempt.wait {
            OpWait::No => {}
            OpWait::For(ms) => body["wait_ms"] = json!(ms),
            OpWait::Forever => body["wait_ms"] = json!("forever"),
        }
        if attempt.is_named() {
            body["request_id"] = json!(&*self.id);
        }
        if let Some(label) = labels::of_request(&self.id) {
            body["label"] = json!(&*label);
        }
        match claims {
            [claim] => {
                body["mode"] = json!(if claim.write { "write" } else { "read" });
                if attempt.by_path && *claim.path != *"/" {
                    return in_query("POST", &claim.path, &body);
                }
                body["key"] = json!(&*claim.path);
            }
            claims => {
                let claims: Vec<String> = claims.iter().map(ToString::to_string).collect();
                body["claims"] = json!(claims);
            }
        }
        in_body("/v1/acquire", body)
    }

    fn use_of(&self, call: Call, token: u64) -> Question {
        // Any of the paths names the lock.
        let claims = &self.attempt.claims;
        let count = u64::try_from(claims.len()).expect("claims are few");
        let claim = &claims[usize::try_from(token % count).expect("it is below the count")];
        let mut body = json!({
            "holder": &*self.holder,
            "token": token,
            "namespace": &*self.attempt.namespace,
        });
        match call {
            Call::Release if self.attempt.by_path => in_query("DELETE", &claim.path, &body),
            Call::Release => {
                body["key"] = json!(&*claim.path);
                in_body("/v1/release", body)
            }
            Call::Renew { ttl } => {
                body["key"] = json!(&*claim.path);
                body["ttl_ms"] = json!(ttl);
                in_body("/v1/renew", body)
            }
            Call::Cancel => unreachable!("over HTTP one gives up by going away"),
        }
    }

    async fn connect(&self) -> io::Result<SimStream> {
        let address = address_of(&self.stage, self.server());
        self.env().connect(&address).await
    }

    /// The server that it asks.
    fn server(&self) -> usize {
        self.node.load(Ordering::Relaxed) % self.stage.nodes.len()
    }

    /// Whom it asked has no answer: it asks another one, if there is one.
    fn turn_to_the_next(&self) {
        self.node.fetch_add(1, Ordering::Relaxed);
    }

    async fn rest(&self) {
        sleep(&self.env(), Duration::from_millis(RETRY_PAUSE_MS)).await;
    }

    fn env(&self) -> SimEnv {
        SimEnv::new(self.host.clone())
    }

    fn happen(&self, happening: &Happening) {
        self.stage.happen(simulated(), happening);
    }
}

/// As the routes below `/v1` are asked.
fn in_body(target: &str, body: Value) -> Question {
    Question {
        method: "POST",
        target: target.to_owned(),
        body: Some(body),
        headers: String::new(),
    }
}

/// As `/lock/...` is asked: with everything in the query.
fn in_query(method: &'static str, path: &str, fields: &Value) -> Question {
    let fields = fields.as_object().into_iter().flatten();
    let fields: Vec<String> = fields
        .map(|(name, value)| match value.as_str() {
            Some(text) => format!("{name}={text}"),
            None => format!("{name}={value}"),
        })
        .collect();
    Question {
        method,
        target: format!("/lock/{path}?{}", fields.join("&")),
        body: None,
        headers: String::new(),
    }
}

/// What one is told who asks with the id of another request.
fn mistaken_answer(answer: &Answer) -> MistakenAnswer {
    let text = |name: &str| answer.body[name].as_str().map(Text::from);
    let claims = answer.body["claims"].as_array().into_iter().flatten();
    let claim = |claim: &Value| OpClaim {
        write: claim["mode"] == "write",
        path: Text::from(claim["path"].as_str().unwrap_or_default()),
    };
    let fields = answer.body.as_object().into_iter().flatten();
    let others = fields.filter(|(name, _)| !["error", "claims", "ended"].contains(&name.as_str()));
    MistakenAnswer {
        status: answer.status,
        error: text("error"),
        claims: claims.map(claim).collect(),
        ended: text("ended"),
        others: others.map(|(name, _)| name.clone()).collect(),
    }
}

/// The code of an error, or what came instead of one.
fn code_of(answer: &Answer) -> Text {
    match answer.body["error"].as_str() {
        Some(code) => Text::from(code),
        None => Text::from(format!("{} {}", answer.status, answer.body)),
    }
}
