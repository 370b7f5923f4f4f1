//! The readers of live streams and the requests that wait for a change: counted and limited.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http_edge::{ClientAddress, Metrics, Problem};

/// The limits on the number of readers.
#[derive(Debug, Clone, Copy)]
pub struct ReaderLimits {
    /// The limit on all readers together.
    pub all: usize,
    /// The limit for one client address; for IPv6 for one /64 network. At an event many people share one address, so
    /// this is not small.
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
    counts: Mutex<ReaderCounts>,
    metrics: Metrics,
}

#[derive(Default)]
struct ReaderCounts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The right of one reader to listen. Dropping it makes room for another reader.
pub(crate) struct ReaderPermit {
    readers: Arc<LiveReaders>,
    address: Option<IpAddr>,
}

impl LiveReaders {
    pub(crate) fn new(limits: ReaderLimits, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { limits, counts: Mutex::default(), metrics })
    }

    /// Admits one more reader, or refuses it with a 503 if a limit is reached.
    pub(crate) fn admit(self: &Arc<Self>, client: ClientAddress) -> Result<ReaderPermit, Problem> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= self.limits.all {
            let detail = "Too many clients listen at present; ask again in a moment, or ask without waiting.";
            return Err(Problem::unavailable(detail));
        }
        if let Some(address) = client.ip() {
            let same_address = counts.by_address.entry(address).or_default();
            if *same_address >= self.limits.per_address {
                let detail = "Too many clients listen from your address; close some of them.";
                return Err(Problem::unavailable(detail));
            }
            *same_address += 1;
        }
        counts.all += 1;
        self.metrics.set_readers(counts.all);
        Ok(ReaderPermit { readers: Arc::clone(self), address: client.ip() })
    }

    pub(crate) fn count(&self) -> usize {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl Drop for ReaderPermit {
    fn drop(&mut self) {
        let mut counts = self.readers.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        self.readers.metrics.set_readers(counts.all);
        if let Some(address) = self.address
            && let Some(same_address) = counts.by_address.get_mut(&address)
        {
            *same_address -= 1;
            if *same_address == 0 {
                counts.by_address.remove(&address);
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
        let readers = LiveReaders::new(ReaderLimits { all: 3, per_address: 2 }, Metrics::new());
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
}
