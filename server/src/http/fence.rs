//! `GET /v1/fence`: the token that counts.

use super::{body::Params, error::ApiError, namespace, path};
use crate::{call::HeldBy, session_endpoint::Gate};
use axum::{Json, extract::State};
use lockwright_engine::{Claim, Name};
use lockwright_env::Env;
use lockwright_protocol::http::FenceAnswer;
use serde::Deserialize;
use std::sync::Arc;

/// Held locks that are looked at: a write lock is alone, and of very many readers the largest token
/// is that of one of the earliest of these.
const LOOK_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    key: String,
    namespace: Option<Name>,
}

pub(super) async fn fence<E: Env>(
    State(gate): State<Arc<Gate<E>>>,
    Params(Asked { key, namespace: of }): Params<Asked>,
) -> Result<Json<FenceAnswer>, ApiError> {
    let (namespace, path) = (namespace(of), path(&key)?);
    let everything = [Claim::write(path.clone())];
    let found = gate
        .look(move |machine, now| {
            let locks = machine
                .engine()
                .conflicting(&namespace, &everything, LOOK_MAX);
            let covers = |claim: &Claim| claim.path.covers(&path);
            let locks = locks.into_iter();
            let locks = locks.filter(|lock| lock.claims.iter().any(covers));
            locks
                .filter_map(|lock| HeldBy::at(now, &machine.labelled(lock)))
                .map(|held| held.token)
                .max()
        })
        .await?;
    Ok(Json(FenceAnswer {
        key,
        held: found.is_some(),
        token: found,
    }))
}
