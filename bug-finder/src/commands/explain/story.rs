//! Plans, told to a person.

use lockwright_sim::op::{Action, Op, OpLock, OpOwner, OpWait};
use lockwright_sim::plan::{EnginePlan, Plan};
use serde_json::Value;

/// A plan, a line for each thing in it.
pub(super) fn of_plan(plan: &Plan) -> Vec<String> {
    match plan {
        Plan::Engine(plan) => of_engine(plan),
        Plan::Service(plan) => of_any(&serde_json::to_value(plan).unwrap_or(Value::Null)),
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
    lines.extend(plan.ops.iter().map(of_op));
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

/// Any plan, told by the names of its fields: what is small in a line, each element of a list in
/// one of its own.
fn of_any(plan: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    tell("", "", plan, &mut lines);
    lines
}

fn tell(indent: &str, head: &str, value: &Value, lines: &mut Vec<String>) {
    let Value::Object(fields) = value else {
        lines.push(format!("{indent}{head}{}", inline(value)));
        return;
    };
    let (lists, small): (Vec<_>, Vec<_>) = fields.iter().partition(|(_, value)| is_list(value));
    let small: Vec<String> = small
        .iter()
        .map(|(name, value)| named(name, value))
        .collect();
    lines.push(format!("{indent}{head}{}", small.join(", ")));
    for (name, list) in lists {
        lines.push(format!("{indent}  {}:", words(name)));
        let deeper = format!("{indent}    ");
        for (index, element) in list.as_array().into_iter().flatten().enumerate() {
            tell(&deeper, &format!("#{index}  "), element, lines);
        }
    }
}

/// Whether a value needs lines of its own.
fn is_list(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|elements| elements.iter().any(Value::is_object))
}

fn named(name: &str, value: &Value) -> String {
    match value {
        Value::Object(_) => format!("{} ({})", words(name), inline(value)),
        _ => format!("{} {}", words(name), inline(value)),
    }
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// A value in a line, with no more signs than it needs.
fn inline(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(n, value)| named(n, value)).collect();
            fields.join(", ")
        }
        Value::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(inline).collect();
            format!("[{}]", elements.join("; "))
        }
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plans_are_told_line_by_line() {
        let plan = json!({
            "seed": 7,
            "latency": {"min_ms": 1, "max_ms": 9},
            "clients": [
                {"host": 0, "attempts": [{"at_ms": 5, "claims": ["w a", "r b"]}]},
                {"host": 1, "attempts": []},
            ],
            "faults": [{"crash": {"at_ms": 3}}],
        });
        assert_eq!(
            of_any(&plan),
            [
                "latency (max ms 9, min ms 1), seed 7",
                "  clients:",
                "    #0  host 0",
                "      attempts:",
                "        #0  at ms 5, claims [w a; r b]",
                "    #1  attempts [], host 1",
                "  faults:",
                "    #0  crash (at ms 3)",
            ]
        );
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
