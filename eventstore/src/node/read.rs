//! Reads, which end, unlike subscriptions. The first page of a stream is read before the response begins,
//! so that its error becomes the error of the call.

use std::sync::Arc;

use async_stream::try_stream;
use tonic::Status;

use super::{
    convert,
    event_format::{EventFormat, response},
    filter::WireFilter,
    proto::streams::{
        ReadResp,
        read_req::options::{all_options::AllOption, stream_options::RevisionOption},
        read_resp::{Content, StreamNotFound},
    },
    shared::{NodeContext, ResponseStream},
    status,
};
use crate::{
    Position, ReadDirection, Revision, StreamName,
    sqlite::{LogSpan, PAGE_EVENTS, StreamAnswer, StreamPage},
};

/// The number of events in a page of an EventStoreDB.
const SERVER_PAGE_EVENTS: usize = 32;

/// The request for a part of the log.
pub(super) struct LogRead {
    pub(super) direction: ReadDirection,
    pub(super) count: usize,
    pub(super) filter: Option<WireFilter>,
    pub(super) format: EventFormat,
}

/// The request for a part of a stream.
pub(super) struct StreamRead {
    pub(super) stream: StreamName,
    pub(super) direction: ReadDirection,
    pub(super) count: usize,
    /// True if the client understands responses that tell the stream's oldest and newest revision.
    pub(super) tells_revisions: bool,
    pub(super) format: EventFormat,
}

pub(super) fn log_events(node: NodeContext, from: AllOption, read: LogRead) -> ResponseStream<ReadResp> {
    let LogRead { direction, count, filter, format } = read;
    let filter = filter.map(Arc::new);
    // Forwards, the event at the position is the first; backwards, the event before it.
    let mut from = match (from, direction) {
        (AllOption::Start(_), _) => Position::START,
        (AllOption::End(_), _) => Position(u64::MAX),
        (AllOption::Position(at), ReadDirection::Forwards) => Position(at.commit_position.saturating_sub(1)),
        (AllOption::Position(at), ReadDirection::Backwards) => Position(at.commit_position),
    };
    Box::pin(try_stream! {
        let mut left = count;
        while left > 0 {
            let span = LogSpan { from, direction, scan_max: PAGE_EVENTS, max: left };
            let filter = filter.clone();
            let passes = move |stream: &str, kind: &str| match &filter {
                Some(filter) => filter.passes(stream, kind),
                None => Ok(true),
            };
            let page = node.store.log_page(span, passes).await.map_err(|error| status::read_failed(&error))?;
            from = page.next;
            left -= page.events.len();
            for event in page.events {
                yield format.event_response(&node, event).await?;
            }
            if page.end {
                break;
            }
        }
    })
}

pub(super) async fn stream_events(
    node: NodeContext,
    from: RevisionOption,
    read: StreamRead,
) -> Result<ResponseStream<ReadResp>, Status> {
    let StreamRead { stream, direction, count, tells_revisions, format } = read;
    let from = match from {
        RevisionOption::Revision(revision) => revision,
        RevisionOption::Start(_) => 0,
        RevisionOption::End(_) => Revision::MAX,
    };
    let mut left = count;
    let first = stream_page(&node, &stream, from, direction, left).await?;
    let later = match &first {
        StreamAnswer::Page(page) if tells_revisions && direction == ReadDirection::Forwards => {
            goes_on_later(page, from, count)
        }
        _ => None,
    };
    Ok(Box::pin(try_stream! {
        if let Some(revision) = later {
            yield response(Content::FirstStreamPosition(revision));
        }
        let mut next = Some(first);
        while let Some(page) = next.take() {
            let StreamAnswer::Page(page) = page else {
                let stream_identifier = Some(convert::identifier(&stream));
                yield response(Content::StreamNotFound(StreamNotFound { stream_identifier }));
                return;
            };
            left -= page.events.len();
            let next_from = page.events.last().and_then(|last| match direction {
                ReadDirection::Forwards => last.event.revision.checked_add(1),
                ReadDirection::Backwards => last.event.revision.checked_sub(1),
            });
            for event in page.events {
                yield format.event_response(&node, event).await?;
            }
            match next_from {
                Some(from) if left > 0 && !page.end => {
                    next = Some(stream_page(&node, &stream, from, direction, left).await?);
                }
                _ if tells_revisions => yield response(Content::LastStreamPosition(page.last)),
                _ => {}
            }
        }
    }))
}

/// Returns the revision at which the stream goes on if an EventStoreDB would find its first page empty, because
/// the events there were truncated or the page begins beyond the end.
fn goes_on_later(page: &StreamPage, from: Revision, count: usize) -> Option<Revision> {
    let page_end = from.saturating_add(count.min(SERVER_PAGE_EVENTS) as u64);
    match page.events.first() {
        Some(first) => Some(first.event.revision).filter(|first| *first >= page_end),
        None => Some(page.last.saturating_add(1)).filter(|next| *next != from),
    }
}

/// Reads one page of a stream; fails if the stream was deleted for good.
async fn stream_page(
    node: &NodeContext,
    stream: &StreamName,
    from: Revision,
    direction: ReadDirection,
    max: usize,
) -> Result<StreamAnswer, Status> {
    match node.store.stream_page(stream.clone(), from, direction, max).await {
        Ok(StreamAnswer::Deleted) => Err(status::stream_deleted(stream)),
        Ok(page) => Ok(page),
        Err(error) => Err(status::read_failed(&error)),
    }
}
