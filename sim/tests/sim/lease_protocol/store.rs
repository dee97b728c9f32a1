//! What the lock protects.

/// A store that sees the token of each write.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    /// Whether it refuses a token that is smaller than the largest one it has seen.
    pub(crate) checks: bool,
    largest_token: u8,
    /// Whose the latest write is that it took.
    pub(crate) latest_writer: Option<u8>,
    /// It took a write of an earlier holder after one of a later holder.
    pub(crate) went_back: bool,
    /// It has refused a write.
    pub(crate) refused: bool,
}

impl Store {
    pub(crate) fn new(checks: bool) -> Store {
        Store {
            checks,
            largest_token: 0,
            latest_writer: None,
            went_back: false,
            refused: false,
        }
    }

    pub(crate) fn write(&mut self, writer: u8, token: u8, grants: &[u8]) {
        if self.checks && token < self.largest_token {
            self.refused = true;
            return;
        }
        self.largest_token = self.largest_token.max(token);
        // Who held the lock earlier is what the server says, not what the tokens say.
        let turn = |client| grants.iter().position(|holder| *holder == client);
        let latest = self.latest_writer.and_then(turn);
        self.went_back |= latest > turn(writer);
        self.latest_writer = Some(writer);
    }
}
