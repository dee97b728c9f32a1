//! A server with one resource: first come, first served, with leases and fencing tokens.

use super::client::Told;

/// Its clock shows in what is left and how long ago things were, so that there is no latest time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    /// How far its clock is beyond a whole millisecond, in µs: it takes time in whole ones.
    pub(crate) beyond_ms_us: u32,
    /// Held or queued requests in the order of their arrival: the first holds.
    pub(crate) live: Vec<Live>,
    /// Whose request is over, bit by bit.
    pub(crate) over: u8,
    /// Who was granted the lock, in this order.
    pub(crate) grants: Vec<u8>,
    /// Who has a larger number is not told how long it waited.
    pub(crate) clients: u8,
    /// Whether it never gives a token twice.
    pub(crate) tokens_increase: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Live {
    pub(crate) client: u8,
    /// Up to its grant.
    pub(crate) waited_ms: u32,
    /// When it is granted: what is left of its lease.
    left_ms: Option<u32>,
}

/// A push of a grant.
#[derive(Clone, Copy)]
pub(crate) struct Push {
    pub(crate) client: u8,
    pub(crate) token: u8,
    pub(crate) told: Told,
}

impl Server {
    pub(crate) fn new(beyond_ms_us: u32, clients: u8, tokens_increase: bool) -> Server {
        Server {
            beyond_ms_us,
            live: Vec::new(),
            over: 0,
            grants: Vec::new(),
            clients,
            tokens_increase,
        }
    }

    /// Who holds the lock.
    pub(crate) fn holder(&self) -> Option<u8> {
        self.live.first().map(|live| live.client)
    }

    /// The token of the latest grant.
    pub(crate) fn token(&self) -> u8 {
        if self.tokens_increase {
            u8::try_from(self.grants.len()).expect("there are few grants")
        } else {
            1
        }
    }

    /// Whether it has seen the request of this client.
    pub(crate) fn knows(&self, client: u8) -> bool {
        self.is_over(client) || self.live.iter().any(|live| live.client == client)
    }

    pub(crate) fn is_over(&self, client: u8) -> bool {
        self.over & (1 << client) != 0
    }

    /// Its clock goes on by at most a millisecond; what is due happens.
    pub(crate) fn pass(&mut self, us: u32, lease_ms: u32) -> Option<Push> {
        self.beyond_ms_us += us;
        if self.beyond_ms_us < 1000 {
            return None;
        }
        self.beyond_ms_us -= 1000;
        let mut expired = false;
        for live in &mut self.live {
            match &mut live.left_ms {
                Some(left_ms) => {
                    *left_ms -= 1;
                    expired |= *left_ms == 0;
                }
                None if live.client < self.clients => live.waited_ms += 1,
                None => {}
            }
        }
        if expired {
            self.end_first(lease_ms)
        } else {
            None
        }
    }

    /// A request, perhaps a repeated one.
    pub(crate) fn acquire(&mut self, client: u8, message: u8, lease_ms: u32) -> Option<Told> {
        if self.is_over(client) {
            return None;
        }
        if !self.live.iter().any(|live| live.client == client) {
            self.live.push(Live {
                client,
                waited_ms: 0,
                left_ms: None,
            });
            if self.live.len() == 1 {
                self.grant_first(lease_ms);
            }
        }
        let live = self.live.iter().find(|live| live.client == client)?;
        Some(Told {
            answer_to: Some(message),
            waited_ms: live.waited_ms,
            lease_ms: live.left_ms?,
        })
    }

    /// The lease begins anew, if the token is that of the holder.
    pub(crate) fn renew(&mut self, client: u8, token: u8, lease_ms: u32) -> bool {
        if !self.holds(client, token) {
            return false;
        }
        self.live[0].left_ms = Some(lease_ms);
        true
    }

    pub(crate) fn release(&mut self, client: u8, token: u8, lease_ms: u32) -> Option<Push> {
        if self.holds(client, token) {
            self.end_first(lease_ms)
        } else {
            None
        }
    }

    pub(crate) fn holds(&self, client: u8, token: u8) -> bool {
        self.holder() == Some(client) && self.token() == token
    }

    fn end_first(&mut self, lease_ms: u32) -> Option<Push> {
        let ended = self.live.remove(0);
        self.over |= 1 << ended.client;
        if self.live.is_empty() {
            return None;
        }
        let told = self.grant_first(lease_ms);
        Some(Push {
            client: self.live[0].client,
            token: self.token(),
            told,
        })
    }

    fn grant_first(&mut self, lease_ms: u32) -> Told {
        let first = &mut self.live[0];
        first.left_ms = Some(lease_ms);
        self.grants.push(first.client);
        Told {
            answer_to: None,
            waited_ms: first.waited_ms,
            lease_ms,
        }
    }
}
