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
        let max = ledger.limits().sessions;
        let is_there = |session: &SessionKey| {
            ledger.with_machine(|machine: &Machine| machine.has_session(session))
        };
        let share = share(max, ledger.voters());
        let taken = self.sessions.take(from, session, share, now, is_there);
        taken.map_err(|got| refusal(LimitName::Sessions, share, got))
    }

    /// Whether a caller at an address may use a namespace, if it is new.
    pub(super) fn may_use(
        &mut self,
        from: Option<IpAddr>,
        namespace: &Name,
    ) -> Result<(), Refusal> {
        let Some(from) = from else { return Ok(()) };
        let (ledger, now) = (&self.ledger, self.env.monotonic());
        let max = ledger.limits().namespaces;
        let is_there = |name: &Name| {
            ledger.with_machine(|machine: &Machine| machine.engine().is_namespace_in_use(name))
        };
        let share = share(max, ledger.voters());
        let taken = self.namespaces.take(from, namespace, share, now, is_there);
        taken.map_err(|got| refusal(LimitName::Namespaces, share, got))
    }
}

fn refusal(limit: LimitName, share: u64, got: u64) -> Refusal {
    let max = u32::try_from(share).unwrap_or(u32::MAX);
    Refusal::LimitExceeded { limit, max, got }
}
