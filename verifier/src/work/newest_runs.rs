//! The newest runs on the platform, as the log tells them. They decide whether an interruption says something about the
//! submission: while images of other owners run, the platform is well.

use std::sync::{Mutex, PoisonError};

use event_store::Position;

/// The newest verdict that rests on a run, and the newest one of another owner.
#[derive(Debug, Default)]
pub(crate) struct NewestRuns(Mutex<[Option<OwnersRun>; 2]>);

#[derive(Debug)]
struct OwnersRun {
    owner: String,
    at: Position,
}

impl NewestRuns {
    /// Records that an image of the owner ran.
    pub(crate) fn record(&self, owner: &str, at: Position) {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [newest, other] = &mut *runs;
        let before = newest.replace(OwnersRun { owner: owner.to_owned(), at });
        if before.as_ref().is_some_and(|run| run.owner != owner) {
            *other = before;
        }
    }

    /// Returns true if an image of an owner other than this one ran after `since`.
    pub(crate) fn others_ran(&self, owner: &str, since: Position) -> bool {
        let runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.iter().flatten().any(|run| run.owner != owner && run.at > since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owners_own_runs_say_nothing_about_the_platform() {
        let runs = NewestRuns::default();
        runs.record("ada", Position(1));
        assert!(!runs.others_ran("ada", Position(0)));
        assert!(runs.others_ran("bob", Position(0)) && !runs.others_ran("bob", Position(1)));
        runs.record("bob", Position(2));
        runs.record("bob", Position(3));
        assert!(runs.others_ran("ada", Position(2)) && runs.others_ran("bob", Position(0)));
        assert!(!runs.others_ran("bob", Position(1)));
    }
}
