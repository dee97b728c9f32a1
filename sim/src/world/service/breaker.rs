//! A client over HTTP that breaks a lock, ends a session, or asks which token counts: as the plan says, with
//! a deadline on everything, and again at another node when there is no answer.

use super::{
    env::SimEnv,
    host::{Host, simulated},
    http_wire::{self, Answer, Question},
    server_host::{ADMIN_TOKEN, address_of},
    stage::{Busy, Stage, Worker},
};
use crate::{
    op::{OpClaim, Text},
    oracle::service::{
        Happening,
        breaks::{self, Asked, Request, RequestKey},
        watch::{OwnerKind, sorted},
    },
    plan::{BreakerDeed, BreakerPlan, Credentials, RETRY_PAUSE_MS},
};
use lockwright_engine::{LockInfo, LockState, Owner};
use lockwright_env::{Env as _, sleep, timeout};
use serde_json::{Value, json};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// The status of an answer that says that a server cannot serve now, and another one may.
const UNAVAILABLE: u16 = 503;

/// One of a plan.
pub(super) struct Breaker {
    stage: Arc<Stage>,
    host: Host,
    plan: BreakerPlan,
    /// Begins the name of each question.
    name: String,
    _busy: Busy,
}

impl Breaker {
    /// The one with this index, on a host in its life number `start`.
    pub(super) fn new(stage: &Arc<Stage>, index: usize, start: u32) -> Breaker {
        let plan = stage.plan.breakers[index].clone();
        let name = format!("b{index}-{start}");
        Breaker {
            host: stage.hosts[plan.host].clone(),
            // From now on: a pause may hold it back until all has healed.
            _busy: stage.busy(Worker::Attempt(Text::from(name.clone()))),
            stage: stage.clone(),
            plan,
            name,
        }
    }

    /// Looks, chooses, and asks until it is answered.
    pub(super) async fn run(self) {
        self.host
            .sleep_until_simulated(Duration::from_millis(self.plan.at_ms))
            .await;
        let Some(question) = self.choose() else {
            return;
        };
        sleep(&self.env(), Duration::from_millis(self.plan.rest_ms)).await;
        self.ask_until_answered(&question, "").await;
        if let Some(again_ms) = self.plan.again_ms {
            sleep(&self.env(), Duration::from_millis(again_ms)).await;
            self.ask_until_answered(&question, "-again").await;
        }
    }

    /// What it asks for, by what there is now; none when there is nothing of that kind.
    fn choose(&self) -> Option<breaks::Question> {
        let plan = &self.plan;
        let (namespace, path) = (plan.namespace.clone(), plan.path.clone());
        let of_request = |found: &LockInfo, path: Text, by_id: bool, token: Option<u64>| {
            let id = by_id.then(|| found.key.id.clone().into());
            let owner = owner_of(&found.key.owner);
            Asked::BreakOf {
                path,
                owner,
                id,
                token,
            }
        };
        let found = || self.stage.some_request(&namespace, &path, plan.at_ms);
        let what = match plan.deed {
            BreakerDeed::Path => Asked::BreakAt { path, token: None },
            BreakerDeed::Fence => Asked::Fence { path },
            BreakerDeed::Session => {
                let (namespace, session) = self.stage.some_session(plan.at_ms)?;
                let what = Asked::EndSession { session };
                return Some(breaks::Question { namespace, what });
            }
            BreakerDeed::Token => {
                let (found, path) = found()?;
                // That of one that waits does not exist yet.
                let token = Some(token_of(&found).unwrap_or(plan.at_ms));
                Asked::BreakAt { path, token }
            }
            BreakerDeed::Owner => {
                let (found, path) = found()?;
                of_request(&found, path, false, None)
            }
            BreakerDeed::Request => {
                let (found, path) = found()?;
                of_request(&found, path, true, None)
            }
            BreakerDeed::RequestWithToken => {
                let (found, path) = found()?;
                let token = token_of(&found).unwrap_or(plan.at_ms);
                of_request(&found, path, true, Some(token))
            }
        };
        Some(breaks::Question { namespace, what })
    }

    async fn ask_until_answered(&self, question: &breaks::Question, which: &str) {
        let tries = usize::try_from(self.plan.retries).expect("they are few") + 1;
        for number in 0..tries {
            let ask = Text::from(format!("{}{which}-{number}", self.name));
            let node = (self.plan.node + number) % self.stage.nodes.len();
            if self.is_answered(ask, node, question).await {
                return;
            }
            sleep(&self.env(), Duration::from_millis(RETRY_PAUSE_MS)).await;
        }
    }

    /// Asks once, on a connection of its own; whether it has an answer that says more than that the server
    /// cannot answer now.
    async fn is_answered(&self, ask: Text, node: usize, question: &breaks::Question) -> bool {
        let env = self.env();
        let has_asked = AtomicBool::new(false);
        let asking = async {
            let mut stream = env.connect(&address_of(&self.stage, node)).await?;
            has_asked.store(true, Ordering::Relaxed);
            self.happen(&Happening::BreakAsked {
                ask: ask.clone(),
                host: self.plan.host,
                question: question.clone(),
                by_operator: self.plan.credentials.is_right(),
            });
            http_wire::ask(&mut stream, &self.in_http(question)).await
        };
        let patience = Duration::from_millis(self.plan.patience_ms);
        let answer: Option<io::Result<Answer>> = timeout(&env, patience, asking).await.ok();
        let Some(Ok(answer)) = answer else {
            if has_asked.load(Ordering::Relaxed) {
                self.happen(&Happening::BreakGone { ask });
            }
            return false;
        };
        let is_of_use = answer.status != UNAVAILABLE;
        let answer = understood(question, &answer);
        self.happen(&Happening::BreakAnswered { ask, answer });
        is_of_use
    }

    fn in_http(&self, question: &breaks::Question) -> Question {
        let headers = match self.plan.credentials {
            Credentials::Right => format!("Authorization: Bearer {ADMIN_TOKEN}\r\n"),
            Credentials::Missing => String::new(),
            Credentials::Wrong => {
                "Authorization: Bearer of-somebody-else-who-guesses\r\n".to_owned()
            }
        };
        let namespace = &*question.namespace;
        let broken = |mut body: Value, token: &Option<u64>| {
            body["namespace"] = json!(namespace);
            if let Some(token) = token {
                body["token"] = json!(token);
            }
            ("POST", "/v1/break".to_owned(), Some(body))
        };
        let (method, target, body) = match &question.what {
            Asked::BreakAt { path, token } => broken(json!({"key": &**path}), token),
            Asked::BreakOf {
                path,
                owner,
                id,
                token,
            } => {
                let kind = match owner.0 {
                    OwnerKind::Holder => "holder",
                    OwnerKind::Session => "session",
                };
                let mut body = json!({"key": &**path, "owner": {kind: &*owner.1}});
                if let Some(id) = id {
                    body["id"] = json!(&**id);
                }
                broken(body, token)
            }
            Asked::EndSession { session } => {
                let namespace = http_wire::escaped(namespace);
                let target = format!("/v1/sessions/{session}?namespace={namespace}");
                ("DELETE", target, None)
            }
            Asked::Fence { path } => {
                let (path, namespace) = (http_wire::escaped(path), http_wire::escaped(namespace));
                let target = format!("/v1/fence?key={path}&namespace={namespace}");
                ("GET", target, None)
            }
        };
        Question {
            method,
            target,
            body,
            headers,
        }
    }

    fn env(&self) -> SimEnv {
        SimEnv::new(self.host.clone())
    }

    fn happen(&self, happening: &Happening) {
        self.stage.happen(simulated(), happening);
    }
}

fn owner_of(owner: &Owner) -> (OwnerKind, Text) {
    let kind = match owner {
        Owner::Named(_) => OwnerKind::Holder,
        Owner::Session(_) => OwnerKind::Session,
    };
    (kind, owner.name().clone().into())
}

fn token_of(lock: &LockInfo) -> Option<u64> {
    match lock.state {
        LockState::Held { token, .. } => Some(token.0),
        LockState::Queued { .. } | LockState::Ended { .. } => None,
    }
}

/// What an answer says.
fn understood(question: &breaks::Question, answer: &Answer) -> breaks::Answer {
    let body = &answer.body;
    if answer.status != 200 {
        return match body["error"].as_str() {
            Some(code) => breaks::Answer::Refused {
                status: answer.status,
                code: Text::from(code),
                is_undone: body["done"] == false,
            },
            None => odd(answer),
        };
    }
    let understood = match &question.what {
        Asked::BreakAt { .. } | Asked::BreakOf { .. } => broken(body),
        Asked::EndSession { session } => session_ended(body)
            .filter(|_| body["session"] == **session && body["namespace"] == *question.namespace),
        Asked::Fence { path } => token(body).filter(|_| body["key"] == **path),
    };
    understood.unwrap_or_else(|| odd(answer))
}

fn odd(Answer { status, body }: &Answer) -> breaks::Answer {
    breaks::Answer::Odd(Text::from(format!("{status} {body}")))
}

fn broken(body: &Value) -> Option<breaks::Answer> {
    Some(breaks::Answer::Broken {
        requests: requests(&body["broken"])?,
        more: match &body["more"] {
            Value::Null => false,
            more => more.as_bool()?,
        },
    })
}

fn session_ended(body: &Value) -> Option<breaks::Answer> {
    let is_ended = body["ended"] == true;
    Some(breaks::Answer::SessionEnded {
        count: body["requests"].as_u64().filter(|_| is_ended)?,
        requests: requests(&body["locks"])?,
    })
}

fn token(body: &Value) -> Option<breaks::Answer> {
    let token = match &body["token"] {
        Value::Null => None,
        token => Some(token.as_u64()?),
    };
    (body["held"] == token.is_some()).then_some(breaks::Answer::Token(token))
}

fn requests(views: &Value) -> Option<Vec<Request>> {
    views.as_array()?.iter().map(request).collect()
}

fn request(view: &Value) -> Option<Request> {
    let text = |value: &Value| value.as_str().map(Text::from);
    let owner = &view["owner"];
    let owner = match text(&owner["holder"]) {
        Some(holder) => (OwnerKind::Holder, holder),
        None => (OwnerKind::Session, text(&owner["session"])?),
    };
    let token = view["token"].as_u64();
    let state = if token.is_some() { "held" } else { "queued" };
    let claims = view["claims"].as_array()?.iter().map(claim);
    let claims: Option<Vec<OpClaim>> = claims.collect();
    (view["state"] == state).then_some(())?;
    Some(Request {
        key: RequestKey {
            namespace: text(&view["namespace"])?,
            owner,
            id: text(&view["id"])?,
        },
        claims: sorted(claims?),
        token,
    })
}

fn claim(view: &Value) -> Option<OpClaim> {
    Some(OpClaim {
        write: match view["mode"].as_str()? {
            "write" => true,
            "read" => false,
            _ => return None,
        },
        path: Text::from(view["path"].as_str()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(what: Asked) -> breaks::Question {
        let namespace = Text::from("n");
        breaks::Question { namespace, what }
    }

    #[test]
    fn what_is_no_answer_to_the_question_is_odd() {
        let at = || Asked::BreakAt {
            path: "a".into(),
            token: None,
        };
        let fence = || Asked::Fence { path: "a".into() };
        let session = || Asked::EndSession {
            session: "s".into(),
        };
        let lock = json!({"namespace": "n", "id": "L", "owner": {"holder": "h"}, "state": "held",
            "token": 7, "claims": [{"mode": "write", "path": "a"}]});
        let mut waits = lock.clone();
        waits["state"] = json!("queued");
        let ended = json!({"namespace": "n", "session": "s", "ended": true, "requests": 1, "locks": [lock]});
        let mut other = ended.clone();
        other["session"] = json!("t");
        for (what, status, body, is_odd) in [
            (at(), 200, json!({"broken": [lock]}), false),
            (at(), 200, json!({"broken": [waits]}), true),
            (at(), 200, json!({"broken": [lock], "more": "no"}), true),
            (at(), 409, json!({"error": "not_held"}), false),
            (at(), 500, json!({}), true),
            (session(), 200, ended, false),
            (session(), 200, other, true),
            (
                fence(),
                200,
                json!({"key": "a", "held": true, "token": 7}),
                false,
            ),
            (
                fence(),
                200,
                json!({"key": "a", "held": false, "token": null}),
                false,
            ),
            (
                fence(),
                200,
                json!({"key": "a", "held": false, "token": 7}),
                true,
            ),
            (
                fence(),
                200,
                json!({"key": "b", "held": true, "token": 7}),
                true,
            ),
        ] {
            let text = body.to_string();
            let understood = understood(&question(what), &Answer { status, body });
            let got = matches!(understood, breaks::Answer::Odd(_));
            assert_eq!(got, is_odd, "{status} {text}");
        }
    }
}
