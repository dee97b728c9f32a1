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

/// Connections beyond all others, for health checks and operators.
pub(crate) const RESERVE: usize = 32;

/// How many of these one address may have.
const RESERVE_SHARE: usize = RESERVE / 4;

/// The places for connections.
pub(crate) struct Places {
    all: Arc<Semaphore>,
    max: usize,
    /// Of one address at most.
    share: usize,
    taken: Arc<Taken>,
    guests: VecDeque<Guest>,
    /// The address of the guest that is about to be one.
    next_guest: Option<IpAddr>,
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
#[expect(dead_code, reason = "it is held for what its drop does")]
pub(crate) struct Place(Arc<Held>);

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
struct Guest {
    address: Option<IpAddr>,
    task: AbortHandle,
    is_served: Arc<AtomicBool>,
}

/// As what a connection is taken.
pub(crate) enum Entry {
    /// It may ask for anything.
    Full(Place),
    /// It may ask for what is left to it when there are no other places, and says here that it does.
    Guest(Arc<AtomicBool>),
    /// Not at all: the reserve is full, too.
    None,
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
            next_guest: None,
        }
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.max - self.all.available_permits()
    }

    /// A connection has come, from an address if that is known.
    pub(crate) fn enter(&mut self, from: Option<SocketAddr>) -> Entry {
        let address = from.map(|from| counted_as(from.ip()));
        let mut places = self.taken.places();
        let own = address.map_or(0, |address| places.get(&address).copied().unwrap_or(0));
        if own < self.share
            && let Ok(permit) = self.all.clone().try_acquire_owned()
        {
            if let Some(address) = address {
                places.insert(address, own + 1);
            }
            return Entry::Full(Place(Arc::new(Held {
                _permit: permit,
                address,
                taken: self.taken.clone(),
            })));
        }
        drop(places);
        match self.has_room_for_guest(address) {
            true => {
                self.next_guest = address;
                Entry::Guest(Arc::default())
            }
            false => Entry::None,
        }
    }

    /// A connection that is a guest is served by this task.
    pub(crate) fn serves_guest(&mut self, task: AbortHandle, is_served: Arc<AtomicBool>) {
        self.guests.push_back(Guest {
            address: self.next_guest.take(),
            task,
            is_served,
        });
    }

    /// Whether there is room for one more guest. The oldest one that has asked for nothing gives way: the
    /// others have asked as soon as they came.
    fn has_room_for_guest(&mut self, address: Option<IpAddr>) -> bool {
        self.guests.retain(|guest| !guest.task.is_finished());
        let own = |guest: &&Guest| guest.address == address;
        let is_share_full = self.guests.iter().filter(own).count() >= RESERVE_SHARE;
        if !is_share_full && self.guests.len() < RESERVE {
            return true;
        }
        let idle = |guest: &Guest| {
            !guest.is_served.load(Relaxed) && (!is_share_full || guest.address == address)
        };
        let Some(oldest) = self.guests.iter().position(idle) else {
            return false;
        };
        if let Some(guest) = self.guests.remove(oldest) {
            guest.task.abort();
        }
        true
    }

    /// Waits until all places are free, but for those of guests, whose connections are ended.
    pub(crate) async fn all_free(&self) {
        for guest in &self.guests {
            guest.task.abort();
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

    fn from(address: &str) -> Option<SocketAddr> {
        Some(SocketAddr::new(address.parse().unwrap(), 1))
    }

    fn full(entry: Entry) -> Option<Place> {
        match entry {
            Entry::Full(place) => Some(place),
            Entry::Guest(_) | Entry::None => None,
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
        assert!(matches!(places.enter(from("10.0.0.1")), Entry::Guest(_)));
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
        let mut places = Places::new(1, 1);
        let _one = full(places.enter(from("10.0.0.1"))).unwrap();
        let mut tasks = Vec::new();
        // Each from an address of its own.
        let mut come = |places: &mut Places, is_served: bool| {
            let address = format!("10.0.1.{}", tasks.len());
            let Entry::Guest(flag) = places.enter(from(&address)) else {
                return false;
            };
            flag.store(is_served, Relaxed);
            let task = tokio::spawn(std::future::pending::<()>());
            places.serves_guest(task.abort_handle(), flag);
            tasks.push(task);
            true
        };
        assert!(come(&mut places, true));
        for _ in 1..RESERVE {
            assert!(come(&mut places, false));
        }
        for _ in 1..RESERVE {
            assert!(come(&mut places, true));
        }
        assert!(!come(&mut places, false), "all are being served");
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        let over: Vec<bool> = tasks.iter().map(|task| task.is_finished()).collect();
        assert_eq!(over.iter().filter(|over| **over).count(), RESERVE - 1);
        assert!(!over[0], "it was being served");
        drop(_one);
        places.all_free().await;
    }

    #[tokio::test]
    async fn one_address_has_its_share_of_the_reserve() {
        let mut places = Places::new(1, 1);
        let _one = full(places.enter(from("10.0.0.1"))).unwrap();
        let mut tasks = Vec::new();
        let mut come = |places: &mut Places, address: &str, is_served: bool| {
            let Entry::Guest(flag) = places.enter(from(address)) else {
                return false;
            };
            flag.store(is_served, Relaxed);
            let task = tokio::spawn(std::future::pending::<()>());
            places.serves_guest(task.abort_handle(), flag);
            tasks.push(task);
            true
        };
        for _ in 0..RESERVE_SHARE {
            assert!(come(&mut places, "10.0.0.2", true));
        }
        assert!(!come(&mut places, "10.0.0.2", true));
        for _ in 0..2 * RESERVE_SHARE {
            assert!(come(&mut places, "10.0.0.3", false), "its own give way");
        }
        assert!(come(&mut places, "10.0.0.4", true));
        assert_eq!(places.guests.len(), 2 * RESERVE_SHARE + 1);
    }
}
