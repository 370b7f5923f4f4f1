//! Chooses the images to remove, without calls to the engine.

use std::cmp::Reverse;
use std::time::Duration;

use super::Housekeeping;

/// The shortest idle time of an image that is removed for lack of space. A submission under way may still use
/// an image that was used more recently.
const MIN_IDLE: Duration = Duration::from_secs(600);

/// A participant's image on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ParticipantImage {
    pub(super) id: String,
    pub(super) bytes: u64,
    /// The time since the last use.
    pub(super) idle: Duration,
}

/// Returns the images to remove, beginning with the one that was idle for longest.
pub(super) fn to_remove(mut images: Vec<ParticipantImage>, rules: &Housekeeping) -> Vec<ParticipantImage> {
    images.sort_by_key(|image| Reverse(image.idle));
    let mut bytes: u64 = images.iter().map(|image| image.bytes).sum();
    let limit = rules.space_mib.saturating_mul(1 << 20);
    let min_idle = MIN_IDLE.min(rules.keep);
    images.retain(|image| {
        let is_removed = image.idle >= rules.keep || bytes > limit && image.idle >= min_idle;
        if is_removed {
            bytes -= image.bytes;
        }
        is_removed
    });
    images
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_images_are_removed_and_more_of_them_if_space_is_short() {
        let image = |id: &str, mib: u64, idle_s: u64| ParticipantImage {
            id: id.into(),
            bytes: mib << 20,
            idle: Duration::from_secs(idle_s),
        };
        let removed = |images: &[ParticipantImage], space_mib| -> Vec<String> {
            let rules = Housekeeping { space_mib, ..Housekeeping::default() };
            to_remove(images.to_vec(), &rules).into_iter().map(|image| image.id).collect()
        };
        let images =
            [image("new", 50, 0), image("young", 50, 700), image("mid", 50, 1800), image("old", 50, 3600)];
        assert_eq!(removed(&images, 1000), ["old"]);
        assert_eq!(removed(&images, 120), ["old", "mid"]);
        assert_eq!(removed(&images, 1), ["old", "mid", "young"]);
        assert_eq!(removed(&[], 0), [] as [&str; 0]);
    }
}
