//! Keeps the client's accidents in: its panics, and the loop that it never
//! leaves when a server ends a subscription without an error.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, resume_unwind},
    pin::pin,
    sync::LazyLock,
};

use futures::FutureExt;
use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    dispatcher::with_default,
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
};

/// The client panicked, or would have gone on for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accident;

/// Runs a call of the client to its end, good or bad.
///
/// What the client logs meanwhile is not passed on: its errors are ours to
/// mend, and reported where that fails.
pub(super) async fn contained<T>(call: impl Future<Output = T>) -> Result<T, Accident> {
    let mut call = pin!(AssertUnwindSafe(call).catch_unwind());
    poll_fn(|cx| with_default(&TRIPWIRE, || call.as_mut().poll(cx))).await.map_err(|_| Accident)
}

static TRIPWIRE: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Tripwire));

/// Unwinds out of the client when it warns.
///
/// In that loop the client does nothing but warn, and it never returns to
/// whoever polls it; a warning is the only place where it can be stopped. It
/// warns of nothing else there.
struct Tripwire;

impl Subscriber for Tripwire {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() == Level::WARN && metadata.target() == "eventstore::commands"
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn event(&self, _: &Event<'_>) {
        // Unlike a panic this is not reported; it is no fault of this program.
        resume_unwind(Box::new(Accident))
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
