//! Secrets that operators hand out: who proves to know one may do what others may not.

use hmac::{Hmac, KeyInit, Mac};
use lockwright_env::{Env, sleep};
use sha2::Sha256;
use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// Fewer bytes can be guessed.
const BYTES_MIN: usize = 16;

/// More would not fit into a header.
const BYTES_MAX: usize = 4096;

/// A secret: a text of 16 to 4,096 visible ASCII characters. It is never shown, and compared in a time
/// that tells nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

/// Why a text is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It is too short or too long.
    #[error("it has {got} bytes, and a secret has {BYTES_MIN} to {BYTES_MAX}")]
    Length {
        /// Its bytes.
        got: usize,
    },
    /// It has a character that cannot be sent.
    #[error(
        "byte {at} is none of the visible characters of ASCII, of which a secret consists, without blanks"
    )]
    Character {
        /// Where, counted from 1.
        at: usize,
    },
}

impl Secret {
    /// This text.
    ///
    /// # Errors
    /// [`SecretError`] when it is too short to be one, or cannot be sent in a header.
    pub fn new(text: &str) -> Result<Secret, SecretError> {
        if !(BYTES_MIN..=BYTES_MAX).contains(&text.len()) {
            return Err(SecretError::Length { got: text.len() });
        }
        match text.bytes().position(|byte| !byte.is_ascii_graphic()) {
            Some(place) => Err(SecretError::Character { at: place + 1 }),
            None => Ok(Secret(text.into())),
        }
    }

    /// The text, for those to whom it is to be proved.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether this is the same.
    pub(crate) fn is(&self, given: &[u8]) -> bool {
        const PARTS: &[&[u8]] = &[b"a comparison"];
        let proof = Secret::code(given, PARTS).finalize().into_bytes();
        self.is_proved(PARTS, &proof.into())
    }

    /// What only those can say of these parts that know it.
    pub(crate) fn proof(&self, parts: &[&[u8]]) -> [u8; 32] {
        let code = Secret::code(self.0.as_bytes(), parts);
        code.finalize().into_bytes().into()
    }

    /// Whether it is the [`proof`](Secret::proof) of these parts.
    pub(crate) fn is_proved(&self, parts: &[&[u8]], proof: &[u8; 32]) -> bool {
        Secret::code(self.0.as_bytes(), parts)
            .verify(proof.into())
            .is_ok()
    }

    fn code(secret: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
        let code = Hmac::<Sha256>::new_from_slice(secret);
        let mut code = code.expect("HMAC takes keys of every length");
        for part in parts {
            code.update(part);
        }
        code
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Whether others than this machine reach what listens at an address, so that it needs a secret.
pub(crate) fn is_exposed(address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

/// Slows down those who guess: each waits for its answer, and only a few are answered at a time. Those who
/// know the secret do not come here.
#[derive(Clone)]
pub(crate) struct Guesses(Arc<Semaphore>);

impl Guesses {
    /// How long a wrong guess waits for its answer.
    pub(crate) const PAUSE: Duration = Duration::from_secs(1);

    /// Wrong guesses that are answered within one pause. The others wait for their turn.
    const AT_ONCE: usize = 10;

    pub(crate) fn new() -> Guesses {
        Guesses(Arc::new(Semaphore::new(Guesses::AT_ONCE)))
    }

    /// Waits as long as a wrong guess does, and has it logged when its turn has come.
    pub(crate) async fn wrong<E: Env>(&self, env: &E, log: impl FnOnce()) {
        let turn = self.0.acquire().await;
        log();
        sleep(env, Guesses::PAUSE).await;
        drop(turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockwright_env::TokioEnv;

    #[test]
    fn what_is_short_or_cannot_be_sent_is_no_secret() {
        assert!(Secret::new("0123456789abcdef").is_ok());
        assert!(Secret::new(&"x".repeat(4096)).is_ok());
        for length in [0, 15, 4097] {
            let error = Secret::new(&"x".repeat(length)).unwrap_err();
            assert_eq!(error, SecretError::Length { got: length });
        }
        for (text, at) in [
            ("0123456789 abcdef", 11),
            ("0123456789abcdef\n", 17),
            ("\u{e4}0123456789abcdef", 1),
        ] {
            let error = Secret::new(text).unwrap_err();
            assert_eq!(error, SecretError::Character { at }, "{text}");
        }
    }

    #[test]
    fn only_the_same_text_is_the_same_and_none_is_shown() {
        let secret = Secret::new("0123456789abcdef").unwrap();
        assert!(secret.is(b"0123456789abcdef"));
        for other in [
            "",
            "0123456789abcde",
            "0123456789abcdefg",
            "0123456789abcdeF",
        ] {
            assert!(!secret.is(other.as_bytes()), "{other}");
        }
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }

    #[test]
    fn a_proof_is_of_one_secret_and_of_what_was_said() {
        let [one, other] =
            ["0123456789abcdef", "0123456789abcdeg"].map(|text| Secret::new(text).unwrap());
        let proof = one.proof(&[b"ab", b"c"]);
        assert!(one.is_proved(&[b"ab", b"c"], &proof));
        assert!(!one.is_proved(&[b"ab", b"d"], &proof));
        assert!(!other.is_proved(&[b"ab", b"c"], &proof));
        let mut wrong = proof;
        wrong[31] ^= 1;
        assert!(!one.is_proved(&[b"ab", b"c"], &wrong));
    }

    #[tokio::test]
    async fn those_who_guess_wait_their_turn() {
        let guesses = Guesses::new();
        let start = TokioEnv.monotonic();
        let wrong = (0..=Guesses::AT_ONCE).map(|_| guesses.wrong(&TokioEnv, || {}));
        futures_util::future::join_all(wrong).await;
        assert!(TokioEnv.monotonic() - start >= 2 * Guesses::PAUSE);
    }
}
