//! The readers of live streams and the requests that wait for a change: counted and limited.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use domain::challenge::Venues;
use http_edge::{ClientAddress, Metrics, Problem};

/// The limits on the number of readers.
#[derive(Debug, Clone, Copy)]
pub struct ReaderLimits {
    /// The limit on all readers together.
    pub all: usize,
    /// The limit for one client address, for IPv6 for one /64 network, and for all networks of one venue. At an event many
    /// people share one address, so this is not small. A tenth of it is for those who wait for submissions of one owner, and
    /// a quarter is for nobody but those who wait for their submissions.
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
    all: usize,
    by_share: HashMap<ReaderKey, usize>,
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
}

/// The right of one reader to listen. Dropping it makes room for another reader.
pub(crate) struct ReaderPermit {
    readers: Arc<LiveReaders>,
    keys: Vec<ReaderKey>,
}

impl LiveReaders {
    pub(crate) fn new(limits: ReaderLimits, venues: Venues, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { limits, venues, counts: Mutex::default(), metrics })
    }

    /// Admits one more reader of a public stream, or refuses it with a 503 if a limit is reached.
    pub(crate) fn admit(self: &Arc<Self>, client: ClientAddress) -> Result<ReaderPermit, Problem> {
        self.admit_to(client, ReaderKey::Public)
    }

    /// Admits one more reader of an owner's submissions, or refuses it with a 503 if a limit is reached.
    pub(crate) fn admit_to_owner(
        self: &Arc<Self>,
        client: ClientAddress,
        owner: &str,
    ) -> Result<ReaderPermit, Problem> {
        self.admit_to(client, |share| ReaderKey::Owner(share, owner.to_owned()))
    }

    fn admit_to(
        self: &Arc<Self>,
        client: ClientAddress,
        part: impl Fn(ReaderShare) -> ReaderKey,
    ) -> Result<ReaderPermit, Problem> {
        let share = client.ip().map(|address| match self.venues.of_address(address) {
            Some(venue) => ReaderShare::Venue(venue.name.as_str().into()),
            None => ReaderShare::Address(address),
        });
        let keys = share.map(|share| vec![part(share.clone()), ReaderKey::Whole(share)]).unwrap_or_default();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= self.limits.all {
            let detail = "Too many clients listen at present; ask again in a moment, or ask without waiting.";
            return Err(Problem::unavailable(detail));
        }
        let count = |key| counts.by_share.get(key).copied().unwrap_or_default();
        if let Some(full) = keys.iter().find(|key| count(key) >= self.limits.of(key)) {
            return Err(Problem::unavailable(full.refusal()));
        }
        for key in keys.iter().cloned() {
            *counts.by_share.entry(key).or_default() += 1;
        }
        counts.all += 1;
        self.metrics.set_readers(counts.all);
        Ok(ReaderPermit { readers: Arc::clone(self), keys })
    }

    pub(crate) fn count(&self) -> usize {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl ReaderLimits {
    fn of(&self, key: &ReaderKey) -> usize {
        match key {
            ReaderKey::Whole(_) => self.per_address,
            ReaderKey::Owner(..) => self.per_address.div_ceil(10),
            ReaderKey::Public(_) => self.per_address - self.per_address / 4,
        }
    }
}

impl ReaderKey {
    fn refusal(&self) -> String {
        let whose = match self {
            Self::Owner(_, owner) => format!("to submissions of {owner}"),
            Self::Whole(ReaderShare::Venue(_)) | Self::Public(ReaderShare::Venue(_)) => {
                "from your venue".to_owned()
            }
            Self::Whole(ReaderShare::Address(_)) | Self::Public(ReaderShare::Address(_)) => {
                "from your address".to_owned()
            }
        };
        format!("Too many clients listen {whose}; close some of them.")
    }
}

impl Drop for ReaderPermit {
    fn drop(&mut self) {
        let mut counts = self.readers.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        self.readers.metrics.set_readers(counts.all);
        for key in &self.keys {
            if let Some(same) = counts.by_share.get_mut(key) {
                *same -= 1;
                if *same == 0 {
                    counts.by_share.remove(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> ClientAddress {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn readers_are_limited_in_total_and_by_address_until_they_leave() {
        let readers =
            LiveReaders::new(ReaderLimits { all: 3, per_address: 2 }, Venues::default(), Metrics::new());
        let first = readers.admit(client("192.0.2.1")).unwrap();
        let _second = readers.admit(client("192.0.2.1")).unwrap();
        assert!(readers.admit(client("::ffff:192.0.2.1")).is_err(), "the same address in another form");
        let third = readers.admit(client("2001:db8::1")).unwrap();
        assert!(readers.admit(client("192.0.2.3")).is_err(), "the total limit is three");
        drop(first);
        drop(third);
        let _again = readers.admit(client("192.0.2.1")).unwrap();
        assert!(readers.admit(client("192.0.2.1")).is_err());
    }

    #[test]
    fn the_networks_of_a_venue_are_one_share_and_nobody_in_it_takes_all() {
        let room = "[[venues]]\nname = \"berlin\"\ntitle = \"Berlin\"\nlocation = \"Berlin, DE\"\n\
                    networks = [\"192.0.2.0/24\"]";
        let file = format!("{}\n{room}", include_str!("../../domain/challenges/birthday.toml"));
        let venues = domain::Challenge::parse(&file).unwrap().venues;
        let readers = LiveReaders::new(ReaderLimits { all: 1000, per_address: 40 }, venues, Metrics::new());
        let mut permits = vec![];
        // A laptop listens to its own submission, and then to the map, as often as it may.
        while let Ok(permit) = readers.admit_to_owner(client("192.0.2.1"), "docker.io/laptop") {
            permits.push(permit);
        }
        assert_eq!(permits.len(), 4);
        while let Ok(permit) = readers.admit(client("192.0.2.1")) {
            permits.push(permit);
        }
        assert_eq!(permits.len(), 4 + 30);
        // The others of the room still hear of their verdicts, from any address of it.
        for owner in 0..6 {
            let other = readers.admit_to_owner(client("192.0.2.2"), &format!("docker.io/{owner}"));
            permits.push(other.unwrap());
        }
        assert!(readers.admit_to_owner(client("192.0.2.3"), "docker.io/late").is_err(), "the room is full");
        assert!(readers.admit(client("198.51.100.1")).is_ok(), "others do not notice");
        permits.clear();
        assert!(readers.counts.lock().unwrap().by_share.is_empty());
    }
}
