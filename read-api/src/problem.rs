//! Problems that only the read API answers.

use http_edge::Problem;
use projections::QueryError;

/// Turns a failed query into a 503. The store's own message is for the operator's log, not for the client.
pub(crate) fn views_unavailable(error: QueryError) -> Problem {
    match error {
        QueryError::Unavailable(_) => {
            tracing::warn!(%error, "the views cannot be read");
            Problem::unavailable("The views cannot be read at present; try again in a few seconds.")
        }
    }
}
