//! `GET /api/v1/history`: the log itself, for analysts and organisers.
//!
//! One page is read when the one before has gone out, so a reader that is slow
//! or stops costs no more memory than one that is fast.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use domain::submission::{Event, SubmissionId};
use event_store::{
    EventFilter, EventPage, OneLine, Position, Read, ReadDirection, ReadError, RecordedEvent, StreamName,
    Subscription, SubscriptionItem,
};
use futures::{Stream, StreamExt};
use http_edge::{ClientAddress, Organiser, Problem, QueryParameters};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::conditional::to_json;
use crate::parameters;
use crate::sse::Place;

/// How many events are read at once.
const PAGE_EVENTS: usize = 128;

/// How many owners of streams are remembered while looking for one.
const OWNERS_KEPT: usize = 10_000;

/// An empty line is sent at least this often while following, so that both
/// sides notice a dead peer.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryParameters {
    /// Only these types, separated by commas: `Passed,Failed`.
    r#type: Option<String>,
    /// Only streams that begin with this: `submission-<id>`.
    stream: Option<String>,
    /// Only submissions of this registry namespace: `docker.io/alice`.
    owner: Option<String>,
    /// Only what was recorded at this moment or later: `2026-03-21T12:00:00Z`.
    since: Option<String>,
    /// Only what was recorded before this moment.
    until: Option<String>,
    /// Only what stands after this position; the `position` of the last line
    /// received continues there.
    #[param(value_type = Option<u64>)]
    after: Option<String>,
    /// `true`: what comes later, too, as it comes.
    #[param(value_type = Option<bool>)]
    follow: Option<String>,
}

/// One line.
#[derive(Serialize, ToSchema)]
pub(crate) struct HistoryLine<'a> {
    /// Its place in the log.
    position: u64,
    /// The stream that it belongs to.
    stream: &'a str,
    /// Its number in that stream.
    revision: u64,
    /// The event's own id.
    #[schema(value_type = String, format = Uuid)]
    id: String,
    /// When it was recorded.
    #[schema(value_type = String, format = DateTime)]
    recorded_at: Timestamp,
    /// The event's type.
    r#type: &'a str,
    /// What it says, as recorded; `null` when others recorded what is not JSON.
    #[schema(value_type = Object)]
    data: Option<Box<RawValue>>,
    /// What it says, when that is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    /// What is known about it: the version of its shape, who did it, what caused it.
    #[schema(value_type = Object)]
    metadata: Option<Box<RawValue>>,
    /// What is known about it, when that is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_base64: Option<String>,
}

/// The history, event by event.
///
/// One JSON object a line, oldest first. If the log fails underway, the last
/// line is `{"problem": …}`; continue after the last position received.
#[utoipa::path(
    get,
    path = "/api/v1/history",
    tag = "organisers",
    params(HistoryParameters),
    security(("token" = [])),
    responses(
        (status = 200, body = HistoryLine<'static>, content_type = "application/x-ndjson"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn history(
    State(app): State<Arc<App>>,
    _: Organiser,
    client: ClientAddress,
    QueryParameters(parameters): QueryParameters<HistoryParameters>,
) -> Result<Response, Problem> {
    let (filter, after, follow) = parameters.parse()?;
    let place = app.readers.admit(client)?;
    // Before the answer begins, so that what is wrong gets its own status.
    let after = match filter.since {
        Some(since) => after.max(app.log.position_before(since).await?),
        None => after,
    };
    let first = app.log.read_all(after, &filter.filter, PAGE_EVENTS).await?;
    let lines = lines(app, filter, first, follow, place).map(Ok::<_, Infallible>);
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(lines)).into_response())
}

impl HistoryParameters {
    fn parse(self) -> Result<(HistoryFilter, Position, bool), Problem> {
        let kinds = self.r#type.as_deref().unwrap_or_default().split(',').map(str::trim);
        let kinds: Vec<String> = kinds.filter(|kind| !kind.is_empty()).map(str::to_owned).collect();
        if let Some(unknown) = kinds.iter().find(|kind| domain::kinds().all(|known| known != *kind)) {
            let known: Vec<&str> = domain::kinds().collect();
            let message = format!("{unknown:?} is not a type of events; the types are {}", known.join(", "));
            return Err(Problem::parameter("type", message));
        }
        let moment =
            |name, text: Option<String>| text.map(|text| parameters::moment(name, &text)).transpose();
        let after = self.after.map_or(Ok(0), |text| parameters::number("after", &text))?;
        let follow = match self.follow.as_deref() {
            None | Some("false") => false,
            Some("true" | "") => true,
            Some(_) => return Err(Problem::parameter("follow", "write true or false")),
        };
        let filter = HistoryFilter {
            filter: EventFilter { kinds, stream_prefix: self.stream.filter(|stream| !stream.is_empty()) },
            owner: self.owner.filter(|owner| !owner.is_empty()).map(OwnerFilter::new),
            since: moment("since", self.since)?,
            until: moment("until", self.until)?,
        };
        Ok((filter, Position(after), follow))
    }
}

/// What a reader wants of the log.
struct HistoryFilter {
    filter: EventFilter,
    owner: Option<OwnerFilter>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl HistoryFilter {
    async fn wants(&mut self, log: &dyn Read, event: &RecordedEvent) -> Result<bool, ReadError> {
        // The clock may have been set back: later events are looked at, too.
        let in_time = self.since.is_none_or(|since| event.recorded_at >= since)
            && self.until.is_none_or(|until| event.recorded_at < until);
        match &mut self.owner {
            _ if !in_time => Ok(false),
            Some(owner) => owner.has(log, &event.stream).await,
            None => Ok(true),
        }
    }
}

/// Whose submissions a reader wants. Only a stream's first event says whose it is.
struct OwnerFilter {
    name: String,
    streams: HashMap<StreamName, bool>,
}

impl OwnerFilter {
    fn new(name: String) -> Self {
        Self { name, streams: HashMap::new() }
    }

    async fn has(&mut self, log: &dyn Read, stream: &StreamName) -> Result<bool, ReadError> {
        if let Some(known) = self.streams.get(stream) {
            return Ok(*known);
        }
        let is_submission = SubmissionId::from_stream(stream.as_str()).is_some();
        let first = if is_submission {
            match log.read_stream(stream, 0, ReadDirection::Forwards, 1).await {
                // The events of a deleted stream stay in the log, but no longer say whose they are.
                Err(ReadError::StreamDeleted(_)) => vec![],
                first => first?,
            }
        } else {
            vec![]
        };
        let has = match first.first() {
            Some(first) => {
                matches!(first.decode(Event::from_stored)?, Event::Submitted(submitted) if submitted.owner == self.name)
            }
            None => false,
        };
        if self.streams.len() >= OWNERS_KEPT {
            self.streams.clear();
        }
        self.streams.insert(stream.clone(), has);
        Ok(has)
    }
}

fn lines(
    app: Arc<App>,
    mut filter: HistoryFilter,
    first: EventPage,
    follow: bool,
    place: Place,
) -> impl Stream<Item = Bytes> {
    async_stream::stream! {
        let _place = place;
        let mut page = first;
        loop {
            // Only the text is kept while it goes out.
            let events = std::mem::take(&mut page.events);
            match text(&*app.log, &mut filter, events).await {
                Ok(text) if text.is_empty() => {}
                Ok(text) => yield text,
                Err(error) => {
                    yield last_words(error);
                    return;
                }
            }
            if page.end {
                break;
            }
            // A reader of a long history is not waited for when we stop, but told.
            if app.stopping.is_cancelled() {
                yield last_words(ReadError::Unavailable("the process is stopping".to_owned()));
                return;
            }
            page = match app.log.read_all(page.next, &filter.filter, PAGE_EVENTS).await {
                Ok(next) => next,
                Err(error) => {
                    yield last_words(error);
                    return;
                }
            };
        }
        if !follow {
            return;
        }
        let mut coming = app.follow.subscribe(page.next, filter.filter.clone());
        let stopping = app.stopping.clone();
        while let Some(next) = stopping.run_until_cancelled(next_event(&mut coming)).await.flatten() {
            let text = match next {
                Ok(Some(event)) => text(&*app.log, &mut filter, vec![event]).await,
                Ok(None) => Ok(Bytes::from_static(b"\n")),
                Err(error) => Err(error),
            };
            match text {
                Ok(text) if text.is_empty() => {}
                Ok(text) => yield text,
                Err(error) => {
                    yield last_words(error);
                    return;
                }
            }
        }
    }
}

/// The next event; `Some(Ok(None))` when it is time for a heartbeat, `None`
/// when there will be no more.
async fn next_event(coming: &mut Subscription) -> Option<Result<Option<RecordedEvent>, ReadError>> {
    let next = async {
        loop {
            match coming.next().await? {
                Ok(SubscriptionItem::Event(event)) => return Some(Ok(Some(event))),
                Ok(SubscriptionItem::Checkpoint(_) | SubscriptionItem::CaughtUp(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    };
    tokio::time::timeout(HEARTBEAT, next).await.unwrap_or(Some(Ok(None)))
}

async fn text(
    log: &dyn Read,
    filter: &mut HistoryFilter,
    events: Vec<RecordedEvent>,
) -> Result<Bytes, ReadError> {
    let mut text = Vec::new();
    for event in events {
        if filter.wants(log, &event).await? {
            text.extend(to_json(&HistoryLine::from(&event)));
            text.push(b'\n');
        }
    }
    Ok(text.into())
}

fn last_words(error: ReadError) -> Bytes {
    let mut line = to_json(&serde_json::json!({ "problem": Problem::from(error) }));
    line.push(b'\n');
    line.into()
}

impl<'a> From<&'a RecordedEvent> for HistoryLine<'a> {
    fn from(event: &'a RecordedEvent) -> Self {
        let (data, metadata) = (OneLine::from(&event.data[..]), OneLine::from(&event.metadata[..]));
        Self {
            position: event.position.0,
            stream: event.stream.as_str(),
            revision: event.revision,
            id: event.id.to_string(),
            recorded_at: event.recorded_at,
            r#type: &event.kind,
            data: data.json,
            data_base64: data.base64,
            metadata: metadata.json,
            metadata_base64: metadata.base64,
        }
    }
}
