//! Where history is read: in the log itself, or from a server.

use std::sync::Arc;
use std::time::Duration;

use async_stream::try_stream;
use domain::SubmissionId;
use domain::submission::CATEGORY;
use event_store::{
    EventFilter, EventStore, Position, ReadDirection, ReadError, RecordedEvent, StreamName, SubscriptionItem,
};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use reqwest::Response;
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::io::StreamReader;

use super::CliError;
use super::line::EventLine;
use super::people::Submitter;
use crate::cli::client::{MusterClient, TokenOption};
use crate::event_log::EventLog;

/// How many events are read at once.
const PAGE_EVENTS: usize = 1024;

/// The longest line taken. An event has at most 1 MiB, escaped at most six times that.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a server may be silent; while following it sends something every 15 s.
const SILENCE: Duration = Duration::from_secs(60);

/// For how long a server that went away is looked for, and the pauses between.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);

/// Where history is read.
pub(crate) enum HistorySource {
    /// The log.
    Log(EventLog),
    /// A server, and what it is shown.
    Server(MusterClient, TokenOption),
}

/// Which events.
#[derive(Debug, Clone, Default)]
pub(crate) struct HistoryQuery {
    pub(crate) kinds: Vec<String>,
    pub(crate) stream: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) after: u64,
    pub(crate) follow: bool,
}

/// What comes of reading.
pub(crate) enum HistoryItem {
    /// An event. If it was read in the log, its owner is still to be looked at.
    Line(Box<EventLine>),
    /// Everything up to this position was considered.
    Upto(u64),
}

/// A server's last line when its log fails.
#[derive(Deserialize)]
struct FinalProblem {
    problem: ProblemReply,
}

#[derive(Deserialize)]
struct ProblemReply {
    detail: String,
}

impl HistorySource {
    /// The position of the newest event.
    pub(crate) async fn head(&self) -> Result<u64, CliError> {
        match self {
            Self::Log(log) => Ok(log.store().head().await?.0),
            Self::Server(client, _) => Ok(client.stats(None).await?.position.0),
        }
    }

    /// Submitter submitted something; `None` when nobody did.
    pub(crate) async fn who(&self, id: SubmissionId) -> Result<Option<Submitter>, CliError> {
        match self {
            Self::Log(log) => {
                let stream = StreamName::of(CATEGORY, id.0);
                let first = log.store().read_stream(&stream, 0, ReadDirection::Forwards, 1).await?;
                let event = first.first().map(|event| EventLine::from(event).event()).transpose()?;
                Ok(event.flatten().as_ref().and_then(Submitter::of))
            }
            Self::Server(client, _) => Ok(Some(client.status_patiently(id, None).await?.view.into())),
        }
    }

    /// The events, oldest first, each once.
    pub(crate) fn lines(&self, wanted: HistoryQuery) -> BoxStream<'_, Result<HistoryItem, CliError>> {
        match self {
            Self::Log(log) => of_log(log.store(), wanted).boxed(),
            Self::Server(client, token) => of_server(client, token, wanted).boxed(),
        }
    }

    /// Lets go of the log.
    pub(crate) async fn close(self) {
        if let Self::Log(log) = self {
            log.close().await;
        }
    }
}

impl HistoryQuery {
    fn in_time(&self, event: &RecordedEvent) -> bool {
        self.since.is_none_or(|since| event.recorded_at >= since)
            && self.until.is_none_or(|until| event.recorded_at < until)
    }

    fn query(&self, after: u64) -> Vec<(&'static str, String)> {
        let mut query = vec![("after", after.to_string())];
        let mut add = |name, value: Option<String>| query.extend(value.map(|value| (name, value)));
        add("type", (!self.kinds.is_empty()).then(|| self.kinds.join(",")));
        add("stream", self.stream.clone());
        add("owner", self.owner.clone());
        add("since", self.since.map(|since| since.to_string()));
        add("until", self.until.map(|until| until.to_string()));
        add("follow", self.follow.then(|| "true".to_owned()));
        query
    }
}

fn of_log(
    log: Arc<dyn EventStore>,
    wanted: HistoryQuery,
) -> impl futures::Stream<HistoryItem = Result<HistoryItem, CliError>> + Send {
    try_stream! {
        let filter = EventFilter { kinds: wanted.kinds.clone(), stream_prefix: wanted.stream.clone() };
        let mut after = Position(wanted.after);
        if let Some(since) = wanted.since {
            after = after.max(log.position_before(since).await?);
        }
        loop {
            let page = log.read_all(after, &filter, PAGE_EVENTS).await?;
            for event in page.events.iter().filter(|event| wanted.in_time(event)) {
                yield HistoryItem::Line(Box::new(event.into()));
            }
            after = page.next;
            yield HistoryItem::Upto(after.0);
            if page.end {
                break;
            }
        }
        if wanted.follow {
            let mut coming = log.subscribe(after, filter);
            while let Some(delivery) = coming.next().await {
                match delivery? {
                    SubscriptionItem::Event(event) if wanted.in_time(&event) => {
                        yield HistoryItem::Line(Box::new((&event).into()));
                    }
                    SubscriptionItem::Event(_) | SubscriptionItem::Checkpoint(_) | SubscriptionItem::CaughtUp(_) => {}
                }
            }
        }
    }
}

/// A server that stops ends its answer early and in good order; so the end is
/// there when the newest event is, or when an answer has nothing more.
fn of_server<'a>(
    client: &'a MusterClient,
    token: &'a TokenOption,
    wanted: HistoryQuery,
) -> impl futures::Stream<HistoryItem = Result<HistoryItem, CliError>> + Send + 'a {
    try_stream! {
        let head = client.stats(None).await?.position.0;
        let mut after = wanted.after;
        let mut patience = Instant::now() + PATIENCE;
        let mut reached = false;
        loop {
            let asked = timeout(SILENCE, client.history(&wanted.query(after), token)).await;
            let failed = match asked.unwrap_or_else(|_| Err(client.silent())) {
                Ok(answer) => {
                    reached = true;
                    let before = after;
                    let mut lines = split(answer);
                    let failed = loop {
                        match timeout(SILENCE, lines.next()).await {
                            Ok(Some(Ok(text))) if text.is_empty() => {}
                            Ok(Some(Ok(text))) => match read(&text)? {
                                Ok(line) => {
                                    after = line.position;
                                    patience = Instant::now() + PATIENCE;
                                    yield HistoryItem::Line(Box::new(line));
                                    yield HistoryItem::Upto(after);
                                }
                                Err(problem) => break Some(problem),
                            },
                            Ok(Some(Err(error))) => break Some(error.to_string()),
                            Ok(None) => break None,
                            Err(_) => break Some(client.silent().to_string()),
                        }
                    };
                    if failed.is_none() && !wanted.follow && (after == before || after >= head) {
                        return;
                    }
                    failed
                }
                Err(error) if !error.is_passing() || !reached => Err(error)?,
                Err(error) => Some(error.to_string()),
            };
            if let Some(why) = failed {
                if Instant::now() >= patience {
                    Err(CliError::unreachable(why))?;
                }
                sleep(PAUSE).await;
            } else if wanted.follow {
                sleep(PAUSE).await;
            }
        }
    }
}

fn split(answer: Response) -> FramedRead<impl tokio::io::AsyncRead + Send + Unpin, LinesCodec> {
    let bytes = answer.bytes_stream().map_err(|error| std::io::Error::other(error.without_url()));
    FramedRead::new(StreamReader::new(Box::pin(bytes)), LinesCodec::new_with_max_length(LINE_BYTES_MAX))
}

/// A line, or why the server cannot go on.
fn read(text: &str) -> Result<Result<EventLine, String>, CliError> {
    match serde_json::from_str(text) {
        Ok(line) => Ok(Ok(line)),
        Err(error) => match serde_json::from_str::<FinalProblem>(text) {
            Ok(FinalProblem { problem }) => Ok(Err(problem.detail)),
            Err(_) => Err(CliError::unreachable(format!("the server sends what is not history: {error}"))),
        },
    }
}

impl From<ReadError> for CliError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable(_) => Self::unreachable(error.to_string()),
            ReadError::StreamDeleted(_) | ReadError::BeyondEnd { .. } | ReadError::Refused(_) => {
                Self::refused(error.to_string())
            }
            ReadError::Corrupt(_) | ReadError::Undecodable { .. } => Self::failed(error.to_string()),
        }
    }
}
