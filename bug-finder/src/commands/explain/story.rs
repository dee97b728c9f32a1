//! Plans, told to a person.

use lockwright_sim::op::{Action, Op, OpLock, OpOwner, OpWait};
use lockwright_sim::plan::{EnginePlan, Plan};

/// A plan, a line for each thing in it.
pub(super) fn of_plan(plan: &Plan) -> Vec<String> {
    match plan {
        Plan::Engine(plan) => of_engine(plan),
        Plan::Service(plan) | Plan::Fencing(plan) | Plan::Cluster(plan) => {
            super::service::of_service(plan)
        }
    }
}

fn of_engine(plan: &EnginePlan) -> Vec<String> {
    let mut lines = Vec::new();
    if !plan.shape.is_empty() {
        lines.push(format!("drawn as: {}", plan.shape));
    }
    if !plan.limits.is_empty() {
        let limits = serde_json::to_string(&plan.limits).unwrap_or_default();
        lines.push(format!("limits: {limits}"));
    }
    if !plan.checks.is_empty() {
        let checks = serde_json::to_string(&plan.checks).unwrap_or_default();
        lines.push(format!("checked besides: {checks}"));
    }
    for (done, op) in (1..).zip(&plan.ops) {
        lines.push(of_op(op));
        lines.extend(plan.limits_after(done).map(|limits| {
            let limits = serde_json::to_string(limits).unwrap_or_default();
            format!("{:>8} ms  limits from here on: {limits}", op.at)
        }));
    }
    lines
}

fn of_op(op: &Op) -> String {
    let what = match &op.action {
        Action::Acquire {
            id,
            owner,
            claims,
            ttl,
            wait,
        } => {
            let claims: Vec<String> = claims
                .iter()
                .map(|claim| format!("{} {}", if claim.write { "w" } else { "r" }, claim.path))
                .collect();
            let ttl = ttl.map_or_else(String::new, |ttl| format!(", for {ttl} ms"));
            let wait = match wait {
                OpWait::No => "at once or not at all".to_owned(),
                OpWait::For(ms) => format!("waiting up to {ms} ms"),
                OpWait::Forever => "waiting for ever".to_owned(),
            };
            format!(
                "{} asks for {} as {id}{ttl}, {wait}",
                of_owner(owner),
                claims.join(" and ")
            )
        }
        Action::Release { lock, token } => format!("release {}{}", of_lock(lock), with(*token)),
        Action::Renew { lock, token, ttl } => {
            format!("renew {}{} for {ttl} ms", of_lock(lock), with(*token))
        }
        Action::Cancel { lock } => format!("cancel {}", of_lock(lock)),
        Action::Break { lock, token } => format!("break {}{}", of_lock(lock), with(*token)),
        Action::OpenSession { session, abandon } => {
            format!("session {session} opens, abandoned after {abandon} ms")
        }
        Action::Attach { session } => format!("session {session} attaches"),
        Action::Detach { session } => format!("session {session} detaches"),
        Action::KeepAlive { session } => format!("session {session} is kept alive"),
        Action::Done { session, ids } => {
            format!("session {session} is done with {}", ids.join(", "))
        }
        Action::CloseSession { session } => format!("session {session} closes"),
        Action::Tick => "time passes".to_owned(),
        Action::Inspect { path } => format!("inspect {path}"),
    };
    let namespace = op
        .namespace
        .as_ref()
        .map_or_else(String::new, |namespace| format!(" [{namespace}]"));
    format!("{:>8} ms{namespace}  {what}", op.at)
}

fn of_owner(owner: &OpOwner) -> String {
    match owner {
        OpOwner::Named(name) => name.to_string(),
        OpOwner::Session(name) => format!("session {name}"),
    }
}

fn of_lock(lock: &OpLock) -> String {
    match &lock.owner {
        Some(owner) => format!("{} of {}", lock.id, of_owner(owner)),
        None => lock.id.to_string(),
    }
}

fn with(token: Option<u64>) -> String {
    token.map_or_else(String::new, |token| format!(" with token {token}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn limits_that_change_are_told_where_they_do() {
        let plan: EnginePlan = serde_json::from_value(json!({
            "ops": [{"at": 5, "op": "tick"}, {"at": 7, "op": "tick"}],
            "relimits": [{"after": 1, "limits": {"retention": 3}}],
        }))
        .unwrap();
        let told = [
            "       5 ms  time passes",
            r#"       5 ms  limits from here on: {"retention":3}"#,
            "       7 ms  time passes",
        ];
        assert_eq!(of_plan(&Plan::Engine(plan)), told);
    }

    #[test]
    fn ops_are_told_in_words() {
        let op: Op = serde_json::from_value(json!({
            "at": 5, "op": "acquire", "id": "L1", "owner": "alice",
            "claims": ["w a/b", "r c"], "ttl": 9, "wait": "no",
        }))
        .expect("it is an op");
        assert_eq!(
            of_op(&op),
            "       5 ms  alice asks for w a/b and r c as L1, for 9 ms, at once or not at all"
        );
    }
}
