//! What to ask for.

use lockwright_engine::{Claim, DurationMs, Name, Path, PathError, Wait};
use lockwright_protocol::Label;

/// A request for locks: all of the claims or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcquireRequest {
    /// What is asked for.
    pub claims: Vec<Claim>,
    /// The lease, counted from the grant; without one the lock lasts as long as the session.
    pub ttl: Option<DurationMs>,
    /// How long to wait.
    pub wait: Wait,
    /// Names the request within the session; the client draws one when there is none. A chosen id
    /// is never used twice by one client, and does not start with `#`.
    pub id: Option<Name>,
    /// What people are told of the request; without one the label of its session
    /// ([`ClientConfig::label`](crate::ClientConfig::label)).
    pub label: Option<Label>,
}

impl AcquireRequest {
    /// Asks for `claims`, without a lease, and waits for ever.
    #[must_use]
    pub fn new(claims: Vec<Claim>) -> AcquireRequest {
        AcquireRequest {
            claims,
            ttl: None,
            wait: Wait::Forever,
            id: None,
            label: None,
        }
    }

    /// Asks for `path` alone, exclusively.
    ///
    /// # Errors
    /// When the text is no path.
    pub fn write(path: &str) -> Result<AcquireRequest, PathError> {
        Ok(AcquireRequest::new(vec![Claim::write(Path::parse(path)?)]))
    }

    /// Asks for `path` alone, shared.
    ///
    /// # Errors
    /// When the text is no path.
    pub fn read(path: &str) -> Result<AcquireRequest, PathError> {
        Ok(AcquireRequest::new(vec![Claim::read(Path::parse(path)?)]))
    }

    /// With a lease.
    #[must_use]
    pub fn ttl(mut self, ttl: DurationMs) -> AcquireRequest {
        self.ttl = Some(ttl);
        self
    }

    /// Waiting no longer than this.
    #[must_use]
    pub fn wait(mut self, wait: Wait) -> AcquireRequest {
        self.wait = wait;
        self
    }

    /// With a label of its own.
    #[must_use]
    pub fn label(mut self, label: Label) -> AcquireRequest {
        self.label = Some(label);
        self
    }

    /// With an id of the caller's choice.
    #[must_use]
    pub fn id(mut self, id: Name) -> AcquireRequest {
        self.id = Some(id);
        self
    }
}
