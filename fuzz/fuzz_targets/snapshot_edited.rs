#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lockwright_sim::fuzzing::snapshot_edited(bytes));
