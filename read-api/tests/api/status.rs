//! `GET /api/v1/submissions/{id}`, the status of a submission.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use domain::sandbox::{FetchTarget, ImageFetch};
use domain::{Challenge, SubmissionId};
use event_store::StreamName;
use event_store::testing::{soft_delete, tombstone};
use read_api::ReaderLimits;
use reqwest::StatusCode;
use serde_json::json;

use crate::world::{LONDON, Messages, World, failed, interrupted, passed, problem, rejudge, started};

#[tokio::test]
async fn a_status_has_the_timeline_and_the_reasons() {
    let world = World::new().await;
    let id = world.submit("ada", LONDON).await;
    world.record(id, [started(1), failed(1)]).await;
    world.settle().await;

    let status = world.json(&format!("/api/v1/submissions/{id}")).await;
    assert_eq!(status["id"], id.to_string());
    assert_eq!(status["status"], "failed");
    assert_eq!(status["reasons"][0]["code"], "timed_out");
    assert_eq!(status["reasons"][0]["fault"], "participant");
    assert_eq!(status["queue"], json!(null));
    let kinds: Vec<&str> =
        status["timeline"].as_array().unwrap().iter().map(|entry| entry["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Submitted", "VerificationStarted", "Failed"]);
}

#[tokio::test]
async fn a_waiting_submission_has_a_place_and_a_reason() {
    let world = World::new().await;
    world.submit("ada", LONDON).await;
    let second = world.submit("bob", LONDON).await;
    world.settle().await;
    let path = format!("/api/v1/submissions/{second}");

    let status = world.json(&path).await;
    assert_eq!(status["status"], "submitted");
    assert_eq!(status["queue"]["position"], 2);
    assert_eq!(status["queue"]["of"], 2);
    assert_eq!(status["platform"], json!(null));

    world.pause_reason.send_replace(Some("No Swarm answers; submissions wait.".to_owned()));
    let status = world.json(&path).await;
    assert_eq!(status["platform"], "No Swarm answers; submissions wait.");
    assert_eq!(status["waiting"]["message"], "No Swarm answers; submissions wait.");

    world.record(second, [started(1), interrupted(1)]).await;
    let status = world.json(&path).await;
    assert_eq!(status["waiting"]["code"], "no_capacity");
    assert_ne!(status["waiting"]["message"], "No Swarm answers; submissions wait.");
}

#[tokio::test]
async fn a_submission_whose_rules_no_verifier_can_carry_out_says_so() {
    let world = World::new().await;
    let id = world.submit("ada", LONDON).await;
    world.settle().await;
    let path = format!("/api/v1/submissions/{id}");
    world.unknown_rules.send_replace(BTreeSet::from(["sha256:other".to_owned()]));
    assert_eq!(world.json(&path).await["platform"], json!(null));
    world.unknown_rules.send_replace(BTreeSet::from([Challenge::birthday().digest()]));
    let status = world.json(&path).await;
    for said in [&status["platform"], &status["waiting"]["message"]] {
        assert!(said.as_str().unwrap().contains("the rules that this submission is judged by"), "{status:#}");
    }
}

#[tokio::test]
async fn a_submission_says_how_far_its_image_is() {
    let world = World::new().await;
    let (id, other) = (world.submit("ada", LONDON).await, world.submit("bob", LONDON).await);
    world.settle().await;
    let path = format!("/api/v1/submissions/{id}");
    let mut messages = Messages::open(&world, &format!("{path}/events"), None).await;
    let fetched = |to, bytes| {
        let (submission, image) = (id, "ada/app:v1".parse().unwrap());
        world.fetches.send_replace(HashMap::from([(
            id,
            ImageFetch { submission, image, to, bytes, of_bytes: 120 << 20 },
        )]));
    };
    for (to, bytes, said) in [
        (FetchTarget::Verifier, 3 << 19, "We fetch ada/app:v1 to look into it: 1.5 of 120 MiB."),
        (FetchTarget::Verifier, 120 << 20, "We look into ada/app:v1: 120 MiB."),
        (
            FetchTarget::Node,
            34 << 20,
            "ada/app:v1 is on its way to the machine that will run it: 34 of 120 MiB.",
        ),
        (FetchTarget::Node, 120 << 20, "The machine that will run ada/app:v1 unpacks it: 120 MiB."),
    ] {
        fetched(to, bytes);
        let message = messages.next_named("fetch").await.data;
        assert_eq!(world.json(&path).await["fetch"], message);
        assert_eq!(
            message,
            json!({
                "image": "docker.io/ada/app:v1", "bytes": bytes, "of_bytes": 120 << 20, "message": said,
            })
        );
    }
    assert_eq!(world.json(&format!("/api/v1/submissions/{other}")).await["fetch"], json!(null));
    // Whoever is being verified has all of its images.
    world.record(id, [started(1)]).await;
    assert_eq!(messages.next_named("fetch").await.data, json!(null));
}

#[tokio::test]
async fn an_unknown_id_is_a_problem() {
    let world = World::new().await;
    for id in ["00000000-0000-4000-8000-000000000000", "rubbish", "%00", "..%2f..%2fetc%2fpasswd"] {
        world.problem(&format!("/api/v1/submissions/{id}"), StatusCode::NOT_FOUND).await;
        world.problem(&format!("/api/v1/submissions/{id}/events"), StatusCode::NOT_FOUND).await;
        world.problem(&format!("/api/v1/submissions/{id}?wait=30s"), StatusCode::NOT_FOUND).await;
    }
}

#[tokio::test]
async fn a_client_reads_its_own_writes_while_the_views_stand_still() {
    let world = World::without_projection(ReaderLimits::default()).await;
    let id = world.submit("ada", LONDON).await;
    let path = format!("/api/v1/submissions/{id}");
    assert_eq!(world.json(&path).await["status"], "submitted");
    world.record(id, [started(1), passed(1)]).await;
    let status = world.json(&path).await;
    assert_eq!(status["status"], "passed");
    assert_eq!(status["revision"], 2);

    let unknown = "/api/v1/submissions/00000000-0000-4000-8000-000000000000";
    world.problem(unknown, StatusCode::NOT_FOUND).await;

    // The views apply the first events and then stop.
    world.project();
    world.settle().await;
    world.stop_projecting();
    world.record(id, [rejudge(), started(2), failed(2)]).await;
    assert_eq!(world.json(&path).await["status"], "failed");
}

#[tokio::test]
async fn a_deleted_submission_is_gone_whether_the_views_know_it_or_not() {
    let world = World::without_projection(ReaderLimits::default()).await;
    let (soft, tombstoned) = (world.pass("ada", LONDON).await, world.pass("bob", LONDON).await);
    let kept = world.pass("eve", LONDON).await;
    world.project();
    world.settle().await;
    assert_eq!(world.json("/api/v1/stats").await["pins"], 3);
    soft_delete(&world.store, &StreamName::of("submission", soft.0)).await;
    tombstone(&world.store, &StreamName::of("submission", tombstoned.0)).await;
    let path = |id| format!("/api/v1/submissions/{id}");
    let both_are_gone = async {
        for id in [soft, tombstoned] {
            while world.get(&path(id)).await.status() != StatusCode::GONE {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), both_are_gone).await.expect("the views are told");
    for id in [soft, tombstoned] {
        let gone = world.problem(&path(id), StatusCode::GONE).await;
        assert!(gone["detail"].as_str().unwrap().contains("deleted"), "{gone}");
        world.problem(&format!("{}/events", path(id)), StatusCode::GONE).await;
        world.problem(&format!("{}?at=2016-03-21T12:00:00Z", path(id)), StatusCode::GONE).await;
    }
    assert_eq!(world.json(&path(kept)).await["status"], "passed");
    assert_eq!(world.json("/api/v1/stats").await["pins"], 1);

    // The views do not learn of this one.
    world.stop_projecting();
    tombstone(&world.store, &StreamName::of("submission", kept.0)).await;
    world.submit("joe", LONDON).await;
    world.problem(&path(kept), StatusCode::GONE).await;
}

#[tokio::test]
async fn a_very_long_stream_is_folded_too() {
    let world = World::without_projection(ReaderLimits::default()).await;
    let id = world.submit("ada", LONDON).await;
    for attempt in 1..=2600 {
        if attempt % 400 == 1 {
            let attempts = attempt..=(attempt + 399).min(2600);
            world.record(id, attempts.flat_map(|attempt| [started(attempt), failed(attempt)])).await;
        }
    }
    let path = format!("/api/v1/submissions/{id}");
    let status = world.json(&path).await;
    assert_eq!((&status["status"], &status["revision"]), (&"failed".into(), &5200.into()));
    let at = status["timeline"][10]["at"].as_str().unwrap().to_owned();
    assert!(world.json(&format!("{path}?at={at}")).await["revision"].as_u64().unwrap() >= 10);
    let now = jiff::Timestamp::now();
    assert_eq!(world.json(&format!("{path}?at={now}")).await["revision"], 5200);
}

#[tokio::test]
async fn an_unchanged_status_is_not_sent_again() {
    let world = World::new().await;
    let id = world.submit("ada", LONDON).await;
    world.settle().await;
    let path = format!("/api/v1/submissions/{id}");
    let etag = world.get(&path).await.headers()["etag"].to_str().unwrap().to_owned();

    let same = world.get_with(&path, &[("if-none-match", &etag)]).await;
    assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(same.headers()["etag"], etag.as_str());
    assert!(same.bytes().await.unwrap().is_empty());

    // The response contains the place in the queue.
    world.submit("bob", LONDON).await;
    world.settle().await;
    let other = world.get_with(&path, &[("if-none-match", &etag)]).await;
    assert_eq!(other.status(), StatusCode::OK);
    assert_ne!(other.headers()["etag"], etag.as_str());
}

#[tokio::test]
async fn a_long_poll_waits_for_a_change() {
    let world = World::new().await;
    let id = world.submit("ada", LONDON).await;
    world.settle().await;
    let path = format!("/api/v1/submissions/{id}?wait=20s");

    let began = Instant::now();
    let pause = Duration::from_millis(300);
    let polling = async { (world.json(&path).await, began.elapsed()) };
    let ((answer, waited), ()) = tokio::join!(polling, async {
        tokio::time::sleep(pause).await;
        world.record(id, [started(1)]).await;
    });
    assert!(waited >= pause && waited < Duration::from_secs(10), "{waited:?}");
    assert_eq!(answer["status"], "verifying");

    // A revision that the client does not have yet is sent at once.
    let began = Instant::now();
    assert_eq!(world.json(&format!("{path}&rev=0")).await["revision"], 1);
    let etag =
        world.get(&format!("/api/v1/submissions/{id}")).await.headers()["etag"].to_str().unwrap().to_owned();
    world.record(id, [passed(1)]).await;
    let newer = world.get_with(&path, &[("if-none-match", &etag)]).await;
    assert_eq!(newer.status(), StatusCode::OK);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_long_poll_ends_at_its_deadline() {
    let world = World::new().await;
    let id = world.pass("ada", LONDON).await;
    world.settle().await;
    let began = Instant::now();
    let status = world.json(&format!("/api/v1/submissions/{id}?wait=400ms")).await;
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    assert_eq!(status["status"], "passed");

    let etag =
        world.get(&format!("/api/v1/submissions/{id}")).await.headers()["etag"].to_str().unwrap().to_owned();
    let same =
        world.get_with(&format!("/api/v1/submissions/{id}?wait=100ms"), &[("if-none-match", &etag)]).await;
    assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn a_long_poll_sees_events_that_the_views_have_not_applied() {
    let world = World::without_projection(ReaderLimits::default()).await;
    let id = world.submit("ada", LONDON).await;
    let path = format!("/api/v1/submissions/{id}?wait=20s&rev=0");
    let (answer, _) = tokio::join!(world.json(&path), world.record(id, [started(1), passed(1), rejudge()]));
    assert!(answer["revision"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_wrong_wait_is_refused_by_name() {
    let world = World::new().await;
    let id = world.submit("ada", LONDON).await;
    for wait in ["soon", "-5s", "", "30"] {
        let problem =
            world.problem(&format!("/api/v1/submissions/{id}?wait={wait}"), StatusCode::BAD_REQUEST).await;
        assert_eq!(problem["errors"][0]["field"], "wait", "{wait}");
    }
    let problem = world.problem(&format!("/api/v1/submissions/{id}?rev=new"), StatusCode::BAD_REQUEST).await;
    assert_eq!(problem["errors"][0]["field"], "rev");
}

#[tokio::test]
async fn long_polls_are_limited() {
    let world = World::without_projection(ReaderLimits { all: 10, per_address: 1 }).await;
    let id = world.submit("ada", LONDON).await;
    let path = format!("/api/v1/submissions/{id}?wait=20s&rev=0");
    let (client, url) = (world.client.clone(), world.url(&path));
    // The short poll below may come first and hold the only place for a moment: the long one asks again then.
    let waiting = tokio::spawn(async move {
        loop {
            let response = client.get(&url).send().await.unwrap();
            if response.status() != StatusCode::SERVICE_UNAVAILABLE {
                return response;
            }
        }
    });
    let refused = async {
        loop {
            let response = world.get(&format!("/api/v1/submissions/{id}?wait=1ms")).await;
            if response.status() == StatusCode::SERVICE_UNAVAILABLE {
                return response;
            }
        }
    };
    let refused = tokio::time::timeout(crate::world::DEADLINE, refused).await.unwrap();
    problem(refused, StatusCode::SERVICE_UNAVAILABLE).await;
    // A request that does not wait is always answered.
    assert_eq!(world.json(&format!("/api/v1/submissions/{id}")).await["status"], "submitted");
    world.record(id, [started(1)]).await;
    assert_eq!(waiting.await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn while_the_views_are_away_a_status_comes_from_the_log() {
    let world = World::new().await;
    let passed = world.pass("ada", LONDON).await;
    let waiting = world.submit("bob", LONDON).await;
    world.settle().await;
    let path = |id: SubmissionId| format!("/api/v1/submissions/{}", id.0);
    assert_eq!(world.json(&path(waiting)).await["queue"]["position"], 1);

    world.queries.set_away(true);
    assert_eq!(world.json(&path(passed)).await["status"], "passed");
    let answer = world.json(&path(waiting)).await;
    assert_eq!((&answer["status"], &answer["queue"]), (&"submitted".into(), &serde_json::Value::Null));
    world.record(waiting, [started(1)]).await;
    assert_eq!(world.json(&path(waiting)).await["status"], "verifying");
    // Only the views know whether a submission that the log lacks was deleted.
    world.problem(&path(SubmissionId(uuid::Uuid::new_v4())), StatusCode::SERVICE_UNAVAILABLE).await;

    world.queries.set_away(false);
    let back = async {
        while world.get(&path(SubmissionId(uuid::Uuid::new_v4()))).await.status() != StatusCode::NOT_FOUND {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::world::DEADLINE, back).await.expect("the views are asked again");
}

#[tokio::test]
async fn a_damaged_log_is_an_error_of_the_server_not_a_missing_submission() {
    let world = World::without_projection(ReaderLimits::default()).await;
    let id = world.submit("ada", LONDON).await;
    world.damage_the_log().await;
    let path = format!("/api/v1/submissions/{}", id.0);
    for path in [&path, &format!("{path}?at=2020-01-01T00:00:00Z")] {
        let problem = world.problem(path, StatusCode::INTERNAL_SERVER_ERROR).await;
        assert!(problem["detail"].as_str().unwrap().contains("is damaged"), "{problem}");
    }
}
