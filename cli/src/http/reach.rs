//! Telling whether a server was reached: as long as it was not, nothing can have been done.

use std::fmt;
use ureq::{
    Error, Timeout,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{ConnectionDetails, Connector, DefaultConnector, NextTimeout},
    },
};

/// A server was not reached: its name was not found, or it takes no connection.
#[derive(Debug)]
struct Unreached(Error);

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What it says of itself is said with more words elsewhere.
        match &self.0 {
            Error::Io(error) => error.fmt(f),
            other => other.fmt(f),
        }
    }
}

impl std::error::Error for Unreached {}

fn unreached(error: Error) -> Error {
    Error::Other(Box::new(Unreached(error)))
}

/// Looks names up, and marks what fails.
#[derive(Debug, Default)]
pub(super) struct Names(DefaultResolver);

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        self.0.resolve(uri, config, timeout).map_err(unreached)
    }
}

/// Makes connections, and marks what fails.
#[derive(Debug, Default)]
pub(super) struct Connections(DefaultConnector);

impl Connector for Connections {
    type Out = <DefaultConnector as Connector>::Out;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        self.0.connect(details, chained).map_err(unreached)
    }
}

/// Whether nothing can have been asked of the server, and what is to be told then.
pub(super) fn was_unreached(error: &Error) -> Option<String> {
    match error {
        Error::Other(inner) => inner.downcast_ref::<Unreached>().map(ToString::to_string),
        // These come before there is a connection.
        Error::BadUri(_) | Error::Http(_) | Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            Some(error.to_string())
        }
        _ => None,
    }
}
