//! `GET /api/v1/history` and `/api/v1/organiser`.

use domain::SubmissionId;
use domain::submission::{Event, SCHEMA};
use event_store::testing::{append_foreign, event_about, tombstone};
use event_store::{Append, ExpectedRevision, StreamName};
use http_edge::{OrganiserRole, TokenAdded, TokenDirectory, TokenEvent, hash_of, secret_of};
use read_api::ReaderLimits;
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use uuid::Uuid;

use crate::world::{DEADLINE, LONDON, TOKEN, TOKYO, World, failed, passed, problem, started, submitted};

impl World {
    async fn record_token(&self, event: &TokenEvent) {
        let event = event_about(Uuid::new_v4(), SCHEMA, event.kind(), event.to_stored());
        self.store.append(&TokenDirectory::stream(), ExpectedRevision::Any, vec![event]).await.unwrap();
    }

    async fn as_organiser(&self, path: &str) -> Response {
        self.get_with(path, &[("authorization", &format!("Bearer {TOKEN}"))]).await
    }

    async fn history(&self, query: &str) -> Vec<Value> {
        let response = self.as_organiser(&format!("/api/v1/history{query}")).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        response.text().await.unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[tokio::test]
async fn the_history_is_the_log_line_by_line() {
    let world = World::without_projection(ReaderLimits::default()).await;
    let id = world.submit("ada", LONDON).await;
    world.record(id, [started(1), passed(1)]).await;
    let lines = world.history("").await;
    let kinds: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Submitted", "VerificationStarted", "Passed"]);
    assert_eq!(lines[0]["stream"], format!("submission-{id}"));
    assert_eq!(lines[0]["data"]["participant"]["name"], "ada of London");
    assert_eq!(lines[0]["metadata"]["actor"], "test");
    assert_eq!(lines[2]["revision"], 2);
    assert!(lines[0]["position"].as_u64() < lines[1]["position"].as_u64());
}

#[tokio::test]
async fn the_history_is_filtered() {
    let world = World::without_projection(ReaderLimits::default()).await;
    let ada = world.submit("ada", LONDON).await;
    let eve = world.submit("eve", TOKYO).await;
    world.record(ada, [started(1), passed(1)]).await;
    world.record(eve, [started(1), failed(1)]).await;
    let all = world.history("").await;
    assert_eq!(all.len(), 6);

    assert_eq!(world.history("?type=Passed,Failed").await.len(), 2);
    assert_eq!(world.history(&format!("?stream=submission-{ada}")).await.len(), 3);
    let of_eve = world.history("?owner=docker.io/eve").await;
    assert_eq!(of_eve.len(), 3);
    assert!(of_eve.iter().all(|line| line["stream"] == format!("submission-{eve}")));
    let later = world.history(&format!("?owner=docker.io/eve&after={}", of_eve[0]["position"])).await;
    assert_eq!(later, of_eve[1..], "the owner is known from the first event");
    let third = all[2]["recorded_at"].as_str().unwrap();
    let since = world.history(&format!("?since={third}")).await.len();
    let until = world.history(&format!("?until={third}")).await.len();
    assert_eq!(since + until, 6);
    assert!(since >= 4);
    assert!(world.history("?since=2100-01-01T00:00:00Z").await.is_empty());
}

#[tokio::test]
async fn strangers_and_deleted_streams_hide_no_owner_and_are_shown_to_organisers() {
    let world = World::new().await;
    let id = SubmissionId(Uuid::new_v4());
    let stream = StreamName::of("submission", id.0);
    let foreign = append_foreign(&world.store, &stream, "Note", "no JSON", "").await;
    world.record(id, [Event::Submitted(submitted("ada", LONDON)), started(1), passed(1)]).await;
    let gone = world.submit("ada", TOKYO).await;
    tombstone(&world.store, &StreamName::of("submission", gone.0)).await;
    let newer = event_about(id.0, SCHEMA, "Exploded", "{}");
    world.store.append(&stream, ExpectedRevision::Any, vec![newer]).await.unwrap();
    world.settle().await;

    let of_ada = world.history("?owner=docker.io/ada").await;
    let kinds: Vec<_> = of_ada.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Note", "Submitted", "VerificationStarted", "Passed", "Exploded"]);
    let overview: Value = world.as_organiser("/api/v1/organiser").await.json().await.unwrap();
    assert_eq!(overview["set_aside"]["count"], 1);
    assert_eq!(overview["set_aside"]["newest"][0]["position"], foreign.0);
    assert_eq!(overview["standing_still"][0]["id"], id.to_string());
    let status = world.json(&format!("/api/v1/submissions/{id}")).await;
    assert_eq!(
        (&status["status"], &status["standstill"]["code"]),
        (&"passed".into(), &"newer_version".into())
    );
    let metrics = world.get("/metrics").await.text().await.unwrap();
    for line in ["muster_set_aside_events 1", "muster_submissions_standing_still 1"] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[tokio::test]
async fn a_wrong_parameter_is_named() {
    let world = World::without_projection(ReaderLimits::default()).await;
    world.submit("ada", LONDON).await;
    let many = format!("?type={}", "Passed,".repeat(65));
    let wrong = [
        ("type", many.as_str()),
        ("since", "?since=yesterday"),
        ("until", "?until=2026-13-01T00:00:00Z"),
        ("after", "?after=-1"),
        ("after", "?after=1000000"),
        ("after_id", "?after=1&after_id=mine"),
        // Another log has other events.
        ("after", "?after=1&after_id=00000000-0000-4000-8000-000000000000"),
        ("follow", "?follow=maybe"),
    ];
    for (field, query) in wrong {
        let response = world.as_organiser(&format!("/api/v1/history{query}")).await;
        let problem = problem(response, StatusCode::BAD_REQUEST).await;
        assert_eq!(problem["errors"][0]["field"], field);
    }
}

#[tokio::test]
async fn only_the_organisers_token_gives_access() {
    let world = World::without_projection(ReaderLimits::default()).await;
    for path in ["/api/v1/history", "/api/v1/organiser"] {
        let denied = problem(world.get(path).await, StatusCode::UNAUTHORIZED).await;
        assert!(!denied.to_string().contains(TOKEN));
        let prefix = format!("Bearer {}", &TOKEN[..5]);
        let longer = format!("Bearer {TOKEN}x");
        for wrong in ["Bearer wrong", "Bearer", "Basic abc", &prefix, &longer, TOKEN] {
            let response = world.get_with(path, &[("authorization", wrong)]).await;
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
            problem(response, StatusCode::UNAUTHORIZED).await;
        }
        assert_eq!(world.as_organiser(path).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn the_history_can_be_followed() {
    let world = World::without_projection(ReaderLimits::default()).await;
    let id = world.submit("ada", LONDON).await;
    let mut response = world.as_organiser("/api/v1/history?follow=true&type=Submitted,Passed").await;
    let mut text = String::new();
    let mut lines = async |count: usize| {
        let reading = async {
            while text.lines().filter(|line| !line.is_empty()).count() < count || !text.ends_with('\n') {
                let chunk = response.chunk().await.unwrap().expect("the stream stays open");
                text.push_str(std::str::from_utf8(&chunk).unwrap());
            }
            text.clone()
        };
        tokio::time::timeout(DEADLINE, reading).await.expect("an event that is recorded arrives")
    };
    assert!(lines(1).await.contains("Submitted"));
    world.record(id, [started(1), passed(1)]).await;
    let text = lines(2).await;
    assert!(text.contains("\"Passed\"") && !text.contains("VerificationStarted"));

    world.stopping.cancel();
    let ended = async { while response.chunk().await.unwrap().is_some() {} };
    tokio::time::timeout(DEADLINE, ended).await.expect("it ends when the process stops");
}

#[tokio::test]
async fn whoever_follows_is_cut_off_when_the_token_is_revoked() {
    let world = World::without_projection(ReaderLimits::default()).await;
    let secret = secret_of([7; 32]);
    world.record_token(&added("Grace", &secret)).await;
    let path = "/api/v1/history?follow=true&type=Submitted";
    let mut response = world.get_with(path, &[("authorization", &format!("Bearer {secret}"))]).await;
    let revoked = |name: &str| TokenEvent::OrganiserTokenRevoked { name: name.to_owned(), person: None };
    world.record_token(&revoked("Ada")).await;
    world.submit("ada", LONDON).await;
    let read = async { response.chunk().await.unwrap().expect("another's revocation ends nothing") };
    let line = tokio::time::timeout(DEADLINE, read).await.expect("an event that is recorded arrives");
    assert!(line.starts_with(b"{\"position\""), "{line:?}");

    world.record_token(&revoked("Grace")).await;
    let ended = tokio::time::timeout(DEADLINE, response.text()).await.expect("the response ends").unwrap();
    assert!(ended.contains("Your token was revoked."), "{ended}");
}

#[tokio::test]
async fn a_history_cut_short_by_a_stop_ends_with_a_problem() {
    const EVENTS: usize = 3000;
    let world = World::without_projection(ReaderLimits::default()).await;
    let id = world.submit("ada", LONDON).await;
    world.record(id, (1..EVENTS as u32).map(started)).await;
    world.stopping.cancel();
    let text = world.as_organiser("/api/v1/history").await.text().await.unwrap();
    let (read, last) = (text.lines().count(), text.lines().last().unwrap());
    assert!(read < EVENTS && last.starts_with(r#"{"problem":"#), "{read} lines, then {last}");
}

/// The server does not read ahead for a client that stalls: of a log of 60 MB it reads no more than a few pages.
#[tokio::test]
async fn a_reader_that_stalls_costs_little_memory() {
    const EVENTS: usize = 300;
    const STALLED: usize = 8;
    let world = World::without_projection(ReaderLimits::default()).await;
    for n in 0..EVENTS {
        let mut submitted = crate::world::submitted(&format!("owner{n}"), LONDON);
        submitted.participant.name = "x".repeat(200_000);
        let id = domain::SubmissionId(uuid::Uuid::new_v4());
        world.record(id, [domain::Event::Submitted(submitted)]).await;
    }
    let before = resident_mib();
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(world.address()).await.unwrap();
        let request =
            format!("GET /api/v1/history HTTP/1.1\r\nHost: muster\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stalled.push(stream);
    }
    // When another client has received the whole log, the eight have received as much as they take.
    let mut other = world.as_organiser("/api/v1/history").await;
    let mut lines = 0;
    while let Some(chunk) = other.chunk().await.unwrap() {
        lines += chunk.iter().filter(|byte| **byte == b'\n').count();
    }
    assert_eq!(lines, EVENTS);
    let grown = resident_mib().saturating_sub(before);
    assert!(grown < STALLED * 20, "{grown} MiB for {STALLED} stalled readers of 60 MB each");
}

#[tokio::test]
async fn the_organiser_sees_the_waiting_submissions_and_the_pause_reason() {
    let world = World::new().await;
    let waiting = world.submit("ada", LONDON).await;
    let other = world.submit("eve", TOKYO).await;
    world.record(other, [started(1), crate::world::interrupted(1), started(2), failed(2)]).await;
    world.pause_reason.send_replace(Some("The Swarm is away.".to_owned()));
    world.settle().await;
    let overview: Value = world.as_organiser("/api/v1/organiser").await.json().await.unwrap();
    assert_eq!(overview["platform"], "The Swarm is away.");
    assert_eq!((&overview["waiting"], &overview["verifying"]), (&1.into(), &0.into()));
    assert_eq!(overview["unfinished"][0]["id"], waiting.to_string());
    assert_eq!(overview["unfinished"].as_array().unwrap().len(), 1);
    assert_eq!(overview["failures"]["timed_out"], 1);
    assert_eq!(overview["interruptions"]["no_capacity"], 1);
}

fn resident_mib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<usize>().unwrap() / 1024
}

#[tokio::test]
async fn a_damaged_log_is_an_error_of_the_server_not_a_wrong_parameter() {
    let world = World::without_projection(ReaderLimits::default()).await;
    world.submit("ada", LONDON).await;
    world.damage_the_log().await;
    let response = world.as_organiser("/api/v1/history?after=0").await;
    let problem = problem(response, StatusCode::INTERNAL_SERVER_ERROR).await;
    assert!(problem["detail"].as_str().unwrap().contains("is damaged"), "{problem}");
}

fn added(name: &str, secret: &str) -> TokenEvent {
    TokenEvent::OrganiserTokenAdded(TokenAdded {
        name: name.to_owned(),
        role: OrganiserRole::Analyst,
        hash: hash_of(secret),
        person: None,
    })
}
