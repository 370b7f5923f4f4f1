//! The pauses of registries. A registry that limits requests is asked by nobody until it permits the next one: each
//! request before that would only make it wait longer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain::sandbox::{self, SandboxRegistry};
use domain::submission::{InterruptionCode, PlatformFault};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// The pause if a registry limits requests and does not say for how long.
const UNTOLD: Duration = Duration::from_secs(30);

/// The longest pause. A registry that says more is asked again.
const LONGEST: Duration = Duration::from_secs(3600);

/// The pause that a request waits out, because that costs less than another attempt.
const SHORT: Duration = Duration::from_secs(5);

/// The registries that are not asked now, and the limits that registries told.
#[derive(Debug, Default)]
pub(super) struct RegistryPauses {
    pauses: Mutex<HashMap<String, RegistryPause>>,
    /// The same for operators, by name.
    limited: watch::Sender<Vec<SandboxRegistry>>,
}

#[derive(Debug, Clone)]
struct RegistryPause {
    until: Instant,
    code: InterruptionCode,
    /// What the registry said.
    why: String,
}

impl RegistryPauses {
    /// Begins a pause of a registry, or makes it longer. Returns its length.
    pub(super) fn begin(
        &self,
        registry: &str,
        after: Option<Duration>,
        code: InterruptionCode,
        why: &str,
    ) -> Duration {
        let length = after.unwrap_or(UNTOLD).min(LONGEST);
        let until = Instant::now() + length;
        let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        pauses.retain(|_, pause| pause.until > now);
        if pauses.get(registry).is_none_or(|pause| pause.until < until) {
            tracing::warn!("{registry} is not asked for {} s: {why}", length.as_secs());
            pauses.insert(registry.to_owned(), RegistryPause { until, code, why: why.to_owned() });
            let moment = SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
            let moment = Timestamp::now().saturating_add(moment).unwrap_or(Timestamp::MAX);
            let told = sandbox::RegistryPause { until: moment, reason: why.to_owned() };
            self.limited.send_modify(|limited| entry(limited, registry).pause = Some(told));
        }
        length
    }

    /// Records the pulls that a registry permits until its limit. Watchers are told only of the first number and of none.
    pub(super) fn note_pulls(&self, registry: &str, pulls: u64) {
        self.limited.send_if_modified(|limited| {
            let known = &mut entry(limited, registry).pulls_remaining;
            let tells = known.is_none() || pulls == 0 && *known != Some(0);
            *known = Some(pulls);
            tells
        });
    }

    /// Returns the registries that limit requests, with pauses that may be over.
    pub(super) fn limited(&self) -> watch::Receiver<Vec<SandboxRegistry>> {
        self.limited.subscribe()
    }

    /// Waits for the end of a short pause.
    ///
    /// # Errors
    /// If the registry pauses for longer.
    pub(super) async fn wait(&self, registry: &str) -> Result<(), PlatformFault> {
        let pause = self.pauses.lock().unwrap_or_else(PoisonError::into_inner).get(registry).cloned();
        let Some(RegistryPause { until, code, why }) = pause else { return Ok(()) };
        let left = until.saturating_duration_since(Instant::now());
        if left > SHORT {
            let seconds = left.as_millis().div_ceil(1000);
            let message = format!("{why}; it is asked again in {seconds} s");
            return Err(PlatformFault { code, message, pause: Some(left) });
        }
        sleep_until(until).await;
        Ok(())
    }
}

/// Returns the entry of a registry, and adds it if it is missing.
fn entry<'a>(limited: &'a mut Vec<SandboxRegistry>, name: &str) -> &'a mut SandboxRegistry {
    let index = limited.binary_search_by(|known| known.name.as_str().cmp(name)).unwrap_or_else(|index| {
        limited.insert(index, SandboxRegistry { name: name.to_owned(), pause: None, pulls_remaining: None });
        index
    });
    &mut limited[index]
}

/// Returns the time that a `Retry-After` header asks to wait: seconds, or a date.
pub(super) fn retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = header.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(header.trim()).ok()?.timestamp();
    let wait = date.duration_since(now).max(SignedDuration::ZERO);
    Duration::try_from(wait).ok()
}

/// Returns the number of pulls in a `ratelimit-remaining` header, which may name its window: `76;w=21600`.
pub(super) fn pulls_left(header: &str) -> Option<u64> {
    header.split(';').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pulls_that_are_left_are_read_with_and_without_their_window() {
        assert_eq!(pulls_left("76;w=21600"), Some(76));
        assert_eq!(pulls_left(" 0 "), Some(0));
        assert_eq!(pulls_left("many;w=21600"), None);
        assert_eq!(pulls_left("-1"), None);
    }

    #[test]
    fn a_registry_says_how_long_in_seconds_or_with_a_date() {
        let now: Timestamp = "2026-11-27T10:00:00Z".parse().unwrap();
        let after = |header| retry_after(header, now);
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(after("Fri, 27 Nov 2026 10:01:00 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(after("Fri, 27 Nov 2026 09:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("soon"), None);
        assert_eq!(after("-3"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_pause_is_told_and_a_short_one_waited_out() {
        let pauses = RegistryPauses::default();
        assert_eq!(pauses.wait("a").await, Ok(()));
        let begin = |after| pauses.begin("a", after, InterruptionCode::RateLimited, "a limits requests");
        assert_eq!(begin(Some(Duration::from_secs(100_000))), LONGEST);
        // A shorter pause does not end a longer one.
        begin(Some(Duration::from_secs(3)));
        let fault = pauses.wait("a").await.unwrap_err();
        assert!(
            fault.message.contains("a limits requests; it is asked again in 3600 s"),
            "{}",
            fault.message
        );
        assert_eq!(pauses.wait("b").await, Ok(()));
        pauses.note_pulls("b", 76);
        let limited = pauses.limited();
        let told = limited.borrow();
        assert_eq!(told[0].pause.as_ref().map(|pause| pause.reason.as_str()), Some("a limits requests"));
        assert_eq!((told[1].name.as_str(), told[1].pulls_remaining), ("b", Some(76)));
        drop(told);
        pauses.note_pulls("b", 75);
        assert!(!limited.has_changed().unwrap(), "a report for each pull would fill the log");
        pauses.note_pulls("b", 0);
        assert!(limited.has_changed().unwrap());
        tokio::time::advance(LONGEST - Duration::from_secs(4)).await;
        assert_eq!(pauses.wait("a").await, Ok(()));
    }
}
