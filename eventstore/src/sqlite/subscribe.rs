//! Subscriptions to the embedded log: a subscription reads pages from the file, then sleeps until the
//! writer reports a new head. Events that a slow reader has not fetched stay in the file.

use std::{sync::Arc, time::Duration};

use async_stream::stream;
use tokio::{sync::watch, time::sleep};

use super::{PAGE_EVENTS, readers::ReaderPool, user_page};
use crate::{EventFilter, Position, ReadError, Subscription, SubscriptionItem};

/// The pauses after a failed read: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];

pub(super) fn subscribe(
    readers: Arc<ReaderPool>,
    mut head: watch::Receiver<Position>,
    after: Position,
    filter: EventFilter,
) -> Subscription {
    let filter = Arc::new(filter);
    Box::pin(stream! {
        let mut at = after;
        // The newest position that the subscriber was told.
        let mut reported = after;
        let mut live = false;
        let mut pause = PAUSES[0];
        loop {
            let page = match user_page(&readers, at, Arc::clone(&filter), PAGE_EVENTS).await {
                Ok(page) => page,
                Err(ReadError::Unavailable(why)) => {
                    tracing::warn!(
                        position = %at,
                        "a subscription could not read the log after position {at} and tries again: {why}"
                    );
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSES[1]);
                    continue;
                }
                Err(error) => {
                    yield Err(error);
                    return;
                }
            };
            pause = PAUSES[0];
            at = page.next;
            for event in page.events {
                reported = event.position;
                yield Ok(SubscriptionItem::Event(event));
            }
            if page.end && !live {
                live = true;
                reported = at;
                yield Ok(SubscriptionItem::CaughtUp(at));
            } else if at.0 - reported.0 >= PAGE_EVENTS as u64 {
                reported = at;
                yield Ok(SubscriptionItem::Checkpoint(at));
            }
            if page.end && head.wait_for(|head| *head > at).await.is_err() {
                yield Err(ReadError::Unavailable("the store was closed".to_owned()));
                return;
            }
        }
    })
}
