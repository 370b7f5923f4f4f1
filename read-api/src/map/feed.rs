//! The feed of the map's live streams: one task reads the views and writes each frame once, and every listener gets the
//! same bytes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use event_store::Position;
use projections::view::StatsView;
use projections::{FirstCatchUp, QueryError, ViewQueries};
use tokio::sync::{Notify, Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::map::geojson::FeatureCollection;
use crate::map::venues::{VenueMaps, pins_changed};
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

/// The shortest pause after a frame of a venue. An event of one venue makes the tasks of all others look.
const VENUE_PAUSE_MIN: Duration = Duration::from_millis(250);

/// The number of looks that all venues together take in a second. An event of any venue wakes the tasks of all that have
/// listeners, and in MongoDB a look is half a dozen queries.
const VENUE_LOOKS_A_SECOND: u32 = 100;

/// The time that it takes to send a frame to one listener.
const SEND_TIME: Duration = Duration::from_micros(50);

/// The number of listeners that lost frames and read the views at the same time.
const CATCH_UPS_MAX: usize = 8;

/// The feed of the whole map, and one for each venue.
pub(crate) struct LiveFeeds {
    all: LiveFeed,
    venues: BTreeMap<String, LiveFeed>,
}

/// The source of the live streams of the map, or of one venue.
pub(crate) struct LiveFeed {
    source: FrameSource,
    frames: broadcast::Sender<LiveFrame>,
    /// Wakes the task that writes the frames of a venue, which rests while nobody listens.
    listened: Arc<Notify>,
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

/// The views from which frames are read.
#[derive(Clone)]
struct FrameSource {
    queries: Arc<dyn ViewQueries>,
    venues: Arc<VenueMaps>,
    /// `None` for the whole map.
    venue: Option<String>,
}

/// The task that writes the frames.
struct FrameWriter {
    source: FrameSource,
    frames: broadcast::Sender<LiveFrame>,
    listened: Arc<Notify>,
    newest: watch::Sender<Option<LiveFrame>>,
    /// The number of venues with listeners.
    awake: Arc<AtomicU32>,
}

impl LiveFeeds {
    /// Starts the tasks that write the frames.
    pub(crate) fn start(
        queries: &Arc<dyn ViewQueries>,
        venues: &Arc<VenueMaps>,
        stopping: &CancellationToken,
    ) -> Self {
        let awake = Arc::new(AtomicU32::new(0));
        let feed = |venue| {
            let source = FrameSource { queries: Arc::clone(queries), venues: Arc::clone(venues), venue };
            LiveFeed::start(source, Arc::clone(&awake), stopping.clone())
        };
        let of_venues = venues.names().map(|venue| (venue.clone(), feed(Some(venue.clone()))));
        Self { all: feed(None), venues: of_venues.collect() }
    }

    /// Returns the feed of a venue, or of the whole map.
    pub(crate) fn of(&self, venue: Option<&str>) -> &LiveFeed {
        venue.and_then(|venue| self.venues.get(venue)).unwrap_or(&self.all)
    }
}

impl LiveFeed {
    fn start(source: FrameSource, awake: Arc<AtomicU32>, stopping: CancellationToken) -> Self {
        let (frames, _) = broadcast::channel(FRAMES_KEPT);
        let (newest_sender, newest) = watch::channel(None);
        let listened = Arc::new(Notify::new());
        let writer = FrameWriter {
            source: source.clone(),
            frames: frames.clone(),
            listened: Arc::clone(&listened),
            newest: newest_sender,
            awake,
        };
        tokio::spawn(stopping.run_until_cancelled_owned(writer.run()));
        Self { source, frames, listened, newest, catch_ups: Semaphore::new(CATCH_UPS_MAX) }
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<LiveFrame> {
        let frames = self.frames.subscribe();
        self.listened.notify_one();
        frames
    }

    /// Waits until the views could be read and returns the newest frame, or `None` if the process is stopping.
    pub(crate) async fn newest_frame(&self) -> Option<LiveFrame> {
        let mut newest = self.newest.clone();
        let frame = newest.wait_for(Option::is_some).await.ok()?;
        frame.clone()
    }

    /// Returns a frame of everything that changed since `after`, for one listener.
    pub(crate) async fn changes_since(&self, after: Position) -> Result<LiveFrame, QueryError> {
        let _turn = self.catch_ups.acquire().await.expect("the semaphore is never closed");
        Ok(self.source.read(after).await?.0)
    }
}

impl FrameWriter {
    fn pause(&self) -> Duration {
        let pause = frame_pause(self.frames.receiver_count());
        match self.source.venue {
            Some(_) => pause.max(venue_pause(self.awake.load(Ordering::Relaxed))),
            None => pause,
        }
    }

    /// Waits until somebody listens to the venue. Meanwhile it is not counted among those that are awake.
    async fn rest(&self) {
        self.awake.fetch_sub(1, Ordering::Relaxed);
        self.listened.notified().await;
        self.awake.fetch_add(1, Ordering::Relaxed);
    }

    async fn run(self) {
        FirstCatchUp::of(&*self.source.queries).wait().await;
        let mut checkpoint = self.source.queries.watch();
        let mut position = *checkpoint.borrow_and_update();
        let mut sent = StatsView::default();
        self.awake.fetch_add(u32::from(self.source.venue.is_some()), Ordering::Relaxed);
        loop {
            if self.source.venue.is_some() && self.frames.receiver_count() == 0 {
                // Who comes next begins with a new frame.
                self.newest.send_replace(None);
                // Whoever came meanwhile may have the old one, and needs the changes after it.
                if self.frames.receiver_count() == 0 {
                    self.rest().await;
                    position = *checkpoint.borrow_and_update();
                    sent = StatsView::default();
                    continue;
                }
            }
            match self.source.read(position).await {
                Ok((frame, stats)) => {
                    position = frame.position;
                    self.newest.send_replace(Some(frame.clone()));
                    // Most events are of other venues.
                    let is_news = self.source.venue.is_none() || frame.has_pins() || stats != sent;
                    if is_news {
                        sent = stats;
                        // Sending fails if there are no listeners, and then there is nothing to do.
                        let _ = self.frames.send(frame);
                    }
                    tokio::time::sleep(self.pause()).await;
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
    fn has_pins(&self) -> bool {
        self.changes.len() > self.stats.len()
    }
}

impl FrameSource {
    /// Reads the changes after `after` from the views. Returns the totals too, as of no position.
    async fn read(&self, after: Position) -> Result<(LiveFrame, StatsView), QueryError> {
        let (queries, venue) = (&*self.queries, self.venue.as_deref());
        // This place is read first, and becomes the frame's. Pins that change in between come again with the next frame, and
        // none is left out.
        let place = queries.resume_point().await?;
        let totals = self.venues.stats(queries, venue).await?;
        let mut pins = pins_changed(queries, venue, after, FRAME_PINS_MAX + 1).await?;
        // A position ahead of the views comes from another log, or from views that were rebuilt since.
        let is_ahead = after > totals.position;
        let position = Some(MessageId { position: place.position, mark: place.event.map(event_mark) });
        let mut changes = Vec::new();
        if is_ahead || pins.len() > FRAME_PINS_MAX {
            pins.clear();
            changes.extend(sse::message("reset", position, &serde_json::json!({})));
        }
        if !pins.is_empty() {
            changes.extend(sse::message("pins", position, &FeatureCollection::from_pins(pins)));
        }
        let stats = sse::message("stats", position, &totals);
        changes.extend_from_slice(&stats);
        let frame = LiveFrame { position: place.position, changes: changes.into(), stats: stats.into() };
        Ok((frame, StatsView { position: Position::START, ..totals }))
    }
}

/// Returns the mark by which an event is recognised.
pub(crate) fn event_mark(id: Uuid) -> u32 {
    id.as_fields().0
}

/// Returns the pause between two looks of a venue, if so many venues have listeners.
fn venue_pause(venues: u32) -> Duration {
    VENUE_PAUSE_MIN.max(Duration::from_secs(1) * venues / VENUE_LOOKS_A_SECOND)
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

    #[test]
    fn all_venues_together_look_at_the_views_a_hundred_times_a_second_at_most() {
        for (venues, pause) in [(1, 250), (25, 250), (50, 500), (200, 2000), (1000, 10_000)] {
            assert_eq!(venue_pause(venues), Duration::from_millis(pause), "{venues}");
        }
    }
}
