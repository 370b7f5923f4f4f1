//! Requests that never reach a handler's rules: each is answered with a problem document.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, header};

use crate::support::{App, log, settings};

#[tokio::test]
async fn every_bad_request_is_answered_with_a_problem_document() {
    let (log, _directory) = log();
    let app = App::on(Arc::new(log), settings());
    let json = "application/json";
    for (method, path, media_type, body, status) in [
        ("GET", "/api/v1/places?q=a&q=b", "", "", 400),
        ("POST", "/api/v1/submissions", json, "{", 400),
        ("POST", "/api/v1/submissions", json, "[]", 400),
        ("POST", "/api/v1/submissions", json, r#"{"name": "a", "name": "b"}"#, 400),
        ("POST", "/api/v1/submissions", "text/plain", "{}", 415),
        ("POST", "/api/v1/submissions", "", "{}", 415),
        ("POST", "/api/v1/submissions", json, "{}", 422),
        ("POST", "/api/v1/submissions/%FF/rejudge", json, "{}", 400),
        ("POST", "/api/v1/submissions/none/rejudge", json, "{}", 401),
        ("PUT", "/api/v1/submissions", json, "{}", 405),
        ("GET", "/competition", "", "", 405),
        ("DELETE", "/api/v1/places", "", "", 405),
        ("GET", "/api/v1/nothing", "", "", 404),
        ("BREW", "/coffee", "", "", 404),
    ] {
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, media_type);
        let answer = app.send(request.body(Body::from(body)).unwrap()).await;
        answer.problem(status);
        assert_eq!(answer.body["type"], "about:blank", "{method} {path}");
        assert!(answer.body["title"].is_string(), "{method} {path}");
        assert_eq!(answer.headers.contains_key(header::ALLOW), status == 405, "{method} {path}");
    }
    assert_eq!(app.recorded().await, 0);
}
