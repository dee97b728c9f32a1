//! `GET /v1/fence`: the token that counts.

use super::{body::Params, error::ApiError, namespace, path};
use crate::session_endpoint::Gate;
use axum::{Json, extract::State};
use lockwright_engine::Name;
use lockwright_env::Env;
use lockwright_protocol::http::FenceAnswer;
use serde::Deserialize;
use std::sync::Arc;

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
    let found = gate
        .look(move |machine, _| machine.engine().covering_token(&namespace, &path))
        .await?;
    Ok(Json(FenceAnswer {
        key,
        held: found.is_some(),
        token: found,
    }))
}
