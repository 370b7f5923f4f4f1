//! The bounds on waiting submissions: by all, by venue and its owners, and by client address, and the lanes of an address with
//! many owners. They are kept in memory only, so no address reaches the log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use domain::SubmissionId;
use domain::submission::CATEGORY;
use event_store::{EventFilter, EventStore, Position, ReadError, SubscriptionItem};
use futures::StreamExt;
use http_edge::{ClientAddress, Problem};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::share::Share;

use self::lanes::AddressLines;

mod lanes;

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
    counted: HashMap<SubmissionId, CountedSubmission>,
    by_share: HashMap<ShareKey, usize>,
    by_address: HashMap<ClientAddress, AddressLines>,
}

/// A submission, as far as it is counted.
#[derive(Debug, Default)]
struct CountedSubmission {
    keys: Vec<ShareKey>,
    /// The client address and the owner, outside venues.
    at: Option<(ClientAddress, String)>,
    lane: Option<String>,
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
    lane: Option<String>,
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
        let place = |lane, is_kept| WaitingPlace { waiting: self.clone(), id, lane, is_kept };
        // A repeated request is counted already, and the first request decides about its place.
        if let Some(first) = accepted.counted.get(&id) {
            return Ok(place(first.lane.clone(), true));
        }
        if length.waiting >= WAITING_MAX || accepted.counted.len() as u64 >= WAITING_MAX {
            return Err(length.refusal(StatusCode::SERVICE_UNAVAILABLE, "The queue is full"));
        }
        let at = match &share {
            Some(Share::Client(client)) => Some((*client, owner.to_owned())),
            Some(Share::Venue(_)) | None => None,
        };
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
        let lane = at
            .as_ref()
            .and_then(|(client, owner)| accepted.by_address.entry(*client).or_default().enter(owner));
        accepted.counted.insert(id, CountedSubmission { keys, at, lane: lane.clone() });
        Ok(place(lane, false))
    }

    /// Forgets a submission that has ended, or was not recorded.
    pub(crate) fn forget(&self, id: SubmissionId) {
        let mut accepted = self.accepted();
        let CountedSubmission { keys, at, .. } = accepted.counted.remove(&id).unwrap_or_default();
        if let Some((client, owner)) = at
            && accepted.by_address.get_mut(&client).is_some_and(|lines| lines.leave(&owner))
        {
            accepted.by_address.remove(&client);
        }
        for key in keys {
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
            Self::Whole(share) => share.whose().to_owned(),
        }
    }
}

impl WaitingPlace {
    /// Returns the lane in which the submission waits, if not in its owner's line.
    pub(crate) fn lane(&self) -> Option<&str> {
        self.lane.as_deref()
    }

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
mod tests;
