use super::super::wire::{LockType, Resource};
use super::*;
use lockwright_engine::DurationMs;

fn id() -> LockId {
    LockId("L".to_owned())
}

fn lock(path: &str) -> ClientMessage {
    let path = path.to_owned();
    let resource = Resource {
        kind: LockType::Write,
        path: vec![path],
    };
    ClientMessage::Lock {
        resources: vec![resource],
    }
}

fn granted(token: u64) -> Message {
    Message::Granted {
        id: name_of(&id()),
        token: Token(token),
        lease_ms: None,
        waited_ms: DurationMs::ZERO,
    }
}

fn queued() -> Message {
    Message::Queued { id: name_of(&id()) }
}

fn error(error: ErrorCode) -> Message {
    Message::Error {
        error,
        message: "why".to_owned(),
        limit: None,
        claims: Vec::new(),
        claims_left_out: 0,
        ended: None,
    }
}

fn broken() -> Message {
    Message::Ended {
        id: name_of(&id()),
        reason: EndReason::Broken,
    }
}

/// A conversation that has asked for a lock and heard these.
fn after(messages: impl IntoIterator<Item = Message>) -> Conversation {
    let mut conversation = Conversation::new();
    conversation.hear_client(lock("a"), id()).unwrap();
    for message in messages {
        conversation.hear_session(message).unwrap();
    }
    conversation
}

fn release(conversation: &mut Conversation) -> Request {
    let other = LockId("unused".to_owned());
    conversation
        .hear_client(ClientMessage::Release {}, other)
        .unwrap()
}

fn release_request(token: u64) -> Request {
    Request::Release {
        id: name_of(&id()),
        token: Token(token),
    }
}

fn ready() -> Next {
    say(id(), Action::Release, State::Ready, None)
}

#[test]
fn a_lock_is_asked_for_granted_and_released() {
    let mut conversation = Conversation::new();
    let asked = conversation.hear_client(lock("a"), id()).unwrap();
    assert!(matches!(asked, Request::Acquire { ttl_ms: None, .. }));
    assert!(conversation.is_waiting());
    let said = conversation.hear_session(granted(5)).unwrap();
    assert_eq!(
        said,
        say(id(), Action::Lock, State::Acquired, Some(Token(5)))
    );
    assert_eq!(release(&mut conversation), release_request(5));
    assert_eq!(conversation.hear_session(Message::Done {}), Ok(ready()));
    assert!(conversation.is_ready());
}

#[test]
fn a_queued_lock_is_granted_later() {
    let mut conversation = after([]);
    let said = conversation.hear_session(queued()).unwrap();
    assert_eq!(said, say(id(), Action::Lock, State::Enqueued, None));
    assert!(!conversation.is_waiting(), "the client may give up");
    let said = conversation.hear_session(granted(5)).unwrap();
    assert_eq!(
        said,
        say(id(), Action::Lock, State::Acquired, Some(Token(5)))
    );
}

#[test]
fn a_release_while_queued_cancels() {
    let mut conversation = after([queued()]);
    assert_eq!(
        release(&mut conversation),
        Request::Cancel { id: name_of(&id()) }
    );
    assert_eq!(conversation.hear_session(Message::Done {}), Ok(ready()));
}

#[test]
fn a_grant_that_crosses_the_release_is_released_too_and_not_told() {
    let mut conversation = after([queued()]);
    release(&mut conversation);
    assert_eq!(conversation.hear_session(granted(5)), Ok(Next::Nothing));
    assert_eq!(
        conversation.hear_session(error(ErrorCode::NotQueued)),
        Ok(Next::Ask(release_request(5)))
    );
    assert_eq!(conversation.hear_session(Message::Done {}), Ok(ready()));
}

#[test]
fn an_action_in_the_wrong_state_is_refused_and_changes_nothing() {
    for before in [vec![], vec![queued()], vec![granted(5)]] {
        let mut conversation = match before.is_empty() {
            true => Conversation::new(),
            false => after(before.clone()),
        };
        let wrong = match before.is_empty() {
            true => ClientMessage::Release {},
            false => lock("b"),
        };
        let stage = conversation.stage.clone();
        let complaint = conversation.hear_client(wrong, id()).unwrap_err();
        assert!(complaint.message.contains("invalid action"), "{complaint}");
        assert_eq!(conversation.stage, stage);
    }
    let nothing = ClientMessage::Lock { resources: vec![] };
    let complaint = Conversation::new().hear_client(nothing, id()).unwrap_err();
    assert!(complaint.message.contains("is empty"), "{complaint}");
}

#[test]
fn a_refused_lock_is_told_and_leaves_nothing() {
    let mut conversation = after([]);
    let complaint = conversation.hear_session(error(ErrorCode::LimitExceeded));
    assert_eq!(complaint.unwrap_err().to_string(), "limit_exceeded: why");
    assert_eq!(conversation.leave(), Some(Request::Close {}));
}

#[test]
fn a_lock_that_an_operator_breaks_is_told_at_any_stage() {
    for before in [queued(), granted(5)] {
        for gives_up in [false, true] {
            let mut conversation = after([before.clone()]);
            if gives_up {
                release(&mut conversation);
            }
            let complaint = conversation.hear_session(broken()).unwrap_err();
            assert_eq!(complaint.code, ErrorCode::NotHeld);
            assert_eq!(complaint.message, "lock `L` has ended: broken");
            assert_eq!(conversation.leave(), Some(Request::Close {}));
            if gives_up {
                // The answer to what was asked before.
                let answer = error(ErrorCode::NotHeld);
                assert_eq!(conversation.hear_session(answer), Ok(Next::Nothing));
            }
            assert_eq!(conversation.leave(), None);
        }
    }
}

#[test]
fn who_has_nothing_ends_the_session_when_it_goes() {
    let mut conversation = Conversation::new();
    assert_eq!(conversation.leave(), Some(Request::Close {}));
    assert!(conversation.is_waiting());
    conversation.hear_session(Message::Done {}).unwrap();
    assert!(!conversation.is_waiting());
    assert_eq!(conversation.leave(), None);
}

#[test]
fn who_waits_leaves_the_queue_when_it_goes() {
    let mut conversation = after([queued()]);
    assert_eq!(
        conversation.leave(),
        Some(Request::Cancel { id: name_of(&id()) })
    );
    conversation.hear_session(Message::Done {}).unwrap();
    assert_eq!(conversation.leave(), Some(Request::Close {}));
}

#[test]
fn what_nobody_was_told_of_is_released_when_it_goes() {
    let mut conversation = after([queued()]);
    conversation.leave();
    conversation.hear_session(granted(5)).unwrap();
    assert_eq!(
        conversation.hear_session(error(ErrorCode::NotQueued)),
        Ok(Next::Ask(release_request(5)))
    );
    conversation.hear_session(Message::Done {}).unwrap();
    assert_eq!(conversation.leave(), Some(Request::Close {}));
}

#[test]
fn who_holds_a_lock_leaves_it_to_the_abandon_timeout() {
    let mut conversation = after([granted(5)]);
    assert_eq!(conversation.leave(), None);
}
