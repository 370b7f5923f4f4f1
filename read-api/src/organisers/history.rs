//! `GET /api/v1/history`: the log itself, for analysts and organisers.
//!
//! The next page is read when the client has taken the page before it, so a slow client costs no more memory than a
//! fast client.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use domain::submission::{Event, SubmissionId};
use event_store::{
    EventFilter, EventPage, LogCheckpoint, OneLine, Position, Read, ReadDirection, ReadError, RecordedEvent,
    StreamName, Subscription, SubscriptionItem,
};
use futures::{FutureExt, Stream, StreamExt};
use http_edge::{ClientAddress, Problem, QueryParameters, Reader, TokenWatch};
use jiff::Timestamp;
use projections::LogItem;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::app::ReadState;
use crate::conditional::to_json;
use crate::organisers::history_filter::HistoryFilter;
use crate::organisers::history_start::start_of;
use crate::parameters;
use crate::readers::ReaderPermit;

/// The number of types that a request may name.
const KINDS_MAX: usize = 64;

/// The number of events that are read at a time.
const PAGE_EVENTS: usize = 128;

/// The number of streams whose owner is remembered while a client asks for one owner's events.
const STREAMS_REMEMBERED: usize = 10_000;

/// The number of events in which the acceptance of a submission is searched.
const FIRST_EVENTS: usize = 64;

/// The longest time without a line while a client follows the log. An empty line is sent then, so that both sides
/// notice a peer that is gone.
const HEARTBEAT: Duration = Duration::from_secs(15);

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryParameters {
    /// Only events of these types, separated by commas: `Passed,Failed`. Types of other writers can be named too.
    r#type: Option<String>,
    /// Only streams whose names begin with this text: `submission-<id>`.
    stream: Option<String>,
    /// Only submissions of this registry namespace: `docker.io/alice`.
    owner: Option<String>,
    /// Only submissions of the venue with this short name: `berlin`. An organiser of one venue gets that venue's only.
    venue: Option<String>,
    /// Only events recorded at this moment or later: `2026-03-21T12:00:00Z`.
    since: Option<String>,
    /// Only events recorded before this moment.
    until: Option<String>,
    /// Only events after this position. To continue, give the `position` of the last line received.
    #[param(value_type = Option<u64>)]
    after: Option<String>,
    /// The id of the event at the position `after`. If another event stands there, the log is another, and the answer is 400.
    #[param(value_type = Option<String>, format = Uuid)]
    after_id: Option<String>,
    /// `true`: keep the response open and send later events as they are recorded.
    #[param(value_type = Option<bool>)]
    follow: Option<String>,
}

/// One event of the history, as one line of JSON.
#[derive(Serialize, ToSchema)]
pub(crate) struct HistoryLine<'a> {
    /// The event's position in the log.
    position: u64,
    /// The name of the event's stream.
    stream: &'a str,
    /// The number of the event within its stream, from 0.
    revision: u64,
    /// The id of the event.
    #[schema(value_type = String, format = Uuid)]
    id: String,
    /// The time when the event was recorded.
    recorded_at: Timestamp,
    /// The type of the event.
    r#type: &'a str,
    /// The event's data as recorded; `null` if the data is not JSON.
    #[schema(value_type = Object)]
    data: Option<Box<RawValue>>,
    /// The event's data in Base64; only present if the data is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    /// The event's metadata: the schema's version, the actor, and the ids of its cause and its correlation.
    #[schema(value_type = Object)]
    metadata: Option<Box<RawValue>>,
    /// The event's metadata in Base64; only present if the metadata is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_base64: Option<String>,
}

/// Streams the events of the log.
///
/// One JSON object a line, oldest first. If the log fails during the response, the last line is `{"problem": …}`;
/// continue after the last position received.
#[utoipa::path(
    get,
    path = "/api/v1/history",
    operation_id = "read_history",
    tag = "organisers",
    params(HistoryParameters),
    security(("token" = [])),
    responses(
        (status = 200, description = "The events, one a line.", body = HistoryLine<'static>, content_type = "application/x-ndjson"),
        (status = 400, description = "A parameter is wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The organiser's token is missing or wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token's role does not permit it, or this server has no organiser's token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The log cannot be read, or too many clients listen.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn history(
    State(state): State<Arc<ReadState>>,
    reader: Reader,
    client: ClientAddress,
    QueryParameters(parameters): QueryParameters<HistoryParameters>,
) -> Result<Response, Problem> {
    let (mut filter, after, follow) = parameters.parse()?;
    if let Some(own) = reader.venue {
        if filter.venue.as_ref().is_some_and(|asked| *asked != own) {
            let detail = format!("Your token is for the venue {own} only.");
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        filter.venue = Some(own);
    }
    let permit = state.readers.admit_organiser(client)?;
    let watch = TokenWatch::new(&*state.subscribe, state.log.head().await?, reader.person);
    // The first page is read before the response begins, so that an error gets its own status.
    after.check(&*state.log, None).await?;
    let after = match filter.since {
        Some(since) => {
            after.position.max(start_of(&*state.log, &**state.views.as_far_as_they_are(), since).await?)
        }
        None => after.position,
    };
    let first = state.log.read_all(after, &filter.events, PAGE_EVENTS).await?;
    let lines =
        lines(state, HistorySelector::new(filter), first, follow, permit, watch).map(Ok::<_, Infallible>);
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(lines)).into_response())
}

impl HistoryParameters {
    fn parse(self) -> Result<(HistoryFilter, LogCheckpoint, bool), Problem> {
        let kinds = self.r#type.as_deref().unwrap_or_default().split(',').map(str::trim);
        let kinds: Vec<String> = kinds.filter(|kind| !kind.is_empty()).map(str::to_owned).collect();
        if kinds.len() > KINDS_MAX {
            return Err(Problem::parameter("type", format!("at most {KINDS_MAX} types can be named")));
        }
        let timestamp =
            |name, text: Option<String>| text.map(|text| parameters::timestamp(name, &text)).transpose();
        let after = self.after.map_or(Ok(0), |text| parameters::number("after", &text))?;
        let event = self.after_id.map(|text| {
            Uuid::parse_str(&text)
                .map_err(|_| Problem::parameter("after_id", "this is not the id of an event"))
        });
        let after = LogCheckpoint { log: None, position: Position(after), event: event.transpose()? };
        let follow = match self.follow.as_deref() {
            None | Some("false") => false,
            Some("true" | "") => true,
            Some(_) => return Err(Problem::parameter("follow", "write true or false")),
        };
        let filter = HistoryFilter {
            events: EventFilter {
                kinds,
                stream_prefix: self.stream.filter(|stream| !stream.is_empty()),
                deletions: false,
            },
            owner: self.owner.filter(|owner| !owner.is_empty()),
            venue: self.venue.filter(|venue| !venue.is_empty()),
            since: timestamp("since", self.since)?,
            until: timestamp("until", self.until)?,
        };
        Ok((filter, after, follow))
    }
}

/// A filter, and the submitters of streams that it needs.
struct HistorySelector {
    filter: HistoryFilter,
    submissions: Option<SubmissionSelector>,
}

impl HistorySelector {
    fn new(filter: HistoryFilter) -> Self {
        let submissions = filter.selects_submissions().then(|| SubmissionSelector::new(filter.clone()));
        Self { filter, submissions }
    }

    async fn matches(&mut self, log: &dyn Read, event: &RecordedEvent) -> Result<bool, ReadError> {
        match &mut self.submissions {
            _ if !self.filter.is_in_period(event) => Ok(false),
            Some(submissions) => submissions.has(log, &event.stream).await,
            None => Ok(true),
        }
    }
}

/// The submissions of an owner or a venue. Only the acceptance of a submission names both, so the answers are remembered.
struct SubmissionSelector {
    filter: HistoryFilter,
    streams: HashMap<StreamName, bool>,
}

impl SubmissionSelector {
    fn new(filter: HistoryFilter) -> Self {
        Self { filter, streams: HashMap::new() }
    }

    async fn has(&mut self, log: &dyn Read, stream: &StreamName) -> Result<bool, ReadError> {
        if let Some(known) = self.streams.get(stream) {
            return Ok(*known);
        }
        if SubmissionId::from_stream(stream.as_str()).is_none() {
            return Ok(false);
        }
        let mut first = log.read_stream(stream, 0, ReadDirection::Forwards, 1).await;
        // The first events may be strangers'.
        if matches!(first.as_deref(), Ok([event]) if !matches!(LogItem::read(event), LogItem::Event(_))) {
            first = log.read_stream(stream, 0, ReadDirection::Forwards, FIRST_EVENTS).await;
        }
        let has = match first {
            // The events of a deleted stream stay in the log, but do not name their owner any more.
            Err(ReadError::StreamDeleted(_)) => false,
            first => first?.iter().filter_map(|event| LogItem::read(event).into_event()).any(
                |envelope| matches!(envelope.event, Event::Submitted(submitted) if self.filter.takes(&submitted)),
            ),
        };
        if self.streams.len() >= STREAMS_REMEMBERED {
            self.streams.clear();
        }
        self.streams.insert(stream.clone(), has);
        Ok(has)
    }
}

/// Streams the events of `first` and of the pages after it and, if `follow` is true, the events that are recorded
/// later.
fn lines(
    state: Arc<ReadState>,
    mut selector: HistorySelector,
    first: EventPage,
    follow: bool,
    permit: ReaderPermit,
    mut watch: TokenWatch,
) -> impl Stream<Item = Bytes> {
    async_stream::stream! {
        let _permit = permit;
        let mut page = first;
        loop {
            // Drops the events before the text is sent, so that a slow client keeps only the text in memory.
            let events = std::mem::take(&mut page.events);
            match to_lines(&*state.log, &mut selector, events).await {
                Ok(text) if text.is_empty() => {}
                Ok(text) => yield text,
                Err(error) => {
                    yield problem_line(error.into());
                    return;
                }
            }
            if page.end {
                break;
            }
            if let Some(problem) = watch.ended().now_or_never() {
                yield problem_line(problem);
                return;
            }
            // A long history would delay the end of the process, so the client is told to continue later.
            if state.stopping.is_cancelled() {
                yield problem_line(ReadError::Unavailable("the process is stopping".to_owned()).into());
                return;
            }
            page = match state.log.read_all(page.next, &selector.filter.events, PAGE_EVENTS).await {
                Ok(next) => next,
                Err(error) => {
                    yield problem_line(error.into());
                    return;
                }
            };
        }
        if !follow {
            return;
        }
        let mut subscription = state.subscribe.subscribe(page.next, selector.filter.events.clone());
        let stopping = state.stopping.clone();
        loop {
            let next = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                problem = watch.ended() => {
                    yield problem_line(problem);
                    return;
                }
                next = next_event(&mut subscription) => next,
            };
            let Some(next) = next else { return };
            let text = match next {
                Ok(Some(event)) => to_lines(&*state.log, &mut selector, vec![event]).await,
                Ok(None) => Ok(Bytes::from_static(b"\n")),
                Err(error) => Err(error),
            };
            match text {
                Ok(text) if text.is_empty() => {}
                Ok(text) => yield text,
                Err(error) => {
                    yield problem_line(error.into());
                    return;
                }
            }
        }
    }
}

/// Returns the next event, `Some(Ok(None))` if it is time for a heartbeat, or `None` at the end of the subscription.
async fn next_event(subscription: &mut Subscription) -> Option<Result<Option<RecordedEvent>, ReadError>> {
    let next = async {
        loop {
            match subscription.next().await? {
                Ok(SubscriptionItem::Event(event)) => return Some(Ok(Some(event))),
                Ok(SubscriptionItem::Checkpoint(_) | SubscriptionItem::CaughtUp(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    };
    tokio::time::timeout(HEARTBEAT, next).await.unwrap_or(Some(Ok(None)))
}

/// Returns the lines of those events that `selector` matches.
async fn to_lines(
    log: &dyn Read,
    selector: &mut HistorySelector,
    events: Vec<RecordedEvent>,
) -> Result<Bytes, ReadError> {
    let mut text = Vec::new();
    for event in events {
        if selector.matches(log, &event).await? {
            text.extend(to_json(&HistoryLine::from(&event)));
            text.push(b'\n');
        }
    }
    Ok(text.into())
}

fn problem_line(problem: Problem) -> Bytes {
    let mut line = to_json(&serde_json::json!({ "problem": problem }));
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
