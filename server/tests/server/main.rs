//! The server from outside, on real sockets and disks. One program, since each takes seconds to build.

mod cluster;
mod common;
mod crowds;
mod doors;
mod drain;
mod frames;
mod hang_up;
mod http;
mod labels;
mod locktopus;
mod restart;
mod resumed;
mod scratch;
mod shares;
mod watchers;
mod wire;
