//! The views at moments of the past: folded from the log, and kept for a while, because a client that asks about a
//! moment usually asks about it again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use event_store::Read;
use http_edge::Problem;
use jiff::{SignedDuration, Timestamp};
use projections::{HistoryPoint, MemoryViews, ViewQueries};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep};

/// The number of moments that are kept or being folded. Each holds all pins of its time in memory.
const MOMENTS_MAX: usize = 3;

/// The time for which a moment is kept after somebody asked about it.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// The time that a request waits for a fold. The fold goes on without it.
const FOLD_PATIENCE: Duration = Duration::from_secs(8);

/// The age from which on a moment's views are kept. Events of a younger moment may still be appended.
const SETTLED_AGE: SignedDuration = SignedDuration::from_secs(10);

/// The views at moments of the past.
pub(crate) struct PastViews {
    log: Arc<dyn Read>,
    /// The moment that was asked for least recently is the first.
    moments: Arc<Mutex<Vec<FoldedMoment>>>,
    /// Admits one fold at a time, because readers of the present come first.
    fold_turn: Arc<Semaphore>,
}

/// The views at one moment.
struct FoldedMoment {
    time: Timestamp,
    /// The time at which somebody asked about it last.
    asked: Instant,
    /// True if the log had all events of the moment when the fold began.
    settled: bool,
    views: FoldResult,
}

/// The result of a fold; `None` until the fold has ended.
type FoldResult = watch::Receiver<Option<Result<Arc<dyn ViewQueries>, String>>>;

impl PastViews {
    pub(crate) fn new(log: Arc<dyn Read>) -> Self {
        Self { log, moments: Arc::default(), fold_turn: Arc::new(Semaphore::new(1)) }
    }

    /// Returns the views with every event recorded up to `time`, or a 503 if folding them takes too long.
    pub(crate) async fn at(&self, time: Timestamp) -> Result<Arc<dyn ViewQueries>, Problem> {
        let mut result = self.find_or_fold(time)?;
        let ended = tokio::time::timeout(FOLD_PATIENCE, result.wait_for(Option::is_some)).await;
        let still_folding =
            || Problem::unavailable("The log is being read up to that moment; ask again in a few seconds.");
        // The sender is dropped without a result only when the process ends.
        let Ok(Ok(result)) = ended else { return Err(still_folding()) };
        match result.clone() {
            Some(Ok(views)) => Ok(views),
            Some(Err(error)) => {
                tracing::warn!(error, "the views at {time} cannot be folded from the log");
                Err(Problem::unavailable("The log cannot be read up to that moment; try again later."))
            }
            None => Err(still_folding()),
        }
    }

    fn find_or_fold(&self, time: Timestamp) -> Result<FoldResult, Problem> {
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        moments.retain(|moment| match &*moment.views.borrow() {
            Some(Ok(_)) => moment.settled,
            Some(Err(_)) => false,
            None => true,
        });
        if let Some(index) = moments.iter().position(|moment| moment.time == time) {
            let mut moment = moments.remove(index);
            moment.asked = Instant::now();
            let views = moment.views.clone();
            moments.push(moment);
            return Ok(views);
        }
        if moments.len() >= MOMENTS_MAX {
            let Some(index) = moments.iter().position(|moment| moment.views.borrow().is_some()) else {
                let detail = "Clients ask about too many moments of the past; ask again in a few seconds.";
                return Err(Problem::unavailable(detail));
            };
            moments.remove(index);
        }
        let views = self.start_fold(time);
        let settled = Timestamp::now().duration_since(time) > SETTLED_AGE;
        moments.push(FoldedMoment { time, asked: Instant::now(), settled, views: views.clone() });
        Ok(views)
    }

    fn start_fold(&self, time: Timestamp) -> FoldResult {
        let (sender, result) = watch::channel(None);
        let (log, turn, moments) =
            (Arc::clone(&self.log), Arc::clone(&self.fold_turn), Arc::clone(&self.moments));
        tokio::spawn(async move {
            let fold_turn = turn.acquire_owned().await.expect("the semaphore is never closed");
            let views = MemoryViews::map_at(&*log, HistoryPoint::Time(time)).await;
            drop(fold_turn);
            sender.send_replace(Some(views.map_err(|error| error.to_string())));
            loop {
                sleep(KEPT_FOR).await;
                let mut moments = moments.lock().unwrap_or_else(PoisonError::into_inner);
                moments.retain(|moment| moment.views.borrow().is_none() || moment.asked.elapsed() < KEPT_FOR);
                if moments.iter().all(|moment| moment.time != time) {
                    return;
                }
            }
        });
        result
    }
}
