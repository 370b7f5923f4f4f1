//! Subscriptions over the wire. The client's own retries forget filtered progress and do not pause, so this
//! module subscribes again, after the last position that it saw.

use ::esdb::{SubscribeToAllOptions, SubscriptionEvent, SubscriptionFilter};
use async_stream::stream;

use super::{
    EsdbStore,
    call_error::CallError,
    convert::{as_position, passes, recorded},
    managed_client::{RetryPause, authenticated},
    panic_guard::{ClientPanic, guard},
};
use crate::{EventFilter, Position, ReadError, Subscription, SubscriptionItem};

/// The number of events outside the filter after which a checkpoint is due.
const CHECKPOINT_EVENTS: u32 = 1000;

pub(super) fn subscribe(store: EsdbStore, after: Position, filter: EventFilter) -> Subscription {
    Box::pin(stream! {
        let mut at = after;
        let mut live = false;
        let mut unreported = 0;
        let mut pause = RetryPause::default();
        loop {
            match store.check_not_beyond_end(at).await {
                Ok(()) => {}
                Err(ReadError::Unavailable(_)) => continue,
                Err(error) => {
                    yield Err(error);
                    return;
                }
            }
            let (client, generation) = store.client.current_client();
            let options =
                SubscribeToAllOptions::default().position(as_position(at)).filter(server_filter(&filter));
            let options = authenticated!(store.client, options);
            let mut subscription = client.subscribe_to_all(&options).await;
            let end = loop {
                let event = match guard(subscription.next_subscription_event()).await {
                    Ok(Ok(event)) => event,
                    Ok(Err(error)) => break error,
                    // The server ended the subscription without an error.
                    Err(ClientPanic) => {
                        break ::esdb::Error::ServerError("the server ended the subscription".to_owned());
                    }
                };
                match event {
                    SubscriptionEvent::EventAppeared(event) => {
                        let original = event.get_original_event();
                        at = Position(original.position.commit);
                        if passes(original, &filter) {
                            unreported = 0;
                            yield recorded(&event).map(SubscriptionItem::Event);
                        } else {
                            unreported += 1;
                            if unreported == CHECKPOINT_EVENTS {
                                unreported = 0;
                                yield Ok(SubscriptionItem::Checkpoint(at));
                            }
                        }
                    }
                    SubscriptionEvent::Checkpoint(position) => {
                        at = Position(position.commit);
                        unreported = 0;
                        yield Ok(SubscriptionItem::Checkpoint(at));
                    }
                    SubscriptionEvent::CaughtUp if !live => {
                        live = true;
                        yield Ok(SubscriptionItem::CaughtUp(at));
                    }
                    _ => continue,
                }
                pause = RetryPause::default();
                store.client.report(generation, None);
            };
            if let Some(error) = CallError::of_final(&end) {
                yield Err(error.into());
                return;
            }
            tracing::info!(error = %end, "a subscription broke off after position {at} and is resumed there");
            store.client.report(generation, Some(&end));
            pause.wait().await;
        }
    })
}

/// Returns the part of the filter that the server can apply. A server filters either by stream or by type,
/// and types by prefix, so [`passes`] applies the rest.
fn server_filter(filter: &EventFilter) -> SubscriptionFilter {
    let wanted = match (&filter.stream_prefix, &filter.kinds[..]) {
        (Some(prefix), _) => SubscriptionFilter::on_stream_name().add_prefix(prefix),
        (None, []) => SubscriptionFilter::on_event_type().exclude_system_events(),
        (None, kinds) => kinds.iter().fold(SubscriptionFilter::on_event_type(), |f, kind| f.add_prefix(kind)),
    };
    wanted.max(CHECKPOINT_EVENTS)
}
