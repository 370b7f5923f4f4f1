//! `GET /api/v1/live`: the totals and the pins, as they change.
//!
//! One task asks the views and writes each frame once; every listener is
//! handed the same bytes. A listener that is slow loses frames, not changes:
//! when it reads again it is given all that changed since what it saw last.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use event_store::Position;
use futures::Stream;
use projections::{QueryError, ViewQueries};
use tokio::sync::{Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::geojson::FeatureCollection;
use crate::parameters;
use crate::problem::Problem;
use crate::sse::{self, Peer};

/// Frames that a listener may be behind before it skips some.
const FRAMES_KEPT: usize = 16;

/// A frame names at most so many pins; if more changed, it says to ask anew.
const FRAME_PINS: usize = 500;

/// The pause after a frame: as long as it takes to write it to everybody, and
/// within these bounds.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];
const WRITE_TO_ONE: Duration = Duration::from_micros(50);

/// The pause after the views could not be read.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// So many listeners that missed frames are helped at the same time.
const CATCHING_UP: usize = 8;

/// The source of all live streams.
pub(crate) struct Live {
    frames: broadcast::Sender<Frame>,
    newest: watch::Receiver<Option<Frame>>,
    catching_up: Semaphore,
}

/// What changed up to a position, as messages.
#[derive(Debug, Clone)]
struct Frame {
    upto: Position,
    /// The pins, if any changed, then the totals.
    all: Bytes,
    /// The totals alone: for those that come without a past.
    stats: Bytes,
}

/// The totals and the pins, live.
///
/// Server-sent events: `stats` (as `GET /api/v1/stats`), once at the beginning
/// and after each change; `pins` (a GeoJSON `FeatureCollection` of those that
/// changed; one whose `passes` are 0 is gone); and `reset` when too many
/// changed to be listed: ask for the map anew. A message's id is a position,
/// and `Last-Event-ID` continues after it. A change may be told twice, and none
/// is left out.
#[utoipa::path(
    get,
    path = "/api/v1/live",
    tag = "map",
    params(("Last-Event-ID" = Option<u64>, Header, description = "Continue after this position")),
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn live(
    State(app): State<Arc<App>>,
    peer: Peer,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = parameters::last_event_id(&headers)?;
    let place = app.readers.admit(peer)?;
    let stopping = app.stopping.clone();
    Ok(sse::response(listen(app, after), place, stopping))
}

impl Live {
    /// Starts the task that writes the frames.
    pub(crate) fn start(queries: Arc<dyn ViewQueries>, stopping: CancellationToken) -> Self {
        let (frames, _) = broadcast::channel(FRAMES_KEPT);
        let (latest, newest) = watch::channel(None);
        let source = Source { queries, frames: frames.clone(), latest };
        tokio::spawn(stopping.run_until_cancelled_owned(source.run()));
        Self { frames, newest, catching_up: Semaphore::new(CATCHING_UP) }
    }

    /// All that changed since `after`, for one listener.
    async fn since(&self, queries: &dyn ViewQueries, after: Position) -> Result<Frame, QueryError> {
        let _turn = self.catching_up.acquire().await.expect("it is never closed");
        Frame::since(queries, after).await
    }
}

/// What writes the frames.
struct Source {
    queries: Arc<dyn ViewQueries>,
    frames: broadcast::Sender<Frame>,
    latest: watch::Sender<Option<Frame>>,
}

impl Source {
    async fn run(self) {
        let mut checkpoint = self.queries.watch();
        let mut seen = *checkpoint.borrow_and_update();
        loop {
            match Frame::since(&*self.queries, seen).await {
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

impl Frame {
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

fn listen(app: Arc<App>, after: Option<Position>) -> impl Stream<Item = Bytes> {
    async_stream::stream! {
        let mut frames = app.live.frames.subscribe();
        let mut newest = app.live.newest.clone();
        let mut seen = match after {
            Some(after) => Seen { upto: after, all: false },
            None => {
                // The first frame is there unless the views cannot be read.
                let Ok(first) = newest.wait_for(Option::is_some).await.map(|first| first.clone()) else { return };
                let Some(first) = first else { return };
                yield first.stats;
                Seen { upto: first.upto, all: true }
            }
        };
        loop {
            if !seen.all {
                match app.live.since(&*app.queries, seen.upto).await {
                    Ok(frame) => {
                        seen = Seen { upto: frame.upto, all: true };
                        yield frame.all;
                    }
                    Err(_) => {
                        tokio::time::sleep(AFTER_FAILURE).await;
                        continue;
                    }
                }
            }
            match frames.recv().await {
                Ok(frame) if frame.upto > seen.upto => {
                    seen.upto = frame.upto;
                    yield frame.all;
                }
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => seen.all = false,
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }
}

/// What a listener has seen: everything up to a position, and whether the
/// frames go on from there.
struct Seen {
    upto: Position,
    all: bool,
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
