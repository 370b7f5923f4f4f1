//! From the shapes that events once had to the ones they have now. A step leads
//! from one schema to the next; it is never changed once a release has written
//! events with it.

use serde_json::Value;

/// The type and data that an event of an older schema has today.
pub(super) fn upcast(kind: &str, schema: u32, data: Value) -> (&str, Value) {
    match (kind, schema) {
        // Before the first release a participant's fields stood beside the images.
        ("Submitted", 0) => (kind, gather_participant(data)),
        _ => (kind, data),
    }
}

fn gather_participant(mut data: Value) -> Value {
    if let Some(fields) = data.as_object_mut() {
        let name = fields.remove("name").unwrap_or_default();
        let twitter = fields.remove("twitter").unwrap_or_default();
        fields.insert("participant".into(), serde_json::json!({ "name": name, "twitter": twitter }));
    }
    data
}

#[cfg(test)]
mod tests {
    use crate::submission::{Event, scenario::ada};

    #[test]
    fn a_submission_of_schema_0_is_read() {
        let stored = r#"{"challenge":{"id":"docker-birthday-3","rules":"sha256:r"},"name":"Ada Lovelace","twitter":"@ada",
            "location":{"typed":"London, UK","city":"London","country":"GB","lat":51.50853,"lon":-0.12574},
            "images":["docker.io/ada/voting:latest","docker.io/ada/result:latest"],"answers":{"vote":"Python"},"owner":"docker.io/ada"}"#;
        assert_eq!(Event::from_stored("Submitted", 0, stored.as_bytes()).unwrap(), Event::Submitted(ada()));
    }
}
