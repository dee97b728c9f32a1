//! Two engines that saw the same commands are the same, whatever their hash keys.

use super::{
    config,
    script::{apply, bytes, scripts},
};
use lockwright_engine::HashKey;
use proptest::prelude::*;

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn the_same_commands_give_the_same_engine(script in scripts(), key in any::<[u64; 2]>()) {
        let mut one = script.engine(HashKey::default());
        let mut other = script.engine(HashKey(key));
        for command in script.commands() {
            let (said, repeated) = (apply(&mut one, &command), apply(&mut other, &command));
            prop_assert_eq!(said, repeated, "after {:?}", command);
            prop_assert!(one == other, "after {:?}", command);
            prop_assert_eq!(bytes(&one), bytes(&other), "after {:?}", command);
            prop_assert_eq!(one.usage(), other.usage(), "after {:?}", command);
        }
    }
}
