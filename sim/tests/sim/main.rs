//! The simulator from outside. One program, since each takes seconds to build; tests that need one for
//! themselves are beside it.

mod cluster_profile;
mod engine_profile;
mod fencing_profile;
mod fuzz_corpus;
mod incidents;
mod lease_protocol;
mod properties;
mod script_random_ops;
mod script_traces;
mod service_profile;
