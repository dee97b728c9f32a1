//! The binary as people and programs use it.

mod bench;
mod lock;
mod operators;
mod serve;
mod servers;
mod support;
