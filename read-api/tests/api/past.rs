//! `?at=`: the views at a moment of the past.

use jiff::Timestamp;
use read_api::ReaderLimits;
use reqwest::StatusCode;
use serde_json::json;

use crate::world::{LONDON, TOKYO, World, passed, started};

#[tokio::test]
async fn the_past_is_folded_from_the_log() {
    let world = World::without_projection(ReaderLimits::default()).await;
    let before = after_now().await;
    let ada = world.submit("ada", LONDON).await;
    let submitted = after_now().await;
    world.record(ada, [started(1), passed(1)]).await;
    let judged = after_now().await;
    world.pass("eve", TOKYO).await;

    let status = format!("/api/v1/submissions/{ada}");
    world.problem(&format!("{status}?at={before}"), StatusCode::NOT_FOUND).await;
    assert_eq!(world.json(&format!("{status}?at={submitted}")).await["status"], "submitted");
    assert_eq!(world.json(&format!("{status}?at={judged}")).await["status"], "passed");

    let stats = world.json(&format!("/api/v1/stats?at={submitted}")).await;
    assert_eq!((&stats["submissions"]["submitted"], &stats["pins"]), (&json!(1), &json!(0)));
    assert_eq!(world.json(&format!("/api/v1/stats?at={judged}")).await["pins"], 1);
    let pins = async |at| {
        let pins = world.json(&format!("/api/v1/pins?zoom=4&at={at}")).await;
        pins["features"].as_array().unwrap().len()
    };
    assert_eq!(pins(before).await, 0);
    assert_eq!(pins(judged).await, 1);
    assert_eq!(pins(after_now().await).await, 2);
}

#[tokio::test]
async fn a_malformed_or_future_moment_is_refused() {
    let world = World::without_projection(ReaderLimits::default()).await;
    let id = world.submit("ada", LONDON).await;
    for path in ["/api/v1/stats".to_owned(), "/api/v1/pins".to_owned(), format!("/api/v1/submissions/{id}")] {
        for at in ["noon", "2100-01-01T00:00:00Z", "2026-03-21", ""] {
            let problem = world.problem(&format!("{path}?at={at}"), StatusCode::BAD_REQUEST).await;
            assert_eq!(problem["errors"][0]["field"], "at", "{path} {at}");
        }
    }
}

#[tokio::test]
async fn a_moment_may_have_an_offset_as_people_type_it() {
    let world = World::without_projection(ReaderLimits::default()).await;
    world.pass("ada", LONDON).await;
    let in_london = world.get("/api/v1/stats?at=2026-03-21T12:00:00Z").await;
    assert_eq!(in_london.status(), StatusCode::OK);
    let in_berlin = world.get("/api/v1/stats?at=2026-03-21T14:00:00+02:00").await;
    assert_eq!(in_berlin.headers()["etag"], in_london.headers()["etag"]);
}

#[tokio::test]
async fn before_the_first_event_there_was_nothing() {
    let world = World::without_projection(ReaderLimits::default()).await;
    let id = world.pass("ada", LONDON).await;
    for at in ["2016-03-21T12:00:00Z", "0001-01-01T00:00:00Z", "-009999-01-02T01:59:59Z"] {
        let stats = world.json(&format!("/api/v1/stats?at={at}")).await;
        assert_eq!((&stats["position"], &stats["pins"]), (&json!(0), &json!(0)), "{at}");
        for venue in ["", "&venue=berlin"] {
            let pins = world.json(&format!("/api/v1/pins?at={at}{venue}")).await;
            assert_eq!(pins["features"], json!([]), "{at}");
        }
        world.problem(&format!("/api/v1/submissions/{id}?at={at}"), StatusCode::NOT_FOUND).await;
    }
}

#[tokio::test]
async fn all_who_ask_about_one_moment_at_once_are_answered_by_one_fold() {
    let world = World::without_projection(ReaderLimits::default()).await;
    world.pass("ada", LONDON).await;
    let moment = after_now().await;
    let path = world.url(&format!("/api/v1/stats?at={moment}"));
    let asked = (0..40).map(|_| world.client.get(&path).send());
    for response in futures::future::join_all(asked).await {
        let response = response.unwrap();
        // More folds than three at once would be refused.
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.json::<serde_json::Value>().await.unwrap()["pins"], 1);
    }
}

#[tokio::test]
async fn many_moments_at_once_are_limited_and_answered_in_turn() {
    let world = World::without_projection(ReaderLimits::default()).await;
    world.pass("ada", LONDON).await;
    let asked = (0..40).map(|n| {
        let path = world.url(&format!("/api/v1/stats?at=2020-01-01T00:00:{n:02}Z"));
        world.client.get(path).send()
    });
    for response in futures::future::join_all(asked).await {
        let status = response.unwrap().status();
        assert!(status == StatusCode::OK || status == StatusCode::SERVICE_UNAVAILABLE, "{status}");
    }
    assert_eq!(world.json("/api/v1/stats?at=2020-01-01T00:00:00Z").await["pins"], 0);
}

/// Returns a moment after every event recorded so far and before every event recorded later.
async fn after_now() -> Timestamp {
    // The log uses the same clock, with microseconds.
    let tick = async |since: Timestamp| {
        while Timestamp::now().as_microsecond() <= since.as_microsecond() {
            tokio::task::yield_now().await;
        }
        Timestamp::now()
    };
    let now = tick(Timestamp::now()).await;
    tick(now).await;
    now
}
