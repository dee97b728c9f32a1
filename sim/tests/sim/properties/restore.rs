//! An engine that was saved and brought back goes on as the one that was not.

use super::{
    config,
    script::{apply, bytes, scripts},
};
use lockwright_engine::{Engine, HashKey, Snapshot};
use proptest::{prelude::*, sample::Index};

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn going_on_from_a_snapshot_is_going_on(script in scripts(), moment in any::<Index>()) {
        let commands = script.commands();
        let (before, after) = commands.split_at(moment.index(commands.len() + 1));
        let mut engine = script.engine(HashKey::default());
        for command in before {
            apply(&mut engine, command);
        }
        let saved = bytes(&engine);
        let read: Snapshot = serde_json::from_str(&saved).expect("it was written by an engine");
        let restored = Engine::restore(&read, HashKey([3, 5]));
        let mut restored = restored.map_err(|error| TestCaseError::fail(error.to_string()))?;
        restored.check();
        prop_assert_eq!(bytes(&restored), saved);
        prop_assert_eq!(restored.usage(), engine.usage());
        prop_assert_eq!(restored.next_deadline(), engine.next_deadline());
        for command in after {
            let (whole, halved) = (apply(&mut engine, command), apply(&mut restored, command));
            prop_assert_eq!(whole, halved, "after {:?}", command);
            prop_assert_eq!(bytes(&engine), bytes(&restored), "after {:?}", command);
        }
        prop_assert!(engine == restored);
    }
}
