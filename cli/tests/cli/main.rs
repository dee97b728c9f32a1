//! The binary as people and programs use it.

mod access;
mod bench;
mod cluster;
mod labels;
mod lock;
mod nodes;
mod operators;
mod output;
mod played;
mod serve;
mod servers;
mod settings;
mod signals;
mod support;
mod watch;
