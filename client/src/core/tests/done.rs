//! What the server may forget, and when it is told.

use super::*;

impl Script {
    /// A lock that is held at `now` and given back; its release is answered by `answer`.
    fn pair(&mut self, now: u64, number: u64, answer: Message) {
        let lock = self.hold(now, number, None);
        self.core.release(at(now + 5), lock, CallId(number));
        self.take();
        let seq = self.expect_sent().seq;
        self.answer(now + 5, seq, answer);
        self.told.clear();
    }

    #[track_caller]
    fn expect_done(&mut self, numbers: impl Iterator<Item = u64>) -> Seq {
        let frame = self.expect_sent();
        let ids: Vec<Name> = numbers.map(|number| name(&format!("#{number}"))).collect();
        assert_eq!(frame.request, Request::Done { ids });
        frame.seq
    }
}

fn not_held() -> Message {
    error(ErrorCode::NotHeld)
}

const MANY: u64 = DONE_AT_ONCE as u64;

#[test]
fn many_are_told_of_at_once_and_nobody_waits_for_it() {
    let mut script = Script::open();
    for number in 1..MANY {
        script.pair(100, number, Message::Done {});
        assert_eq!(script.sent.len(), 0, "{number}");
    }
    // Its lease was over, or an operator broke it: it has ended all the same.
    script.pair(100, MANY, not_held());
    let seq = script.expect_done(1..=MANY);
    script.nothing_left();
    script.answer(200, seq, Message::Done {});
    script.told(&[]);
    script.pair(300, MANY + 1, Message::Done {});
    assert_eq!(script.sent.len(), 0, "they are counted anew");
}

#[test]
fn few_go_with_the_next_sign_of_life() {
    let mut script = Script::open();
    script.pair(100, 1, Message::Done {});
    let lock = script.request(110, 2, None);
    let seq = script.expect_sent().seq;
    script.answer(120, seq, queued("#2"));
    let reason = EndReason::TimedOut;
    let id = name("#2");
    script.push(130, Message::Ended { id, reason });
    script.told(&[
        tell(lock, Notice::Queued),
        tell(lock, Notice::Ended(reason)),
    ]);
    script.pass(2110);
    let seq = script.expect_done(1..=2);
    script.answer(2120, seq, Message::Done {});
    script.pass(4110);
    assert_eq!(script.expect_sent().request, Request::KeepAlive {});
}

#[test]
fn what_is_on_the_way_may_have_to_be_sent_again_and_keeps_its_request() {
    let mut script = Script::open();
    for number in 1..MANY {
        script.pair(100, number, Message::Done {});
    }
    let lock = script.hold(100, MANY, Some(1000));
    script.core.renew(at(110), lock, ms(500), CallId(900));
    script.take();
    let renew = script.expect_sent().seq;
    let reason = EndReason::Broken;
    let id = name(&format!("#{MANY}"));
    script.push(120, Message::Ended { id, reason });
    let done = script.expect_done(1..MANY);
    script.answer(130, done, Message::Done {});
    // The connection breaks, and the renewal is sent again, and then what it was about is done with.
    let resume = script.reconnect(140);
    script.answer(160, resume, resumed(Vec::new()));
    assert_eq!(script.expect_sent().seq, renew);
    script.answer(170, renew, not_held());
    script.pass(2200);
    script.expect_done(MANY..=MANY);
}

#[test]
fn an_id_that_the_caller_chose_is_left_to_the_caller() {
    let mut script = Script::open();
    let lock = LockId(1);
    let request = AcquireRequest::write("a").unwrap();
    let request = AcquireRequest {
        id: Some(name("mine")),
        ..request
    };
    let belief = Arc::new(Belief::new(script.session.clone()));
    script
        .core
        .request(at(100), lock, name("mine"), &request, belief);
    script.take();
    let seq = script.expect_sent().seq;
    script.answer(100, seq, granted("mine", 1, None, 0));
    script.core.release(at(110), lock, CallId(1));
    script.take();
    let seq = script.expect_sent().seq;
    script.answer(110, seq, Message::Done {});
    script.pass(2110);
    assert_eq!(script.expect_sent().request, Request::KeepAlive {});
}

#[test]
fn what_is_not_answered_is_told_again_and_a_new_session_begins_anew() {
    let mut script = Script::open();
    for number in 1..=MANY {
        script.pair(100, number, Message::Done {});
    }
    let seq = script.expect_done(1..=MANY);
    let resume = script.reconnect(200);
    script.answer(220, resume, resumed(Vec::new()));
    assert_eq!(script.expect_done(1..=MANY), seq);
    script.pair(230, MANY + 1, Message::Done {});
    let resume = script.reconnect(240);
    script.answer(260, resume, error(ErrorCode::UnknownSession));
    let open = script.expect_sent();
    assert!(matches!(open.request, Request::Open { .. }));
    script.answer(270, open.seq, opened());
    script.pass(2300);
    assert_eq!(script.expect_sent().request, Request::KeepAlive {});
}

#[test]
fn an_older_server_is_not_told_again() {
    let mut script = Script::open();
    for number in 1..=MANY {
        script.pair(100, number, Message::Done {});
    }
    let seq = script.expect_done(1..=MANY);
    script.answer(110, seq, error(ErrorCode::InvalidRequest));
    script.told(&[]);
    for number in MANY + 1..=3 * MANY {
        script.pair(120, number, Message::Done {});
    }
    script.pass(2130);
    assert_eq!(script.expect_sent().request, Request::KeepAlive {});
}
