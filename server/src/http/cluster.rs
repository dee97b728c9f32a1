//! `/v1/cluster`: which nodes there are, for operators.

use super::{
    authority::Operator,
    body::{InPath, Nothing, Object, Params},
    error::ApiError,
};
use crate::{
    Member,
    call::Unavailable,
    proposal::Action,
    raft::{Members, NotChanged},
    session_endpoint::Gate,
};
use axum::{Json, extract::State, http::StatusCode};
use lockwright_env::Env;
use lockwright_protocol::cluster::{ClusterView, NewLeader, NewNode, reachable_fault};
use std::sync::Arc;
use tracing::info;

type Answer = Result<Json<ClusterView>, ApiError>;

pub(super) async fn view<E: Env>(
    State(gate): State<Arc<Gate<E>>>,
    Params(Nothing {}): Params<Nothing>,
) -> Json<ClusterView> {
    Json(gate.members().view())
}

pub(super) async fn add<E: Env>(
    _: Operator,
    State(gate): State<Arc<Gate<E>>>,
    Object(new): Object<NewNode>,
) -> Answer {
    for (field, address) in [
        ("address", &new.address),
        ("client_address", &new.client_address),
    ] {
        if let Some(fault) = reachable_fault(address) {
            return Err(ApiError::invalid(format!(
                "`{field}` is `{address}`, expected `host:port`: {fault}"
            )));
        }
    }
    let member = Member {
        id: new.id,
        address: new.address,
        client_address: new.client_address,
    };
    let added = members(&gate)?.add(gate.env(), member).await;
    after(&gate, added, &format!("node {} is added", new.id))
}

pub(super) async fn promote<E: Env>(
    _: Operator,
    State(gate): State<Arc<Gate<E>>>,
    InPath(id): InPath<u64>,
    Params(Nothing {}): Params<Nothing>,
) -> Answer {
    let members = members(&gate)?;
    let has_joined = gate
        .look(move |machine, _| machine.node(id).is_some())
        .await?;
    let promoted = members.promote(gate.env(), id, has_joined).await;
    after(&gate, promoted, &format!("node {id} votes"))
}

pub(super) async fn remove<E: Env>(
    _: Operator,
    State(gate): State<Arc<Gate<E>>>,
    InPath(id): InPath<u64>,
    Params(Nothing {}): Params<Nothing>,
) -> Answer {
    let mut removed = members(&gate)?.remove(gate.env(), id).await;
    // It may have been removed, and the answer lost before it was forgotten.
    if removed == Err(NotChanged::NoNode(id))
        && gate
            .look(move |machine, _| machine.node(id).is_some())
            .await?
    {
        removed = Ok(());
    }
    let answer = after(&gate, removed, &format!("node {id} is removed"))?;
    // What it was connected to does not count, and its disk is forgotten: it may come back with
    // another one.
    let gone = Action::Gone {
        node: id,
        incarnation: 0,
        forget: true,
    };
    // The node is removed, whatever comes of this.
    let forgotten = gate.call(gone).await;
    forgotten.map_err(|error| Unavailable {
        done: None,
        ..error
    })?;
    Ok(answer)
}

pub(super) async fn lead<E: Env>(
    _: Operator,
    State(gate): State<Arc<Gate<E>>>,
    Object(new): Object<NewLeader>,
) -> Answer {
    let transferred = members(&gate)?.transfer(gate.env(), new.id).await;
    after(&gate, transferred, &format!("node {} leads", new.id))
}

/// The nodes, as far as they can be changed.
fn members<E: Env>(gate: &Gate<E>) -> Result<&Members, ApiError> {
    if gate.is_alone() {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "conflict",
            "this server is alone: start it as a node of a cluster, with an id and its addresses",
        ));
    }
    Ok(gate.members())
}

fn after<E: Env>(gate: &Gate<E>, changed: Result<(), NotChanged>, what: &str) -> Answer {
    match changed {
        Ok(()) => {
            info!("an operator changed the cluster: {what}");
            Ok(Json(gate.members().view()))
        }
        Err(NotChanged::Conflict(why)) => Err(ApiError::new(StatusCode::CONFLICT, "conflict", why)),
        Err(NotChanged::NoNode(id)) => Err(ApiError::new(
            StatusCode::CONFLICT,
            "conflict",
            format!("the cluster has no node {id}"),
        )),
        Err(NotChanged::NotLeader) => Err(Unavailable {
            done: Some(false),
            ..gate.unavailable()
        }
        .into()),
        Err(NotChanged::Unknown) => Err(gate.unavailable().into()),
    }
}
