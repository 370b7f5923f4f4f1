//! The rules in the log: publishes those in force, and reads those that a submission is judged by.
//!
//! The name of a stream of rules is their digest, so one read finds them, and any number of processes may publish the
//! same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::challenge::{ChallengePublished, SCHEMA};
use domain::{Challenge, StoredEvent};
use event_store::{Append, EventMetadata, ExpectedRevision, NewEvent, ReadDirection, ReadError, StreamName};
use jiff::Timestamp;
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::CommandError;
use crate::handler::append;

/// The number of events that are read at a time.
const PAGE_EVENTS: usize = 64;

/// The number of events of a stream among which the rules are sought. Strangers may have written before us.
const SOUGHT_MAX: u64 = 4096;

/// The number of times that rules are appended, if others write to their stream at the same time.
const TRIES_MAX: u32 = 8;

/// The number of rules that are remembered.
const KNOWN_MAX: usize = 64;

/// Rules that the log has, and the time at which they were recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedRules {
    pub published: ChallengePublished,
    pub recorded_at: Timestamp,
}

/// The rules in the log.
pub(crate) struct PublishedRules {
    store: Arc<dyn Append>,
    in_force: Arc<Challenge>,
    /// The digest of the rules in force, and the one that older versions gave to their file.
    digests: [String; 2],
    /// Set once the log has the rules in force, or their stream is deleted or cannot be read.
    is_published: OnceCell<()>,
    /// Rules that were read before, by the digest that submissions name.
    known: Mutex<HashMap<String, Arc<Challenge>>>,
}

/// A look into a stream of rules.
struct SoughtRules {
    found: Option<RecordedRules>,
    /// The newest revision of the stream, which was read to its end if nothing was found.
    newest: Option<u64>,
}

impl PublishedRules {
    pub(crate) fn new(store: Arc<dyn Append>, in_force: Arc<Challenge>) -> Self {
        let digests = [in_force.digest(), in_force.file_digest()];
        Self { store, in_force, digests, is_published: OnceCell::new(), known: Mutex::default() }
    }

    pub(crate) fn in_force(&self) -> &Arc<Challenge> {
        &self.in_force
    }

    /// Publishes the rules in force, unless the log has them. Does nothing after it succeeded. If their stream was deleted or
    /// cannot be read, that is logged once, and verifiers judge by the rules that each has.
    ///
    /// # Errors
    /// If the log cannot be read or written, or refuses the event. The next call tries again.
    pub(crate) async fn publish(&self) -> Result<(), CommandError> {
        self.is_published
            .get_or_try_init(async || match self.publish_now().await {
                Err(why @ CommandError::UnknownRules(_)) => {
                    let [digest, _] = &self.digests;
                    tracing::error!(%why, "the rules {digest} cannot be published; verifiers judge by their own files");
                    Ok(())
                }
                published => published,
            })
            .await
            .copied()
    }

    /// Publishes the rules as [`Self::publish`] does. A log that refuses them keeps nobody from submitting: the fault is an
    /// operator's to mend, and the next command tries again.
    pub(crate) async fn publish_unless_refused(&self) -> Result<(), CommandError> {
        match self.publish().await {
            Err(why @ (CommandError::Impossible(_) | CommandError::Contended(_))) => {
                tracing::error!(%why, "the rules in force are not in the log yet; verifiers judge by their own files");
                Ok(())
            }
            published => published,
        }
    }

    async fn publish_now(&self) -> Result<(), CommandError> {
        let published = self.in_force.published();
        let digest = &published.challenge.rules;
        let Some(stream) = stream(digest) else { return Ok(()) };
        for _ in 0..TRIES_MAX {
            let sought = self.seek(&stream).await?;
            if sought.found.is_some() {
                return Ok(());
            }
            let expected = sought.newest.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
            // After a conflict, another process has published them, or a stranger wrote there.
            if append(&*self.store, &stream, expected, vec![event(&published)]).await?.is_some() {
                tracing::info!("published the rules {digest} of the challenge {}", self.in_force.id);
                return Ok(());
            }
        }
        Err(CommandError::Contended(TRIES_MAX))
    }

    /// Returns the rules with this digest, or `None` if the log does not have them. The digest may be the one that older
    /// versions gave to the file in force.
    pub(crate) async fn find(&self, digest: &str) -> Result<Option<RecordedRules>, CommandError> {
        let digest = if self.names_in_force(digest) {
            self.publish_unless_refused().await?;
            &self.digests[0]
        } else {
            digest
        };
        let Some(stream) = stream(digest) else { return Ok(None) };
        Ok(self.seek(&stream).await?.found)
    }

    /// Returns the rules that a submission names, or those in force if it names none or the log does not have them.
    pub(crate) async fn named(&self, digest: Option<&str>) -> Result<Arc<Challenge>, CommandError> {
        let Some(digest) = digest else { return Ok(Arc::clone(&self.in_force)) };
        if self.names_in_force(digest) {
            return Ok(Arc::clone(&self.in_force));
        }
        if let Some(rules) = self.known().get(digest) {
            return Ok(Arc::clone(rules));
        }
        let Some(recorded) = self.find(digest).await? else { return Ok(Arc::clone(&self.in_force)) };
        let rules = recorded.published.rules();
        let rules = rules.map_err(|error| CommandError::UnknownRules(format!("{digest}: {error}")))?;
        let rules = Arc::new(rules);
        let mut known = self.known();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(digest.to_owned(), Arc::clone(&rules));
        Ok(rules)
    }

    fn names_in_force(&self, digest: &str) -> bool {
        self.digests.iter().any(|of_ours| of_ours == digest)
    }

    /// Returns the longest time that an attempt may take by any of the known rules.
    pub(crate) fn attempt_max(&self) -> Duration {
        let known = self.known();
        let longest = known.values().map(|rules| rules.attempt_max()).max().unwrap_or_default();
        longest.max(self.in_force.attempt_max())
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Arc<Challenge>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seeks the first event of ours in a stream of rules.
    ///
    /// # Errors
    /// [`CommandError::UnknownRules`] if this version cannot read it, or if too many events of strangers stand before it.
    async fn seek(&self, stream: &StreamName) -> Result<SoughtRules, CommandError> {
        let mut newest = None;
        loop {
            let from = newest.map_or(0, |newest| newest + 1);
            let page = self.store.read_stream(stream, from, ReadDirection::Forwards, PAGE_EVENTS).await;
            let page = page.map_err(|error| match error {
                ReadError::StreamDeleted(_) => CommandError::UnknownRules(error.to_string()),
                other => other.into(),
            })?;
            for recorded in &page {
                newest = Some(recorded.revision);
                match StoredEvent::read(stream.as_str(), &recorded.kind, &recorded.metadata, &recorded.data) {
                    StoredEvent::Rules(published) => {
                        let found =
                            RecordedRules { published: *published, recorded_at: recorded.recorded_at };
                        return Ok(SoughtRules { found: Some(found), newest });
                    }
                    StoredEvent::Informing => {
                        let why = format!("event {} of stream {stream} cannot be read", recorded.revision);
                        return Err(CommandError::UnknownRules(why));
                    }
                    _ => {}
                }
            }
            if page.len() < PAGE_EVENTS {
                return Ok(SoughtRules { found: None, newest });
            }
            if newest.is_some_and(|newest| newest >= SOUGHT_MAX) {
                let why = format!("stream {stream} begins with more than {SOUGHT_MAX} events of strangers");
                return Err(CommandError::UnknownRules(why));
            }
        }
    }
}

fn stream(digest: &str) -> Option<StreamName> {
    StreamName::new(ChallengePublished::stream(digest)?).ok()
}

fn event(published: &ChallengePublished) -> NewEvent {
    let id = Uuid::now_v7();
    NewEvent {
        id,
        kind: ChallengePublished::KIND.to_owned(),
        data: published.to_stored().into(),
        metadata: EventMetadata {
            schema: SCHEMA,
            correlation_id: id,
            causation_id: id,
            actor: "commands".to_owned(),
            // A reader that does not know the event may pass it over: submissions name the rules that they need.
            informs: true,
        },
    }
}
