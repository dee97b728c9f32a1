//! How inspection tells of a lock.

use crate::machine::Labelled;
use lockwright_engine::{Claim, LockState, Owner, TimeMs};
use lockwright_protocol::http::{ClaimView, LockView, OwnerView, StateView};

/// A live request as seen at `now`, when the clock on the wall shows `wall` ms.
pub(super) fn lock_view(Labelled { lock, label }: &Labelled, now: TimeMs, wall: u64) -> LockView {
    let queued = LockView {
        namespace: lock.key.namespace.clone(),
        id: lock.key.id.clone(),
        owner: owner_view(&lock.key.owner),
        label: label.as_ref().map(ToString::to_string),
        claims: claim_views(&lock.claims),
        state: StateView::Queued,
        token: None,
        age_ms: now.since(lock.arrived_at),
        held_ms: None,
        lease_remaining_ms: None,
        expires_at_unix_ms: None,
        wait_remaining_ms: None,
    };
    match lock.state {
        LockState::Queued { deadline } => LockView {
            wait_remaining_ms: deadline.map(|at| at.since(now)),
            ..queued
        },
        LockState::Held {
            token,
            granted_at,
            expires,
        } => {
            let left = expires.map(|at| at.since(now));
            LockView {
                state: StateView::Held,
                token: Some(token),
                held_ms: Some(now.since(granted_at)),
                lease_remaining_ms: left,
                expires_at_unix_ms: left.map(|left| wall.saturating_add(left.as_ms())),
                ..queued
            }
        }
        LockState::Ended { .. } => panic!("a live request was asked for, {lock:?} has ended"),
    }
}

pub(super) fn owner_view(owner: &Owner) -> OwnerView {
    match owner {
        Owner::Named(name) => OwnerView::Holder(name.clone()),
        Owner::Session(name) => OwnerView::Session(name.clone()),
    }
}

/// The owner that inspection tells of so.
pub(super) fn owner(view: OwnerView) -> Owner {
    match view {
        OwnerView::Holder(name) => Owner::Named(name),
        OwnerView::Session(name) => Owner::Session(name),
    }
}

pub(super) fn claim_views(claims: &[Claim]) -> Vec<ClaimView> {
    let view = |claim: &Claim| ClaimView {
        mode: claim.mode,
        path: claim.path.to_string(),
    };
    claims.iter().map(view).collect()
}
