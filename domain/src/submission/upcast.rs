//! Upcasters: they lead data of an older schema to the shapes that events have today. An upcaster is never changed
//! once a release has written events that need it.

use serde_json::{Value, json};

/// Returns the function that makes today's data of an event of this kind and schema, or `None` if its shape is today's
/// already.
pub(super) fn upcaster(kind: &str, schema: u32) -> Option<fn(Value) -> Value> {
    match (kind, schema) {
        // Before the first release a participant's fields stood beside the images.
        ("Submitted", 0) => Some(gather_participant),
        // In schema 2 an image may have several answers, of several kinds of probes.
        ("Probed", 0 | 1) => Some(list_answers),
        _ => None,
    }
}

fn gather_participant(mut data: Value) -> Value {
    if let Some(fields) = data.as_object_mut() {
        let name = fields.remove("name").unwrap_or_default();
        let twitter = fields.remove("twitter").unwrap_or_default();
        fields.insert("participant".into(), json!({ "name": name, "twitter": twitter }));
    }
    data
}

fn list_answers(mut data: Value) -> Value {
    let images = data.get_mut("images").and_then(Value::as_array_mut);
    for image in images.into_iter().flatten().filter_map(Value::as_object_mut) {
        let status = image.remove("status").unwrap_or_default();
        let latency_ms = image.remove("latency_ms").unwrap_or_default();
        let answers = match status {
            Value::Null => json!([]),
            status => json!([{ "kind": "http", "status": status, "latency_ms": latency_ms }]),
        };
        image.insert("answers".into(), answers);
    }
    data
}

#[cfg(test)]
mod tests {
    use crate::submission::{Event, ProbeAnswer};
    use crate::testing::{ada, one_of_each};

    #[test]
    fn a_submission_of_schema_0_is_read() {
        let stored = r#"{"challenge":{"id":"docker-birthday-3","rules":"sha256:r"},"name":"Ada Lovelace","twitter":"@ada",
            "location":{"typed":"London, UK","city":"London","country":"GB","lat":51.50853,"lon":-0.12574},
            "images":["docker.io/ada/voting:latest","docker.io/ada/result:latest"],"answers":{"vote":"Python"},"owner":"docker.io/ada"}"#;
        assert_eq!(Event::from_stored("Submitted", 0, stored.as_bytes()).unwrap(), Event::Submitted(ada()));
    }

    /// One event of each type as schema 1 stored it. These lines never change.
    #[test]
    fn every_event_of_schema_1_is_read() {
        let digest = "a1".repeat(32);
        let stored = [
            r#"Submitted {"challenge":{"id":"docker-birthday-3","rules":"sha256:r"},"participant":{"name":"Ada Lovelace","twitter":"@ada"},"location":{"typed":"London, UK","city":"London","country":"GB","lat":51.50853,"lon":-0.12574},"images":["docker.io/ada/voting:latest","docker.io/ada/result:latest"],"answers":{"vote":"Python"},"owner":"docker.io/ada"}"#.to_owned(),
            r#"VerificationStarted {"attempt":1,"verifier":"v1","deadline":"2016-03-21T12:05:00Z"}"#.to_owned(),
            format!(r#"ImagesPulled {{"attempt":1,"images":[{{"image":"docker.io/ada/voting:latest","digest":"sha256:{digest}","size_bytes":1000,"node":"n1","took_ms":20}}]}}"#),
            r#"ContainersStarted {"attempt":1,"images":[{"image":"docker.io/ada/voting:latest","node":"n1","took_ms":30}]}"#.to_owned(),
            r#"Probed {"attempt":1,"images":[{"image":"docker.io/ada/voting:latest","outcome":"matched","status":200,"latency_ms":2,"message":null,"differing":[]},{"image":"docker.io/ada/result:latest","outcome":"mismatch","status":200,"latency_ms":2,"message":"no","differing":[{"field":"name","expected":"Ada Lovelace","returned":null}]}]}"#.to_owned(),
            r#"Passed {"attempt":1}"#.to_owned(),
            r#"Failed {"attempt":1,"reasons":[{"code":"nothing_on_port","image":"docker.io/ada/voting:latest","message":"no","fault":"participant"}]}"#.to_owned(),
            r#"VerificationInterrupted {"attempt":1,"code":"no_capacity","message":"full","fault":"platform","retry_at":"2016-03-21T12:00:05Z"}"#.to_owned(),
            r#"RejudgeRequested {"by":"organiser","why":"new rules"}"#.to_owned(),
        ];
        let read = stored.map(|line| {
            let (kind, data) = line.split_once(' ').unwrap();
            Event::from_stored(kind, 1, data.as_bytes()).unwrap()
        });
        // Later kinds of events have no older shape.
        assert_eq!(read, one_of_each()[..read.len()]);
    }

    #[test]
    fn an_image_that_did_not_respond_in_schema_1_has_no_answers() {
        let stored = r#"{"attempt":1,"images":[
            {"image":"docker.io/ada/voting:latest","outcome":"timed_out","status":null,"latency_ms":null,"message":"no","differing":[]},
            {"image":"docker.io/ada/result:latest","outcome":"bad_status","status":500,"latency_ms":7,"message":"no","differing":[]}]}"#;
        let Event::Probed(probed) = Event::from_stored("Probed", 1, stored.as_bytes()).unwrap() else {
            panic!("it is one")
        };
        let answers: Vec<_> = probed.images.into_iter().map(|image| image.answers).collect();
        assert_eq!(answers, [vec![], vec![ProbeAnswer::Http { status: 500, latency_ms: 7 }]]);
    }
}
