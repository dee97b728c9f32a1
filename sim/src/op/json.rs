//! The JSON form of an op: one flat object, its keys always written in the order of
//! [`OpObject`]'s fields, defaults left out.

use super::{Action, NUMBER_MAX, Op, OpClaim, OpLock, OpOwner, OpWait, Text};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The flat object that an op is in JSON: all keys of all ops. Which of them an op takes is
/// checked when the object becomes an [`Op`].
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OpObject {
    at: Number,
    op: Text,
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    namespace: Option<Text>,
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    id: Option<Text>,
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    owner: Option<Text>,
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    session: Option<Text>,
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    ids: Option<Vec<Text>>,
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    claims: Option<Vec<OpClaim>>,
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    token: Option<Number>,
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    ttl: Option<Number>,
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    wait: Option<OpWait>,
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    abandon: Option<Number>,
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    path: Option<Text>,
}

/// A key that is there has a value: `null` is not a way to leave a key out.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

impl OpObject {
    /// The value of a key that this op must have.
    fn required<T>(&self, key: &str, value: Option<T>) -> Result<T, String> {
        value.ok_or_else(|| format!("`{}` needs the key `{key}`", self.op))
    }

    fn take_id(&mut self) -> Result<Text, String> {
        let id = self.id.take();
        self.required("id", id)
    }

    fn take_session(&mut self) -> Result<Text, String> {
        let session = self.session.take();
        self.required("session", session)
    }

    fn take_owner(&mut self) -> Result<Option<OpOwner>, String> {
        match (self.owner.take(), self.session.take()) {
            (Some(_), Some(_)) => Err(format!(
                "`{}` has both `owner` and `session`: a request has one of them",
                self.op
            )),
            (Some(name), None) => Ok(Some(OpOwner::Named(name))),
            (None, Some(name)) => Ok(Some(OpOwner::Session(name))),
            (None, None) => Ok(None),
        }
    }

    fn take_lock(&mut self) -> Result<OpLock, String> {
        Ok(OpLock {
            id: self.take_id()?,
            owner: self.take_owner()?,
        })
    }

    fn take_token(&mut self) -> Option<u64> {
        self.token.take().map(|token| token.0)
    }

    fn take_ttl(&mut self) -> Option<u64> {
        self.ttl.take().map(|ttl| ttl.0)
    }

    fn take_acquire(&mut self) -> Result<Action, String> {
        let id = self.take_id()?;
        let owner = self.take_owner()?;
        let claims = self.claims.take();
        Ok(Action::Acquire {
            id,
            owner: owner.ok_or_else(|| {
                "`acquire` needs one of the keys `owner` and `session`".to_owned()
            })?,
            claims: self.required("claims", claims)?,
            ttl: self.take_ttl(),
            wait: self.wait.take().unwrap_or(OpWait::Forever),
        })
    }

    /// Takes what the op needs out of the object.
    fn take_action(&mut self) -> Result<Action, String> {
        Ok(match &*self.op {
            "acquire" => self.take_acquire()?,
            "release" => Action::Release {
                lock: self.take_lock()?,
                token: self.take_token(),
            },
            "renew" => {
                let ttl = self.take_ttl();
                Action::Renew {
                    lock: self.take_lock()?,
                    token: self.take_token(),
                    ttl: self.required("ttl", ttl)?,
                }
            }
            "cancel" => {
                // Every op on a lock may carry a token; a queued request has none to compare it
                // with, so here it says nothing.
                self.token = None;
                Action::Cancel {
                    lock: self.take_lock()?,
                }
            }
            "break" => Action::Break {
                lock: self.take_lock()?,
                token: self.take_token(),
            },
            "open_session" => {
                let abandon = self.abandon.take();
                Action::OpenSession {
                    session: self.take_session()?,
                    abandon: self.required("abandon", abandon)?.0,
                }
            }
            "attach" => Action::Attach {
                session: self.take_session()?,
            },
            "detach" => Action::Detach {
                session: self.take_session()?,
            },
            "keep_alive" => Action::KeepAlive {
                session: self.take_session()?,
            },
            "done" => {
                let ids = self.ids.take();
                Action::Done {
                    session: self.take_session()?,
                    ids: self.required("ids", ids)?,
                }
            }
            "close_session" => Action::CloseSession {
                session: self.take_session()?,
            },
            "tick" => Action::Tick,
            "inspect" => {
                let path = self.path.take();
                Action::Inspect {
                    path: self.required("path", path)?,
                }
            }
            unknown => {
                return Err(format!(
                    "unknown op `{unknown}`: expected one of {}",
                    Action::NAMES.join(", ")
                ));
            }
        })
    }

    /// A key that is there although the op has no use for it.
    fn leftover(&self) -> Option<&'static str> {
        [
            ("id", self.id.is_some()),
            ("owner", self.owner.is_some()),
            ("session", self.session.is_some()),
            ("ids", self.ids.is_some()),
            ("claims", self.claims.is_some()),
            ("token", self.token.is_some()),
            ("ttl", self.ttl.is_some()),
            ("wait", self.wait.is_some()),
            ("abandon", self.abandon.is_some()),
            ("path", self.path.is_some()),
        ]
        .into_iter()
        .find_map(|(key, is_there)| is_there.then_some(key))
    }

    fn into_op(mut self) -> Result<Op, String> {
        let namespace = self.namespace.take();
        let action = self.take_action()?;
        match self.leftover() {
            Some(key) => Err(format!("`{}` does not take the key `{key}`", self.op)),
            None => Ok(Op {
                at: self.at.0,
                namespace,
                action,
            }),
        }
    }

    fn set_owner(&mut self, owner: &OpOwner) {
        match owner {
            OpOwner::Named(name) => self.owner = Some(name.clone()),
            OpOwner::Session(name) => self.session = Some(name.clone()),
        }
    }

    fn set_lock(&mut self, lock: &OpLock) {
        self.id = Some(lock.id.clone());
        if let Some(owner) = &lock.owner {
            self.set_owner(owner);
        }
    }

    fn of(op: &Op) -> OpObject {
        let mut object = OpObject {
            at: Number(op.at),
            op: Text::from(op.action.name()),
            namespace: op.namespace.clone(),
            ..OpObject::default()
        };
        match &op.action {
            Action::Acquire {
                id,
                owner,
                claims,
                ttl,
                wait,
            } => {
                object.id = Some(id.clone());
                object.set_owner(owner);
                object.claims = Some(claims.clone());
                object.ttl = ttl.map(Number);
                object.wait = (*wait != OpWait::Forever).then_some(*wait);
            }
            Action::Release { lock, token } | Action::Break { lock, token } => {
                object.set_lock(lock);
                object.token = token.map(Number);
            }
            Action::Renew { lock, token, ttl } => {
                object.set_lock(lock);
                object.token = token.map(Number);
                object.ttl = Some(Number(*ttl));
            }
            Action::Cancel { lock } => object.set_lock(lock),
            Action::OpenSession { session, abandon } => {
                object.session = Some(session.clone());
                object.abandon = Some(Number(*abandon));
            }
            Action::Attach { session }
            | Action::Detach { session }
            | Action::KeepAlive { session }
            | Action::CloseSession { session } => object.session = Some(session.clone()),
            Action::Done { session, ids } => {
                object.session = Some(session.clone());
                object.ids = Some(ids.clone());
            }
            Action::Tick => {}
            Action::Inspect { path } => object.path = Some(path.clone()),
        }
        object
    }
}

impl Serialize for Op {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        OpObject::of(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Op {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Op, D::Error> {
        deserializer.deserialize_map(OpVisitor)
    }
}

/// Reads an object and nothing else: a derived struct would accept an array of values too.
struct OpVisitor;

impl<'de> Visitor<'de> for OpVisitor {
    type Value = Op;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command, such as {\"at\":0,\"op\":\"tick\"}")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Op, A::Error> {
        OpObject::deserialize(MapAccessDeserializer::new(map))?
            .into_op()
            .map_err(A::Error::custom)
    }
}

/// A number of the command language: 0 to [`NUMBER_MAX`].
#[derive(Clone, Copy, Default)]
struct Number(u64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        deserializer.deserialize_u64(NumberVisitor)
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from 0 to {NUMBER_MAX}")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
        if number > NUMBER_MAX {
            return Err(E::invalid_value(Unexpected::Unsigned(number), &self));
        }
        Ok(Number(number))
    }
}

impl Serialize for OpWait {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            OpWait::No => serializer.serialize_str("no"),
            OpWait::For(ms) => serializer.serialize_u64(*ms),
            OpWait::Forever => serializer.serialize_str("forever"),
        }
    }
}

impl<'de> Deserialize<'de> for OpWait {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OpWait, D::Error> {
        deserializer.deserialize_any(WaitVisitor)
    }
}

struct WaitVisitor;

impl Visitor<'_> for WaitVisitor {
    type Value = OpWait;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a wait: \"forever\", \"no\", or milliseconds from 0 to {NUMBER_MAX}"
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<OpWait, E> {
        match text {
            "no" => Ok(OpWait::No),
            "forever" => Ok(OpWait::Forever),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_u64<E: Error>(self, ms: u64) -> Result<OpWait, E> {
        if ms > NUMBER_MAX {
            return Err(E::invalid_value(Unexpected::Unsigned(ms), &self));
        }
        Ok(OpWait::For(ms))
    }
}

impl Serialize for OpClaim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OpClaim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OpClaim, D::Error> {
        deserializer.deserialize_str(ClaimVisitor)
    }
}

struct ClaimVisitor;

impl Visitor<'_> for ClaimVisitor {
    type Value = OpClaim;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a claim: `r` or `w`, a space, and a path, such as \"w a/b\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<OpClaim, E> {
        let (write, path) = match text.split_once(' ') {
            Some(("r", path)) => (false, path),
            Some(("w", path)) => (true, path),
            _ => return Err(E::invalid_value(Unexpected::Str(text), &self)),
        };
        Ok(OpClaim {
            write,
            path: Text::from(path),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Op, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    /// Each is in its shortest form, so writing what was read gives the same text.
    #[test]
    fn what_is_written_is_what_was_read() {
        for json in [
            r#"{"at":0,"op":"acquire","id":"L1","owner":"alice","claims":["w a/b","r c"],"ttl":1000,"wait":7}"#,
            r#"{"at":0,"op":"acquire","id":"L1","owner":"alice","claims":["w /"]}"#,
            r#"{"at":0,"op":"acquire","namespace":"n","id":"L1","session":"s","claims":[],"ttl":0,"wait":"no"}"#,
            r#"{"at":0,"op":"acquire","id":"","owner":"é\n","claims":["w ","r a//b"]}"#,
            r#"{"at":9007199254740991,"op":"release","id":"L1"}"#,
            r#"{"at":1,"op":"release","namespace":"default","id":"L1","owner":"alice","token":3}"#,
            r#"{"at":1,"op":"renew","id":"L1","session":"s","token":3,"ttl":5}"#,
            r#"{"at":1,"op":"renew","id":"L1","ttl":0}"#,
            r#"{"at":1,"op":"cancel","id":"L1"}"#,
            r#"{"at":1,"op":"break","id":"L1","token":0}"#,
            r#"{"at":1,"op":"open_session","session":"s","abandon":0}"#,
            r#"{"at":1,"op":"attach","session":"s"}"#,
            r#"{"at":1,"op":"detach","session":"s"}"#,
            r#"{"at":1,"op":"keep_alive","session":"s"}"#,
            r#"{"at":1,"op":"done","session":"s","ids":["L1","L2"]}"#,
            r#"{"at":1,"op":"done","namespace":"n","session":"","ids":[]}"#,
            r#"{"at":1,"op":"close_session","namespace":"n","session":"s"}"#,
            r#"{"at":1,"op":"tick"}"#,
            r#"{"at":1,"op":"inspect","path":"a"}"#,
        ] {
            let op = read(json).unwrap();
            assert_eq!(serde_json::to_string(&op).unwrap(), json);
        }
    }

    #[test]
    fn keys_may_come_in_any_order_and_defaults_may_be_written() {
        let written =
            r#"{"wait":"forever","claims":["w a"],"owner":"o","id":"L1","op":"acquire","at":0}"#;
        let shortest = r#"{"at":0,"op":"acquire","id":"L1","owner":"o","claims":["w a"]}"#;
        assert_eq!(read(written), read(shortest));
    }

    #[test]
    fn a_cancel_may_carry_a_token_which_says_nothing() {
        let with = read(r#"{"at":0,"op":"cancel","id":"L1","token":4}"#);
        assert_eq!(with, read(r#"{"at":0,"op":"cancel","id":"L1"}"#));
    }

    #[test]
    fn unreadable_lines_are_refused_with_what_is_wrong() {
        for (json, expected) in [
            (r#"{"op":"tick"}"#, "missing field `at`"),
            (r#"{"at":0}"#, "missing field `op`"),
            (
                r#"{"at":0,"op":"lock"}"#,
                "unknown op `lock`: expected one of acquire, release",
            ),
            (
                r#"{"at":0,"op":"tick","colour":1}"#,
                "unknown field `colour`",
            ),
            (r#"{"at":0,"op":"tick","at":1}"#, "duplicate field `at`"),
            (
                r#"{"at":0,"op":"tick","id":"L1"}"#,
                "`tick` does not take the key `id`",
            ),
            (
                r#"{"at":0,"op":"release","id":"L1","ttl":5}"#,
                "`release` does not take the key `ttl`",
            ),
            (r#"{"at":0,"op":"release"}"#, "`release` needs the key `id`"),
            (
                r#"{"at":0,"op":"renew","id":"L1"}"#,
                "`renew` needs the key `ttl`",
            ),
            (
                r#"{"at":0,"op":"open_session","session":"s"}"#,
                "`open_session` needs the key `abandon`",
            ),
            (
                r#"{"at":0,"op":"attach"}"#,
                "`attach` needs the key `session`",
            ),
            (
                r#"{"at":0,"op":"done","ids":["L1"]}"#,
                "`done` needs the key `session`",
            ),
            (
                r#"{"at":0,"op":"done","session":"s"}"#,
                "`done` needs the key `ids`",
            ),
            (
                r#"{"at":0,"op":"done","session":"s","ids":"L1"}"#,
                "expected a sequence",
            ),
            (
                r#"{"at":0,"op":"keep_alive","session":"s","ids":["L1"]}"#,
                "`keep_alive` does not take the key `ids`",
            ),
            (
                r#"{"at":0,"op":"inspect"}"#,
                "`inspect` needs the key `path`",
            ),
            (
                r#"{"at":0,"op":"acquire","id":"L1","claims":["w a"]}"#,
                "needs one of the keys `owner` and `session`",
            ),
            (
                r#"{"at":0,"op":"acquire","id":"L1","owner":"o","session":"s","claims":["w a"]}"#,
                "both `owner` and `session`",
            ),
            (
                r#"{"at":0,"op":"acquire","id":"L1","owner":"o"}"#,
                "`acquire` needs the key `claims`",
            ),
            (
                r#"{"at":0,"op":"acquire","id":"L1","owner":"o","claims":["a"]}"#,
                "expected a claim",
            ),
            (
                r#"{"at":0,"op":"acquire","id":"L1","owner":"o","claims":["x a"]}"#,
                "expected a claim",
            ),
            (
                r#"{"at":0,"op":"acquire","id":"L1","owner":"o","claims":["w"]}"#,
                "expected a claim",
            ),
            (
                r#"{"at":0,"op":"acquire","id":"L1","owner":"o","claims":"w a"}"#,
                "expected a sequence",
            ),
            (
                r#"{"at":0,"op":"acquire","id":"L1","owner":"o","claims":["w a"],"wait":"long"}"#,
                "expected a wait",
            ),
            (
                r#"{"at":0,"op":"acquire","id":"L1","owner":"o","claims":["w a"],"wait":-1}"#,
                "expected a wait",
            ),
            (
                r#"{"at":0,"op":"acquire","id":"L1","owner":"o","claims":["w a"],"ttl":null}"#,
                "a whole number",
            ),
            (
                r#"{"at":-1,"op":"tick"}"#,
                "a whole number from 0 to 9007199254740991",
            ),
            (r#"{"at":1.5,"op":"tick"}"#, "a whole number"),
            (r#"{"at":"0","op":"tick"}"#, "a whole number"),
            (r#"{"at":9007199254740992,"op":"tick"}"#, "a whole number"),
            (r#"[0,"tick"]"#, "expected a command, such as"),
            (r#"{"at":0,"op":"tick"} x"#, "trailing characters"),
            ("", "EOF"),
        ] {
            let error = read(json).expect_err(json);
            assert!(error.contains(expected), "{json}: {error}");
        }
    }
}
