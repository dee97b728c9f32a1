//! What a client's messages mean to its session, and what the session's mean to the client.

use super::{
    resource,
    wire::{Action, ClientMessage, Complaint, LockId, Response, State},
};
use lockwright_engine::{EndReason, ErrorCode, Name, Token};
use lockwright_protocol::{Message, Request, WaitMs};

/// One connection's side of the talk, without any I/O: one lock at a time, as Locktopus has it.
///
/// While it [waits for an answer](Conversation::is_waiting) of the session, nothing of the client
/// is heard: so a client may say `release` before it has heard what its `lock` came to.
#[derive(Debug)]
pub(super) struct Conversation {
    stage: Stage,
}

/// How far a connection is with its lock.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// It has none.
    Ready,
    /// It has asked for one.
    Locking { id: LockId },
    /// It waits for one.
    Enqueued { id: LockId },
    /// It has one.
    Acquired { id: LockId, token: Token },
    /// It gives up waiting. The lock may have been granted before the session has heard of it.
    Cancelling { id: LockId, granted: Option<Token> },
    /// It gives up the lock.
    Releasing { id: LockId },
    /// It ends its session.
    Closing,
    /// Its session is over.
    Closed,
}

/// What follows from a message of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// The client is told.
    Say(Response),
    /// The session is asked.
    Ask(Request),
    /// Nothing.
    Nothing,
}

impl Conversation {
    pub(super) fn new() -> Conversation {
        Conversation {
            stage: Stage::Ready,
        }
    }

    /// Whether the session has to answer before the client is heard again.
    pub(super) fn is_waiting(&self) -> bool {
        match self.stage {
            Stage::Locking { .. }
            | Stage::Cancelling { .. }
            | Stage::Releasing { .. }
            | Stage::Closing => true,
            Stage::Ready | Stage::Enqueued { .. } | Stage::Acquired { .. } | Stage::Closed => false,
        }
    }

    /// Whether the connection has no lock, and is not about to get one.
    pub(super) fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// Takes in a message of the client: what the session is asked. A lock gets the id `new_id`.
    pub(super) fn hear_client(
        &mut self,
        message: ClientMessage,
        new_id: LockId,
    ) -> Result<Request, Complaint> {
        assert!(!self.is_waiting(), "the session answers first");
        match (message, self.stage.clone()) {
            (ClientMessage::Lock { resources }, Stage::Ready) => {
                if resources.is_empty() {
                    return Err(Complaint::invalid(
                        "`resources` is empty: name at least one resource to lock",
                    ));
                }
                let request = Request::Acquire {
                    id: name_of(&new_id),
                    claims: resources.iter().map(resource::claim).collect(),
                    ttl_ms: None,
                    wait: WaitMs::default(),
                    label: None,
                };
                self.stage = Stage::Locking { id: new_id };
                Ok(request)
            }
            (ClientMessage::Release {}, Stage::Enqueued { id }) => Ok(self.cancel(id)),
            (ClientMessage::Release {}, Stage::Acquired { id, token }) => {
                Ok(self.release(id, token))
            }
            (ClientMessage::Lock { .. }, Stage::Enqueued { .. }) => Err(misplaced(
                "lock",
                "enqueued",
                "release first: a connection has one lock at a time",
            )),
            (ClientMessage::Lock { .. }, Stage::Acquired { .. }) => Err(misplaced(
                "lock",
                "acquired",
                "release first: a connection has one lock at a time",
            )),
            (ClientMessage::Release {}, Stage::Ready) => Err(misplaced(
                "release",
                "ready",
                "lock first: there is nothing to release",
            )),
            (message, stage) => panic!("{message:?} is not heard in {stage:?}"),
        }
    }

    /// Takes in a message of the session.
    pub(super) fn hear_session(&mut self, message: Message) -> Result<Next, Complaint> {
        match (message, self.stage.clone()) {
            (Message::Granted { id: of, token, .. }, stage) => self.granted(&of, token, stage),
            (Message::Queued { .. }, Stage::Locking { id }) => {
                self.stage = Stage::Enqueued { id: id.clone() };
                Ok(say(id, Action::Lock, State::Enqueued, None))
            }
            (
                Message::Done {},
                Stage::Cancelling { id, granted: None } | Stage::Releasing { id },
            ) => {
                self.stage = Stage::Ready;
                Ok(say(id, Action::Release, State::Ready, None))
            }
            // Its grant was on the way.
            (
                Message::Error {
                    error: ErrorCode::NotQueued,
                    ..
                },
                Stage::Cancelling {
                    id,
                    granted: Some(token),
                },
            ) => Ok(Next::Ask(self.release(id, token))),
            (Message::Ended { id: of, reason }, stage) => self.ended(&of, reason, stage),
            (Message::Done {} | Message::Error { .. }, Stage::Closing) => {
                self.stage = Stage::Closed;
                Ok(Next::Nothing)
            }
            // Refused, and so without a lock.
            (Message::Error { error, message, .. }, stage) if self.is_waiting() => {
                assert_ne!(stage, Stage::Closing, "that is answered above");
                self.stage = Stage::Ready;
                Err(Complaint {
                    code: error,
                    message,
                })
            }
            (message, stage) => panic!("{message:?} is no answer in {stage:?}"),
        }
    }

    /// The client has gone: what the session is asked, so that nobody waits for what nobody uses.
    /// None when it is over, and when a lock is held, of which the client may still make use: that
    /// ends with the abandon timeout.
    ///
    /// To be asked again after each answer.
    pub(super) fn leave(&mut self) -> Option<Request> {
        match self.stage.clone() {
            Stage::Ready => {
                self.stage = Stage::Closing;
                Some(Request::Close {})
            }
            Stage::Enqueued { id } => Some(self.cancel(id)),
            _ => None,
        }
    }

    fn cancel(&mut self, id: LockId) -> Request {
        let request = Request::Cancel { id: name_of(&id) };
        self.stage = Stage::Cancelling { id, granted: None };
        request
    }

    fn release(&mut self, id: LockId, token: Token) -> Request {
        let request = Request::Release {
            id: name_of(&id),
            token,
        };
        self.stage = Stage::Releasing { id };
        request
    }

    fn granted(&mut self, of: &Name, token: Token, stage: Stage) -> Result<Next, Complaint> {
        match stage {
            Stage::Locking { id } | Stage::Enqueued { id } => {
                assert_eq!(of.as_str(), id.0, "a connection has one lock at a time");
                self.stage = Stage::Acquired {
                    id: id.clone(),
                    token,
                };
                Ok(say(id, Action::Lock, State::Acquired, Some(token)))
            }
            Stage::Cancelling { id, granted: None } => {
                assert_eq!(of.as_str(), id.0, "a connection has one lock at a time");
                let granted = Some(token);
                self.stage = Stage::Cancelling { id, granted };
                Ok(Next::Nothing)
            }
            stage => panic!("lock `{of}` is granted in {stage:?}"),
        }
    }

    /// Somebody else ended the lock. Locktopus has no word for that, and a client must not go on
    /// as if it had the lock.
    fn ended(&mut self, of: &Name, reason: EndReason, stage: Stage) -> Result<Next, Complaint> {
        match stage {
            Stage::Enqueued { id }
            | Stage::Acquired { id, .. }
            | Stage::Cancelling { id, .. }
            | Stage::Releasing { id } => {
                assert_eq!(of.as_str(), id.0, "a connection has one lock at a time");
                // While it is given up, the answer to that is still to come, and says `not_held`.
                // The client is told here, and nothing of the session is heard after this.
                self.stage = Stage::Ready;
                Err(Complaint {
                    code: ErrorCode::NotHeld,
                    message: format!("lock `{of}` has ended: {}", reason.as_str()),
                })
            }
            stage => panic!("lock `{of}` has ended in {stage:?}"),
        }
    }
}

fn say(id: LockId, action: Action, state: State, token: Option<Token>) -> Next {
    Next::Say(Response {
        id,
        action,
        state,
        token,
    })
}

fn name_of(id: &LockId) -> Name {
    Name::new(&id.0).expect("ids are short and printable")
}

fn misplaced(action: &str, state: &str, advice: &str) -> Complaint {
    Complaint::invalid(format!(
        "invalid action `{action}` in state `{state}`: {advice}"
    ))
}

#[cfg(test)]
mod tests;
