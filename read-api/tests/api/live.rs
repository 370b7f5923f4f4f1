//! `GET /api/v1/live`, the live stream of the map.

use std::time::Duration;

use domain::submission::{Event, Passed, VerdictBasis};
use read_api::ReaderLimits;
use reqwest::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::world::{DEADLINE, LONDON, Message, Messages, TOKYO, World, failed, rejudge, started};

#[tokio::test]
async fn totals_and_pins_come_as_they_change() {
    let world = World::new().await;
    world.pass("ada", LONDON).await;
    world.settle().await;
    let mut messages = Messages::open(&world, "/api/v1/live", None).await;
    let first = messages.next().await.unwrap();
    assert_eq!(first.name, "stats");
    let first = stats_of_pins(&mut messages, first, 1).await;

    let id = world.pass("eve", TOKYO).await;
    let pins = messages.next_named("pins").await;
    assert_eq!(pins.data["features"][0]["id"], "docker.io/eve");
    assert!(pins.id > first.id);
    let stats = messages.next_named("stats").await;
    assert_eq!(stats.data["pins"], 2);
    assert_eq!(stats.id, pins.id);

    world.record(id, [rejudge(), started(2), failed(2)]).await;
    let gone = messages.next_named("pins").await;
    assert_eq!(gone.data["features"][0]["properties"]["passes"], 0);
}

/// The totals of a frame are read before its pins. A pin that comes in between is sent with the frame, and new totals
/// follow.
#[tokio::test]
async fn totals_catch_up_with_pins_that_came_between() {
    let world = World::new().await;
    world.settle().await;
    let mut messages = Messages::open(&world, "/api/v1/live", None).await;
    let first = messages.next().await.unwrap();
    assert_eq!(first.data["pins"], 0);
    world.queries.hold_pins();
    let id = world.submit("ada", LONDON).await;
    tokio::time::timeout(DEADLINE, world.queries.query_is_held()).await.unwrap();
    world
        .record(id, [started(1), Event::Passed(Passed { attempt: 1, basis: VerdictBasis::default() })])
        .await;
    world.settle().await;
    world.queries.release_pins();
    let totals = async {
        let first = messages.next_named("stats").await;
        stats_of_pins(&mut messages, first, 1).await
    };
    tokio::time::timeout(DEADLINE, totals).await.expect("the totals have the pin, too");
}

#[tokio::test]
async fn a_stream_continues_after_the_last_event_id() {
    let world = World::new().await;
    world.pass("ada", LONDON).await;
    world.settle().await;
    let mut messages = Messages::open(&world, "/api/v1/live", None).await;
    let first = messages.next().await.unwrap();
    let seen = stats_of_pins(&mut messages, first, 1).await.id;
    drop(messages);
    world.pass("eve", TOKYO).await;
    world.settle().await;

    let mut messages = Messages::open(&world, "/api/v1/live", seen).await;
    let missed = messages.next().await.unwrap();
    assert_eq!(missed.name, "pins");
    assert_eq!(missed.data["features"].as_array().unwrap().len(), 1);
    assert_eq!(missed.data["features"][0]["id"], "docker.io/eve");
    assert_eq!(messages.next().await.unwrap().name, "stats");
    world.pass("bob", LONDON).await;
    // A frame may repeat pins that were sent before.
    while !messages.next_named("pins").await.data.to_string().contains("docker.io/bob") {}
}

#[tokio::test]
async fn a_listener_too_far_behind_or_from_another_log_is_reset() {
    let world = World::new().await;
    let first = world.pass("first", LONDON).await;
    world.settle().await;
    let mut stranger = Messages::open(&world, "/api/v1/live", Some(1_000_000)).await;
    assert_eq!(stranger.next().await.unwrap().name, "reset");
    // A single frame lists fewer pins than this.
    for n in 0..510 {
        let id = domain::SubmissionId(uuid::Uuid::new_v4());
        let submitted = crate::world::submitted(&format!("owner{n}"), LONDON);
        world.record(id, [domain::Event::Submitted(submitted), started(1), crate::world::passed(1)]).await;
    }
    world.record(first, [rejudge()]).await;
    world.settle().await;
    let mut late = Messages::open(&world, "/api/v1/live", Some(3)).await;
    let reset = late.next().await.unwrap();
    assert_eq!((reset.name.as_str(), reset.id > Some(3)), ("reset", true));
    assert_eq!(late.next().await.unwrap().data["pins"], 511);
}

#[tokio::test]
async fn a_stream_of_another_log_begins_anew() {
    let world = World::new().await;
    world.pass("ada", LONDON).await;
    world.settle().await;
    let mut messages = Messages::open(&world, "/api/v1/live", None).await;
    let first = messages.next().await.unwrap();
    let seen = stats_of_pins(&mut messages, first, 1).await;
    let (position, mark) = seen.whole_id.split_once('-').expect("the id has a mark");
    world.pass("eve", TOKYO).await;
    world.settle().await;

    let mut same = Messages::open_after(&world, "/api/v1/live", Some(seen.whole_id.clone())).await;
    assert_eq!(same.next().await.unwrap().name, "pins");
    let other = u32::from_str_radix(mark, 16).unwrap() ^ 1;
    for id in [format!("{position}-{other:08x}"), format!("1000000-{mark}")] {
        let mut restored = Messages::open_after(&world, "/api/v1/live", Some(id)).await;
        assert_eq!(restored.next().await.unwrap().name, "reset");
        assert_eq!(restored.next().await.unwrap().data["pins"], 2);
    }
}

#[tokio::test]
async fn a_wrong_last_event_id_is_refused() {
    let world = World::new().await;
    let wrong = world.get_with("/api/v1/live", &[("last-event-id", "-1")]).await;
    crate::world::problem(wrong, StatusCode::BAD_REQUEST).await;
}

#[tokio::test]
async fn listeners_are_limited() {
    let world = World::without_projection(ReaderLimits { all: 3, per_address: 2 }).await;
    let first = Messages::open(&world, "/api/v1/live", None).await;
    let _second = Messages::open(&world, "/api/v1/live", None).await;
    let problem = world.problem("/api/v1/live", StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(problem["detail"].as_str().unwrap().contains("address"));
    // A proxy on this machine names its client.
    let proxied = [("x-forwarded-for", "198.51.100.7, 192.0.2.9")];
    let _third = world.get_with("/api/v1/live", &proxied).await;
    let full = world.get_with("/api/v1/live", &[("x-forwarded-for", "192.0.2.10")]).await;
    crate::world::problem(full, StatusCode::SERVICE_UNAVAILABLE).await;
    drop(first);
    let again = async {
        while world.get("/api/v1/live").await.status() != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, again).await.expect("the permit of a listener that left is free");
}

/// One laptop with every place of its address keeps nobody else there from listening.
#[tokio::test]
async fn a_listener_gets_the_place_of_the_oldest_which_continues_where_it_was() {
    let world = World::without_projection(ReaderLimits { all: 40, per_address: 4 }).await;
    let mut laptop = Vec::new();
    for _ in 0..3 {
        laptop.push(Messages::open(&world, "/api/v1/live", None).await);
    }
    let mut other = Messages::open(&world, "/api/v1/live", None).await;
    assert_eq!(other.next().await.unwrap().name, "stats");
    assert_eq!(laptop[0].next().await.unwrap().name, "stats");
    assert!(laptop[0].next().await.is_none(), "the oldest stream ends");
    let mut again = Messages::open(&world, "/api/v1/live", Some(0)).await;
    assert_eq!(again.next().await.unwrap().name, "stats");
    assert_eq!(laptop[1].next().await.unwrap().name, "stats");
    assert!(laptop[1].next().await.is_none(), "and then the next");
}

/// A listener that stops reading does not delay the others. When it reads again, it gets the newest state without the
/// frames in between.
#[tokio::test]
async fn a_slow_listener_skips_and_catches_up() {
    const CHANGES: u64 = 80;
    let world = World::new().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    let mut slow = socket.connect(world.address()).await.unwrap();
    slow.write_all(b"GET /api/v1/live HTTP/1.1\r\nHost: muster\r\n\r\n").await.unwrap();
    let mut fast = Messages::open(&world, "/api/v1/live", None).await;
    fast.next_named("stats").await;

    // The same owner passes again and again, with a name that fills the socket's buffers.
    for n in 0..CHANGES {
        let id = domain::SubmissionId(uuid::Uuid::new_v4());
        let mut submitted = crate::world::submitted("ada", LONDON);
        submitted.participant.name = format!("{n}:{}", "x".repeat(200_000));
        world.record(id, [domain::Event::Submitted(submitted), started(1), crate::world::passed(1)]).await;
        // Another pin changes once while the slow listener does not read.
        if n == CHANGES * 5 / 8 {
            world.pass("rare", TOKYO).await;
            while !fast.next_named("pins").await.data.to_string().contains("docker.io/rare") {}
            continue;
        }
        let pins = fast.next_named("pins").await;
        assert!(
            pins.data["features"][0]["properties"]["name"].as_str().unwrap().starts_with(&format!("{n}:"))
        );
    }

    // The slow listener reads again: the newest frame arrives, and most of the others never do.
    let last = format!("\"passes\":{CHANGES},");
    let mut read = Vec::new();
    let caught_up = async {
        let mut buffer = vec![0; 1 << 16];
        while !tail(&read).contains(&last) {
            let n = slow.read(&mut buffer).await.unwrap();
            assert_ne!(n, 0, "the stream stays open");
            read.extend_from_slice(&buffer[..n]);
        }
    };
    tokio::time::timeout(DEADLINE, caught_up).await.expect("it catches up");
    assert!(String::from_utf8_lossy(&read).contains("docker.io/rare"), "no change is left out");
    let frames = String::from_utf8_lossy(&read).matches("event: pins").count() as u64;
    assert!(
        frames < CHANGES * 3 / 4,
        "{frames} of {CHANGES} frames were kept for a listener that did not read"
    );
}

/// The views are read once for each frame, whatever the number of listeners. Half of the listeners stop reading, and
/// the others do not notice.
#[tokio::test]
async fn many_listeners_cost_no_more_than_one() {
    const LISTENERS: usize = 400;
    const PASSES: usize = 20;
    let world = World::new().await;
    let mut stalled = Vec::new();
    let mut reading = tokio::task::JoinSet::new();
    for n in 0..LISTENERS {
        let mut socket = tokio::net::TcpStream::connect(world.address()).await.unwrap();
        socket.write_all(b"GET /api/v1/live HTTP/1.1\r\nHost: muster\r\n\r\n").await.unwrap();
        if n % 2 == 0 {
            stalled.push(socket);
        } else {
            reading.spawn(read_until(socket, format!("owner{}\"", PASSES - 1)));
        }
    }
    let listening = async {
        while !world.get("/metrics").await.text().await.unwrap().contains(&format!("readers {LISTENERS}\n")) {
        }
    };
    tokio::time::timeout(DEADLINE, listening).await.expect("all listeners are admitted");

    let before = world.queries.query_count();
    for n in 0..PASSES {
        world.pass(&format!("owner{n}"), LONDON).await;
    }
    let all = async {
        while let Some(read) = reading.join_next().await {
            read.unwrap()
        }
    };
    tokio::time::timeout(DEADLINE, all).await.expect("every listener that reads gets the frames");
    // Each frame takes two queries, and there is at most one frame for each event.
    let asked = world.queries.query_count() - before;
    assert!(asked <= 2 * 3 * PASSES as u64, "{asked} questions for {LISTENERS} listeners");
}

async fn read_until(mut socket: tokio::net::TcpStream, text: String) {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(&text) {
        assert_ne!(socket.read_buf(&mut read).await.unwrap(), 0, "the stream stays open");
    }
}

/// Returns the first totals with this number of pins, from `message` on. The first frame may be older than the views.
async fn stats_of_pins(messages: &mut Messages, mut message: Message, pins: u64) -> Message {
    while message.data["pins"] != pins {
        message = messages.next_named("stats").await;
    }
    message
}

/// Returns the end of the text read so far, where the figures of a frame are, behind its long name.
fn tail(read: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(&read[read.len().saturating_sub(70_000)..])
}
