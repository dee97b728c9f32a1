//! Which connections a server takes: so many, of one address not all of them, and a few more for health
//! checks and operators when all others are taken.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
};

/// Connections beyond [`connections_max`](crate::ServerConfig::connections_max), for health checks and operators.
pub const CONNECTIONS_RESERVE: usize = 32;

/// How many of these one address may have.
const RESERVE_SHARE: usize = CONNECTIONS_RESERVE / 4;

/// The places for connections.
pub(crate) struct Places {
    all: Arc<Semaphore>,
    max: usize,
    /// Of one address at most.
    share: usize,
    taken: Arc<Taken>,
    guests: VecDeque<(Guest, AbortHandle)>,
}

/// How many places each address has.
#[derive(Default)]
struct Taken(Mutex<BTreeMap<IpAddr, usize>>);

impl Taken {
    fn places(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place; given back when all clones are gone.
#[derive(Clone)]
pub(crate) struct Place(Arc<Held>);

impl Place {
    /// The address that has it, if that is known: of a site its first.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.0.address
    }
}

struct Held {
    _permit: OwnedSemaphorePermit,
    address: Option<IpAddr>,
    taken: Arc<Taken>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut places = self.taken.places();
        let place = places.get_mut(&address);
        let place = place.expect("an address that has a place is counted");
        *place -= 1;
        if *place == 0 {
            places.remove(&address);
        }
    }
}

/// A connection of the reserve.
#[derive(Clone)]
pub(crate) struct Guest {
    address: Option<IpAddr>,
    is_served: Arc<AtomicBool>,
}

impl Guest {
    /// It asks for something that is left to it.
    pub(crate) fn asks(&self) {
        self.is_served.store(true, Relaxed);
    }

    /// Whether it has asked.
    pub(crate) fn has_asked(&self) -> bool {
        self.is_served.load(Relaxed)
    }
}

/// As what a connection is taken.
pub(crate) enum Entry {
    /// It may ask for anything.
    Full(Place),
    /// It may ask for what is left when there are no other places.
    Guest(Guest),
}

impl Places {
    /// So many, of which one address has `share` at most.
    pub(crate) fn new(max: usize, share: usize) -> Places {
        Places {
            all: Arc::new(Semaphore::new(max)),
            max,
            share,
            taken: Arc::default(),
            guests: VecDeque::new(),
        }
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.max - self.all.available_permits()
    }

    /// A connection has come, from an address if that is known. None when the reserve is full, too.
    pub(crate) fn enter(&mut self, from: Option<SocketAddr>) -> Option<Entry> {
        let address = from.map(|from| counted_as(from.ip()));
        let mut places = self.taken.places();
        let own = address.map_or(0, |address| places.get(&address).copied().unwrap_or(0));
        if own < self.share
            && let Ok(permit) = self.all.clone().try_acquire_owned()
        {
            if let Some(address) = address {
                places.insert(address, own + 1);
            }
            return Some(Entry::Full(Place(Arc::new(Held {
                _permit: permit,
                address,
                taken: self.taken.clone(),
            }))));
        }
        drop(places);
        let is_served = Arc::default();
        let guest = Guest { address, is_served };
        self.has_room_for(&guest).then_some(Entry::Guest(guest))
    }

    /// A guest is served by this task.
    pub(crate) fn serves(&mut self, guest: Guest, task: AbortHandle) {
        self.guests.push_back((guest, task));
    }

    /// Whether there is room for one more guest. The oldest one that has asked for nothing gives way: the
    /// others have asked as soon as they came.
    fn has_room_for(&mut self, newcomer: &Guest) -> bool {
        self.guests.retain(|(_, task)| !task.is_finished());
        let is_own = |guest: &Guest| guest.address == newcomer.address;
        let own = self.guests.iter().filter(|(guest, _)| is_own(guest));
        let is_share_full = own.count() >= RESERVE_SHARE;
        if !is_share_full && self.guests.len() < CONNECTIONS_RESERVE {
            return true;
        }
        let gives_way = |(guest, _): &(Guest, AbortHandle)| {
            !guest.has_asked() && (!is_share_full || is_own(guest))
        };
        let oldest = self.guests.iter().position(gives_way);
        let oldest = oldest.and_then(|place| self.guests.remove(place));
        oldest.inspect(|(_, task)| task.abort()).is_some()
    }

    /// Waits until all places are free, but for those of guests, whose connections are ended.
    pub(crate) async fn all_free(&self) {
        for (_, task) in &self.guests {
            task.abort();
        }
        let all = u32::try_from(self.max).unwrap_or(u32::MAX);
        let _ = self.all.acquire_many(all).await;
    }
}

/// What counts as one address. A site has many of the sixth version.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::JoinHandle;

    fn from(address: &str) -> Option<SocketAddr> {
        Some(SocketAddr::new(address.parse().unwrap(), 1))
    }

    fn full(entry: Option<Entry>) -> Option<Place> {
        match entry {
            Some(Entry::Full(place)) => Some(place),
            Some(Entry::Guest(_)) | None => None,
        }
    }

    /// Places of which the only one is taken, and the guests that have come.
    struct Crowd {
        places: Places,
        tasks: Vec<JoinHandle<()>>,
        _only: Place,
    }

    impl Crowd {
        fn new() -> Crowd {
            let mut places = Places::new(1, 1);
            Crowd {
                _only: full(places.enter(from("10.0.0.1"))).unwrap(),
                places,
                tasks: Vec::new(),
            }
        }

        /// Whether one more is taken.
        fn come(&mut self, address: &str, asks: bool) -> bool {
            let Some(Entry::Guest(guest)) = self.places.enter(from(address)) else {
                return false;
            };
            if asks {
                guest.asks();
            }
            let task = tokio::spawn(std::future::pending::<()>());
            self.places.serves(guest, task.abort_handle());
            self.tasks.push(task);
            true
        }
    }

    #[test]
    fn one_address_has_its_share_and_gets_it_back() {
        let mut places = Places::new(5, 3);
        let here = ["10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1"];
        let mut own: Vec<Place> = here
            .iter()
            .map(|address| full(places.enter(from(address))).unwrap())
            .collect();
        assert!(matches!(
            places.enter(from("10.0.0.1")),
            Some(Entry::Guest(_))
        ));
        // Clones are one place, and the addresses of a site are one address.
        let again = own[0].clone();
        own.remove(0);
        assert!(full(places.enter(from("10.0.0.1"))).is_none());
        let other = full(places.enter(from("2001:db8::1"))).unwrap();
        drop(again);
        let back = full(places.enter(from("10.0.0.1"))).unwrap();
        assert_eq!(places.taken(), 4);
        let last = full(places.enter(from("2001:db8::2"))).unwrap();
        assert!(
            full(places.enter(from("10.0.0.2"))).is_none(),
            "all are taken"
        );
        assert_eq!(places.taken.places().len(), 2);
        drop((own, other, back, last));
        assert!(places.taken.places().is_empty());
        assert_eq!(places.taken(), 0);
    }

    #[tokio::test]
    async fn the_oldest_guest_that_asks_for_nothing_gives_way() {
        let mut crowd = Crowd::new();
        // Each from an address of its own.
        let come = |crowd: &mut Crowd, asks| {
            let address = format!("10.0.1.{}", crowd.tasks.len());
            crowd.come(&address, asks)
        };
        assert!(come(&mut crowd, true));
        for _ in 1..CONNECTIONS_RESERVE {
            assert!(come(&mut crowd, false));
        }
        for _ in 1..CONNECTIONS_RESERVE {
            assert!(come(&mut crowd, true));
        }
        assert!(!come(&mut crowd, false), "all are being served");
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        let Crowd {
            places,
            tasks,
            _only,
        } = crowd;
        let over: Vec<bool> = tasks.iter().map(JoinHandle::is_finished).collect();
        assert_eq!(
            over.iter().filter(|over| **over).count(),
            CONNECTIONS_RESERVE - 1
        );
        assert!(!over[0], "it was being served");
        drop(_only);
        places.all_free().await;
    }

    #[tokio::test]
    async fn one_address_has_its_share_of_the_reserve() {
        let mut crowd = Crowd::new();
        for _ in 0..RESERVE_SHARE {
            assert!(crowd.come("10.0.0.2", true));
        }
        assert!(!crowd.come("10.0.0.2", true));
        for _ in 0..2 * RESERVE_SHARE {
            assert!(crowd.come("10.0.0.3", false), "its own give way");
        }
        assert!(crowd.come("10.0.0.4", true));
        assert_eq!(crowd.places.guests.len(), 2 * RESERVE_SHARE + 1);
    }
}
