//! No lost wake-ups on the way to who waits over HTTP: who is connected and undisturbed is answered
//! within a bounded time when its request is granted, refused or over (SEMANTICS section 7.6).

use super::{
    Happening, ServiceOracle,
    calm::{Calm, news_within},
    in_ms,
};
use crate::{op::Text, oracle::Verdict, plan::ServicePlan};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// The oracle.
#[derive(Debug)]
pub struct HttpPrompt {
    calm: Calm,
    /// How long an answer may take.
    patience: Duration,
    /// Who waits, on which host, and since when its connection is being made.
    waiting: BTreeMap<Text, (usize, Duration)>,
    /// Answers on their way, by the time at which they were sent: what happened.
    due: BTreeMap<(Duration, Text), &'static str>,
}

impl HttpPrompt {
    /// For a plan's world.
    #[must_use]
    pub fn new(plan: Arc<ServicePlan>) -> HttpPrompt {
        HttpPrompt {
            patience: news_within(&plan),
            calm: Calm::new(plan),
            waiting: BTreeMap::new(),
            due: BTreeMap::new(),
        }
    }

    fn expect(&mut self, now: Duration, id: &Text, what: &'static str) {
        let Some((host, since)) = self.waiting.get(id) else {
            return;
        };
        let until = now + self.patience;
        if self.calm.is_delivery(*host, *since, now, until) {
            self.due.insert((now, id.clone()), what);
        }
    }

    fn forget(&mut self, id: &Text) {
        self.waiting.remove(id);
        self.due.retain(|(_, other), _| other != id);
    }
}

impl ServiceOracle for HttpPrompt {
    fn name(&self) -> &'static str {
        "http_prompt"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 7.6 liveness: no lost wake-up"
    }

    fn see(&mut self, now: Duration, happening: &Happening) -> Verdict {
        if let Some(((sent, id), what)) = self.due.first_key_value()
            && now > *sent + self.patience
        {
            return Err(format!(
                "the caller of {id} was not told over HTTP that it {what} at {} ms, though \
                 nothing disturbed its connection",
                in_ms(*sent)
            ));
        }
        match happening {
            Happening::HttpAsked {
                id, host, since, ..
            } => {
                self.waiting.insert(id.clone(), (*host, *since));
            }
            Happening::HttpAnswered { id, .. }
            | Happening::HttpGone { id }
            | Happening::Left { id } => self.forget(id),
            Happening::Granted { id, .. } => self.expect(now, id, "was granted"),
            Happening::Refused { id, .. } => self.expect(now, id, "was refused"),
            Happening::Ended {
                id,
                reason: "timed_out",
                ..
            } => self.expect(now, id, "timed out"),
            Happening::Ended {
                id,
                reason: "broken",
                ..
            } => self.expect(now, id, "was broken"),
            Happening::ServerDown | Happening::ServerHalted => {
                self.waiting.clear();
                self.due.clear();
            }
            Happening::HostDown { host } => {
                self.waiting.retain(|_, (other, _)| other != host);
                let waiting = &self.waiting;
                self.due.retain(|(_, id), _| waiting.contains_key(id));
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::calm::tests::{CUT, fault, plan},
        *,
    };
    use crate::{
        op::OpWait,
        oracle::service::{HttpAnswer, Wanted},
        plan::Fault,
    };

    /// A request that is granted at 2 s, and what follows.
    fn story(faults: Vec<Fault>, then: &[(u64, Happening)]) -> Verdict {
        let mut oracle = HttpPrompt::new(plan(faults));
        let mut see = |ms, happening: &Happening| oracle.see(Duration::from_millis(ms), happening);
        let asked = Happening::HttpAsked {
            id: "h1".into(),
            host: 0,
            node: 0,
            since: Duration::from_millis(1_000),
            holder: "alice".into(),
            wanted: Wanted {
                namespace: "default".into(),
                claims: Vec::new(),
                ttl: Some(100),
                wait: OpWait::Forever,
            },
        };
        see(1_005, &asked).unwrap();
        let id = Text::from("h1");
        see(2_000, &Happening::Granted { id, token: 1 }).unwrap();
        then.iter()
            .try_for_each(|(ms, happening)| see(*ms, happening))
    }

    #[test]
    fn an_answer_that_never_comes_is_seen() {
        assert_eq!(story(Vec::new(), &[(2_070, Happening::Healed)]), Ok(()));
        assert!(story(Vec::new(), &[(2_071, Happening::Healed)]).is_err());
        let cut = fault(1_500, 10, CUT);
        assert_eq!(story(vec![cut], &[(2_071, Happening::Healed)]), Ok(()));
    }

    #[test]
    fn an_answer_in_time_is_fine() {
        let answered = Happening::HttpAnswered {
            id: "h1".into(),
            answer: HttpAnswer::Granted {
                token: 1,
                believed_until: None,
            },
        };
        let then = [(2_060, answered), (3_000, Happening::Healed)];
        assert_eq!(story(Vec::new(), &then), Ok(()));
        let hangs_up = Happening::HttpGone { id: "h1".into() };
        let then = [(2_010, hangs_up), (3_000, Happening::Healed)];
        assert_eq!(story(Vec::new(), &then), Ok(()));
    }
}
