//! `GET /api/v1/live`.

use std::time::Duration;

use domain::submission::{Event, Passed};
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

/// A frame's totals are read before its pins: what passes in between is told
/// with the pins, and the totals follow by themselves.
#[tokio::test]
async fn totals_catch_up_with_pins_that_came_between() {
    let world = World::new().await;
    world.settle().await;
    let mut messages = Messages::open(&world, "/api/v1/live", None).await;
    let first = messages.next().await.unwrap();
    assert_eq!(first.data["pins"], 0);
    world.queries.hold_pins();
    let id = world.submit("ada", LONDON).await;
    tokio::time::timeout(DEADLINE, world.queries.is_awaited()).await.unwrap();
    world.record(id, [started(1), Event::Passed(Passed { attempt: 1 })]).await;
    world.settle().await;
    world.queries.release_pins();
    let told = async {
        let first = messages.next_named("stats").await;
        stats_of_pins(&mut messages, first, 1).await
    };
    tokio::time::timeout(DEADLINE, told).await.expect("the totals have the pin, too");
}

#[tokio::test]
async fn it_continues_where_the_client_was() {
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
    // What was told may be told again, beside what is new.
    while !messages.next_named("pins").await.data.to_string().contains("docker.io/bob") {}
}

#[tokio::test]
async fn who_missed_too_much_or_comes_from_another_log_is_told_to_ask_anew() {
    let world = World::new().await;
    let first = world.pass("first", LONDON).await;
    world.settle().await;
    let mut stranger = Messages::open(&world, "/api/v1/live", Some(1_000_000)).await;
    assert_eq!(stranger.next().await.unwrap().name, "reset");
    // More than one frame may name.
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
async fn a_wrong_place_is_refused() {
    let world = World::new().await;
    let wrong = world.get_with("/api/v1/live", &[("last-event-id", "-1")]).await;
    crate::world::problem(wrong, StatusCode::BAD_REQUEST).await;
}

#[tokio::test]
async fn listeners_are_bounded() {
    let world = World::without_projection(ReaderLimits { all: 3, per_address: 2 }).await;
    let first = Messages::open(&world, "/api/v1/live", None).await;
    let _second = Messages::open(&world, "/api/v1/live", None).await;
    let problem = world.problem("/api/v1/live", StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(problem["detail"].as_str().unwrap().contains("address"));
    // A proxy on this machine says whom it asks for.
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
    tokio::time::timeout(DEADLINE, again).await.expect("a place that was left is free");
}

/// A listener that stops reading costs the others nothing, and when it reads
/// again it is brought up to date without being told all that was in between.
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

    // One owner again and again, with a name that fills the socket's buffers.
    for n in 0..CHANGES {
        let id = domain::SubmissionId(uuid::Uuid::new_v4());
        let mut submitted = crate::world::submitted("ada", LONDON);
        submitted.participant.name = format!("{n}:{}", "x".repeat(200_000));
        world.record(id, [domain::Event::Submitted(submitted), started(1), crate::world::passed(1)]).await;
        // One that changes once, while the slow one does not read.
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

    // Now it reads again: the newest arrives, and most of the rest never does.
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
    let told = String::from_utf8_lossy(&read).matches("event: pins").count() as u64;
    assert!(told < CHANGES * 3 / 4, "{told} of {CHANGES} frames were kept for a listener that did not read");
}

/// However many listen, the views are asked once for each frame; and half of
/// them may stop reading without the others' noticing.
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
    tokio::time::timeout(DEADLINE, listening).await.expect("all are let in");

    let before = world.queries.asked();
    for n in 0..PASSES {
        world.pass(&format!("owner{n}"), LONDON).await;
    }
    let all = async {
        while let Some(read) = reading.join_next().await {
            read.unwrap()
        }
    };
    tokio::time::timeout(DEADLINE, all).await.expect("whoever reads is told");
    // Two for each frame, and a frame for each event at the very most.
    let asked = world.queries.asked() - before;
    assert!(asked <= 2 * 3 * PASSES as u64, "{asked} questions for {LISTENERS} listeners");
}

async fn read_until(mut socket: tokio::net::TcpStream, text: String) {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(&text) {
        assert_ne!(socket.read_buf(&mut read).await.unwrap(), 0, "the stream stays open");
    }
}

/// The first totals from `message` on that count so many pins: the first
/// frame may be older than the views.
async fn stats_of_pins(messages: &mut Messages, mut message: Message, pins: u64) -> Message {
    while message.data["pins"] != pins {
        message = messages.next_named("stats").await;
    }
    message
}

/// The end of what was read: a frame's figures stand behind its long name.
fn tail(read: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(&read[read.len().saturating_sub(70_000)..])
}
