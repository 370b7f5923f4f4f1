//! The views of the present. Nothing is read from them before they have caught up once: a map that still fills up would look
//! like a map from which pins are missing.

use std::sync::Arc;

use http_edge::Problem;
use projections::{CatchUpProgress, FirstCatchUp, ViewQueries};

use crate::problem::views_unavailable;

/// The views of the present.
pub(crate) struct PresentViews {
    queries: Arc<dyn ViewQueries>,
    catch_up: FirstCatchUp,
}

impl PresentViews {
    pub(crate) fn new(queries: Arc<dyn ViewQueries>) -> Self {
        Self { catch_up: FirstCatchUp::of(&*queries), queries }
    }

    /// Returns the views, or a 503 with their progress if they have not caught up yet.
    pub(crate) async fn get(&self) -> Result<&Arc<dyn ViewQueries>, Problem> {
        if self.catch_up.progress().is_some() {
            // This process may not have heard yet of another that has just finished, and a store that is away says so.
            self.queries.checkpoint().await.map_err(views_unavailable)?;
        }
        match self.catch_up.progress() {
            None => Ok(&self.queries),
            Some(progress) => Err(not_caught_up(progress)),
        }
    }

    /// Returns the views as far as they are, for those who ask the log for the rest.
    pub(crate) fn as_far_as_they_are(&self) -> &Arc<dyn ViewQueries> {
        &self.queries
    }

    /// Returns whether the views have caught up.
    pub(crate) fn are_shown(&self) -> bool {
        self.catch_up.progress().is_none()
    }
}

fn not_caught_up(progress: CatchUpProgress) -> Problem {
    Problem::unavailable(format!(
        "Muster has just started and reads its log: {progress}. Try again in a few seconds."
    ))
}
