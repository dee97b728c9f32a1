//! Nobody holds a lock who went away while it waited (SEMANTICS section 4: an owner without its
//! connection leaves the queue): what is granted over HTTP is granted to who is there to hear of
//! it. And who is there is not given up.
//!
//! A lock that was granted all the same, because the server did not know by then, goes when the server learns that
//! its caller is gone: unless the answer was handed over before, or the request has a name and can be
//! asked for again.
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
    /// Locks that are held, and whose callers were not told of them, and since when.
    untold: BTreeMap<Text, Duration>,
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
    /// Whether its caller has no other way to ask for it again.
    is_unnamed: bool,
    /// Whether the answer was handed over to a caller that was there, as far as the server could know.
    is_told: bool,
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
            untold: BTreeMap::new(),
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

    /// Whether a lock is held though the server must know by now that its caller is gone.
    fn kept(&self, now: Duration) -> Verdict {
        for (id, granted) in &self.untold {
            let known = &self.requests[id];
            let (true, Some((gone, since))) = (known.open.is_empty(), known.gone) else {
                continue;
            };
            let quiet_since = now.saturating_sub(self.patience);
            if quiet_since > gone.max(*granted)
                && self.calm.is_delivery(known.host, since, quiet_since, now)
            {
                return Err(format!(
                    "{id} is held since {} ms, and its caller hung up at {} ms and was not told of it",
                    in_ms(*granted),
                    in_ms(gone)
                ));
            }
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

    /// The answer that grants a request was handed over.
    fn told(&mut self, id: &Text) {
        self.untold.remove(id);
        if let Some(known) = self.requests.get_mut(id) {
            known.is_told = true;
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
        self.kept(now)?;
        match happening {
            Happening::HttpAsked {
                id,
                host,
                since,
                holder,
                ..
            } => {
                let known = self.requests.entry(id.clone()).or_insert(Known {
                    host: *host,
                    open: Vec::new(),
                    gone: None,
                    // The server names it, and its holder has no other: see `request_of`.
                    is_unnamed: holder.contains('.'),
                    is_told: false,
                });
                known.open.push(*since);
                Ok(())
            }
            Happening::HttpAnswered { id, .. } => {
                self.close(now, id, false);
                self.told(id);
                Ok(())
            }
            Happening::HttpTold { id, is_gone: false } => {
                self.told(id);
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
            // A server that dies between a grant and its answer cannot know.
            Happening::ServerDown | Happening::ServerHalted | Happening::NodeDown { .. } => {
                self.untold.clear();
                Ok(())
            }
            Happening::ServerBack { .. } | Happening::ServerUp { .. } => {
                self.applied.clear();
                self.untold.clear();
                self.is_restarted = true;
                Ok(())
            }
            Happening::Granted { id, .. } => {
                let known = self.requests.get(id);
                if known.is_some_and(|known| known.is_unnamed && !known.is_told) {
                    self.untold.insert(id.clone(), now);
                }
                self.granted(now, id)
            }
            Happening::Ended { id, reason, .. } => {
                // What is not told was not granted, or its caller has gone.
                let was_held = self.untold.remove(id).is_some();
                match *reason {
                    "cancelled" if !was_held => self.cancelled(now, id),
                    _ => Ok(()),
                }
            }
            // They did not hang up: they are no more.
            Happening::HostDown { host } => {
                self.requests.retain(|_, known| known.host != *host);
                let known = &self.requests;
                self.untold.retain(|id, _| known.contains_key(id));
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
    use crate::{
        op::OpWait,
        oracle::service::Wanted,
        plan::{Fault, FaultKind, Place},
    };

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

    /// A request that its caller has not named.
    fn asked_once() -> Happening {
        let Happening::HttpAsked {
            id,
            host,
            node,
            since,
            wanted,
            ..
        } = asked()
        else {
            unreachable!("it is one")
        };
        Happening::HttpAsked {
            id,
            host,
            node,
            since,
            holder: "alice.h1".into(),
            wanted,
        }
    }

    fn told(is_gone: bool) -> Happening {
        let id = Text::from("h1");
        Happening::HttpTold { id, is_gone }
    }

    fn later() -> Happening {
        let what = String::new();
        Happening::Fault { what }
    }

    #[test]
    fn a_lock_that_is_kept_for_a_caller_that_hung_up_is_seen() {
        let kept = |between: &[(u64, Happening)], faults| {
            let mut happenings = vec![(1_005, asked_once()), (1_010, gone()), (1_012, granted())];
            happenings.extend_from_slice(between);
            happenings.push((1_200, later()));
            story(faults, &happenings)
        };
        assert!(kept(&[], Vec::new()).is_err());
        assert!(kept(&[(1_012, told(true))], Vec::new()).is_err());
        assert_eq!(kept(&[(1_012, told(false))], Vec::new()), Ok(()));
        assert_eq!(kept(&[(1_013, cancelled())], Vec::new()), Ok(()));
        assert_eq!(
            kept(&[(1_013, Happening::ServerHalted)], Vec::new()),
            Ok(())
        );
        assert_eq!(kept(&[], vec![fault(1_100, 99, CUT)]), Ok(()));
        // What came before the quiet, as a pause of the server, is no excuse for after it.
        let paused = FaultKind::Pause {
            place: Place::Server,
        };
        assert!(kept(&[], vec![fault(1_006, 5, paused)]).is_err());
        let named = [
            (1_005, asked()),
            (1_010, gone()),
            (1_012, granted()),
            (1_200, later()),
        ];
        assert_eq!(story(Vec::new(), &named), Ok(()));
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
