//! The views as they were: folded anew from the log, and kept for a while,
//! for who asks about a moment usually asks again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use event_store::Read;
use http_edge::Problem;
use jiff::{SignedDuration, Timestamp};
use projections::{HistoryPoint, MemoryViews, ViewQueries};
use tokio::sync::{Semaphore, watch};

/// So many moments are kept or being folded. Each holds all submissions of its time.
const KEPT: usize = 3;

/// How long a request waits for a fold, which goes on without it.
const PATIENCE: Duration = Duration::from_secs(8);

/// A younger moment is not kept: the log may still take in what belongs to it.
const SETTLED: SignedDuration = SignedDuration::from_secs(10);

/// The views at moments of the past.
pub(crate) struct PastViews {
    log: Arc<dyn Read>,
    /// The least recently asked for first.
    kept: Mutex<Vec<FoldedMoment>>,
    /// One fold at a time: the present comes first.
    turn: Arc<Semaphore>,
}

/// The views at one moment.
struct FoldedMoment {
    time: Timestamp,
    /// Whether the log had all of it when it was folded.
    settled: bool,
    views: Folding,
}

/// `None` until it is done.
type Folding = watch::Receiver<Option<Result<Arc<MemoryViews>, String>>>;

impl PastViews {
    pub(crate) fn new(log: Arc<dyn Read>) -> Self {
        Self { log, kept: Mutex::default(), turn: Arc::new(Semaphore::new(1)) }
    }

    /// The views with everything recorded up to `time`.
    pub(crate) async fn at(&self, time: Timestamp) -> Result<Arc<dyn ViewQueries>, Problem> {
        let mut folding = self.folding(time)?;
        let done = tokio::time::timeout(PATIENCE, folding.wait_for(Option::is_some)).await;
        let again = "The log is being read up to that moment; ask again in a few seconds.";
        // The task that folds ends without a word only when the process does.
        let Ok(Ok(done)) = done else { return Err(Problem::unavailable(again)) };
        match done.clone() {
            Some(Ok(views)) => Ok(views),
            Some(Err(why)) => {
                tracing::warn!(why, %time, "a moment of the past could not be folded");
                Err(Problem::unavailable("The log cannot be read up to that moment; try again later."))
            }
            None => Err(Problem::unavailable(again)),
        }
    }

    fn folding(&self, time: Timestamp) -> Result<Folding, Problem> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|past| match &*past.views.borrow() {
            Some(Ok(_)) => past.settled,
            Some(Err(_)) => false,
            None => true,
        });
        if let Some(found) = kept.iter().position(|past| past.time == time) {
            let found = kept.remove(found);
            let views = found.views.clone();
            kept.push(found);
            return Ok(views);
        }
        if kept.len() >= KEPT {
            let Some(idle) = kept.iter().position(|past| past.views.borrow().is_some()) else {
                let why = "Too many moments are asked for at once; ask again in a few seconds.";
                return Err(Problem::unavailable(why));
            };
            kept.remove(idle);
        }
        let views = self.fold(time);
        let settled = Timestamp::now().duration_since(time) > SETTLED;
        kept.push(FoldedMoment { time, settled, views: views.clone() });
        Ok(views)
    }

    fn fold(&self, time: Timestamp) -> Folding {
        let (done, folding) = watch::channel(None);
        let (log, turn) = (Arc::clone(&self.log), Arc::clone(&self.turn));
        tokio::spawn(async move {
            let _turn = turn.acquire_owned().await.expect("it is never closed");
            let views = MemoryViews::at(&*log, HistoryPoint::Time(time)).await;
            done.send_replace(Some(views.map(Arc::new).map_err(|error| error.to_string())));
        });
        folding
    }
}
