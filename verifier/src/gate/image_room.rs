//! The room of the gate for images that are looked at, wait for a slot or run. An image gets room for all of its layers before the
//! first is fetched, in the order of asking. So no look fails because others filled the disk half-way through it.

use std::sync::Arc;
use std::time::Duration;

use domain::submission::{InterruptionCode, PlatformFault};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::registry::ResolvedImage;

/// The number of images of the largest size that have room beside each other.
pub(super) const SHARES: u64 = 2;

/// The longest wait for room. Attempts in hand end meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pause of a submission for which there was no room. It says nothing about the submission.
const PAUSE: Duration = Duration::from_secs(30);

/// The unit of room, bytes.
const UNIT: u64 = 1 << 10;

/// The room for all images. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct GateRoom {
    left: Arc<Semaphore>,
    all: u32,
}

/// The room of one image, until it is dropped.
#[derive(Debug)]
pub(crate) struct ImageRoom {
    _permit: OwnedSemaphorePermit,
}

impl GateRoom {
    pub(super) fn new(bytes: u64) -> Self {
        let all = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX);
        Self { left: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// Waits until all these images have room at once.
    pub(super) async fn wait(&self, images: &[&ResolvedImage]) -> Result<Vec<ImageRoom>, PlatformFault> {
        let needed: Vec<u64> = images.iter().map(|image| units_of(image)).collect();
        let all = needed.iter().sum::<u64>();
        let largest = needed.iter().max().copied().unwrap_or_default();
        let share = u64::from(self.all) / SHARES;
        if largest > share || all > u64::from(self.all) {
            let (largest, share) = (mib(largest), mib(share));
            return Err(no_room(format!(
                "an image has {largest} MiB, and the gate has room for one of at most {share} MiB"
            )));
        }
        let wanted = u32::try_from(all).unwrap_or(self.all);
        let waited = timeout(PATIENCE, Arc::clone(&self.left).acquire_many_owned(wanted)).await;
        // The semaphore is never closed.
        let Ok(Ok(mut permit)) = waited else {
            return Err(no_room(format!(
                "the gate had no room for {} MiB within {} s beside the images of other attempts",
                mib(all),
                PATIENCE.as_secs()
            )));
        };
        let rooms = needed.into_iter().map(|units| {
            let part = usize::try_from(units).ok().and_then(|units| permit.split(units));
            part.map(|_permit| ImageRoom { _permit })
                .ok_or_else(|| no_room("the gate counts its room wrongly".to_owned()))
        });
        rooms.collect()
    }
}

fn units_of(image: &ResolvedImage) -> u64 {
    let layers = image.layers.iter().map(|layer| layer.size);
    layers.fold(0_u64, u64::saturating_add).div_ceil(UNIT)
}

fn mib(units: u64) -> u64 {
    units.div_ceil((1 << 20) / UNIT)
}

fn no_room(why: String) -> PlatformFault {
    PlatformFault { pause: Some(PAUSE), ..PlatformFault::new(InterruptionCode::NoCapacity, why) }
}

#[cfg(test)]
mod tests {
    use domain::Digest;

    use super::*;
    use crate::registry::{ImageDocuments, ImageLayer, digest_of};

    fn image(kib: u64) -> ResolvedImage {
        let digest: Digest = digest_of(&[1; 32]);
        ResolvedImage {
            digest: digest.clone(),
            size_bytes: 0,
            volumes: vec![],
            exposed_ports: vec![],
            working_dir: String::new(),
            layers: vec![ImageLayer { digest: digest.clone(), size: kib << 10 }],
            diff_ids: vec![],
            labels: vec![],
            documents: ImageDocuments {
                manifest: (*b"{}").into(),
                config_digest: digest,
                config: (*b"{}").into(),
            },
        }
    }

    #[tokio::test(start_paused = true)]
    async fn images_wait_for_room_in_their_order_and_are_told_that_there_is_none() {
        let room = GateRoom::new(10 << 10);
        let (small, large) = (image(2), image(5));
        let first = room.wait(&[&large, &small]).await.unwrap();
        assert_eq!((first.len(), room.left.available_permits()), (2, 3));
        let large_waits = tokio::spawn({
            let (room, large) = (room.clone(), large.clone());
            async move { room.wait(&[&large]).await }
        });
        tokio::task::yield_now().await;
        // The small one would have room, and would keep the large one waiting.
        let fault = room.wait(&[&small]).await.unwrap_err();
        assert_eq!((fault.code, fault.pause), (InterruptionCode::NoCapacity, Some(PAUSE)));
        assert!(fault.message.contains("no room for 1 MiB"), "{}", fault.message);
        assert!(large_waits.await.unwrap().is_err());
        drop(first);
        assert_eq!(room.wait(&[&large, &large]).await.unwrap().len(), 2);
        assert_eq!(room.left.available_permits(), 10);
    }

    #[tokio::test]
    async fn one_image_takes_at_most_its_share() {
        let room = GateRoom::new(10 << 20);
        let fault = room.wait(&[&image(6 << 10)]).await.unwrap_err();
        assert!(fault.message.contains("has 6 MiB") && fault.message.contains("at most 5 MiB"), "{fault:?}");
        let five = image(5 << 10);
        assert!(room.wait(&[&five, &five, &image(1)]).await.is_err());
        assert!(room.wait(&[&five, &five]).await.is_ok());
    }
}
