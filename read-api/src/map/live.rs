//! `GET /api/v1/live`: the totals and the pins as they change.
//!
//! A listener that is slow loses frames but no change: when it reads again, it gets a frame of everything that changed
//! since the last frame that it got.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use event_store::{Position, ReadError};
use futures::Stream;
use http_edge::{ClientAddress, Problem, QueryParameters};
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use utoipa::IntoParams;

use crate::app::ReadState;
use crate::map::feed::{READ_PAUSE, event_mark};
use crate::parameters;
use crate::sse::{self, MessageId};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LiveParameters {
    /// Only what belongs to the venue with this short name: `berlin`.
    venue: Option<String>,
}

/// Streams the totals and the pins as they change.
///
/// Server-sent events. `stats` (as in `GET /api/v1/stats`) comes once at the beginning and after each change. `pins` is
/// a GeoJSON `FeatureCollection` of the pins that changed; a pin whose `passes` is 0 is gone. `reset` comes when too
/// many pins changed to be listed, or `Last-Event-ID` is of another log; read the map again then. The id of a message begins
/// with a position, and `Last-Event-ID` continues after it; a position alone does too. A change may be sent twice, but none is left out.
#[utoipa::path(
    get,
    path = "/api/v1/live",
    operation_id = "stream_map",
    tag = "map",
    params(LiveParameters, ("Last-Event-ID" = Option<String>, Header, description = "Continue after the message with this id, or after this position")),
    responses(
        (status = 200, description = "The stream of messages.", content_type = "text/event-stream", body = String),
        (status = 400, description = "`Last-Event-ID` is not the id of a message.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such venue.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many clients listen, or the views cannot be read.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn live(
    State(state): State<Arc<ReadState>>,
    client: ClientAddress,
    QueryParameters(parameters): QueryParameters<LiveParameters>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let venue = state.venues.find(parameters.venue.as_deref())?.map(str::to_owned);
    let after = parameters::last_event_id(&headers)?;
    state.views.get().await?;
    let permit = state.readers.admit(client)?;
    let after = match after {
        // A position that the views do not have makes the stream begin anew.
        Some(after) if is_of_another_log(&state, after).await => Some(Position(u64::MAX)),
        after => after.map(|after| after.position),
    };
    let stopping = state.stopping.clone();
    Ok(sse::response(messages(state, venue, after), permit, stopping))
}

/// Returns true if the log has another event at the position than the client saw, or none. While the log is away, nobody can
/// tell.
async fn is_of_another_log(state: &ReadState, after: MessageId) -> bool {
    let Some(mark) = after.mark else { return false };
    match state.submissions.event_at(after.position).await {
        Ok(event) => event.is_some_and(|event| event_mark(event.id) != mark),
        Err(error) => matches!(error, ReadError::BeyondEnd { .. } | ReadError::OtherLog { .. }),
    }
}

fn messages(
    state: Arc<ReadState>,
    venue: Option<String>,
    after: Option<Position>,
) -> impl Stream<Item = Bytes> {
    async_stream::stream! {
        let feed = state.live.of(venue.as_deref());
        let mut frames = feed.subscribe();
        let mut listener = match after {
            Some(after) => ListenerState { position: after, in_step: false },
            None => {
                let Some(first) = feed.newest_frame().await else { return };
                yield first.stats;
                ListenerState { position: first.position, in_step: true }
            }
        };
        loop {
            if !listener.in_step {
                match feed.changes_since(listener.position).await {
                    Ok(frame) => {
                        listener = ListenerState { position: frame.position, in_step: true };
                        yield frame.changes;
                    }
                    Err(_) => {
                        tokio::time::sleep(READ_PAUSE).await;
                        continue;
                    }
                }
            }
            match frames.recv().await {
                Ok(frame) if frame.position > listener.position => {
                    listener.position = frame.position;
                    yield frame.changes;
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => listener.in_step = false,
                Err(RecvError::Closed) => return,
            }
        }
    }
}

/// The progress of one listener.
struct ListenerState {
    /// The position up to which the listener got every change.
    position: Position,
    /// True if the next broadcast frame continues at `position`.
    in_step: bool,
}
