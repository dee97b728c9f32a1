use super::*;
use lockwright_server::DrainEvent;

fn key(owner: &str, id: &str) -> RequestKey {
    let kind = match owner.starts_with('s') {
        true => OwnerKind::Session,
        false => OwnerKind::Holder,
    };
    RequestKey {
        namespace: "n".into(),
        owner: (kind, owner.into()),
        id: id.into(),
    }
}

/// `owner/id`, and what it claims: `s/L 7 wa rb/c`, or `s/L - wa` for one that waits.
fn request(text: &str) -> Request {
    let mut parts = text.split(' ');
    let (owner, id) = parts.next().unwrap().split_once('/').unwrap();
    let token = parts.next().unwrap().parse().ok();
    let claims = parts.map(|claim| OpClaim {
        write: claim.starts_with('w'),
        path: claim[1..].into(),
    });
    Request {
        key: key(owner, id),
        claims: claims.collect(),
        token,
    }
}

fn question(what: Asked) -> Question {
    let namespace = Text::from("n");
    Question { namespace, what }
}

fn at(path: &str, token: Option<u64>) -> Question {
    let path = path.into();
    question(Asked::BreakAt { path, token })
}

fn of(owner: &str, path: &str, id: Option<&str>, token: Option<u64>) -> Question {
    question(Asked::BreakOf {
        path: path.into(),
        owner: key(owner, "").owner,
        id: id.map(Text::from),
        token,
    })
}

fn end(session: &str) -> Question {
    let session = session.into();
    question(Asked::EndSession { session })
}

#[derive(Default)]
struct Story {
    oracle: Breaks,
    entry: u64,
}

impl Story {
    /// These live, each since an entry of its own.
    fn of(requests: &[&str]) -> Story {
        let mut story = Story::default();
        for text in requests {
            story.did(&[Seen::Lives(request(text))]);
        }
        story
    }

    fn see(&mut self, happening: &Happening) -> Verdict {
        self.oracle.see(Duration::ZERO, happening)
    }

    /// All that an entry does.
    fn did(&mut self, deeds: &[Seen]) {
        self.entry += 1;
        for what in deeds {
            let (entry, what) = (self.entry, what.clone());
            self.see(&Happening::Seen { entry, what }).unwrap();
        }
    }

    fn ends(&mut self, reason: &str, requests: &[&str]) {
        let ends = requests.iter().map(|text| Seen::Ends {
            key: request(text).key,
            reason: reason.into(),
        });
        self.did(&ends.collect::<Vec<_>>());
    }

    fn asks(&mut self, ask: &str, question: Question) {
        self.asks_as(ask, question, true);
    }

    fn asks_as(&mut self, ask: &str, question: Question, by_operator: bool) {
        let asked = Happening::BreakAsked {
            ask: ask.into(),
            host: 0,
            question,
            by_operator,
        };
        self.see(&asked).unwrap();
    }

    fn answered(&mut self, ask: &str, answer: Answer) -> Verdict {
        let ask = ask.into();
        self.see(&Happening::BreakAnswered { ask, answer })
    }

    fn gone(&mut self, ask: &str) {
        self.see(&Happening::BreakGone { ask: ask.into() }).unwrap();
    }

    fn broken(&mut self, ask: &str, requests: &[&str]) -> Verdict {
        let requests = requests.iter().map(|text| request(text)).collect();
        let more = false;
        self.answered(ask, Answer::Broken { requests, more })
    }

    fn refused(&mut self, ask: &str, code: &str) -> Verdict {
        self.answered(ask, refusal(409, code, false))
    }

    fn session_ended(&mut self, ask: &str, count: u64, requests: &[&str]) -> Verdict {
        let requests = requests.iter().map(|text| request(text)).collect();
        self.answered(ask, Answer::SessionEnded { count, requests })
    }

    /// The session is closed by a command, with these.
    fn closes(&mut self, session: &str, requests: &[&str]) {
        let (namespace, session) = (Text::from("n"), Text::from(session));
        let mut deeds = vec![Seen::SessionCloses {
            namespace: namespace.clone(),
            session: session.clone(),
        }];
        deeds.extend(requests.iter().map(|text| Seen::Ends {
            key: request(text).key,
            reason: "session_ended".into(),
        }));
        deeds.push(Seen::SessionOver { namespace, session });
        self.did(&deeds);
    }

    /// The end of a session begins with a command, and with the first of its requests.
    fn begins_to_close(&mut self, session: &str, first: &str) {
        self.did(&[
            Seen::SessionCloses {
                namespace: "n".into(),
                session: session.into(),
            },
            Seen::Ends {
                key: request(first).key,
                reason: "session_ended".into(),
            },
        ]);
    }

    fn opens(&mut self, session: &str) -> Verdict {
        self.entry += 1;
        let what = Seen::SessionOpens {
            namespace: "n".into(),
            session: session.into(),
        };
        let entry = self.entry;
        self.see(&Happening::Seen { entry, what })
    }

    /// The next entry is applied: what came before is judged.
    fn goes_on(&mut self) -> Verdict {
        self.see(&Happening::ServerDown)
    }
}

fn refusal(status: u16, code: &str, is_undone: bool) -> Answer {
    Answer::Refused {
        status,
        code: code.into(),
        is_undone,
    }
}

#[test]
fn what_is_broken_is_what_is_held_exactly_there() {
    let there = ["h/A 1 ra", "s/B 2 ra", "h/C 3 wa/b", "h/D - wa"];
    for (question, ended, is_right) in [
        (at("a", None), &["h/A 1 ra", "s/B 2 ra"][..], true),
        (at("a", None), &["h/A 1 ra"], false),
        (at("a", None), &["h/A 1 ra", "s/B 2 ra", "h/D - wa"], false),
        (
            at("a", None),
            &["h/A 1 ra", "s/B 2 ra", "h/C 3 wa/b"],
            false,
        ),
        (at("a", Some(2)), &["s/B 2 ra"], true),
        (at("a", Some(2)), &["h/A 1 ra"], false),
        (of("h", "a", None, None), &["h/A 1 ra", "h/D - wa"], true),
        (of("h", "a", None, None), &["h/D - wa"], false),
        (of("h", "a", Some("D"), None), &["h/D - wa"], true),
        (of("h", "a", Some("A"), Some(1)), &["h/A 1 ra"], true),
        (of("h", "a", Some("A"), Some(2)), &["h/A 1 ra"], false),
    ] {
        let mut story = Story::of(&there);
        story.asks("b", question.clone());
        story.ends("broken", ended);
        assert_eq!(story.goes_on().is_ok(), is_right, "{question}: {ended:?}");
        if is_right {
            let mut story = Story::of(&there);
            story.asks("b", question.clone());
            story.ends("broken", ended);
            assert_eq!(story.broken("b", ended), Ok(()), "{question}");
            let twice = story.broken("b", ended);
            assert!(twice.is_err(), "it is answered twice");
        }
    }
}

#[test]
fn what_nobody_asked_for_is_seen() {
    let mut unasked = Story::of(&["h/A 1 wa"]);
    unasked.ends("broken", &["h/A 1 wa"]);
    assert!(unasked.goes_on().is_err());
    let mut by_others = Story::of(&["h/A 1 wa"]);
    by_others.asks_as("b", at("a", None), false);
    by_others.ends("broken", &["h/A 1 wa"]);
    assert!(by_others.goes_on().is_err());
    let mut otherwise = Story::of(&["h/A 1 wa"]);
    otherwise.ends("expired", &["h/A 1 wa"]);
    assert_eq!(otherwise.goes_on(), Ok(()));
}

#[test]
fn a_question_is_done_once() {
    let there = ["h/A 1 wa", "h/B - wa"];
    let twice = |asked: &[&str]| {
        let mut story = Story::of(&there);
        for ask in asked {
            story.asks(ask, at("a", None));
        }
        // Its answer is lost.
        story.gone(asked[0]);
        story.ends("broken", &["h/A 1 wa"]);
        story.did(&[Seen::Lives(request("h/B 2 wa"))]);
        story.ends("broken", &["h/B 2 wa"]);
        story
    };
    assert!(twice(&["b"]).goes_on().is_err());
    assert_eq!(twice(&["b", "c"]).goes_on(), Ok(()));
    // One that has come to nothing has done nothing.
    let mut story = Story::of(&[]);
    story.asks("b", at("a", None));
    story.asks("c", at("a", None));
    story.did(&[Seen::Lives(request("h/A 1 wa"))]);
    story.ends("broken", &["h/A 1 wa"]);
    assert_eq!(story.refused("b", "not_held"), Ok(()));
    assert!(
        story.refused("c", "not_held").is_err(),
        "one of them broke it"
    );
}

#[test]
fn an_answer_names_what_it_ended_as_it_was() {
    let broken = |told: &[&str]| {
        let mut story = Story::of(&["h/A 1 wa", "h/B 2 wc"]);
        story.asks("b", at("a", None));
        story.ends("broken", &["h/A 1 wa"]);
        story.broken("b", told)
    };
    assert_eq!(broken(&["h/A 1 wa"]), Ok(()));
    for wrong in [
        &["h/A 2 wa"][..],
        &["h/A - wa"],
        &["h/A 1 ra"],
        &["h/A 1 wa", "h/B 2 wc"],
        &["h/A 1 wa", "h/A 1 wa"],
        &[],
    ] {
        assert!(broken(wrong).is_err(), "{wrong:?}");
    }
    let mut early = Story::of(&["h/A 1 wa"]);
    early.asks("b", at("a", None));
    assert!(early.broken("b", &["h/A 1 wa"]).is_err(), "it lives");
    let mut more = Story::of(&["h/A 1 wa"]);
    more.asks("b", at("a", None));
    more.ends("broken", &["h/A 1 wa"]);
    let requests = vec![request("h/A 1 wa")];
    let more_of_it = more.answered(
        "b",
        Answer::Broken {
            requests,
            more: true,
        },
    );
    assert!(more_of_it.is_err());
}

#[test]
fn what_is_said_not_to_be_there_was_not_there_at_some_moment() {
    for (there, question, codes) in [
        (&["h/A 1 wa"][..], at("b", None), &["not_held"][..]),
        (&["h/A 1 wa"], at("a/b", None), &["not_held"]),
        (&["h/A 1 wa"], at("a/b", Some(1)), &["stale_token"]),
        (&["h/A 1 wa/b"], at("a", Some(1)), &["stale_token"]),
        (&["h/A - wa"], at("a", Some(1)), &["not_held"]),
        (&["h/A 1 wa"], at("a", None), &[]),
        (&["h/A - wa"], of("h", "a", None, None), &[]),
        (&["h/A - wa"], of("h", "a", None, Some(1)), &["stale_token"]),
        (&["h/A 1 wa"], of("h", "b", None, None), &["unknown_lock"]),
        (&["h/A 1 wa"], of("g", "a", None, None), &["unknown_lock"]),
        (
            &["h/A 1 wa"],
            of("h", "a", Some("B"), None),
            &["unknown_lock"],
        ),
        (&[], end("s"), &["unknown_session"]),
    ] {
        for code in ["not_held", "stale_token", "unknown_lock", "unknown_session"] {
            let mut story = Story::of(there);
            story.asks("b", question.clone());
            let is_right = codes.contains(&code);
            assert_eq!(
                story.refused("b", code).is_ok(),
                is_right,
                "{question}: {code}"
            );
        }
    }
    // What ends or begins in between is there or not.
    let mut released = Story::of(&["h/A 1 wa"]);
    released.asks("b", at("a", None));
    released.ends("released", &["h/A 1 wa"]);
    assert_eq!(released.refused("b", "not_held"), Ok(()));
    let mut comes = Story::of(&[]);
    comes.asks("b", at("a", None));
    comes.did(&[Seen::Lives(request("h/A 1 wa"))]);
    assert_eq!(comes.refused("b", "not_held"), Ok(()));
    // Within an entry nobody finds what is handed on.
    let mut handed_on = Story::of(&["h/A 1 wa", "h/B - wa"]);
    handed_on.asks("b", at("a", None));
    let ends = Seen::Ends {
        key: key("h", "A"),
        reason: "released".into(),
    };
    handed_on.did(&[ends, Seen::Lives(request("h/B 2 wa"))]);
    assert!(handed_on.refused("b", "not_held").is_err());
    // How a request ended is remembered for a while.
    for code in ["not_held", "unknown_lock"] {
        let mut over = Story::of(&["h/A 1 wa"]);
        over.ends("released", &["h/A 1 wa"]);
        over.asks("b", of("h", "a", Some("A"), None));
        assert_eq!(over.refused("b", code), Ok(()));
    }
}

#[test]
fn who_is_no_operator_is_refused_and_nothing_is_known_of_who_cannot_answer() {
    for (answer, is_right) in [
        (refusal(401, "unauthorized", false), true),
        (refusal(503, "unavailable", false), true),
        (refusal(409, "not_held", false), false),
        (refusal(403, "unauthorized", false), false),
    ] {
        let mut story = Story::of(&[]);
        story.asks_as("b", at("a", None), false);
        assert_eq!(
            story.answered("b", answer.clone()).is_ok(),
            is_right,
            "{answer}"
        );
    }
    let mut operator = Story::of(&[]);
    operator.asks("b", at("a", None));
    let unauthorized = refusal(401, "unauthorized", false);
    assert!(operator.answered("b", unauthorized).is_err());
    // Nothing was done for certain, or perhaps something.
    for (is_undone, is_right) in [(true, false), (false, true)] {
        let mut story = Story::of(&["h/A 1 wa"]);
        story.asks("b", at("a", None));
        let unavailable = refusal(503, "unavailable", is_undone);
        assert_eq!(story.answered("b", unavailable), Ok(()));
        story.ends("broken", &["h/A 1 wa"]);
        assert_eq!(story.goes_on().is_ok(), is_right);
    }
    let mut odd = Story::of(&[]);
    odd.asks("b", at("a", None));
    assert!(odd.answered("b", Answer::Odd("500".into())).is_err());
}

/// A session that has asked for something, and its client.
fn in_session() -> (Story, Client) {
    let client = Client { index: 0, host: 0 };
    let wanted = super::super::Wanted {
        namespace: "n".into(),
        claims: Vec::new(),
        ttl: None,
        wait: crate::op::OpWait::Forever,
    };
    let mut story = Story::default();
    story.opens("s").unwrap();
    let asked = Happening::Asked {
        id: "L".into(),
        client,
        wanted: wanted.clone(),
    };
    let applied = Happening::Applied {
        id: "L".into(),
        session: "s".into(),
        wanted,
    };
    for happening in [asked, applied] {
        story.see(&happening).unwrap();
    }
    for text in ["s/L 1 wa", "s/M - wb", "h/N 2 wc"] {
        story.did(&[Seen::Lives(request(text))]);
    }
    (story, client)
}

#[test]
fn a_session_ends_with_all_that_it_has_and_stays_ended() {
    let all = ["s/L 1 wa", "s/M - wb"];
    let ended = || {
        let (mut story, _) = in_session();
        story.asks("b", end("s"));
        story.closes("s", &all);
        story
    };
    assert_eq!(ended().session_ended("b", 2, &all), Ok(()));
    assert!(ended().session_ended("b", 1, &all).is_err());
    assert!(ended().session_ended("b", 1, &all[..1]).is_err());
    assert_eq!(ended().goes_on(), Ok(()));
    let mut again = ended();
    again.session_ended("b", 2, &all).unwrap();
    assert!(again.opens("s").is_err());
    let mut at_once = ended();
    at_once.entry -= 1;
    assert!(at_once.opens("s").is_err());
    let mut another = ended();
    another.session_ended("b", 2, &all).unwrap();
    assert_eq!(another.opens("t"), Ok(()));
    let mut lives = in_session().0;
    lives.asks("b", end("s"));
    assert!(lives.session_ended("b", 2, &all).is_err());
    assert!(lives.goes_on().is_ok());
    let mut denied = in_session().0;
    denied.asks("b", end("s"));
    assert!(denied.refused("b", "unknown_session").is_err());
}

#[test]
fn a_session_is_over_when_its_end_begins_and_ends_with_all_that_it_had_then() {
    let all = ["s/L 1 wa", "s/M - wb"];
    let begun = || {
        let (mut story, _) = in_session();
        story.asks("b", end("s"));
        story.begins_to_close("s", all[0]);
        story
    };
    // What has not had its turn belongs to it.
    assert_eq!(begun().session_ended("b", 2, &all), Ok(()));
    assert!(begun().session_ended("b", 1, &all[..1]).is_err());
    // Nor does it matter what becomes of it until then.
    for reason in ["session_ended", "timed_out"] {
        let mut later = begun();
        later.ends(reason, &all[1..]);
        assert_eq!(later.session_ended("b", 2, &all), Ok(()), "{reason}");
        assert_eq!(later.goes_on(), Ok(()));
    }
    // Nobody can end it once more.
    let mut again = begun();
    again.asks("c", end("s"));
    assert_eq!(again.refused("c", "unknown_session"), Ok(()));
    let mut not_yet = in_session().0;
    not_yet.asks("c", end("s"));
    assert!(not_yet.refused("c", "unknown_session").is_err());
    // The time ends one, too.
    let mut abandoned = in_session().0;
    abandoned.ends("session_ended", &all[..1]);
    abandoned.asks("c", end("s"));
    assert_eq!(abandoned.refused("c", "unknown_session"), Ok(()));
    // What lives on can be broken.
    let mut broken = begun();
    broken.asks("c", of("s", "b", Some("M"), None));
    broken.ends("broken", &all[1..]);
    assert_eq!(broken.broken("c", &all[1..]), Ok(()));
    assert_eq!(broken.session_ended("b", 2, &all), Ok(()));
    // A server that stops sends nobody away who holds what has not had its turn.
    let (mut sent_away, _) = in_session();
    let event = DrainEvent::Begins;
    sent_away
        .see(&Happening::Drains { node: 0, event })
        .unwrap();
    sent_away.begins_to_close("s", all[1]);
    assert!(sent_away.goes_on().is_err());
}

#[test]
fn a_session_that_nobody_ends_is_not_closed() {
    let all = ["s/L 1 wa", "s/M - wb"];
    let (mut unasked, _) = in_session();
    unasked.closes("s", &all);
    assert!(unasked.goes_on().is_err());
    let (mut by_others, _) = in_session();
    by_others.asks_as("b", end("s"), false);
    by_others.closes("s", &all);
    assert!(by_others.goes_on().is_err());
    let (mut its_own, client) = in_session();
    its_own.see(&Happening::Closing { client }).unwrap();
    its_own.closes("s", &all);
    assert_eq!(its_own.goes_on(), Ok(()));
    // A server that stops sends those away who hold nothing.
    let drains = || Happening::Drains {
        node: 0,
        event: DrainEvent::Begins,
    };
    for (with, is_right) in [(&all[1..], true), (&all[..], false)] {
        let (mut sent_away, _) = in_session();
        if with.len() == 1 {
            sent_away.ends("released", &all[..1]);
        }
        sent_away.see(&drains()).unwrap();
        sent_away.closes("s", with);
        // It has stopped when that is judged.
        let back = sent_away.see(&Happening::ServerBack {
            entries: 9,
            last: 9,
            is_same: true,
        });
        assert_eq!(back.is_ok(), is_right);
    }
    let (mut early, client) = in_session();
    early.closes("s", &all);
    assert!(early.see(&Happening::Closing { client }).is_err());
    // Two ends of one session are not both the doing of operators.
    let (mut twice, _) = in_session();
    twice.asks("b", end("s"));
    twice.asks("c", end("s"));
    twice.closes("s", &all);
    twice.session_ended("b", 2, &all).unwrap();
    assert!(twice.session_ended("c", 2, &all).is_err());
}

#[test]
fn the_token_that_counts_is_the_largest_of_those_that_cover_the_path() {
    let there = [
        "h/A 1 ra",
        "h/B 3 ra/b",
        "h/C 4 wc",
        "h/D 2 ra",
        "h/E - wa/b",
    ];
    for (path, token) in [
        ("a", Some(2)),
        ("a/b", Some(3)),
        ("a/b/c", Some(3)),
        ("c/d", Some(4)),
        ("/", None),
        ("d", None),
    ] {
        for told in [None, Some(1), Some(2), Some(3), Some(4), Some(5)] {
            let mut story = Story::of(&there);
            let path = path.into();
            story.asks_as("b", question(Asked::Fence { path }), false);
            let answered = story.answered("b", Answer::Token(told));
            assert_eq!(answered.is_ok(), told == token, "{told:?}");
        }
    }
    let mut over = Story::of(&["h/A 1 wa"]);
    let path = "a".into();
    over.asks("b", question(Asked::Fence { path }));
    over.ends("released", &["h/A 1 wa"]);
    assert_eq!(over.answered("b", Answer::Token(None)), Ok(()));
}
