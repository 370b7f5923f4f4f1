//! The feed of the map's live streams: one task reads the views and writes each frame once, and every listener gets the
//! same bytes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event_store::Position;
use projections::{QueryError, ViewQueries};
use tokio::sync::{Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::map::geojson::FeatureCollection;
use crate::sse::{self, MessageId};

/// The pause after the views could not be read.
pub(crate) const READ_PAUSE: Duration = Duration::from_secs(1);

/// The number of frames that a listener may be behind before it loses some.
const FRAMES_KEPT: usize = 16;

/// The number of pins that a frame can list. If more changed, the frame tells the listener to read the map again.
const FRAME_PINS_MAX: usize = 500;

/// The bounds of the pause after a frame. Within them, the pause is as long as it takes to send the frame to every
/// listener.
const FRAME_PAUSE_MIN: Duration = Duration::from_millis(50);
const FRAME_PAUSE_MAX: Duration = Duration::from_secs(1);

/// The time that it takes to send a frame to one listener.
const SEND_TIME: Duration = Duration::from_micros(50);

/// The number of listeners that lost frames and read the views at the same time.
const CATCH_UPS_MAX: usize = 8;

/// The source of all live streams of the map.
pub(crate) struct LiveFeed {
    frames: broadcast::Sender<LiveFrame>,
    newest: watch::Receiver<Option<LiveFrame>>,
    catch_ups: Semaphore,
}

/// The changes up to a position, as messages.
#[derive(Debug, Clone)]
pub(crate) struct LiveFrame {
    pub(crate) position: Position,
    /// The pins, if any changed, and then the totals.
    pub(crate) changes: Bytes,
    /// The totals alone, for a listener that begins without `Last-Event-ID`.
    pub(crate) stats: Bytes,
}

/// The task that writes the frames.
struct FrameWriter {
    queries: Arc<dyn ViewQueries>,
    frames: broadcast::Sender<LiveFrame>,
    newest: watch::Sender<Option<LiveFrame>>,
}

impl LiveFeed {
    /// Starts the task that writes the frames.
    pub(crate) fn start(queries: Arc<dyn ViewQueries>, stopping: CancellationToken) -> Self {
        let (frames, _) = broadcast::channel(FRAMES_KEPT);
        let (newest_sender, newest) = watch::channel(None);
        let writer = FrameWriter { queries, frames: frames.clone(), newest: newest_sender };
        tokio::spawn(stopping.run_until_cancelled_owned(writer.run()));
        Self { frames, newest, catch_ups: Semaphore::new(CATCH_UPS_MAX) }
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<LiveFrame> {
        self.frames.subscribe()
    }

    /// Waits until the views could be read and returns the newest frame, or `None` if the process is stopping.
    pub(crate) async fn newest_frame(&self) -> Option<LiveFrame> {
        let mut newest = self.newest.clone();
        let frame = newest.wait_for(Option::is_some).await.ok()?;
        frame.clone()
    }

    /// Returns a frame of everything that changed since `after`, for one listener.
    pub(crate) async fn changes_since(
        &self,
        queries: &dyn ViewQueries,
        after: Position,
    ) -> Result<LiveFrame, QueryError> {
        let _turn = self.catch_ups.acquire().await.expect("the semaphore is never closed");
        LiveFrame::read(queries, after).await
    }
}

impl FrameWriter {
    async fn run(self) {
        let mut checkpoint = self.queries.watch();
        let mut position = *checkpoint.borrow_and_update();
        loop {
            match LiveFrame::read(&*self.queries, position).await {
                Ok(frame) => {
                    position = frame.position;
                    self.newest.send_replace(Some(frame.clone()));
                    // Sending fails if there are no listeners, and then there is nothing to do.
                    let _ = self.frames.send(frame);
                    tokio::time::sleep(frame_pause(self.frames.receiver_count())).await;
                    if checkpoint.changed().await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(
                        %error,
                        "the live streams of the map pause after position {position}: the views cannot be read"
                    );
                    tokio::time::sleep(READ_PAUSE).await;
                }
            }
        }
    }
}

impl LiveFrame {
    /// Reads the changes after `after` from the views.
    async fn read(queries: &dyn ViewQueries, after: Position) -> Result<Self, QueryError> {
        // This place is read first, and becomes the frame's. Pins that change in between come again with the next frame, and
        // none is left out.
        let place = queries.resume_point().await?;
        let stats = queries.stats().await?;
        let mut pins = queries.pins_changed(after, FRAME_PINS_MAX + 1).await?;
        // A position ahead of the views comes from another log, or from views that were rebuilt since.
        let is_ahead = after > stats.position;
        let position = Some(MessageId { position: place.position, mark: place.event.map(event_mark) });
        let mut changes = Vec::new();
        if is_ahead || pins.len() > FRAME_PINS_MAX {
            pins.clear();
            changes.extend(sse::message("reset", position, &serde_json::json!({})));
        }
        if !pins.is_empty() {
            changes.extend(sse::message("pins", position, &FeatureCollection::from_pins(pins)));
        }
        let stats = sse::message("stats", position, &stats);
        changes.extend_from_slice(&stats);
        Ok(Self { position: place.position, changes: changes.into(), stats: stats.into() })
    }
}

/// Returns the mark by which an event is recognised.
pub(crate) fn event_mark(id: Uuid) -> u32 {
    id.as_fields().0
}

fn frame_pause(listeners: usize) -> Duration {
    let sending = SEND_TIME.saturating_mul(u32::try_from(listeners).unwrap_or(u32::MAX));
    sending.clamp(FRAME_PAUSE_MIN, FRAME_PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_listeners_make_the_pause_between_frames_longer() {
        assert_eq!(frame_pause(0), Duration::from_millis(50));
        assert_eq!(frame_pause(10_000), Duration::from_millis(500));
        assert_eq!(frame_pause(usize::MAX), Duration::from_secs(1));
    }
}
