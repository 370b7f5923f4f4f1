//! Subscriptions over the wire, which begin again by themselves after the last event that the server sent.
//!
//! A server's checkpoint tells how far it came, and is no place to begin: it stands at an event that a scavenge may
//! remove, or at none. It only moves what the subscriber knows of its progress, never back and never past the head.

use std::time::Duration;

use async_stream::stream;
use futures::StreamExt;
use tokio::time::{Instant, timeout_at};
use tonic::{Status, Streaming};
use uuid::Uuid;

use super::{
    EsdbStore, at_position,
    call_error::{CallError, CallSubject, CallVerdict},
    call_read,
    cluster::{CALL_DEADLINE, ChosenServer, RetryPause},
    convert::{CHECKPOINT_EVENTS, log_request, passes, place, recorded, subscription_request},
    nothing_at, read_from,
};
use crate::{
    EventFilter, Position, Read, ReadDirection, ReadError, Subscription, SubscriptionItem,
    node::proto::streams::{
        ReadResp,
        read_resp::{Checkpoint, Content},
    },
};

pub(super) fn subscribe(store: EsdbStore, after: Position, filter: EventFilter) -> Subscription {
    Box::pin(stream! {
        // The last event that the server sent: the place to begin again, and the id by which it is recognised.
        let mut at = after;
        let mut at_event = None;
        // What the subscriber was told, which is further where the server skipped events.
        let mut told = after;
        let mut live = false;
        let mut unreported = 0;
        let mut trouble = SubscriptionTrouble::default();
        loop {
            let end = match begin(&store, at, at_event, &filter).await {
                Ok(mut answers) => loop {
                    let content = match answers.next().await {
                        Some(Ok(message)) => message.content,
                        Some(Err(status)) => break answers.end(&store, &status),
                        None => break CallVerdict::Repeat("the server ended the subscription".to_owned()),
                    };
                    match content {
                        Some(Content::Event(event)) => {
                            let event = match recorded(event) {
                                Ok(event) => event,
                                Err(status) => break answers.end(&store, &status),
                            };
                            // After a server began a little early, or repeated itself.
                            if event.position <= at {
                                continue;
                            }
                            at = event.position;
                            at_event = Some(event.id);
                            if passes(&event, &filter) {
                                store.index.see(&event);
                                unreported = 0;
                                told = told.max(at);
                                yield Ok(SubscriptionItem::Event(event));
                            } else {
                                unreported += 1;
                                if unreported == CHECKPOINT_EVENTS {
                                    unreported = 0;
                                    told = told.max(at);
                                    yield Ok(SubscriptionItem::Checkpoint(told));
                                }
                            }
                        }
                        Some(Content::Checkpoint(checkpoint)) => {
                            if let Some(reached) = reached(&store, &checkpoint, told).await {
                                unreported = 0;
                                told = reached;
                                yield Ok(SubscriptionItem::Checkpoint(told));
                            }
                        }
                        Some(Content::CaughtUp(_)) if !live => {
                            live = true;
                            told = told.max(at);
                            yield Ok(SubscriptionItem::CaughtUp(told));
                        }
                        // Of a subscription that was live before it broke off.
                        Some(Content::CaughtUp(_)) => {}
                        _ => continue,
                    }
                    trouble.is_over();
                },
                Err(verdict) => verdict,
            };
            if end != CallVerdict::Final(CallError::BeyondEnd) {
                trouble.beyond_end = None;
            }
            match end {
                // A leader that was frozen takes itself for the leader for a while, and lacks the newest events.
                CallVerdict::Final(CallError::BeyondEnd)
                    if store.cluster.has_members() && trouble.is_beyond_end() < CALL_DEADLINE =>
                {
                    trouble.wait(false, at, "the leader does not have that position").await;
                }
                CallVerdict::Final(error) => {
                    yield Err(at_position(error, at));
                    return;
                }
                CallVerdict::Redirected(leader) => {
                    // At once, unless servers name each other.
                    let first = !std::mem::replace(&mut trouble.redirected, true);
                    trouble.wait(store.cluster.follow(&leader) && first, at, "another server leads").await;
                }
                CallVerdict::Repeat(why) => trouble.wait(false, at, &why).await,
            }
        }
    })
}

/// The answers of the server that a subscription has.
struct ServerAnswers {
    server: ChosenServer,
    messages: Streaming<ReadResp>,
}

impl ServerAnswers {
    async fn next(&mut self) -> Option<Result<ReadResp, Status>> {
        self.messages.next().await
    }

    fn end(&self, store: &EsdbStore, status: &Status) -> CallVerdict {
        store.cluster.judge(&self.server.host, status, CallSubject::Log)
    }
}

/// Subscribes after the event at `at`, which has the id `at_event` if that is known.
async fn begin(
    store: &EsdbStore,
    at: Position,
    at_event: Option<Uuid>,
    filter: &EventFilter,
) -> Result<ServerAnswers, CallVerdict> {
    let deadline = Instant::now() + CALL_DEADLINE;
    let server = match timeout_at(deadline, store.cluster.choose_to_subscribe()).await {
        Ok(Ok(server)) => server,
        Ok(Err(CallError::Unavailable(why))) => return Err(CallVerdict::Repeat(why)),
        Ok(Err(error)) => return Err(CallVerdict::Final(error)),
        Err(_) => {
            return Err(CallVerdict::Repeat("the servers do not name their cluster's members".to_owned()));
        }
    };
    let begun = async {
        let place = match resume_place(&server, at, at_event).await? {
            ResumePlace::At(place) => place,
            nowhere => return Ok(Err(nowhere)),
        };
        call_read(&server, subscription_request(place, filter)).await.map(Ok)
    };
    match store.cluster.try_once(deadline, CallSubject::Log, &server, begun).await? {
        Ok(messages) => Ok(ServerAnswers { server, messages }),
        Err(ResumePlace::OtherEvent(id)) => {
            let why = format!("the event there is {id} now; was the log restored from an older copy?");
            Err(CallVerdict::Final(CallError::OtherLog(why)))
        }
        Err(_) => Err(match nothing_at(at, server.requires_leader) {
            ReadError::Unavailable(why) => CallVerdict::Repeat(why),
            _ => CallVerdict::Final(CallError::BeyondEnd),
        }),
    }
}

/// Where a subscription can begin again.
enum ResumePlace {
    /// After the event at this position.
    At(Position),
    /// Nowhere: another event stands at the position.
    OtherEvent(Uuid),
    /// Nowhere: the log ends before the position.
    BeyondEnd,
}

/// Returns the position of an event that stands in the server's log, so that a subscription which begins after it
/// misses nothing after `after`. That is `after` itself, unless a scavenge removed the event there: some servers then
/// skip the next event without a word. Each server scavenges its own log, so it must be the one that is subscribed to.
async fn resume_place(
    server: &ChosenServer,
    after: Position,
    known: Option<Uuid>,
) -> Result<ResumePlace, Status> {
    let first = async |from, direction| {
        let read = read_from(server, log_request(place(from), direction, 1, None), usize::MAX).await?;
        Ok::<_, Status>(read.events.first().map(|event| (event.position, event.id)))
    };
    if after == Position::START {
        return Ok(ResumePlace::At(after));
    }
    Ok(match first(after, ReadDirection::Forwards).await? {
        Some((next, _)) if next > after => {
            let before = first(next, ReadDirection::Backwards).await?;
            ResumePlace::At(before.map_or(Position::START, |(position, _)| position))
        }
        Some((_, id)) if known.is_some_and(|known| known != id) => ResumePlace::OtherEvent(id),
        Some(_) => ResumePlace::At(after),
        None => ResumePlace::BeyondEnd,
    })
}

/// Returns how far a checkpoint says that the server came, if that is further than `told`.
///
/// 24.10.3 sends the largest number when it has considered nothing, and 25.0.0 the position of the event that comes
/// next. So the head bounds what is believed.
async fn reached(store: &EsdbStore, checkpoint: &Checkpoint, told: Position) -> Option<Position> {
    let position = Position(checkpoint.commit_position);
    if position <= told || position.0 > i64::MAX as u64 {
        return None;
    }
    let head = store.head().await.ok()?;
    Some(position.min(head)).filter(|reached| *reached > told)
}

/// The failures in a row of a subscription.
#[derive(Default)]
struct SubscriptionTrouble {
    pause: RetryPause,
    /// The reason that was logged last, so that a long trouble is told once.
    logged: Option<String>,
    /// True if a server has named another as the leader.
    redirected: bool,
    /// The moment since which the leader says that the log ends before the position.
    beyond_end: Option<Instant>,
}

impl SubscriptionTrouble {
    /// Logs a new reason, and waits before the next try unless the next try is made `at_once`.
    async fn wait(&mut self, at_once: bool, at: Position, why: &str) {
        if self.logged.as_deref() != Some(why) {
            tracing::warn!(
                "a subscription to the event log broke off after position {at} and is tried again: {why}"
            );
            self.logged = Some(why.to_owned());
        }
        if !at_once {
            self.pause.wait().await;
        }
    }

    /// Notes that the log ends before the position, and returns for how long it has done so.
    fn is_beyond_end(&mut self) -> Duration {
        self.beyond_end.get_or_insert_with(Instant::now).elapsed()
    }

    fn is_over(&mut self) {
        if self.logged.take().is_some() {
            tracing::info!("the subscription to the event log goes on");
        }
        *self = Self::default();
    }
}
