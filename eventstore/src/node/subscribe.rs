//! Subscriptions: what is recorded, then what comes, until the client or the
//! node leaves. Events are read from the log as fast as the client takes
//! them, so that one that stops reading holds one page and no more.

use std::sync::Arc;

use async_stream::try_stream;
use jiff::Timestamp;
use tokio::sync::watch;
use tonic::Status;
use uuid::Uuid;

use super::{
    convert,
    filter::Filter,
    proto::streams::{
        ReadResp,
        read_req::options::{all_options::AllOption, stream_options::RevisionOption},
        read_resp::{self, CaughtUp, Checkpoint, Content, SubscriptionConfirmation},
    },
    read::{Shape, answer, stream_page},
    status,
    streams::{Answers, Node},
};
use crate::{
    Position, ReadDirection, Revision, StreamName,
    sqlite::{PAGE_EVENTS, Span, StreamAnswer},
};

pub(super) fn to_all(node: Node, from: AllOption, filter: Option<Filter>, shape: Shape) -> Answers<ReadResp> {
    let mut head = node.store.watch_head();
    let mut at = match from {
        AllOption::Start(_) => Position::START,
        AllOption::End(_) => *head.borrow(),
        AllOption::Position(at) if at.commit_position == u64::MAX => *head.borrow(),
        AllOption::Position(at) => Position(at.commit_position),
    };
    // Without a filter every event says how far its reader is.
    let interval = filter.as_ref().map_or(u64::MAX, |filter| filter.interval);
    let filter = filter.map(Arc::new);
    Box::pin(try_stream! {
        yield confirmation();
        let mut considered = 0;
        let mut told = at;
        let mut live = false;
        loop {
            let consider = usize::try_from(interval - considered).unwrap_or(usize::MAX).min(PAGE_EVENTS);
            let span = Span { from: at, direction: ReadDirection::Forwards, consider, max: usize::MAX };
            let wanted = filter.clone();
            let wants = move |stream: &str, kind: &str| match &wanted {
                Some(filter) => filter.wants(stream, kind),
                None => Ok(true),
            };
            let page = node.store.log_page(span, wants).await.map_err(|error| status::unreadable(&error))?;
            at = page.next;
            considered += page.considered as u64;
            for entry in page.entries {
                yield answer(Content::Event(shape.event(&node, entry).await?));
            }
            let catches_up = page.end && !live;
            if filter.is_some() && at > told && (considered >= interval || catches_up) {
                told = at;
                considered = 0;
                yield checkpoint(at);
            }
            if catches_up {
                live = true;
                let position = read_resp::Position { commit_position: at.0, prepare_position: at.0 };
                yield caught_up(None, Some(position));
            }
            if page.end {
                news(&node, &mut head, at).await?;
            }
        }
    })
}

pub(super) fn to_stream(
    node: Node,
    stream: StreamName,
    from: RevisionOption,
    shape: Shape,
) -> Answers<ReadResp> {
    let mut head = node.store.watch_head();
    Box::pin(try_stream! {
        yield confirmation();
        let mut next = match from {
            RevisionOption::Start(_) => 0,
            RevisionOption::Revision(Revision::MAX) | RevisionOption::End(_) => {
                match stream_page(&node, &stream, Revision::MAX, ReadDirection::Backwards, 1).await? {
                    StreamAnswer::Page(page) => page.last + 1,
                    StreamAnswer::NotFound | StreamAnswer::Gone => 0,
                }
            }
            RevisionOption::Revision(revision) => revision + 1,
        };
        let mut live = false;
        loop {
            // Looked at before the page: what comes in between wakes us again.
            let seen = *head.borrow();
            let page = match stream_page(&node, &stream, next, ReadDirection::Forwards, PAGE_EVENTS).await {
                // Whoever was there when it ended sees what ended it.
                Err(gone) if live => {
                    let tombstone = node.store.tombstone(stream.clone()).await;
                    if let Some(tombstone) = tombstone.map_err(|error| status::unreadable(&error))? {
                        yield answer(Content::Event(shape.event(&node, tombstone).await?));
                    }
                    Err(gone)?
                }
                page => page?,
            };
            let (entries, end) = match page {
                StreamAnswer::Page(page) => (page.entries, page.end),
                StreamAnswer::NotFound | StreamAnswer::Gone => (Vec::new(), true),
            };
            for entry in entries {
                next = entry.event.revision + 1;
                yield answer(Content::Event(shape.event(&node, entry).await?));
            }
            if end && !live {
                live = true;
                let revision = next.checked_sub(1).and_then(|revision| i64::try_from(revision).ok());
                yield caught_up(revision, None);
            }
            if end {
                news(&node, &mut head, seen).await?;
            }
        }
    })
}

/// Waits until the log goes beyond `at`; an error when it never will here.
async fn news(node: &Node, head: &mut watch::Receiver<Position>, at: Position) -> Result<(), Status> {
    tokio::select! {
        () = node.stopping.cancelled() => Err(status::shutting_down()),
        news = head.wait_for(|head| *head > at) => news.map(|_| ()).map_err(|_| status::shutting_down()),
    }
}

fn confirmation() -> ReadResp {
    let subscription_id = Uuid::new_v4().to_string();
    answer(Content::Confirmation(SubscriptionConfirmation { subscription_id }))
}

fn checkpoint(at: Position) -> ReadResp {
    answer(Content::Checkpoint(Checkpoint {
        commit_position: at.0,
        prepare_position: at.0,
        timestamp: Some(convert::timestamp(Timestamp::now())),
    }))
}

fn caught_up(stream_revision: Option<i64>, position: Option<read_resp::Position>) -> ReadResp {
    let timestamp = Some(convert::timestamp(Timestamp::now()));
    answer(Content::CaughtUp(CaughtUp { timestamp, stream_revision, position }))
}
