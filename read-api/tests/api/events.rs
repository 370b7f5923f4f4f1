//! `GET /api/v1/submissions/{id}/events`, the live stream of one submission.

use std::time::Duration;

use read_api::ReaderLimits;
use reqwest::StatusCode;

use crate::world::{DEADLINE, LONDON, Messages, World, passed, rejudge, started};

#[tokio::test]
async fn events_are_streamed_as_they_are_recorded() {
    let world = World::new().await;
    let id = world.submit("ada", LONDON).await;
    let mut messages = Messages::open(&world, &format!("/api/v1/submissions/{id}/events"), None).await;

    let first = messages.next().await.unwrap();
    assert_eq!((first.name.as_str(), &first.data["type"]), ("Submitted", &"Submitted".into()));
    assert_eq!(first.data["position"].as_u64(), first.id);
    let queue = messages.next_named("queue").await;
    assert_eq!((queue.id, &queue.data["position"]), (None, &1.into()));

    let position = world.record(id, [started(1)]).await;
    assert_eq!(messages.next_named("VerificationStarted").await.id, Some(position.0));
    world.record(id, [passed(1)]).await;
    assert_eq!(messages.next_named("Passed").await.data["data"]["attempt"], 1);
    // The stream is still open when an organiser asks for a rejudge.
    world.record(id, [rejudge()]).await;
    messages.next_named("RejudgeRequested").await;
}

#[tokio::test]
async fn a_stream_continues_after_the_last_event_id() {
    let world = World::new().await;
    let id = world.submit("ada", LONDON).await;
    let seen = world.record(id, [started(1)]).await;
    let position = world.record(id, [passed(1)]).await;
    let path = format!("/api/v1/submissions/{id}/events");
    let mut messages = Messages::open(&world, &path, Some(seen.0)).await;
    let next = messages.next().await.unwrap();
    assert_eq!((next.name.as_str(), next.id), ("Passed", Some(position.0)));

    let wrong = world.get_with(&path, &[("last-event-id", "yesterday")]).await;
    let problem = crate::world::problem(wrong, StatusCode::BAD_REQUEST).await;
    assert_eq!(problem["errors"][0]["field"], "Last-Event-ID");
}

#[tokio::test]
async fn a_stream_of_another_log_begins_anew() {
    let world = World::new().await;
    let (id, other) = (world.submit("ada", LONDON).await, world.submit("bob", LONDON).await);
    world.record(id, [started(1)]).await;
    let elsewhere = world.record(other, [started(1)]).await;
    world.record(id, [passed(1)]).await;
    let path = format!("/api/v1/submissions/{id}/events");
    let mut all = Messages::open(&world, &path, None).await;
    let seen = all.next_named("VerificationStarted").await;
    let (position, mark) = seen.whole_id.split_once('-').expect("the id has a mark");
    let mut same = Messages::open_after(&world, &path, Some(seen.whole_id.clone())).await;
    assert_eq!(same.next().await.unwrap().name, "Passed");
    let restored = u32::from_str_radix(mark, 16).unwrap() ^ 1;
    for id in
        [format!("{position}-{restored:08x}"), format!("{}-{mark}", elsewhere.0), format!("1000000-{mark}")]
    {
        let mut anew = Messages::open_after(&world, &path, Some(id)).await;
        assert_eq!(anew.next().await.unwrap().name, "reset");
        assert_eq!(anew.next().await.unwrap().name, "Submitted");
    }
}

#[tokio::test]
async fn a_change_of_queue_place_or_pause_reason_is_streamed() {
    let world = World::new().await;
    let first = world.submit("ada", LONDON).await;
    let second = world.submit("bob", LONDON).await;
    let mut messages = Messages::open(&world, &format!("/api/v1/submissions/{second}/events"), None).await;
    assert_eq!(messages.next_named("queue").await.data["position"], 2);
    world.pause_reason.send_replace(Some("The Swarm is away.".to_owned()));
    assert_eq!(messages.next_named("platform").await.data["message"], "The Swarm is away.");
    world.record(first, [started(1)]).await;
    assert_eq!(messages.next_named("queue").await.data["position"], 1);
}

#[tokio::test]
async fn a_stream_ends_when_the_process_stops_and_listeners_are_limited() {
    let world = World::without_projection(ReaderLimits { all: 1, per_address: 1 }).await;
    let id = world.submit("ada", LONDON).await;
    let path = format!("/api/v1/submissions/{id}/events");
    let mut messages = Messages::open(&world, &path, None).await;
    messages.next_named("Submitted").await;
    world.problem(&path, StatusCode::SERVICE_UNAVAILABLE).await;

    world.stopping.cancel();
    let ended = async { while messages.next().await.is_some() {} };
    tokio::time::timeout(DEADLINE, ended).await.expect("the stream ends");
    // Another listener is admitted soon after.
    let free = async {
        while world.get(&path).await.status() != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, free).await.expect("another listener is admitted");
}
