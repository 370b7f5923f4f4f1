//! How far the images of submissions are on their way: to this verifier, which looks into them, and to nodes. Nobody has claimed such a
//! submission yet. The verifier's reports carry it, because events in the submission's own stream would grow with the time.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::sandbox::{FetchTarget, ImageFetch};
use domain::{Digest, ImageRef, SubmissionId};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::registry::ImageLayer;

/// The time from which a fetch is worth a report.
const LONG: Duration = Duration::from_secs(5);

/// The shortest time between two reports of all fetches.
const REPORTED_EVERY: Duration = Duration::from_secs(10);

/// The interval at which the fetches are looked through.
const TICK: Duration = Duration::from_secs(1);

/// The number of fetches in a report. The longest ones count.
const REPORTED_MAX: usize = 32;

/// The images on their way. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct FetchBoard(Arc<Mutex<Vec<Arc<FetchWay>>>>);

/// An image on its way to a gate, with the bytes of each layer that arrived, for a verifier elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FetchingImage {
    pub(crate) image: ImageRef,
    pub(crate) layers: Vec<(ImageLayer, u64)>,
}

/// One image on its way, until it is dropped.
#[derive(Debug)]
pub(crate) struct ImageOnItsWay {
    board: FetchBoard,
    way: Arc<FetchWay>,
}

#[derive(Debug)]
struct FetchWay {
    submission: SubmissionId,
    image: ImageRef,
    to: FetchTarget,
    since: Instant,
    layers: Mutex<HashMap<Digest, LayerWay>>,
}

#[derive(Debug)]
struct LayerWay {
    size: u64,
    /// The bytes that arrived. Whoever fetches the layer counts them.
    arrived: Arc<AtomicU64>,
}

impl FetchBoard {
    /// Notes that an image begins its way.
    pub(crate) fn begin(
        &self,
        submission: SubmissionId,
        image: &ImageRef,
        to: FetchTarget,
        layers: &[ImageLayer],
    ) -> ImageOnItsWay {
        let layers = layers
            .iter()
            .map(|layer| (layer.digest.clone(), LayerWay { size: layer.size, arrived: Arc::default() }));
        let way = Arc::new(FetchWay {
            submission,
            image: image.clone(),
            to,
            since: Instant::now(),
            layers: Mutex::new(layers.collect()),
        });
        self.ways().push(Arc::clone(&way));
        ImageOnItsWay { board: self.clone(), way }
    }

    /// Reports the long fetches now and then, until it is dropped.
    pub(crate) async fn report_to(&self, reports: &watch::Sender<Vec<ImageFetch>>) -> Infallible {
        let mut reported_at: Option<Instant> = None;
        loop {
            sleep(TICK).await;
            if reported_at.is_some_and(|at| at.elapsed() < REPORTED_EVERY) {
                continue;
            }
            let now = self.long_fetches();
            if reports.send_if_modified(|known| std::mem::replace(known, now.clone()) != now) {
                reported_at = Some(Instant::now());
            }
        }
    }

    /// Returns the fetches that take long, at most one for each submission.
    fn long_fetches(&self) -> Vec<ImageFetch> {
        let long = self.ways().iter().filter(|way| way.since.elapsed() >= LONG).map(Arc::clone).collect();
        let mut long: Vec<Arc<FetchWay>> = long;
        // Those that wait for bytes come first, and among these the oldest.
        long.sort_by_key(|way| way.bytes() >= way.of_bytes());
        let mut fetches: Vec<ImageFetch> = Vec::new();
        for way in long {
            if fetches.iter().all(|fetch| fetch.submission != way.submission) {
                fetches.push(ImageFetch {
                    submission: way.submission,
                    image: way.image.clone(),
                    to: way.to,
                    bytes: way.bytes(),
                    of_bytes: way.of_bytes(),
                });
            }
            if fetches.len() == REPORTED_MAX {
                break;
            }
        }
        fetches
    }

    /// Returns all images on their way.
    pub(crate) fn fetching(&self) -> Vec<FetchingImage> {
        self.ways()
            .iter()
            .map(|way| FetchingImage { image: way.image.clone(), layers: way.progress() })
            .collect()
    }

    fn ways(&self) -> MutexGuard<'_, Vec<Arc<FetchWay>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ImageOnItsWay {
    /// Lets the bytes of a layer be counted by whoever fetches it.
    pub(crate) fn follow(&self, layer: &Digest, arrived: &Arc<AtomicU64>) {
        if let Some(way) = self.way.layers().get_mut(layer) {
            way.arrived = Arc::clone(arrived);
        }
    }

    /// Notes that a layer is there.
    pub(crate) fn note_whole(&self, layer: &Digest) {
        if let Some(way) = self.way.layers().get_mut(layer) {
            way.arrived = Arc::new(AtomicU64::new(way.size));
        }
    }

    /// Notes how many bytes of a layer are there.
    pub(crate) fn note_bytes(&self, layer: &Digest, bytes: u64) {
        if let Some(way) = self.way.layers().get(layer) {
            way.arrived.store(bytes, Ordering::Relaxed);
        }
    }

    /// Notes how many bytes of a layer are there. `beginning` is the beginning of its digest, without the algorithm.
    pub(crate) fn note_layer(&self, beginning: &str, bytes: u64) {
        for (digest, way) in self.way.layers().iter() {
            let digest = digest.to_string();
            if digest.strip_prefix("sha256:").is_some_and(|hex| hex.starts_with(beginning)) {
                way.arrived.store(bytes, Ordering::Relaxed);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.way.bytes()
    }
}

impl FetchWay {
    fn progress(&self) -> Vec<(ImageLayer, u64)> {
        let layers = self.layers();
        let mut layers: Vec<_> = layers
            .iter()
            .map(|(digest, layer)| {
                let arrived = layer.arrived.load(Ordering::Relaxed);
                (ImageLayer { digest: digest.clone(), size: layer.size }, arrived)
            })
            .collect();
        layers.sort_by(|one, other| one.0.digest.cmp(&other.0.digest));
        layers
    }

    fn bytes(&self) -> u64 {
        let layers = self.layers();
        layers.values().map(|layer| layer.arrived.load(Ordering::Relaxed).min(layer.size)).sum()
    }

    fn of_bytes(&self) -> u64 {
        self.layers().values().fold(0, |sum, layer| layer.size.saturating_add(sum))
    }

    fn layers(&self) -> MutexGuard<'_, HashMap<Digest, LayerWay>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ImageOnItsWay {
    fn drop(&mut self) {
        self.board.ways().retain(|way| !Arc::ptr_eq(way, &self.way));
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::registry::digest_of;

    fn layer(byte: u8, size: u64) -> ImageLayer {
        ImageLayer { digest: digest_of(&[byte; 32]), size }
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_fetch_is_reported_every_ten_seconds_and_a_short_one_never() {
        let board = FetchBoard::default();
        let (sender, mut reports) = watch::channel(Vec::new());
        let reporting = tokio::spawn({
            let board = board.clone();
            async move { board.report_to(&sender).await }
        });
        let image: ImageRef = "ada/app".parse().unwrap();
        let begin = |id, layers: &[ImageLayer]| {
            board.begin(SubmissionId(Uuid::from_u128(id)), &image, FetchTarget::Verifier, layers)
        };
        let (began, short) = (Instant::now(), begin(1, &[layer(1, 10)]));
        let long = begin(2, &[layer(2, 600), layer(3, 400)]);
        sleep(Duration::from_secs(4)).await;
        drop(short);
        let counter = Arc::new(AtomicU64::new(150));
        long.follow(&layer(2, 600).digest, &counter);
        long.note_whole(&layer(3, 400).digest);
        let mut seen = Vec::new();
        for _ in 0..3 {
            reports.changed().await.unwrap();
            let fetches = reports.borrow_and_update().clone();
            assert!(fetches.iter().all(|fetch| fetch.of_bytes == 1000), "{fetches:?}");
            seen.push((began.elapsed().as_secs(), fetches.first().map(|fetch| fetch.bytes)));
            // Each byte is a change.
            counter.fetch_add(100, Ordering::Relaxed);
        }
        assert_eq!(seen, [(5, Some(550)), (15, Some(650)), (25, Some(750))]);
        drop(long);
        reports.changed().await.unwrap();
        assert!(reports.borrow_and_update().is_empty());
        assert_eq!(began.elapsed().as_secs(), 35);
        reporting.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_has_one_image_of_a_submission_and_is_bounded() {
        let board = FetchBoard::default();
        let image: ImageRef = "ada/app".parse().unwrap();
        let begin = |id: u128| {
            board.begin(SubmissionId(Uuid::from_u128(id)), &image, FetchTarget::Node, &[layer(1, 10)])
        };
        let _all: Vec<_> = (0..100).map(|n| begin(n / 2)).collect();
        sleep(LONG).await;
        let fetches = board.long_fetches();
        let of: Vec<u128> = fetches.iter().map(|fetch| fetch.submission.0.as_u128()).collect();
        assert_eq!(of, (0..REPORTED_MAX as u128).collect::<Vec<_>>());
    }
}
