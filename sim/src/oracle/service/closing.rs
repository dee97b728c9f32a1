//! A session that was closed, and whose client was answered so, is over, though its locks may end a while
//! later (SEMANTICS section 4). What a client asks for after that is refused, and is no sign that the session
//! lives.

use super::{Client, Happening, ServiceOracle};
use crate::{op::Text, oracle::Verdict};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The oracle.
#[derive(Debug, Default)]
pub struct Closing {
    /// The client of each request that has not reached the engine.
    clients: BTreeMap<Text, Client>,
    /// The sessions that are open.
    open: BTreeSet<Text>,
    /// The open session of each client, once it has asked for something.
    sessions: BTreeMap<Client, Text>,
}

impl ServiceOracle for Closing {
    fn name(&self) -> &'static str {
        "closing"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 4 a session is over for every command when its end begins"
    }

    fn see(&mut self, _now: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::Asked { id, client, .. } => {
                self.clients.insert(id.clone(), *client);
            }
            Happening::Opened { session, .. } => {
                self.open.insert(session.clone());
            }
            Happening::Applied { id, session, .. } => {
                if let Some(client) = self.clients.remove(id)
                    && self.open.contains(session)
                {
                    self.sessions.insert(client, session.clone());
                }
            }
            Happening::EndBegins { session } => {
                self.open.remove(session);
                self.sessions.retain(|_, other| other != session);
            }
            Happening::Closed {
                client,
                error: None,
            } if self.sessions.contains_key(client) => {
                return Err(format!(
                    "{client} was answered that its session is closed, and it goes on"
                ));
            }
            // What it had in memory is over too, and nobody will say so. A client that starts
            // again has a session of its own.
            Happening::ServerDown => {
                self.open.clear();
                self.sessions.clear();
            }
            Happening::HostDown { host } => {
                self.clients.retain(|_, client| client.host != *host);
                self.sessions.retain(|client, _| client.host != *host);
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{op::OpWait, oracle::service::Wanted};

    const CLIENT: Client = Client { index: 0, host: 0 };

    fn opened() -> Happening {
        Happening::Opened {
            session: "s".into(),
            namespace: "default".into(),
            abandon: 1,
        }
    }

    /// A client that asks for something in its session.
    fn asks(oracle: &mut Closing) {
        let wanted = Wanted {
            namespace: "default".into(),
            claims: Vec::new(),
            ttl: None,
            wait: OpWait::Forever,
        };
        let (id, session) = (Text::from("L1"), Text::from("s"));
        let asked = Happening::Asked {
            id: id.clone(),
            client: CLIENT,
            wanted: wanted.clone(),
        };
        let applied = Happening::Applied {
            id,
            session,
            wanted,
        };
        for happening in [asked, applied] {
            oracle.see(Duration::ZERO, &happening).unwrap();
        }
    }

    fn story() -> Closing {
        let mut oracle = Closing::default();
        oracle.see(Duration::ZERO, &opened()).unwrap();
        asks(&mut oracle);
        oracle
    }

    fn closed(error: Option<&str>) -> Happening {
        Happening::Closed {
            client: CLIENT,
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn a_session_that_goes_on_after_it_was_closed_is_seen() {
        assert!(story().see(Duration::ZERO, &closed(None)).is_err());
        assert_eq!(story().see(Duration::ZERO, &closed(Some("away"))), Ok(()));
    }

    #[test]
    fn a_session_that_is_over_is_closed() {
        for end in [
            Happening::EndBegins {
                session: "s".into(),
            },
            Happening::ServerDown,
            Happening::HostDown { host: 0 },
        ] {
            let mut oracle = story();
            oracle.see(Duration::ZERO, &end).unwrap();
            assert_eq!(oracle.see(Duration::ZERO, &closed(None)), Ok(()));
        }
    }

    /// A client's own end, however long it takes, is no end of another session that it has.
    #[test]
    fn the_end_of_another_session_is_none_of_this_one() {
        let mut oracle = story();
        let other = Happening::EndBegins {
            session: "t".into(),
        };
        oracle.see(Duration::ZERO, &other).unwrap();
        assert!(oracle.see(Duration::ZERO, &closed(None)).is_err());
    }

    #[test]
    fn what_is_asked_for_after_the_end_of_a_session_does_not_open_it() {
        let mut oracle = story();
        let ended = Happening::EndBegins {
            session: "s".into(),
        };
        oracle.see(Duration::ZERO, &ended).unwrap();
        asks(&mut oracle);
        assert_eq!(oracle.see(Duration::ZERO, &closed(None)), Ok(()));
        // A new session under the same name would be one.
        oracle.see(Duration::ZERO, &opened()).unwrap();
        asks(&mut oracle);
        assert!(oracle.see(Duration::ZERO, &closed(None)).is_err());
    }
}
