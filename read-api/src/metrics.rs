//! What is counted, in the text format of Prometheus.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use event_store::Position;
use projections::view::StatsView;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// From a tenth of a millisecond to a long poll, seconds.
const SECONDS: [f64; 12] = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0];

/// The process's counters. Clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    readers: Gauge,
    submissions: Family<StatusLabels, Number>,
    pins: Known,
    head: Known,
    checkpoint: Known,
    lag: Known,
    nodes: Known,
    slots: Known,
}

type Number = Gauge<u64, AtomicU64>;

/// A number that only appears once it is known: no process knows them all.
#[derive(Debug, Clone, Default)]
struct Known(Arc<OnceLock<Number>>);

impl Known {
    fn set(&self, number: u64) {
        self.0.get_or_init(Number::default).set(number);
    }
}

impl EncodeMetric for Known {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        self.0.get().map_or(Ok(()), |number| number.encode(encoder))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: String,
}

impl Metrics {
    /// Nothing is counted yet.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("muster");
        let requests = Family::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        let seconds: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(SECONDS));
        registry.register(
            "http_request_seconds",
            "From a request to the head of its answer",
            seconds.clone(),
        );
        let readers = Gauge::default();
        registry.register(
            "live_readers",
            "Listeners of live streams, and those that wait for a change",
            readers.clone(),
        );
        let submissions = Family::default();
        registry.register(
            "submissions",
            "Submissions by status; submitted ones are the queue",
            submissions.clone(),
        );
        let mut number = |name, help| {
            let number = Known::default();
            registry.register(name, help, number.clone());
            number
        };
        let pins = number("pins", "Pins on the map");
        let head = number("log_position", "The newest event's position");
        let checkpoint = number("views_position", "The position that the views have seen");
        let lag = number("views_lag", "How many positions the views are behind the log");
        let nodes = number("verifier_nodes", "Nodes that images are verified on");
        let slots = number("verifier_slots", "Submissions that can be verified at a time");
        Self(Arc::new(Inner {
            requests,
            seconds,
            readers,
            submissions,
            pins,
            head,
            checkpoint,
            lag,
            nodes,
            slots,
            registry,
        }))
    }

    pub(crate) fn set_readers(&self, readers: usize) {
        self.0.readers.set(i64::try_from(readers).unwrap_or(i64::MAX));
    }

    pub(crate) fn set_views(&self, stats: &StatsView) {
        for (status, count) in &stats.submissions {
            let status = format!("{status:?}").to_lowercase();
            self.0.submissions.get_or_create(&StatusLabels { status }).set(*count);
        }
        self.0.pins.set(stats.pins);
    }

    pub(crate) fn set_head(&self, head: Position) {
        self.0.head.set(head.0);
    }

    pub(crate) fn set_checkpoint(&self, head: Position, checkpoint: Position) {
        self.0.checkpoint.set(checkpoint.0);
        self.0.lag.set(head.0.saturating_sub(checkpoint.0));
    }

    /// On so many nodes images are verified now, and so many submissions at a time.
    pub fn set_capacity(&self, nodes: usize, slots: usize) {
        self.0.nodes.set(nodes as u64);
        self.0.slots.set(slots as u64);
    }

    pub(crate) fn to_text(&self) -> String {
        let mut all = String::new();
        text::encode(&mut all, &self.0.registry).expect("a String takes all that is written to it");
        all
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts a request and how long it took, under its route.
pub(crate) async fn measure(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    // Only the routes' own patterns are labels: paths are without number.
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = method(&request).to_owned();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    metrics
        .0
        .seconds
        .get_or_create(&RouteLabels { route: route.clone() })
        .observe(began.elapsed().as_secs_f64());
    metrics.0.requests.get_or_create(&RequestLabels { method, route, status }).inc();
    response
}

/// Anybody may make up a method, and each would be kept for ever.
fn method(request: &Request) -> &str {
    match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "PATCH" | "OPTIONS") => known,
        _ => "other",
    }
}
