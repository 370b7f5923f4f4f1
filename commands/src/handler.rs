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

use domain::submission::{CATEGORY, SCHEMA, SubmissionFacts, Submitted};
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
use crate::published_rules::{PublishedRules, RecordedRules};

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
    rules: Arc<PublishedRules>,
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
        let rules = Arc::new(PublishedRules::new(Arc::clone(&store), challenge));
        Self { store, rules, waiting: Arc::new(Semaphore::new(WAITING_MAX)) }
    }

    pub(crate) fn log(&self) -> &Arc<dyn Append> {
        &self.store
    }

    /// Returns the challenge in force.
    pub fn challenge(&self) -> &Arc<Challenge> {
        self.rules.in_force()
    }

    /// Publishes the rules in force, unless the log has them.
    ///
    /// # Errors
    /// If the log cannot be written. The next command that names the rules publishes them.
    pub async fn publish_rules(&self) -> Result<(), CommandError> {
        self.within_deadline(self.rules.publish()).await
    }

    /// Returns the rules with this digest, or `None` if the log does not have them.
    ///
    /// # Errors
    /// [`CommandError::UnknownRules`] if this version cannot read them, or any error of the log.
    pub async fn recorded_rules(&self, digest: &str) -> Result<Option<RecordedRules>, CommandError> {
        self.within_deadline(self.rules.find(digest)).await
    }

    /// Returns the rules by which a submission is judged: those that it names, as the log has them. If the log does not
    /// have them, an older version accepted the submission, and the rules in force decide.
    ///
    /// # Errors
    /// [`CommandError::UnknownRules`] if this version cannot carry them out, or any error of the log.
    pub async fn rules_of(&self, facts: &SubmissionFacts) -> Result<Arc<Challenge>, CommandError> {
        self.within_deadline(self.rules.named(facts.rules.as_deref())).await
    }

    /// Returns the longest time that an attempt may take, by any of the rules that this process has used.
    pub fn attempt_max(&self) -> Duration {
        self.rules.attempt_max()
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
            // The log has the rules before an event names them, unless it refuses them.
            if matches!(command, Command::Submit(_) | Command::RequestRejudge(_)) {
                self.rules.publish_unless_refused().await?;
            }
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
        // A held entry is followed by its hiding, at another position.
        if handled.events.len() == 1 {
            return Ok(handled.position);
        }
        let recorded = self.recorded(id).await?;
        Ok(recorded.map_or(handled.position, |(_, position)| position))
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
    pub(crate) async fn within_deadline<T>(
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

    /// Returns the rules by which a command is decided: a verdict and the time of an attempt by the submission's own, all
    /// else by those in force.
    async fn rules_for(&self, state: &Submission, command: &Command) -> Result<Arc<Challenge>, CommandError> {
        match (command, state.facts()) {
            (Command::Conclude { .. }, Some(facts)) => self.rules.named(facts.rules.as_deref()).await,
            (Command::Expire { at, .. }, Some(facts)) => {
                match (self.rules.named(facts.rules.as_deref()).await, state) {
                    // The rules tell only whether a deadline ahead is too far ahead. One that has passed needs none.
                    (Err(CommandError::UnknownRules(_)), Submission::Verifying { claim, .. })
                        if claim.deadline <= *at =>
                    {
                        Ok(Arc::clone(self.challenge()))
                    }
                    (rules, _) => rules,
                }
            }
            _ => Ok(Arc::clone(self.challenge())),
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
        let challenge = self.rules_for(&loaded.state, &command).await?;
        let events = decide(&challenge, &loaded.state, command)?;
        if let (Some(newest), true) = (loaded.newest, events.is_empty()) {
            return Ok(Some(HandledCommand::before(newest)));
        }
        let expected = loaded.stream_revision.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
        let new = events.iter().map(|event| new_event(id, event, cause)).collect();
        let appended = append(&*self.store, &stream(id), expected, new).await?;
        let handled = |appended: AppendReceipt| HandledCommand {
            revision: appended.revision,
            position: appended.position,
            events,
        };
        Ok(appended.map(handled))
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

/// Appends, and repeats an append that had no answer. The store recognises the events by their ids. Returns `None`
/// if the stream is not at the expected revision.
pub(crate) async fn append(
    store: &dyn Append,
    stream: &StreamName,
    expected: ExpectedRevision,
    events: Vec<NewEvent>,
) -> Result<Option<AppendReceipt>, CommandError> {
    let mut pauses = APPEND_PAUSES.iter();
    loop {
        match store.append(stream, expected, events.clone()).await {
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
