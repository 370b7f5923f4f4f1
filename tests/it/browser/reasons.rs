//! The pages of a submission that did not pass: every reason of a failed verdict and every interruption
//! tells a beginner how to go on.

use domain::SubmissionId;
use domain::submission::{
    Event, Failed, FailureCode, FieldDifference, ImageProbe, InterruptionCode, ProbeOutcome, Probed, Reason,
    VerdictBasis, VerificationInterrupted, VerificationStarted,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use uuid::Uuid;

use crate::support::browser::{Browser, Look};
use crate::support::{Log, Shape, System};

/// Every reason of a failed verdict: its description, our request, and the remedy.
const REASONS: [(FailureCode, &str, &str, &str); 16] = [
    (FailureCode::ImageNotFound, "does not have this image", "Looked the image up", "push the image"),
    (FailureCode::ImageForbidden, "does not give this image", "Looked the image up", "public"),
    (FailureCode::ImageTooLarge, "too large", "Looked the image up", "smaller"),
    (FailureCode::WrongPlatform, "another machine", "Looked the image up", "--platform linux/amd64"),
    (FailureCode::ImageRefused, "not run here", "Looked the image up", "Dockerfile"),
    (FailureCode::DidNotStart, "did not start", "started a container", "docker run"),
    (FailureCode::ExitedEarly, "ended before", "started a container", "docker run"),
    (FailureCode::OutOfMemory, "more memory", "started a container", "--memory"),
    (FailureCode::NothingOnPort, "Nobody listened", "GET /getconfig on port 80", "0.0.0.0"),
    (FailureCode::TimedOut, "in time", "GET /getconfig on port 80", "at once"),
    (FailureCode::BadHttp, "not HTTP", "GET /getconfig on port 80", "curl"),
    (FailureCode::AnswerTooLarge, "too long", "GET /getconfig on port 80", "asked-for fields only"),
    (FailureCode::BadStatus, "with an error", "GET /getconfig on port 80", "status 200"),
    (FailureCode::Redirected, "elsewhere", "GET /getconfig on port 80", "without a redirect"),
    (FailureCode::NotJson, "not the JSON", "GET /getconfig on port 80", "one JSON object"),
    (FailureCode::Mismatch, "differs", "GET /getconfig on port 80", "just what you submit"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_names_the_request_the_response_the_expectation_and_the_remedy() {
    assert_eq!(REASONS.map(|(code, ..)| code), FailureCode::ALL);
    let site = Site::start().await;
    let id = site.submit("ada").await;
    let image = |code: FailureCode| format!("registry.test:5000/ada/{}", code.as_str()).parse().unwrap();
    let message = |code: FailureCode| format!("What {} saw.\nError: its last line", code.as_str());
    let probes = REASONS.map(|(code, ..)| ImageProbe {
        image: image(code),
        outcome: ProbeOutcome::Failed(code),
        answers: vec![],
        message: Some(message(code)),
        differing: match code {
            FailureCode::Mismatch => vec![
                FieldDifference {
                    field: "vote".into(),
                    expected: "Rust".into(),
                    returned: Some("<b>Go</b>".into()),
                },
                FieldDifference { field: "name".into(), expected: "Ada Lovelace".into(), returned: None },
            ],
            _ => vec![],
        },
    });
    let reasons = REASONS.map(|(code, ..)| Reason { code, image: Some(image(code)), message: message(code) });
    site.record(id, Event::Probed(Probed { attempt: 1, images: probes.into() })).await;
    site.record(
        id,
        Event::Failed(Failed { attempt: 1, reasons: reasons.into(), basis: VerdictBasis::default() }),
    )
    .await;

    let browser = Browser::open(Look::DESK).await;
    browser.go(&site.system.url(&format!("/s/{id}"))).await;
    browser.reads("main > [role=status]", "Not yet. Here is what we saw of each image.").await;
    for (code, title, did, advice) in REASONS {
        let told = format!("[data-code={}]", code.as_str());
        browser.reads(&format!("{told} h2"), title).await;
        let row = |nth: usize| format!("{told} dl > div:nth-child({nth})");
        browser.reads(&row(1), did).await;
        browser.reads(&row(2), &message(code)).await;
        let expected = if code == FailureCode::Mismatch { "Ada Lovelace" } else { "." };
        browser.reads(&row(3), expected).await;
        browser.reads(&row(4), advice).await;
    }
    let compared = browser.text("[data-code=mismatch] tbody").await.unwrap();
    assert_eq!(compared, "voteRust<b>Go</b>nameAda Lovelacenothing: the field is missing");
    browser.is_accessible().await;
    // On a telephone, nothing may be wider than the screen.
    browser.wear(Look { size: (390, 844), dark: false }).await;
    browser.holds("a page that fits", "return document.documentElement.scrollWidth <= 390").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interruption_is_shown_as_the_platforms_fault_with_the_next_attempt() {
    let site = Site::start().await;
    let browser = Browser::open(Look::DESK).await;
    for (code, says, again) in [
        (InterruptionCode::RateLimited, "limits how fast we may ask", Some("2100-01-01T00:00:00Z")),
        (InterruptionCode::NodeLost, "went away", None),
    ] {
        let id = site.submit(code.as_str()).await;
        browser.go(&site.system.url(&format!("/s/{id}"))).await;
        // A deadline that is further away than an attempt can last would be taken for a wrong clock's.
        let deadline = Timestamp::now() + SignedDuration::from_mins(5);
        let started = VerificationStarted { attempt: 1, verifier: "v1".to_owned(), deadline };
        site.record(id, Event::VerificationStarted(started)).await;
        browser.reads(".standing", "Being verified").await;
        browser.reads(".step-now", "Pulling the images").await;
        browser.is_accessible().await;
        let interrupted = VerificationInterrupted {
            attempt: 1,
            code,
            message: "node2 is down".to_owned(),
            retry_at: again.map(|moment| moment.parse().unwrap()),
            counts: false,
        };
        site.record(id, Event::VerificationInterrupted(interrupted)).await;
        let standing = browser.reads(".standing", "by no fault of yours").await;
        let when = if again.is_some() { "tried again at " } else { "tried again when we are well" };
        assert!(standing.contains(says) && standing.contains(when), "{standing}");
        browser.reads(".steps", "node2 is down").await;
        browser.is_accessible().await;
    }
}

/// The program without a Swarm, and its log. The test appends the events that a verifier would.
struct Site {
    system: System,
    log: Log,
}

impl Site {
    async fn start() -> Self {
        let system = System::without_a_swarm(Shape::OneProcess).await;
        let log = Log::of(&system).await;
        Self { system, log }
    }

    async fn submit(&self, owner: &str) -> Uuid {
        let image = format!("registry.test:5000/{}/app", owner.replace('_', "-"));
        let body =
            json!({ "name": "Ada Lovelace", "location": "London, UK", "images": [image], "vote": "Rust" });
        self.system.submit(owner, &body).await.parse().unwrap()
    }

    async fn record(&self, id: Uuid, event: Event) {
        self.log.record(SubmissionId(id), [event]).await;
    }
}
