//! What inspection shows as the label of a lock is what its owner sent: that of the request or, without
//! one, of its session; at every node, after a change of leader, a restart and a snapshot.

use super::{Client, Happening, ServiceOracle};
use crate::{op::Text, oracle::Verdict};
use std::{collections::BTreeMap, time::Duration};

/// The label that a client gives its session, each time that it opens one: two of three do.
#[must_use]
pub fn of_session(client: Client) -> Option<Text> {
    let label = || Text::from(format!("client-{}@host-{}", client.index, client.host));
    (client.index % 3 != 2).then(label)
}

/// The label that a request has of its own: about every second.
#[must_use]
pub fn of_request(id: &str) -> Option<Text> {
    let is_odd = id.bytes().fold(0, |sum: u8, byte| sum ^ byte) % 2 == 1;
    is_odd.then(|| Text::from(format!("for-{id}")))
}

/// The oracle.
#[derive(Debug, Default)]
pub struct Labels {
    /// The label of each request that was asked for.
    sent: BTreeMap<Text, Option<Text>>,
    /// The request and the label of each lock, by its token.
    locks: BTreeMap<u64, (Text, Option<Text>)>,
}

impl ServiceOracle for Labels {
    fn name(&self) -> &'static str {
        "labels"
    }

    fn rule(&self) -> &'static str {
        "docs/http.md: a label is that of the request or, without one, of its session"
    }

    fn see(&mut self, _now: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::Asked { id, client, .. } => {
                let label = of_request(id).or_else(|| of_session(*client));
                self.sent.insert(id.clone(), label);
            }
            Happening::HttpAsked { id, .. } => {
                self.sent.insert(id.clone(), of_request(id));
            }
            Happening::Granted { id, token } => {
                if let Some(label) = self.sent.get(id) {
                    self.locks.insert(*token, (id.clone(), label.clone()));
                }
            }
            Happening::LabelSeen { look, token, label } => {
                if let Some((id, sent)) = self.locks.get(token)
                    && sent != label
                {
                    let text = |label: &Option<Text>| match label {
                        Some(label) => format!("the label `{label}`"),
                        None => "no label".to_owned(),
                    };
                    return Err(format!(
                        "{look} sees {id}, held with token {token}, with {}, and it was asked for \
                         with {}",
                        text(label),
                        text(sent)
                    ));
                }
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

    fn see(oracle: &mut Labels, happening: &Happening) -> Verdict {
        oracle.see(Duration::ZERO, happening)
    }

    /// A request of a client with this index is granted with token 7, and seen with this label.
    fn story(id: &str, index: usize, label: Option<&str>) -> Verdict {
        let mut oracle = Labels::default();
        let wanted = Wanted {
            namespace: "n".into(),
            claims: Vec::new(),
            ttl: None,
            wait: OpWait::Forever,
        };
        let asked = Happening::Asked {
            id: id.into(),
            client: Client { index, host: 0 },
            wanted,
        };
        see(&mut oracle, &asked)?;
        let granted = Happening::Granted {
            id: id.into(),
            token: 7,
        };
        see(&mut oracle, &granted)?;
        let seen = Happening::LabelSeen {
            look: "r".into(),
            token: 7,
            label: label.map(Text::from),
        };
        see(&mut oracle, &seen)
    }

    #[test]
    fn the_label_of_a_request_comes_before_that_of_its_session() {
        let (own, bare) = ("A", "B");
        assert_eq!(of_request(own).as_deref(), Some("for-A"));
        assert_eq!(of_request(bare), None);
        assert_eq!(story(own, 0, Some("for-A")), Ok(()));
        assert_eq!(story(bare, 0, Some("client-0@host-0")), Ok(()));
        assert_eq!(story(bare, 2, None), Ok(()));
        for (id, index, label) in [
            (own, 0, None),
            (own, 0, Some("client-0@host-0")),
            (bare, 0, None),
            (bare, 0, Some("client-1@host-0")),
            (bare, 2, Some("client-2@host-0")),
        ] {
            assert!(story(id, index, label).is_err(), "{id} {index} {label:?}");
        }
    }
}
