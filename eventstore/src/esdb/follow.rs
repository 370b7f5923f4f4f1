//! Following the log over the wire. The client's own retries forget filtered
//! progress and do not pause, so each subscription is made anew from here,
//! after the last position that was seen.

use ::esdb::{SubscribeToAllOptions, SubscriptionEvent, SubscriptionFilter};
use async_stream::stream;

use super::{
    EsdbStore,
    contain::{Accident, contained},
    convert::{as_position, of_ours, recorded},
    link::{Pause, authenticated, is_final},
};
use crate::{EventFilter, Position, ReadError, Subscription, SubscriptionItem};

/// A checkpoint is due after so many events that did not pass the filter.
const CHECKPOINT_EVENTS: u32 = 1000;

pub(super) fn follow(store: EsdbStore, after: Position, filter: EventFilter) -> Subscription {
    Box::pin(stream! {
        let mut at = after;
        let mut live = false;
        let mut silent = 0;
        let mut pause = Pause::default();
        loop {
            match store.check_reaches(at).await {
                Ok(()) => {}
                Err(ReadError::Unavailable(_)) => continue,
                Err(error) => {
                    yield Err(error);
                    return;
                }
            }
            let (client, generation) = store.link.client();
            let options =
                SubscribeToAllOptions::default().position(as_position(at)).filter(on_the_server(&filter));
            let options = authenticated!(store.link, options);
            let mut subscription = client.subscribe_to_all(&options).await;
            let end = loop {
                let event = match contained(subscription.next_subscription_event()).await {
                    Ok(Ok(event)) => event,
                    Ok(Err(error)) => break error,
                    // The server ended it well, which the client cannot bear.
                    Err(Accident) => break ::esdb::Error::ServerError("it ended".to_owned()),
                };
                match event {
                    SubscriptionEvent::EventAppeared(event) => {
                        let original = event.get_original_event();
                        at = Position(original.position.commit);
                        if of_ours(original, &filter) {
                            silent = 0;
                            yield recorded(&event).map(SubscriptionItem::Event);
                        } else {
                            silent += 1;
                            if silent == CHECKPOINT_EVENTS {
                                silent = 0;
                                yield Ok(SubscriptionItem::Checkpoint(at));
                            }
                        }
                    }
                    SubscriptionEvent::Checkpoint(position) => {
                        at = Position(position.commit);
                        silent = 0;
                        yield Ok(SubscriptionItem::Checkpoint(at));
                    }
                    SubscriptionEvent::CaughtUp if !live => {
                        live = true;
                        yield Ok(SubscriptionItem::CaughtUp(at));
                    }
                    _ => continue,
                }
                pause = Pause::default();
                store.link.report(generation, None);
            };
            if is_final(&end) {
                yield Err(ReadError::Refused(end.to_string()));
                return;
            }
            tracing::info!(error = %end, position = %at, "a subscription broke off and is made anew");
            store.link.report(generation, Some(&end));
            pause.wait().await;
        }
    })
}

/// What the server can sort out. It filters by one thing only, and types by
/// their beginning, so the rest is done here.
fn on_the_server(filter: &EventFilter) -> SubscriptionFilter {
    let wanted = match (&filter.stream_prefix, &filter.kinds[..]) {
        (Some(prefix), _) => SubscriptionFilter::on_stream_name().add_prefix(prefix),
        (None, []) => SubscriptionFilter::on_event_type().exclude_system_events(),
        (None, kinds) => kinds.iter().fold(SubscriptionFilter::on_event_type(), |f, kind| f.add_prefix(kind)),
    };
    wanted.max(CHECKPOINT_EVENTS)
}
