//! The notices of one hook that are not delivered yet, and when each is tried again. Without input or output: the time
//! comes from the caller.

use std::collections::VecDeque;
use std::time::Duration;

use event_store::{LogCheckpoint, LogIdentity, Position};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::notice::{NoticeKind, WebhookNotice};

/// The pauses after the first, second, … failed try. The last one repeats.
const PAUSES: [Duration; 7] = [
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(120),
    Duration::from_secs(300),
    Duration::from_secs(600),
];

/// The age at which a notice is given up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(3 * 24 * 3600);

/// The number of notices that wait in memory. Later ones wait in the log.
const WAITING_MAX: usize = 64;

/// The number of notices that were given up and can be tried again.
const GIVEN_UP_MAX: usize = 32;

/// The part of a hook's queue that is kept over restarts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct KeptQueue {
    /// The place up to which the log was read for this hook.
    pub(super) read: Option<LogPlace>,
    pub(super) waiting: Vec<WaitingNotice>,
    /// The newest notices that were given up.
    pub(super) given_up: VecDeque<WebhookNotice>,
    /// True from the moment at which the queue has become long until it is short again.
    pub(super) queue_is_long: bool,
    /// The number of notices that were delivered.
    pub(super) delivered_count: u64,
    /// The number of notices that were given up, also of those that were tried again later.
    pub(super) given_up_count: u64,
    pub(super) last: Option<LastTry>,
}

/// A checkpoint, as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogPlace {
    log: Option<Uuid>,
    pub(super) position: Position,
    event: Option<Uuid>,
}

impl From<LogCheckpoint> for LogPlace {
    fn from(LogCheckpoint { log, position, event }: LogCheckpoint) -> Self {
        Self { log: log.map(|identity| identity.0), position, event }
    }
}

impl From<LogPlace> for LogCheckpoint {
    fn from(LogPlace { log, position, event }: LogPlace) -> Self {
        Self { log: log.map(LogIdentity), position, event }
    }
}

/// A notice that is not delivered yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct WaitingNotice {
    pub(super) notice: WebhookNotice,
    tries: u32,
    /// The moment at which the notice is given up.
    until: Timestamp,
    /// The moment of the next try. After a restart, all are tried at once.
    #[serde(skip)]
    due: Timestamp,
}

/// The newest try to deliver a notice of a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastTry {
    pub(super) at: Timestamp,
    pub(super) kind: NoticeKind,
    /// The reason in words if it failed.
    pub(super) failure: Option<String>,
}

/// The result of a failed try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailedTry {
    TriedAgain,
    GivenUp,
}

/// The queue of one hook.
#[derive(Debug, Default)]
pub(super) struct HookQueue {
    pub(super) kept: KeptQueue,
    /// The failures since the last success, of whatever notice.
    failures: u32,
    /// The moment before which the receiver is left alone.
    paused_until: Timestamp,
}

impl HookQueue {
    pub(super) fn new(kept: KeptQueue) -> Self {
        Self { kept, failures: 0, paused_until: Timestamp::UNIX_EPOCH }
    }

    /// Returns whether another notice may wait in memory.
    pub(super) fn has_room(&self) -> bool {
        self.kept.waiting.len() < WAITING_MAX
    }

    /// Adds a notice. One that is too old is given up at once.
    pub(super) fn add(&mut self, notice: WebhookNotice, now: Timestamp) {
        let until = notice.at + GIVE_UP_AFTER;
        if until <= now {
            self.give_up(notice);
        } else {
            self.kept.waiting.push(WaitingNotice { notice, tries: 0, until, due: now });
        }
    }

    /// Returns the moment of the next try, or `None` if nothing waits.
    pub(super) fn next_try(&self) -> Option<Timestamp> {
        let due = self.kept.waiting.iter().map(|waiting| waiting.due).min()?;
        Some(due.max(self.paused_until))
    }

    /// Returns the notice to try now, if there is one.
    pub(super) fn to_try(&self, now: Timestamp) -> Option<&WebhookNotice> {
        let first = self.kept.waiting.iter().min_by_key(|waiting| waiting.due)?;
        let due = first.due.max(self.paused_until);
        // The clock may have gone back.
        let is_too_far = due > now + PAUSES[PAUSES.len() - 1];
        (due <= now || is_too_far).then_some(&first.notice)
    }

    /// Notes that a notice was delivered.
    pub(super) fn delivered(&mut self, id: &str, now: Timestamp) {
        if let Some(waiting) = self.take(id) {
            self.kept.delivered_count += 1;
            self.kept.last = Some(LastTry { at: now, kind: waiting.notice.kind, failure: None });
        }
        (self.failures, self.paused_until) = (0, Timestamp::UNIX_EPOCH);
    }

    /// Notes that a try failed. The receiver may have asked for a pause.
    pub(super) fn failed(
        &mut self,
        id: &str,
        why: &str,
        asked: Option<Duration>,
        now: Timestamp,
    ) -> FailedTry {
        let asked = asked.unwrap_or_default().min(PAUSES[PAUSES.len() - 1]);
        self.paused_until = now + pause_after(self.failures).max(asked);
        self.failures = self.failures.saturating_add(1);
        let Some(mut waiting) = self.take(id) else { return FailedTry::GivenUp };
        let failure = Some(why.to_owned());
        self.kept.last = Some(LastTry { at: now, kind: waiting.notice.kind, failure });
        waiting.due = now + pause_after(waiting.tries).max(asked);
        waiting.tries = waiting.tries.saturating_add(1);
        if waiting.until <= now {
            self.give_up(waiting.notice);
            return FailedTry::GivenUp;
        }
        self.kept.waiting.push(waiting);
        FailedTry::TriedAgain
    }

    /// Lets everything be tried now, also what was given up.
    pub(super) fn try_again(&mut self, now: Timestamp) {
        (self.failures, self.paused_until) = (0, Timestamp::UNIX_EPOCH);
        let revived = std::mem::take(&mut self.kept.given_up);
        let until = now + GIVE_UP_AFTER;
        let revived = revived.into_iter().map(|notice| WaitingNotice { notice, tries: 0, until, due: now });
        self.kept.waiting.splice(0..0, revived);
        self.kept.waiting.iter_mut().for_each(|waiting| waiting.due = now);
    }

    /// Takes the length of the submissions' queue. Returns true if it has become long, which it is again only after it was
    /// half as long.
    pub(super) fn becomes_long(&mut self, waiting: u64, long: u64) -> bool {
        let was_long = self.kept.queue_is_long;
        self.kept.queue_is_long = waiting >= long || (was_long && waiting > long / 2);
        self.kept.queue_is_long && !was_long
    }

    /// Returns the moment of the oldest notice that waits.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.kept.waiting.iter().map(|waiting| waiting.notice.at).min()
    }

    fn take(&mut self, id: &str) -> Option<WaitingNotice> {
        let index = self.kept.waiting.iter().position(|waiting| waiting.notice.id == id)?;
        Some(self.kept.waiting.remove(index))
    }

    fn give_up(&mut self, notice: WebhookNotice) {
        self.kept.given_up_count += 1;
        self.kept.given_up.push_back(notice);
        if self.kept.given_up.len() > GIVEN_UP_MAX {
            self.kept.given_up.pop_front();
        }
    }
}

fn pause_after(failures: u32) -> Duration {
    PAUSES[(failures as usize).min(PAUSES.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn start() -> Timestamp {
        "2016-03-21T12:00:00Z".parse().unwrap()
    }

    fn notice(number: u64, at: Timestamp) -> WebhookNotice {
        let notice = WebhookNotice::of_queue(number, None, Position(number));
        WebhookNotice { at, id: format!("msg_{number}"), ..notice }
    }

    /// Tries whatever is due until a moment, over restarts if asked. Returns the ids that arrived and the number of tries.
    fn run(
        queue: &mut HookQueue,
        clock: &mut Timestamp,
        until: Timestamp,
        arrives: impl Fn(&str, Timestamp) -> bool,
    ) -> (Vec<String>, usize) {
        let (mut arrived, mut tries) = (Vec::new(), 0);
        while let Some(next) = queue.next_try().filter(|next| *next < until) {
            *clock = next.max(*clock);
            let id = queue.to_try(*clock).expect("the next try is due").id.clone();
            tries += 1;
            if arrives(&id, *clock) {
                queue.delivered(&id, *clock);
                arrived.push(id);
            } else {
                queue.failed(&id, "it answered 503", None, *clock);
            }
        }
        *clock = until;
        (arrived, tries)
    }

    #[test]
    fn nothing_is_lost_while_a_receiver_is_down_for_an_hour_and_we_restart() {
        let (mut queue, mut clock) = (HookQueue::default(), start());
        for number in 0..50 {
            queue.add(notice(number, clock), clock);
        }
        let (arrived, tries) = run(&mut queue, &mut clock, start() + HOUR / 2, |_, _| false);
        assert!(arrived.is_empty() && (5..20).contains(&tries), "{tries} tries in half an hour");

        let kept = serde_json::to_vec(&queue.kept).unwrap();
        let mut queue = HookQueue::new(serde_json::from_slice(&kept).unwrap());
        let back = start() + HOUR;
        let (mut arrived, tries) = run(&mut queue, &mut clock, back + HOUR, |_, now| now >= back);
        arrived.sort_unstable();
        arrived.dedup();
        assert_eq!((arrived.len(), tries < 80), (50, true), "{tries} tries");
        assert_eq!((queue.kept.delivered_count, queue.kept.given_up_count), (50, 0));
    }

    #[test]
    fn a_notice_that_is_always_refused_stops_no_other_and_is_given_up() {
        let (mut queue, mut clock) = (HookQueue::default(), start());
        (0..3).for_each(|number| queue.add(notice(number, start()), start()));
        let (arrived, _) = run(&mut queue, &mut clock, start() + 4 * 24 * HOUR, |id, _| id != "msg_0");
        assert_eq!(arrived, ["msg_1", "msg_2"]);
        assert_eq!((queue.kept.given_up_count, queue.next_try()), (1, None));

        queue.try_again(clock);
        let until = clock + HOUR;
        assert_eq!(run(&mut queue, &mut clock, until, |_, _| true).0, ["msg_0"]);
        assert_eq!((queue.next_try(), queue.kept.given_up.len()), (None, 0));
    }

    #[test]
    fn a_try_that_was_asked_for_does_not_wait() {
        let mut queue = HookQueue::default();
        queue.add(notice(1, start()), start());
        (0..9).for_each(|_| _ = queue.failed("msg_1", "no", None, start()));
        assert_eq!(queue.next_try(), Some(start() + Duration::from_secs(600)));
        queue.try_again(start());
        assert!(queue.to_try(start()).is_some());
        queue.failed("msg_1", "429", Some(HOUR), start());
        assert_eq!(queue.next_try(), Some(start() + Duration::from_secs(600)));
    }

    #[test]
    fn what_waits_and_what_was_given_up_is_bounded() {
        let mut queue = HookQueue::default();
        for number in 0..WAITING_MAX as u64 {
            assert!(queue.has_room());
            queue.add(notice(number, start()), start());
        }
        assert!(!queue.has_room());
        let mut queue = HookQueue::default();
        (0..100).for_each(|number| queue.add(notice(number, start()), start() + 100 * HOUR));
        assert_eq!((queue.kept.given_up.len(), queue.kept.given_up_count), (GIVEN_UP_MAX, 100));
    }

    #[test]
    fn a_queue_becomes_long_once() {
        let mut queue = HookQueue::default();
        let told: Vec<bool> =
            [9, 10, 11, 9, 10, 6, 5, 9, 10].map(|waiting| queue.becomes_long(waiting, 10)).to_vec();
        assert_eq!(told, [false, true, false, false, false, false, false, false, true]);
    }
}
