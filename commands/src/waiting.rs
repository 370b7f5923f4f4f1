//! The bounds on waiting submissions: by all, by venue and its owners, and by client address. They are kept in memory only, so no
//! address reaches the log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use domain::SubmissionId;
use domain::submission::CATEGORY;
use event_store::{EventFilter, EventStore, Position, ReadError, SubscriptionItem};
use futures::StreamExt;
use http_edge::Problem;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::share::Share;

/// The number of submissions that may wait.
const WAITING_MAX: u64 = 100_000;

/// The number of submissions of one client address that may wait. At an event, a whole room of people shares one address.
const WAITING_BY_ADDRESS_MAX: usize = 2_000;

/// The number of submissions of one venue that may wait: a hundred participants with a hundred each.
const WAITING_BY_VENUE_MAX: usize = 10_000;

/// The number of submissions of one owner in a venue that may wait, so that nobody takes the place of the room.
const WAITING_BY_OWNER_IN_VENUE_MAX: usize = 100;

/// The shortest and the longest time that a client is asked to wait.
const RETRY_AFTER: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(3600)];

/// The pause before the log is read again after it could not be.
const PAUSE: Duration = Duration::from_secs(1);

/// The length of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueLength {
    /// The number of submissions that wait.
    pub waiting: u64,
    /// The time that the newest of them is expected to wait, in seconds.
    pub expected_wait_s: Option<u64>,
}

/// The submissions that this process accepted and that have not ended. Clones share them.
#[derive(Debug, Clone)]
pub struct WaitingSubmissions {
    length: watch::Receiver<QueueLength>,
    accepted: Arc<Mutex<AcceptedSubmissions>>,
}

#[derive(Debug, Default)]
struct AcceptedSubmissions {
    shares: HashMap<SubmissionId, Vec<ShareKey>>,
    by_share: HashMap<ShareKey, usize>,
}

/// A counter of waiting submissions: of a share, or of an owner within a venue's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum ShareKey {
    Whole(Share),
    Owner(Share, String),
}

/// The place of a submission that is being recorded. It is given back when it is dropped, unless it is kept: the record may
/// fail in any way, and only a recorded submission has an end at which it would be forgotten.
#[derive(Debug)]
#[must_use]
pub(crate) struct WaitingPlace {
    waiting: WaitingSubmissions,
    id: SubmissionId,
    is_kept: bool,
}

impl WaitingSubmissions {
    /// Counts submissions beside a queue of this length. Without a sender that lives, only those of this process count.
    pub fn new(length: watch::Receiver<QueueLength>) -> Self {
        Self { length, accepted: Arc::default() }
    }

    /// Forgets submissions as the log says that they have ended. Never returns.
    pub async fn follow(self, log: Arc<dyn EventStore>) {
        let kinds = ["Passed", "Failed", "GivenUp", "Withdrawn"].map(str::to_owned).to_vec();
        let filter = EventFilter { kinds, ..EventFilter::stream_prefix(format!("{CATEGORY}-")) };
        let mut after = None;
        loop {
            if let Some(from) = &mut after {
                let ended = self.follow_from(&*log, &filter, from).await;
                if matches!(ended, Some(ReadError::BeyondEnd { .. } | ReadError::OtherLog { .. })) {
                    after = None;
                }
            } else {
                after = log.head().await.ok();
            }
            sleep(PAUSE).await;
        }
    }

    /// Forgets submissions until the subscription ends, and returns its error.
    async fn follow_from(
        &self,
        log: &dyn EventStore,
        filter: &EventFilter,
        after: &mut Position,
    ) -> Option<ReadError> {
        let mut deliveries = log.subscribe(*after, filter.clone());
        loop {
            match deliveries.next().await? {
                Err(error) => return Some(error),
                Ok(SubscriptionItem::Event(event)) => {
                    *after = event.position;
                    if let Some(id) = SubmissionId::from_stream(event.stream.as_str()) {
                        self.forget(id);
                    }
                }
                Ok(SubscriptionItem::Checkpoint(_) | SubscriptionItem::CaughtUp(_)) => {}
            }
        }
    }

    /// Counts a submission, before it is recorded. Without a share, only the bound on all counts.
    ///
    /// # Errors
    /// 503 if too many wait, and 429 if too many of this share or of this owner do, with the expected wait.
    pub(crate) fn admit(
        &self,
        id: SubmissionId,
        share: Option<Share>,
        owner: &str,
    ) -> Result<WaitingPlace, Problem> {
        let length = *self.length.borrow();
        let mut accepted = self.accepted();
        let place = |is_kept| WaitingPlace { waiting: self.clone(), id, is_kept };
        // A repeated request is counted already, and the first request decides about its place.
        if accepted.shares.contains_key(&id) {
            return Ok(place(true));
        }
        if length.waiting >= WAITING_MAX || accepted.shares.len() as u64 >= WAITING_MAX {
            return Err(length.refusal(StatusCode::SERVICE_UNAVAILABLE, "The queue is full"));
        }
        let keys = share.map(|share| ShareKey::of(share, owner)).unwrap_or_default();
        for key in &keys {
            let waiting = accepted.by_share.get(key).copied().unwrap_or_default();
            if waiting >= key.most() {
                let why = format!("{waiting} submissions {} wait already", key.whose());
                return Err(length.refusal(StatusCode::TOO_MANY_REQUESTS, &why));
            }
        }
        for key in keys.iter().cloned() {
            *accepted.by_share.entry(key).or_default() += 1;
        }
        accepted.shares.insert(id, keys);
        Ok(place(false))
    }

    /// Forgets a submission that has ended, or was not recorded.
    pub(crate) fn forget(&self, id: SubmissionId) {
        let mut accepted = self.accepted();
        for key in accepted.shares.remove(&id).unwrap_or_default() {
            if let Some(waiting) = accepted.by_share.get_mut(&key) {
                *waiting -= 1;
                if *waiting == 0 {
                    accepted.by_share.remove(&key);
                }
            }
        }
    }

    fn accepted(&self) -> MutexGuard<'_, AcceptedSubmissions> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ShareKey {
    /// Returns the counters that a submission counts in. Outside a venue nobody has to be the owner to name it, so only the address counts.
    fn of(share: Share, owner: &str) -> Vec<Self> {
        match share {
            Share::Venue(_) => vec![Self::Owner(share.clone(), owner.to_owned()), Self::Whole(share)],
            Share::Client(_) => vec![Self::Whole(share)],
        }
    }

    fn most(&self) -> usize {
        match self {
            Self::Owner(..) => WAITING_BY_OWNER_IN_VENUE_MAX,
            Self::Whole(Share::Venue(_)) => WAITING_BY_VENUE_MAX,
            Self::Whole(Share::Client(_)) => WAITING_BY_ADDRESS_MAX,
        }
    }

    fn whose(&self) -> String {
        match self {
            Self::Owner(_, owner) => format!("of {owner} in your venue"),
            Self::Whole(Share::Venue(_)) => "from your venue".to_owned(),
            Self::Whole(Share::Client(_)) => "from your address".to_owned(),
        }
    }
}

impl WaitingPlace {
    /// Leaves the submission counted until it ends.
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for WaitingPlace {
    fn drop(&mut self) {
        if !self.is_kept {
            self.waiting.forget(self.id);
        }
    }
}

impl Default for WaitingSubmissions {
    fn default() -> Self {
        Self::new(watch::channel(QueueLength::default()).1)
    }
}

impl QueueLength {
    fn refusal(self, status: StatusCode, why: &str) -> Problem {
        let expected = self.expected_wait_s.map_or(RETRY_AFTER[0], Duration::from_secs);
        let wait = match self.expected_wait_s {
            Some(seconds) => format!("; the wait is about {} min", seconds.div_ceil(60)),
            None => String::new(),
        };
        let detail = format!("{why}{wait}. Nothing was recorded; send the same request again later.");
        Problem::new(status, detail).retry_after(expected.clamp(RETRY_AFTER[0], RETRY_AFTER[1]))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use domain::submission::SCHEMA;
    use event_store::{Append, EventMetadata, ExpectedRevision, NewEvent, Read, SqliteStore, StreamName};
    use uuid::Uuid;

    use super::*;

    const ADA: &str = "docker.io/ada";

    fn client(last: u8) -> Option<Share> {
        Some(Share::Client(IpAddr::from([203, 0, 113, last]).into()))
    }

    fn venue() -> Option<Share> {
        Some(Share::Venue("berlin".into()))
    }

    fn id(number: u128) -> SubmissionId {
        SubmissionId(Uuid::from_u128(number))
    }

    fn counts_nothing(waiting: &WaitingSubmissions) -> bool {
        let accepted = waiting.accepted();
        accepted.shares.is_empty() && accepted.by_share.is_empty()
    }

    #[test]
    fn a_client_fills_its_own_share_and_no_more() {
        let waiting = WaitingSubmissions::default();
        for number in 0..WAITING_BY_ADDRESS_MAX as u128 {
            waiting.admit(id(number), client(1), ADA).unwrap().keep();
            waiting.admit(id(number), client(1), ADA).unwrap().keep();
        }
        let refused = waiting.admit(id(1_000_000), client(1), ADA).unwrap_err();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        waiting.admit(id(1_000_000), client(2), ADA).unwrap().keep();
        waiting.forget(id(7));
        waiting.forget(id(7));
        waiting.admit(id(1_000_001), client(1), ADA).unwrap().keep();
        assert!(waiting.admit(id(1_000_002), client(1), ADA).is_err());
    }

    #[test]
    fn one_participant_cannot_fill_the_share_of_a_venue() {
        let waiting = WaitingSubmissions::default();
        let mut numbers = 0..;
        let mut admit = |owner: &str| {
            let admitted = waiting.admit(id(numbers.next().unwrap()), venue(), owner);
            admitted.map(WaitingPlace::keep).map_err(|problem| problem.detail().to_owned())
        };
        for _ in 0..WAITING_BY_OWNER_IN_VENUE_MAX {
            admit("laptop").unwrap();
        }
        assert!(admit("laptop").unwrap_err().contains("100 submissions of laptop in your venue"));
        // A full room: each of a hundred has as much.
        for owner in 1..100 {
            for _ in 0..WAITING_BY_OWNER_IN_VENUE_MAX {
                admit(&format!("owner{owner}")).unwrap();
            }
        }
        assert!(admit("late").unwrap_err().contains("10000 submissions from your venue"));
        waiting.admit(id(1_000_000), client(1), "laptop").unwrap().keep();
        (0..10_100).for_each(|number| waiting.forget(id(number)));
        waiting.forget(id(1_000_000));
        assert!(counts_nothing(&waiting));
    }

    #[test]
    fn nothing_is_kept_of_what_has_ended() {
        let waiting = WaitingSubmissions::default();
        waiting.admit(id(1), client(1), ADA).unwrap().keep();
        waiting.forget(id(1));
        assert!(counts_nothing(&waiting));
    }

    #[test]
    fn a_place_that_is_not_kept_is_given_back() {
        let waiting = WaitingSubmissions::default();
        let first = waiting.admit(id(1), client(1), ADA).unwrap();
        // A repeated request does not take the place of the first away.
        drop(waiting.admit(id(1), client(1), ADA).unwrap());
        assert!(!counts_nothing(&waiting));
        drop(first);
        assert!(counts_nothing(&waiting));
        drop(waiting.admit(id(2), None, ADA).unwrap());
        assert!(counts_nothing(&waiting));
    }

    #[test]
    fn without_clients_only_the_common_bound_counts() {
        let waiting = WaitingSubmissions::default();
        for number in 0..=WAITING_BY_ADDRESS_MAX as u128 {
            waiting.admit(id(number), None, ADA).unwrap().keep();
        }
        for number in 0..u128::from(WAITING_MAX) {
            waiting.admit(id(number), None, ADA).unwrap().keep();
        }
        let refused = waiting.admit(id(1_000_000), None, ADA).unwrap_err();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn a_submission_is_forgotten_when_the_log_says_that_it_ended() {
        let directory = tempfile::tempdir().unwrap();
        let log = SqliteStore::open(directory.path().join("log.sqlite")).unwrap();
        let waiting = WaitingSubmissions::default();
        for number in [1, 2] {
            waiting.admit(id(number), client(1), ADA).unwrap().keep();
        }
        let mut from = log.head().await.unwrap();
        let withdrawn = NewEvent {
            id: Uuid::from_u128(7),
            kind: "Withdrawn".into(),
            data: "{}".into(),
            metadata: EventMetadata {
                schema: SCHEMA,
                correlation_id: Uuid::from_u128(1),
                causation_id: Uuid::from_u128(7),
                actor: "participant".into(),
                informs: false,
            },
        };
        let stream = StreamName::of(CATEGORY, id(1).0);
        log.append(&stream, ExpectedRevision::NoStream, vec![withdrawn]).await.unwrap();
        let filter = EventFilter::default();
        let following = waiting.follow_from(&log, &filter, &mut from);
        let forgotten = async {
            while waiting.accepted().shares.contains_key(&id(1)) {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! { _ = following => {}, () = forgotten => {} }
        assert_eq!(waiting.accepted().shares.keys().collect::<Vec<_>>(), [&id(2)]);
    }

    #[test]
    fn a_full_queue_tells_the_expected_wait() {
        let length = QueueLength { waiting: WAITING_MAX - 1, expected_wait_s: Some(90) };
        let (sender, receiver) = watch::channel(length);
        let waiting = WaitingSubmissions::new(receiver);
        waiting.admit(id(1), client(1), ADA).unwrap().keep();
        sender.send_replace(QueueLength { waiting: WAITING_MAX, ..length });
        let refused = waiting.admit(id(2), client(2), ADA).unwrap_err();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.detail().contains("about 2 min"), "{}", refused.detail());
    }
}
