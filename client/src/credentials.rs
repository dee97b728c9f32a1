//! The name and the secret of a session.

use lockwright_engine::Name;
use lockwright_protocol::Secret;
use std::fmt::Write;

/// The name and the secret of a session that is to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The session's name. It must not have been a session's name before.
    pub session: Name,
    /// What proves that a connection may speak for it.
    pub secret: Secret,
}

impl Credentials {
    /// Draws a name and a secret that nobody has had or will guess.
    ///
    /// # Panics
    /// When the system has no randomness to give.
    #[must_use]
    pub fn random() -> Credentials {
        Credentials {
            session: Name::new(random_hex::<16>()).expect("hexadecimal digits are a name"),
            secret: Secret::new(random_hex::<32>()).expect("64 digits are long enough"),
        }
    }
}

fn random_hex<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).expect("the system has randomness to give");
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_alike() {
        let (a, b) = (Credentials::random(), Credentials::random());
        assert_ne!(a.session, b.session);
        assert_ne!(a.secret, b.secret);
        assert_eq!(a.session.as_str().len(), 32);
    }
}
