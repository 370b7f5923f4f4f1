//! The adapter for EventStoreDB, over its official client. The client fails in ways that its callers cannot
//! recover from, so the adapter works around them:
//!
//! - after a failed connect the client is dead, and it stays with a server that died: [`managed_client`]
//!   replaces it and repeats the call;
//! - the client panics, and it loops for ever when a subscription ends without an error: [`panic_guard`];
//! - the client forgets how far a filtered subscription came: [`subscribe`] resumes by itself;
//! - the client panics over certificates that it does not need, and over TLS libraries that were used before
//!   it: [`connect`].

mod call_error;
mod connect;
mod convert;
mod managed_client;
mod panic_guard;
mod subscribe;
#[cfg(test)]
mod tests;

pub use connect::ConnectError;

use std::{fmt, sync::Arc};

use ::esdb::{
    AppendToStreamOptions, CurrentRevision, ReadAllOptions, ReadStreamOptions, ResolvedEvent, StreamPosition,
};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use self::{
    call_error::CallError,
    convert::{as_position, event_data, expected_revision, passes, recorded},
    managed_client::{CALL_DEADLINE, ManagedClient, authenticated},
};
use crate::{
    Append, AppendError, AppendReceipt, EventFilter, EventPage, ExpectedRevision, NewEvent, Position, Read,
    ReadDirection, ReadError, RecordedEvent, Revision, StreamName, Subscribe, Subscription,
    append_request::AppendRequest,
};

/// The largest step by which a server's clock may be set back without hiding events from
/// [`Read::position_before`]. The clocks of one cluster differ by less.
const CLOCK_STEP: SignedDuration = SignedDuration::from_mins(1);

/// The number of events that one page of the log scans.
const PAGE_EVENTS: usize = 1000;

/// An EventStoreDB, or another server of its protocol such as the wire node. The server needs version 23.10 or
/// later, which reports when a subscription has caught up.
#[derive(Clone)]
pub struct EsdbStore {
    client: Arc<ManagedClient>,
}

impl EsdbStore {
    /// Prepares the connection to a server or a cluster: `esdb://user:password@host:2113,…?tls=true`. Does not
    /// wait until the server can be reached.
    ///
    /// The client installs the process's default cryptography. Libraries that bring their own cryptography, as
    /// MongoDB's driver does, may use TLS before this call; libraries that install the default may not.
    ///
    /// # Errors
    /// If the address is malformed, if the certificates that it needs cannot be read, or if the process's
    /// default cryptography is installed already.
    pub async fn connect(address: &str) -> Result<Self, ConnectError> {
        let settings = connect::settings(address)?;
        connect::install_cryptography().await?;
        Ok(Self { client: Arc::new(ManagedClient::new(settings, connect::credentials(address))?) })
    }
}

impl EsdbStore {
    /// Returns the first event at or after `position`.
    async fn at_or_after(&self, position: Position) -> Result<Option<RecordedEvent>, ReadError> {
        let options = ReadAllOptions::default()
            .position(as_position(position))
            .forwards()
            .max_count(1)
            .deadline(CALL_DEADLINE);
        let options = &authenticated!(self.client, options);
        let found = self.client.call(|client| async move { client.read_all(options).await?.next().await });
        found.await.map_err(ReadError::from)?.as_ref().map(recorded).transpose()
    }

    /// Fails if `position` is beyond the end of the log, as after a restore from an older copy. A reader that
    /// went on would miss the next events.
    async fn check_not_beyond_end(&self, position: Position) -> Result<(), ReadError> {
        if position == Position::START {
            return Ok(());
        }
        if self.at_or_after(position).await?.is_none() {
            return Err(ReadError::BeyondEnd { after: position });
        }
        Ok(())
    }
}

impl fmt::Debug for EsdbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EsdbStore").field("hosts", self.client.hosts()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Read for EsdbStore {
    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Revision,
        direction: ReadDirection,
        max: usize,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        let position = if from >= i64::MAX as u64 {
            match direction {
                ReadDirection::Forwards => return Ok(Vec::new()),
                ReadDirection::Backwards => StreamPosition::End,
            }
        } else {
            StreamPosition::Position(from)
        };
        if max == 0 {
            return Ok(Vec::new());
        }
        // The direction is set last, because the position sets one too.
        let options = ReadStreamOptions::default().position(position).max_count(max).deadline(CALL_DEADLINE);
        let options = match direction {
            ReadDirection::Forwards => options.forwards(),
            ReadDirection::Backwards => options.backwards(),
        };
        let (name, options) = (stream.as_str(), &authenticated!(self.client, options));
        let read =
            self.client.call(|client| async move { collect(client.read_stream(name, options).await?).await });
        match read.await {
            Ok(events) => events.iter().map(recorded).collect(),
            Err(CallError::Final(::esdb::Error::ResourceNotFound)) => Ok(Vec::new()),
            Err(CallError::Final(::esdb::Error::ResourceDeleted)) => {
                Err(ReadError::StreamDeleted(stream.clone()))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn read_all(
        &self,
        after: Position,
        filter: &EventFilter,
        max: usize,
    ) -> Result<EventPage, ReadError> {
        // The server begins with the event at `after` itself, hence one more.
        let options = ReadAllOptions::default()
            .position(as_position(after))
            .forwards()
            .max_count(PAGE_EVENTS + 1)
            .deadline(CALL_DEADLINE);
        let options = &authenticated!(self.client, options);
        let read = self.client.call(|client| async move { collect(client.read_all(options).await?).await });
        let events = read.await.map_err(ReadError::from)?;
        if events.is_empty() && after > Position::START {
            return Err(ReadError::BeyondEnd { after });
        }
        let mut page = EventPage { events: Vec::new(), next: after, end: events.len() <= PAGE_EVENTS };
        for event in &events {
            if page.events.len() == max {
                page.end = false;
                break;
            }
            let original = event.get_original_event();
            if Position(original.position.commit) <= after {
                continue;
            }
            page.next = Position(original.position.commit);
            if passes(original, filter) {
                page.events.push(recorded(event)?);
            }
        }
        Ok(page)
    }

    async fn head(&self) -> Result<Position, ReadError> {
        let options = ReadAllOptions::default()
            .position(StreamPosition::End)
            .backwards()
            .max_count(1)
            .deadline(CALL_DEADLINE);
        let options = &authenticated!(self.client, options);
        let newest = self.client.call(|client| async move { client.read_all(options).await?.next().await });
        let newest = newest.await.map_err(ReadError::from)?;
        Ok(newest.map_or(Position::START, |event| Position(event.get_original_event().position.commit)))
    }

    async fn position_before(&self, moment: Timestamp) -> Result<Position, ReadError> {
        let moment = moment.saturating_sub(CLOCK_STEP).unwrap_or(Timestamp::MIN);
        let (mut older, mut newer) = (0, self.head().await?.0);
        while newer - older > 1 {
            let middle = older + (newer - older) / 2;
            match self.at_or_after(Position(middle)).await {
                Ok(Some(event)) if event.recorded_at >= moment => newer = middle,
                // No event stands between `middle` and this one.
                Ok(Some(event)) => older = event.position.0.min(newer - 1),
                Ok(None) => newer = middle,
                // Some servers accept only positions of events, so nothing is known.
                Err(ReadError::Refused(_)) => return Ok(Position::START),
                Err(error) => return Err(error),
            }
        }
        Ok(Position(older))
    }
}

#[async_trait]
impl Append for EsdbStore {
    async fn append(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<AppendReceipt, AppendError> {
        let request = AppendRequest::validate(stream, expected, events)?;
        let events = request.events.into_iter().map(event_data).collect::<Result<Vec<_>, _>>()?;
        let options = AppendToStreamOptions::default()
            .expected_revision(expected_revision(request.expected))
            .deadline(CALL_DEADLINE);
        // The call may be repeated: the server recognises the ids.
        let (name, options) = (stream.as_str(), &authenticated!(self.client, options));
        let written = self.client.call(|client| {
            let events = events.clone();
            async move { client.append_to_stream(name, options, events).await }
        });
        match written.await {
            Ok(written) => Ok(AppendReceipt {
                revision: written.next_expected_version,
                position: Position(written.position.commit),
            }),
            Err(CallError::Final(::esdb::Error::WrongExpectedVersion { current, .. })) => {
                let actual = match current {
                    CurrentRevision::Current(revision) => Some(revision),
                    CurrentRevision::NoStream => None,
                };
                Err(AppendError::Conflict { stream: stream.clone(), expected, actual })
            }
            Err(CallError::Final(::esdb::Error::ResourceDeleted)) => {
                Err(AppendError::Refused(format!("the stream {stream} was deleted for good")))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Subscribe for EsdbStore {
    fn subscribe(&self, after: Position, filter: EventFilter) -> Subscription {
        subscribe::subscribe(self.clone(), after, filter)
    }
}

async fn collect(mut answer: ::esdb::ReadStream) -> ::esdb::Result<Vec<ResolvedEvent>> {
    let mut events = Vec::new();
    while let Some(event) = answer.next().await? {
        events.push(event);
    }
    Ok(events)
}
