//! A refused command changes nothing but the time, and nor does one that only repeats a request.

use super::{
    config,
    script::{apply, bytes, scripts},
};
use lockwright_engine::{Command, HashKey, Reply};
use proptest::prelude::*;

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn what_is_refused_or_repeated_changes_nothing_but_the_time(script in scripts()) {
        let mut engine = script.engine(HashKey::default());
        for command in script.commands() {
            let mut only_told_the_time = engine.clone();
            let said = apply(&mut engine, &command);
            if !matches!(said.reply, Err(_) | Ok(Reply::Acquired { fresh: false, .. })) {
                continue;
            }
            let tick = apply(&mut only_told_the_time, &(command.0, Command::Tick));
            prop_assert_eq!(said.events, tick.events, "after {:?}", command);
            prop_assert_eq!(bytes(&engine), bytes(&only_told_the_time), "after {:?}", command);
            prop_assert_eq!(engine.usage(), only_told_the_time.usage(), "after {:?}", command);
        }
    }
}
