//! The metrics of one process, in the text format of Prometheus.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use event_store::Position;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::ViewTotals;

/// The buckets of the response times, in seconds: from a tenth of a millisecond to a long poll.
const SECONDS: [f64; 12] = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0];

/// The metrics of one process. Clones share their counters.
#[derive(Clone)]
pub struct Metrics(Arc<MetricsInner>);

struct MetricsInner {
    registry: Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    readers: Gauge,
    submissions: Family<StatusLabels, UnsignedGauge>,
    pins: OptionalGauge,
    set_aside: OptionalGauge,
    standing_still: OptionalGauge,
    log_damages: OptionalGauge,
    head: OptionalGauge,
    checkpoint: OptionalGauge,
    lag: OptionalGauge,
    lag_seconds: OptionalGauge,
    nodes: OptionalGauge,
    slots: OptionalGauge,
}

type UnsignedGauge = Gauge<u64, AtomicU64>;

/// A gauge that is shown only after it was set, because no process knows all of them.
#[derive(Debug, Clone, Default)]
struct OptionalGauge(Arc<OnceLock<UnsignedGauge>>);

impl OptionalGauge {
    /// Sets the gauge. The text format has no larger numbers than `i64::MAX`.
    fn set(&self, number: u64) {
        self.0.get_or_init(UnsignedGauge::default).set(number.min(i64::MAX as u64));
    }
}

impl EncodeMetric for OptionalGauge {
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
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("muster");
        let requests = Family::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        let seconds: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(SECONDS));
        registry.register(
            "http_request_seconds",
            "Time from a request to the head of its response",
            seconds.clone(),
        );
        let readers = Gauge::default();
        registry.register(
            "live_readers",
            "Readers of live streams, and requests that wait for a change",
            readers.clone(),
        );
        let submissions = Family::default();
        registry.register(
            "submissions",
            "Submissions by status; those submitted are the queue",
            submissions.clone(),
        );
        let mut gauge = |name, help| {
            let gauge = OptionalGauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let pins = gauge("pins", "Pins on the map");
        let set_aside =
            gauge("set_aside_events", "Events of strangers in Muster's streams, which change nothing");
        let standing_still = gauge(
            "submissions_standing_still",
            "Submissions with an event that this version cannot read, counted up to 1000",
        );
        let log_damages = gauge(
            "log_damages",
            "Damages of the log's file that were found since it was opened, counted up to 10",
        );
        let head = gauge("log_position", "Position of the newest event in the log");
        let checkpoint = gauge("views_position", "Position up to which the views have applied the log");
        let lag =
            gauge("views_lag", "Number of events that the views are behind the log, counted up to 10000");
        let lag_seconds =
            gauge("views_lag_seconds", "Age of the oldest event that the views have not applied");
        let nodes = gauge("verifier_nodes", "Nodes that run participants' images");
        let slots = gauge("verifier_slots", "Submissions that can be verified at the same time");
        Self(Arc::new(MetricsInner {
            requests,
            seconds,
            readers,
            submissions,
            pins,
            set_aside,
            standing_still,
            log_damages,
            head,
            checkpoint,
            lag,
            lag_seconds,
            nodes,
            slots,
            registry: Mutex::new(registry),
        }))
    }

    /// Lets another crate add its metrics. Each name begins with `muster_`.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.0.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Sets the number of readers of live streams and of requests that wait for a change.
    pub fn set_readers(&self, readers: usize) {
        self.0.readers.set(i64::try_from(readers).unwrap_or(i64::MAX));
    }

    /// Sets the number of nodes that run participants' images, and of submissions that can be verified at the same time.
    pub fn set_capacity(&self, nodes: usize, slots: usize) {
        self.0.nodes.set(nodes as u64);
        self.0.slots.set(slots as u64);
    }

    pub(crate) fn set_totals(&self, totals: &ViewTotals) {
        for (status, count) in &totals.submissions {
            self.0.submissions.get_or_create(&StatusLabels { status: status.clone() }).set(*count);
        }
        self.0.pins.set(totals.pins);
        self.0.set_aside.set(totals.set_aside);
        self.0.standing_still.set(totals.standing_still);
    }

    pub(crate) fn set_log_damages(&self, damages: usize) {
        self.0.log_damages.set(damages as u64);
    }

    pub(crate) fn set_head(&self, head: Position) {
        self.0.head.set(head.0);
    }

    pub(crate) fn set_checkpoint(&self, checkpoint: Position) {
        self.0.checkpoint.set(checkpoint.0);
    }

    /// Sets how far the views are behind the log: the number of events, and the age of the oldest of them.
    pub(crate) fn set_lag(&self, events: usize, seconds: u64) {
        self.0.lag.set(events as u64);
        self.0.lag_seconds.set(seconds);
    }

    pub(crate) fn to_text(&self) -> String {
        let mut all = String::new();
        let registry = self.0.registry.lock().unwrap_or_else(PoisonError::into_inner);
        text::encode(&mut all, &registry).expect("writing to a String never fails");
        all
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts a request and the time until the head of its response, by its route.
pub(crate) async fn measure(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    // A route's pattern is the label, because the number of different paths has no bound.
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = method_label(&request).to_owned();
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

/// Returns `other` for a method that a client made up, because each label is kept forever.
fn method_label(request: &Request) -> &str {
    match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "PATCH" | "OPTIONS") => known,
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_of_any_size_is_shown() {
        let metrics = Metrics::new();
        metrics.set_head(Position(u64::MAX));
        metrics.set_checkpoint(Position(u64::MAX));
        metrics.set_lag(3, u64::MAX);
        let text = metrics.to_text();
        for line in ["muster_log_position 9223372036854775807", "muster_views_lag 3", "# EOF"] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
