//! Which images go: arithmetic, apart from the engine.

use std::cmp::Reverse;
use std::time::Duration;

use super::Housekeeping;

/// Even where space is short, what was used within this may be used again by a
/// submission that is under way.
const MIN_IDLE: Duration = Duration::from_secs(600);

/// An image of ours that the node has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ParticipantImage {
    pub(super) id: String,
    pub(super) bytes: u64,
    /// How long it was not used.
    pub(super) idle: Duration,
}

/// Those that are to go, the one that was not used for longest first.
pub(super) fn to_remove(mut kept: Vec<ParticipantImage>, rules: &Housekeeping) -> Vec<ParticipantImage> {
    kept.sort_by_key(|image| Reverse(image.idle));
    let mut bytes: u64 = kept.iter().map(|image| image.bytes).sum();
    let limit = rules.space_mib.saturating_mul(1 << 20);
    let rested = MIN_IDLE.min(rules.keep);
    kept.retain(|image| {
        let goes = image.idle >= rules.keep || bytes > limit && image.idle >= rested;
        if goes {
            bytes -= image.bytes;
        }
        goes
    });
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_images_go_and_where_space_is_short_the_oldest_that_rested() {
        let image = |id: &str, mib: u64, idle_s: u64| ParticipantImage {
            id: id.into(),
            bytes: mib << 20,
            idle: Duration::from_secs(idle_s),
        };
        let goes = |images: &[ParticipantImage], space_mib| -> Vec<String> {
            let rules = Housekeeping { space_mib, ..Housekeeping::default() };
            to_remove(images.to_vec(), &rules).into_iter().map(|image| image.id).collect()
        };
        let images =
            [image("new", 50, 0), image("young", 50, 700), image("mid", 50, 1800), image("old", 50, 3600)];
        assert_eq!(goes(&images, 1000), ["old"]);
        assert_eq!(goes(&images, 120), ["old", "mid"]);
        assert_eq!(goes(&images, 1), ["old", "mid", "young"]);
        assert_eq!(goes(&[], 0), [] as [&str; 0]);
    }
}
