//! Organisers hide a submission and show it again, and its participant withdraws it, over HTTP.

use std::sync::Arc;

use axum::http::header;
use commands::{Actor, Commands};
use domain::challenge::{Evidence, FoundWordAction, Observation};
use domain::submission::FailureCode;
use domain::{Challenge, Command, SubmissionId};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::support::{Answer, App, TOKEN, ada, by, entry, entry_with, history, log, post, settings};

async fn ask(app: &App, token: Option<&str>, id: &str, request: &str, body: &Value) -> Answer {
    let mut request = post(&format!("/api/v1/submissions/{id}/{request}"), body);
    if let Some(token) = token {
        request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    }
    app.send(request).await
}

async fn judge(commands: &Commands, id: SubmissionId) {
    let at = Timestamp::now();
    let verifier = || by(Actor::Verifier("v".into()));
    let claim = Command::Claim { verifier: "v".into(), at, deadline: at + 1.minute() };
    commands.handle(id, claim, verifier()).await.unwrap();
    let evidence = Evidence::Failure { code: FailureCode::TimedOut, message: "no answer".into() };
    let observations =
        ada().images.into_iter().map(|image| Observation { image, evidence: evidence.clone() }).collect();
    commands
        .handle(id, Command::Conclude { attempt: 1, observations, images: vec![] }, verifier())
        .await
        .unwrap();
}

#[tokio::test]
async fn an_entry_with_a_refused_word_is_held_until_an_organiser_shows_it() {
    let (log, _directory) = log();
    let mut holding = Challenge::birthday();
    holding.words.found = FoundWordAction::Hold;
    let app = App::of(holding, Arc::new(log), settings());
    let rude = entry_with(json!({"name": "Sh1t Head"}));
    let first = app.submit_keyed("k-1", &rude).await;
    let again = app.submit_keyed("k-1", &rude).await;
    assert_eq!((first.status, &first.body), (again.status, &again.body));
    assert_eq!(history(&*app.log, first.id()).await, ["Submitted", "Hidden"]);
    let fine = json!({"why": "his name"});
    assert_eq!(ask(&app, Some(TOKEN), &first.id().to_string(), "show", &fine).await.status, 200);
    assert_eq!(history(&*app.log, first.id()).await, ["Submitted", "Hidden", "Shown"]);
}

#[tokio::test]
async fn an_organiser_corrects_a_name_and_the_history_keeps_the_typed_one() {
    let (log, _directory) = log();
    let app = App::on(Arc::new(log), settings());
    let id = app.submit(&entry()).await.id();
    let name = id.to_string();
    let typo = json!({"name": " Ada King ", "why": "a typing error", "by": "Grace"});
    ask(&app, None, &name, "correct", &typo).await.problem(401);
    let wrong = ask(&app, Some(TOKEN), &name, "correct", &json!({"name": "\u{3164}", "y": 1})).await;
    assert_eq!(wrong.problem(422).wrong_fields(), ["name", "why", "y"]);
    for _ in 0..2 {
        assert_eq!(ask(&app, Some(TOKEN), &name, "correct", &typo).await.status, 200);
        assert_eq!(history(&*app.log, id).await, ["Submitted", "NameCorrected"]);
    }
    app.submit_keyed("k", &entry_with(json!({"name": "Ada King"}))).await;
}

#[tokio::test]
async fn only_organisers_may_hide_a_submission_and_a_repeated_request_changes_nothing() {
    let (log, _directory) = log();
    let app = App::on(Arc::new(log), settings());
    let id = app.submit(&entry()).await.id();
    let name = id.to_string();
    let why = json!({"why": "a slur", "by": "Grace"});
    for request in ["hide", "show"] {
        let answer = ask(&app, None, &name, request, &why).await;
        assert_eq!(answer.problem(401).headers[header::WWW_AUTHENTICATE], "Bearer");
        ask(&app, Some("for organisers onlY"), &name, request, &why).await.problem(401);
        ask(&app, Some(TOKEN), "none", request, &why).await.problem(404);
        ask(&app, Some(TOKEN), &uuid::Uuid::new_v4().to_string(), request, &why).await.problem(404);
        let wrong = ask(&app, Some(TOKEN), &name, request, &json!({"why": " ", "y": 1})).await;
        assert_eq!(wrong.problem(422).wrong_fields(), ["why", "y"]);
        let unseen = json!({"why": "a\u{202e}slur", "by": "\u{3164}"});
        let wrong = ask(&app, Some(TOKEN), &name, request, &unseen).await;
        assert_eq!(wrong.problem(422).wrong_fields(), ["why", "by"]);
        assert!(wrong.body["errors"][0]["message"].as_str().unwrap().contains("U+202E"), "{}", wrong.body);
    }
    assert_eq!(history(&*app.log, id).await, ["Submitted"]);

    for (request, recorded) in [
        ("show", &["Submitted"][..]),
        ("hide", &["Submitted", "Hidden"]),
        ("hide", &["Submitted", "Hidden"]),
        ("show", &["Submitted", "Hidden", "Shown"]),
        ("show", &["Submitted", "Hidden", "Shown"]),
    ] {
        let answer = ask(&app, Some(TOKEN), &name, request, &why).await;
        assert_eq!((answer.status.as_u16(), answer.id()), (200, id), "{request}: {}", answer.body);
        assert_eq!(answer.body["links"]["page"], format!("/s/{id}"));
        assert_eq!(history(&*app.log, id).await, recorded);
    }
}

#[tokio::test]
async fn whoever_has_the_id_may_withdraw_a_submission_until_it_has_a_verdict() {
    let (log, _directory) = log();
    let app = App::on(Arc::new(log.clone()), settings());
    let commands = Commands::new(Arc::new(log), Arc::new(Challenge::birthday()));
    let nothing = Value::Null;
    let id = app.submit_keyed("k", &entry()).await.id();
    for _ in 0..2 {
        let answer = ask(&app, None, &id.to_string(), "withdraw", &nothing).await;
        assert_eq!((answer.status.as_u16(), answer.id()), (200, id), "{}", answer.body);
        assert_eq!(history(&*app.log, id).await, ["Submitted", "Withdrawn"]);
    }
    let again = app.submit_keyed("k", &entry()).await;
    assert_eq!((again.status.as_u16(), again.id()), (202, id), "the key's answer is the recorded one");
    ask(&app, Some(TOKEN), &id.to_string(), "hide", &json!({"why": "x"})).await.problem(409);
    let late = ask(&app, Some(TOKEN), &id.to_string(), "rejudge", &json!({"why": "x"})).await;
    assert!(late.problem(409).detail().contains("withdrawn"), "{}", late.body);

    let id = app.submit(&entry()).await.id();
    judge(&commands, id).await;
    let refused = ask(&app, None, &id.to_string(), "withdraw", &nothing).await;
    assert!(refused.problem(409).detail().contains("verdict"), "{}", refused.body);
    ask(&app, None, &uuid::Uuid::new_v4().to_string(), "withdraw", &nothing).await.problem(404);
    ask(&app, None, "none", "withdraw", &nothing).await.problem(404);
}
