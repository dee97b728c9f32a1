//! How often the engine is told the time changes nothing (SEMANTICS section 3).

use super::{
    config,
    script::{Said, Timed, apply, bytes, scripts},
};
use lockwright_engine::{Command, Engine, HashKey, TimeMs};
use proptest::prelude::*;

/// Tells the time `to`, at the given fractions (in percent) of what has passed since the latest,
/// and, like a server, at each deadline on the way.
fn pass_time(engine: &mut Engine, to: TimeMs, percents: &[u64], at_deadlines: bool) -> Said {
    let from = engine.now();
    let passed = to.since(from).as_ms();
    let mut all = Vec::new();
    let mut tell = |engine: &mut Engine, at| {
        let said = apply(engine, &(at, Command::Tick));
        all.extend(said.events);
        said.reply
    };
    for percent in percents {
        let at = TimeMs::new(from.as_ms() + passed * percent / 100).expect("it is before `to`");
        let _done = tell(engine, at);
    }
    while at_deadlines && let Some(due) = engine.next_deadline().filter(|due| *due <= to) {
        let _done = tell(engine, due);
    }
    let reply = tell(engine, to);
    Said { reply, events: all }
}

fn with_what_was_due(mut due: Said, said: Said) -> Said {
    due.events.extend(said.events);
    Said {
        reply: said.reply,
        events: due.events,
    }
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn how_often_the_time_is_told_changes_nothing(
        script in scripts(),
        mut percents in proptest::collection::vec(0..=100_u64, 0..=3),
        at_deadlines in any::<bool>(),
    ) {
        percents.sort_unstable();
        let (mut told_seldom, mut told_often) =
            (script.engine(HashKey::default()), script.engine(HashKey::default()));
        for command in script.commands() {
            let seldom = apply(&mut told_seldom, &command);
            let due = pass_time(&mut told_often, command.0, &percents, at_deadlines);
            let often = with_what_was_due(due, apply(&mut told_often, &command));
            prop_assert_eq!(seldom, often, "after {:?}", command);
            prop_assert_eq!(bytes(&told_seldom), bytes(&told_often), "after {:?}", command);
        }
        // What is still to come, at once or bit by bit.
        let end: Timed = (TimeMs::new(1_000_000).expect("it is in range"), Command::Tick);
        let seldom = apply(&mut told_seldom, &end);
        let often = pass_time(&mut told_often, end.0, &percents, at_deadlines);
        prop_assert_eq!(seldom, often, "at the end");
        prop_assert_eq!(bytes(&told_seldom), bytes(&told_often), "at the end");
    }
}
