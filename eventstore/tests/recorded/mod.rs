//! Recordings of real servers: each request with the answers word for word. They are asked again of a server of
//! ours, and the answers compared. The clock, ids, and the numbers of positions differ from server to server.

mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use wire::{CallOutcome, OpenCall, WireCall, WireClient, text};

/// The scenario whose first calls are made while its last is open.
const LIVE: &str = "subscribe-live-delete";

/// The scenario that asks whether an event is older than a second. A busy machine answers too late.
const TIMED: &str = "metadata-max-age";

/// The answer of a real server that did not expect its request.
const UNFORESEEN: &str = "Exception was thrown by handler.";

#[derive(Deserialize)]
struct RecordedScenario {
    name: String,
    steps: Vec<RecordedStep>,
}

#[derive(Deserialize)]
struct RecordedStep {
    call: String,
    request: Value,
    answers: Vec<Value>,
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    trailers: BTreeMap<String, String>,
    /// The number of answers that the recording leaves out.
    more: Option<u64>,
    /// Set if the call was ended by the client.
    cut: Option<String>,
    /// Set if the server did not answer.
    silent: Option<String>,
}

/// A step whose answer differs from the recorded one.
pub(crate) struct StepDifference {
    pub(crate) scenario: String,
    pub(crate) step: usize,
    pub(crate) recorded: String,
    pub(crate) answered: String,
}

/// Makes one call, with a request in the form of the recordings, and reads answers until `enough` have come.
/// Returns the answers as they are, the code, and the message.
pub(crate) async fn ask_once(
    address: SocketAddr,
    call: &str,
    request: Value,
    enough: usize,
) -> (Vec<Value>, String, String) {
    let client = WireClient::connect(address).await;
    let step = RecordedStep {
        call: call.to_owned(),
        request,
        answers: Vec::new(),
        code: String::new(),
        message: String::new(),
        trailers: BTreeMap::new(),
        more: None,
        cut: None,
        silent: None,
    };
    let outcome = match client.open(wire_call("", &step, None)).await {
        Ok(mut open) => match open.read_until(|answers| answers.len() == enough).await {
            Some(outcome) => outcome,
            None => open.cut(),
        },
        Err(outcome) => outcome,
    };
    (outcome.answers, outcome.code, outcome.message)
}

/// Asks the requests of the recorded scenarios that are `wanted` of the server at `address`, in order. Returns the
/// differences.
pub(crate) async fn replay(
    recording: &str,
    address: SocketAddr,
    wanted: impl Fn(&str) -> bool,
) -> Vec<StepDifference> {
    let scenarios: Vec<RecordedScenario> = serde_json::from_str(recording).unwrap();
    let client = WireClient::connect(address).await;
    let mut differences = Vec::new();
    let wanted = |scenario: &RecordedScenario| scenario.name != TIMED && wanted(&scenario.name);
    for RecordedScenario { name, steps } in scenarios.into_iter().filter(wanted) {
        let outcomes = if name == LIVE {
            replay_live(&client, &steps).await
        } else {
            let mut outcomes = Vec::new();
            for step in &steps {
                outcomes.push(ask(&client, &name, step).await);
            }
            outcomes
        };
        for (index, (step, answered)) in steps.iter().zip(outcomes).enumerate() {
            let recorded = recorded_outcome(step);
            if !agree(&recorded, &answered) {
                differences.push(StepDifference {
                    scenario: name.clone(),
                    step: index,
                    recorded: shown(&recorded),
                    answered: shown(&answered),
                });
            }
        }
    }
    differences
}

/// Compares the differences with the rows of a table in Markdown whose first column names scenarios and steps, as
/// in `` `read-all 1 2` ``. Returns the differences without a row, and the rows without a difference.
pub(crate) fn unexplained(differences: &[StepDifference], table: &str) -> Vec<String> {
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let explained: BTreeSet<(String, usize)> = rows
        .flat_map(|cell| cell.split('`').filter(|name| name.len() > 2))
        .flat_map(|named| {
            let mut words = named.split(' ');
            let scenario = words.next().unwrap_or_default().to_owned();
            words.map(move |step| (scenario.clone(), step.parse().expect("the number of a step")))
        })
        .collect();
    let found: BTreeSet<(String, usize)> =
        differences.iter().map(|difference| (difference.scenario.clone(), difference.step)).collect();
    let new = differences
        .iter()
        .filter(|difference| !explained.contains(&(difference.scenario.clone(), difference.step)))
        .map(|StepDifference { scenario, step, recorded, answered }| {
            format!("{scenario} {step}\n  recorded: {recorded}\n  answered: {answered}")
        });
    let gone =
        explained.difference(&found).map(|(name, step)| format!("{name} {step} has a row but no difference"));
    new.chain(gone).collect()
}

async fn replay_live(client: &WireClient, steps: &[RecordedStep]) -> Vec<CallOutcome> {
    let (subscription, calls) = steps.split_last().unwrap();
    let mut outcomes = vec![ask(client, LIVE, &calls[0]).await];
    let mut open = client.open(wire_call(LIVE, subscription, None)).await.expect("it is subscribed");
    let mut seen = 3;
    let ended = open.read_until(|answers| answers.len() == seen).await;
    assert_eq!(ended, None, "it is caught up");
    for call in &calls[1..] {
        outcomes.push(ask(client, LIVE, call).await);
        // The node reads what is new, and what was deleted meanwhile cannot be read any more.
        if call.call == "Append" {
            seen += 1;
            assert_eq!(open.read_until(|answers| answers.len() == seen).await, None, "it is delivered");
        }
    }
    outcomes.push(normalised(open.read_until(|_| false).await.unwrap()));
    outcomes
}

async fn ask(client: &WireClient, scenario: &str, step: &RecordedStep) -> CallOutcome {
    let newest = if step.request.to_string().contains("\"newest") { newest(client).await } else { 0 };
    let open = client.open(wire_call(scenario, step, Some(newest))).await;
    let outcome = match open {
        Ok(open) => finish(open, step).await,
        Err(outcome) => outcome,
    };
    normalised(outcome)
}

async fn finish(mut open: OpenCall, step: &RecordedStep) -> CallOutcome {
    let wanted = collapsed(&step.answers).len();
    let ended = if step.cut.is_some() {
        open.read_until(|answers| collapsed(answers).len() >= wanted).await
    } else {
        // A subscription that is caught up goes on for ever.
        open.read_until(|answers| answers.last().is_some_and(|last| last.get("caught_up").is_some())).await
    };
    match ended {
        Some(outcome) => outcome,
        None => open.cut(),
    }
}

async fn newest(client: &WireClient) -> u64 {
    let request = json!({"back": true, "from": "end", "count": 1});
    let call = WireCall {
        method: "event_store.client.streams.Streams/Read".to_owned(),
        headers: BTreeMap::new(),
        messages: vec![(Duration::ZERO, read_request(&request, 0))],
    };
    let mut open = client.open(call).await.expect("the log is read");
    let read = open.read_until(|_| false).await.unwrap();
    read.answers[0]["event"]["commit_position"].as_str().unwrap().parse().unwrap()
}

fn wire_call(scenario: &str, step: &RecordedStep, newest: Option<u64>) -> WireCall {
    let request = &step.request;
    let now = |message| vec![(Duration::ZERO, message)];
    let (method, messages) = match step.call.as_str() {
        "Read" => {
            ("Read", now(json!({ "options": read_request(request, newest.unwrap_or_default())["options"] })))
        }
        "Append" => ("Append", append_messages(scenario, request)),
        "BatchAppend" => ("BatchAppend", batch_messages(scenario, request)),
        "Delete" => ("Delete", now(json!({ "options": target(request) }))),
        "Tombstone" => ("Tombstone", now(json!({ "options": target(request) }))),
        "ServerFeatures.GetSupportedMethods" => {
            ("event_store.client.server_features.ServerFeatures/GetSupportedMethods", now(json!({})))
        }
        other => (other, now(json!({}))),
    };
    let method = if method.contains('/') {
        method.to_owned()
    } else {
        format!("event_store.client.streams.Streams/{method}")
    };
    let headers = request.get("headers").map(|headers| serde_json::from_value(headers.clone()).unwrap());
    WireCall { method, headers: headers.unwrap_or_default(), messages }
}

fn read_request(request: &Value, newest: u64) -> Value {
    let mut options = Map::new();
    let from = match &request["from"] {
        Value::Null => ("start", json!({})),
        Value::String(end) if end == "end" => ("end", json!({})),
        revision => ("revision", revision.clone()),
    };
    if let Some(stream) = request.get("stream") {
        let identifier = json!({ "stream_name": text(stream) });
        options.insert("stream".to_owned(), json!({ "stream_identifier": identifier, from.0: from.1 }));
    } else if let Some([commit, prepare]) = request["at"].as_array().map(Vec::as_slice) {
        let at = |position: &Value| offset(position.as_str().unwrap(), newest).to_string();
        let position = json!({ "commit_position": at(commit), "prepare_position": at(prepare) });
        options.insert("all".to_owned(), json!({ "position": position }));
    } else {
        options.insert("all".to_owned(), json!({ from.0: from.1 }));
    }
    if request["back"] == true {
        options.insert("read_direction".to_owned(), json!("Backwards"));
    }
    if request["sub"] == true {
        options.insert("subscription".to_owned(), json!({}));
    } else if let Some(count) = request.get("count") {
        options.insert("count".to_owned(), count.clone());
    }
    if let Some(filter) = request.get("filter") {
        options.insert("filter".to_owned(), filter_options(filter));
    } else if request["bare"] != true {
        options.insert("no_filter".to_owned(), json!({}));
    }
    if let Some(compatibility) = request.get("compat") {
        options.insert("control_option".to_owned(), json!({ "compatibility": compatibility }));
    }
    options.insert("uuid_option".to_owned(), json!({ "string": {} }));
    json!({ "options": options })
}

/// Returns the position that a recording writes as a number, as `newest`, or relative to it.
fn offset(position: &str, newest: u64) -> u64 {
    match position.strip_prefix("newest") {
        Some("") => newest,
        Some(distance) => newest.saturating_add_signed(distance.parse().unwrap()),
        None => position.parse().unwrap(),
    }
}

fn filter_options(filter: &Value) -> Value {
    let mut options = Map::new();
    for (recorded, field) in [("stream", "stream_identifier"), ("type", "event_type")] {
        if let Some(expression) = filter.get(recorded) {
            options.insert(field.to_owned(), expression.clone());
        }
    }
    match filter.get("max") {
        Some(max) => options.insert("max".to_owned(), max.clone()),
        None if filter["nowindow"] == true => None,
        None => options.insert("count".to_owned(), json!({})),
    };
    let multiplier = filter.get("mult").cloned().unwrap_or(json!(1));
    options.insert("checkpoint_interval_multiplier".to_owned(), multiplier);
    Value::Object(options)
}

/// Returns the stream and the expected revision of a write.
fn target(request: &Value) -> Value {
    let mut options = Map::new();
    options.insert("stream_identifier".to_owned(), json!({ "stream_name": text(&request["stream"]) }));
    match &request["expected"] {
        Value::Null => None,
        Value::String(name) if name.parse::<u64>().is_err() => options.insert(name.clone(), json!({})),
        revision => options.insert("revision".to_owned(), revision.clone()),
    };
    Value::Object(options)
}

fn append_messages(scenario: &str, request: &Value) -> Vec<(Duration, Value)> {
    let mut options = target(request);
    if scenario == "append-no-stream-name" {
        options.as_object_mut().unwrap().remove("stream_identifier");
    }
    let mut messages = Vec::new();
    if scenario != "append-no-options" {
        messages.push(json!({ "options": options }));
    }
    messages.extend(events(&request["events"]).into_iter().map(|event| json!({ "proposed_message": event })));
    messages.into_iter().map(|message| (Duration::ZERO, message)).collect()
}

fn batch_messages(scenario: &str, request: &Value) -> Vec<(Duration, Value)> {
    let id = json!({ "string": Uuid::new_v4().to_string() });
    let mut options = target(request);
    let fields = options.as_object_mut().unwrap();
    if let Some(revision) = fields.remove("revision") {
        fields.insert("stream_position".to_owned(), revision);
    }
    let any = [json!({ "events": [] })];
    let parts = request["parts"].as_array().map_or(&any[..], Vec::as_slice);
    let messages = parts.iter().enumerate().map(|(index, part)| {
        let mut message = json!({
            "correlation_id": id,
            "proposed_messages": events(&part["events"]),
            "is_final": part["final"] != false,
        });
        if index == 0 && scenario != "batch-no-options" {
            let mut options = options.clone();
            if let Some(deadline) = part.get("deadline") {
                options["deadline"] = deadline.clone();
            }
            message["options"] = options;
        }
        (Duration::from_millis(part["wait"].as_u64().unwrap_or(0)), message)
    });
    messages.collect()
}

fn events(recorded: &Value) -> Vec<Value> {
    match recorded {
        Value::Array(events) => events.clone(),
        many => (0..many["count"].as_u64().unwrap())
            .map(|_| {
                let mut event = many["first"].clone();
                event["id"] = json!({ "string": Uuid::new_v4().to_string() });
                event
            })
            .collect(),
    }
}

fn recorded_outcome(step: &RecordedStep) -> CallOutcome {
    let mut outcome = normalised(CallOutcome {
        answers: step.answers.clone(),
        code: step.code.clone(),
        message: step.message.clone(),
        trailers: step.trailers.clone(),
    });
    if step.silent.is_some() {
        "no answer".clone_into(&mut outcome.code);
    }
    if step.more.is_some() {
        // The answers that were left out were checkpoints, or the rest of a subscription that was cut.
        outcome.answers.truncate(2);
    }
    outcome
}

/// Returns true if a server answered as recorded. Where the real server only says that it failed, words about the
/// request are better. Where it has words of its own for a bad request, others will do.
fn agree(recorded: &CallOutcome, answered: &CallOutcome) -> bool {
    if recorded.message == UNFORESEEN && answered.code == "INVALID_ARGUMENT" {
        return !answered.message.is_empty();
    }
    let is_bad_request = ["INVALID_ARGUMENT", "UNIMPLEMENTED"].contains(&recorded.code.as_str());
    if is_bad_request && recorded.trailers.is_empty() && recorded.code == answered.code {
        return recorded.answers == answered.answers && !answered.message.is_empty();
    }
    let trailers = recorded.trailers.iter().all(|(key, value)| answered.trailers.get(key) == Some(value));
    let same = recorded.answers == answered.answers[..answered.answers.len().min(recorded.answers.len())];
    trailers
        && same
        && answered.answers.len() >= recorded.answers.len()
        && (recorded.code == answered.code && recorded.message == answered.message)
}

fn shown(outcome: &CallOutcome) -> String {
    let CallOutcome { answers, code, message, .. } = outcome;
    let answers = Value::Array(answers.clone()).to_string();
    format!("{code} {message} {}", answers.chars().take(700).collect::<String>())
}

/// Leaves out of an outcome the parts that differ from server to server.
fn normalised(outcome: CallOutcome) -> CallOutcome {
    let answers = collapsed(&outcome.answers).into_iter().map(plain).collect();
    CallOutcome { answers, ..outcome }
}

/// Writes checkpoints that follow each other as one, because they depend on the log's other events.
fn collapsed(answers: &[Value]) -> Vec<Value> {
    let mut short: Vec<Value> = Vec::new();
    for answer in answers {
        let answer = if answer.get("checkpoint").is_some() { json!("checkpoint") } else { answer.clone() };
        if answer != "checkpoint" || short.last() != Some(&answer) {
            short.push(answer);
        }
    }
    short
}

/// Returns the text of bytes that a recording has in Base64, if they are text.
fn readable(text: String) -> String {
    let bytes = text.strip_prefix("base64:").and_then(|encoded| STANDARD.decode(encoded).ok());
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or(text)
}

fn plain(value: Value) -> Value {
    let Value::Object(fields) = value else {
        return match value {
            Value::Array(items) => items.into_iter().map(plain).collect(),
            Value::String(text) => json!(readable(text)),
            other => other,
        };
    };
    if fields.contains_key("repeat") {
        return json!(text(&Value::Object(fields)));
    }
    let is_bad_request =
        fields.get("type_url").is_some_and(|url| url.as_str().unwrap().ends_with("BadRequest"));
    let fields = fields.into_iter().filter_map(|(key, value)| match key.as_str() {
        "created" | "timestamp" | "subscription_id" | "id" => None,
        key if key.starts_with('_') => None,
        "value" if is_bad_request => None,
        // The order of the fields is free.
        "data" => {
            let parsed = value.as_str().and_then(|text| serde_json::from_str(text).ok());
            Some((key, parsed.unwrap_or_else(|| plain(value))))
        }
        "commit_position" | "prepare_position" => Some((key, json!("a position"))),
        "correlation_id" => {
            let form = value.as_object().and_then(|id| id.keys().next().cloned());
            Some((key, json!(form)))
        }
        _ => Some((key, plain(value))),
    });
    Value::Object(fields.collect())
}
