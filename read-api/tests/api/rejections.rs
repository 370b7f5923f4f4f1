//! Requests that never reach a handler's rules: each is answered with a problem document.

use reqwest::{Method, StatusCode};

use crate::world::{World, problem};

#[tokio::test]
async fn every_bad_request_is_answered_with_a_problem_document() {
    let world = World::new().await;
    for (method, path, status) in [
        ("GET", "/api/v1/submissions/%FF", 400),
        ("GET", "/api/v1/submissions/%FF/events", 400),
        ("GET", "/competition/%FF", 400),
        ("GET", "/api/v1/submissions/none", 404),
        ("GET", "/api/v1/pins?bbox=0,0,1,1&bbox=0,0,2,2&zoom=1", 400),
        ("GET", "/api/v1/stats?at=a&at=b", 400),
        ("GET", "/api/v1/history", 401),
        ("GET", "/api/v1/history?after=1&after=2", 401),
        ("DELETE", "/api/v1/stats", 405),
        ("POST", "/healthz", 405),
        ("POST", "/submit", 405),
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/docs/nothing.js", 404),
        ("GET", "/assets/nothing.js", 404),
        ("POST", "/docs/", 405),
        ("PUT", "/openapi.json", 405),
        ("GET", "/api/v1/pins?bbox=%FF", 400),
        ("GET", "/api/v1/pins?bbox=0,0,1,1&zoom=%ZZ", 400),
        ("BREW", "/coffee", 404),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let response = world.client.request(method.clone(), world.url(path)).send().await.unwrap();
        let allow = response.headers().contains_key("allow");
        let body = problem(response, StatusCode::from_u16(status).unwrap()).await;
        assert_eq!(body["type"], "about:blank", "{method} {path}");
        assert!(body["title"].is_string(), "{method} {path}");
        assert_eq!(allow, status == 405, "{method} {path}");
    }
}

#[tokio::test]
async fn a_browser_is_shown_a_page_at_an_unknown_path() {
    let world = World::new().await;
    let response = world.get_with("/nothing", &[("accept", "text/html")]).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let media_type = response.headers()["content-type"].to_str().unwrap();
    // Without built pages there is none to show.
    let are_built =
        std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/web/dist/nowhere.html")).exists();
    let expected = if are_built { "text/html" } else { "application/problem+json" };
    assert!(media_type.starts_with(expected), "{media_type}");
}
