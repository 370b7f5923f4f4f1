//! The metrics of webhooks. The labels are names of the operator's file and a few outcomes, so their number has a bound.

use std::borrow::Cow;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

type HookLabel = [(&'static str, String); 1];
type TryLabels = [(&'static str, Cow<'static, str>); 2];

/// The metrics of all hooks. Clones share their counters.
#[derive(Debug, Clone, Default)]
pub(super) struct WebhookMetrics {
    tries: Family<TryLabels, Counter>,
    waiting: Family<HookLabel, Gauge<u64, AtomicU64>>,
}

impl WebhookMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Tries to deliver a message, by webhook and outcome";
        registry.register("webhook_tries", help, self.tries.clone());
        let help = "Messages that wait to be delivered, without those that wait in the log";
        registry.register("webhook_waiting", help, self.waiting.clone());
    }

    /// Counts a try: `delivered`, `failed` or `given_up`.
    pub(super) fn tried(&self, hook: &str, outcome: &'static str) {
        let labels = [("webhook", hook.to_owned().into()), ("outcome", outcome.into())];
        self.tries.get_or_create(&labels).inc();
    }

    pub(super) fn set_waiting(&self, hook: &str, waiting: usize) {
        self.waiting.get_or_create(&[("webhook", hook.to_owned())]).set(waiting as u64);
    }
}
