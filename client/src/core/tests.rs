//! Scripted exchanges: the test plays the server and the clock.

use super::*;
use crate::{AcquireRequest, ClockRateBound, Lost, Refused};
use lockwright_engine::{DurationMs, EndReason, ErrorCode};
use lockwright_protocol::{LockStatus, Message, Request, Secret, ServerFrame};

mod done;

/// A core, and a clock that the test sets. Rates are exact and a server's millisecond is not
/// counted, so a deadline is its anchor plus the span minus 1 ms.
struct Script {
    core: SessionCore,
    session: Arc<SessionBelief>,
    now: Duration,
    beliefs: BTreeMap<LockId, Arc<Belief>>,
    connections: u64,
    /// Outputs other than what is sent.
    told: Vec<Output>,
    sent: VecDeque<ClientFrame>,
}

const ABANDON_MS: u64 = 10_000;

fn ms(ms: u64) -> DurationMs {
    DurationMs::new(ms).unwrap()
}

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn credentials(number: u64) -> Credentials {
    Credentials {
        session: name(&format!("s{number}")),
        secret: Secret::new("0123456789abcdef").unwrap(),
    }
}

fn granted(id: &str, token: u64, lease: Option<u64>, waited: u64) -> Message {
    Message::Granted {
        id: name(id),
        token: Token(token),
        lease_ms: lease.map(ms),
        waited_ms: ms(waited),
    }
}

fn queued(id: &str) -> Message {
    Message::Queued { id: name(id) }
}

fn ended(id: &str, reason: EndReason) -> Message {
    Message::Ended {
        id: name(id),
        reason,
    }
}

fn error(code: ErrorCode) -> Message {
    Message::Error {
        error: code,
        message: "no".into(),
        limit: None,
        claims: Vec::new(),
        claims_left_out: 0,
        ended: None,
    }
}

fn held(id: &str, token: u64, lease: Option<u64>) -> LockStatus {
    LockStatus::Held {
        id: name(id),
        token: Token(token),
        lease_ms: lease.map(ms),
        waited_ms: ms(0),
    }
}

impl Script {
    fn new() -> Script {
        let mut script = Script::among(&["nowhere:1"]);
        script.told(&[connect_to("nowhere:1")]);
        script
    }

    /// With these addresses; it connects to the first one.
    fn among(addresses: &[&str]) -> Script {
        let mut config = ClientConfig::with_addresses(addresses.iter().copied());
        config.abandon = ms(ABANDON_MS);
        config.keep_alive = at(2000);
        config.call_timeout = at(1000);
        config.reconnect_min = at(10);
        config.reconnect_max = at(40);
        config.clock_rate_bound = ClockRateBound::from_ppm(0).unwrap();
        let session = Arc::new(SessionBelief::default());
        let mut script = Script {
            core: SessionCore::new(config, session.clone(), Duration::ZERO),
            session,
            now: Duration::ZERO,
            beliefs: BTreeMap::new(),
            connections: 0,
            told: Vec::new(),
            sent: VecDeque::new(),
        };
        script.wake(0);
        script
    }

    /// With a session that was opened at time 0.
    fn open() -> Script {
        let mut script = Script::new();
        script.connect(0);
        let open = script.expect_sent();
        assert!(matches!(open.request, Request::Open { .. }), "{open:?}");
        script.answer(0, open.seq, opened());
        script
    }

    fn take(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send(frame) => self.sent.push_back(frame),
                other => self.told.push(other),
            }
        }
        // It checks invariants.
        let _ = self.core.usage();
    }

    fn wake(&mut self, now: u64) {
        self.now = at(now);
        self.core.wake(self.now);
        self.take();
    }

    /// Wakes the core as often as it wants to be, up to a time.
    fn pass(&mut self, until: u64) {
        while let Some(wake) = self.core.next_wake()
            && wake <= at(until)
        {
            self.now = self.now.max(wake);
            self.core.wake(self.now);
            self.take();
        }
        self.now = at(until);
    }

    fn connect(&mut self, now: u64) {
        self.connections += 1;
        self.core.connected(at(now), credentials(self.connections));
        self.take();
    }

    fn disconnect(&mut self, now: u64) {
        self.leave(now, Gone::Failed);
    }

    fn leave(&mut self, now: u64, gone: Gone) {
        self.core.disconnected(at(now), gone);
        self.take();
    }

    /// The connection breaks at `now`, and a new one is there 10 ms later. Gives the seq of what
    /// is said first on it.
    fn reconnect(&mut self, now: u64) -> Seq {
        self.disconnect(now);
        self.pass(now + 10);
        assert!(matches!(self.told.pop(), Some(Output::Connect { .. })));
        self.connect(now + 10);
        self.expect_sent().seq
    }

    fn say(&mut self, now: u64, frame: &ServerFrame) {
        self.core.message(at(now), &frame.encode());
        self.take();
    }

    fn answer(&mut self, now: u64, seq: Seq, message: Message) {
        self.say(now, &ServerFrame::answer(seq, message));
    }

    fn push(&mut self, now: u64, message: Message) {
        self.say(now, &ServerFrame::push(message));
    }

    fn request(&mut self, now: u64, number: u64, ttl: Option<u64>) -> LockId {
        let lock = LockId(number);
        let mut request = AcquireRequest::write("a").unwrap();
        request.ttl = ttl.map(ms);
        let belief = Arc::new(Belief::new(self.session.clone()));
        self.beliefs.insert(lock, belief.clone());
        let id = name(&format!("#{number}"));
        self.core.request(at(now), lock, id, &request, belief);
        self.take();
        lock
    }

    /// A lock that was asked for at `now` and granted 5 ms later, with token 1.
    fn hold(&mut self, now: u64, number: u64, ttl: Option<u64>) -> LockId {
        let lock = self.request(now, number, ttl);
        let seq = self.expect_sent().seq;
        self.answer(now + 5, seq, granted(&format!("#{number}"), 1, ttl, 0));
        self.told.clear();
        lock
    }

    fn holds(&self, lock: LockId, now: u64) -> bool {
        self.beliefs[&lock].holds(at(now))
    }

    fn deadline(&self, lock: LockId) -> Option<Duration> {
        self.beliefs[&lock].deadline()
    }

    #[track_caller]
    fn expect_sent(&mut self) -> ClientFrame {
        self.sent.pop_front().expect("nothing was sent")
    }

    #[track_caller]
    fn told(&mut self, expected: &[Output]) {
        assert_eq!(self.told, expected);
        self.told.clear();
    }

    #[track_caller]
    fn nothing_left(&mut self) {
        assert_eq!(self.core.usage(), CoreUsage::default());
        assert_eq!(self.core.leases.len(), 0);
        assert_eq!(self.core.held, 0);
    }
}

fn opened() -> Message {
    Message::Opened {
        idle_timeout_ms: ms(10_000),
        abandon_ms: None,
    }
}

fn resumed(locks: Vec<LockStatus>) -> Message {
    Message::Resumed {
        idle_timeout_ms: ms(10_000),
        locks,
        more: false,
    }
}

fn connect_to(address: &str) -> Output {
    let address = address.to_owned();
    Output::Connect { address }
}

fn tell(lock: LockId, notice: Notice) -> Output {
    Output::Tell { lock, notice }
}

fn reply(call: u64, outcome: Result<Outcome, CallError>) -> Output {
    let call = CallId(call);
    Output::Reply { call, outcome }
}

fn grant(lock: LockId, token: u64, deadline: u64) -> Output {
    tell(
        lock,
        Notice::Granted {
            token: Token(token),
            deadline: at(deadline),
        },
    )
}

#[test]
fn an_answered_grant_counts_from_the_sending_of_its_request() {
    let mut script = Script::open();
    let lock = script.request(100, 1, Some(500));
    let seq = script.expect_sent().seq;
    script.answer(300, seq, granted("#1", 7, Some(500), 0));
    script.told(&[grant(lock, 7, 599)]);
    assert!(script.holds(lock, 598));
    assert!(!script.holds(lock, 599));
    script.pass(599);
    assert_eq!(script.told[0], tell(lock, Notice::Lost(Lost::LeaseOver)));
}

#[test]
fn a_pushed_grant_counts_from_the_first_sending_and_the_wait() {
    let mut script = Script::open();
    let lock = script.request(100, 1, Some(500));
    let seq = script.expect_sent().seq;
    script.answer(150, seq, queued("#1"));
    script.push(900, granted("#1", 7, Some(500), 700));
    script.told(&[tell(lock, Notice::Queued), grant(lock, 7, 1299)]);
}

#[test]
fn a_request_sent_twice_counts_from_the_first_time_unless_it_is_proven_absent() {
    // Listed as queued: it has waited 30 ms when the `resume` that was sent at 210 was applied.
    let mut script = Script::open();
    let lock = script.request(100, 1, Some(500));
    script.expect_sent();
    let seq = script.reconnect(200);
    let waiting = LockStatus::Queued {
        id: name("#1"),
        waited_ms: ms(30),
    };
    script.answer(220, seq, resumed(vec![waiting]));
    assert_eq!(script.sent.len(), 0, "it need not be sent again");
    script.told(&[tell(lock, Notice::Queued)]);
    script.push(400, granted("#1", 7, Some(500), 130));
    script.told(&[grant(lock, 7, 210 + 100 + 500 - 1)]);

    // Not listed: it has not arrived, and the next sending is the first.
    let mut script = Script::open();
    let lock = script.request(100, 1, Some(500));
    let first = script.expect_sent();
    let seq = script.reconnect(200);
    script.answer(220, seq, resumed(vec![]));
    let again = script.expect_sent();
    assert_eq!(again, first, "a retry has the same id");
    script.answer(230, again.seq, queued("#1"));
    script.push(400, granted("#1", 7, Some(500), 100));
    script.told(&[
        tell(lock, Notice::Queued),
        grant(lock, 7, 220 + 100 + 500 - 1),
    ]);
}

#[test]
fn without_a_lease_a_lock_is_believed_as_long_as_its_session() {
    let mut script = Script::open();
    let lock = script.hold(100, 1, None);
    assert_eq!(script.deadline(lock), Some(at(100 + ABANDON_MS - 1)));
    // A sign of life that is answered counts from its sending.
    script.pass(2100);
    let alive = script.expect_sent();
    assert_eq!(alive.request, Request::KeepAlive {});
    script.answer(2900, alive.seq, Message::Done {});
    assert_eq!(script.deadline(lock), Some(at(2100 + ABANDON_MS - 1)));
}

#[test]
fn out_of_touch_is_told_when_the_deadline_passes_and_not_when_the_network_returns() {
    let mut script = Script::open();
    let lock = script.hold(100, 1, None);
    script.disconnect(200);
    script.pass(100 + ABANDON_MS - 2);
    script
        .told
        .retain(|output| matches!(output, Output::Tell { .. }));
    script.told(&[]);
    script.pass(100 + ABANDON_MS - 1);
    script
        .told
        .retain(|output| matches!(output, Output::Tell { .. }));
    script.told(&[tell(lock, Notice::Lost(Lost::OutOfTouch))]);
    assert!(!script.holds(lock, 100 + ABANDON_MS - 1));
}

#[test]
fn a_lock_that_was_lost_is_given_back_when_the_server_still_has_it() {
    let mut script = Script::open();
    script.hold(100, 1, Some(500));
    script.disconnect(200);
    script.pass(700);
    script.told.clear();
    script.pass(2000);
    script.connect(2000);
    let seq = script.expect_sent().seq;
    script.answer(2001, seq, resumed(vec![held("#1", 1, Some(4000))]));
    let release = script.expect_sent();
    let expected = Request::Release {
        id: name("#1"),
        token: Token(1),
    };
    assert_eq!(release.request, expected);
    assert_eq!(script.sent.len(), 0, "it is given back once");
    script.answer(2002, release.seq, Message::Done {});
    script.nothing_left();
}

#[test]
fn a_sent_renewal_can_only_shorten_until_it_is_answered() {
    let mut script = Script::open();
    let lock = script.hold(100, 1, Some(5000));
    script.core.renew(at(200), lock, ms(300), CallId(1));
    script.take();
    // It may have been applied already, and the lease may end 300 ms from now.
    assert_eq!(script.deadline(lock), Some(at(499)));
    let first = script.expect_sent().seq;
    script.core.renew(at(250), lock, ms(8000), CallId(2));
    script.take();
    assert_eq!(script.deadline(lock), Some(at(499)));
    let second = script.expect_sent().seq;
    let renewed = |lease| Message::Renewed {
        id: name("#1"),
        lease_ms: ms(lease),
    };
    script.answer(300, first, renewed(300));
    assert_eq!(script.deadline(lock), Some(at(499)));
    script.answer(310, second, renewed(8000));
    assert_eq!(script.deadline(lock), Some(at(250 + 8000 - 1)));
    script.told(&[
        reply(1, Ok(Outcome::Renewed { deadline: at(499) })),
        reply(2, Ok(Outcome::Renewed { deadline: at(8249) })),
    ]);
}

#[test]
fn a_renewal_whose_answer_is_lost_is_sent_again_and_counts_from_then() {
    let mut script = Script::open();
    let lock = script.hold(100, 1, Some(5000));
    script.core.renew(at(200), lock, ms(600), CallId(1));
    script.take();
    script.expect_sent();
    let seq = script.reconnect(300);
    // It had arrived: the list shows the shorter lease.
    script.answer(320, seq, resumed(vec![held("#1", 1, Some(490))]));
    let again = script.expect_sent();
    assert!(matches!(again.request, Request::Renew { .. }));
    assert_eq!(script.deadline(lock), Some(at(310 + 490 - 1)));
    let renewed = Message::Renewed {
        id: name("#1"),
        lease_ms: ms(600),
    };
    script.answer(330, again.seq, renewed);
    assert_eq!(script.deadline(lock), Some(at(320 + 600 - 1)));
}

#[test]
fn a_renewal_of_a_lock_that_is_over_loses_it() {
    let mut script = Script::open();
    let lock = script.hold(100, 1, Some(5000));
    script.core.renew(at(200), lock, ms(600), CallId(1));
    script.take();
    let seq = script.expect_sent().seq;
    script.answer(210, seq, error(ErrorCode::NotHeld));
    let refused = Refused::new(ErrorCode::NotHeld, "no");
    script.told(&[
        tell(lock, Notice::Lost(Lost::GoneMeanwhile)),
        reply(1, Err(refused.into())),
    ]);
    script.nothing_left();
}

#[test]
fn a_released_lock_is_not_believed_from_the_call_on() {
    let mut script = Script::open();
    let lock = script.hold(100, 1, None);
    script.core.release(at(200), lock, CallId(1));
    script.take();
    assert!(!script.holds(lock, 200));
    let seq = script.expect_sent().seq;
    script.answer(210, seq, Message::Done {});
    script.told(&[
        tell(lock, Notice::Ended(EndReason::Released)),
        reply(1, Ok(Outcome::Done)),
    ]);
    script.nothing_left();
}

#[test]
fn a_retried_release_that_is_not_held_is_an_end_and_a_first_one_is_an_error() {
    let mut script = Script::open();
    let lock = script.hold(100, 1, None);
    script.core.release(at(200), lock, CallId(1));
    script.take();
    script.expect_sent();
    let seq = script.reconnect(300);
    script.answer(320, seq, resumed(vec![]));
    let again = script.expect_sent().seq;
    script.answer(330, again, error(ErrorCode::NotHeld));
    assert_eq!(script.told[1], reply(1, Ok(Outcome::Done)));
    script.nothing_left();

    let mut script = Script::open();
    let lock = script.hold(100, 1, None);
    script.core.release(at(200), lock, CallId(1));
    script.take();
    let seq = script.expect_sent().seq;
    script.answer(210, seq, error(ErrorCode::NotHeld));
    assert!(matches!(
        script.told[1],
        Output::Reply {
            outcome: Err(CallError::Refused(_)),
            ..
        }
    ));
}

#[test]
fn a_held_lock_that_is_not_listed_is_lost() {
    let mut script = Script::open();
    let lock = script.hold(100, 1, None);
    let seq = script.reconnect(200);
    script.answer(220, seq, resumed(vec![]));
    script.told(&[tell(lock, Notice::Lost(Lost::GoneMeanwhile))]);
    script.nothing_left();
}

#[test]
fn a_list_in_parts_counts_when_its_last_part_has_come() {
    let mut script = Script::open();
    let first = script.hold(100, 1, None);
    let second = script.hold(110, 2, None);
    let third = script.hold(120, 3, None);
    script.told.clear();
    let part = |locks, more| Message::Resumed {
        idle_timeout_ms: ms(10_000),
        locks,
        more,
    };
    let seq = script.reconnect(200);
    script.answer(220, seq, part(vec![held("#1", 1, None)], true));
    // Each part is a sign of life: the whole list may take longer than one answer.
    script.pass(1100);
    script.answer(1100, seq, part(vec![], true));
    script.pass(1500);
    script.told(&[]);
    script.answer(1500, seq, part(vec![held("#3", 1, None)], false));
    script.told(&[tell(second, Notice::Lost(Lost::GoneMeanwhile))]);

    // What a connection has listed that broke on the way does not count.
    let seq = script.reconnect(1600);
    script.answer(1620, seq, part(vec![held("#1", 1, None)], true));
    script.disconnect(1630);
    script.pass(1680);
    script.told(&[connect_to("nowhere:1")]);
    script.connect(1680);
    let seq = script.expect_sent().seq;
    script.answer(1690, seq, part(vec![held("#3", 1, None)], false));
    script.told(&[tell(first, Notice::Lost(Lost::GoneMeanwhile))]);
    assert!(script.core.usage().locks == 1, "{third:?} is held");
}

#[test]
fn a_queued_request_that_is_not_listed_is_asked_how_it_ended() {
    let mut script = Script::open();
    let lock = script.request(100, 1, None);
    let seq = script.expect_sent().seq;
    script.answer(110, seq, queued("#1"));
    let seq = script.reconnect(200);
    script.answer(220, seq, resumed(vec![]));
    let again = script.expect_sent();
    assert!(matches!(again.request, Request::Acquire { .. }));
    script.answer(230, again.seq, ended("#1", EndReason::TimedOut));
    script.told(&[
        tell(lock, Notice::Queued),
        tell(lock, Notice::Ended(EndReason::TimedOut)),
    ]);
    script.nothing_left();
}

#[test]
fn a_grant_that_was_missed_is_found_in_the_list() {
    let mut script = Script::open();
    let lock = script.request(100, 1, Some(900));
    let seq = script.expect_sent().seq;
    script.answer(110, seq, queued("#1"));
    let seq = script.reconnect(200);
    script.answer(220, seq, resumed(vec![held("#1", 4, Some(800))]));
    script.told(&[tell(lock, Notice::Queued), grant(lock, 4, 210 + 800 - 1)]);
}

#[test]
fn a_lost_session_loses_all_its_locks_and_another_is_opened_on_the_same_connection() {
    let mut script = Script::open();
    let lock = script.hold(100, 1, None);
    let waiting = script.request(150, 2, None);
    let seq = script.expect_sent().seq;
    script.answer(160, seq, queued("#2"));
    script.told.clear();
    script.disconnect(200);
    let new = script.request(205, 3, None);
    script.pass(210);
    script.told(&[connect_to("nowhere:1")]);
    script.connect(210);
    let resume = script.expect_sent();
    let Request::Resume { session, .. } = resume.request else {
        panic!("got {resume:?}");
    };
    script.answer(220, resume.seq, error(ErrorCode::UnknownSession));
    script.told(&[
        tell(lock, Notice::Lost(Lost::SessionOver)),
        tell(waiting, Notice::Lost(Lost::SessionOver)),
    ]);
    assert!(!script.holds(lock, 220));
    let open = script.expect_sent();
    let Request::Open { session: other, .. } = open.request else {
        panic!("got {open:?}");
    };
    assert_ne!(session, other);
    script.answer(230, open.seq, opened());
    let acquire = script.expect_sent();
    script.answer(240, acquire.seq, granted("#3", 9, None, 0));
    script.told(&[grant(new, 9, 230 + ABANDON_MS - 1)]);
}

#[test]
fn a_session_that_an_operator_ends_is_over_at_once_whatever_was_pushed() {
    let mut script = Script::open();
    let told = script.hold(100, 1, None);
    let held = script.hold(110, 2, None);
    let waiting = script.request(150, 3, None);
    let seq = script.expect_sent().seq;
    script.answer(160, seq, queued("#3"));
    let asked = script.request(170, 4, None);
    script.expect_sent();
    let renewed = script.hold(180, 5, Some(5000));
    script.core.renew(at(190), renewed, ms(5000), CallId(1));
    script.take();
    script.expect_sent();
    let released = script.hold(191, 6, None);
    script.core.release(at(197), released, CallId(2));
    script.take();
    script.expect_sent();
    script.told.clear();
    // There was room for one push.
    script.push(200, ended("#1", EndReason::SessionEnded));
    script.leave(200, Gone::SessionEnded);
    let over = || Notice::Ended(EndReason::SessionEnded);
    script.told(&[
        tell(told, over()),
        tell(held, over()),
        tell(waiting, over()),
        tell(asked, over()),
        tell(renewed, over()),
        reply(1, Err(CallError::Lost(Lost::SessionOver))),
        tell(released, over()),
        reply(2, Ok(Outcome::Done)),
    ]);
    for lock in [told, held, waiting, asked, renewed, released] {
        assert!(!script.holds(lock, 200), "{lock:?}");
    }
    script.nothing_left();
    // The next one has another name.
    script.pass(210);
    script.told(&[connect_to("nowhere:1")]);
    script.connect(210);
    let open = script.expect_sent().request;
    let Request::Open { session, .. } = open else {
        panic!("got {open:?}");
    };
    assert_eq!(session, name("s2"));
}

#[test]
fn a_session_that_an_operator_ends_while_it_is_closed_is_closed() {
    let mut script = Script::open();
    let lock = script.hold(100, 1, None);
    script.core.close(at(200), Some(CallId(1)));
    script.take();
    script.leave(210, Gone::SessionEnded);
    script.told(&[
        tell(lock, Notice::Lost(Lost::Closed)),
        reply(1, Ok(Outcome::Done)),
        Output::Disconnect,
        Output::Finished,
    ]);
}

#[test]
fn opening_is_asked_again_with_the_same_name_and_secret() {
    let mut script = Script::new();
    script.connect(0);
    let first = script.expect_sent();
    script.disconnect(5);
    script.pass(15);
    script.told(&[connect_to("nowhere:1")]);
    script.connect(15);
    let second = script.expect_sent();
    assert_eq!(first.request, second.request);
    assert_ne!(first.seq, second.seq);
}

#[test]
fn nothing_is_sent_before_the_session_is_there() {
    let mut script = Script::new();
    script.request(0, 1, None);
    script.connect(0);
    let open = script.expect_sent();
    assert_eq!(script.sent.len(), 0);
    script.answer(1, open.seq, opened());
    let acquire = script.expect_sent();
    assert!(matches!(acquire.request, Request::Acquire { .. }));
}

#[test]
fn what_is_not_answered_in_time_costs_the_connection() {
    let mut script = Script::open();
    script.request(100, 1, None);
    script.pass(1099);
    script.told(&[]);
    script.pass(1100);
    script.told(&[Output::Disconnect]);
    script.pass(1110);
    script.told(&[connect_to("nowhere:1")]);
    // The wait between tries doubles up to its maximum.
    for (failed, retried) in [(1110, 1130), (1130, 1170), (1170, 1210)] {
        script.disconnect(failed);
        script.pass(retried - 1);
        script.told(&[]);
        script.pass(retried);
        script.told(&[connect_to("nowhere:1")]);
    }
}

#[test]
fn addresses_are_tried_in_turn_and_only_whole_rounds_make_it_wait_longer() {
    let mut script = Script::among(&["a:1", "b:1", "c:1"]);
    script.told(&[connect_to("a:1")]);
    // Within a round the wait is the shortest; after each round it doubles up to its maximum.
    let mut now = 0;
    for after_round in [10, 20, 40, 40] {
        for (wait, next) in [(10, "b:1"), (10, "c:1"), (after_round, "a:1")] {
            script.disconnect(now);
            script.pass(now + wait - 1);
            script.told(&[]);
            now += wait;
            script.pass(now);
            script.told(&[connect_to(next)]);
        }
    }
    // One that takes the connection and says nothing fails like one that is not there.
    script.connect(now);
    script.expect_sent();
    script.pass(now + 1010);
    script.told(&[Output::Disconnect, connect_to("b:1")]);
}

#[test]
fn a_server_that_cannot_serve_is_left_at_once_unless_none_can() {
    let mut script = Script::among(&["a:1", "b:1"]);
    script.told(&[connect_to("a:1")]);
    script.leave(5, Gone::Elsewhere);
    script.pass(5);
    script.told(&[connect_to("b:1")]);
    script.leave(7, Gone::Elsewhere);
    script.pass(16);
    script.told(&[]);
    script.pass(17);
    script.told(&[connect_to("a:1")]);
}

#[test]
fn a_session_goes_on_at_the_next_address_with_its_locks_and_its_place() {
    let mut script = Script::among(&["a:1", "b:1", "c:1"]);
    script.connect(0);
    let open = script.expect_sent();
    script.answer(0, open.seq, opened());
    let lock = script.hold(100, 1, None);
    let waiting = script.request(150, 2, None);
    let seq = script.expect_sent().seq;
    script.answer(160, seq, queued("#2"));
    script.told.clear();
    // b fails too; c has the session.
    script.leave(200, Gone::Elsewhere);
    script.pass(200);
    script.told(&[connect_to("b:1")]);
    script.disconnect(205);
    script.pass(215);
    script.told(&[connect_to("c:1")]);
    script.connect(216);
    let resume = script.expect_sent();
    let (Request::Open { session: old, .. }, Request::Resume { session, .. }) =
        (open.request, resume.request)
    else {
        panic!("it opened and resumed");
    };
    assert_eq!(session, old);
    let listed = LockStatus::Queued {
        id: name("#2"),
        waited_ms: ms(60),
    };
    script.answer(220, resume.seq, resumed(vec![held("#1", 1, None), listed]));
    assert!(script.holds(lock, 220));
    assert_eq!(script.deadline(lock), Some(at(216 + ABANDON_MS - 1)));
    assert_eq!(script.sent.len(), 0, "nothing is asked again");
    // From where it is now, the next one is the first; and a new round begins.
    script.disconnect(300);
    script.pass(310);
    script.told(&[connect_to("a:1")]);
    assert!(script.holds(lock, 310));
    assert!(!script.holds(waiting, 310));
}

#[test]
fn a_connection_that_does_not_come_about_is_given_up() {
    let mut script = Script::new();
    script.pass(1000);
    script.told(&[Output::Disconnect]);
    script.pass(1010);
    script.told(&[connect_to("nowhere:1")]);
}

#[test]
fn an_impatient_server_gets_signs_of_life_more_often() {
    let mut script = Script::new();
    script.connect(0);
    let open = script.expect_sent();
    let idle_timeout_ms = ms(300);
    script.answer(
        0,
        open.seq,
        Message::Opened {
            idle_timeout_ms,
            abandon_ms: None,
        },
    );
    script.pass(99);
    assert_eq!(script.sent.len(), 0);
    script.pass(100);
    assert_eq!(script.expect_sent().request, Request::KeepAlive {});
}

#[test]
fn a_cancel_before_anything_was_sent_is_nobody_elses_business() {
    let mut script = Script::new();
    let lock = script.request(0, 1, None);
    script.core.cancel(at(1), lock, CallId(1));
    script.take();
    script.told(&[
        tell(lock, Notice::Ended(EndReason::Cancelled)),
        reply(1, Ok(Outcome::Done)),
    ]);
    script.nothing_left();
}

#[test]
fn a_grant_that_overtakes_its_cancel_stands() {
    let mut script = Script::open();
    let lock = script.request(100, 1, None);
    let acquire = script.expect_sent().seq;
    script.answer(110, acquire, queued("#1"));
    script.core.cancel(at(120), lock, CallId(1));
    script.take();
    let cancel = script.expect_sent().seq;
    script.push(130, granted("#1", 3, None, 20));
    script.answer(140, cancel, error(ErrorCode::NotQueued));
    let refused = Refused::new(ErrorCode::NotQueued, "no");
    script.told(&[
        tell(lock, Notice::Queued),
        grant(lock, 3, 100 + ABANDON_MS - 1),
        reply(1, Err(refused.into())),
    ]);
    assert!(script.holds(lock, 150));
}

#[test]
fn a_retried_cancel_of_what_is_over_is_no_error() {
    let mut script = Script::open();
    let lock = script.request(100, 1, None);
    let acquire = script.expect_sent().seq;
    script.answer(110, acquire, queued("#1"));
    script.core.cancel(at(120), lock, CallId(1));
    script.take();
    script.expect_sent();
    let seq = script.reconnect(200);
    script.answer(220, seq, resumed(vec![]));
    let cancel = script.expect_sent().seq;
    let acquire = script.expect_sent().seq;
    script.answer(230, cancel, error(ErrorCode::NotQueued));
    script.answer(231, acquire, ended("#1", EndReason::Cancelled));
    script.told(&[
        tell(lock, Notice::Queued),
        reply(1, Ok(Outcome::Done)),
        tell(lock, Notice::Ended(EndReason::Cancelled)),
    ]);
    script.nothing_left();
}

#[test]
fn the_end_of_a_lock_is_told_once() {
    let mut script = Script::open();
    let lock = script.hold(100, 1, Some(500));
    script.pass(700);
    let release = script.expect_sent();
    assert!(matches!(release.request, Request::Release { .. }));
    script.push(701, ended("#1", EndReason::Expired));
    script.answer(702, release.seq, error(ErrorCode::NotHeld));
    script.told(&[tell(lock, Notice::Lost(Lost::LeaseOver))]);
    script.nothing_left();
}

#[test]
fn an_abandoned_request_that_is_granted_is_given_back() {
    let mut script = Script::open();
    let lock = script.request(100, 1, None);
    let acquire = script.expect_sent().seq;
    script.core.abandon(at(101), lock);
    script.take();
    let cancel = script.expect_sent();
    assert!(matches!(cancel.request, Request::Cancel { .. }));
    script.answer(110, acquire, granted("#1", 3, None, 0));
    assert!(!script.holds(lock, 110));
    let release = script.expect_sent();
    assert!(matches!(release.request, Request::Release { .. }));
    script.answer(120, cancel.seq, error(ErrorCode::NotQueued));
    script.answer(121, release.seq, Message::Done {});
    script.nothing_left();
}

#[test]
fn a_lock_that_is_being_released_is_not_taken_for_another_of_its_name() {
    let mut script = Script::open();
    let old = script.hold(100, 1, None);
    script.core.release(at(200), old, CallId(1));
    script.take();
    script.expect_sent();
    let again = LockId(2);
    let request = AcquireRequest::write("a").unwrap();
    let belief = Arc::new(Belief::new(script.session.clone()));
    script.beliefs.insert(again, belief.clone());
    script
        .core
        .request(at(201), again, name("#1"), &request, belief);
    script.take();
    script.expect_sent();
    let seq = script.reconnect(300);
    // The release has not arrived, and its lock is listed.
    script.answer(320, seq, resumed(vec![held("#1", 1, None)]));
    assert!(!script.holds(again, 320));
    let release = script.expect_sent();
    assert!(matches!(release.request, Request::Release { .. }));
    let acquire = script.expect_sent();
    script.answer(330, release.seq, Message::Done {});
    script.answer(331, acquire.seq, ended("#1", EndReason::Released));
    script.nothing_left();
}

#[test]
fn news_of_a_lock_that_is_over_here_is_passed_over() {
    let mut script = Script::open();
    let lock = script.hold(100, 1, None);
    script.core.release(at(200), lock, CallId(1));
    script.take();
    script.told.clear();
    script.push(201, ended("#1", EndReason::Expired));
    script.push(202, granted("#9", 5, None, 0));
    script.told(&[]);
}

#[test]
fn a_pushed_end_is_told() {
    let mut script = Script::open();
    let lock = script.hold(100, 1, None);
    script.push(200, ended("#1", EndReason::Broken));
    script.told(&[tell(lock, Notice::Ended(EndReason::Broken))]);
    assert!(!script.holds(lock, 200));
    script.nothing_left();
}

#[test]
fn closing_ends_all_belief_at_once_and_waits_for_the_server() {
    let mut script = Script::open();
    let lock = script.hold(100, 1, None);
    let asked = script.request(110, 2, None);
    let acquire = script.expect_sent().seq;
    script.core.close(at(200), Some(CallId(1)));
    script.take();
    assert!(!script.holds(lock, 200));
    let close = script.expect_sent();
    assert_eq!(close.request, Request::Close {});
    // Its answer comes late, and matters no more.
    script.answer(205, acquire, granted("#2", 2, None, 0));
    script.answer(210, close.seq, Message::Done {});
    script.told(&[
        tell(lock, Notice::Lost(Lost::Closed)),
        tell(asked, Notice::Lost(Lost::Closed)),
        reply(1, Ok(Outcome::Done)),
        Output::Disconnect,
        Output::Finished,
    ]);
    script.nothing_left();
    assert_eq!(script.core.next_wake(), None);
    let late = script.request(300, 3, None);
    script.told(&[tell(late, Notice::Lost(Lost::Closed))]);
}

#[test]
fn closing_gives_up_when_the_server_cannot_be_reached() {
    let mut script = Script::open();
    script.disconnect(100);
    script.core.close(at(200), Some(CallId(1)));
    script.take();
    script.pass(1200);
    script
        .told
        .retain(|output| !matches!(output, Output::Connect { .. } | Output::Disconnect));
    script.told(&[reply(1, Err(CallError::Unanswered)), Output::Finished]);
}

#[test]
fn whoever_waits_is_told_when_no_session_can_be_opened() {
    let mut script = Script::new();
    let lock = script.request(0, 1, None);
    script.connect(0);
    let open = script.expect_sent().seq;
    script.answer(1, open, error(ErrorCode::LimitExceeded));
    let refused = Refused::new(ErrorCode::LimitExceeded, "no");
    script.told(&[tell(lock, Notice::Refused(refused)), Output::Disconnect]);
    script.nothing_left();
}

#[test]
fn a_server_that_makes_no_sense_costs_the_connection_and_nothing_else() {
    for text in [
        "",
        "{}",
        r#"{"type":"done","seq":999}"#,
        r#"{"type":"done"}"#,
    ] {
        let mut script = Script::open();
        let lock = script.hold(100, 1, None);
        script.core.message(at(200), text);
        script.take();
        script.told(&[Output::Disconnect]);
        assert!(script.holds(lock, 200), "{text}");
    }
}
