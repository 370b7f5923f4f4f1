//! The write API as a client sees it: accepted submissions, and the answers to wrong ones.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, header};
use commands::{Actor, Commands, WriteApiSettings};
use domain::challenge::{Evidence, Observation, RequiredImages};
use domain::submission::FailureCode;
use domain::{Challenge, Command};
use futures::future::join_all;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::support::{App, TOKEN, ada, by, entry, entry_with, history, log, post, post_text, settings};

fn app() -> (App, tempfile::TempDir) {
    let (log, directory) = log();
    (App::on(Arc::new(log), settings()), directory)
}

#[tokio::test]
async fn a_good_entry_is_on_disk_before_it_is_answered() {
    let (app, _directory) = app();
    let answer = app.submit(&entry()).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!(answer.body["status"], "submitted");
    let status = format!("/api/v1/submissions/{}", answer.id());
    assert_eq!(answer.headers[header::LOCATION], status.as_str());
    assert_eq!(answer.body["links"]["status"], status.as_str());
    assert_eq!(history(&*app.log, answer.id()).await, ["Submitted"]);
    let head = app.log.head().await.unwrap();
    assert_eq!(answer.body["position"], head.0);
}

#[tokio::test]
async fn the_images_may_be_called_repo_as_in_2016() {
    let (app, _directory) = app();
    let repo = json!({"images": null, "repo": ["ada/voting"]});
    assert_eq!(app.submit(&entry_with(repo)).await.status, 202);
    let wrong = json!({"images": null, "repo": ["ada/voting", "../x"]});
    assert_eq!(app.submit(&entry_with(wrong)).await.problem(422).wrong_fields(), ["repo[1]"]);
    let both = json!({"repo": ["ada/voting"]});
    assert_eq!(app.submit(&entry_with(both)).await.problem(422).wrong_fields(), ["images"]);
}

#[tokio::test]
async fn each_wrong_field_is_named_and_nothing_is_recorded() {
    let (app, _directory) = app();
    for (changes, named) in [
        (json!({"name": null}), vec!["name"]),
        (json!({"name": 7}), vec!["name"]),
        (json!({"name": ""}), vec!["name"]),
        (json!({"name": "\u{3164}\u{3164}\u{3164}"}), vec!["name"]),
        (json!({"name": "A\u{202e}da"}), vec!["name"]),
        (json!({"twitter": "ada"}), vec!["twitter"]),
        (json!({"twitter": ["@ada"]}), vec!["twitter"]),
        (json!({"location": null}), vec!["location"]),
        (json!({"location": "x".repeat(101)}), vec!["location"]),
        (json!({"images": null}), vec!["images"]),
        (json!({"images": "ada/voting"}), vec!["images"]),
        (json!({"images": [1]}), vec!["images"]),
        (json!({"images": []}), vec!["images"]),
        (json!({"images": ["ada/a", "ada/b", "ada/c", "ada/d"]}), vec!["images"]),
        (json!({"images": ["../etc/passwd"]}), vec!["images[0]"]),
        (json!({"images": ["ada/voting@latest"]}), vec!["images[0]"]),
        (json!({"images": ["ada/voting app"]}), vec!["images[0]"]),
        (json!({"images": ["ada/voting", "evil.example/ada/app"]}), vec!["images[1]"]),
        (json!({"images": ["ada/voting", "nginx"]}), vec!["images[1]"]),
        (json!({"images": ["ada/voting", "bob/result"]}), vec!["images"]),
        (json!({"vote": null}), vec!["vote"]),
        (json!({"vote": true}), vec!["vote"]),
        (json!({"vote": "Klingon"}), vec!["vote"]),
        (json!({"colour": "red"}), vec!["colour"]),
        (json!({"colour": {"deep": 1}}), vec!["colour"]),
        (json!({"name": "", "location": "Nowhereville", "vote": 3}), vec!["vote", "name", "location"]),
    ] {
        let answer = app.submit(&entry_with(changes)).await;
        let messages = answer.problem(422).body["errors"].as_array().unwrap();
        assert!(messages.iter().all(|error| error["message"].as_str().unwrap().ends_with('.')));
        assert_eq!(answer.wrong_fields(), named, "{}", answer.body);
    }
    assert_eq!(app.recorded().await, 0);
}

#[tokio::test]
async fn a_place_that_is_unknown_or_ambiguous_is_answered_with_places_that_would_do() {
    let (app, _directory) = app();
    for (typed, offered) in
        [("Lodnon, UK", "London, England, GB"), ("Springfield", "Springfield, Missouri, US")]
    {
        let answer = app.submit(&entry_with(json!({"location": typed}))).await;
        assert_eq!(answer.problem(422).wrong_fields(), ["location"]);
        let suggestions: Vec<_> = answer.body["errors"][0]["suggestions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one.as_str().unwrap().to_owned())
            .collect();
        assert!(suggestions.iter().any(|one| one == offered), "{typed}: {suggestions:?}");
        let again = app.submit(&entry_with(json!({"location": suggestions[0]}))).await;
        assert_eq!(again.status, 202, "{}", again.body);
    }
    for typed in ["San Francisco, CA, USA", "Zürich", "東京"] {
        assert_eq!(app.submit(&entry_with(json!({"location": typed}))).await.status, 202, "{typed}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_a_json_object_is_refused_with_where_it_breaks() {
    let (app, _directory) = app();
    for (body, said) in [
        ("{\"name\": \"Ada\",\n  oops}", "line 2 column 3"),
        ("", "line 1 column 0"),
        ("[]", "expected an object"),
        ("\u{feff}\u{feff}{}", "line 1 column 1"),
        ("{\"vote\": \"C\", \"vote\": \"D\"}", "\"vote\" is given twice"),
    ] {
        let answer = app.send(post_text("/api/v1/submissions", body)).await;
        assert!(answer.problem(400).detail().contains(said), "{}", answer.detail());
    }
    let deep = "[".repeat(60_000);
    app.send(post_text("/api/v1/submissions", deep)).await.problem(400);
    app.send(post_text("/api/v1/submissions", vec![0xff, 0xfe])).await.problem(400);
    assert_eq!(app.recorded().await, 0);
    // Editors write a byte-order mark unasked.
    let marked = format!("\u{feff}{}", entry());
    assert_eq!(app.send(post_text("/api/v1/submissions", marked)).await.status, 202);
}

#[tokio::test]
async fn a_body_of_another_content_type_is_refused() {
    let (app, _directory) = app();
    let plain = Request::post("/api/v1/submissions").body(Body::from(entry().to_string())).unwrap();
    app.send(plain).await.problem(415);
    let mut form = post("/api/v1/submissions", &entry());
    form.headers_mut().insert(header::CONTENT_TYPE, "application/x-www-form-urlencoded".parse().unwrap());
    app.send(form).await.problem(415);
    let mut charset = post("/api/v1/submissions", &entry());
    charset.headers_mut().insert(header::CONTENT_TYPE, "Application/JSON; charset=utf-8".parse().unwrap());
    assert_eq!(app.send(charset).await.status, 202);
}

#[tokio::test]
async fn the_same_key_gives_the_same_answer_and_submits_once() {
    let (app, _directory) = app();
    let first = app.submit_keyed("k-1", &entry()).await;
    assert_eq!(first.status, 202);
    app.submit(&entry()).await;
    let again = app.submit_keyed("k-1", &entry()).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.headers[header::LOCATION], first.headers[header::LOCATION]);
    assert_eq!(app.recorded().await, 2);

    app.submit_keyed("k-1", &entry_with(json!({"name": "Somebody Else"}))).await.problem(409);
    assert_eq!(app.recorded().await, 2);
}

#[tokio::test]
async fn a_repeated_key_is_answered_after_a_change_of_the_rules() {
    let (log, _directory) = log();
    let log = Arc::new(log);
    let app = App::on(log.clone(), settings());
    let first = app.submit_keyed("k-1", &entry()).await;
    let mut rules = Challenge::birthday();
    rules.images.registries = vec!["quay.io".to_owned()];
    rules.name.min_chars = 20;
    rules.answers.clear();
    rules.refused_words = vec!["Ada".to_owned()].into();
    let changed = App::of(rules, log, settings());
    let again = changed.submit_keyed("k-1", &entry()).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    changed.submit_keyed("k-2", &entry()).await.problem(422);
    changed.submit_keyed("k-1", &entry_with(json!({"name": "Somebody Else"}))).await.problem(422);
    assert_eq!(changed.recorded().await, 1);
}

#[tokio::test]
async fn a_repeated_key_is_answered_after_a_change_of_the_places() {
    let (app, _directory) = app();
    let mut submitted = ada();
    submitted.location.typed = "Erewhon".to_owned();
    submitted.location.place.city = "Erewhon".to_owned();
    let id = uuid::Uuid::new_v5(&settings().key_space, b"docker.io/ada\nk-1").to_string().parse().unwrap();
    let commands = Commands::new(Arc::clone(&app.log), Arc::new(Challenge::birthday()));
    commands.handle(id, Command::Submit(Box::new(submitted)), by(Actor::Participant)).await.unwrap();
    let erewhon = entry_with(json!({"location": "Erewhon"}));
    let answer = app.submit_keyed("k-1", &erewhon).await;
    assert_eq!((answer.status.as_u16(), answer.id()), (202, id));
    app.submit(&erewhon).await.problem(422);
    assert_eq!(app.recorded().await, 1);
}

#[tokio::test]
async fn a_pasted_command_or_address_is_taken_for_the_image_that_it_names() {
    let (app, _directory) = app();
    for typed in
        ["docker pull ada/voting", "https://hub.docker.com/r/ada/voting/tags", "index.docker.io/ada/voting"]
    {
        let answer = app.submit_keyed("k-1", &entry_with(json!({"images": [typed]}))).await;
        assert_eq!(answer.status, 202, "{typed}: {}", answer.body);
    }
    assert_eq!(app.recorded().await, 1, "they are the same entry");
    let answer = app.submit(&entry_with(json!({"images": ["Ada/Voting"]}))).await;
    assert_eq!(answer.problem(422).wrong_fields(), ["images[0]"]);
    assert_eq!(answer.body["errors"][0]["suggestions"], json!(["ada/voting"]));
}

#[tokio::test]
async fn a_short_name_in_any_script_is_taken() {
    let (app, _directory) = app();
    for name in ["王伟", "Bo", "Ö", "👩🏽‍💻", "Jose\u{301}"] {
        assert_eq!(app.submit(&entry_with(json!({"name": name}))).await.status, 202, "{name}");
        let then = entry_with(json!({"images": null, "repo": ["ada/voting"], "name": name}));
        let answer = app.send(post("/competition", &then)).await;
        assert!(answer.body["response"].as_str().unwrap().parse::<uuid::Uuid>().is_ok(), "{}", answer.body);
    }
    let answer = app.submit(&entry_with(json!({"name": "\u{2800}"}))).await;
    let message = answer.body["errors"][0]["message"].as_str().unwrap();
    assert_eq!(message, "A name has 1 to 50 characters that can be seen.");
}

#[tokio::test]
async fn the_same_key_in_a_race_submits_once() {
    let (app, _directory) = app();
    let app = Arc::new(app);
    let racers = (0..32).map(|_| {
        let app = Arc::clone(&app);
        tokio::spawn(async move { app.submit_keyed("race", &entry()).await })
    });
    let answers: Vec<_> = join_all(racers).await.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| answer.status == 202));
    let bodies: BTreeSet<_> = answers.iter().map(|answer| answer.body.to_string()).collect();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert_eq!(app.recorded().await, 1);
}

#[tokio::test]
async fn an_id_depends_on_the_owner_and_on_the_secret_key_space() {
    let (app, _directory) = app();
    let ada = app.submit_keyed("1", &entry()).await.id();
    let bob = app.submit_keyed("1", &entry_with(json!({"images": ["bob/app"]}))).await.id();
    assert_ne!(ada, bob);

    let (log, _directory) = log();
    let elsewhere = WriteApiSettings { key_space: uuid::Uuid::from_u128(43), ..settings() };
    let elsewhere = App::on(Arc::new(log), elsewhere);
    assert_ne!(elsewhere.submit_keyed("1", &entry()).await.id(), ada);
}

#[tokio::test]
async fn a_malformed_key_is_refused() {
    let (app, _directory) = app();
    let long = "x".repeat(201);
    for key in ["", "two words", "ключ", &long] {
        let mut request = post("/api/v1/submissions", &entry());
        let key = axum::http::HeaderValue::from_bytes(key.as_bytes()).unwrap();
        request.headers_mut().insert("idempotency-key", key);
        app.send(request).await.problem(400);
    }
    let mut two = post("/api/v1/submissions", &entry());
    two.headers_mut().append("idempotency-key", "a".parse().unwrap());
    two.headers_mut().append("idempotency-key", "b".parse().unwrap());
    app.send(two).await.problem(400);
    assert_eq!(app.submit_keyed(&"x".repeat(200), &entry()).await.status, 202);
}

#[tokio::test]
async fn clients_of_2016_are_answered_as_in_2016() {
    let (app, _directory) = app();
    let then = json!({"images": null, "repo": ["ada/voting", "ada/result"], "vote": "node.js"});
    let answer = app.send(post("/competition", &entry_with(then))).await;
    assert_eq!(answer.status, 200);
    let id = answer.body["response"].as_str().unwrap().parse().unwrap();
    assert_eq!(history(&*app.log, id).await, ["Submitted"]);

    let refused = |answer: &Value| {
        let text = answer["response"].as_str().unwrap().to_owned();
        text.strip_prefix("Your submission was not successful due to: ").unwrap().to_owned()
    };
    let answer = app.send(post("/competition", &entry_with(json!({"twitter": "ada", "vote": "Cat"})))).await;
    assert_eq!(answer.status, 200);
    let why = refused(&answer.body);
    assert!(why.contains("twitter: ") && why.contains("vote: "), "{why}");
    let answer = app.send(post_text("/competition", "{")).await;
    assert_eq!(answer.status, 200);
    assert!(refused(&answer.body).contains("line 1"));
    assert_eq!(app.recorded().await, 1);
    assert_eq!(app.get("/competition").await.status, 405);
}

#[tokio::test]
async fn only_organisers_may_request_another_verdict() {
    let (log, _directory) = log();
    let app = App::on(Arc::new(log.clone()), settings());
    let commands = Commands::new(Arc::new(log), Arc::new(Challenge::birthday()));
    let id = app.submit(&entry()).await.id();
    let path = format!("/api/v1/submissions/{id}/rejudge");
    let ask = async |token: Option<&str>, path: &str, body: Value| {
        let mut request = post(path, &body);
        if let Some(token) = token {
            request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        }
        app.send(request).await
    };
    let why = json!({"why": "new rules"});

    let answer = ask(None, &path, why.clone()).await;
    assert_eq!(answer.problem(401).headers[header::WWW_AUTHENTICATE], "Bearer");
    ask(Some("for organisers onlY"), &path, why.clone()).await.problem(401);
    ask(Some("for organisers"), &path, why.clone()).await.problem(401);
    ask(Some(TOKEN), &path, why.clone()).await.problem(409);
    ask(Some(TOKEN), "/api/v1/submissions/none/rejudge", why.clone()).await.problem(404);
    let nobody = format!("/api/v1/submissions/{}/rejudge", uuid::Uuid::new_v4());
    ask(Some(TOKEN), &nobody, why.clone()).await.problem(404);
    assert_eq!(ask(Some(TOKEN), &path, json!({"y": 1})).await.problem(422).wrong_fields(), ["why", "y"]);

    let at = Timestamp::now();
    let claim = Command::Claim { verifier: "v".into(), at, deadline: at + 1.minute() };
    commands.handle(id, claim, by(Actor::Verifier("v".into()))).await.unwrap();
    let evidence = Evidence::Failure { code: FailureCode::TimedOut, message: "no answer".into() };
    let observations =
        ada().images.into_iter().map(|image| Observation { image, evidence: evidence.clone() }).collect();
    let conclude = Command::Conclude { attempt: 1, observations, images: vec![] };
    commands.handle(id, conclude, by(Actor::Verifier("v".into()))).await.unwrap();
    let answer = ask(Some(TOKEN), &path, why.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.body["status"].as_str()), (202, Some("submitted")));
    assert_eq!(history(&*app.log, id).await.last(), Some(&"RejudgeRequested"));
    ask(Some(TOKEN), &path, why).await.problem(409);
}

#[tokio::test]
async fn without_a_token_every_organiser_is_refused_and_learns_how_to_set_one() {
    let (log, _directory) = log();
    let app = App::on(Arc::new(log), WriteApiSettings { token: None, ..settings() });
    let mut request = post("/api/v1/submissions/x/rejudge", &json!({"why": "new rules"}));
    request.headers_mut().insert(header::AUTHORIZATION, "Bearer ".parse().unwrap());
    assert!(app.send(request).await.problem(403).detail().contains("MUSTER_TOKEN"));
}

#[tokio::test]
async fn a_client_learns_the_rules_of_the_fields_and_the_names_of_places() {
    let (app, _directory) = app();
    let challenge = app.get("/api/v1/challenge").await.body;
    assert_eq!((&challenge["images"]["min"], &challenge["images"]["max"]), (&json!(1), &json!(3)));
    assert_eq!(challenge["fields"]["name"], json!({"min_chars": 1, "max_chars": 50}));
    assert_eq!(challenge["fields"]["twitter"]["pattern"], "^@[A-Za-z0-9_]{2,49}$");
    assert_eq!(challenge["answers"][0]["field"], "vote");
    assert_eq!(challenge["answers"][0]["choices"].as_array().unwrap().len(), 52);
    assert_eq!(challenge["probe"]["path"], "/getconfig");

    let places = app.get("/api/v1/places?q=san%20fran").await.body;
    assert_eq!(places["places"][0], "San Francisco, California, US");
    assert_eq!(app.get("/api/v1/places").await.body["places"], json!([]));
}

#[tokio::test]
async fn any_rules_that_were_in_force_can_be_looked_up() {
    let (log, _directory) = log();
    let log: Arc<dyn event_store::Append> = Arc::new(log);
    let before = App::on(Arc::clone(&log), settings());
    assert_eq!(before.submit(&entry()).await.status, 202);
    let mut stricter = Challenge::birthday();
    stricter.images.answering = RequiredImages::All;
    let after = App::of(stricter.clone(), log, settings());
    assert_eq!(after.submit(&entry()).await.status, 202);

    for (rules, answering) in [(&Challenge::birthday(), "any"), (&stricter, "all")] {
        let answer = after.get(&format!("/api/v1/challenge?digest={}", rules.digest())).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body["rules"], rules.digest());
        assert_eq!(answer.body["id"], "docker-birthday-3");
        let text: Value = serde_json::from_str(answer.body["text"].as_str().unwrap()).unwrap();
        assert_eq!(text["images"]["answering"], answering);
    }
    // Submissions of older versions name the digest of the whole file.
    let older = after.get(&format!("/api/v1/challenge?digest={}", stricter.file_digest())).await;
    assert_eq!(older.body["rules"], stricter.digest());

    let unknown = format!("/api/v1/challenge?digest=sha256:{}", "0".repeat(64));
    after.get(&unknown).await.problem(404);
    after.get("/api/v1/challenge?digest=latest").await.problem(400);
    assert_eq!(after.get("/api/v1/challenge").await.body["title"], "Docker Birthday #3");
}
