//! The web pages and their security headers.

use reqwest::StatusCode;

use crate::world::World;

#[tokio::test]
async fn pages_are_served_with_a_strict_policy() {
    let world = World::new().await;
    for path in ["/", "/submit", "/s/3f0c9a52-5a4e-4a2f-9f59-5f6f3c0e2b11", "/organise"] {
        let response = world.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        assert_eq!(response.headers()["referrer-policy"], "no-referrer");
        let etag = response.headers()["etag"].to_str().unwrap().to_owned();
        assert!(response.text().await.unwrap().contains("Muster"));
        let same = world.get_with(path, &[("if-none-match", &etag)]).await;
        assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
    }
}

#[tokio::test]
async fn api_responses_may_load_nothing() {
    let world = World::new().await;
    let response = world.get("/api/v1/stats").await;
    assert!(
        response.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'")
    );
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
}
