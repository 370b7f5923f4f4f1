//! Loads, decides and appends: the only way into the streams of submissions.
//!
//! ```text
//!         ┌──────────── conflict: another command won ────────────┐
//!         v                                                       │
//!   load the stream ──> decide ──> append at the revision read ───┴──> durable
//!                                         │        ^
//!                                         └────────┘ no answer: the same events again
//! ```

use std::{fmt, pin::pin, sync::Arc, time::Duration};

use domain::submission::{CATEGORY, SCHEMA, Submitted};
use domain::{Challenge, Command, Event, StoredEvent, Submission, SubmissionId, decide};
use event_store::{
    Append, AppendError, AppendReceipt, EventMetadata, ExpectedRevision, NewEvent, Position, ReadDirection,
    RecordedEvent, Revision, StreamName,
};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::CommandError;

/// The number of times that a command is decided, if other commands change the submission each time.
const DECISIONS_MAX: u32 = 8;

/// The pauses before the repetitions of an append that had no answer.
const APPEND_PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(250)];

/// The time that one command may take, with all repetitions: longer than the log's election of a leader.
const DEADLINE: Duration = Duration::from_secs(20);

/// The time after which a command counts as one that waits for the log.
const PROMPT: Duration = Duration::from_secs(1);

/// The number of commands that may wait for the log at the same time. More are refused at once, so that an outage
/// does not fill the memory.
const WAITING_MAX: usize = 1000;

/// The number of events that are read at a time.
const PAGE_EVENTS: usize = 256;

/// The handler of commands. Clones share the store.
#[derive(Clone)]
pub struct Commands {
    store: Arc<dyn Append>,
    challenge: Arc<Challenge>,
    /// The places for commands that wait for the log.
    waiting: Arc<Semaphore>,
}

/// The sender of a command and its occasion. Both are stored in the metadata of the events that the command leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    pub actor: Actor,
    /// The id of the event or request that led to the command.
    pub id: Uuid,
}

/// The sender of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    Participant,
    /// A verifier, with its name.
    Verifier(String),
    /// An organiser, with the name that the request gives.
    Organiser(String),
}

/// The result of a command that was carried out. It is on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct HandledCommand {
    /// The submission's newest revision.
    pub revision: Revision,
    /// The log's position of the submission's newest event.
    pub position: Position,
    /// The events that the command led to; empty if it was carried out before.
    pub events: Vec<Event>,
}

/// A submission, folded from its stream.
#[derive(Default)]
struct LoadedSubmission {
    state: Submission,
    /// The newest event of ours.
    newest: Option<AppendReceipt>,
    /// The newest revision of the stream. Strangers' events take revisions too.
    stream_revision: Option<Revision>,
}

impl Commands {
    pub fn new(store: Arc<dyn Append>, challenge: Arc<Challenge>) -> Self {
        Self { store, challenge, waiting: Arc::new(Semaphore::new(WAITING_MAX)) }
    }

    pub fn challenge(&self) -> &Arc<Challenge> {
        &self.challenge
    }

    /// Carries out `command` on the submission's newest revision. If another command changes the submission in the
    /// meantime, this one is decided again. A command that was carried out before succeeds again, so a sender that had
    /// no answer may repeat it.
    ///
    /// # Errors
    /// Any [`CommandError`].
    pub async fn handle(
        &self,
        id: SubmissionId,
        command: Command,
        cause: Cause,
    ) -> Result<HandledCommand, CommandError> {
        self.within_deadline(async {
            // The stream of a new submission is empty. If it is not, the append reports a conflict.
            let mut loaded = match command {
                Command::Submit(_) => LoadedSubmission::default(),
                _ => self.load(id).await?,
            };
            for _ in 0..DECISIONS_MAX {
                match self.decide_and_append(id, loaded, command.clone(), &cause).await? {
                    Some(handled) => return Ok(handled),
                    None => loaded = self.load(id).await?,
                }
            }
            Err(CommandError::Contended(DECISIONS_MAX))
        })
        .await
    }

    /// Submits. Returns the log's position of the `Submitted` event, also if the same was submitted before.
    pub(crate) async fn submit(
        &self,
        id: SubmissionId,
        submitted: Submitted,
        cause: Cause,
    ) -> Result<Position, CommandError> {
        let handled = self.handle(id, Command::Submit(Box::new(submitted)), cause).await?;
        if !handled.events.is_empty() {
            return Ok(handled.position);
        }
        let first = self.store.read_stream(&stream(id), 0, ReadDirection::Forwards, PAGE_EVENTS).await?;
        let submitted = first.iter().find(|event| matches!(read_event(event), Ok(Some(Event::Submitted(_)))));
        Ok(submitted.map_or(handled.position, |event| event.position))
    }

    /// Returns a recorded submission and the log's position of its `Submitted` event, or `None` if there is none.
    ///
    /// # Errors
    /// If the log cannot be read in time.
    pub(crate) async fn recorded(
        &self,
        id: SubmissionId,
    ) -> Result<Option<(Box<Submitted>, Position)>, CommandError> {
        self.within_deadline(async {
            let first = self.store.read_stream(&stream(id), 0, ReadDirection::Forwards, PAGE_EVENTS).await?;
            for recorded in &first {
                // The first events may be strangers'.
                match read_event(recorded)? {
                    Some(Event::Submitted(submitted)) => {
                        return Ok(Some((Box::new(submitted), recorded.position)));
                    }
                    Some(_) => return Ok(None),
                    None => {}
                }
            }
            Ok(None)
        })
        .await
    }

    /// Gives a command [`DEADLINE`], if it need not wait or there is a place to wait.
    async fn within_deadline<T>(
        &self,
        work: impl Future<Output = Result<T, CommandError>>,
    ) -> Result<T, CommandError> {
        let mut work = pin!(work);
        if let Ok(done) = timeout(PROMPT, &mut work).await {
            return done;
        }
        let Ok(_place) = self.waiting.try_acquire() else {
            return Err(CommandError::Unavailable(format!(
                "the event store does not answer, and {WAITING_MAX} commands wait for it already"
            )));
        };
        timeout(DEADLINE - PROMPT, work).await.unwrap_or_else(|_| {
            Err(CommandError::Unavailable(format!(
                "the event store did not answer within {} s",
                DEADLINE.as_secs()
            )))
        })
    }

    async fn load(&self, id: SubmissionId) -> Result<LoadedSubmission, CommandError> {
        let stream = stream(id);
        let mut loaded = LoadedSubmission::default();
        loop {
            let from = loaded.stream_revision.map_or(0, |newest| newest + 1);
            let page = self.store.read_stream(&stream, from, ReadDirection::Forwards, PAGE_EVENTS).await?;
            for recorded in &page {
                loaded.stream_revision = Some(recorded.revision);
                let Some(event) = read_event(recorded)? else { continue };
                loaded.state = loaded.state.evolve(&event);
                loaded.newest =
                    Some(AppendReceipt { revision: recorded.revision, position: recorded.position });
            }
            if page.len() < PAGE_EVENTS {
                return Ok(loaded);
            }
        }
    }

    /// Returns `None` if another command changed the submission since it was loaded.
    async fn decide_and_append(
        &self,
        id: SubmissionId,
        loaded: LoadedSubmission,
        command: Command,
        cause: &Cause,
    ) -> Result<Option<HandledCommand>, CommandError> {
        let events = decide(&self.challenge, &loaded.state, command)?;
        if let (Some(newest), true) = (loaded.newest, events.is_empty()) {
            return Ok(Some(HandledCommand::before(newest)));
        }
        let expected = loaded.stream_revision.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
        let new = events.iter().map(|event| new_event(id, event, cause)).collect();
        let appended = self.append(&stream(id), expected, new).await?;
        let handled = |appended: AppendReceipt| HandledCommand {
            revision: appended.revision,
            position: appended.position,
            events,
        };
        Ok(appended.map(handled))
    }

    /// Appends, and repeats an append that had no answer. The store recognises the events by their ids. Returns `None`
    /// if the stream is not at the expected revision.
    async fn append(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<Option<AppendReceipt>, CommandError> {
        let mut pauses = APPEND_PAUSES.iter();
        loop {
            match self.store.append(stream, expected, events.clone()).await {
                Ok(appended) => return Ok(Some(appended)),
                Err(AppendError::Conflict { .. }) => return Ok(None),
                Err(error @ (AppendError::Refused(_) | AppendError::Corrupt(_))) => {
                    return Err(CommandError::Impossible(error.to_string()));
                }
                Err(error @ AppendError::Unavailable(_)) => match pauses.next() {
                    Some(pause) => sleep(*pause).await,
                    None => return Err(CommandError::Unavailable(error.to_string())),
                },
            }
        }
    }
}

impl HandledCommand {
    fn before(newest: AppendReceipt) -> Self {
        Self { revision: newest.revision, position: newest.position, events: Vec::new() }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Participant => f.write_str("participant"),
            Self::Verifier(name) => write!(f, "verifier:{name}"),
            Self::Organiser(name) => write!(f, "organiser:{name}"),
        }
    }
}

/// Reads an event of a submission's stream, or returns `None` if it changes no state: a stranger's, or one that informs.
///
/// # Errors
/// [`CommandError::StandsStill`] if the event is ours and this version cannot read it.
pub fn read_event(recorded: &RecordedEvent) -> Result<Option<Event>, CommandError> {
    let RecordedEvent { stream, kind, metadata, data, .. } = recorded;
    match StoredEvent::read(stream.as_str(), kind, metadata, data) {
        StoredEvent::Unread(_, unread) => Err(CommandError::StandsStill(format!(
            "event {} of stream {stream} ({kind}) cannot be read: {}",
            recorded.revision, unread.why
        ))),
        other => Ok(other.into_event()),
    }
}

fn stream(id: SubmissionId) -> StreamName {
    StreamName::of(CATEGORY, id.0)
}

/// Gives the event a new id. Two senders must not share an id, or the store would take the second one's claim for a
/// repetition of the first one's. The domain ensures that a repeated command leads to no new events.
fn new_event(id: SubmissionId, event: &Event, cause: &Cause) -> NewEvent {
    NewEvent {
        id: Uuid::now_v7(),
        kind: event.kind().to_owned(),
        data: event.to_stored().into(),
        metadata: EventMetadata {
            schema: SCHEMA,
            correlation_id: id.0,
            causation_id: cause.id,
            actor: cause.actor.to_string(),
            informs: false,
        },
    }
}
