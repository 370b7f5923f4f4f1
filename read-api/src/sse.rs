//! Server-sent events: how a message is written, how a stream of them becomes
//! an answer, and how many may listen.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use event_store::Position;
use futures::{Stream, StreamExt};
use http_edge::{ClientAddress, Metrics, Problem};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::conditional::to_json;

/// A line is sent at least this often, so that both sides notice a dead peer.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// One message. With `at`, a client that comes back continues after it.
pub(crate) fn message(name: &str, at: Option<Position>, data: &impl Serialize) -> Vec<u8> {
    let mut message = format!("event: {name}\n").into_bytes();
    if let Some(at) = at {
        message.extend_from_slice(format!("id: {at}\n").as_bytes());
    }
    message.extend_from_slice(b"data: ");
    // JSON has no line breaks of its own.
    message.extend_from_slice(&to_json(data));
    message.extend_from_slice(b"\n\n");
    message
}

/// The messages as an answer. It ends when they do or when the process stops;
/// `place` is given back then. A client that does not read is not waited for:
/// nothing is asked of `messages` until it does.
pub(crate) fn response(
    messages: impl Stream<Item = Bytes> + Send + 'static,
    place: Place,
    stopping: CancellationToken,
) -> Response {
    let stream = async_stream::stream! {
        let _place = place;
        let messages = messages.take_until(stopping.cancelled_owned());
        tokio::pin!(messages);
        // How long a browser waits before it comes back.
        yield Bytes::from_static(b"retry: 2000\n\n");
        loop {
            match tokio::time::timeout(HEARTBEAT, messages.next()).await {
                Ok(Some(message)) => yield message,
                Ok(None) => break,
                Err(_) => yield Bytes::from_static(b":\n\n"),
            }
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies that buffer would hold back what is live.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(stream.map(Ok::<_, Infallible>))).into_response()
}

/// How many may listen.
#[derive(Debug, Clone, Copy)]
pub struct ReaderLimits {
    /// In all.
    pub all: usize,
    /// From one address; for IPv6 from one /64 network. Many people sit behind
    /// one address at an event, so this is not small.
    pub per_address: usize,
}

impl Default for ReaderLimits {
    fn default() -> Self {
        Self { all: 20_000, per_address: 2_000 }
    }
}

/// Who listens.
pub(crate) struct Readers {
    limits: ReaderLimits,
    counts: Mutex<Counts>,
    metrics: Metrics,
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A listener's place; given back when dropped.
pub(crate) struct Place {
    readers: Arc<Readers>,
    address: Option<IpAddr>,
}

impl Readers {
    pub(crate) fn new(limits: ReaderLimits, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { limits, counts: Mutex::default(), metrics })
    }

    /// A place for one more.
    pub(crate) fn admit(self: &Arc<Self>, client: ClientAddress) -> Result<Place, Problem> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= self.limits.all {
            return Err(Problem::unavailable(
                "Too many listen just now; ask again in a moment, or without waiting.",
            ));
        }
        if let Some(address) = client.ip() {
            let here = counts.by_address.entry(address).or_default();
            if *here >= self.limits.per_address {
                return Err(Problem::unavailable("Too many listen from your address; close some of them."));
            }
            *here += 1;
        }
        counts.all += 1;
        self.metrics.set_readers(counts.all);
        Ok(Place { readers: Arc::clone(self), address: client.ip() })
    }

    /// How many places are taken.
    pub(crate) fn count(&self) -> usize {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.readers.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        self.readers.metrics.set_readers(counts.all);
        if let Some(address) = self.address
            && let Some(here) = counts.by_address.get_mut(&address)
        {
            *here -= 1;
            if *here == 0 {
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
    fn a_message_has_its_name_its_place_and_one_line_of_data() {
        let text = String::from_utf8(message("pin", Some(Position(7)), &"a\nb")).unwrap();
        assert_eq!(text, "event: pin\nid: 7\ndata: \"a\\nb\"\n\n");
    }

    #[test]
    fn places_are_bounded_in_all_and_by_address_and_given_back() {
        let readers = Readers::new(ReaderLimits { all: 3, per_address: 2 }, Metrics::new());
        let first = readers.admit(client("192.0.2.1")).unwrap();
        let _second = readers.admit(client("192.0.2.1")).unwrap();
        assert!(readers.admit(client("::ffff:192.0.2.1")).is_err(), "the same address, written otherwise");
        let third = readers.admit(client("2001:db8::1")).unwrap();
        assert!(readers.admit(client("192.0.2.3")).is_err(), "three is all");
        drop(first);
        drop(third);
        let _again = readers.admit(client("192.0.2.1")).unwrap();
        assert!(readers.admit(client("192.0.2.1")).is_err());
    }
}
