//! Whether the platform verifies submissions, as the views show it. Every process with views says the same: to
//! participants that submissions wait, and to operators why.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use domain::SubmissionId;
use domain::sandbox::ImageFetch;
use jiff::Timestamp;
use projections::view::{SandboxView, StatsView, SubmissionStatus};
use projections::{FirstCatchUp, QueryError, ViewQueries};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The message names no cause. Operators read the cause in the log and in `/readyz`, and organisers on their page.
const PAUSED: &str = "Our Swarm cannot run your images just now, by no fault of yours. \
    Your submission keeps its place in the queue.";

/// The shortest time between two reads of the views.
const PERIOD_MIN: Duration = Duration::from_millis(250);

/// About the longest time between two reads of the views.
const PERIOD_MAX: Duration = Duration::from_secs(5);

/// The number of verifiers that a cause names.
const NAMED_MAX: usize = 3;

/// The number of overdue submissions that are looked at. The first accepted is also the first queued, unless it is rejudged.
const OVERDUE_MAX: usize = 200;

/// The state of the platform, as two watched values that are present while nothing is verified.
pub(crate) struct PlatformWatch {
    /// The message for participants.
    pub(crate) pause_message: watch::Receiver<Option<String>>,
    /// The cause, in a sentence for operators. It changes before the message does.
    pub(crate) cause: watch::Receiver<Option<String>>,
    /// The digests of rules that no working verifier can carry out.
    pub(crate) unknown_rules: watch::Receiver<BTreeSet<String>>,
    /// The images on their way, by submission.
    pub(crate) fetches: watch::Receiver<HashMap<SubmissionId, ImageFetch>>,
}

/// The state of the platform at one moment.
struct PlatformState {
    cause: Option<String>,
    unknown_rules: BTreeSet<String>,
    fetches: HashMap<SubmissionId, ImageFetch>,
}

/// Watches the verifiers' reports and the verdicts until `stopping` is cancelled. If a submission waits and no verdict
/// came for as long as `patience`, nothing is verified, whatever the verifiers report.
pub(crate) fn watch_platform(
    views: Arc<dyn ViewQueries>,
    patience: Duration,
    stopping: CancellationToken,
) -> PlatformWatch {
    // Nothing is verified before the first report is known.
    let (causes, cause) = watch::channel(Some(NO_REPORT.to_owned()));
    let (messages, pause_message) = watch::channel(None);
    let (unknown, unknown_rules) = watch::channel(BTreeSet::new());
    let (ways, fetches) = watch::channel(HashMap::new());
    tokio::spawn(stopping.run_until_cancelled_owned(async move {
        // Until then the views show which verifiers worked long ago.
        FirstCatchUp::of(&*views).wait().await;
        let mut checkpoint = views.watch();
        let mut verdicts = VerdictWatch::new(patience);
        loop {
            // If the views cannot be read, the last message stays. Readers of the views get an error anyway.
            if let Ok(state) = state_of(&*views, &mut verdicts).await {
                let PlatformState { cause: now, unknown_rules: rules, fetches } = state;
                ways.send_if_modified(|known| std::mem::replace(known, fetches.clone()) != fetches);
                unknown.send_if_modified(|known| std::mem::replace(known, rules.clone()) != rules);
                let message = now.is_some().then(|| PAUSED.to_owned());
                causes.send_if_modified(|known| std::mem::replace(known, now.clone()) != now);
                messages.send_if_modified(|known| std::mem::replace(known, message.clone()) != message);
            }
            sleep(PERIOD_MIN).await;
            // Reads again after a change, and after some time without one.
            let _ = timeout(PERIOD_MAX, checkpoint.changed()).await;
        }
    }));
    PlatformWatch { pause_message, cause, unknown_rules, fetches }
}

const NO_REPORT: &str = "no verifier has reported yet";

async fn state_of(views: &dyn ViewQueries, verdicts: &mut VerdictWatch) -> Result<PlatformState, QueryError> {
    let (sandboxes, now) = (views.sandboxes().await?, Timestamp::now());
    let cause = match nobody_works(&sandboxes, now) {
        Some(cause) => Some(cause),
        None => verdicts.cause(views).await?,
    };
    let unknown_rules = unknown_to_all(&sandboxes, now);
    Ok(PlatformState { cause, unknown_rules, fetches: fetches(&sandboxes, now) })
}

fn works(view: &SandboxView, now: Timestamp) -> bool {
    view.sandbox.pause_reason.is_none() && !view.is_silent(now)
}

/// Returns the fetch of each submission. If several verifiers fetch its images, the one that is further counts.
fn fetches(sandboxes: &[SandboxView], now: Timestamp) -> HashMap<SubmissionId, ImageFetch> {
    let mut fetches: HashMap<SubmissionId, ImageFetch> = HashMap::new();
    let reported = sandboxes.iter().filter(|view| works(view, now)).flat_map(|view| &view.sandbox.fetches);
    for fetch in reported {
        let known = fetches.entry(fetch.submission).or_insert_with(|| fetch.clone());
        if (known.to, known.bytes) < (fetch.to, fetch.bytes) {
            *known = fetch.clone();
        }
    }
    fetches
}

fn unknown_to_all(sandboxes: &[SandboxView], now: Timestamp) -> BTreeSet<String> {
    let working = sandboxes.iter().filter(|view| works(view, now));
    let unknown = working.map(|view| view.sandbox.unknown_rules.iter().cloned().collect());
    unknown.reduce(|one: BTreeSet<String>, other| &one & &other).unwrap_or_default()
}

/// Returns the reason why no verifier works, or `None` if one does.
fn nobody_works(sandboxes: &[SandboxView], now: Timestamp) -> Option<String> {
    let reason = |view: &SandboxView| match &view.sandbox.pause_reason {
        Some(reason) => Some(format!("{}: {reason}", view.verifier)),
        None if view.is_silent(now) => {
            Some(format!("{} has not reported since {:.0}", view.verifier, view.since))
        }
        None => None,
    };
    let mut newest: Vec<&SandboxView> = sandboxes.iter().collect();
    newest.sort_by_key(|view| std::cmp::Reverse(view.position));
    let reasons: Option<Vec<String>> = newest.into_iter().map(reason).collect();
    match reasons?.as_slice() {
        [] => Some(NO_REPORT.to_owned()),
        reasons => Some(reasons[..reasons.len().min(NAMED_MAX)].join("; ")),
    }
}

/// Notices that verdicts no longer come although submissions wait.
struct VerdictWatch {
    patience: Duration,
    /// The figures that each verdict changes.
    verdicts: Option<VerdictFigures>,
    /// The moment at which these figures changed last, or at which this process began to watch.
    since: Instant,
}

/// Each verdict changes one of these figures.
type VerdictFigures = ([u64; 2], Option<u64>, Option<u64>);

impl VerdictWatch {
    fn new(patience: Duration) -> Self {
        Self { patience, verdicts: None, since: Instant::now() }
    }

    /// Returns the sentence for operators if submissions wait and no verdict came for a while.
    async fn cause(&mut self, views: &dyn ViewQueries) -> Result<Option<String>, QueryError> {
        let stats = views.stats().await?;
        let verdicts = Some(figures(&stats));
        if self.verdicts != verdicts {
            (self.verdicts, self.since) = (verdicts, Instant::now());
        }
        let quiet = self.since.elapsed();
        if quiet < self.patience {
            return Ok(None);
        }
        let now = Timestamp::now();
        let overdue = views.overdue(now, OVERDUE_MAX).await?;
        let ages =
            overdue.iter().filter_map(|view| Duration::try_from(now.duration_since(view.queued().at)).ok());
        let long = |age: &Duration| *age >= self.patience;
        Ok(ages.filter(long).max().map(|oldest| {
            format!(
                "a submission waits for {} min, and nothing has been verified for {} min",
                oldest.as_secs() / 60,
                quiet.as_secs() / 60
            )
        }))
    }
}

fn figures(stats: &StatsView) -> VerdictFigures {
    let of = |status| stats.submissions.get(&status).copied().unwrap_or_default();
    let counts = [of(SubmissionStatus::Passed), of(SubmissionStatus::Failed)];
    (counts, stats.waited_ms_p50, stats.waited_ms_p95)
}

#[cfg(test)]
mod tests {
    use domain::sandbox::{FetchTarget, SandboxReported};
    use domain::submission::{Event, VerificationStarted};
    use domain::testing::{passed, submitted_by};
    use event_store::Position;
    use projections::{EventEnvelope, MemoryViews, ViewStore};
    use uuid::Uuid;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(600);

    struct Platform {
        views: Arc<MemoryViews>,
        at: Position,
        watched: PlatformWatch,
    }

    impl Platform {
        async fn watched() -> Self {
            let views = Arc::new(MemoryViews::new());
            views.show_from(Position::START).await.unwrap();
            let watched = watch_platform(views.clone(), PATIENCE, CancellationToken::new());
            Self { views, at: Position::START, watched }
        }

        async fn reported(&mut self, verifier: &str, pause_reason: Option<&str>, since: Timestamp) {
            let pause_reason = pause_reason.map(str::to_owned);
            let sandbox = SandboxReported { pause_reason, ..SandboxReported::default() };
            let position = Position(self.at.0 + 1);
            let report = SandboxView { verifier: verifier.to_owned(), position, since, sandbox };
            self.views.record_sandbox(&report).await.unwrap();
            self.apply(&[]).await;
        }

        async fn recorded(&mut self, id: u128, revision: u64, event: Event) {
            self.recorded_at(Timestamp::UNIX_EPOCH, id, revision, event).await;
        }

        async fn recorded_at(&mut self, recorded_at: Timestamp, id: u128, revision: u64, event: Event) {
            let (position, id) = (Position(self.at.0 + 1), SubmissionId(Uuid::from_u128(id)));
            let event_id = Uuid::new_v4();
            self.apply(&[EventEnvelope { id, revision, position, event_id, recorded_at, event }]).await;
        }

        async fn apply(&mut self, events: &[EventEnvelope]) {
            let upto = Position(self.at.0 + 1);
            self.views.apply(self.at, events, upto).await.unwrap();
            self.at = upto;
        }

        /// Waits until the cause says this, or until there is none.
        async fn says(&mut self, word: Option<&str>) {
            let is_said = |cause: &Option<String>| match (cause, word) {
                (Some(cause), Some(word)) => cause.contains(word),
                (cause, word) => cause.is_some() == word.is_some(),
            };
            let said = timeout(PATIENCE * 3, self.watched.cause.wait_for(is_said)).await.map(drop);
            said.unwrap_or_else(|_| panic!("{:?} instead of {word:?}", self.watched.cause.borrow()));
            let message = self.watched.pause_message.wait_for(|message| message.is_some() == word.is_some());
            timeout(PATIENCE, message).await.expect("the message follows").unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_working_verifier_is_enough() {
        let mut platform = Platform::watched().await;
        platform.says(Some("no verifier has reported")).await;
        for (verifier, trouble, said) in [
            ("a", Some("no manager"), Some("a: no manager")),
            ("b", None, None),
            ("b", Some("stopped"), Some("b: stopped; a: no manager")),
            ("a", None, None),
        ] {
            platform.reported(verifier, trouble, Timestamp::now()).await;
            platform.says(said).await;
        }
    }

    #[test]
    fn rules_are_unknown_if_every_working_verifier_says_so() {
        let now = Timestamp::now();
        let view = |trouble: Option<&str>, rules: &[&str], since| {
            let unknown_rules = rules.iter().map(|digest| (*digest).to_owned()).collect();
            let pause_reason = trouble.map(str::to_owned);
            let sandbox = SandboxReported { pause_reason, unknown_rules, ..SandboxReported::default() };
            SandboxView { verifier: "v".to_owned(), position: Position(1), since, sandbox }
        };
        let (one, both) = (view(None, &["r"], now), view(None, &["r", "s"], now));
        let (paused, silent) = (view(Some("no manager"), &[], now), view(None, &[], Timestamp::UNIX_EPOCH));
        let knows_all = view(None, &[], now);
        let unknown = |views: &[&SandboxView]| {
            let views: Vec<SandboxView> = views.iter().map(|view| (*view).clone()).collect();
            unknown_to_all(&views, now).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(unknown(&[&both]), ["r", "s"]);
        assert_eq!(unknown(&[&both, &one, &paused, &silent]), ["r"]);
        assert!(unknown(&[&both, &knows_all]).is_empty());
        assert!(unknown(&[]).is_empty());
    }

    #[test]
    fn the_fetch_that_is_further_counts_and_none_of_a_verifier_that_is_away() {
        let now = Timestamp::now();
        let (id, other) = (SubmissionId(Uuid::from_u128(1)), SubmissionId(Uuid::from_u128(2)));
        let fetch = |submission, to, bytes| {
            let image = "ada/app".parse().unwrap();
            ImageFetch { submission, image, to, bytes, of_bytes: 9 }
        };
        let view = |since, fetches: &[ImageFetch]| {
            let sandbox = SandboxReported { fetches: fetches.to_vec(), ..SandboxReported::default() };
            SandboxView { verifier: "v".to_owned(), position: Position(1), since, sandbox }
        };
        let views = [
            view(now, &[fetch(id, FetchTarget::Verifier, 8)]),
            view(now, &[fetch(id, FetchTarget::Node, 3), fetch(other, FetchTarget::Node, 5)]),
            view(now, &[fetch(other, FetchTarget::Verifier, 9)]),
            view(Timestamp::UNIX_EPOCH, &[fetch(id, FetchTarget::Node, 7)]),
        ];
        let fetches = fetches(&views, now);
        assert_eq!((fetches.len(), fetches[&id].bytes, fetches[&other].bytes), (2, 3, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_verifier_that_reports_no_more_does_not_count() {
        let mut platform = Platform::watched().await;
        platform.reported("a", None, Timestamp::UNIX_EPOCH).await;
        platform.says(Some("a has not reported since 1970-01-01T00:00:00Z")).await;
        platform.reported("b", None, Timestamp::now()).await;
        platform.says(None).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_submission_that_waits_for_long_without_any_verdict_shows_that_nothing_is_verified() {
        let mut platform = Platform::watched().await;
        platform.reported("a", None, Timestamp::now()).await;
        platform.says(None).await;
        platform.recorded(1, 0, Event::Submitted(submitted_by("ada"))).await;
        let began = Instant::now();
        platform.says(Some("nothing has been verified for 10 min")).await;
        assert!(began.elapsed() >= PATIENCE - PERIOD_MAX, "{:?}", began.elapsed());
        let deadline = Timestamp::UNIX_EPOCH;
        let started = VerificationStarted { attempt: 1, verifier: "a".to_owned(), deadline };
        platform.recorded(1, 1, Event::VerificationStarted(started)).await;
        platform.recorded(1, 2, passed(1)).await;
        platform.says(None).await;
        // Nothing waits, so silence is well.
        sleep(PATIENCE * 2).await;
        assert_eq!(*platform.watched.cause.borrow(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn many_young_submissions_hide_no_old_one() {
        let mut platform = Platform::watched().await;
        platform.reported("a", None, Timestamp::now()).await;
        platform.recorded(1, 0, Event::Submitted(submitted_by("ada"))).await;
        for young in 2..=u128::try_from(OVERDUE_MAX).unwrap() + 2 {
            let submitted = Event::Submitted(submitted_by(&format!("owner{young}")));
            platform.recorded_at(Timestamp::now(), young, 0, submitted).await;
        }
        platform.says(Some("nothing has been verified for 10 min")).await;
    }
}
