//! What one address may bring into use of what is limited in all.

use super::Replica;
use crate::{machine::Machine, shares::share};
use lockwright_engine::{LimitName, Name, Refusal, SessionKey};
use lockwright_env::Env;
use std::net::IpAddr;

impl<E: Env> Replica<E> {
    /// Whether a client at an address may open a session, if it is new.
    pub(super) fn may_open(
        &mut self,
        from: Option<IpAddr>,
        session: &SessionKey,
    ) -> Result<(), Refusal> {
        self.may_use(from, &session.namespace)?;
        let Some(from) = from else { return Ok(()) };
        let (ledger, now) = (&self.ledger, self.env.monotonic());
        let is_there = |session: &SessionKey| {
            ledger.with_machine(|machine: &Machine| machine.has_session(session))
        };
        let max = |machine: &Machine| machine.engine().limits().sessions;
        let share = || share(ledger.with_machine(max), ledger.nodes());
        let taken = self.sessions.take(from, session, now, share, is_there);
        taken.map_err(|share| refusal(LimitName::Sessions, share))
    }

    /// A session was not opened, or its end is complete.
    pub(super) fn has_no_session(&mut self, session: &SessionKey) {
        let is_there = |machine: &Machine| machine.has_session(session);
        if !self.ledger.with_machine(is_there) {
            self.sessions.give_back(session);
        }
    }

    /// Whether a caller at an address may use a namespace, if it is new.
    pub(super) fn may_use(
        &mut self,
        from: Option<IpAddr>,
        namespace: &Name,
    ) -> Result<(), Refusal> {
        let Some(from) = from else { return Ok(()) };
        let (ledger, now) = (&self.ledger, self.env.monotonic());
        let is_there = |name: &Name| {
            ledger.with_machine(|machine: &Machine| machine.engine().is_namespace_in_use(name))
        };
        let max = |machine: &Machine| machine.engine().limits().namespaces;
        let share = || share(ledger.with_machine(max), ledger.nodes());
        let taken = self.namespaces.take(from, namespace, now, share, is_there);
        taken.map_err(|share| refusal(LimitName::Namespaces, share))
    }
}

fn refusal(limit: LimitName, share: u64) -> Refusal {
    Refusal::LimitExceeded {
        limit,
        max: u32::try_from(share).unwrap_or(u32::MAX),
        got: share.saturating_add(1),
    }
}
