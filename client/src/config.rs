//! How a client is set up.

use crate::ClockRateBound;
use lockwright_engine::{DurationMs, Name};
use lockwright_protocol::Label;
use std::time::Duration;

/// How a client is set up. Start from [`ClientConfig::new`] and change what should differ.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Where the server listens, written `host:port`; several when it is a cluster, since each of
    /// its nodes serves each client. They are tried in this order, from the first one on, and from
    /// the one after that which failed. At least one.
    pub addresses: Vec<String>,
    /// The namespace of the session and its locks. Default `default`.
    pub namespace: Name,
    /// How long the session, and with it every lock, lives on without a connection. A client that
    /// is cut off stops believing in its locks after this time at the latest. Default 30 s.
    pub abandon: DurationMs,
    /// When nothing was sent for this long, a sign of life is. At most a third of the abandon
    /// timeout; a server that is less patient makes it shorter. Default 3 s.
    pub keep_alive: Duration,
    /// A connection on which something is not answered for this long is given up for another.
    /// Default 5 s.
    pub call_timeout: Duration,
    /// The wait before the next address is tried, and before the first is again when all have
    /// failed; that one doubles from round to round. A server that says that it cannot serve, and
    /// others may, is left without a wait. Default 50 ms.
    pub reconnect_min: Duration,
    /// The longest wait before all addresses are tried again. Default 5 s.
    pub reconnect_max: Duration,
    /// What people are told of the session and its locks where the service shows them, as
    /// `deploy@web1`. Default none: a library does not tell of its process what its user did not say.
    pub label: Option<Label>,
    /// By how much the rates of the client's and the server's clock may differ.
    pub clock_rate_bound: ClockRateBound,
}

/// Why a configuration makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is nowhere to connect to.
    #[error("`addresses` has none, or an empty one: expected `host:port` of each server")]
    Addresses,
    /// The session could end between two signs of life.
    #[error(
        "`keep_alive` is {keep_alive:?}, expected more than 0 and at most a third of `abandon`, which is {abandon}"
    )]
    KeepAlive {
        /// The setting.
        keep_alive: Duration,
        /// What it must fit into.
        abandon: DurationMs,
    },
    /// Nothing could ever be answered in time.
    #[error("`call_timeout` is 0: expected the time that an answer may take")]
    CallTimeout,
    /// The waits between tries to connect contradict each other.
    #[error(
        "`reconnect_min` is {min:?} and `reconnect_max` {max:?}: expected 0 < min, and min <= max"
    )]
    Reconnect {
        /// `reconnect_min`.
        min: Duration,
        /// `reconnect_max`.
        max: Duration,
    },
}

impl ClientConfig {
    /// The defaults, with one server, at `address`.
    #[must_use]
    pub fn new(address: impl Into<String>) -> ClientConfig {
        ClientConfig::with_addresses([address])
    }

    /// The defaults, with a cluster whose nodes are at `addresses`.
    #[must_use]
    pub fn with_addresses(addresses: impl IntoIterator<Item = impl Into<String>>) -> ClientConfig {
        ClientConfig {
            addresses: addresses.into_iter().map(Into::into).collect(),
            namespace: Name::new("default").expect("it is a name"),
            abandon: DurationMs::from_secs(30),
            keep_alive: Duration::from_secs(3),
            call_timeout: Duration::from_secs(5),
            reconnect_min: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(5),
            label: None,
            clock_rate_bound: ClockRateBound::default(),
        }
    }

    /// Says whether the settings make sense together.
    ///
    /// # Errors
    /// [`ConfigError`] says which do not, and what is expected.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.addresses.is_empty() || self.addresses.iter().any(String::is_empty) {
            return Err(ConfigError::Addresses);
        }
        let abandon = Duration::from_millis(self.abandon.as_ms());
        if self.keep_alive.is_zero() || self.keep_alive > abandon / 3 {
            return Err(ConfigError::KeepAlive {
                keep_alive: self.keep_alive,
                abandon: self.abandon,
            });
        }
        if self.call_timeout.is_zero() {
            return Err(ConfigError::CallTimeout);
        }
        if self.reconnect_min.is_zero() || self.reconnect_min > self.reconnect_max {
            return Err(ConfigError::Reconnect {
                min: self.reconnect_min,
                max: self.reconnect_max,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_make_sense() {
        assert_eq!(ClientConfig::new("localhost:1").check(), Ok(()));
    }

    #[test]
    fn a_contradiction_is_refused() {
        let mut config = ClientConfig::new("localhost:1");
        config.keep_alive = Duration::from_secs(11);
        assert!(matches!(config.check(), Err(ConfigError::KeepAlive { .. })));
        let mut config = ClientConfig::new("localhost:1");
        config.reconnect_min = Duration::from_secs(6);
        assert!(matches!(config.check(), Err(ConfigError::Reconnect { .. })));
    }

    #[test]
    fn there_is_somewhere_to_connect_to() {
        let nowhere = ClientConfig::with_addresses(Vec::<String>::new());
        assert_eq!(nowhere.check(), Err(ConfigError::Addresses));
        let blank = ClientConfig::with_addresses(["localhost:1", ""]);
        assert_eq!(blank.check(), Err(ConfigError::Addresses));
    }
}
