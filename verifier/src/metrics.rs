//! The metrics of a verifier, for `/metrics`. The values of each label are known beforehand, so that their number has a
//! bound whatever participants submit.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use domain::Event;
use domain::submission::InterruptionCode;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use reqwest::StatusCode;
use tokio::time::Instant;

/// The buckets of the times, in seconds: from a lookup that memory answers to a pull of a large image.
const SECONDS: [f64; 14] =
    [0.005, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// The label of registries that the challenge does not name.
const OTHER: &str = "other";

/// The kinds of answers of registries.
const ANSWERS: [&str; 6] = ["2xx", "3xx", "4xx", "429", "5xx", "none"];

/// The metrics of one verifier. Clones share their counters.
#[derive(Debug, Clone)]
pub struct VerifierMetrics {
    attempts: Family<Label, Counter>,
    interruptions: Family<Label, Counter>,
    attempt_seconds: Histogram,
    step_seconds: Family<Label, Histogram, fn() -> Histogram>,
    queue: Family<Label, UnsignedGauge>,
    oldest: Family<Label, UnsignedGauge>,
    slots: Family<Label, UnsignedGauge>,
    requests: Family<Label, Counter>,
    pauses: Family<Label, UnsignedGauge>,
    pulls_left: Family<Label, UnsignedGauge>,
    layer_bytes: Counter,
    sweeps: Family<Label, Counter>,
    stuck: UnsignedGauge,
    /// The registries that have a label of their own.
    registries: Arc<[String]>,
}

type UnsignedGauge = Gauge<u64, AtomicU64>;

/// One label with its value.
type Label = [(&'static str, Cow<'static, str>); 1];

/// The end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptOutcome {
    Passed,
    Failed,
    Interrupted,
    GivenUp,
    /// The log did not accept the report, or had the end already.
    Unreported,
}

/// A step of an attempt whose time is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptStep {
    Claim,
    /// The lookup of one image in its registry.
    Lookup,
    /// The look into the layers of one image.
    Gate,
    /// The pull of the images to a node, before a slot is taken.
    PullAhead,
    /// The creation of the services.
    Deploy,
    Pull,
    Start,
    Probe,
    /// The wait for the second slot.
    SecondSlot,
    Report,
}

/// The submissions without a verdict, in one of the states of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct QueueFigures {
    pub(crate) count: usize,
    /// The time since the one was queued that waits for longest.
    pub(crate) oldest: Duration,
}

impl AttemptOutcome {
    const ALL: [Self; 5] = [Self::Passed, Self::Failed, Self::Interrupted, Self::GivenUp, Self::Unreported];

    /// Returns the outcome that the events of a report say.
    pub(crate) fn of(events: &[Event]) -> Self {
        let outcome = |event: &Event| match event {
            Event::Passed(_) => Some(Self::Passed),
            Event::Failed(_) => Some(Self::Failed),
            Event::GivenUp(_) => Some(Self::GivenUp),
            Event::VerificationInterrupted(_) => Some(Self::Interrupted),
            _ => None,
        };
        events.iter().rev().find_map(outcome).unwrap_or(Self::Unreported)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::GivenUp => "given_up",
            Self::Unreported => "unreported",
        }
    }
}

impl AttemptStep {
    const ALL: [Self; 10] = [
        Self::Claim,
        Self::Lookup,
        Self::Gate,
        Self::PullAhead,
        Self::Deploy,
        Self::Pull,
        Self::Start,
        Self::Probe,
        Self::SecondSlot,
        Self::Report,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Lookup => "lookup",
            Self::Gate => "gate",
            Self::PullAhead => "pull_ahead",
            Self::Deploy => "deploy",
            Self::Pull => "pull",
            Self::Start => "start",
            Self::Probe => "probe",
            Self::SecondSlot => "second_slot",
            Self::Report => "report",
        }
    }
}

impl VerifierMetrics {
    /// Creates the metrics of a verifier whose challenge allows these registries.
    pub(crate) fn new(registries: &[String]) -> Self {
        let seconds: fn() -> Histogram = || Histogram::new(SECONDS);
        let metrics = Self {
            attempts: Family::default(),
            interruptions: Family::default(),
            attempt_seconds: seconds(),
            step_seconds: Family::new_with_constructor(seconds),
            queue: Family::default(),
            oldest: Family::default(),
            slots: Family::default(),
            requests: Family::default(),
            pauses: Family::default(),
            pulls_left: Family::default(),
            layer_bytes: Counter::default(),
            sweeps: Family::default(),
            stuck: UnsignedGauge::default(),
            registries: registries.into(),
        };
        // A rate needs the zero before the first count.
        for outcome in AttemptOutcome::ALL {
            drop(metrics.attempts.get_or_create(&label("outcome", outcome.as_str())));
        }
        for code in InterruptionCode::ALL {
            drop(metrics.interruptions.get_or_create(&label("code", code.as_str())));
        }
        for step in AttemptStep::ALL {
            drop(metrics.step_seconds.get_or_create(&label("step", step.as_str())));
        }
        for answer in ANSWERS {
            drop(metrics.requests.get_or_create(&label("status", answer)));
        }
        for outcome in ["ok", "failed"] {
            drop(metrics.sweeps.get_or_create(&label("outcome", outcome)));
        }
        metrics
    }

    /// Returns the metrics of a process that has no others.
    pub fn to_text(&self) -> String {
        let mut registry = Registry::with_prefix("muster");
        self.register(&mut registry);
        let mut all = String::new();
        text::encode(&mut all, &registry).expect("writing to a String never fails");
        all
    }

    /// Adds the metrics to those of the process, with `verifier_` before each name.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("verifier");
        registry.register("attempts", "Attempts that ended, by outcome", self.attempts.clone());
        registry.register(
            "interruptions",
            "Attempts that were interrupted, by the code of the platform's fault",
            self.interruptions.clone(),
        );
        registry.register_with_unit(
            "attempt",
            "Time from a claim to its report",
            Unit::Seconds,
            self.attempt_seconds.clone(),
        );
        registry.register_with_unit(
            "step",
            "Time of each step of an attempt; lookup and gate count for each image",
            Unit::Seconds,
            self.step_seconds.clone(),
        );
        registry.register(
            "queue_submissions",
            "Submissions without a verdict: those that wait for their turn, for a moment, or are claimed",
            self.queue.clone(),
        );
        registry.register_with_unit(
            "queue_oldest",
            "Time since the submission was queued that waits for longest",
            Unit::Seconds,
            self.oldest.clone(),
        );
        registry.register("slots_by_state", "Slots on all nodes, by state", self.slots.clone());
        registry.register(
            "registry_requests",
            "Requests to registries, their token servers and their stores, by the class of the status; none stands for no answer",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "registry_pause",
            "Time until a registry is asked again that limits requests; 0 if it is asked",
            Unit::Seconds,
            self.pauses.clone(),
        );
        registry.register(
            "registry_pulls_remaining",
            "Pulls that a registry permits until its limit, as it said last",
            self.pulls_left.clone(),
        );
        registry.register_with_unit(
            "layers_fetched",
            "Bytes of layers that the gate fetched",
            Unit::Bytes,
            self.layer_bytes.clone(),
        );
        registry.register("sweeps", "Sweeps of the Swarm for leftovers", self.sweeps.clone());
        registry.register(
            "stuck_containers",
            "Containers that two sweeps could not remove",
            self.stuck.clone(),
        );
    }

    /// Counts the end of an attempt that took this time.
    pub(crate) fn count_attempt(&self, outcome: AttemptOutcome, took: Duration) {
        self.attempts.get_or_create(&label("outcome", outcome.as_str())).inc();
        self.attempt_seconds.observe(took.as_secs_f64());
    }

    /// Counts the interruptions among events that this verifier recorded.
    pub(crate) fn count_interruptions(&self, events: &[Event]) {
        for event in events {
            if let Event::VerificationInterrupted(interrupted) = event {
                self.interruptions.get_or_create(&label("code", interrupted.code.as_str())).inc();
            }
        }
    }

    /// Measures the time of a step.
    pub(crate) async fn time<T>(&self, step: AttemptStep, work: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let done = work.await;
        let seconds = began.elapsed().as_secs_f64();
        self.step_seconds.get_or_create(&label("step", step.as_str())).observe(seconds);
        done
    }

    pub(crate) fn set_queue(&self, state: &'static str, figures: QueueFigures) {
        self.queue.get_or_create(&label("state", state)).set(figures.count as u64);
        self.oldest.get_or_create(&label("state", state)).set(figures.oldest.as_secs());
    }

    pub(crate) fn set_slots(&self, state: &'static str, count: usize) {
        self.slots.get_or_create(&label("state", state)).set(count as u64);
    }

    /// Counts a request to a registry. `status` is `None` if no answer came.
    pub(crate) fn count_request(&self, status: Option<StatusCode>) {
        let answer = match status.map(|status| status.as_u16()) {
            None => "none",
            Some(429) => "429",
            Some(400..500) => "4xx",
            Some(300..400) => "3xx",
            Some(500..) => "5xx",
            Some(_) => "2xx",
        };
        self.requests.get_or_create(&label("status", answer)).inc();
    }

    /// Sets the time until each paused registry is asked again.
    pub(crate) fn set_pauses(&self, left: impl Fn(&str) -> Option<Duration>) {
        for registry in self.registries.iter() {
            let seconds = left(registry).unwrap_or_default().as_secs_f64().ceil() as u64;
            self.pauses.get_or_create(&self.registry_label(registry)).set(seconds);
        }
    }

    pub(crate) fn set_pulls_left(&self, registry: &str, pulls: u64) {
        self.pulls_left.get_or_create(&self.registry_label(registry)).set(pulls);
    }

    pub(crate) fn count_layer_bytes(&self, bytes: usize) {
        self.layer_bytes.inc_by(bytes as u64);
    }

    pub(crate) fn count_sweep(&self, is_done: bool) {
        self.sweeps.get_or_create(&label("outcome", if is_done { "ok" } else { "failed" })).inc();
    }

    pub(crate) fn set_stuck(&self, containers: usize) {
        self.stuck.set(containers as u64);
    }

    fn registry_label(&self, registry: &str) -> Label {
        let known = self.registries.iter().any(|known| known == registry);
        [("registry", if known { Cow::Owned(registry.to_owned()) } else { Cow::Borrowed(OTHER) })]
    }
}

impl Default for VerifierMetrics {
    fn default() -> Self {
        Self::new(&[])
    }
}

fn label(name: &'static str, value: &'static str) -> Label {
    [(name, Cow::Borrowed(value))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(metrics: &VerifierMetrics) -> String {
        let mut registry = Registry::with_prefix("muster");
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn labels_stay_bounded_whatever_participants_name() {
        let metrics = VerifierMetrics::new(&["docker.io".to_owned()]);
        for number in 0..200_u16 {
            metrics.set_pulls_left(&format!("host-{number}.example"), u64::from(number));
            metrics.count_request(StatusCode::from_u16(100 + number * 4).ok());
        }
        metrics.count_request(None);
        metrics.set_pulls_left("docker.io", 87);
        metrics.set_pauses(|_| Some(Duration::from_millis(1500)));
        let text = shown(&metrics);
        let lines = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(lines("muster_verifier_registry_requests_total{"), ANSWERS.len(), "{text}");
        assert_eq!(lines("muster_verifier_registry_pulls_remaining{"), 2, "{text}");
        assert!(
            text.contains("muster_verifier_registry_pulls_remaining{registry=\"docker.io\"} 87"),
            "{text}"
        );
        assert!(text.contains("muster_verifier_registry_pause_seconds{registry=\"docker.io\"} 2"), "{text}");
        assert!(text.contains("muster_verifier_registry_requests_total{status=\"none\"} 1"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn each_step_has_its_own_times() {
        let metrics = VerifierMetrics::default();
        metrics.time(AttemptStep::Pull, tokio::time::sleep(Duration::from_secs(40))).await;
        let text = shown(&metrics);
        assert!(text.contains("muster_verifier_step_seconds_bucket{le=\"30.0\",step=\"pull\"} 0"), "{text}");
        assert!(text.contains("muster_verifier_step_seconds_bucket{le=\"60.0\",step=\"pull\"} 1"), "{text}");
        for step in AttemptStep::ALL {
            let counted = u8::from(step == AttemptStep::Pull);
            let line = format!("muster_verifier_step_seconds_count{{step=\"{}\"}} {counted}", step.as_str());
            assert!(text.contains(&line), "{line} is missing in\n{text}");
        }
    }
}
