//! Following the log: pages from the file, then sleep until the writer says
//! that there is more. What a slow reader has not fetched stays in the file.

use std::{sync::Arc, time::Duration};

use async_stream::stream;
use tokio::{sync::watch, time::sleep};

use super::{PAGE_EVENTS, port_page, readers::Readers};
use crate::{EventFilter, Position, ReadError, Subscription, SubscriptionItem};

/// The pauses after a failed read: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];

pub(super) fn follow(
    readers: Arc<Readers>,
    mut head: watch::Receiver<Position>,
    after: Position,
    filter: EventFilter,
) -> Subscription {
    let filter = Arc::new(filter);
    Box::pin(stream! {
        let mut at = after;
        let mut told = after;
        let mut live = false;
        let mut pause = PAUSES[0];
        loop {
            let page = match port_page(&readers, at, Arc::clone(&filter), PAGE_EVENTS).await {
                Ok(page) => page,
                Err(ReadError::Unavailable(why)) => {
                    tracing::warn!(why, position = %at, "a subscription cannot read and tries again");
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
                told = event.position;
                yield Ok(SubscriptionItem::Event(event));
            }
            if page.end && !live {
                live = true;
                told = at;
                yield Ok(SubscriptionItem::CaughtUp(at));
            } else if at.0 - told.0 >= PAGE_EVENTS as u64 {
                told = at;
                yield Ok(SubscriptionItem::Checkpoint(at));
            }
            if page.end && head.wait_for(|head| *head > at).await.is_err() {
                yield Err(ReadError::Unavailable("the store was closed".to_owned()));
                return;
            }
        }
    })
}
