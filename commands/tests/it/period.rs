//! The challenge's period: outside it no submission is taken, and everything else goes on.

use std::sync::Arc;

use commands::{Actor, Commands};
use domain::{Challenge, Command};
use event_store::SqliteStore;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::support::{App, by, entry, entry_with, history, log, post, settings};

const PAST: &str = "2016-03-21T12:00:00Z";
const FUTURE: &str = "2999-03-21T12:00:00Z";

fn app(log: &SqliteStore, opens: Option<&str>, closes: Option<&str>) -> App {
    let moment = |text: Option<&str>| text.map(|text| text.parse().unwrap());
    let mut challenge = Challenge::birthday();
    (challenge.opens, challenge.closes) = (moment(opens), moment(closes));
    App::of(challenge, Arc::new(log.clone()), settings())
}

#[tokio::test]
async fn before_and_after_its_period_a_challenge_takes_no_submissions_and_names_the_moment() {
    let (log, _directory) = log();
    for (opens, closes, phase, moment) in [
        (Some(FUTURE), None, "before", FUTURE),
        (None, Some(PAST), "after", PAST),
        (Some("1999-01-01T00:00:00Z"), Some(PAST), "after", PAST),
    ] {
        let app = app(&log, opens, closes);
        let refused = app.submit(&entry()).await;
        assert!(refused.problem(409).detail().contains(moment), "{}", refused.body);
        app.submit_keyed("k", &entry()).await.problem(409);
        let old = entry_with(json!({"repo": ["ada/voting"], "images": null}));
        let answer = app.send(post("/competition", &old)).await;
        assert!(answer.status == 200 && answer.body["response"].as_str().unwrap().contains(moment));
        // Wrong fields are named first, so that an entry can be prepared before the opening.
        app.submit(&entry_with(json!({"vote": null}))).await.problem(422);
        let challenge = app.get("/api/v1/challenge").await.body;
        assert_eq!(
            (&challenge["phase"], &challenge["opens"], &challenge["closes"]),
            (&json!(phase), &json!(opens), &json!(closes))
        );
        assert_eq!(app.recorded().await, 0);
    }
    let app = app(&log, Some(PAST), Some(FUTURE));
    assert_eq!(app.submit(&entry()).await.status, 202);
    assert_eq!(app.get("/api/v1/challenge").await.body["phase"], "open");
    let always = App::on(Arc::new(log.clone()), settings()).get("/api/v1/challenge").await.body;
    assert_eq!((&always["phase"], &always["opens"]), (&json!("open"), &Value::Null));
}

#[tokio::test]
async fn after_the_closing_a_repeated_request_has_its_answer_and_what_waits_is_judged() {
    let (log, _directory) = log();
    let first = app(&log, None, None).submit_keyed("k", &entry()).await;
    let closed = app(&log, None, Some(PAST));
    let again = closed.submit_keyed("k", &entry()).await;
    assert_eq!((again.status.as_u16(), again.body), (202, first.body.clone()));
    closed.submit_keyed("k", &entry_with(json!({"name": "Augusta King"}))).await.problem(409);
    closed.submit_keyed("other", &entry()).await.problem(409);

    let mut challenge = Challenge::birthday();
    challenge.closes = Some(PAST.parse().unwrap());
    let commands = Commands::new(Arc::new(log), Arc::new(challenge));
    let at = Timestamp::now();
    let claim = Command::Claim { verifier: "v".into(), at, deadline: at + 1.minute() };
    commands.handle(first.id(), claim, by(Actor::Verifier("v".into()))).await.unwrap();
    assert_eq!(history(&*closed.log, first.id()).await, ["Submitted", "VerificationStarted"]);
}
