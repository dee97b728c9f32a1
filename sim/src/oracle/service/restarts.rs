//! Tokens strictly increase over the whole run, also when the server starts anew with nothing
//! (SEMANTICS sections 2 and 7.3).

use super::{Happening, ServiceOracle};
use crate::oracle::Verdict;
use std::time::Duration;

/// The oracle.
#[derive(Debug, Default)]
pub struct Restarts {
    largest: u64,
}

impl ServiceOracle for Restarts {
    fn name(&self) -> &'static str {
        "restarts"
    }

    fn rule(&self) -> &'static str {
        "SEMANTICS 2 fencing token: tokens strictly increase and never repeat"
    }

    fn see(&mut self, _now: Duration, happening: &Happening) -> Verdict {
        match happening {
            Happening::ServerUp { first_token } if *first_token <= self.largest => Err(format!(
                "the server starts with token {first_token}, and {} was given before it died",
                self.largest
            )),
            Happening::Granted { id, token } => {
                if *token <= self.largest {
                    return Err(format!(
                        "{id} is granted with token {token}, and {} was given before",
                        self.largest
                    ));
                }
                self.largest = *token;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_comes_again_after_a_restart_is_seen() {
        let mut oracle = Restarts::default();
        let mut see = |happening: Happening| oracle.see(Duration::ZERO, &happening);
        let granted = |token| Happening::Granted {
            id: "L1".into(),
            token,
        };
        assert_eq!(see(Happening::ServerUp { first_token: 7 }), Ok(()));
        assert_eq!(see(granted(7)), Ok(()));
        assert_eq!(see(granted(8)), Ok(()));
        assert!(see(granted(8)).is_err());
        assert!(see(Happening::ServerUp { first_token: 8 }).is_err());
        assert_eq!(see(Happening::ServerUp { first_token: 9 }), Ok(()));
    }
}
