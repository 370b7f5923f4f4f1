//! The totals. Numbers that only go up and down are counters, so the order of
//! events does not matter. [`RecentActivity`] keeps the last verdicts and minutes.

use std::collections::{BTreeMap, VecDeque};

use domain::submission::{FailureCode, InterruptionCode};
use event_store::Position;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::project::EventEffects;
use crate::EventEnvelope;
use crate::view::{Pin, QueuePlace, StatsView, SubmissionStatus};

/// The number of verdicts from which the expected wait and the waiting times are computed.
const VERDICTS: usize = 100;

/// The number of minutes for which passes are counted.
const MINUTES: usize = 60;

/// The number of choices that are shown for an answer, the most frequent first.
const CHOICES: usize = 100;

/// The name of a counter, as MongoDB stores it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum CounterKey {
    Status(SubmissionStatus),
    Pins,
    Country(String),
    Answer(String, String),
    Failure(FailureCode),
    Interruption(InterruptionCode),
    /// The distinct places of pins.
    Places,
}

/// Counters, or differences of counters.
pub(crate) type Counters = BTreeMap<CounterKey, i64>;

/// The totals of one venue.
#[derive(Debug, Default)]
pub(crate) struct VenueTotals {
    /// The counters, without the distinct places of pins.
    pub(crate) counters: Counters,
    pub(crate) recent: RecentActivity,
}

/// Counts a pin (`by` 1) or its removal (`by` −1).
pub(crate) fn count_pin(counters: &mut Counters, pin: &Pin, by: i64) {
    add(counters, CounterKey::Pins, by);
    add(counters, CounterKey::Country(pin.country.clone()), by);
    for (field, choice) in &pin.answers {
        add(counters, CounterKey::Answer(field.clone(), choice.clone()), by);
    }
}

/// Returns the counters that do not follow from the pins.
pub(crate) fn without_pins(counters: &Counters) -> Vec<(CounterKey, i64)> {
    let of_pins = |key: &CounterKey| match key {
        CounterKey::Pins | CounterKey::Country(_) | CounterKey::Answer(..) | CounterKey::Places => true,
        CounterKey::Status(_) | CounterKey::Failure(_) | CounterKey::Interruption(_) => false,
    };
    counters.iter().filter(|(key, _)| !of_pins(key)).map(|(key, count)| (key.clone(), *count)).collect()
}

/// Counts the effects of an event, except for pins.
pub(crate) fn count_effects(counters: &mut Counters, effects: &EventEffects) {
    if let Some((before, after)) = effects.status {
        add(counters, CounterKey::Status(after), 1);
        if let Some(before) = before {
            add(counters, CounterKey::Status(before), -1);
        }
    }
    for code in &effects.failures {
        add(counters, CounterKey::Failure(*code), 1);
    }
    if let Some(code) = effects.interruption {
        add(counters, CounterKey::Interruption(code), 1);
    }
}

/// Adds to a counter, and removes it if it becomes zero.
pub(crate) fn add(counters: &mut Counters, counter: CounterKey, by: i64) {
    use std::collections::btree_map::Entry;
    match counters.entry(counter) {
        Entry::Vacant(entry) => {
            entry.insert(by);
        }
        Entry::Occupied(mut entry) => {
            *entry.get_mut() += by;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// The last verdicts and minutes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct RecentActivity {
    /// The time of the newest event.
    newest: Option<Timestamp>,
    /// The last [`VERDICTS`] verdicts, oldest first.
    verdicts: VecDeque<TimedVerdict>,
    /// The minutes since 1970 with their number of first passes, oldest first.
    passes: VecDeque<(i64, u64)>,
}

/// The times of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct TimedVerdict {
    at: Timestamp,
    /// The time since the submission was queued.
    waited_ms: u64,
    /// The time since the verdict before it, or since the submission was queued if that is shorter.
    took_ms: u64,
}

impl RecentActivity {
    pub(crate) fn apply(&mut self, envelope: &EventEnvelope, effects: &EventEffects) {
        let at = envelope.recorded_at;
        self.newest = self.newest.max(Some(at));
        if let Some(queued_at) = effects.judged {
            let before = self.verdicts.back().map_or(queued_at, |verdict| verdict.at.max(queued_at));
            let verdict = TimedVerdict {
                at,
                waited_ms: millis_between(queued_at, at),
                took_ms: millis_between(before, at),
            };
            self.verdicts.push_back(verdict);
            while self.verdicts.len() > VERDICTS {
                self.verdicts.pop_front();
            }
        }
        if effects.is_first_pass {
            let minute = minute(at);
            match self.passes.binary_search_by_key(&minute, |(minute, _)| *minute) {
                Ok(index) => self.passes[index].1 += 1,
                Err(index) => self.passes.insert(index, (minute, 1)),
            }
            while self.passes.len() > MINUTES {
                self.passes.pop_front();
            }
        }
    }

    /// Returns the queue place of a submission that has `ahead` others before it, of `waiting` in all.
    pub(crate) fn queue_place(&self, ahead: usize, waiting: usize) -> QueuePlace {
        let position = ahead as u64 + 1;
        QueuePlace { position, of: waiting as u64, expected_wait_s: self.expected_wait_s(position) }
    }

    /// Returns the expected time until `verdicts` more verdicts, in seconds.
    fn expected_wait_s(&self, verdicts: u64) -> Option<u64> {
        let count = u64::try_from(self.verdicts.len()).ok().filter(|count| *count > 0)?;
        let took: u64 = self.verdicts.iter().map(|verdict| verdict.took_ms).sum();
        Some(took.saturating_mul(verdicts).div_ceil(count * 1000))
    }

    fn passes_per_minute(&self) -> Vec<u64> {
        let mut minutes = vec![0; MINUTES];
        let newest = self.newest.map_or(0, minute);
        for (minute, passes) in &self.passes {
            let age = usize::try_from(newest - minute).unwrap_or(0);
            if let Some(counted) = (MINUTES - 1).checked_sub(age).and_then(|index| minutes.get_mut(index)) {
                *counted += passes;
            }
        }
        minutes
    }

    fn waited_ms(&self, percent: usize) -> Option<u64> {
        let mut waited: Vec<u64> = self.verdicts.iter().map(|verdict| verdict.waited_ms).collect();
        waited.sort_unstable();
        waited.get((waited.len() * percent).div_ceil(100).saturating_sub(1)).copied()
    }
}

/// Computes the view of a venue's totals. `newest` is the recent activity of all venues together.
pub(crate) fn venue_stats(totals: &VenueTotals, newest: &RecentActivity, position: Position) -> StatsView {
    let recent = RecentActivity { newest: newest.newest, ..totals.recent.clone() };
    stats(&totals.counters, &recent, position)
}

/// Computes the view of the totals.
pub(crate) fn stats(counters: &Counters, recent: &RecentActivity, position: Position) -> StatsView {
    let statuses = [
        SubmissionStatus::Submitted,
        SubmissionStatus::Verifying,
        SubmissionStatus::Passed,
        SubmissionStatus::Failed,
        SubmissionStatus::Withdrawn,
        SubmissionStatus::GivenUp,
    ];
    let mut view = StatsView {
        submissions: statuses.map(|status| (status, 0)).into(),
        passes_per_minute: recent.passes_per_minute(),
        waited_ms_p50: recent.waited_ms(50),
        waited_ms_p95: recent.waited_ms(95),
        position,
        ..StatsView::default()
    };
    for (counter, count) in counters {
        let count = u64::try_from(*count).unwrap_or(0);
        match counter.clone() {
            CounterKey::Status(status) => view.submissions.insert(status, count),
            CounterKey::Country(country) => view.countries.insert(country, count),
            CounterKey::Answer(field, choice) => view.answers.entry(field).or_default().insert(choice, count),
            CounterKey::Failure(code) => view.failures.insert(code, count),
            CounterKey::Interruption(code) => view.interruptions.insert(code, count),
            CounterKey::Pins => Some(std::mem::replace(&mut view.pins, count)),
            CounterKey::Places => Some(std::mem::replace(&mut view.places, count)),
        };
    }
    for choices in view.answers.values_mut() {
        keep_most_frequent(choices);
    }
    view
}

/// Keeps the [`CHOICES`] most frequent choices. An answer of free text has any number of them.
fn keep_most_frequent(choices: &mut BTreeMap<String, u64>) {
    if choices.len() > CHOICES {
        let mut ranked: Vec<_> = std::mem::take(choices).into_iter().collect();
        ranked.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
        ranked.truncate(CHOICES);
        choices.extend(ranked);
    }
}

fn minute(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

/// Returns the milliseconds between two times, or 0 if the clock went backwards.
fn millis_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_millisecond() - from.as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(took_ms: u64, waited_ms: u64) -> TimedVerdict {
        TimedVerdict { at: Timestamp::UNIX_EPOCH, waited_ms, took_ms }
    }

    #[test]
    fn the_expected_wait_is_the_pace_of_the_last_verdicts() {
        let mut recent = RecentActivity::default();
        assert_eq!(recent.expected_wait_s(3), None);
        recent.verdicts.extend([verdict(1000, 0), verdict(2000, 0)]);
        assert_eq!(recent.expected_wait_s(1), Some(2), "1.5 s, rounded up");
        assert_eq!(recent.expected_wait_s(4), Some(6));
    }

    #[test]
    fn percentiles_are_waiting_times_that_occurred() {
        let mut recent = RecentActivity::default();
        assert_eq!(recent.waited_ms(50), None);
        recent.verdicts.extend((1..=20).map(|waited| verdict(0, waited)));
        assert_eq!((recent.waited_ms(50), recent.waited_ms(95)), (Some(10), Some(19)));
    }

    #[test]
    fn of_many_choices_the_most_frequent_are_shown() {
        let mut choices: BTreeMap<String, u64> = (0..300).map(|n| (format!("c{n}"), n)).collect();
        keep_most_frequent(&mut choices);
        assert_eq!((choices.len(), choices.values().min()), (100, Some(&200)));
    }
}
