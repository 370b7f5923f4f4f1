//! Reads that end. The first page is read before the answer begins, so that
//! an error is the call's own.

use async_stream::try_stream;
use tonic::Status;

use super::{
    convert,
    filter::Filter,
    proto::streams::{
        ReadReq, ReadResp,
        read_req::{
            Options,
            options::{
                AllOptions, CountOption, FilterOption, ReadDirection as WireDirection, StreamOption,
                StreamOptions, all_options::AllOption, stream_options::RevisionOption, uuid_option,
            },
        },
        read_resp::{Content, ReadEvent, StreamNotFound},
    },
    status,
    streams::{Answers, Node},
    subscribe,
};
use crate::{
    Position, ReadDirection, Revision, StreamName,
    sqlite::{Entry, PAGE_EVENTS, Span, StreamAnswer},
};

/// The type of an event that stands for another.
const LINK: &str = "$>";

/// How a client wants its events.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    text_ids: bool,
    resolve_links: bool,
}

pub(super) async fn read(node: Node, request: ReadReq) -> Result<Answers<ReadResp>, Status> {
    let invalid = Status::invalid_argument;
    let options = request.options.ok_or_else(|| invalid("the options are missing"))?;
    let shape = Shape::parse(&options)?;
    let direction = match options.read_direction() {
        WireDirection::Forwards => ReadDirection::Forwards,
        WireDirection::Backwards => ReadDirection::Backwards,
    };
    let filter = match options.filter_option {
        Some(FilterOption::Filter(filter)) => Some(Filter::parse(filter)?),
        Some(FilterOption::NoFilter(_)) | None => None,
    };
    let count = match options.count_option {
        Some(CountOption::Count(count)) => Some(count),
        Some(CountOption::Subscription(_)) => None,
        None => return Err(invalid("neither a count nor a subscription")),
    };
    match (options.stream_option, count) {
        (Some(StreamOption::Stream(_)), _) if filter.is_some() => {
            Err(invalid("only $all can be read with a filter"))
        }
        (_, None) if direction == ReadDirection::Backwards => Err(invalid("a subscription goes forwards")),
        (Some(StreamOption::Stream(stream)), Some(count)) => {
            let positions = options.control_option.is_some_and(|control| control.compatibility >= 1);
            stream_events(node, stream, direction, count, positions, shape).await
        }
        (Some(StreamOption::Stream(stream)), None) => {
            let from = stream.revision_option.ok_or_else(|| invalid("the revision is missing"))?;
            let stream = convert::stream_name(stream.stream_identifier)?;
            Ok(subscribe::to_stream(node, stream, from, shape))
        }
        (Some(StreamOption::All(AllOptions { all_option: Some(from) })), Some(count)) => {
            Ok(log_events(node, from, direction, count, filter, shape))
        }
        (Some(StreamOption::All(AllOptions { all_option: Some(from) })), None) => {
            Ok(subscribe::to_all(node, from, filter, shape))
        }
        (Some(StreamOption::All(_)), _) => Err(invalid("the position is missing")),
        (None, _) => Err(invalid("neither a stream nor $all")),
    }
}

fn log_events(
    node: Node,
    from: AllOption,
    direction: ReadDirection,
    count: u64,
    filter: Option<Filter>,
    shape: Shape,
) -> Answers<ReadResp> {
    let filter = filter.map(std::sync::Arc::new);
    // Forwards, the event at the position is the first; backwards, the one before it.
    let mut from = match (from, direction) {
        (AllOption::Start(_), _) => Position::START,
        (AllOption::End(_), _) => Position(u64::MAX),
        (AllOption::Position(at), ReadDirection::Forwards) => Position(at.commit_position.saturating_sub(1)),
        (AllOption::Position(at), ReadDirection::Backwards) => Position(at.commit_position),
    };
    Box::pin(try_stream! {
        let mut left = usize::try_from(count).unwrap_or(usize::MAX);
        while left > 0 {
            let span = Span { from, direction, consider: PAGE_EVENTS, max: left };
            let filter = filter.clone();
            let wants = move |stream: &str, kind: &str| match &filter {
                Some(filter) => filter.wants(stream, kind),
                None => Ok(true),
            };
            let page = node.store.log_page(span, wants).await.map_err(|error| status::unreadable(&error))?;
            from = page.next;
            left -= page.entries.len();
            for entry in page.entries {
                yield answer(Content::Event(shape.event(&node, entry).await?));
            }
            if page.end {
                break;
            }
        }
    })
}

async fn stream_events(
    node: Node,
    options: StreamOptions,
    direction: ReadDirection,
    count: u64,
    positions: bool,
    shape: Shape,
) -> Result<Answers<ReadResp>, Status> {
    let stream = convert::stream_name(options.stream_identifier)?;
    let from = match options.revision_option {
        Some(RevisionOption::Revision(revision)) => revision,
        Some(RevisionOption::Start(_)) => 0,
        Some(RevisionOption::End(_)) => Revision::MAX,
        None => return Err(Status::invalid_argument("the revision is missing")),
    };
    let mut left = usize::try_from(count).unwrap_or(usize::MAX);
    let first = stream_page(&node, &stream, from, direction, left).await?;
    Ok(Box::pin(try_stream! {
        let mut next = Some(first);
        while let Some(page) = next.take() {
            let StreamAnswer::Page(page) = page else {
                let stream_identifier = Some(convert::identifier(&stream));
                yield answer(Content::StreamNotFound(StreamNotFound { stream_identifier }));
                return;
            };
            left -= page.entries.len();
            let next_from = page.entries.last().and_then(|entry| match direction {
                ReadDirection::Forwards => entry.event.revision.checked_add(1),
                ReadDirection::Backwards => entry.event.revision.checked_sub(1),
            });
            for entry in page.entries {
                yield answer(Content::Event(shape.event(&node, entry).await?));
            }
            match next_from {
                Some(from) if left > 0 && !page.end => {
                    next = Some(stream_page(&node, &stream, from, direction, left).await?);
                }
                _ if positions => yield answer(Content::LastStreamPosition(page.last)),
                _ => {}
            }
        }
    }))
}

/// One page of a stream that is not gone.
pub(super) async fn stream_page(
    node: &Node,
    stream: &StreamName,
    from: Revision,
    direction: ReadDirection,
    max: usize,
) -> Result<StreamAnswer, Status> {
    match node.store.stream_page(stream.clone(), from, direction, max).await {
        Ok(StreamAnswer::Gone) => Err(status::stream_deleted(stream)),
        Ok(page) => Ok(page),
        Err(error) => Err(status::unreadable(&error)),
    }
}

impl Shape {
    fn parse(options: &Options) -> Result<Self, Status> {
        let text_ids = match options.uuid_option.map(|option| option.content) {
            Some(Some(uuid_option::Content::String(_))) => true,
            Some(_) => false,
            None => return Err(Status::invalid_argument("the form of UUIDs is missing")),
        };
        Ok(Self { text_ids, resolve_links: options.resolve_links })
    }

    /// The event as the client wants it, its link followed.
    pub(super) async fn event(self, node: &Node, entry: Entry) -> Result<ReadEvent, Status> {
        if !self.resolve_links || entry.event.kind != LINK {
            return Ok(convert::read_event(entry, self.text_ids));
        }
        let target = match link_target(&entry) {
            Some((stream, revision)) => {
                let page = node.store.stream_page(stream, revision, ReadDirection::Forwards, 1).await;
                match page.map_err(|error| status::unreadable(&error))? {
                    StreamAnswer::Page(page) => {
                        page.entries.into_iter().find(|entry| entry.event.revision == revision)
                    }
                    StreamAnswer::NotFound | StreamAnswer::Gone => None,
                }
            }
            None => None,
        };
        Ok(convert::resolved_link(entry, target, self.text_ids))
    }
}

/// A link's data is `revision@stream`.
fn link_target(link: &Entry) -> Option<(StreamName, Revision)> {
    let (revision, stream) = std::str::from_utf8(&link.event.data).ok()?.split_once('@')?;
    Some((StreamName::new(stream).ok()?, revision.parse().ok()?))
}

pub(super) fn answer(content: Content) -> ReadResp {
    ReadResp { content: Some(content) }
}
