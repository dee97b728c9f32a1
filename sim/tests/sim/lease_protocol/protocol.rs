//! The protocol as a whole: what can happen next, and what must hold.

use super::{
    client::{Client, Counting, Stage, Told},
    server::{Push, Server},
    store::Store,
};
use stateright::{Model, Property};
use std::collections::BTreeSet;

/// No write of an earlier holder is taken after one of a later holder (SEMANTICS 7.3).
pub(crate) const FENCING: &str =
    "the store takes no write of an earlier holder after a later one's";
/// Who believes itself the holder is (SEMANTICS 7.4).
pub(crate) const BELIEF: &str = "who believes itself the holder is";

/// A world in which the protocol runs.
#[derive(Clone)]
pub(crate) struct Protocol {
    pub(crate) clients: u8,
    /// Whether there is one more client, which asks and releases whenever it likes: it has no clock,
    /// and its messages take no time, which is all the same to the others. It does not renew.
    pub(crate) rival: bool,
    /// How many messages that are answered a client sends: its request, again, and renewals.
    pub(crate) messages_max: usize,
    pub(crate) lease_ms: u32,
    /// By how much a clock may go on while another goes on by a step, in µs: at least and at most.
    pub(crate) server_pace_us: [u32; 2],
    pub(crate) client_pace_us: [u32; 2],
    pub(crate) counting: Counting,
    pub(crate) renews: bool,
    pub(crate) releases: bool,
    pub(crate) writes: Writes,
    pub(crate) store_checks: bool,
    pub(crate) tokens_increase: bool,
}

/// Whether clients write, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    Never,
    /// The store has it at once: all that can come between check and write is a pause.
    AtOnce,
    /// In a message, which may be late, lost or repeated too.
    Travel,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) clients: Vec<Client>,
    pub(crate) store: Store,
    /// All that is under way. Anything in here may arrive next, again and again, or never: so
    /// messages are reordered, repeated and lost.
    pub(crate) network: BTreeSet<Message>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Message {
    Acquire { client: u8, message: u8 },
    Renew { client: u8, message: u8, token: u8 },
    Release { client: u8, token: u8 },
    Granted { client: u8, token: u8, told: Told },
    Renewed { client: u8, told: Told },
    Write { client: u8, token: u8 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Time passes, on each clock at its own pace.
    TimePasses {
        server_us: u32,
        clients_us: Vec<u32>,
    },
    Asks {
        client: u8,
    },
    Renews {
        client: u8,
    },
    Releases {
        client: u8,
    },
    /// The client asks its own clock whether it holds the lock. From here on it may pause.
    FindsThatItHolds {
        client: u8,
    },
    Writes {
        client: u8,
    },
    RivalAsks,
    RivalReleases,
    Arrives(Message),
}

impl Model for Protocol {
    type State = World;
    type Action = Step;

    /// It begins when somebody asks for the first time, which is client 0, anywhere between two
    /// whole milliseconds of the server.
    fn init_states(&self) -> Vec<World> {
        let step = usize::try_from(self.server_pace_us[0] / 2).expect("it is short");
        let begin = |beyond_ms_us| {
            let world = World {
                server: Server::new(beyond_ms_us, self.clients, self.tokens_increase),
                clients: vec![Client::new(); usize::from(self.clients)],
                store: Store::new(self.store_checks),
                network: BTreeSet::new(),
            };
            self.next_state(&world, Step::Asks { client: 0 })
                .expect("it may ask")
        };
        (0..1000).step_by(step).map(begin).collect()
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        for client in 0..self.clients {
            self.steps_of(world, client, steps);
        }
        steps.extend(world.network.iter().copied().map(Step::Arrives));
        if self.rival {
            let rival = self.clients;
            if !world.server.knows(rival) {
                steps.push(Step::RivalAsks);
            } else if world.server.holder() == Some(rival) {
                steps.push(Step::RivalReleases);
            }
        }
        for server_us in self.server_pace_us {
            for paces in 0..1_u8 << self.clients {
                let pace =
                    |client: u8| self.client_pace_us[usize::from(paces & (1_u8 << client) != 0)];
                steps.push(Step::TimePasses {
                    server_us,
                    clients_us: (0..self.clients).map(pace).collect(),
                });
            }
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut world = world.clone();
        match step {
            Step::TimePasses {
                server_us,
                clients_us,
            } => {
                let push = world.server.pass(server_us, self.lease_ms);
                world.push(push);
                let age_us_max = self.counting.span_us(self.lasts_ms_max());
                for (client, us) in world.clients.iter_mut().zip(clients_us) {
                    client.pass(us, age_us_max);
                }
            }
            Step::Asks { client } => {
                let message = world.client(client).send();
                world.network.insert(Message::Acquire { client, message });
            }
            Step::Renews { client } => {
                let token = world.client(client).believes()?;
                let message = world.client(client).send();
                world.network.insert(Message::Renew {
                    client,
                    message,
                    token,
                });
            }
            Step::Releases { client } => {
                let token = world.client(client).believes()?;
                world.client(client).release();
                world.network.insert(Message::Release { client, token });
            }
            Step::FindsThatItHolds { client } => {
                let token = world.client(client).believes();
                world.client(client).about_to_write = token;
            }
            Step::Writes { client } => {
                let token = world.client(client).about_to_write.take()?;
                match self.writes {
                    Writes::Never => return None,
                    Writes::AtOnce => world.store.write(client, token, &world.server.grants),
                    Writes::Travel => {
                        world.network.insert(Message::Write { client, token });
                    }
                }
            }
            Step::RivalAsks => {
                // It sees the answer in its own way.
                let _told = world.server.acquire(self.clients, 0, self.lease_ms);
            }
            Step::RivalReleases => {
                let (rival, token) = (self.clients, world.server.token());
                let push = world.server.release(rival, token, self.lease_ms);
                world.push(push);
            }
            Step::Arrives(message) => self.arrives(&mut world, message),
        }
        world.drop_what_says_nothing();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Protocol>> {
        let mut properties = vec![
            Property::always(FENCING, |_, world: &World| !world.store.went_back),
            Property::always(BELIEF, |_, world: &World| world.believers_hold()),
            Property::sometimes("a lock is handed on", |_, world: &World| {
                world.server.grants.len() > 1
            }),
            Property::sometimes("who waited believes", |_, world: &World| {
                let first = world.server.live.first().filter(|live| live.waited_ms > 0);
                let client = first.and_then(|live| world.clients.get(usize::from(live.client)));
                client.is_some_and(|client| client.believes().is_some())
            }),
        ];
        if self.renews {
            let renewed = |_: &Protocol, world: &World| {
                world.clients.iter().any(Client::believes_in_a_renewal)
            };
            properties.push(Property::sometimes("a renewal is believed", renewed));
        }
        if self.store_checks {
            let refused = |_: &Protocol, world: &World| world.store.refused;
            properties.push(Property::sometimes("the store refuses a write", refused));
        }
        properties
    }
}

impl Protocol {
    /// The longest time from the arrival of a request to the end of its first lease: the others may
    /// all come first.
    fn lasts_ms_max(&self) -> u32 {
        assert!(
            self.clients == 1 || !self.renews,
            "a renewal that is repeated for ever makes another wait for ever"
        );
        self.lease_ms * (u32::from(self.clients) + u32::from(self.rival))
    }

    /// What a client may do of its own accord.
    fn steps_of(&self, world: &World, number: u8, steps: &mut Vec<Step>) {
        let client = &world.clients[usize::from(number)];
        let may_send = client.age_us.len() < self.messages_max;
        if client.stage == Stage::Asks && may_send {
            steps.push(Step::Asks { client: number });
        }
        if client.believes().is_some() {
            if self.renews && may_send {
                steps.push(Step::Renews { client: number });
            }
            if self.releases {
                steps.push(Step::Releases { client: number });
            }
            if self.writes != Writes::Never && client.about_to_write.is_none() {
                steps.push(Step::FindsThatItHolds { client: number });
            }
        }
        if client.about_to_write.is_some() {
            steps.push(Step::Writes { client: number });
        }
    }

    fn arrives(&self, world: &mut World, message: Message) {
        match message {
            Message::Acquire { client, message } => {
                let told = world.server.acquire(client, message, self.lease_ms);
                let token = world.server.token();
                let answer = told.map(|told| Message::Granted {
                    client,
                    token,
                    told,
                });
                world.network.extend(answer);
            }
            Message::Renew {
                client,
                message,
                token,
            } => {
                if world.server.renew(client, token, self.lease_ms) {
                    let told = Told {
                        answer_to: Some(message),
                        waited_ms: 0,
                        lease_ms: self.lease_ms,
                    };
                    world.network.insert(Message::Renewed { client, told });
                }
            }
            Message::Release { client, token } => {
                let push = world.server.release(client, token, self.lease_ms);
                world.push(push);
            }
            Message::Granted {
                client,
                token,
                told,
            } => {
                world.client(client).granted(told, token, self.counting);
            }
            Message::Renewed { client, told } => {
                world.client(client).renewed(told, self.counting);
            }
            Message::Write { client, token } => {
                world.store.write(client, token, &world.server.grants);
            }
        }
    }
}

impl World {
    fn client(&mut self, number: u8) -> &mut Client {
        &mut self.clients[usize::from(number)]
    }

    fn push(&mut self, push: Option<Push>) {
        if let Some(Push {
            client,
            token,
            told,
        }) = push
            && usize::from(client) < self.clients.len()
        {
            self.tell_of_grant(client, token, told);
        }
    }

    /// A client acts on one message that tells of its grant. So of several one is enough: that any
    /// other is the one it gets first is as if the request had not been repeated in between, which
    /// is a way of its own.
    fn tell_of_grant(&mut self, client: u8, token: u8, told: Told) {
        self.network.retain(|message| {
            !matches!(message, Message::Granted { client: other, .. } if *other == client)
        });
        self.network.insert(Message::Granted {
            client,
            token,
            told,
        });
    }

    fn believers_hold(&self) -> bool {
        let mut believers = (0_u8..).zip(&self.clients);
        believers.all(|(client, belief)| {
            let token = belief.believes();
            token.is_none_or(|token| self.server.holds(client, token))
        })
    }

    /// A message that can change nothing any more, whenever it arrives, is as good as lost: without
    /// it there are fewer states to tell apart.
    fn drop_what_says_nothing(&mut self) {
        let (server, clients) = (&self.server, &self.clients);
        let stage = |client: u8| clients[usize::from(client)].stage;
        self.network.retain(|message| match message {
            Message::Acquire { client, .. } => {
                !server.is_over(*client) && stage(*client) == Stage::Asks
            }
            Message::Renew { client, token, .. } => {
                server.holds(*client, *token) && stage(*client) != Stage::Over
            }
            Message::Release { client, token } => server.holds(*client, *token),
            Message::Granted { client, told, .. } | Message::Renewed { client, told } => {
                clients[usize::from(*client)].waits_for(told.answer_to)
            }
            Message::Write { .. } => true,
        });
    }
}
