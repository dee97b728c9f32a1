//! Locktopus' WebSocket protocol, so that its clients can use this server as it is.
//!
//! An adapter: a connection gets sessions of its own, and what it says is put into the words of
//! the [session protocol](lockwright_protocol). The replica cannot tell it from others.
//! `docs/locktopus.md` tells what a client sees, and where this differs from Locktopus' own server.
//!
//! `endpoint` serves a connection from its upgrade to its end, `conversation` decides without any
//! I/O what is said next, `session` is the connection's place at the replica, `parameters` reads
//! the URL, `wire` has what crosses the wire, `resource` puts paths into those of the engine, `stats` counts.

mod conversation;
mod endpoint;
mod parameters;
mod resource;
mod session;
mod stats;
mod wire;

pub(crate) use endpoint::upgrade;
pub(crate) use stats::stats;

/// The path of the WebSocket.
pub(crate) const LOCKTOPUS_PATH: &str = "/v1";

/// The path that tells how much there is in a namespace.
pub(crate) const LOCKTOPUS_STATS_PATH: &str = "/stats_v1";
