//! The views of the present: nothing partial is shown, and a tag names what it is the tag of.

use event_store::{Position, Read};
use projections::{FirstCatchUp, ViewStore};
use read_api::ReaderLimits;
use reqwest::StatusCode;
use serde_json::Value;

use crate::world::{LONDON, Messages, TOKEN, World, problem};

/// The public addresses that show views.
const SHOWN: [&str; 8] = [
    "/api/v1/pins",
    "/api/v1/pins?venue=berlin",
    "/api/v1/pins/search?q=ada",
    "/api/v1/pins/at?lat=51&lon=0",
    "/api/v1/pins/newest?venue=berlin",
    "/api/v1/stats",
    "/stats",
    "/api/v1/live",
];

async fn is_withheld(world: &World, progress: &str) {
    let token = format!("Bearer {TOKEN}");
    for path in SHOWN.into_iter().chain(["/api/v1/organiser", "/api/v1/sandbox"]) {
        let response = world.get_with(path, &[("authorization", &token)]).await;
        assert_eq!(response.headers().get("retry-after").unwrap(), "2", "{path}");
        assert!(response.headers().get("etag").is_none(), "{path}");
        let problem = problem(response, StatusCode::SERVICE_UNAVAILABLE).await;
        assert!(problem["detail"].as_str().unwrap().contains(progress), "{path}: {problem}");
    }
}

#[tokio::test]
async fn views_that_have_not_caught_up_are_not_shown() {
    let world = World::starting(ReaderLimits::default()).await;
    is_withheld(&world, "the log is not read yet").await;
    let ada = world.pass("ada", LONDON).await;
    let head = world.store.head().await.unwrap();
    let moment = jiff::Timestamp::now();
    world.views.show_from(head).await.unwrap();
    is_withheld(&world, ": 0 % of the log is read").await;
    // The views are on the way to the end that the log had at the start.
    world.views.apply(Position::START, &[], Position(head.0 / 2)).await.unwrap();
    is_withheld(&world, &format!(": {} % of the log is read", head.0 / 2 * 100 / head.0)).await;

    // What is asked of the log has its answer.
    let status = world.json(&format!("/api/v1/submissions/{ada}")).await;
    assert_eq!((&status["status"], &status["queue"]), (&Value::from("passed"), &Value::Null));
    let waits = world.submit("bob", LONDON).await;
    let status = world.json(&format!("/api/v1/submissions/{waits}")).await;
    assert_eq!((&status["status"], &status["queue"]), (&Value::from("submitted"), &Value::Null));
    let mut messages = Messages::open(&world, &format!("/api/v1/submissions/{ada}/events"), None).await;
    assert_eq!(messages.next().await.unwrap().name, "Submitted");
    assert_eq!(world.json(&format!("/api/v1/stats?at={moment}")).await["pins"], 1);

    // The projection applies all of the log.
    world.views.apply(Position(head.0 / 2), &[], Position::START).await.unwrap();
    world.project();
    let mut caught_up = FirstCatchUp::of(&*world.views);
    tokio::time::timeout(crate::world::DEADLINE, caught_up.wait()).await.expect("the views follow the log");
    for path in SHOWN {
        assert_eq!(world.get(path).await.status(), StatusCode::OK, "{path}");
    }
    assert_eq!(world.json("/api/v1/stats").await["pins"], 1);
}

#[tokio::test]
async fn a_tag_is_of_one_log_and_not_of_a_position() {
    let tags = async |world: &World, path: &str| {
        let response = world.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.headers()["etag"].to_str().unwrap().to_owned()
    };
    let (one, other) = (World::new().await, World::new().await);
    for world in [&one, &other] {
        world.pass("ada", LONDON).await;
        world.settle().await;
    }
    assert_eq!(one.store.head().await.unwrap(), other.store.head().await.unwrap());
    for path in ["/api/v1/pins?zoom=3", "/api/v1/stats", "/api/v1/stats?venue=berlin"] {
        let tag = tags(&one, path).await;
        assert_eq!(tags(&one, path).await, tag, "{path}");
        assert_eq!(one.get_with(path, &[("if-none-match", &tag)]).await.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(other.get_with(path, &[("if-none-match", &tag)]).await.status(), StatusCode::OK, "{path}");
    }
}
