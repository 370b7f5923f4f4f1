//! Which log is followed: a log's identity, and a checkpoint that is recognised when it is read again.
//!
//! The identity is the id of the first event of ours in a stream of its own, so it is the same however a log is
//! reached: as a file, through the wire node, or on a server. Whoever may append gives a log its identity at the start.
//! An older copy of a log has the same identity. So a checkpoint also has the id of the event at its position, which no
//! other state of the log has there, and a restore is recognised by whoever was further than the copy.

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    Append, AppendError, EventMetadata, ExpectedRevision, NewEvent, Position, Read, ReadDirection, ReadError,
    RecordedEvent, Revision, StreamName,
};

/// The stream of the events that give a log its identity.
const STREAM: &str = "log-identity";

/// The type of an event that gives a log its identity.
const KIND: &str = "LogIdentified";

/// The number of events in which the first of ours is sought. The others are strangers'.
const EVENTS_MAX: usize = 1000;

/// The number of times that an append is tried while others write to the stream.
const TRIES_MAX: usize = 8;

/// The identity of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogIdentity(pub Uuid);

/// A place in a log from which a reader goes on. The default is the start of any log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogCheckpoint {
    /// The log, if its identity was known.
    pub log: Option<LogIdentity>,
    /// The position of the last event that was read.
    pub position: Position,
    /// The id of that event; `None` at the start of a log, and where an older version did not note it.
    pub event: Option<Uuid>,
}

impl LogIdentity {
    /// Returns the log's identity, or `None` if nobody gave it one yet or its stream was deleted.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn read(log: &(impl Read + ?Sized)) -> Result<Option<Self>, ReadError> {
        match first_events(log).await {
            Ok(first) => Ok(identity(&first)),
            Err(ReadError::StreamDeleted(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the log's identity, and gives it one if it has none. Any number of processes may do so at once.
    ///
    /// # Errors
    /// If the log cannot be read, or refuses the event.
    pub async fn ensure(log: &(impl Append + ?Sized)) -> Result<Self, AppendError> {
        for _ in 0..TRIES_MAX {
            let first = first_events(log).await.map_err(unreadable)?;
            if let Some(identity) = identity(&first) {
                return Ok(identity);
            }
            if first.len() >= EVENTS_MAX {
                let why = format!("the stream {STREAM} begins with {EVENTS_MAX} events of strangers");
                return Err(AppendError::Refused(why));
            }
            match append_identity(log, first.last().map(|event| event.revision)).await {
                Err(AppendError::Conflict { .. }) => {}
                appended => return appended,
            }
        }
        Err(AppendError::Unavailable(format!("others write to the stream {STREAM} all the time")))
    }
}

impl LogCheckpoint {
    /// Checks that this is a place in the log with this identity. An event that the log has removed since is no proof of
    /// another log, nor is an identity that one side does not know.
    ///
    /// # Errors
    /// [`ReadError::OtherLog`] if the log has another identity or another event at the position, and
    /// [`ReadError::BeyondEnd`] if it ends before.
    pub async fn check(
        &self,
        log: &(impl Read + ?Sized),
        identity: Option<LogIdentity>,
    ) -> Result<(), ReadError> {
        let other = |why| Err(ReadError::OtherLog { after: self.position, why });
        if let (Some(known), Some(found)) = (self.log, identity)
            && known != found
        {
            return other(format!("its identity is {}, and not {}", found.0, known.0));
        }
        let Some(known) = self.event else { return Ok(()) };
        match log.event_at(self.position).await? {
            Some(found) if found.id != known => {
                other(format!("the event there is {} in stream {}, and not {known}", found.id, found.stream))
            }
            _ => Ok(()),
        }
    }
}

async fn first_events(log: &(impl Read + ?Sized)) -> Result<Vec<RecordedEvent>, ReadError> {
    let stream = StreamName::recorded(STREAM.to_owned());
    log.read_stream(&stream, 0, ReadDirection::Forwards, EVENTS_MAX).await
}

fn identity(first: &[RecordedEvent]) -> Option<LogIdentity> {
    let ours = first.iter().find(|event| event.kind == KIND && event.metadata().is_ok());
    ours.map(|event| LogIdentity(event.id))
}

async fn append_identity(
    log: &(impl Append + ?Sized),
    newest: Option<Revision>,
) -> Result<LogIdentity, AppendError> {
    let id = Uuid::new_v4();
    let event = NewEvent {
        id,
        kind: KIND.to_owned(),
        data: Bytes::from_static(b"{}"),
        metadata: EventMetadata {
            schema: 1,
            correlation_id: id,
            causation_id: id,
            actor: "muster".to_owned(),
            informs: true,
        },
    };
    let expected = newest.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
    log.append(&StreamName::recorded(STREAM.to_owned()), expected, vec![event]).await?;
    Ok(LogIdentity(id))
}

fn unreadable(error: ReadError) -> AppendError {
    match error {
        ReadError::Unavailable(why) => AppendError::Unavailable(why),
        ReadError::Corrupt(why) => AppendError::Corrupt(why),
        error => AppendError::Refused(error.to_string()),
    }
}
