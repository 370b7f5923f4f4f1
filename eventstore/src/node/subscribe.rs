//! Subscriptions: the recorded events, then new ones, until the client leaves or the node stops. Events
//! are read from the log as fast as the client takes them, so a client that stops reading holds one page
//! and no more.

use std::sync::Arc;

use async_stream::try_stream;
use jiff::Timestamp;
use tokio::sync::watch;
use tonic::Status;
use uuid::Uuid;

use super::{
    convert,
    event_format::{EventFormat, response},
    filter::WireFilter,
    proto::streams::{
        ReadResp,
        read_req::options::{all_options::AllOption, stream_options::RevisionOption},
        read_resp::{self, CaughtUp, Checkpoint, Content, SubscriptionConfirmation},
    },
    shared::{NodeContext, ResponseStream},
    status,
};
use crate::{
    Position, ReadDirection, Revision, StreamName,
    sqlite::{LogSpan, PAGE_EVENTS, StoredEvent, StreamAnswer},
};

pub(super) fn to_all(
    node: NodeContext,
    from: AllOption,
    filter: Option<WireFilter>,
    format: EventFormat,
) -> ResponseStream<ReadResp> {
    let mut head = node.store.watch_head();
    let mut at = match from {
        AllOption::Start(_) => Position::START,
        AllOption::End(_) => *head.borrow(),
        AllOption::Position(at) if at.commit_position == u64::MAX => *head.borrow(),
        AllOption::Position(at) => Position(at.commit_position),
    };
    // Without a filter no checkpoint is due, because every event tells the client its position.
    let interval = filter.as_ref().map_or(u64::MAX, |filter| filter.interval);
    let filter = filter.map(Arc::new);
    // The event at the client's own position counts, although the client has it.
    let begun = match from {
        AllOption::Position(from) => u64::from(from.commit_position != u64::MAX && at > Position::START),
        AllOption::Start(_) | AllOption::End(_) => 0,
    };
    Box::pin(try_stream! {
        yield confirmation();
        let mut scanned = begun.min(interval - 1);
        // The newest position that the client was told.
        let mut reported = at;
        let mut live = false;
        loop {
            let scan_max = usize::try_from(interval - scanned).unwrap_or(usize::MAX).min(PAGE_EVENTS);
            let span = LogSpan { from: at, direction: ReadDirection::Forwards, scan_max, max: usize::MAX };
            let filter_of_page = filter.clone();
            let passes = move |stream: &str, kind: &str| match &filter_of_page {
                Some(filter) => filter.passes(stream, kind),
                None => Ok(true),
            };
            let page = node.store.log_page(span, passes).await.map_err(|error| status::read_failed(&error))?;
            at = page.next;
            scanned += page.scanned as u64;
            for event in page.events {
                // An event tells its position itself.
                reported = event.event.position;
                yield format.event_response(&node, event).await?;
            }
            if reported == at && scanned >= interval {
                scanned = 0;
            }
            let catches_up = page.end && !live;
            let by_checkpoint = filter.is_some() && at > reported && (scanned >= interval || catches_up);
            if by_checkpoint {
                reported = at;
                scanned = 0;
                yield checkpoint(at);
            }
            if catches_up {
                live = true;
                // A checkpoint has no prepare position.
                let prepare_position = if by_checkpoint { 0 } else { at.0 };
                let position = read_resp::Position { commit_position: at.0, prepare_position };
                yield caught_up(None, Some(position));
            }
            if page.end {
                wait_for_event(&node, &mut head, at).await?;
            }
        }
    })
}

/// Subscribes to a stream; fails if it was deleted for good.
pub(super) async fn to_stream(
    node: NodeContext,
    stream: StreamName,
    from: RevisionOption,
    format: EventFormat,
) -> Result<ResponseStream<ReadResp>, Status> {
    let mut head = node.store.watch_head();
    let newest = newest_revision(&node, &stream).await?;
    Ok(Box::pin(try_stream! {
        yield confirmation();
        let mut next = match from {
            RevisionOption::Start(_) => 0,
            RevisionOption::Revision(Revision::MAX) | RevisionOption::End(_) => {
                newest.map_or(0, |newest| newest + 1)
            }
            RevisionOption::Revision(revision) => revision + 1,
        };
        let mut live = false;
        loop {
            // The head is taken before the page, so that an event recorded in between wakes this loop again.
            let seen = *head.borrow();
            let page = node.store.stream_page(stream.clone(), next, ReadDirection::Forwards, PAGE_EVENTS).await;
            let (events, end) = match page.map_err(|error| status::read_failed(&error))? {
                StreamAnswer::Page(page) => (page.events, page.end),
                StreamAnswer::NotFound => (Vec::new(), true),
                StreamAnswer::Deleted => {
                    // A subscriber that was live gets the event that deleted the stream.
                    let tombstone = if live { tombstone(&node, &stream).await? } else { None };
                    if let Some(tombstone) = tombstone {
                        yield format.event_response(&node, tombstone).await?;
                    }
                    Err(status::stream_deleted(&stream))?;
                    return;
                }
            };
            for event in events {
                next = event.event.revision + 1;
                yield format.event_response(&node, event).await?;
            }
            if end && !live {
                live = true;
                let revision = next.checked_sub(1).and_then(|revision| i64::try_from(revision).ok());
                yield caught_up(revision, None);
            }
            if end {
                wait_for_event(&node, &mut head, seen).await?;
            }
        }
    }))
}

/// Returns the newest revision of a stream that was not deleted for good.
async fn newest_revision(node: &NodeContext, stream: &StreamName) -> Result<Option<Revision>, Status> {
    match node.store.stream_page(stream.clone(), Revision::MAX, ReadDirection::Backwards, 1).await {
        Ok(StreamAnswer::Page(page)) => Ok(Some(page.last)),
        Ok(StreamAnswer::NotFound) => Ok(None),
        Ok(StreamAnswer::Deleted) => Err(status::stream_deleted(stream)),
        Err(error) => Err(status::read_failed(&error)),
    }
}

async fn tombstone(node: &NodeContext, stream: &StreamName) -> Result<Option<StoredEvent>, Status> {
    node.store.tombstone(stream.clone()).await.map_err(|error| status::read_failed(&error))
}

/// Waits until the log has an event after `at`; fails if the node stops before.
async fn wait_for_event(
    node: &NodeContext,
    head: &mut watch::Receiver<Position>,
    at: Position,
) -> Result<(), Status> {
    tokio::select! {
        () = node.stopping.cancelled() => Err(status::shutting_down()),
        grown = head.wait_for(|head| *head > at) => {
            grown.map(|_| ()).map_err(|_| status::shutting_down())
        }
    }
}

fn confirmation() -> ReadResp {
    let subscription_id = Uuid::new_v4().to_string();
    response(Content::Confirmation(SubscriptionConfirmation { subscription_id }))
}

fn checkpoint(at: Position) -> ReadResp {
    response(Content::Checkpoint(Checkpoint {
        commit_position: at.0,
        prepare_position: 0,
        timestamp: Some(convert::timestamp(Timestamp::now())),
    }))
}

fn caught_up(stream_revision: Option<i64>, position: Option<read_resp::Position>) -> ReadResp {
    let timestamp = Some(convert::timestamp(Timestamp::now()));
    response(Content::CaughtUp(CaughtUp { timestamp, stream_revision, position }))
}
