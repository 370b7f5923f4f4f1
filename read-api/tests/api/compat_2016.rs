//! The routes of the system that ran the challenge in 2016.

use reqwest::StatusCode;
use serde_json::json;

use crate::world::{LONDON, World, failed, passed, rejudge, started};

#[tokio::test]
async fn a_record_has_the_fields_of_2016() {
    let world = World::new().await;
    let id = world.submit("ada", LONDON).await;
    let path = format!("/competition/{id}");
    let record = world.json(&path).await;
    let response = &record["response"];
    assert_eq!(response["id"], id.to_string());
    assert_eq!(response["status"], "submitted");
    assert_eq!(response["name"], "ada of London");
    assert_eq!(response["location"], "London, GB");
    assert_eq!(response["repo"], json!(["ada/app"]));
    assert_eq!(response["vote"], "Rust");
    assert_eq!(response["coordinates"], json!({ "lat": 51.50853, "lng": -0.12574 }));
    assert!(response["submissionTime"].is_string());

    for (event, status) in [(started(1), "pending"), (failed(1), "failed"), (rejudge(), "submitted")] {
        world.record(id, [event]).await;
        assert_eq!(world.json(&path).await["response"]["status"], status);
    }
    world.record(id, [started(2), passed(2)]).await;
    assert_eq!(world.json(&path).await["response"]["status"], "successful");
}

#[tokio::test]
async fn a_failed_record_has_the_reason_and_the_advice() {
    let world = World::new().await;
    let id = world.submit("ada", LONDON).await;
    world.record(id, [started(1), failed(1)]).await;
    let record = world.json(&format!("/competition/{id}")).await;
    let message = record["response"]["statusmsg"].as_str().unwrap();
    assert!(message.contains("did not answer within 2 s") && message.contains("submit again"), "{message}");
}

#[tokio::test]
async fn an_unknown_id_is_answered_200_and_null() {
    let world = World::new().await;
    for id in ["00000000-0000-4000-8000-000000000000", "56f1a2b3c4d5e6f7a8b9c0d1"] {
        assert_eq!(world.json(&format!("/competition/{id}")).await, json!({ "response": null }));
    }
    world.problem("/competition", StatusCode::NOT_FOUND).await;
}

#[tokio::test]
async fn the_map_of_2016_has_pins_and_votes_and_nothing_private() {
    let world = World::new().await;
    let id = world.pass("ada", LONDON).await;
    let revoked = world.pass("eve", LONDON).await;
    world.record(revoked, [rejudge(), started(2), failed(2)]).await;
    world.submit("bob", LONDON).await;
    world.settle().await;
    let stats = world.json("/stats").await;
    let expected = json!({
        "submissions": [{
            "id": "docker.io/ada",
            "name": "ada of London",
            "twitter": "@ada",
            "coordinates": { "lat": 51.50853, "lng": -0.12574 },
        }],
        "votes": { "Rust": 1 },
    });
    assert_eq!(stats, expected);
    assert!(!stats.to_string().contains(&id.to_string()));
}
