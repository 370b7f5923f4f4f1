//! Guards calls of the client against its panics, and against the loop that it enters when a server ends a
//! subscription without an error.

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

/// The error for a call in which the client panicked or entered its endless loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientPanic;

/// Runs a call of the client to its end, or until the client panics or enters its endless loop.
///
/// The client's own log lines are dropped meanwhile: this adapter handles its errors, and logs those that
/// it cannot handle.
pub(super) async fn guard<T>(call: impl Future<Output = T>) -> Result<T, ClientPanic> {
    let mut call = pin!(AssertUnwindSafe(call).catch_unwind());
    poll_fn(|cx| with_default(&LOOP_BREAKER, || call.as_mut().poll(cx))).await.map_err(|_| ClientPanic)
}

static LOOP_BREAKER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(UnwindOnWarning));

/// A log subscriber that unwinds out of the client when the client warns.
///
/// In its endless loop the client does nothing but warn, and it never returns to its caller, so a warning is
/// the only place where it can be stopped. Outside that loop it does not warn.
struct UnwindOnWarning;

impl Subscriber for UnwindOnWarning {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() == Level::WARN && metadata.target() == "eventstore::commands"
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn event(&self, _: &Event<'_>) {
        // Unlike a panic, this unwinding prints nothing, because this program has no fault.
        resume_unwind(Box::new(ClientPanic))
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
