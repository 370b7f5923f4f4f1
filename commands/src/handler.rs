//! Load, decide, append: the only way into the streams of submissions.
//!
//! ```text
//!         ┌──────────── conflict: somebody was faster ────────────┐
//!         v                                                       │
//!   load the stream ──> decide ──> append at the revision read ───┴──> durable
//!                                         │        ^
//!                                         └────────┘ no answer: the same events again
//! ```

use std::{fmt, sync::Arc, time::Duration};

use domain::submission::{CATEGORY, SCHEMA, Submitted};
use domain::{Challenge, Command, Event, Submission, SubmissionId, decide};
use event_store::{
    Append, AppendError, AppendReceipt, EventMetadata, ExpectedRevision, NewEvent, Position, ReadDirection,
    Revision, StreamName,
};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::CommandError;

/// How often a command is decided again because others were faster.
const DECISIONS_MAX: u32 = 8;

/// The pauses before an append without an answer is repeated.
const APPEND_PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(250)];

/// How long one command may take, all repetitions included.
const DEADLINE: Duration = Duration::from_secs(20);

/// How many events are read at a time.
const PAGE: usize = 256;

/// Carries out commands. Clones share the store.
#[derive(Clone)]
pub struct Commands {
    store: Arc<dyn Append>,
    challenge: Arc<Challenge>,
}

/// Who sends a command, and in answer to what; kept with each event it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Who.
    pub actor: Actor,
    /// The event or the request that led to the command.
    pub id: Uuid,
}

/// Who sends commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Whoever submits.
    Participant,
    /// A verifier, by its name.
    Verifier(String),
    /// An organiser, by the name given.
    Organiser(String),
}

/// What came of a command. On disk, whatever happens next.
#[derive(Debug, Clone, PartialEq)]
pub struct Handled {
    /// The submission's revision now.
    pub revision: Revision,
    /// The log's position of the submission's newest event.
    pub position: Position,
    /// What the command led to; empty when it was carried out before.
    pub events: Vec<Event>,
}

/// A submission as its stream has it.
struct Loaded {
    state: Submission,
    newest: Option<AppendReceipt>,
}

impl Commands {
    /// Commands on the submissions in `store`, by the rules of `challenge`.
    pub fn new(store: Arc<dyn Append>, challenge: Arc<Challenge>) -> Self {
        Self { store, challenge }
    }

    /// The rules.
    pub fn challenge(&self) -> &Arc<Challenge> {
        &self.challenge
    }

    /// Carries out `command` on the submission as it now is. If others change
    /// it meanwhile, it is decided anew.
    ///
    /// # Errors
    /// Any but [`CommandError::Overtaken`].
    pub async fn handle(
        &self,
        id: SubmissionId,
        command: Command,
        cause: Cause,
    ) -> Result<Handled, CommandError> {
        within_deadline(async {
            // A new submission's stream is empty, and the append finds out if it is not.
            let mut loaded = match command {
                Command::Submit(_) => Loaded { state: Submission::Unknown, newest: None },
                _ => self.load(id).await?,
            };
            for _ in 0..DECISIONS_MAX {
                match self.decide_and_append(id, loaded, command.clone(), &cause).await {
                    Err(CommandError::Overtaken { .. }) => loaded = self.load(id).await?,
                    done => return done,
                }
            }
            Err(CommandError::Contended(DECISIONS_MAX))
        })
        .await
    }

    /// Carries out `command` provided that the submission still is at
    /// `revision`, the one that the sender decided by. What was carried out
    /// before, as when a sender is unsure and repeats itself, succeeds.
    ///
    /// # Errors
    /// [`CommandError::Overtaken`] when the submission moved on; any other but
    /// [`CommandError::Contended`].
    pub async fn handle_at(
        &self,
        id: SubmissionId,
        revision: Revision,
        command: Command,
        cause: Cause,
    ) -> Result<Handled, CommandError> {
        within_deadline(async {
            let loaded = self.load(id).await?;
            let actual = loaded.newest.map(|newest| newest.revision);
            if actual == Some(revision) {
                return self.decide_and_append(id, loaded, command, &cause).await;
            }
            match (decide(&self.challenge, &loaded.state, command), loaded.newest) {
                (Ok(events), Some(newest)) if events.is_empty() => Ok(Handled::before(newest)),
                _ => Err(CommandError::Overtaken { actual }),
            }
        })
        .await
    }

    /// Submits an entry; the log's position of the event that says so, also
    /// when it was submitted before.
    pub(crate) async fn submit(
        &self,
        id: SubmissionId,
        entry: Submitted,
        cause: Cause,
    ) -> Result<Position, CommandError> {
        let handled = self.handle(id, Command::Submit(Box::new(entry)), cause).await?;
        if !handled.events.is_empty() {
            return Ok(handled.position);
        }
        let first = self.store.read_stream(&stream(id), 0, ReadDirection::Forwards, 1).await?;
        Ok(first.first().map_or(handled.position, |submitted| submitted.position))
    }

    async fn load(&self, id: SubmissionId) -> Result<Loaded, CommandError> {
        let stream = stream(id);
        let mut loaded = Loaded { state: Submission::Unknown, newest: None };
        loop {
            let from = loaded.newest.map_or(0, |newest| newest.revision + 1);
            let page = self.store.read_stream(&stream, from, ReadDirection::Forwards, PAGE).await?;
            for recorded in &page {
                loaded.state = loaded.state.evolve(&recorded.decode(Event::from_stored)?);
                loaded.newest =
                    Some(AppendReceipt { revision: recorded.revision, position: recorded.position });
            }
            if page.len() < PAGE {
                return Ok(loaded);
            }
        }
    }

    async fn decide_and_append(
        &self,
        id: SubmissionId,
        loaded: Loaded,
        command: Command,
        cause: &Cause,
    ) -> Result<Handled, CommandError> {
        let events = decide(&self.challenge, &loaded.state, command)?;
        if let (Some(newest), true) = (loaded.newest, events.is_empty()) {
            return Ok(Handled::before(newest));
        }
        let expected = loaded
            .newest
            .map_or(ExpectedRevision::NoStream, |newest| ExpectedRevision::Exact(newest.revision));
        let new = events.iter().map(|event| new_event(id, event, cause)).collect();
        let appended = self.append(&stream(id), expected, new).await?;
        Ok(Handled { revision: appended.revision, position: appended.position, events })
    }

    /// Appends, and repeats what had no answer: the store knows the events
    /// again by their ids.
    async fn append(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<AppendReceipt, CommandError> {
        let mut pauses = APPEND_PAUSES.iter();
        loop {
            match self.store.append(stream, expected, events.clone()).await {
                Ok(appended) => return Ok(appended),
                Err(AppendError::Conflict { actual, .. }) => return Err(CommandError::Overtaken { actual }),
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

impl Handled {
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

fn stream(id: SubmissionId) -> StreamName {
    StreamName::of(CATEGORY, id.0)
}

/// The event with an id of its own. Two senders must never share one, or the
/// store would take the second's claim for a repetition of the first's; that
/// a command sent again leads to nothing new, the domain sees to.
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
        },
    }
}

async fn within_deadline(
    work: impl Future<Output = Result<Handled, CommandError>>,
) -> Result<Handled, CommandError> {
    timeout(DEADLINE, work).await.unwrap_or_else(|_| {
        Err(CommandError::Unavailable(format!(
            "the event store gave no answer within {} s",
            DEADLINE.as_secs()
        )))
    })
}
