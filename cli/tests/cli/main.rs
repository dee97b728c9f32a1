//! The binary as people and programs use it.

mod lock;
mod serve;
mod support;
