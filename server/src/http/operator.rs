//! `POST /v1/break`: what an operator does to a lock that nobody ends.

use super::{body::Object, error::ApiError, namespace, path, view::lock_view};
use crate::{
    call::CallAnswer,
    machine::END_MAX,
    proposal::{Action, Right},
    session_endpoint::Gate,
};
use axum::{Json, extract::State};
use lockwright_engine::Refusal;
use lockwright_env::Env;
use lockwright_protocol::http::{BreakBody, Broken};
use std::sync::Arc;
use tracing::info;

pub(super) async fn break_lock<E: Env>(
    State(gate): State<Arc<Gate<E>>>,
    Object(body): Object<BreakBody>,
) -> Result<Json<Broken>, ApiError> {
    let (space, at) = (namespace(body.namespace), path(&body.key)?);
    let action = Action::EndAt {
        namespace: space.clone(),
        path: at.clone(),
        token: body.token,
        right: Right::Operator,
    };
    match gate.call(action).await? {
        CallAnswer::Done { locks, .. } => {
            let wall = gate.env().wall_unix_ms();
            let is_full = locks.len() == END_MAX;
            let (now, more) = gate
                .look(move |machine, now| {
                    let more = is_full && machine.engine().held_at(&space, &at).next().is_some();
                    (now, more)
                })
                .await?;
            for lock in &locks {
                info!(?lock, "an operator broke a lock");
            }
            let broken = locks.iter().map(|lock| lock_view(lock, now, wall));
            Ok(Json(Broken {
                broken: broken.collect(),
                more,
            }))
        }
        CallAnswer::Refused {
            refusal,
            in_the_way,
        } => {
            let error = ApiError::refused(refusal.clone()).because_of(in_the_way.as_ref());
            Err(match refusal {
                Refusal::NotHeld => error.saying(format!(
                    "no lock claims exactly `{}`: GET /v1/locks/{} tells what is held around it",
                    body.key, body.key
                )),
                _ => error,
            })
        }
        answer => panic!("{answer:?} is no answer to a break"),
    }
}
