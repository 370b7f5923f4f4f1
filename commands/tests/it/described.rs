//! The description of the write API in `/openapi.json`.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::support::{App, log, settings};

#[tokio::test]
async fn every_request_body_has_a_schema_and_every_operation_an_id_of_its_own() {
    let (log, _directory) = log();
    let app = App::on(Arc::new(log), settings());
    let api = app.get("/openapi.json").await.body;
    let mut ids = BTreeSet::new();
    for (path, operations) in api["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{method} {path}");
            if operation.get("requestBody").is_some() {
                let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
                let reference = schema["$ref"].as_str().unwrap().trim_start_matches('#');
                let body = api.pointer(reference).unwrap();
                assert!(
                    body["properties"].is_object() || body["allOf"].is_array(),
                    "{method} {path}: {body}"
                );
            }
        }
    }
    let submission = api["components"]["schemas"]["SubmissionRequest"].to_string();
    assert!(submission.contains("additionalProperties"), "the challenge's answers: {submission}");
    assert!(api["components"]["schemas"]["SubmissionProblem"].is_null(), "there is one kind of problem");
}
