//! The first catch-up of views. Until they have everything that the log had when they were begun, they show a state that
//! was the present long ago, and nobody should take it for today's.

#![warn(missing_docs)]

use std::fmt;

use event_store::Position;
use tokio::sync::watch;

use crate::ViewQueries;

/// The watch on the first catch-up of views.
#[derive(Debug, Clone)]
pub struct FirstCatchUp {
    shown_from: watch::Receiver<Option<Position>>,
    checkpoint: watch::Receiver<Position>,
}

/// The progress of views that have not caught up yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatchUpProgress {
    /// The position up to which the log is applied.
    pub at: Position,
    /// The position from which the views are shown; `None` until a projection has asked the log for its end.
    pub shown_from: Option<Position>,
}

impl FirstCatchUp {
    /// Watches the first catch-up of these views.
    pub fn of(views: &dyn ViewQueries) -> Self {
        Self { shown_from: views.shown_from(), checkpoint: views.watch() }
    }

    /// Returns the progress, or `None` if the views have caught up.
    pub fn progress(&self) -> Option<CatchUpProgress> {
        let (at, shown_from) = (*self.checkpoint.borrow(), *self.shown_from.borrow());
        let is_shown = shown_from.is_some_and(|from| at >= from);
        (!is_shown).then_some(CatchUpProgress { at, shown_from })
    }

    /// Waits until the views have caught up, or are dropped.
    pub async fn wait(&mut self) {
        while self.progress().is_some() {
            let moved = tokio::select! {
                moved = self.shown_from.changed() => moved,
                moved = self.checkpoint.changed() => moved,
            };
            if moved.is_err() {
                return;
            }
        }
    }
}

impl CatchUpProgress {
    /// Returns the share of the log that is applied, in whole percent; `None` until its end is known.
    pub fn percent(&self) -> Option<u64> {
        let (at, end) = (u128::from(self.at.0), u128::from(self.shown_from?.0));
        Some(u64::try_from(at * 100 / end.max(1)).unwrap_or(100).min(99))
    }
}

impl fmt::Display for CatchUpProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.percent() {
            Some(percent) => write!(f, "{percent} % of the log is read"),
            None => f.write_str("the log is not read yet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_progress_is_told_in_whole_percent_and_is_never_all() {
        let percent = |at, end: Option<u64>| {
            CatchUpProgress { at: Position(at), shown_from: end.map(Position) }.percent()
        };
        assert_eq!(percent(0, None), None);
        assert_eq!(percent(0, Some(7)), Some(0));
        assert_eq!(percent(999, Some(1000)), Some(99));
        assert_eq!(percent(u64::MAX - 1, Some(u64::MAX)), Some(99));
    }
}
