//! The adapter of EventStoreDB, over its official client. That client gives
//! up in ways that its callers cannot mend, so here is what is done about it:
//!
//! - after one failed connect it is dead, and it stays with a node that died:
//!   [`link`] builds it anew and tries again;
//! - it panics, and it spins when a subscription ends well: [`contain`];
//! - it forgets how far a subscription came: [`follow`] resumes by itself;
//! - it panics over certificates that it does not need, and over TLS
//!   libraries that were there first: [`connect`].

mod connect;
mod contain;
mod convert;
mod follow;
mod link;
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
    convert::{as_position, event_data, expected_revision, of_ours, recorded},
    link::{CALL_DEADLINE, Failure, Link, authenticated},
};
use crate::{
    Append, AppendError, AppendReceipt, EventFilter, EventPage, ExpectedRevision, NewEvent, Position, Read,
    ReadDirection, ReadError, RecordedEvent, Revision, StreamName, Subscribe, Subscription,
    sqlite::proposed_by_us,
};

/// By how much a server's clock may be set back without hiding what was
/// recorded at a moment. Servers of one cluster differ by less.
const CLOCK_STEP: SignedDuration = SignedDuration::from_mins(1);

/// How many events of the log one page looks at.
const PAGE_EVENTS: usize = 1000;

/// An EventStoreDB, or what speaks its protocol. Needs a server of version
/// 23.10 or later, which says when a subscription has caught up.
#[derive(Clone)]
pub struct EsdbStore {
    link: Arc<Link>,
}

impl EsdbStore {
    /// Takes the address of a server or a cluster: `esdb://user:password@host:2113,…?tls=true`.
    /// Does not wait for it to be there.
    ///
    /// The client insists on choosing the process's default cryptography. Who
    /// brings their own, as MongoDB's driver does, may use TLS before; who made
    /// that choice before leaves no way to start the client.
    ///
    /// # Errors
    /// When the address is malformed, when certificates that it needs cannot
    /// be read, or when the process's default cryptography is chosen already.
    pub async fn connect(address: &str) -> Result<Self, ConnectError> {
        let settings = connect::settings(address)?;
        connect::choose_cryptography().await?;
        Ok(Self { link: Arc::new(Link::new(settings, connect::credentials(address))?) })
    }
}

impl EsdbStore {
    /// The first event from `position` on.
    async fn at_or_after(&self, position: Position) -> Result<Option<RecordedEvent>, ReadError> {
        let options = ReadAllOptions::default()
            .position(as_position(position))
            .forwards()
            .max_count(1)
            .deadline(CALL_DEADLINE);
        let options = &authenticated!(self.link, options);
        let found = self.link.call(|client| async move { client.read_all(options).await?.next().await });
        found.await.map_err(ReadError::from)?.as_ref().map(recorded).transpose()
    }

    /// Whether the log reaches as far as a reader has come. It does not when
    /// the server was set up anew, or restored from an old copy: what it
    /// records next would be skipped.
    async fn check_reaches(&self, position: Position) -> Result<(), ReadError> {
        if position == Position::START {
            return Ok(());
        }
        if self.at_or_after(position).await?.is_none() {
            return Err(beyond_the_end(position));
        }
        Ok(())
    }
}

impl fmt::Debug for EsdbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EsdbStore").field("hosts", self.link.hosts()).finish_non_exhaustive()
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
        // The direction comes last, because the position sets one too.
        let options = ReadStreamOptions::default().position(position).max_count(max).deadline(CALL_DEADLINE);
        let options = match direction {
            ReadDirection::Forwards => options.forwards(),
            ReadDirection::Backwards => options.backwards(),
        };
        let (name, options) = (stream.as_str(), &authenticated!(self.link, options));
        let read =
            self.link.call(|client| async move { all(client.read_stream(name, options).await?).await });
        match read.await {
            Ok(events) => events.iter().map(recorded).collect(),
            Err(Failure::Final(::esdb::Error::ResourceNotFound)) => Ok(Vec::new()),
            Err(Failure::Final(::esdb::Error::ResourceDeleted)) => {
                Err(ReadError::Refused(format!("the stream {stream} was deleted for good")))
            }
            Err(failure) => Err(failure.into()),
        }
    }

    async fn read_all(
        &self,
        after: Position,
        filter: &EventFilter,
        max: usize,
    ) -> Result<EventPage, ReadError> {
        // The server begins with the event at the position, which is known.
        let options = ReadAllOptions::default()
            .position(as_position(after))
            .forwards()
            .max_count(PAGE_EVENTS + 1)
            .deadline(CALL_DEADLINE);
        let options = &authenticated!(self.link, options);
        let read = self.link.call(|client| async move { all(client.read_all(options).await?).await });
        let events = read.await.map_err(ReadError::from)?;
        if events.is_empty() && after > Position::START {
            return Err(beyond_the_end(after));
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
            if of_ours(original, filter) {
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
        let options = &authenticated!(self.link, options);
        let newest = self.link.call(|client| async move { client.read_all(options).await?.next().await });
        let newest = newest.await.map_err(ReadError::from)?;
        Ok(newest.map_or(Position::START, |event| Position(event.get_original_event().position.commit)))
    }

    async fn position_before(&self, moment: Timestamp) -> Result<Position, ReadError> {
        // A server whose clock is set back by less does not hide anything.
        let moment = moment.saturating_sub(CLOCK_STEP).unwrap_or(Timestamp::MIN);
        let (mut older, mut newer) = (0, self.head().await?.0);
        while newer - older > 1 {
            let middle = older + (newer - older) / 2;
            match self.at_or_after(Position(middle)).await {
                Ok(Some(event)) if event.recorded_at >= moment => newer = middle,
                // Nothing stands between the two.
                Ok(Some(event)) => older = event.position.0.min(newer - 1),
                Ok(None) => newer = middle,
                // A server may only know positions that are an event's.
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
        let events =
            proposed_by_us(stream, events)?.into_iter().map(event_data).collect::<Result<Vec<_>, _>>()?;
        let options = AppendToStreamOptions::default()
            .expected_revision(expected_revision(expected))
            .deadline(CALL_DEADLINE);
        // Tried again with the same ids, which the server recognises.
        let (name, options) = (stream.as_str(), &authenticated!(self.link, options));
        let written = self.link.call(|client| {
            let events = events.clone();
            async move { client.append_to_stream(name, options, events).await }
        });
        match written.await {
            Ok(written) => Ok(AppendReceipt {
                revision: written.next_expected_version,
                position: Position(written.position.commit),
            }),
            Err(Failure::Final(::esdb::Error::WrongExpectedVersion { current, .. })) => {
                let actual = match current {
                    CurrentRevision::Current(revision) => Some(revision),
                    CurrentRevision::NoStream => None,
                };
                Err(AppendError::Conflict { stream: stream.clone(), expected, actual })
            }
            Err(Failure::Final(::esdb::Error::ResourceDeleted)) => {
                Err(AppendError::Refused(format!("the stream {stream} was deleted for good")))
            }
            Err(Failure::Final(error)) => Err(AppendError::Refused(error.to_string())),
            Err(Failure::Unavailable(why)) => Err(AppendError::Unavailable(why)),
        }
    }
}

impl Subscribe for EsdbStore {
    fn subscribe(&self, after: Position, filter: EventFilter) -> Subscription {
        follow::follow(self.clone(), after, filter)
    }
}

impl From<Failure> for ReadError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Final(error) => Self::Refused(error.to_string()),
            Failure::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

async fn all(mut answer: ::esdb::ReadStream) -> ::esdb::Result<Vec<ResolvedEvent>> {
    let mut events = Vec::new();
    while let Some(event) = answer.next().await? {
        events.push(event);
    }
    Ok(events)
}

fn beyond_the_end(position: Position) -> ReadError {
    ReadError::Refused(format!("position {position} is beyond the log's end"))
}
