//! What reaches the engine is what the client asked for: nothing added, dropped or changed on the
//! way, and nothing that nobody asked for.

use super::{Happening, ServiceOracle, Wanted};
use crate::{op::Text, oracle::Verdict};
use std::{collections::BTreeMap, time::Duration};

/// The oracle.
#[derive(Debug, Default)]
pub struct Fidelity {
    asked: BTreeMap<Text, Wanted>,
}

impl ServiceOracle for Fidelity {
    fn name(&self) -> &'static str {
        "fidelity"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 2 a request asks for its claims"
    }

    fn see(&mut self, _now: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::Asked { id, wanted, .. } => {
                self.asked.insert(id.clone(), wanted.clone());
                Ok(())
            }
            Happening::Applied { id, wanted } => match self.asked.get(id) {
                Some(asked) if asked == wanted => Ok(()),
                Some(asked) => Err(format!(
                    "{id} reached the engine as {wanted}, and its client asked for {asked}"
                )),
                None => Err(format!(
                    "{id} reached the engine, and no client asked for it"
                )),
            },
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{OpClaim, OpWait};

    fn wanted(path: &str, ttl: Option<u64>) -> Wanted {
        Wanted {
            namespace: "default".into(),
            claims: vec![OpClaim {
                write: true,
                path: path.into(),
            }],
            ttl,
            wait: OpWait::Forever,
        }
    }

    #[test]
    fn a_request_that_changes_on_the_way_is_seen() {
        let mut oracle = Fidelity::default();
        let id = Text::from("L1");
        let asked = Happening::Asked {
            id: id.clone(),
            host: 0,
            wanted: wanted("a", Some(10)),
        };
        let applied = |path, ttl| Happening::Applied {
            id: id.clone(),
            wanted: wanted(path, ttl),
        };
        assert!(oracle.see(Duration::ZERO, &applied("a", Some(10))).is_err());
        oracle.see(Duration::ZERO, &asked).unwrap();
        assert_eq!(oracle.see(Duration::ZERO, &applied("a", Some(10))), Ok(()));
        assert!(oracle.see(Duration::ZERO, &applied("b", Some(10))).is_err());
        assert!(oracle.see(Duration::ZERO, &applied("a", Some(9))).is_err());
        assert!(oracle.see(Duration::ZERO, &applied("a", None)).is_err());
    }
}
