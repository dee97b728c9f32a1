//! Those who come over HTTP, without a session: visitors, who have paths of their own and so know
//! exactly what each answer must be, and the auditor, who asks for lists of all locks.

use super::happening::{Call, Happening, Listed, RequestId, Waits, Wanted, Who};
use super::http;
use super::judge::Broken;
use super::stage::{Phase, Stage};
use lockwright_client::{Claim, Path};
use lockwright_sim::draw::Draw;
use serde_json::{Value, json};
use std::rc::Rc;
use std::time::Duration;

/// What is broken when an answer cannot be.
const KEPT: &str = "durability (SEMANTICS 7.5)";

/// How often the auditor asks.
const AUDIT: Duration = Duration::from_millis(200);

/// Before something is asked again that was not answered.
const AGAIN: Duration = Duration::from_millis(30);

/// A visitor, who takes a path of its own and gives it back, again and again.
pub(super) struct Visitor {
    pub(super) stage: Rc<Stage>,
    pub(super) number: usize,
    pub(super) addresses: Vec<String>,
    pub(super) draw: Draw,
}

/// A lock that it holds.
struct Held {
    id: RequestId,
    body: Value,
    token: u64,
}

impl Visitor {
    /// Goes on until the phase of work is over, and then until it has nothing any more.
    pub(super) async fn run(mut self) {
        let mut last: Option<Held> = None;
        while self.stage.phase() == Phase::Work {
            if let Some(released) = &last
                && self.draw.chance(1, 3)
            {
                self.release_again(released).await;
            }
            let Some(held) = self.acquire().await else {
                return;
            };
            while self.draw.chance(1, 2) && self.stage.phase() == Phase::Work {
                self.pause().await;
                self.ask_again(&held).await;
            }
            self.pause().await;
            if !self.release(&held).await {
                return;
            }
            last = Some(held);
        }
    }

    async fn acquire(&mut self) -> Option<Held> {
        let id = self.stage.draw_id();
        let path = format!("visitors/{}", self.number);
        let wanted = Wanted {
            who: Who::Visitor(self.number),
            claims: vec![Claim::write(
                Path::parse(path.as_str()).expect("it is a path"),
            )],
            ttl_ms: None,
            waits: Waits::No,
        };
        self.stage.happen(Happening::Asked { id, wanted });
        let body = json!({
            "key": path,
            "holder": format!("visitor {}", self.number),
            "request_id": id.to_string(),
        });
        let (status, answer, _) = self.insist("/v1/acquire", &body).await?;
        let token = answer["token"].as_u64().filter(|_| status == 200);
        let Some(token) = token else {
            let message = format!("{id} is asked for where nobody else is, and refused: {answer}");
            self.broken(message);
            return None;
        };
        self.stage.happen(Happening::Granted { id, token });
        Some(Held { id, body, token })
    }

    /// What was granted is told again with the same token.
    async fn ask_again(&mut self, held: &Held) {
        let Some((status, answer, _)) = self.insist("/v1/acquire", &held.body.clone()).await else {
            return;
        };
        if (status, answer["token"].as_u64()) != (200, Some(held.token)) {
            let (id, token) = (held.id, held.token);
            self.broken(format!(
                "{id} was granted with token {token}; asked for again, the answer is {status}: \
                 {answer}"
            ));
        }
    }

    async fn release(&mut self, held: &Held) -> bool {
        let (id, call) = (held.id, Call::Release);
        self.stage.happen(Happening::Calls { id, call });
        let body = json!({"key": held.body["key"], "token": held.token});
        let Some((status, answer, again)) = self.insist("/v1/release", &body).await else {
            return false;
        };
        // An earlier try may have released it.
        let over = again && status == 409 && answer["error"] == "not_held";
        let error = (status != 200 && !over).then(|| answer.to_string());
        self.stage.happen(Happening::Answered { id, call, error });
        true
    }

    /// What was released is not held.
    async fn release_again(&mut self, released: &Held) {
        let body = json!({"key": released.body["key"], "token": released.token});
        if let Some((status, answer, _)) = self.insist("/v1/release", &body).await
            && status == 200
        {
            let (id, token) = (released.id, released.token);
            self.broken(format!(
                "{id}, with token {token}, was released, which was acknowledged; asked for again, \
                 it was held, and is released: {answer}"
            ));
        }
    }

    /// Asks one server after the other until there is an answer that counts; says whether one that
    /// was asked before may have done it. None when the run is over.
    async fn insist(&mut self, path: &str, body: &Value) -> Option<(u16, Value, bool)> {
        let mut again = false;
        while self.stage.phase() != Phase::Over {
            let address = self.draw.pick(&self.addresses).clone();
            match http::ask(&address, "POST", path, Some(body)).await {
                Ok((status, answer)) if status != 503 => return Some((status, answer, again)),
                Ok(_) | Err(_) => again = true,
            }
            self.stage.wait(AGAIN, Phase::Over).await;
        }
        None
    }

    async fn pause(&mut self) {
        let time = super::programs::ms(self.draw.between_skewed(1, 512) - 1);
        self.stage.wait(time, Phase::Settle).await;
    }

    fn broken(&self, message: String) {
        let rule = KEPT;
        self.stage.break_off(Broken { rule, message });
    }
}

/// Asks for lists of all locks until the run is over.
pub(super) async fn audit(stage: Rc<Stage>, addresses: Vec<String>, mut draw: Draw) {
    while stage.phase() != Phase::Over {
        let address: &String = draw.pick(&addresses);
        list(&stage, address).await;
        stage.wait(AUDIT, Phase::Over).await;
    }
}

/// Asks for a list of all locks, and gives how many there are; none without an answer.
pub(super) async fn list(stage: &Stage, address: &str) -> Option<usize> {
    let asked = stage.now();
    let (status, answer) = http::ask(address, "GET", "/v1/locks?limit=1000", None)
        .await
        .ok()?;
    if status != 200 {
        return None;
    }
    let locks = answer["locks"].as_array()?;
    let read = |lock: &Value| {
        Some(Listed {
            id: RequestId::read(lock["id"].as_str()?)?,
            token: lock["token"].as_u64(),
        })
    };
    let locks: Option<Vec<Listed>> = locks.iter().map(read).collect();
    let Some(locks) = locks.filter(|_| answer["next_cursor"].is_null()) else {
        stage.break_off(Broken {
            rule: "inspection tells what there is",
            message: format!("a list of all locks makes no sense: {answer}"),
        });
        return None;
    };
    let count = locks.len();
    stage.happen(Happening::List { asked, locks });
    Some(count)
}

/// How many sessions there are; none without an answer.
pub(super) async fn sessions(address: &str) -> Option<usize> {
    let (status, answer) = http::ask(address, "GET", "/v1/sessions?limit=1000", None)
        .await
        .ok()?;
    let sessions = answer["sessions"].as_array()?;
    (status == 200).then_some(sessions.len())
}
