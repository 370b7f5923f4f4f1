//! The feed of the live streams: one task asks the views and writes each frame
//! once; every listener is handed the same bytes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event_store::Position;
use projections::{QueryError, ViewQueries};
use tokio::sync::{Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::map::geojson::FeatureCollection;
use crate::sse;

/// Frames that a listener may be behind before it skips some.
const FRAMES_KEPT: usize = 16;

/// A frame names at most so many pins; if more changed, it says to ask anew.
const FRAME_PINS: usize = 500;

/// The pause after a frame: as long as it takes to write it to everybody, and
/// within these bounds.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];
const WRITE_TO_ONE: Duration = Duration::from_micros(50);

/// The pause after the views could not be read.
pub(crate) const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// So many listeners that missed frames are helped at the same time.
const CATCHING_UP: usize = 8;

/// The source of all live streams.
pub(crate) struct LiveFeed {
    pub(crate) frames: broadcast::Sender<LiveFrame>,
    pub(crate) newest: watch::Receiver<Option<LiveFrame>>,
    catching_up: Semaphore,
}

/// What changed up to a position, as messages.
#[derive(Debug, Clone)]
pub(crate) struct LiveFrame {
    pub(crate) upto: Position,
    /// The pins, if any changed, then the totals.
    pub(crate) all: Bytes,
    /// The totals alone: for those that come without a past.
    pub(crate) stats: Bytes,
}

impl LiveFeed {
    /// Starts the task that writes the frames.
    pub(crate) fn start(queries: Arc<dyn ViewQueries>, stopping: CancellationToken) -> Self {
        let (frames, _) = broadcast::channel(FRAMES_KEPT);
        let (latest, newest) = watch::channel(None);
        let source = FrameWriter { queries, frames: frames.clone(), latest };
        tokio::spawn(stopping.run_until_cancelled_owned(source.run()));
        Self { frames, newest, catching_up: Semaphore::new(CATCHING_UP) }
    }

    /// All that changed since `after`, for one listener.
    pub(crate) async fn since(
        &self,
        queries: &dyn ViewQueries,
        after: Position,
    ) -> Result<LiveFrame, QueryError> {
        let _turn = self.catching_up.acquire().await.expect("it is never closed");
        LiveFrame::since(queries, after).await
    }
}

/// What writes the frames.
struct FrameWriter {
    queries: Arc<dyn ViewQueries>,
    frames: broadcast::Sender<LiveFrame>,
    latest: watch::Sender<Option<LiveFrame>>,
}

impl FrameWriter {
    async fn run(self) {
        let mut checkpoint = self.queries.watch();
        let mut seen = *checkpoint.borrow_and_update();
        loop {
            match LiveFrame::since(&*self.queries, seen).await {
                Ok(frame) => {
                    seen = frame.upto;
                    self.latest.send_replace(Some(frame.clone()));
                    // Fails when nobody listens.
                    let _ = self.frames.send(frame);
                    tokio::time::sleep(pause(self.frames.receiver_count())).await;
                    if checkpoint.changed().await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the live streams pause");
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            }
        }
    }
}

impl LiveFrame {
    async fn since(queries: &dyn ViewQueries, after: Position) -> Result<Self, QueryError> {
        // The totals first: what the pins are newer by comes again with the
        // next frame, and nothing is left out.
        let stats = queries.stats().await?;
        let mut pins = queries.pins_changed(after, FRAME_PINS + 1).await?;
        // A listener of another log, or of views that were built anew.
        let strange = after > stats.position;
        let reset = strange || pins.len() > FRAME_PINS;
        let upto = stats.position;
        let mut all = Vec::new();
        if reset {
            pins.clear();
            all.extend(sse::message("reset", Some(upto), &serde_json::json!({})));
        }
        if !pins.is_empty() {
            all.extend(sse::message("pins", Some(upto), &FeatureCollection::of_pins(pins)));
        }
        let stats = sse::message("stats", Some(upto), &stats);
        all.extend_from_slice(&stats);
        Ok(Self { upto, all: all.into(), stats: stats.into() })
    }
}

fn pause(listeners: usize) -> Duration {
    let writing = WRITE_TO_ONE.saturating_mul(u32::try_from(listeners).unwrap_or(u32::MAX));
    writing.clamp(PAUSES[0], PAUSES[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_listen_the_rarer_the_frames() {
        assert_eq!(pause(0), Duration::from_millis(50));
        assert_eq!(pause(10_000), Duration::from_millis(500));
        assert_eq!(pause(usize::MAX), Duration::from_secs(1));
    }
}
