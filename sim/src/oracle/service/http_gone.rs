//! Nobody holds a lock who went away while it waited (SEMANTICS section 4: an owner without its
//! connection leaves the queue): what is granted over HTTP is granted to who is there to hear of
//! it. And who is there is not given up.
//!
//! A server learns of a connection that is gone when it is told; so it is judged where no fault can
//! be the excuse. A server that starts again has no connections, so that it has nothing to grant
//! until somebody asks.

use super::{
    Happening, ServiceOracle,
    calm::{Calm, news_within},
    in_ms,
};
use crate::{op::Text, oracle::Verdict, plan::ServicePlan};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// The oracle.
#[derive(Debug)]
pub struct HttpGone {
    calm: Calm,
    /// How long the server may take to notice.
    patience: Duration,
    requests: BTreeMap<Text, Known>,
    /// Requests of named holders that reached the engine since the server's last start.
    applied: BTreeSet<Text>,
    is_restarted: bool,
}

/// Who asks for a request.
#[derive(Debug)]
struct Known {
    host: usize,
    /// Since when its connections are being made: those that are open.
    open: Vec<Duration>,
    /// When the last connection went that it had, and since when that was being made.
    gone: Option<(Duration, Duration)>,
}

impl HttpGone {
    /// For a plan's world.
    #[must_use]
    pub fn new(plan: Arc<ServicePlan>) -> HttpGone {
        HttpGone {
            patience: news_within(&plan),
            calm: Calm::new(plan),
            requests: BTreeMap::new(),
            applied: BTreeSet::new(),
            is_restarted: false,
        }
    }

    fn granted(&self, now: Duration, id: &Text) -> Verdict {
        let Some(known) = self.requests.get(id) else {
            return Ok(());
        };
        if self.is_restarted && !self.applied.contains(id) {
            return Err(format!(
                "{id} is granted by a server that has started since it was asked for: the \
                 connection that waited for it was to the server before"
            ));
        }
        if let (true, Some((gone, since))) = (known.open.is_empty(), known.gone)
            && now > gone + self.patience
            && self
                .calm
                .is_delivery(known.host, since, gone, gone + self.patience)
        {
            return Err(format!(
                "{id} is granted, and its caller hung up at {} ms, while it waited",
                in_ms(gone)
            ));
        }
        Ok(())
    }

    fn cancelled(&self, now: Duration, id: &Text) -> Verdict {
        let Some(known) = self.requests.get(id) else {
            return Ok(());
        };
        match known.open.as_slice() {
            [since] if known.gone.is_none() && self.calm.is_connection(known.host, *since, now) => {
                Err(format!(
                    "{id} is given up, though its caller waits for it since {} ms, and nothing \
                     disturbs its connection",
                    in_ms(*since)
                ))
            }
            _ => Ok(()),
        }
    }

    /// One of the connections of a request is over.
    fn close(&mut self, now: Duration, id: &Text, is_gone: bool) {
        if let Some(known) = self.requests.get_mut(id) {
            // Two that were made at one moment are alike.
            let since = known.open.pop().unwrap_or_default();
            if is_gone {
                known.gone = Some((now, since));
            }
        }
    }
}

impl ServiceOracle for HttpGone {
    fn name(&self) -> &'static str {
        "http_gone"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 2 and 4: a request whose caller has gone leaves the queue at once"
    }

    fn see(&mut self, now: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::HttpAsked {
                id, host, since, ..
            } => {
                let known = self.requests.entry(id.clone()).or_insert(Known {
                    host: *host,
                    open: Vec::new(),
                    gone: None,
                });
                known.open.push(*since);
                Ok(())
            }
            Happening::HttpAnswered { id, .. } => {
                self.close(now, id, false);
                Ok(())
            }
            Happening::HttpGone { id } => {
                self.close(now, id, true);
                Ok(())
            }
            Happening::HttpApplied { id, .. } => {
                self.applied.insert(id.clone());
                Ok(())
            }
            Happening::ServerBack { .. } | Happening::ServerUp { .. } => {
                self.applied.clear();
                self.is_restarted = true;
                Ok(())
            }
            Happening::Granted { id, .. } => self.granted(now, id),
            Happening::Ended {
                id,
                reason: "cancelled",
                ..
            } => self.cancelled(now, id),
            // They did not hang up: they are no more.
            Happening::HostDown { host } => {
                self.requests.retain(|_, known| known.host != *host);
                Ok(())
            }
            Happening::Left { id } => {
                if let Some(known) = self.requests.get_mut(id) {
                    known.open.clear();
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::calm::tests::{CUT, fault, plan},
        *,
    };
    use crate::{op::OpWait, oracle::service::Wanted, plan::Fault};

    fn wanted() -> Wanted {
        Wanted {
            namespace: "default".into(),
            claims: Vec::new(),
            ttl: Some(100),
            wait: OpWait::Forever,
        }
    }

    fn asked() -> Happening {
        Happening::HttpAsked {
            id: "h1".into(),
            host: 0,
            node: 0,
            since: Duration::from_millis(1_000),
            holder: "alice".into(),
            wanted: wanted(),
        }
    }

    fn applied() -> Happening {
        Happening::HttpApplied {
            id: "h1".into(),
            holder: "alice".into(),
            wanted: wanted(),
        }
    }

    fn gone() -> Happening {
        Happening::HttpGone { id: "h1".into() }
    }

    fn granted() -> Happening {
        let id = Text::from("h1");
        Happening::Granted { id, token: 1 }
    }

    fn cancelled() -> Happening {
        Happening::Ended {
            id: "h1".into(),
            reason: "cancelled",
            ended_at: Duration::ZERO,
            believed_until: None,
        }
    }

    fn back() -> Happening {
        Happening::ServerBack {
            entries: 9,
            last: 8,
            is_same: true,
        }
    }

    fn story(faults: Vec<Fault>, happenings: &[(u64, Happening)]) -> Verdict {
        let mut oracle = HttpGone::new(plan(faults));
        let mut see = |ms, happening| oracle.see(Duration::from_millis(ms), happening);
        happenings
            .iter()
            .try_for_each(|(ms, happening)| see(*ms, happening))
    }

    #[test]
    fn a_grant_to_who_went_away_is_seen() {
        let late = [
            (1_005, asked()),
            (1_010, applied()),
            (2_000, gone()),
            (2_071, granted()),
        ];
        assert!(story(Vec::new(), &late).is_err());
        assert_eq!(story(vec![fault(1_500, 10, CUT)], &late), Ok(()));
        let soon = [(1_005, asked()), (2_000, gone()), (2_070, granted())];
        assert_eq!(story(Vec::new(), &soon), Ok(()));
        let again = [
            (1_005, asked()),
            (2_000, gone()),
            (2_010, asked()),
            (9_000, granted()),
        ];
        assert_eq!(story(Vec::new(), &again), Ok(()));
    }

    #[test]
    fn a_grant_by_a_server_that_nobody_asked_is_seen() {
        let kept = [
            (1_005, asked()),
            (1_010, applied()),
            (2_000, back()),
            (2_001, granted()),
        ];
        assert!(story(Vec::new(), &kept).is_err());
        let again = [
            (2_000, back()),
            (2_005, asked()),
            (2_010, applied()),
            (2_010, granted()),
        ];
        assert_eq!(story(Vec::new(), &again), Ok(()));
    }

    #[test]
    fn who_is_there_and_is_given_up_is_seen() {
        let waits = [(1_005, asked()), (2_000, cancelled())];
        assert!(story(Vec::new(), &waits).is_err());
        assert_eq!(story(vec![fault(1_500, 10, CUT)], &waits), Ok(()));
        let left = [(1_005, asked()), (1_900, gone()), (2_000, cancelled())];
        assert_eq!(story(Vec::new(), &left), Ok(()));
    }
}
