//! The length of the queue, as the views show it. The write API refuses submissions when it is too long.

use std::sync::Arc;
use std::time::Duration;

use commands::QueueLength;
use projections::view::SubmissionStatus;
use projections::{FirstCatchUp, QueryError, ViewQueries};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The time between two reads of the views.
const PERIOD: Duration = Duration::from_secs(2);

/// Watches the length of the queue until `stopping` is cancelled, from the moment at which the views have caught up. If they
/// cannot be read, the last length stays.
pub(crate) fn watch_length(
    views: Arc<dyn ViewQueries>,
    stopping: CancellationToken,
) -> watch::Receiver<QueueLength> {
    let (sender, length) = watch::channel(QueueLength::default());
    tokio::spawn(stopping.run_until_cancelled_owned(async move {
        FirstCatchUp::of(&*views).wait().await;
        loop {
            if let Ok(now) = length_of(&*views).await {
                sender.send_replace(now);
            }
            sleep(PERIOD).await;
        }
    }));
    length
}

async fn length_of(views: &dyn ViewQueries) -> Result<QueueLength, QueryError> {
    let stats = views.stats().await?;
    let waiting = stats.submissions.get(&SubmissionStatus::Submitted).copied().unwrap_or_default();
    let newest = views.unfinished(None, 1).await?;
    let place = match newest.first() {
        Some(view) => views.queue_place(view.id).await?,
        None => None,
    };
    Ok(QueueLength { waiting, expected_wait_s: place.and_then(|place| place.expected_wait_s) })
}
