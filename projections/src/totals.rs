//! The totals. What only counts up and down is a map of [`Counter`]s, so that
//! it is the same in any order; what looks back is [`Recent`].

use std::collections::{BTreeMap, VecDeque};

use domain::submission::{FailureCode, InterruptionCode};
use event_store::Position;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::EventEnvelope;
use crate::project::{EventEffects, PassChange};
use crate::queue::Queue;
use crate::view::{Pin, QueuePlace, StatsView, SubmissionStatus};

/// How many verdicts the pace and the waiting times look back on.
const VERDICTS: usize = 100;

/// How many minutes of passes are told.
const MINUTES: usize = 60;

/// How many choices of an answer are told, the most frequent ones.
const CHOICES: usize = 100;

/// Something that is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Counter {
    Status(SubmissionStatus),
    Pins,
    Country(String),
    Answer(String, String),
    Failure(FailureCode),
    Interruption(InterruptionCode),
    /// Distinct places of pins.
    Places,
}

/// Counts, or differences of counts.
pub(crate) type Counters = BTreeMap<Counter, i64>;

/// Adds what a pin, or its disappearance (`by` −1), does to the counters.
pub(crate) fn count_pin(counters: &mut Counters, pin: &Pin, by: i64) {
    add(counters, Counter::Pins, by);
    add(counters, Counter::Country(pin.country.clone()), by);
    for (field, choice) in &pin.answers {
        add(counters, Counter::Answer(field.clone(), choice.clone()), by);
    }
}

/// Adds what an event does to the counters, but for pins.
pub(crate) fn count(counters: &mut Counters, effects: &EventEffects) {
    if let Some((before, after)) = effects.status {
        add(counters, Counter::Status(after), 1);
        if let Some(before) = before {
            add(counters, Counter::Status(before), -1);
        }
    }
    for code in &effects.failures {
        add(counters, Counter::Failure(*code), 1);
    }
    if let Some(code) = effects.interruption {
        add(counters, Counter::Interruption(code), 1);
    }
}

pub(crate) fn add(counters: &mut Counters, counter: Counter, by: i64) {
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

/// What the totals know of the last verdicts and minutes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Recent {
    /// The newest event's moment.
    newest: Option<Timestamp>,
    /// The last verdicts, oldest first.
    verdicts: VecDeque<Judged>,
    /// Passes that began to count, by minute since 1970, oldest first.
    passes: VecDeque<(i64, u64)>,
}

/// A verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Judged {
    at: Timestamp,
    /// Since it entered the queue.
    waited_ms: u64,
    /// Since the verdict before it, but for the time in which it was not even in the queue.
    took_ms: u64,
}

impl Recent {
    /// Follows an event.
    pub(crate) fn apply(&mut self, envelope: &EventEnvelope, effects: &EventEffects) {
        let at = envelope.recorded_at;
        self.newest = self.newest.max(Some(at));
        if let Some(queued_at) = effects.judged {
            let before = self.verdicts.back().map_or(queued_at, |verdict| verdict.at.max(queued_at));
            let judged = Judged { at, waited_ms: ms(queued_at, at), took_ms: ms(before, at) };
            self.verdicts.push_back(judged);
            while self.verdicts.len() > VERDICTS {
                self.verdicts.pop_front();
            }
        }
        if let Some(PassChange::Counts(_)) = effects.pass {
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

    /// The place of somebody who has so many of the queue's ahead.
    pub(crate) fn queue_place(&self, ahead: usize, queue: &Queue) -> QueuePlace {
        let position = ahead as u64 + 1;
        QueuePlace { position, of: queue.len() as u64, expected_wait_s: self.expected_wait_s(position) }
    }

    /// How long it takes until so many more have their verdict, in seconds.
    fn expected_wait_s(&self, verdicts: u64) -> Option<u64> {
        let count = u64::try_from(self.verdicts.len()).ok().filter(|count| *count > 0)?;
        let took: u64 = self.verdicts.iter().map(|judged| judged.took_ms).sum();
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
        let mut waited: Vec<u64> = self.verdicts.iter().map(|judged| judged.waited_ms).collect();
        waited.sort_unstable();
        waited.get((waited.len() * percent).div_ceil(100).saturating_sub(1)).copied()
    }
}

/// The totals, as they are shown.
pub(crate) fn stats(counters: &Counters, recent: &Recent, position: Position) -> StatsView {
    let waiting = [
        SubmissionStatus::Submitted,
        SubmissionStatus::Verifying,
        SubmissionStatus::Passed,
        SubmissionStatus::Failed,
    ];
    let mut view = StatsView {
        submissions: waiting.map(|status| (status, 0)).into(),
        passes_per_minute: recent.passes_per_minute(),
        waited_ms_p50: recent.waited_ms(50),
        waited_ms_p95: recent.waited_ms(95),
        position,
        ..StatsView::default()
    };
    for (counter, count) in counters {
        let count = u64::try_from(*count).unwrap_or(0);
        match counter.clone() {
            Counter::Status(status) => view.submissions.insert(status, count),
            Counter::Country(country) => view.countries.insert(country, count),
            Counter::Answer(field, choice) => view.answers.entry(field).or_default().insert(choice, count),
            Counter::Failure(code) => view.failures.insert(code, count),
            Counter::Interruption(code) => view.interruptions.insert(code, count),
            Counter::Pins => Some(std::mem::replace(&mut view.pins, count)),
            Counter::Places => Some(std::mem::replace(&mut view.places, count)),
        };
    }
    for choices in view.answers.values_mut() {
        keep_most_frequent(choices);
    }
    view
}

/// An answer that may be anything has any number of choices; nobody reads them all.
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

/// The milliseconds between two moments; 0 when the clock went backwards.
fn ms(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_millisecond() - from.as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(took_ms: u64, waited_ms: u64) -> Judged {
        Judged { at: Timestamp::UNIX_EPOCH, waited_ms, took_ms }
    }

    #[test]
    fn the_expected_wait_is_the_pace_of_the_last_verdicts() {
        let mut recent = Recent::default();
        assert_eq!(recent.expected_wait_s(3), None);
        recent.verdicts.extend([judged(1000, 0), judged(2000, 0)]);
        assert_eq!(recent.expected_wait_s(1), Some(2), "1.5 s, rounded up");
        assert_eq!(recent.expected_wait_s(4), Some(6));
    }

    #[test]
    fn percentiles_are_waits_that_somebody_had() {
        let mut recent = Recent::default();
        assert_eq!(recent.waited_ms(50), None);
        recent.verdicts.extend((1..=20).map(|waited| judged(0, waited)));
        assert_eq!((recent.waited_ms(50), recent.waited_ms(95)), (Some(10), Some(19)));
    }

    #[test]
    fn of_many_choices_the_most_frequent_are_told() {
        let mut choices: BTreeMap<String, u64> = (0..300).map(|n| (format!("c{n}"), n)).collect();
        keep_most_frequent(&mut choices);
        assert_eq!((choices.len(), choices.values().min()), (100, Some(&200)));
    }
}
