//! The history of a running Muster, read over as many responses as it takes.
//!
//! A server that stops ends its response early and without an error. So the history is complete only if the newest event
//! was read, or if a response had no events.

use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use reqwest::Response;
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::io::StreamReader;

use super::line::EventLine;
use super::source::HistoryQuery;
use crate::cli::client::{ClientError, MusterClient, PATIENCE, PAUSE, TokenOption};
use crate::cli::error::CliError;

/// The longest line accepted. An event has at most 1 MiB, and escaping makes it at most six times as long.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The longest silence of a server. While following, it sends an empty line every 15 s.
const SILENCE: Duration = Duration::from_secs(60);

/// A history that is being read.
pub(super) struct ServerHistory<'a> {
    client: &'a MusterClient,
    token: &'a TokenOption,
    /// Its `after` is the position of the last event read.
    query: HistoryQuery,
    /// The newest position when reading began.
    head: u64,
    response: Option<OpenResponse>,
    /// True if the server has answered before. Only then is it asked again after an error.
    has_answered: bool,
    give_up_at: Instant,
}

struct OpenResponse {
    lines: BoxStream<'static, Result<String, LinesCodecError>>,
    /// The position after which the response begins.
    after: u64,
}

/// The next part of a response.
enum ResponsePart {
    Event(EventLine),
    /// The response ended without an error.
    End,
    /// The response broke off, for this reason.
    Interrupted(String),
}

/// The last line of a response if the server's log fails.
#[derive(Deserialize)]
struct FinalProblem {
    problem: ProblemDetail,
}

#[derive(Deserialize)]
struct ProblemDetail {
    detail: String,
}

impl<'a> ServerHistory<'a> {
    pub(super) async fn open(
        client: &'a MusterClient,
        token: &'a TokenOption,
        query: HistoryQuery,
    ) -> Result<Self, CliError> {
        let head = client.stats(None).await?.position.0;
        let give_up_at = Instant::now() + PATIENCE;
        Ok(Self { client, token, query, head, response: None, has_answered: false, give_up_at })
    }

    /// Returns the next event, or `None` if the history is complete.
    ///
    /// # Errors
    /// If the server refuses, stays away for too long, or sends something else than history.
    pub(super) async fn next(&mut self) -> Result<Option<EventLine>, CliError> {
        loop {
            let began_after = self.response.as_ref().map_or(self.query.after, |response| response.after);
            match self.next_part().await? {
                ResponsePart::Event(line) => {
                    (self.query.after, self.query.after_id) = (line.position, Some(line.id));
                    self.give_up_at = Instant::now() + PATIENCE;
                    return Ok(Some(line));
                }
                ResponsePart::End if self.query.follow => sleep(PAUSE).await,
                ResponsePart::End => {
                    let was_empty = self.query.after == began_after;
                    if was_empty || self.query.after >= self.head {
                        return Ok(None);
                    }
                }
                ResponsePart::Interrupted(why) if Instant::now() >= self.give_up_at => {
                    return Err(CliError::unreachable(why));
                }
                ResponsePart::Interrupted(_) => sleep(PAUSE).await,
            }
        }
    }

    /// Reads from the open response, or opens the next one.
    async fn next_part(&mut self) -> Result<ResponsePart, CliError> {
        let mut response = match self.response.take() {
            Some(response) => response,
            None => match self.request().await {
                Ok(response) => response,
                Err(error) if error.is_temporary() && self.has_answered => {
                    return Ok(ResponsePart::Interrupted(error.to_string()));
                }
                Err(error) => return Err(error.into()),
            },
        };
        loop {
            let part = match timeout(SILENCE, response.lines.next()).await {
                Ok(Some(Ok(text))) if text.is_empty() => continue,
                Ok(Some(Ok(text))) => parse(&text)?,
                Ok(Some(Err(error))) => ResponsePart::Interrupted(error.to_string()),
                Ok(None) => ResponsePart::End,
                Err(_) => ResponsePart::Interrupted(self.client.silence_error().to_string()),
            };
            if let ResponsePart::Event(_) = part {
                self.response = Some(response);
            }
            return Ok(part);
        }
    }

    async fn request(&mut self) -> Result<OpenResponse, ClientError> {
        let parameters = parameters(&self.query);
        let response = match timeout(SILENCE, self.client.history(&parameters, self.token)).await {
            Ok(response) => response?,
            Err(_) => return Err(self.client.silence_error()),
        };
        self.has_answered = true;
        Ok(OpenResponse { lines: lines(response), after: self.query.after })
    }
}

fn parameters(query: &HistoryQuery) -> Vec<(&'static str, String)> {
    let filter = &query.filter;
    let mut parameters = vec![("after", query.after.to_string())];
    let mut add = |name, value: Option<String>| parameters.extend(value.map(|value| (name, value)));
    add("after_id", query.after_id.map(|id| id.to_string()));
    add("type", (!filter.events.kinds.is_empty()).then(|| filter.events.kinds.join(",")));
    add("stream", filter.events.stream_prefix.clone());
    add("owner", filter.owner.clone());
    add("venue", filter.venue.clone());
    add("since", filter.since.map(|since| since.to_string()));
    add("until", filter.until.map(|until| until.to_string()));
    add("follow", query.follow.then(|| "true".to_owned()));
    parameters
}

fn lines(response: Response) -> BoxStream<'static, Result<String, LinesCodecError>> {
    let bytes = response.bytes_stream().map_err(|error| std::io::Error::other(error.without_url()));
    let codec = LinesCodec::new_with_max_length(LINE_BYTES_MAX);
    FramedRead::new(StreamReader::new(Box::pin(bytes)), codec).boxed()
}

fn parse(text: &str) -> Result<ResponsePart, CliError> {
    match serde_json::from_str(text) {
        Ok(line) => Ok(ResponsePart::Event(line)),
        Err(error) => match serde_json::from_str::<FinalProblem>(text) {
            Ok(FinalProblem { problem }) => Ok(ResponsePart::Interrupted(problem.detail)),
            Err(_) => Err(CliError::unreachable(format!(
                "the server sent a line that is not an event of the history: {error}"
            ))),
        },
    }
}
