//! The views as the operator's routes see them.

use std::sync::Arc;

use async_trait::async_trait;
use event_store::Position;
use http_edge::{MonitoredViews, ViewTotals};
use projections::{FirstCatchUp, ViewQueries};
use tokio::sync::watch;

/// The number up to which submissions that stand still are counted.
const STANDING_STILL_MAX: usize = 1_000;

/// The views of this process, for [`http_edge::Operations`].
pub struct WatchedQueries(pub Arc<dyn ViewQueries>);

#[async_trait]
impl MonitoredViews for WatchedQueries {
    async fn checkpoint(&self) -> Result<Position, String> {
        self.0.checkpoint().await.map_err(|error| error.to_string())
    }

    fn watch(&self) -> watch::Receiver<Position> {
        self.0.watch()
    }

    fn unshown(&self) -> Option<String> {
        let progress = FirstCatchUp::of(&*self.0).progress()?;
        Some(format!("the views have not caught up with the log yet: {progress}"))
    }

    async fn totals(&self) -> Option<ViewTotals> {
        if self.unshown().is_some() {
            return None;
        }
        let stats = self.0.stats().await.ok()?;
        let submissions =
            stats.submissions.iter().map(|(status, count)| (status.as_str().to_owned(), *count)).collect();
        let set_aside = self.0.set_aside().await.ok()?.count;
        let standing_still = self.0.standstills(STANDING_STILL_MAX).await.ok()?.len() as u64;
        Some(ViewTotals { submissions, pins: stats.pins, set_aside, standing_still })
    }
}
