//! The wire node, tested with the official client: features of streams that our port does not have, the
//! node's credentials, and clients that misbehave.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not foresee")]

use std::{fs, future::pending, time::Duration};

use bytes::Bytes;
use esdb::{
    AppendToStreamOptions, Client, ClientSettings, CurrentRevision, DeleteStreamOptions, Error, EventData,
    ExpectedRevision, ReadAllOptions, ReadStreamOptions, StreamMetadataBuilder, StreamPosition,
    SubscribeToAllOptions, SubscribeToStreamOptions, SubscriptionEvent, SubscriptionFilter,
    TombstoneStreamOptions,
};
use event_store::testing::{event_of_size, new_stream};
use event_store::{
    Append, AppendError, EsdbStore, EventFilter, Position, Read, ReadDirection, ReadError, SqliteStore,
    StreamName, Subscribe, SubscriptionItem, TlsFiles,
    node::{
        self, NodeConfig, NodeCredentials, ServeError,
        profiled::{self, ServerProfile, ServerTrouble},
    },
    verify_log,
};
use futures::{StreamExt, future::join_all};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

mod recorded;

const DEADLINE: Duration = Duration::from_secs(30);

/// A node with its log and an official client.
struct TestNode {
    client: Client,
    log: SqliteStore,
    address: std::net::SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<Result<(), ServeError>>,
    folder: TempDir,
}

impl TestNode {
    async fn start() -> Self {
        Self::with(NodeConfig::default(), "tls=false", "").await
    }

    async fn with(config: NodeConfig, parameters: &str, user: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let log = SqliteStore::open(folder.path().join("log.db")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let served = tokio::spawn(node::serve(listener, log.clone(), config, stop.clone().cancelled_owned()));
        let client = client(&format!("esdb://{user}localhost:{}?{parameters}", address.port()));
        Self { client, log, address, stop, served, folder }
    }

    async fn append(&self, stream: &str, events: Vec<EventData>) -> u64 {
        let options = AppendToStreamOptions::default();
        self.client.append_to_stream(stream, &options, events).await.unwrap().next_expected_version
    }

    /// Returns the revisions that a reader of the stream sees.
    async fn revisions(&self, stream: &str) -> Result<Vec<u64>, Error> {
        let mut read = self.client.read_stream(stream, &ReadStreamOptions::default()).await?;
        let mut revisions = Vec::new();
        while let Some(event) = read.next().await? {
            revisions.push(event.get_original_event().revision);
        }
        Ok(revisions)
    }
}

fn client(address: &str) -> Client {
    Client::new(format!("{address}&discoveryInterval=20").parse::<ClientSettings>().unwrap()).unwrap()
}

fn event(kind: &str) -> EventData {
    EventData::json(kind, &serde_json::json!({"n": 1})).unwrap().id(Uuid::new_v4())
}

fn events(count: usize) -> Vec<EventData> {
    (0..count).map(|_| event("Tested")).collect()
}

fn name() -> String {
    format!("test-{}", Uuid::new_v4())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_request_is_answered_as_a_real_server_did_but_for_the_table() {
    let node = TestNode::start().await;
    let recording = include_str!("recordings/24.10.14.json");
    let differences = recorded::replay(recording, node.address, |_| true).await;
    let unexplained = recorded::unexplained(&differences, include_str!("../../docs/eventstore.md"));
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
    // The recorded requests delete, truncate and revive streams. All of that is whole to the check of the file.
    let report = verify_log(&node.folder.path().join("log.db"), |_| Ok(())).unwrap();
    assert!(report.events > 500 && report.damaged == 0, "{report:?}");
}

/// The answers in which the test servers differ from real ones.
const DIFFERENCES_OF_TEST_SERVERS: &str = "
| `read-all-positions 1 2 3 17 20` `subscribe-all 1` `subscribe-all-filter 1` | the newest event is the server's own |
| `read-all-positions 12` | the second event of the log is another scenario's |
| `read-all-positions 15` | a real server takes any offset before the first event, backwards |
| `read-all-positions 21` | a real server reads backwards from the prepare position |
| `read-all 1` `read-all-filter 8` | a real server does not answer |
| `read-all-filter 5` `subscribe-all 8` | the first events of the log are another scenario's |
| `read-all-filter 10` | the streams that match are another scenario's |
| `subscribe-checkpoints 28` | another client appended meanwhile |
";

/// The append to a stream of the server, which only an administrator may make. The test server permits it.
const STREAM_OF_THE_SERVER: &str = "| `login 28` | |";

/// The positions so far beyond the end that 24.10.14 has other words for them.
const FAR_BEYOND: &str = "| `read-all-positions 11 19` | |";

/// The subscription that 23.10.8 confirms and never serves.
const WINDOW_OF_0: &str = "| `subscribe-all-filter 6` | |";

/// The reads whose `requires-leader` the recording leaves out.
const HEADER_LEFT_OUT: &str = "| `not-leader 1 3` | |";

/// Starts a test server of a version. It is kept in trouble or out of it by the returned handle.
async fn serve_as(profile: ServerProfile) -> (std::net::SocketAddr, ServerTrouble, TempDir) {
    let folder = TempDir::new().unwrap();
    let log = SqliteStore::open(folder.path().join("log.db")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let trouble = ServerTrouble::default();
    tokio::spawn(profiled::serve(listener, log, profile, trouble.clone(), pending()));
    (address, trouble, folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn test_servers_answer_as_the_versions_that_they_are_named_after() {
    for (profile, recording, own) in [
        (ServerProfile::V23_10_8, include_str!("recordings/23.10.8.json"), WINDOW_OF_0),
        (ServerProfile::V24_10_14, include_str!("recordings/24.10.14.json"), FAR_BEYOND),
    ] {
        let (address, _, _folder) = serve_as(profile).await;
        let about_positions = |name: &str| name.starts_with("read-all") || name.starts_with("subscribe-");
        let differences = recorded::replay(recording, address, about_positions).await;
        let table = format!("{DIFFERENCES_OF_TEST_SERVERS}{own}");
        let unexplained = recorded::unexplained(&differences, &table);
        assert!(unexplained.is_empty(), "{profile:?}: {}", unexplained.join("\n"));
    }
    let trouble = include_str!("recordings/23.10.8-trouble.json");
    for (profile, recording) in [
        (ServerProfile::V23_10_8, trouble),
        (ServerProfile::V24_10_3, include_str!("recordings/24.10.3.json")),
    ] {
        let (address, _, _folder) = serve_as(profile).await;
        let differences = recorded::replay(recording, address, |name| name == "fresh").await;
        let unexplained = recorded::unexplained(&differences, "");
        assert!(unexplained.is_empty(), "{profile:?}: {}", unexplained.join("\n"));
    }
    let (address, trouble, _folder) = serve_as(ServerProfile::V23_10_8).await;
    trouble.follow("127.0.0.1", 2213);
    let read = json!({"stream": "any", "count": 1, "headers": {"requires-leader": "true"}});
    assert_eq!(recorded::ask_once(address, "Read", read, 1).await.1, "NOT_FOUND");
    let recording = include_str!("recordings/23.10.8-follower.json");
    let differences = recorded::replay(recording, address, |_| true).await;
    let unexplained = recorded::unexplained(&differences, HEADER_LEFT_OUT);
    assert!(unexplained.is_empty(), "a follower: {}", unexplained.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_server_that_demands_logins_refuses_as_recorded() {
    let (address, server, _folder) = serve_as(ServerProfile::V23_10_8).await;
    server.demand_logins();
    let mut recording: Value = serde_json::from_str(include_str!("recordings/23.10.8-login.json")).unwrap();
    for steps in recording[0]["steps"].as_array_mut().unwrap().chunks_mut(6) {
        // The recording has the login of a call with appends alone.
        let login = steps[0]["request"]["headers"].clone();
        steps.iter_mut().for_each(|step| step["request"]["headers"] = login.clone());
    }
    let differences = recorded::replay(&recording.to_string(), address, |_| true).await;
    let unexplained = recorded::unexplained(&differences, STREAM_OF_THE_SERVER);
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_not_read_the_log_is_told_the_right_that_is_missing() {
    let (address, server, _folder) = serve_as(ServerProfile::V23_10_8).await;
    server.demand_logins();
    let connected =
        async |login: &str| EsdbStore::connect(&format!("esdb://{login}{address}?tls=false")).await.unwrap();
    let analyst = connected("analyst:analystpw@").await;
    let stream = new_stream();
    analyst.append(&stream, event_store::ExpectedRevision::NoStream, vec![event_of_size(0)]).await.unwrap();
    let read = async |store: &EsdbStore| store.read_all(Position::START, &EventFilter::default(), 1).await;
    for (store, words) in [
        (&analyst, &["\"analyst\" may not read $all", "$acl", "$$$all"][..]),
        (&connected("analyst:wr0ng@").await, &["\"analyst\" with that password"]),
        (&connected("").await, &["wants a login"]),
    ] {
        let refused = read(store).await.unwrap_err().to_string();
        assert!(words.iter().all(|word| refused.contains(word)), "{refused}");
        assert!(!refused.contains("analystpw") && !refused.contains("wr0ng"), "{refused}");
    }
    server.grant_log_to_analyst();
    assert_eq!(read(&analyst).await.unwrap().events.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_server_in_trouble_refuses_as_recorded() {
    let (address, trouble, _folder) = serve_as(ServerProfile::V23_10_8).await;
    let append = async |stream: &str| {
        let event = json!({"id": {"string": Uuid::new_v4()}, "metadata": {"type": "T", "content-type": "x"}});
        let request = json!({"stream": stream, "expected": "any", "events": [event],
            "headers": {"requires-leader": "true"}});
        recorded::ask_once(address, "Append", request, 1).await
    };
    let position = |answers: &[Value]| answers[0]["success"]["position"]["commit_position"].clone();
    trouble.lose_quorum();
    for (code, words) in [
        ("ABORTED", "Operation timed out: Commit phase timeout."),
        ("ABORTED", "Operation timed out: Request canceled by server"),
        ("UNAVAILABLE", "Server Is Not Ready"),
        ("UNAVAILABLE", "Server Is Not Ready"),
    ] {
        assert_eq!(append("series").await, (vec![], code.to_owned(), words.to_owned()));
    }
    let newest = json!({"back": true, "from": "end", "count": 1});
    assert_eq!(recorded::ask_once(address, "Read", newest, 1).await.1, "OK", "reads go on");
    trouble.be_not_ready();
    assert_eq!(append("series").await.1, "UNAVAILABLE");
    trouble.end();

    append("hit-a").await;
    let noise = position(&append("noise").await.0);
    append("hit-b").await;
    let at: u64 = noise.as_str().unwrap().parse().unwrap();
    let resumed = async |enough: usize| {
        let request =
            json!({"sub": true, "at": [noise, noise], "filter": {"stream": {"prefix": ["hit-", "$stats"]}}});
        let answers = recorded::ask_once(address, "Read", request, enough).await.0;
        let streams = answers.iter().filter_map(|answer| {
            answer["event"]["event"]["stream_identifier"]["stream_name"].as_str().map(str::to_owned)
        });
        streams.collect::<Vec<_>>()
    };
    let own = "$stats-127.0.0.1:2113";
    assert_eq!(resumed(4).await, [own, "hit-b", own]);
    trouble.scavenge([Position(at)]);
    assert_eq!(resumed(3).await, ["hit-b", own], "the next event is lost");

    let request = json!({"sub": true, "from": "end"});
    let slow = tokio::spawn(recorded::ask_once(address, "Read", request, 3));
    let ended = timeout(DEADLINE, async {
        while !slow.is_finished() {
            trouble.cut_off_subscribers();
            tokio::task::yield_now().await;
        }
        slow.await.unwrap()
    });
    let (_, code, why) = ended.await.expect("it is cut off");
    assert_eq!(code, "ABORTED");
    assert!(why.contains("Consumer too slow"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_stream_is_not_found_and_continues_its_revisions() {
    let node = TestNode::start().await;
    let name = name();
    node.append(&name, events(3)).await;
    let deleted = node.client.delete_stream(name.as_str(), &DeleteStreamOptions::default()).await.unwrap();
    assert!(deleted.is_some(), "a position");
    assert!(matches!(node.revisions(&name).await, Err(Error::ResourceNotFound)));
    let anew = AppendToStreamOptions::default().expected_revision(ExpectedRevision::NoStream);
    node.client.append_to_stream(name.as_str(), &anew, events(2)).await.unwrap();
    assert_eq!(node.revisions(&name).await.unwrap(), [3, 4]);
    node.client.delete_stream(name.as_str(), &DeleteStreamOptions::default()).await.unwrap();
    let wrong = DeleteStreamOptions::default().expected_revision(ExpectedRevision::Exact(7));
    let refused = node.client.delete_stream(name.as_str(), &wrong).await;
    assert!(matches!(refused, Err(Error::Grpc { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tombstone_is_for_good() {
    let node = TestNode::start().await;
    let name = name();
    node.append(&name, events(1)).await;
    node.client.tombstone_stream(name.as_str(), &TombstoneStreamOptions::default()).await.unwrap();
    assert!(matches!(node.revisions(&name).await, Err(Error::ResourceDeleted)));
    let append = node.client.append_to_stream(name.as_str(), &Default::default(), events(1)).await;
    assert!(matches!(append, Err(Error::ResourceDeleted)), "{append:?}");
    let again = node.client.tombstone_stream(name.as_str(), &TombstoneStreamOptions::default()).await;
    assert!(matches!(again, Err(Error::ResourceDeleted)), "{again:?}");
    let metadata = node.client.get_stream_metadata(name.as_str(), &Default::default()).await;
    assert!(!matches!(metadata, Ok(result) if result.is_success()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_gets_the_event_that_deletes_its_stream() {
    let node = TestNode::start().await;
    let name = name();
    node.append(&name, events(1)).await;
    let options = SubscribeToStreamOptions::default().start_from(StreamPosition::Start);
    let mut follower = node.client.subscribe_to_stream(name.as_str(), &options).await;
    while !matches!(follower.next_subscription_event().await.unwrap(), SubscriptionEvent::CaughtUp) {}
    node.client.tombstone_stream(name.as_str(), &TombstoneStreamOptions::default()).await.unwrap();
    let last = timeout(DEADLINE, follower.next()).await.expect("in time").unwrap();
    assert_eq!(last.get_original_event().event_type, "$streamDeleted");
    let end = timeout(DEADLINE, follower.next()).await.expect("in time");
    assert!(matches!(end, Err(Error::ResourceDeleted)), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_the_port_see_deletions_too() {
    let node = TestNode::start().await;
    let (deleted, gone, kept) = (name(), name(), name());
    for name in [&deleted, &gone, &kept] {
        node.append(name, events(1)).await;
    }
    node.client.delete_stream(deleted.as_str(), &DeleteStreamOptions::default()).await.unwrap();
    node.client.tombstone_stream(gone.as_str(), &TombstoneStreamOptions::default()).await.unwrap();
    node.append(&kept, events(1)).await;

    let stream = |name: &str| StreamName::new(name).unwrap();
    let read = async |name: &str| node.log.read_stream(&stream(name), 0, ReadDirection::Forwards, 10).await;
    assert_eq!(read(&deleted).await, Ok(vec![]));
    assert_eq!(read(&gone).await, Err(ReadError::StreamDeleted(stream(&gone))));
    let wire = EsdbStore::connect(&format!("esdb://{}?tls=false", node.address)).await.unwrap();
    let read_over_wire = wire.read_stream(&stream(&gone), 0, ReadDirection::Forwards, 10).await;
    assert_eq!(read_over_wire, Err(ReadError::StreamDeleted(stream(&gone))));
    let append =
        wire.append(&stream(&gone), event_store::ExpectedRevision::Any, vec![event_of_size(0)]).await;
    assert!(matches!(append, Err(AppendError::Refused(_))), "{append:?}");
    let append = node
        .log
        .append(&stream(&gone), event_store::ExpectedRevision::NoStream, vec![event_of_size(0)])
        .await;
    assert!(matches!(append, Err(AppendError::Refused(_))), "{append:?}");
    let mut deliveries = node.log.subscribe(Position::START, EventFilter::default());
    let mut kinds = Vec::new();
    while let SubscriptionItem::Event(event) = deliveries.next().await.unwrap().unwrap() {
        kinds.push(event.kind);
    }
    assert_eq!(
        kinds, ["Tested"; 4],
        "deleted events stay in the log, and the store's own events are not shown"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_hides_a_streams_older_events() {
    let node = TestNode::start().await;
    let name = name();
    node.append(&name, events(5)).await;
    let set = async |metadata: StreamMetadataBuilder| {
        let metadata = metadata.build();
        node.client.set_stream_metadata(name.as_str(), &Default::default(), &metadata).await.unwrap();
        node.revisions(&name).await.unwrap()
    };
    assert_eq!(set(StreamMetadataBuilder::new().max_count(2)).await, [3, 4]);
    assert_eq!(set(StreamMetadataBuilder::new().truncate_before(1)).await, [1, 2, 3, 4]);
    // The client writes milliseconds, but servers read seconds.
    let max_age_s = |seconds| StreamMetadataBuilder::new().max_age(Duration::from_millis(seconds));
    assert_eq!(set(max_age_s(3600)).await, [0, 1, 2, 3, 4]);
    assert_eq!(set(StreamMetadataBuilder::new()).await, [0, 1, 2, 3, 4]);
    node.append(&name, events(1)).await;
    assert_eq!(set(StreamMetadataBuilder::new().max_count(1)).await, [5]);
    let aged = set(max_age_s(1)).await;
    timeout(DEADLINE, async {
        let mut visible = aged;
        while !visible.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            visible = node.revisions(&name).await.unwrap();
        }
    })
    .await
    .expect("they are hidden once they are older than a second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_carries_the_actual_revision() {
    let node = TestNode::start().await;
    let name = name();
    let expecting = |revision| AppendToStreamOptions::default().expected_revision(revision);
    let append = async |revision| {
        node.client.append_to_stream(name.as_str(), &expecting(revision), events(1)).await.map(|_| ())
    };
    let conflict = append(ExpectedRevision::StreamExists).await;
    assert!(matches!(conflict, Err(Error::WrongExpectedVersion { current: CurrentRevision::NoStream, .. })));
    append(ExpectedRevision::NoStream).await.unwrap();
    append(ExpectedRevision::StreamExists).await.unwrap();
    let conflict = append(ExpectedRevision::Exact(5)).await;
    assert!(matches!(
        conflict,
        Err(Error::WrongExpectedVersion { current: CurrentRevision::Current(1), .. })
    ));
    let conflict = append(ExpectedRevision::Exact(u64::MAX)).await;
    assert!(matches!(conflict, Err(Error::WrongExpectedVersion { .. })), "{conflict:?}");
    let nothing = node.client.append_to_stream(name.as_str(), &Default::default(), vec![]).await.unwrap();
    assert_eq!(nothing.next_expected_version, 1, "an empty append is none");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_may_be_recorded_again_at_another_expected_revision() {
    let node = TestNode::start().await;
    let name = name();
    let same = event("Same");
    for (expected, revision) in [
        (ExpectedRevision::NoStream, 0),
        (ExpectedRevision::Exact(0), 1),
        (ExpectedRevision::NoStream, 0),
        (ExpectedRevision::Any, 1),
    ] {
        let options = AppendToStreamOptions::default().expected_revision(expected);
        let written = node.client.append_to_stream(name.as_str(), &options, same.clone()).await.unwrap();
        assert_eq!(written.next_expected_version, revision, "{expected:?}");
    }
    assert_eq!(node.revisions(&name).await.unwrap(), [0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_fails_its_own_batch_and_no_other() {
    let node = TestNode::start().await;
    let name = name();
    let batch = node.client.batch_append(&Default::default()).await.unwrap();
    for n in 0..3 {
        let written = batch.append_to_stream(name.as_str(), ExpectedRevision::Any, events(2)).await.unwrap();
        assert_eq!(written.current_revision(), Some(2 * n + 1));
    }
    let conflict = batch.append_to_stream(name.as_str(), ExpectedRevision::NoStream, events(1)).await;
    assert!(
        matches!(&conflict, Err(Error::Grpc { message, .. }) if message == "WrongExpectedVersion"),
        "{conflict:?}"
    );
    assert_eq!(node.revisions(&name).await.unwrap().len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_read_backwards_from_its_end() {
    let node = TestNode::start().await;
    node.append(&name(), events(5)).await;
    let read = async |options: ReadAllOptions| {
        let mut read = node.client.read_all(&options).await.unwrap();
        let mut positions = Vec::new();
        while let Some(event) = read.next().await.unwrap() {
            positions.push(event.get_original_event().position.commit);
        }
        positions
    };
    let at = |at| StreamPosition::Position(esdb::Position { commit: at, prepare: at });
    let all = ReadAllOptions::default();
    assert_eq!(read(all.clone().position(StreamPosition::End).backwards().max_count(2)).await, [5, 4]);
    assert_eq!(read(all.clone().position(at(3)).backwards()).await, [2, 1]);
    assert_eq!(read(all.clone().position(at(3)).forwards()).await, [3, 4, 5]);
    assert!(read(all.position(at(9)).forwards()).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_are_followed() {
    let node = TestNode::start().await;
    let (name, links) = (name(), name());
    node.append(&name, events(2)).await;
    let link = |target: String| EventData::binary("$>", Bytes::from(target));
    node.append(&links, vec![link(format!("1@{name}")), link(format!("7@{name}"))]).await;
    let options = ReadStreamOptions::default().resolve_link_tos();
    let mut read = node.client.read_stream(links.as_str(), &options).await.unwrap();
    let followed = read.next().await.unwrap().unwrap();
    assert_eq!(followed.event.as_ref().unwrap().revision, 1);
    assert_eq!(followed.link.as_ref().unwrap().stream_id, links);
    let broken = read.next().await.unwrap().unwrap();
    assert!(broken.event.is_none() && broken.link.is_some());
    node.append(&links, vec![EventData::binary("$>", Bytes::from_static(b"no link"))]).await;
    let options = options.position(StreamPosition::Position(2));
    let mut read = node.client.read_stream(links.as_str(), &options).await.unwrap();
    let plain = read.next().await.unwrap().unwrap();
    assert!(plain.event.is_some() && plain.link.is_none(), "it is shown as it is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_whose_first_page_is_truncated_tells_where_the_stream_goes_on() {
    let node = TestNode::start().await;
    let name = name();
    node.append(&name, events(64)).await;
    let metadata = StreamMetadataBuilder::new().truncate_before(32).build();
    node.client.set_stream_metadata(name.as_str(), &Default::default(), &metadata).await.unwrap();
    let first = async |request: Value| {
        let (answers, code, _) = recorded::ask_once(node.address, "Read", request, 1).await;
        assert_eq!(code, "OK");
        answers[0].clone()
    };
    let later = json!({"first_stream_position": "32"});
    assert_eq!(first(json!({"stream": name, "count": 5, "compat": 1})).await, later);
    let beyond = json!({"first_stream_position": "64"});
    assert_eq!(first(json!({"stream": name, "from": 99, "count": 5, "compat": 1})).await, beyond);
    let at_the_end = json!({"last_stream_position": "63"});
    assert_eq!(first(json!({"stream": name, "from": 64, "count": 5, "compat": 1})).await, at_the_end);
    for request in [
        json!({"stream": name, "count": 5}),
        json!({"stream": name, "from": 1, "count": 32, "compat": 1}),
        json!({"stream": name, "from": "end", "back": true, "count": 5, "compat": 1}),
    ] {
        assert!(first(request).await["event"].is_object());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoints_count_the_position_of_the_subscriber_and_never_stand_at_its_events() {
    let node = TestNode::start().await;
    let (noise, hits) = (name(), name());
    for stream in [&noise, &noise, &noise, &noise, &noise, &hits, &noise, &noise, &noise] {
        node.append(stream, events(1)).await;
    }
    let told = async |at: u64, answers: usize| {
        let filter = json!({"stream": {"prefix": [&hits]}, "max": 1, "mult": 3});
        let request = json!({"sub": true, "at": [at.to_string(), at.to_string()], "filter": filter});
        let (answers, _, _) = recorded::ask_once(node.address, "Read", request, 1 + answers).await;
        let told = answers[1..].iter().map(|answer| {
            let (kind, fields) = answer.as_object().unwrap().iter().next().unwrap();
            let fields = if kind == "caught_up" { &fields["position"] } else { fields };
            assert!(kind == "event" || fields["prepare_position"].is_null(), "{answer}");
            (kind.clone(), fields["commit_position"].as_str().unwrap().parse::<u64>().unwrap())
        });
        told.collect::<Vec<_>>()
    };
    let expected =
        |told: &[(&str, u64)]| told.iter().map(|&(kind, at)| (kind.to_owned(), at)).collect::<Vec<_>>();
    let from_1 = [("checkpoint", 3), ("event", 6), ("checkpoint", 9), ("caught_up", 9)];
    assert_eq!(told(1, 4).await, expected(&from_1));
    let from_2 = [("checkpoint", 4), ("event", 6), ("checkpoint", 7), ("checkpoint", 9), ("caught_up", 9)];
    assert_eq!(told(2, 5).await, expected(&from_2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_revision_of_no_stream_is_taken_for_no_stream() {
    let node = TestNode::start().await;
    let name = name();
    let none = u64::MAX.to_string();
    let event = json!({"id": {"string": Uuid::new_v4()}, "metadata": {"type": "T", "content-type": "x"}});
    let append = json!({"stream": name, "expected": none, "events": [event]});
    let (answers, _, _) = recorded::ask_once(node.address, "Append", append.clone(), 1).await;
    assert_eq!(answers[0]["success"]["current_revision"], "0");
    let other = json!({"id": {"string": Uuid::new_v4()}, "metadata": {"type": "T", "content-type": "x"}});
    let append = json!({"stream": name, "expected": none, "events": [other.clone()]});
    let (answers, _, _) = recorded::ask_once(node.address, "Append", append, 1).await;
    assert!(answers[0]["wrong_expected_version"]["expected_no_stream"].is_object(), "{answers:?}");
    let batch = json!({"stream": name, "expected": none, "parts": [{"events": [other]}]});
    let (answers, _, _) = recorded::ask_once(node.address, "BatchAppend", batch, 1).await;
    assert_eq!(answers[0]["error"]["message"], "WrongExpectedVersion");
    for call in ["Delete", "Tombstone"] {
        let (_, code, why) =
            recorded::ask_once(node.address, call, json!({"stream": name, "expected": none}), 1).await;
        assert_eq!(code, "FAILED_PRECONDITION");
        assert!(why.starts_with("Delete failed") && why.contains("Expected version: -1"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_repeats_an_id_is_told_the_first_place_when_it_is_repeated() {
    let node = TestNode::start().await;
    let name = name();
    let same = event("Same");
    let twice = || vec![same.clone(), same.clone()];
    assert_eq!(node.append(&name, twice()).await, 1);
    assert_eq!(node.append(&name, twice()).await, 0);
    assert_eq!(node.revisions(&name).await.unwrap(), [0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_append_revives_a_deleted_stream_and_makes_none() {
    let node = TestNode::start().await;
    let (deleted, never) = (name(), name());
    node.append(&deleted, events(2)).await;
    node.client.delete_stream(deleted.as_str(), &DeleteStreamOptions::default()).await.unwrap();
    let anew = AppendToStreamOptions::default().expected_revision(ExpectedRevision::NoStream);
    let conflict = node.client.append_to_stream(deleted.as_str(), &anew, vec![]).await;
    assert!(matches!(conflict, Err(Error::WrongExpectedVersion { .. })), "{conflict:?}");
    assert_eq!(node.append(&deleted, vec![]).await, 1);
    assert!(node.revisions(&deleted).await.unwrap().is_empty(), "it is there, without the deleted events");
    assert_eq!(node.append(&deleted, events(1)).await, 2);
    assert_eq!(node.revisions(&deleted).await.unwrap(), [2]);

    let empty = json!({"stream": never, "expected": "any", "events": []});
    let (answers, _, _) = recorded::ask_once(node.address, "Append", empty, 1).await;
    assert!(answers[0]["success"]["no_stream"].is_object() && answers[0]["success"]["position"].is_object());
    let exists = AppendToStreamOptions::default().expected_revision(ExpectedRevision::StreamExists);
    let conflict = node.client.append_to_stream(never.as_str(), &exists, events(1)).await;
    assert!(matches!(conflict, Err(Error::WrongExpectedVersion { .. })), "{conflict:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_checks_and_questions_for_the_version_are_answered_over_http() {
    let node = TestNode::start().await;
    let ask = async |path: &str| {
        let mut connection = TcpStream::connect(node.address).await.unwrap();
        // The node closes the connection of a client that would keep it.
        let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(DEADLINE, connection.read_to_string(&mut answer)).await.expect("in time").unwrap();
        answer
    };
    assert!(ask("/health/live").await.starts_with("HTTP/1.1 204 "));
    let info = ask("/info").await;
    assert!(info.starts_with("HTTP/1.1 200 ") && info.contains(r#""esVersion":"24.10."#), "{info}");
    assert!(ask("/").await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_of_a_reader_may_read_and_nothing_else() {
    let login = |user: &str| Some(NodeCredentials { user: user.to_owned(), password: "right".to_owned() });
    let config = NodeConfig { credentials: login("admin"), reader: login("eve"), ..NodeConfig::default() };
    let node = TestNode::with(config, "tls=false", "admin:right@").await;
    let name = name();
    node.append(&name, events(1)).await;
    let reader = client(&format!("esdb://eve:right@localhost:{}?tls=false", node.address.port()));
    let options = SubscribeToStreamOptions::default().start_from(StreamPosition::Start);
    let mut subscription = reader.subscribe_to_stream(name.as_str(), &options).await;
    assert_eq!(subscription.next().await.unwrap().get_original_event().revision, 0);
    let mut log = reader.read_all(&ReadAllOptions::default()).await.unwrap();
    assert!(log.next().await.unwrap().is_some());
    let denied = reader.append_to_stream(name.as_str(), &Default::default(), events(1)).await;
    assert!(matches!(denied, Err(Error::AccessDenied)), "{denied:?}");
    let denied = reader.delete_stream(name.as_str(), &DeleteStreamOptions::default()).await;
    assert!(matches!(denied, Err(Error::AccessDenied)), "{denied:?}");
    let denied = reader.tombstone_stream(name.as_str(), &TombstoneStreamOptions::default()).await;
    assert!(matches!(denied, Err(Error::AccessDenied)), "{denied:?}");
    let batch = json!({"stream": name, "expected": "any", "parts": [{"events": []}],
        "headers": {"authorization": "Basic ZXZlOnJpZ2h0"}});
    let (_, code, _) = recorded::ask_once(node.address, "BatchAppend", batch, 1).await;
    assert_eq!(code, "PERMISSION_DENIED");
    let stranger = client(&format!("esdb://eve:wrong@localhost:{}?tls=false", node.address.port()));
    assert!(stranger.read_all(&ReadAllOptions::default()).await.is_err());
    assert_eq!(node.revisions(&name).await.unwrap(), [0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_of_very_many_events_is_refused() {
    let node = TestNode::start().await;
    let first = json!({"metadata": {"type": "T", "content-type": "x"}});
    let batch = json!({"stream": name(), "expected": "any", "parts": [{"events": {"count": 50_001, "first": first}}]});
    let (answers, _, _) = recorded::ask_once(node.address, "BatchAppend", batch, 1).await;
    assert_eq!(answers[0]["error"]["message"], "BadRequest");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_are_filtered_by_expressions() {
    let node = TestNode::start().await;
    let name = name();
    node.append(&name, vec![event("Apple"), event("$banana"), event("Cherry")]).await;
    let kinds = async |filter: SubscriptionFilter| {
        let options = SubscribeToAllOptions::default().position(StreamPosition::Start).filter(filter);
        let mut subscription = node.client.subscribe_to_all(&options).await;
        let mut kinds = Vec::new();
        loop {
            match subscription.next_subscription_event().await? {
                SubscriptionEvent::EventAppeared(event) => {
                    kinds.push(event.get_original_event().event_type.clone());
                }
                SubscriptionEvent::CaughtUp => return Ok::<_, Error>(kinds),
                _ => {}
            }
        }
    };
    let on_type = SubscriptionFilter::on_event_type;
    assert_eq!(kinds(on_type().regex("^.{6}$")).await.unwrap(), ["Cherry"]);
    assert_eq!(kinds(on_type().regex(r"^(?!(\$|Ch))")).await.unwrap(), ["Apple"], "with look-ahead");
    assert_eq!(kinds(on_type().add_prefix("App").add_prefix("$b")).await.unwrap(), ["Apple", "$banana"]);
    assert_eq!(kinds(SubscriptionFilter::on_stream_name().add_prefix(&name)).await.unwrap().len(), 3);

    let error = kinds(on_type().regex("(")).await.unwrap_err();
    assert!(matches!(error, Error::Grpc { .. }), "{error}");
    node.append(&name, vec![event(&format!("{}dc", "ab".repeat(28)))]).await;
    let error = kinds(on_type().regex("^(a|b|ab)*(?>c)$")).await.unwrap_err();
    assert!(error.to_string().contains("cannot be used"), "{error}");
    assert_eq!(kinds(on_type().add_prefix("C")).await.unwrap(), ["Cherry"], "others go on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_is_too_large_is_refused_and_others_go_on() {
    let node = TestNode::start().await;
    let name = name();
    let large = EventData::binary("Large", Bytes::from(vec![0; 2 * 1024 * 1024]));
    let refused = node.client.append_to_stream(name.as_str(), &Default::default(), large).await;
    assert!(
        matches!(&refused, Err(Error::Grpc { message, .. }) if message.contains("Maximum Append Size")),
        "{refused:?}"
    );
    let many = (0..3000).map(|_| EventData::binary("Many", Bytes::from(vec![0; 1000]))).collect::<Vec<_>>();
    let refused = node.client.append_to_stream(name.as_str(), &Default::default(), many).await;
    assert!(refused.is_err());
    assert!(matches!(node.revisions(&name).await, Err(Error::ResourceNotFound)), "nothing was written");
    assert_eq!(node.append(&name, events(1)).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_on_a_connection_ends_it_and_no_other() {
    let node = TestNode::start().await;
    let name = name();
    node.append(&name, events(1)).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    // Settings, then a frame whose header announces 16 KiB and that ends after four bytes.
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let truncated = [0, 0x40, 0, 1, 4, 0, 0, 0, 1, b'x', b'x', b'x', b'x'];
    for nonsense in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], &[&preface[..], &settings, &truncated].concat()]
    {
        let mut connection = TcpStream::connect(node.address).await.unwrap();
        connection.write_all(nonsense).await.unwrap();
        connection.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // The node may answer or reset the connection, but it ends it in time.
        let _ = timeout(DEADLINE, connection.read_to_end(&mut answer)).await.expect("the node hangs up");
    }
    assert_eq!(node.append(&name, events(1)).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_idle_subscribers_all_get_a_new_event() {
    let node = TestNode::start().await;
    let name = name();
    let options = SubscribeToAllOptions::default()
        .position(StreamPosition::Start)
        .filter(SubscriptionFilter::on_stream_name().add_prefix(&name));
    let subscribed = (0..500).map(async |_| {
        let mut subscription = node.client.subscribe_to_all(&options).await;
        while !matches!(subscription.next_subscription_event().await.unwrap(), SubscriptionEvent::CaughtUp) {}
        subscription
    });
    let subscriptions = timeout(DEADLINE, join_all(subscribed)).await.expect("all are caught up in time");
    node.append(&name, events(1)).await;
    let heard = subscriptions.into_iter().map(async |mut subscription| subscription.next().await.unwrap());
    let heard = timeout(DEADLINE, join_all(heard)).await.expect("all hear of it in time");
    assert_eq!(heard.len(), 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_asked_for_and_a_wrong_one_refused() {
    let credentials = Some(NodeCredentials { user: "admin".to_owned(), password: "right".to_owned() });
    let config = NodeConfig { credentials, ..NodeConfig::default() };
    let node = TestNode::with(config, "tls=false", "admin:right@").await;
    let name = name();
    node.append(&name, events(1)).await;
    for user in ["", "admin:wrong@", "root:right@"] {
        let stranger = client(&format!("esdb://{user}localhost:{}?tls=false", node.address.port()));
        let refused = stranger.append_to_stream(name.as_str(), &Default::default(), events(1)).await;
        assert!(matches!(refused, Err(Error::AccessDenied)), "{user}: {refused:?}");
        let mut subscription =
            stranger.subscribe_to_stream(name.as_str(), &SubscribeToStreamOptions::default()).await;
        assert!(matches!(subscription.next().await, Err(Error::AccessDenied)));
    }
    assert_eq!(node.append(&name, events(1)).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_certificate_serves_tls() {
    let folder = TempDir::new().unwrap();
    let tls = TlsFiles { certificate: folder.path().join("node.crt"), key: folder.path().join("node.key") };
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(&tls.certificate, made.cert.pem()).unwrap();
    fs::write(&tls.key, made.signing_key.serialize_pem()).unwrap();
    let parameters = format!("tls=true&tlsCaFile={}", tls.certificate.display());
    let node =
        TestNode::with(NodeConfig { tls: Some(tls.clone()), ..NodeConfig::default() }, &parameters, "").await;
    assert_eq!(node.append(&name(), events(1)).await, 0);

    fs::write(&tls.key, "no key").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = NodeConfig { tls: Some(tls.clone()), ..NodeConfig::default() };
    let error = node::serve(listener, node.log.clone(), config, pending()).await.unwrap_err();
    assert!(error.to_string().starts_with(&tls.key.display().to_string()), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_tls_and_a_password_is_discovered() {
    let folder = TempDir::new().unwrap();
    let tls = TlsFiles { certificate: folder.path().join("node.crt"), key: folder.path().join("node.key") };
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(&tls.certificate, made.cert.pem()).unwrap();
    fs::write(&tls.key, made.signing_key.serialize_pem()).unwrap();
    let credentials = Some(NodeCredentials { user: "admin".to_owned(), password: "p:s@".to_owned() });
    let ca = tls.certificate.display().to_string();
    let advertise = Some("localhost".to_owned());
    let config = NodeConfig { credentials, tls: Some(tls), advertise, ..NodeConfig::default() };
    let node = TestNode::with(config, &format!("tls=true&tlsCaFile={ca}"), "").await;
    let port = node.address.port();
    for address in [
        format!("esdb://admin:p:s%40@localhost:{port}?tlsCaFile={ca}"),
        format!("esdb+discover://admin:p:s%40@localhost:{port}?tlsCaFile={ca}"),
        format!("esdb://admin:p:s%40@localhost:{port},localhost:{port}?tlsCaFile={ca}"),
    ] {
        let store = EsdbStore::connect(&address).await.unwrap();
        store
            .append(&new_stream(), event_store::ExpectedRevision::NoStream, vec![event_of_size(0)])
            .await
            .unwrap();
    }
    let stranger =
        EsdbStore::connect(&format!("esdb://admin:no@localhost:{port}?tlsCaFile={ca}")).await.unwrap();
    let refused =
        stranger.append(&new_stream(), event_store::ExpectedRevision::NoStream, vec![event_of_size(0)]).await;
    assert!(matches!(refused, Err(AppendError::Refused(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_others_reach_needs_a_password_and_tls() {
    let node = TestNode::start().await;
    let credentials = Some(NodeCredentials { user: "admin".to_owned(), password: "right".to_owned() });
    for config in [NodeConfig::default(), NodeConfig { credentials, ..NodeConfig::default() }] {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let error = node::serve(listener, node.log.clone(), config, pending()).await.unwrap_err();
        assert!(error.to_string().ends_with("that needs a password and TLS"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_end_with_an_error_when_the_node_stops() {
    let node = TestNode::start().await;
    let name = name();
    node.append(&name, events(1)).await;
    let options = SubscribeToStreamOptions::default().start_from(StreamPosition::Start);
    let mut subscription = node.client.subscribe_to_stream(name.as_str(), &options).await;
    subscription.next().await.unwrap();
    node.stop.cancel();
    let end = timeout(DEADLINE, subscription.next()).await.expect("in time");
    assert!(matches!(end, Err(Error::ServerError(_))), "{end:?}");
    timeout(DEADLINE, node.served).await.expect("in time").unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_the_node_lacks_are_unsupported() {
    let node = TestNode::start().await;
    let options = esdb::PersistentSubscriptionOptions::default();
    let created = node.client.create_persistent_subscription(name(), "group", &options).await;
    assert!(matches!(created, Err(Error::UnsupportedFeature)), "{created:?}");
    let service = "event_store.client.persistent_subscriptions.PersistentSubscriptions";
    for (call, words) in [
        (format!("{service}/Create"), "keeps no persistent subscriptions"),
        ("event_store.client.projections.Projections/Statistics".to_owned(), "does not have /event_store"),
    ] {
        let (_, code, why) = recorded::ask_once(node.address, &call, json!({}), 1).await;
        assert_eq!(code, "UNIMPLEMENTED");
        assert!(why.contains(words), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_that_stop_reading_do_not_fill_the_memory() {
    let node = TestNode::start().await;
    let name = name();
    let block = || EventData::binary("Block", Bytes::from(vec![7; 10_000]));
    let stalled = join_all((0..20).map(async |_| {
        let options = SubscribeToStreamOptions::default().start_from(StreamPosition::Start);
        let stranger = client(&format!("esdb://localhost:{}?tls=false", node.address.port()));
        let mut subscription = stranger.subscribe_to_stream(name.as_str(), &options).await;
        while !matches!(subscription.next_subscription_event().await.unwrap(), SubscriptionEvent::CaughtUp) {}
        (stranger, subscription)
    }))
    .await;
    let before = resident_mb();
    // 100 MB for each of twenty subscribers, if the node kept the events for them.
    for _ in 0..100 {
        node.append(&name, (0..100).map(|_| block()).collect()).await;
    }
    let after = resident_mb();
    assert!(after < before + 300, "{before} MB before, {after} MB after");
    for (_stranger, mut subscription) in stalled.into_iter().take(2) {
        for revision in 0..10_000 {
            let event = timeout(DEADLINE, subscription.next()).await.expect("in time").unwrap();
            assert_eq!(event.get_original_event().revision, revision);
        }
    }
}

/// Returns this process's resident memory, in MB: the node, the log, and the clients' buffers.
fn resident_mb() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096 / 1_000_000
}
