//! The readers of live streams and the requests that wait for a change: counted and limited.
//!
//! Readers of the map have no names, so nobody can tell one laptop with a thousand streams from a room full of people. When the
//! places of a share are taken, a new reader therefore gets one all the same, and another stream ends: the oldest one of
//! the address that has the most. A browser connects again by itself, and continues where it was.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::challenge::Venues;
use http_edge::{ClientAddress, Metrics, Problem};
use tokio_util::sync::CancellationToken;

/// The limits on the number of readers.
#[derive(Debug, Clone, Copy)]
pub struct ReaderLimits {
    /// The limit on all readers together.
    pub all: usize,
    /// The limit for one client address, for IPv6 for one /64 network, and for all networks of one venue. At an event many
    /// people share one address, so this is not small. A tenth of it is for those who wait for submissions of one owner, and
    /// a quarter is for nobody but those who wait for their submissions, and organisers. As many as a quarter may have given
    /// their place away and still be open, because their clients do not read.
    pub per_address: usize,
}

impl Default for ReaderLimits {
    fn default() -> Self {
        Self { all: 20_000, per_address: 2_000 }
    }
}

/// The readers at present.
pub(crate) struct LiveReaders {
    limits: ReaderLimits,
    venues: Venues,
    counts: Mutex<ReaderCounts>,
    metrics: Metrics,
}

#[derive(Default)]
struct ReaderCounts {
    /// The number of readers that have a place.
    all: usize,
    by_share: HashMap<ReaderKey, usize>,
    /// The streams of the map that have a place, by share and address.
    public: HashMap<ReaderShare, HashMap<IpAddr, StreamsByAge>>,
    /// The number of streams of the map so far.
    streams: u64,
    /// The number of readers that gave their place away and are still open.
    leaving: usize,
}

/// The streams of one address, oldest first, each with the token that ends it.
type StreamsByAge = BTreeMap<u64, CancellationToken>;

/// A stream of the map.
#[derive(Debug, Clone)]
struct PublicStream {
    share: ReaderShare,
    address: IpAddr,
    number: u64,
}

/// The clients that share places.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum ReaderShare {
    /// The venue with this short name.
    Venue(Arc<str>),
    Address(IpAddr),
}

/// A counter of a share's readers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum ReaderKey {
    Whole(ReaderShare),
    /// The readers of the submissions of one owner.
    Owner(ReaderShare, String),
    /// The readers of public streams.
    Public(ReaderShare),
    /// The readers of public streams that gave their place away and are still open.
    Leaving(ReaderShare),
}

/// The right of one reader to listen. Dropping it makes room for another reader.
pub(crate) struct ReaderPermit {
    readers: Arc<LiveReaders>,
    keys: Vec<ReaderKey>,
    stream: Option<PublicStream>,
    place_lost: CancellationToken,
}

impl LiveReaders {
    pub(crate) fn new(limits: ReaderLimits, venues: Venues, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { limits, venues, counts: Mutex::default(), metrics })
    }

    /// Admits one more reader of a public stream. If no place is free, another reader loses its own to it. Refuses the reader with
    /// a 503 if nobody can give way.
    pub(crate) fn admit(self: &Arc<Self>, client: ClientAddress) -> Result<ReaderPermit, Problem> {
        let mut counts = self.counts();
        let Some((share, address)) = self.share_of(client) else { return self.admit_to(&mut counts, vec![]) };
        let keys = vec![ReaderKey::Public(share.clone()), ReaderKey::Whole(share.clone())];
        if let Some(giving) = counts.giving_way(&share, &keys, self.limits) {
            counts.end_oldest(&giving);
        }
        let mut permit = self.admit_to(&mut counts, keys)?;
        counts.streams += 1;
        let number = counts.streams;
        let of_share = counts.public.entry(share.clone()).or_default();
        of_share.entry(address).or_default().insert(number, permit.place_lost.clone());
        permit.stream = Some(PublicStream { share, address, number });
        Ok(permit)
    }

    /// Admits one more reader of an owner's submissions, or refuses it with a 503 if a limit is reached.
    pub(crate) fn admit_to_owner(
        self: &Arc<Self>,
        client: ClientAddress,
        owner: &str,
    ) -> Result<ReaderPermit, Problem> {
        let part = |share| ReaderKey::Owner(share, owner.to_owned());
        let share = self.share_of(client).map(|(share, _)| share);
        let keys = share.map(|share| vec![part(share.clone()), ReaderKey::Whole(share)]).unwrap_or_default();
        self.admit_to(&mut self.counts(), keys)
    }

    /// Admits one more reader with an organiser's token, or refuses it with a 503 if a limit is reached.
    pub(crate) fn admit_organiser(self: &Arc<Self>, client: ClientAddress) -> Result<ReaderPermit, Problem> {
        let keys = self.share_of(client).map(|(share, _)| ReaderKey::Whole(share)).into_iter().collect();
        self.admit_to(&mut self.counts(), keys)
    }

    fn admit_to(
        self: &Arc<Self>,
        counts: &mut ReaderCounts,
        keys: Vec<ReaderKey>,
    ) -> Result<ReaderPermit, Problem> {
        if counts.all >= self.limits.all {
            let detail = "Too many clients listen at present; ask again in a moment, or ask without waiting.";
            return Err(Problem::unavailable(detail));
        }
        if let Some(full) = keys.iter().find(|key| counts.is_full(key, self.limits)) {
            return Err(Problem::unavailable(full.refusal()));
        }
        counts.enter(&keys);
        self.metrics.set_readers(counts.open());
        let place_lost = CancellationToken::new();
        Ok(ReaderPermit { readers: Arc::clone(self), keys, stream: None, place_lost })
    }

    fn share_of(&self, client: ClientAddress) -> Option<(ReaderShare, IpAddr)> {
        let address = client.ip()?;
        let share = match self.venues.of_address(address) {
            Some(venue) => ReaderShare::Venue(venue.name.as_str().into()),
            None => ReaderShare::Address(address),
        };
        Some((share, address))
    }

    fn counts(&self) -> MutexGuard<'_, ReaderCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self) -> usize {
        self.counts().open()
    }
}

impl ReaderCounts {
    /// Returns the number of readers that are connected.
    fn open(&self) -> usize {
        self.all + self.leaving
    }

    fn count(&self, key: &ReaderKey) -> usize {
        self.by_share.get(key).copied().unwrap_or_default()
    }

    fn is_full(&self, key: &ReaderKey, limits: ReaderLimits) -> bool {
        self.count(key) >= limits.of(key)
    }

    fn enter(&mut self, keys: &[ReaderKey]) {
        self.all += 1;
        for key in keys {
            *self.by_share.entry(key.clone()).or_default() += 1;
        }
    }

    fn leave(&mut self, keys: &[ReaderKey]) {
        self.all -= 1;
        keys.iter().for_each(|key| self.subtract(key));
    }

    fn subtract(&mut self, key: &ReaderKey) {
        if let Some(count) = self.by_share.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.by_share.remove(key);
            }
        }
    }

    /// Returns the share that has to give a place away so that one of `share` gets it, or `None` if a place is free or nobody has
    /// to: among all, only a share with more readers than this one.
    fn giving_way(
        &self,
        share: &ReaderShare,
        keys: &[ReaderKey],
        limits: ReaderLimits,
    ) -> Option<ReaderShare> {
        let giving = if keys.iter().any(|key| self.is_full(key, limits)) {
            share.clone()
        } else if self.all >= limits.all {
            let readers = |share: &ReaderShare| self.count(&ReaderKey::Public(share.clone()));
            let greediest = self.public.keys().max_by_key(|share| readers(share))?;
            (readers(greediest) > readers(share) + 1).then(|| greediest.clone())?
        } else {
            return None;
        };
        let is_bounded =
            self.leaving < limits.all / 4 && !self.is_full(&ReaderKey::Leaving(giving.clone()), limits);
        is_bounded.then_some(giving)
    }

    /// Ends the oldest stream of the address that has the most in this share.
    fn end_oldest(&mut self, share: &ReaderShare) {
        let Some(of_share) = self.public.get(share) else { return };
        let greediest = of_share.iter().max_by_key(|(_, streams)| streams.len());
        let Some((address, streams)) = greediest else { return };
        let Some((number, place_lost)) = streams.first_key_value() else { return };
        place_lost.cancel();
        let stream = PublicStream { share: share.clone(), address: *address, number: *number };
        self.forget(&stream);
        self.leave(&[ReaderKey::Public(share.clone()), ReaderKey::Whole(share.clone())]);
        self.leaving += 1;
        *self.by_share.entry(ReaderKey::Leaving(share.clone())).or_default() += 1;
    }

    /// Forgets a stream of the map. Returns false if it has lost its place.
    fn forget(&mut self, stream: &PublicStream) -> bool {
        let Some(of_share) = self.public.get_mut(&stream.share) else { return false };
        let Some(of_address) = of_share.get_mut(&stream.address) else { return false };
        let has_place = of_address.remove(&stream.number).is_some();
        if of_address.is_empty() {
            of_share.remove(&stream.address);
        }
        if of_share.is_empty() {
            self.public.remove(&stream.share);
        }
        has_place
    }
}

impl ReaderLimits {
    fn of(&self, key: &ReaderKey) -> usize {
        match key {
            ReaderKey::Whole(_) => self.per_address,
            ReaderKey::Owner(..) => self.per_address.div_ceil(10),
            ReaderKey::Public(_) => self.per_address - self.per_address / 4,
            ReaderKey::Leaving(_) => self.per_address.div_ceil(4),
        }
    }
}

impl ReaderKey {
    fn refusal(&self) -> String {
        let whose = match self {
            Self::Owner(_, owner) => format!("to submissions of {owner}"),
            Self::Whole(share) | Self::Public(share) | Self::Leaving(share) => match share {
                ReaderShare::Venue(_) => "from your venue".to_owned(),
                ReaderShare::Address(_) => "from your address".to_owned(),
            },
        };
        format!("Too many clients listen {whose}; close some of them.")
    }
}

impl ReaderPermit {
    /// Returns the token that is cancelled when the reader loses its place to another.
    pub(crate) fn place_lost(&self) -> CancellationToken {
        self.place_lost.clone()
    }
}

impl Drop for ReaderPermit {
    fn drop(&mut self) {
        let mut counts = self.readers.counts();
        match &self.stream {
            Some(stream) if !counts.forget(stream) => {
                counts.leaving -= 1;
                counts.subtract(&ReaderKey::Leaving(stream.share.clone()));
            }
            _ => counts.leave(&self.keys),
        }
        self.readers.metrics.set_readers(counts.open());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> ClientAddress {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn readers(all: usize, per_address: usize) -> Arc<LiveReaders> {
        LiveReaders::new(ReaderLimits { all, per_address }, Venues::default(), Metrics::new())
    }

    fn in_a_room(per_address: usize) -> Arc<LiveReaders> {
        let room = "[[venues]]\nname = \"berlin\"\ntitle = \"Berlin\"\nlocation = \"Berlin, DE\"\n\
                    networks = [\"192.0.2.0/24\"]";
        let file = format!("{}\n{room}", include_str!("../../domain/challenges/birthday.toml"));
        let venues = domain::Challenge::parse(&file).unwrap().venues;
        LiveReaders::new(ReaderLimits { all: 1000, per_address }, venues, Metrics::new())
    }

    fn has_place(permit: &ReaderPermit) -> bool {
        !permit.place_lost().is_cancelled()
    }

    fn admit(readers: &Arc<LiveReaders>, address: &str, streams: usize) -> Vec<ReaderPermit> {
        (0..streams).map(|_| readers.admit(client(address)).unwrap()).collect()
    }

    #[test]
    fn readers_are_limited_in_total_and_by_address_until_they_leave() {
        let readers = readers(3, 2);
        let owner = |address: &str, owner: &str| readers.admit_to_owner(client(address), owner);
        let first = owner("192.0.2.1", "a").unwrap();
        let _second = owner("192.0.2.1", "b").unwrap();
        assert!(owner("::ffff:192.0.2.1", "c").is_err(), "the same address in another form");
        assert!(readers.admit(client("192.0.2.1")).is_err(), "nobody has to give way");
        let third = owner("2001:db8::1", "d").unwrap();
        assert!(owner("192.0.2.3", "e").is_err(), "the total limit is three");
        drop(first);
        drop(third);
        let _again = owner("192.0.2.1", "f").unwrap();
        assert!(owner("192.0.2.1", "g").is_err());
    }

    #[test]
    fn the_networks_of_a_venue_are_one_share_and_nobody_in_it_takes_all() {
        let readers = in_a_room(40);
        let mut permits = vec![];
        // A laptop listens to its own submission, and then to the map, as often as it may.
        while let Ok(permit) = readers.admit_to_owner(client("192.0.2.1"), "docker.io/laptop") {
            permits.push(permit);
        }
        assert_eq!(permits.len(), 4);
        permits.extend(admit(&readers, "192.0.2.1", 30));
        assert!(permits.iter().all(has_place));
        // The others of the room still hear of their verdicts, from any address of it.
        for owner in 0..6 {
            let other = readers.admit_to_owner(client("192.0.2.2"), &format!("docker.io/{owner}"));
            permits.push(other.unwrap());
        }
        assert!(readers.admit_to_owner(client("192.0.2.3"), "docker.io/late").is_err(), "the room is full");
        assert!(readers.admit(client("198.51.100.1")).is_ok(), "others do not notice");
        permits.clear();
        let counts = readers.counts();
        assert!(counts.by_share.is_empty() && counts.public.is_empty() && counts.open() == 0);
    }

    #[test]
    fn a_laptop_with_every_place_gives_way_to_the_others_of_its_room() {
        let readers = in_a_room(40);
        let mut laptop: Vec<_> = admit(&readers, "192.0.2.1", 30);
        let mut others = vec![];
        for n in 0..15 {
            others.extend(admit(&readers, &format!("192.0.2.{}", 10 + n), 1));
            // Whatever the laptop does, its own oldest stream ends.
            laptop.extend(admit(&readers, "192.0.2.1", 1));
            laptop.retain(has_place);
        }
        assert!(others.iter().all(has_place));
        assert_eq!(laptop.len(), 15);
    }

    #[test]
    fn behind_one_address_the_oldest_stream_gives_way_and_nobody_is_refused() {
        let readers = readers(1000, 40);
        let mut streams = admit(&readers, "192.0.2.1", 30);
        for _ in 0..100 {
            streams.extend(admit(&readers, "192.0.2.1", 1));
            assert!(!has_place(&streams[0]) && streams[1..].iter().all(has_place));
            streams.remove(0);
        }
        assert_eq!(readers.count(), 30);
        assert!(readers.admit_to_owner(client("192.0.2.1"), "docker.io/ada").is_ok());
    }

    #[test]
    fn streams_that_lost_their_place_and_stay_open_are_bounded() {
        let readers = readers(1000, 40);
        let mut streams = admit(&readers, "192.0.2.1", 40);
        assert_eq!((readers.count(), streams.iter().filter(|stream| has_place(stream)).count()), (40, 30));
        assert!(readers.admit(client("192.0.2.1")).is_err());
        assert!(readers.admit_to_owner(client("192.0.2.1"), "docker.io/ada").is_ok());
        streams.remove(0);
        streams.extend(admit(&readers, "192.0.2.1", 1));
        drop(streams);
        let counts = readers.counts();
        assert!(counts.by_share.is_empty() && counts.public.is_empty() && counts.open() == 0);
    }

    #[test]
    fn when_all_places_are_taken_whoever_has_the_most_gives_way() {
        let readers = readers(40, 40);
        let mut greedy = admit(&readers, "192.0.2.1", 28);
        let _organiser = readers.admit_organiser(client("192.0.2.2")).unwrap();
        let others: Vec<_> = (0..20).flat_map(|n| admit(&readers, &format!("198.51.100.{n}"), 1)).collect();
        greedy.retain(has_place);
        assert_eq!((greedy.len(), others.iter().filter(|other| has_place(other)).count()), (19, 20));
        drop(greedy);
        let _rest: Vec<_> = (0..19).flat_map(|n| admit(&readers, &format!("203.0.113.{n}"), 1)).collect();
        assert!(readers.admit(client("203.0.113.99")).is_err(), "each has one");
        assert!(others.iter().all(has_place));
    }
}
